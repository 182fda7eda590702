"""The state table's owner, for the log's door, which applies what it has appended."""

from _wal_native.codec cimport EventEncoder
from _wal_native.core cimport aqw_event, aqw_table


cdef class StateTable:
    # Whoever touches it holds the GIL, or on free-threaded builds this object's critical section.
    cdef aqw_table *table
    cdef EventEncoder encoder           # None while it is in use
    cdef object lane                    # the lock of the queue that owns the table, or None
    cdef bint is_copied                 # by a thread that has the lane's lock and not the GIL: it must not change
    cdef bint is_in_batch
    cdef unsigned long batch_thread     # who applies the batch

    # Applies a C event. RefusedEventError and MemoryError leave the table as it was.
    cdef int apply(self, const aqw_event *event) except -1
    # The undo record of a batch. ValueError where one is open already.
    cdef int begin(self) except -1
    cdef void commit(self) noexcept
    cdef void rollback(self) noexcept
    # The table, for queries: waits while another thread applies a batch.
    cdef const aqw_table *settled(self) except NULL
    cdef int wait_for_batch(self) except -1
