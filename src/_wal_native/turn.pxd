"""A lock that no signal leaves taken, for the doors that wait for the lane."""

from libc.stdint cimport uint64_t


cdef class Turn:
    cdef object lock                    # threading.RLock, whose every call is made from native code
    cdef readonly bint is_taken         # a thread is inside :meth:`run`
    cdef unsigned long thread           # which one
    cdef uint64_t generation            # of forks, when the lock was made

    # Takes the lock without being inside :meth:`run`, and returns it; its taker releases it.
    cdef object enter(self)
    cdef int ensure_outside(self) except -1
    # In a forked child, where the lock may be held by a thread that does not exist.
    cdef int renew(self) except -1
