"""How far a long call has come, for the doors that make long calls."""

from _wal_native.core cimport aqw_progress


cdef class Progress:
    cdef aqw_progress *progress
