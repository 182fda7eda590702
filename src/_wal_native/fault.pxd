"""Faults of the core as exceptions, for the doors of log and reader."""

from libc.stdint cimport uint64_t

from _wal_native.core cimport aqw_fault

# Raises for a fault met while opening or reading a queue.
cdef int raise_open_fault(const aqw_fault *fault) except -1

# Raises for a fault met while a snapshot was made, in a queue that stays open.
cdef int raise_snapshot_fault(const aqw_fault *fault) except -1

# Returns the CorruptLogError for a fault, without raising it.
cdef object damage_of(const aqw_fault *fault)

# Raises for the status and fault of an append or a sync. The sequence is that of the event that the
# caller wanted to append.
cdef int raise_log_fault(int status, const aqw_fault *fault, uint64_t sequence=*) except -1

# Raises for the status and fault of a close.
cdef int raise_close_fault(int status, const aqw_fault *fault) except -1
