"""How far a long call has come, and a way to stop it."""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport uint64_t

from _wal_native.core cimport *

import threading

import _wal_native.turn     # it has the core watch for forks
from _wal_native.above import ForkedError


cdef class Progress:
    """Shows how far a long call has come, and cancels it.

    The caller makes a new one for each call. Other threads look at it, or cancel it. That also ends
    the call's wait for another one of the same queue (a compaction under way). It ends no system
    call, such as a sync, and no wait for a command that another thread is submitting: the call ends
    behind them.
    """

    def __cinit__(self):
        self.progress = aqw_progress_new()
        if self.progress == NULL:
            raise MemoryError

    def __dealloc__(self):
        aqw_progress_free(self.progress)

    @property
    def done(self):
        """Bytes that the call has dealt with so far."""
        return aqw_progress_done(self.progress)

    @property
    def total(self):
        """Bytes that the call will have dealt with at its end, as far as it knows by now."""
        return aqw_progress_total(self.progress)

    def expect(self, uint64_t size, /):
        """Add `size` bytes to the total. The code that does the work calls this."""
        aqw_progress_expect(self.progress, size)

    @property
    def is_canceled(self):
        """Whether :meth:`cancel` was called."""
        return bool(aqw_progress_is_canceled(self.progress))

    def cancel(self):
        """Make the call end soon, with StoppedError, also where it waits for another call."""
        aqw_progress_cancel(self.progress)

    def __reduce__(self):
        raise TypeError(
            f"a {type(self).__name__} belongs to one call in this process and can't be pickled or "
            "copied; make a new one for each call")


cdef int signal_has_raised(void *raised) noexcept nogil:
    with gil:
        return look_for_signals(<list>raised)


cdef int look_for_signals(list raised) noexcept:
    """Let signals' handlers run. Returns 1 where the call must end.

    It must where a handler has raised, or has left the call in a forked child, which does not have
    its files.
    """
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
    """Have a long call of the main thread let signals' handlers run now and then.

    The call ends where a handler raises. What it raised is then in the list.
    """
    if threading.get_ident() == threading.main_thread().ident:
        aqw_progress_ask(progress.progress, signal_has_raised, <void *>raised)
    return 0


cdef int end_the_watch(Progress progress, list raised) except -1:
    """Raise, after the call, what a handler raised in it."""
    aqw_progress_ask(progress.progress, NULL, NULL)
    if raised:
        raise raised[0]
    return 0
