"""Statuses of the core as exceptions, for the other modules."""

from libc.stdint cimport uint64_t

# Returns 0 for AQW_OK, AQW_END and AQW_NEEDS_ROOM; raises for anything else. A refusal says
# `sequence`, the event's. An exception that says more (a path, an errno, sizes) needs
# raise_status_with.
cdef int raise_status(int status, uint64_t sequence=*) except -1

# Raises likewise, with the exception's fields by name.
cdef int raise_status_with(int status, dict fields) except -1
