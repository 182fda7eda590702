"""Turns: calls that threads make one after the other, whatever signals come between.

Python runs signals' handlers between its own steps. A handler that raises between the step that
takes a lock and the step that enters the block after it leaves the lock taken for good. In CPython
3.14 about every second handler that raises does that to ``with lock:``. No handler runs between
steps of native code. So each lock of the package that the main thread may meet is taken here.
"""

from cpython.pythread cimport PyThread_get_thread_ident

from _wal_native.core cimport aqw_fork_generation, aqw_fork_watch

import threading

from _wal_native.above import ReentrantCallError, StoppedError

cdef double LOOK_SECONDS = 0.05
"""How often a wait looks whether it was canceled."""

if aqw_fork_watch() != 0:
    raise ImportError("the system does not let the library watch for forks")


cdef class Turn:
    """A lock whose holder makes one call.

    It refuses a thread that is inside already, for example in a signal's handler.
    """

    def __cinit__(self):
        self.renew()

    cdef int renew(self) except -1:
        # Reentrant: so a thread that is inside already does not wait for itself, and is refused.
        self.lock = threading.RLock()
        self.thread = 0
        self.generation = aqw_fork_generation()
        return 0

    cdef int ensure_outside(self) except -1:
        if (self.thread == PyThread_get_thread_ident()
                and self.generation == aqw_fork_generation()):
            raise ReentrantCallError
        return 0

    cdef object enter(self, object progress=None):
        if self.generation != aqw_fork_generation():
            self.renew()
        cdef object lock = self.lock
        # A wait that a signal's handler ends by raising does not take the lock.
        if progress is None:
            lock.acquire()
            return lock
        while not lock.acquire(True, LOOK_SECONDS):
            if progress.is_canceled:
                raise StoppedError
        return lock

    cdef int wait_a_while(self) except -1:
        """Return when the call that is under way has ended, or after a twentieth of a second."""
        if self.generation != aqw_fork_generation():
            self.renew()
        cdef object lock = self.lock
        if lock.acquire(True, LOOK_SECONDS):
            lock.release()
        return 0

    cdef object begin(self):
        return self.inside(self.enter())

    cdef object inside(self, object lock):
        if self.thread != 0:
            lock.release()
            raise ReentrantCallError
        self.thread = PyThread_get_thread_ident()
        return lock

    cdef int end(self, object lock) except -1:
        self.thread = 0
        lock.release()
        return 0

    def run(self, work, /, *arguments):
        """Make the call while no other thread is inside, and return what it returns.

        Raises ReentrantCallError where this thread is inside.
        """
        cdef object lock = self.begin()
        try:
            return work(*arguments)
        finally:
            self.end(lock)

    def run_long(self, progress, work, /, *arguments):
        """Do the same for a long call, whose wait for its turn `progress.cancel()` ends.

        Then it raises StoppedError.
        """
        cdef object lock = self.inside(self.enter(progress))
        try:
            return work(*arguments)
        finally:
            self.end(lock)

    def wait(self, progress=None):
        """Return when the call that is under way has ended.

        Raises ReentrantCallError in the thread that makes it, StoppedError where `progress` is
        canceled meanwhile.
        """
        self.ensure_outside()
        self.enter(progress).release()

    @property
    def is_taken(self):
        """Whether a thread is inside :meth:`run`."""
        return self.thread != 0

    @property
    def is_mine(self):
        """Whether the calling thread is inside."""
        return self.thread == PyThread_get_thread_ident()
