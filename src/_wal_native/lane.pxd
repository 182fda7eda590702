"""The object that takes a queue's commands."""

from libc.stdint cimport uint64_t

from _wal_native.log cimport Log
from _wal_native.turn cimport Turn


cdef class Lane:
    cdef public Log _log
    cdef public object _durability
    cdef object unusable                # the error of a handle that takes no commands, or None
    cdef list former                    # what it was before: another thread may be reading that
    cdef readonly Turn _lane

    cdef uint64_t try_submit(self, object command) except? 0
