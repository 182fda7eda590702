"""Faults of the core as exceptions, for the doors of log and reader."""

from _wal_native.core cimport aqw_fault

# Raises for a fault met while opening or reading a queue.
cdef int raise_open_fault(const aqw_fault *fault) except -1

# Raises for the status and fault of an append, a sync or a close.
cdef int raise_log_fault(int status, const aqw_fault *fault) except -1
