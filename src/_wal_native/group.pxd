"""What taking a group in came to."""

from _wal_native.core cimport aqw_fault


cdef str taken_in(int status, const aqw_fault *fault)
