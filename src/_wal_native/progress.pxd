"""How far a long call has come, for the modules that make long calls."""

from _wal_native.core cimport aqw_progress


cdef class Progress:
    cdef aqw_progress *progress


cdef int watch_for_signals(Progress progress, list raised) except -1
cdef int end_the_watch(Progress progress, list raised) except -1
