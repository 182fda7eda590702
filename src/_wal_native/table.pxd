"""The state table's owner, for the log's door, which applies what it has appended."""

from libc.stdint cimport uint64_t

from _wal_native.events cimport EventEncoder
from _wal_native.core cimport aqw_event, aqw_table
from _wal_native.turn cimport Turn


cdef enum:
    HOLDERS_MAX = 64


cdef class _HeldTable:
    # Whoever touches it holds the GIL, or on free-threaded builds this object's critical section.
    cdef aqw_table *table
    cdef EventEncoder encoder           # None while it is in use
    cdef Turn lane                      # of the queue that owns the table, or None
    cdef bint is_readers                # of a queue that is open read-only
    cdef bint is_copied                 # by a thread that has the lane's lock and not the GIL: it must not change
    cdef bint is_in_batch               # or changed without the GIL: queries of other threads wait
    cdef unsigned long batch_thread     # which thread does that
    cdef uint64_t alone_generation      # of forks, when a change without the lane began

    cdef int holders                    # queries under way, of these threads
    cdef unsigned long holding[64]
    cdef uint64_t holders_generation    # of forks, when they were last known to be threads of this process

    # A query begins and ends; each changes nothing else.
    cdef void forget_lost_holders(self) noexcept
    cdef int hold(self) except -1
    cdef void let_go(self) noexcept
    cdef bint is_held_here(self) noexcept
    cdef bint holds_all(self) noexcept
    cdef int wait_a_moment(self) except -1
    # Returns when no query is under way, with the GIL not given up since the last look. ReentrantCallError in a query's own thread.
    cdef int wait_for_queries(self) except -1
    # What lies between is done without the GIL, and without the lane: queries wait until it is over.
    cdef int begin_alone(self) except -1
    cdef void end_alone(self) noexcept
    # Applies a C event. RefusedEventError and MemoryError leave the table as it was.
    cdef int apply(self, const aqw_event *event) except -1
    # The undo record of a batch. ValueError where one is open already.
    cdef int begin(self) except -1
    cdef void commit(self) noexcept
    cdef void rollback(self) noexcept
    # The table, for queries: waits while another thread applies a batch.
    cdef const aqw_table *settled(self) except NULL
    cdef int wait_for_batch(self) except -1


# The queries of each are in a file of their own. Every object of these classes is a StateTable.
cdef class _RunQueries(_HeldTable):
    pass


cdef class _TaskQueries(_RunQueries):
    pass


cdef class _BudgetQueries(_TaskQueries):
    pass


cdef class _ActorQueries(_BudgetQueries):
    pass


cdef class StateTable(_ActorQueries):
    pass
