"""Statuses of the core as exceptions, for the other doors."""

from libc.stdint cimport uint64_t

# Returns 0 for AQW_OK, AQW_END and AQW_NEEDS_ROOM; raises for anything else. `sequence` is the event's, for refusals.
# For statuses whose exception needs more to say (a path, an errno, sizes), use raise_status_with.
cdef int raise_status(int status, uint64_t sequence=*) except -1

# The same with the exception's fields by name.
cdef int raise_status_with(int status, dict fields) except -1
