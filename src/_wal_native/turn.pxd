"""A lock that no signal leaves taken, for the modules that wait for the lane."""

from libc.stdint cimport uint64_t


cdef class Turn:
    cdef object lock                    # threading.RLock, whose every call is made from native code
    cdef readonly bint is_taken         # a thread is inside :meth:`run`
    cdef unsigned long thread           # which one
    cdef uint64_t generation            # of forks, when the lock was made

    # Takes the lock outside :meth:`run`, and returns it. The caller releases it.
    cdef object enter(self)
    cdef int ensure_outside(self) except -1
    # Makes a new lock, in a forked child, where a thread that does not exist may hold the old one.
    cdef int renew(self) except -1
