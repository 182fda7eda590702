"""A lock that no signal leaves taken, for the modules that wait for the lane."""

from libc.stdint cimport uint64_t

cdef extern from "<stdatomic.h>":
    ctypedef unsigned long atomic_ulong


cdef class Turn:
    cdef object lock                    # threading.RLock, whose every call is made from native code
    cdef atomic_ulong thread            # the one inside :meth:`run`; 0: none. Any thread reads it
    cdef uint64_t generation            # of forks, when the lock was made

    # Takes the lock outside :meth:`run`, and returns it. The caller releases it. Where a Progress is
    # canceled meanwhile, it raises StoppedError.
    cdef object enter(self, object progress=*)
    cdef int ensure_outside(self) except -1
    # What :meth:`run` does before its call, and behind it, with the lock that this gave. Whatever
    # comes between, the end must come.
    cdef int wait_a_while(self) except -1
    cdef object begin(self)
    cdef object inside(self, object lock)
    cdef int end(self, object lock) except -1
    # Makes a new lock, in a forked child, where a thread that does not exist may hold the old one.
    cdef int renew(self) except -1
