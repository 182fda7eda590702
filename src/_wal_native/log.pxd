"""The object that owns an open log."""

from libc.stdint cimport uint64_t

from _wal_native.events cimport EventEncoder
from _wal_native.core cimport aqw_batch, aqw_event, aqw_fault, aqw_log
from _wal_native.table cimport StateTable


cdef class Log:
    cdef aqw_log *log
    cdef readonly StateTable table      # where appended events are applied
    cdef EventEncoder encoder           # for the thread in the lane
    cdef EventEncoder quick             # for the short way, whose threads are in no lane
    cdef bint quick_is_busy
    cdef aqw_batch batch
    cdef bint batch_is_open
    cdef uint64_t generation            # of forks, when the log was opened
    cdef bint has_store
    cdef uint64_t batch_size_max        # bytes of a batch's records; 0: as limits.h says
    cdef public object store_failure    # why the store takes nothing more, where that poisoned it
    cdef object __weakref__

    cdef int check(self) except -1
    cdef int raise_fault(
        self, int status, const aqw_fault *fault, uint64_t sequence=*) except -1
    cdef int wait_until_stored(self, uint64_t wanted) except -1
    cdef int wait_for_store(self) except -1
    cdef bint must_wait(self, uint64_t size) noexcept
    cdef int wait_without_batch(self) except -1
    cdef int wait_to_leave_segment(self, uint64_t size) except -1
    cdef object too_large(self, const aqw_event *event)
    cdef int stage(self, object event) except -1
    cdef uint64_t try_submit(self, object command) except? 0
    cdef bint encode_command(
        self, EventEncoder encoder, object command, uint64_t sequence) except -1
    cdef int submit_encoded(self, const aqw_event *event) except -1
    cdef int append_direct(self, const aqw_event *event) except -1
    cdef int append_staged(self) except -1
    cdef uint64_t add_command(self, object command) except? 0
