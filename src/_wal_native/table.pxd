"""The object that owns the state table: the log applies to it the events that it has appended."""

from libc.stdint cimport uint32_t, uint64_t

from _wal_native.events cimport EventEncoder
from _wal_native.core cimport aqw_event, aqw_ordered_entry, aqw_table
from _wal_native.ids cimport RunId
from _wal_native.turn cimport Turn


cdef enum:
    HOLDERS_MAX = 64


cdef class _HeldTable:
    # A thread that touches it holds the GIL, or on free-threaded builds the critical section of the
    # object, which a thread gives up wherever it gives up the GIL, and wherever it waits for
    # another section. The caller of each function below is in it.
    cdef object __weakref__
    cdef aqw_table *table
    cdef EventEncoder encoder           # None while it is in use
    cdef Turn lane                      # of the queue that owns the table, or None
    cdef bint is_readers                # it belongs to a queue that is open read-only
    # A thread that has the lane's lock, and not the GIL, copies the table, which must not change.
    cdef bint is_copied
    # A thread applies a batch, or changes the table without the GIL: queries of other threads wait.
    cdef bint is_in_batch
    cdef unsigned long batch_thread     # which thread does that
    cdef bint is_alone                  # it does so without the lane
    cdef uint64_t alone_generation      # of forks, when a change without the lane began
    cdef int waiting                    # queries that wait for a change without the lane
    cdef int holders                    # queries under way, of the threads in `holding`
    cdef unsigned long holding[64]
    cdef uint64_t holders_generation    # of forks, when all of them were threads of this process

    # A query begins and ends; each changes nothing else.
    cdef void forget_lost_holders(self) noexcept
    cdef int hold(self) except -1
    cdef void let_go(self) noexcept
    cdef bint is_held_here(self) noexcept
    cdef bint holds_all(self) noexcept
    cdef int wait_a_moment(self) except -1
    # Returns when no query is under way, with the GIL or the section kept since its last look.
    # Raises ReentrantCallError in a query's own thread.
    cdef int wait_for_queries(self) except -1
    cdef int let_queries_in(self) except -1
    # Between the two the caller works without the GIL and without the lane, and queries wait. Raises
    # ForkedError where the parent process was there: then the table is half changed for good.
    cdef int ensure_whole(self) except -1
    cdef int begin_alone(self) except -1
    cdef void end_alone(self) noexcept
    # Applies a C event. RefusedEventError and MemoryError leave the table as it was.
    cdef int apply(self, const aqw_event *event) except -1
    # The undo record of a batch. `begin` raises ValueError where one is open already.
    cdef int begin(self) except -1
    cdef void commit(self) noexcept
    cdef void rollback(self) noexcept
    # Returns the table, for queries; waits while another thread applies a batch.
    cdef const aqw_table *settled(self) except NULL
    cdef int wait_for_batch(self) except -1


# The queries of each are in a file of their own. Every object of these classes is a StateTable.
cdef class _RunQueries(_HeldTable):
    pass


cdef class _OrderQueries(_RunQueries):
    cdef const aqw_table *ordered(self) except NULL
    cdef int let_others_run(self) except -1
    cdef uint32_t known_row(self, str owner, object after, RunId run_id) except 0


cdef class _ReadyQueries(_OrderQueries):
    cdef list ready_groups(self, object capabilities)
    # Fills in up to `limit` rows of runs that may be started, behind a place, which goes on with
    # them. The caller holds the table. Returns how many there are.
    cdef uint32_t ready_rows(
        self, uint32_t limit, object capabilities, aqw_ordered_entry *place, uint32_t *rows
    ) except? 0
    cdef uint32_t one_a_key(
        self, uint32_t limit, object capabilities, aqw_ordered_entry *place, uint32_t *rows
    ) except? 0
    # The rows that one claim takes: none while the engine is paused. The caller frees them.
    cdef uint32_t rows_to_claim(
        self, uint32_t limit, object capabilities, uint32_t **rows) except? 0


cdef class _TaskQueries(_ReadyQueries):
    pass


cdef class _BudgetQueries(_TaskQueries):
    pass


cdef class _ActorQueries(_BudgetQueries):
    pass


cdef class StateTable(_ActorQueries):
    pass
