"""The state table as a Python object.

It applies events, answers the queries that validation asks for every command, and gives
:class:`actionqueue.projection.Projection` the tuples of which it builds its records. The queries
are in a file for each subject, each in a class that StateTable derives from, because Cython takes
a class's body from one file only.

Every method is one critical section, so a query never sees half an event. While a queue applies a
batch, queries of other threads wait. So they never see a part of it, nor a batch that is refused in
the end.

A query makes Python objects between its looks at the table. Each object may run the collector, and
with it any code, or let another thread run. So a query holds the table while it lasts, and a change
waits until no query does (``table_held.pxi``). Whatever runs meanwhile, each query answers from one
moment, and what it points at stays. A change that the query's own thread asks for meanwhile, in a
finalizer or a callback of the collector, can't wait for the query. It is refused with
ReentrantCallError, and nothing has changed.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from _wal_native.events cimport (
    EventEncoder, capability_from_c, filter_from_c, registration_from_c, role_from_c,
)
from _wal_native.core cimport *
from _wal_native.from_c cimport bytes_of, ids_of, text_of
from _wal_native.ids cimport (
    ActorId, AttemptId, LedgerEntryId, RunId, SubscriptionId, TaskId, TenantId, id_from_data,
)
from _wal_native.rules cimport state_code
from _wal_native.slots cimport aqw_slot_offset, aqw_slots_are_all
from _wal_native.status cimport raise_status

import os
from time import sleep as pause

from _wal_native.events import capability_to_bytes
from _wal_native.above import (
    AttemptResultKind,
    BudgetDimension,
    ForkedError,
    InvalidFieldError,
    InvalidFieldTypeError,
    ReentrantCallError,
    RefusedEventError,
    RunCreated,
    RunInstance,
    RunsPurged,
    RunState,
    has_ended,
)
from _wal_native.weak_list import WeakList

ORDER_DUE = AQW_ORDER_DUE
ORDER_LEASES = AQW_ORDER_LEASES
ORDER_DEADLINES = AQW_ORDER_DEADLINES

BLOCKED_BY_CANCEL = AQW_BLOCKED_BY_CANCEL
BLOCKED_BY_ATTEMPTS = AQW_BLOCKED_BY_ATTEMPTS
BLOCKED_BY_LEASE = AQW_BLOCKED_BY_LEASE
BLOCKED_BY_PREREQUISITE = AQW_BLOCKED_BY_PREREQUISITE
BLOCKED_BY_BUDGET = AQW_BLOCKED_BY_BUDGET
BLOCKED_BY_KEY = AQW_BLOCKED_BY_KEY

cdef int TURNS_MAX = 100
"""How many moments a change without the lane waits for queries to begin, which may be gone."""

cdef double PAUSE_SECONDS = 0.00005
"""How long a change waits between two looks at the queries that hold the table."""

# The order of the members is the order of the codes.
cdef tuple DIMENSIONS = tuple(BudgetDimension)
cdef tuple RESULTS = tuple(AttemptResultKind)
cdef tuple STATES = tuple(RunState)     # the rules have compared them with the core's

if len(DIMENSIONS) != AQW_BUDGET_DIMENSION_LAST + 1 or len(RESULTS) != AQW_ATTEMPT_RESULT_LAST + 1:
    raise ImportError("the vocabularies of Python and of the core differ")


cdef inline object time_if(bint is_set, uint64_t time):
    return time if is_set else None


ctypedef object (*row_reader)(const aqw_table *table, uint32_t row)


cdef list rows_of(const aqw_table *table, int kind, row_reader read):
    """Return all rows of a kind that were not purged, in their order."""
    cdef list rows = []
    cdef uint32_t row = aqw_table_next(table, kind, 0)
    while row:
        rows.append(read(table, row))
        row = aqw_table_next(table, kind, row)
    return rows


cdef aqw_table_counts counts_of(const aqw_table *table) noexcept:
    cdef aqw_table_counts counts
    aqw_table_counts_get(table, &counts)
    return counts


include "table_held.pxi"
include "table_runs.pxi"
include "table_orders.pxi"
include "table_ready.pxi"
include "table_tasks.pxi"
include "table_budgets.pxi"
include "table_actors.pxi"


cdef int check_fresh(const aqw_table *table, object event) except -1:
    """Refuse a run that is not fresh, because a C event could not say so.

    The other rules of its creation come first.
    """
    run = event.run_instance
    if aqw_rule_run_is_fresh(<uint8_t>state_code(run.state), run.current_attempt_id is not None,
                             run.attempt_count, run.created_at, run.last_state_change_at):
        return 0
    cdef aqw_status status = AQW_REFUSED_RUN_NOT_FRESH
    cdef TaskId task_id = run.task_id
    cdef RunId run_id = run.id
    if not aqw_rule_sequence_rises(aqw_table_latest_sequence(table), event.sequence):
        status = AQW_REFUSED_SEQUENCE
    elif aqw_table_find_task(table, task_id.data) == 0:
        status = AQW_REFUSED_UNKNOWN_TASK
    elif aqw_table_find_run(table, run_id.data) != 0:
        status = AQW_REFUSED_RUN_EXISTS
    return raise_status(status, event.sequence)


cdef int has_schedule_ended(void *failures, aqw_bytes expression, uint64_t time) noexcept with gil:
    """Whether a cron schedule has ended. The core's search calls this, and knows no exceptions.

    So the caller of the search raises the first exception.
    """
    try:
        return has_ended(text_of(expression), time)
    except BaseException as error:
        (<list>failures).append(error)
        return False


cdef class StateTable(_ActorQueries):
    """The projection of a log, in memory. All times are Unix seconds.

    A query for something unknown returns None, False, 0 or an empty list. An argument of the wrong
    type raises a TypeError that names it.
    """

    @cython.critical_section
    def apply_event(self, event not None):
        """Apply one event wholly, or raise and change nothing.

        Raises:
            RefusedEventError: The event breaks a rule of the projection; ``rule`` says which.
            RecordTooLarge: The event is larger than a record may be.
            MalformedEventError: No record can hold the event.
            TypeError, OverflowError: It is not an event, or a field has a wrong type or range.
            MemoryError: There is no memory for the change.
            RuntimeError: The projection belongs to a queue, which alone changes it.
            ReentrantCallError: A query of this thread is under way.
        """
        if self.lane is not None:
            raise RuntimeError(
                "this projection belongs to an open queue; submit commands to change it")
        if self.is_readers:
            raise RuntimeError(
                "this projection belongs to a queue that is open read-only; only its refresh "
                "changes it")
        # A finalizer may run Python code while the encoder is being filled, and call this again.
        # Then that call takes another encoder.
        cdef EventEncoder encoder = self.encoder
        self.encoder = None
        if encoder is None:
            encoder = EventEncoder()
        if type(event) is RunCreated:
            check_fresh(self.table, event)
        cdef const aqw_event *filled = encoder.fill(event)
        cdef uint64_t sequence = filled.sequence
        cdef aqw_status status
        try:
            self.wait_for_queries()
        except BaseException:
            self.encoder = encoder
            raise
        status = aqw_table_apply(self.table, filled)
        self.encoder = encoder
        if status != AQW_OK:
            raise_status(status, sequence)

    def leave_to_reader(self):
        """From now on refuse :meth:`apply_event`: a refresh changes the table without the GIL."""
        self.is_readers = True

    @cython.critical_section
    def ensure_not_in_query(self):
        """Raise ReentrantCallError where a query of this thread is under way.

        A change that it asks for now would wait for itself.
        """
        if self.holders > 0 and self.is_held_here():
            raise ReentrantCallError

    def take_over(self, StateTable other not None):
        """Exchange contents with a table that holds the same, and that no other thread knows.

        Raises RuntimeError where the two do not hold the same, ReentrantCallError in a query.
        """
        with cython.critical_section(self, other):
            other.wait_for_queries()
            self.wait_for_queries()     # the last to wait: no other thread knows the other table
            if (self.is_in_batch or aqw_table_latest_sequence(self.table)
                    != aqw_table_latest_sequence(other.table)):
                raise RuntimeError("the tables do not hold the same")
            self.table, other.table = other.table, self.table

    # --- The engine -------------------------------------------------------------------------------

    @cython.critical_section
    def is_engine_paused(self):
        """Whether the engine is paused."""
        cdef aqw_engine_view engine
        self.hold()
        try:
            aqw_table_engine(self.settled(), &engine)
            return engine.is_paused != 0
        finally:
            self.let_go()

    @cython.critical_section
    def engine_paused_at(self):
        """Return when the engine was last paused (Unix seconds), or None.

        A resume does not clear it.
        """
        cdef aqw_engine_view engine
        self.hold()
        try:
            aqw_table_engine(self.settled(), &engine)
            return time_if(engine.has_paused_at, engine.paused_at)
        finally:
            self.let_go()

    @cython.critical_section
    def read_engine(self):
        """Return (is_paused, paused_at, resumed_at)."""
        cdef aqw_engine_view engine
        self.hold()
        try:
            aqw_table_engine(self.settled(), &engine)
            return (
                engine.is_paused != 0,
                time_if(engine.has_paused_at, engine.paused_at),
                time_if(engine.has_resumed_at, engine.resumed_at),
            )
        finally:
            self.let_go()

    # --- Totals -----------------------------------------------------------------------------------

    @property
    @cython.critical_section
    def latest_sequence(self):
        """The sequence of the last event applied; 0 before the first."""
        self.hold()
        try:
            return aqw_table_latest_sequence(self.settled())
        finally:
            self.let_go()

    @cython.critical_section
    def read_counts_by_state(self):
        """Return the number of runs in each state, in the order of RunState."""
        cdef aqw_table_counts counts
        cdef int code
        self.hold()
        try:
            counts = counts_of(self.settled())
            return {state: counts.runs_by_state[code] for code, state in enumerate(STATES)}
        finally:
            self.let_go()

    @cython.critical_section
    def read_counts(self):
        """Return the number of rows of each kind, and the table's memory in bytes."""
        cdef dict counts
        self.hold()
        try:
            counts = counts_of(self.settled())
            del counts["runs_by_state"], counts["parents"]
            counts["history"] += counts["runs"]     # each run implies its first entry
            return counts
        finally:
            self.let_go()

    @cython.critical_section
    def newest_change(self):
        """Return the latest time at which a run was created or changed its state (Unix seconds).

        The times are those of the events, purged runs included; 0 without any.
        """
        self.hold()
        try:
            return aqw_table_newest_change(self.table)
        finally:
            self.let_go()

    # --- Retention --------------------------------------------------------------------------------

    @cython.critical_section
    def find_finished(
        self, cutoff, uint32_t rows_max, tuple place=(0, 0, 0), /, *, uint64_t timestamp=0,
        ledger_cutoff=None, uint64_t today=0, kept_until=None,
    ):
        """Find what may be purged, among about the next ``rows_max`` rows.

        Returns the event or None, the place, and whether a task was put off. The place says where
        the next call goes on: zeros to begin with, and again at the end. Raises ValueError for
        ``rows_max`` below 2.
        """
        cdef aqw_finished *finished
        cdef aqw_retention what
        cdef list failures = []
        self.hold()
        try:
            if rows_max < 2:
                raise ValueError("rows_max must be at least 2")
            finished = <aqw_finished *>PyMem_Malloc(sizeof(aqw_finished))
            if finished == NULL:
                raise MemoryError()
            try:
                finished.next_part, finished.next_row, finished.next_run = place
                what.has_cutoff = cutoff is not None
                what.cutoff = 0 if cutoff is None else cutoff
                what.has_ledger_cutoff = ledger_cutoff is not None
                what.ledger_cutoff = 0 if ledger_cutoff is None else ledger_cutoff
                what.today = today
                what.schedule_ended = has_schedule_ended
                what.context = <void *>failures
                aqw_table_find_finished(self.settled(), &what, rows_max, finished)
                if failures:
                    raise failures[0]
                event = RunsPurged(
                    aqw_table_latest_sequence(self.settled()) + 1,
                    ids_of(RunId, finished.run_ids[0], finished.run_count),
                    ids_of(TaskId, finished.task_ids[0], finished.task_count),
                    timestamp,
                    ids_of(
                        SubscriptionId, finished.subscription_ids[0], finished.subscription_count),
                    ids_of(ActorId, finished.actor_ids[0], finished.actor_count),
                    finished.ledger_count,
                    finished.tombstone_count,
                    kept_until if finished.task_count else None,
                )
                found = (finished.run_count + finished.task_count + finished.subscription_count
                         + finished.actor_count)
                found += finished.ledger_count + finished.tombstone_count
                place = (finished.next_part, finished.next_row, finished.next_run)
                return event if found else None, place, bool(finished.has_put_off)
            finally:
                PyMem_Free(finished)
        finally:
            self.let_go()
