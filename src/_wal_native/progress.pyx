"""How far a long call has come, and a way to stop it."""

from libc.stdint cimport uint64_t

from _wal_native.core cimport *


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
