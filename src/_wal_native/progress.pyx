"""How far a long call has come, and a way to stop it."""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint64_t

from _wal_native.core cimport *

import threading

import _wal_native.turn     # it watches for forks
from _wal_native.above import ForkedError


cdef class Progress:
    """Given to a long call, and looked at, or canceled, from another thread. A new one for each call."""

    def __cinit__(self):
        self.progress = aqw_progress_new()
        if self.progress == NULL:
            raise MemoryError

    def __dealloc__(self):
        aqw_progress_free(self.progress)

    @property
    def done(self):
        """Bytes dealt with so far."""
        return aqw_progress_done(self.progress)

    @property
    def total(self):
        """Bytes that there will be, as far as is known by now."""
        return aqw_progress_total(self.progress)

    def expect(self, uint64_t size, /):
        """Who works: so many bytes more are to be dealt with."""
        aqw_progress_expect(self.progress, size)

    @property
    def is_canceled(self):
        """Whether :meth:`cancel` was called."""
        return bool(aqw_progress_is_canceled(self.progress))

    def cancel(self):
        """Make the call end soon, with StoppedError."""
        aqw_progress_cancel(self.progress)


cdef int signal_has_raised(void *raised) noexcept nogil:
    with gil:
        return look_for_signals(<list>raised)


cdef int look_for_signals(list raised) noexcept:
    """Let signals' handlers run; 1 where one has raised, or has left this in a forked child, whose files these are not."""
    cdef unsigned long generation = aqw_fork_generation()
    try:
        PyErr_CheckSignals()
        if generation != aqw_fork_generation():
            raise ForkedError
    except BaseException as error:
        raised.append(error)
        return 1
    return 0


cdef int watch_for_signals(Progress progress, list raised) except -1:
    """In the main thread, have a long call let signals' handlers run now and then, and end where one raises: that is then in the list."""
    if threading.get_ident() == threading.main_thread().ident:
        aqw_progress_ask(progress.progress, signal_has_raised, <void *>raised)
    return 0


cdef int end_the_watch(Progress progress, list raised) except -1:
    """Behind the call: raise what was raised in it."""
    aqw_progress_ask(progress.progress, NULL, NULL)
    if raised:
        raise raised[0]
    return 0
