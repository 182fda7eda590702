"""The state table as a Python object: applying events, the queries that validation asks for every command, and the
readers that :class:`actionqueue.projection.Projection` builds its records from.

Every method is one critical section, so a query never sees half an event. While a queue applies a batch, queries from other
threads wait, so they never see a part of it, nor one that is refused in the end.

A query makes Python objects between its looks at the table. Each may run the collector, and with it any code, or let another thread
run. So a query holds the table while it lasts, and a change waits until no query does: whatever runs meanwhile, each query answers from
one moment, and what it points at stays. A change that the query's own thread asks for meanwhile, in a finalizer or a callback of the
collector, can't wait for it: it is refused with ReentrantCallError, and nothing has changed.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from _wal_native.events cimport (
    EventEncoder, capability_from_c, filter_from_c, registration_from_c, role_from_c,
)
from _wal_native.core cimport *
from _wal_native.ids cimport (
    ActorId, AttemptId, LedgerEntryId, RunId, SubscriptionId, TaskId, TenantId, id_from_data,
)
from _wal_native.rules cimport state_code
from _wal_native.status cimport raise_status

from os import urandom
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

cdef extern from *:
    """
    #include <structmember.h>
    /* The offset of a struct's slot, or -1 where the descriptor is not that of an object slot. */
    static Py_ssize_t aqw_table_slot_offset(PyObject *descriptor) {
        if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) return -1;
        PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX ? member->offset : -1;
    }
    /* Whether instances of the class are nothing but slots, which the collector leaves alone. */
    static int aqw_table_is_slots(PyObject *cls, Py_ssize_t count) {
        PyTypeObject *type = (PyTypeObject *)cls;
        return !PyType_IS_GC(type) && type->tp_weaklistoffset == 0 && type->tp_dictoffset == 0 &&
               type->tp_itemsize == 0 &&
               type->tp_basicsize ==
                   (Py_ssize_t)(sizeof(PyObject) + (size_t)count * sizeof(PyObject *));
    }
    /* A new instance of such a class. Its slots take references of their own. */
    static PyObject *aqw_table_instance(PyObject *cls, const Py_ssize_t *offsets,
                                        PyObject *values) {
        PyObject *made = PyType_GenericAlloc((PyTypeObject *)cls, 0);
        if (made == NULL) return NULL;
        for (Py_ssize_t index = 0; index < PyTuple_GET_SIZE(values); index++)
            *(PyObject **)((char *)made + offsets[index]) =
                Py_NewRef(PyTuple_GET_ITEM(values, index));
        return made;
    }
    """
    Py_ssize_t aqw_table_slot_offset(object descriptor) noexcept
    bint aqw_table_is_slots(object cls, Py_ssize_t count) noexcept
    object aqw_table_instance(object cls, const Py_ssize_t *offsets, tuple values)
    object PyUnicode_DecodeUTF8(const char *data, Py_ssize_t size, const char *errors)


cdef double PAUSE_SECONDS = 0.00005
"""How long a change waits between two looks at the queries that hold the table."""

cdef tuple DIMENSIONS = tuple(BudgetDimension)      # the order of the members is the order of the codes
cdef tuple RESULTS = tuple(AttemptResultKind)
cdef tuple STATES = tuple(RunState)                 # the rules have compared them with the core's

cdef enum:
    RUN_FIELDS = 9

cdef Py_ssize_t run_offsets[RUN_FIELDS]
cdef bint runs_are_slots = (len(RunInstance.__struct_fields__) == RUN_FIELDS
                            and aqw_table_is_slots(RunInstance, RUN_FIELDS))
for index, name in enumerate(RunInstance.__struct_fields__):
    if runs_are_slots:
        run_offsets[index] = aqw_table_slot_offset(getattr(RunInstance, name))
        runs_are_slots = run_offsets[index] >= 0
del index, name

if len(DIMENSIONS) != AQW_BUDGET_DIMENSION_LAST + 1 or len(RESULTS) != AQW_ATTEMPT_RESULT_LAST + 1:
    raise ImportError("the vocabularies of Python and of the core differ")


cdef int dimension_code(str query, object dimension) except -1:
    """The code of the member that a query was given, or whose name: what a command's field takes, and refuses."""
    cdef int code
    for code in range(AQW_BUDGET_DIMENSION_LAST + 1):
        if <PyObject *>DIMENSIONS[code] == <PyObject *>dimension:
            return code
    if PyUnicode_CheckExact(dimension) and dimension in DIMENSIONS:
        return DIMENSIONS.index(dimension)
    refusal = InvalidFieldError if PyUnicode_CheckExact(dimension) else InvalidFieldTypeError
    raise refusal(query, "dimension", dimension, f"must be one of {', '.join(DIMENSIONS)}")


cdef inline object text_of(aqw_bytes text):
    return PyUnicode_DecodeUTF8(<const char *>text.data, text.size, NULL)


cdef inline object bytes_of(aqw_bytes data):
    return PyBytes_FromStringAndSize(<const char *>data.data, data.size)


cdef inline object time_if(bint is_set, uint64_t time):
    return time if is_set else None


# --- Rows as tuples --------------------------------------------------------------------------------------------------

ctypedef object (*row_reader)(const aqw_table *table, uint32_t row)


ctypedef uint32_t (*row_walker)(const aqw_table *table, uint32_t row) noexcept


cdef list all_rows(const aqw_table *table, uint32_t count, row_reader read):
    cdef uint32_t row
    return [read(table, row) for row in range(1, count + 1)]


cdef list walked_rows(const aqw_table *table, row_walker next_row, row_reader read):
    """The same for the kinds of which some rows may be purged."""
    cdef list rows = []
    cdef uint32_t row = next_row(table, 0)
    while row:
        rows.append(read(table, row))
        row = next_row(table, row)
    return rows


cdef aqw_table_counts counts_of(const aqw_table *table) noexcept:
    cdef aqw_table_counts counts
    aqw_table_counts_get(table, &counts)
    return counts


cdef int has_schedule_ended(void *failures, aqw_bytes expression, uint64_t time) noexcept with gil:
    """Asked by the search in the core, which knows no exceptions: the caller raises the first one."""
    try:
        return has_ended(text_of(expression), time)
    except BaseException as error:
        (<list>failures).append(error)
        return False


cdef tuple ids_tuple(type cls, const uint8_t *ids, uint32_t count):
    cdef uint32_t i
    return tuple([id_from_data(cls, ids + 16 * i) for i in range(count)])


cdef tuple run_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_run_view run
    aqw_table_run(table, row, &run)
    return (
        id_from_data(RunId, run.run_id),
        id_from_data(TaskId, run.task_id),
        STATES[run.state],
        id_from_data(AttemptId, run.active_attempt_id) if run.has_active_attempt else None,
        run.attempt_count,
        run.created_at,
        run.scheduled_at,
        run.effective_priority,
        run.last_state_change_at,
    )


cdef object run_instance(const aqw_table *table, uint32_t row):
    """The run in the row, without its constructor's checks: the core checked the values before."""
    fields = run_tuple(table, row)
    if runs_are_slots:
        return aqw_table_instance(RunInstance, run_offsets, fields)
    return RunInstance(*fields)


cdef object task_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_task_view task
    aqw_table_task(table, row, &task)
    return (
        id_from_data(TaskId, task.task_id),
        task.created_at,
        time_if(task.is_canceled, task.canceled_at),
        bytes_of(task.spec),
        task.runs_created,
        time_if(task.has_last_run, task.last_run_at),
    )


cdef object task_id_of(const aqw_table *table, uint32_t row):
    cdef aqw_task_view task
    aqw_table_task(table, row, &task)
    return id_from_data(TaskId, task.task_id)


cdef object dependency_pair(const aqw_table *table, uint32_t row):
    cdef aqw_dependency_view dependency
    aqw_table_dependency(table, row, &dependency)
    return id_from_data(TaskId, dependency.task_id), id_from_data(TaskId, dependency.depends_on)


cdef object budget_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_budget_view budget
    aqw_table_budget(table, row, &budget)
    return (
        id_from_data(TaskId, budget.task_id),
        DIMENSIONS[budget.dimension],
        budget.limit,
        budget.consumed,
        budget.allocated_at,
        budget.is_exhausted != 0,
    )


cdef object subscription_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_subscription_view subscription
    aqw_table_subscription(table, row, &subscription)
    return (
        id_from_data(SubscriptionId, subscription.subscription_id),
        id_from_data(TaskId, subscription.task_id),
        filter_from_c(subscription.filter),
        subscription.created_at,
        time_if(subscription.is_triggered, subscription.triggered_at),
        time_if(subscription.is_canceled, subscription.canceled_at),
    )


cdef object actor_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_actor_view actor
    aqw_table_actor(table, row, &actor)
    # Building the registration may run a finalizer, which may register the actor anew and so free these bytes.
    cdef bytes kept = bytes_of(actor.registration)
    actor.registration.data = <const uint8_t *><const char *>kept
    return (
        registration_from_c(id_from_data(ActorId, actor.actor_id), actor.registration),
        actor.registered_at,
        time_if(actor.has_heartbeat, actor.last_heartbeat_at),
        time_if(actor.is_deregistered, actor.deregistered_at),
    )


cdef object tenant_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_tenant_view tenant
    aqw_table_tenant(table, row, &tenant)
    return id_from_data(TenantId, tenant.tenant_id), text_of(tenant.name), tenant.created_at


cdef object role_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_role_view role
    aqw_table_role(table, row, &role)
    return (
        id_from_data(ActorId, role.actor_id),
        id_from_data(TenantId, role.tenant_id),
        role_from_c(role.role),
        role.assigned_at,
    )


cdef object capability_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_capability_view grant
    aqw_table_capability(table, row, &grant)
    return (
        id_from_data(ActorId, grant.actor_id),
        id_from_data(TenantId, grant.tenant_id),
        capability_from_c(grant.capability),
        grant.granted_at,
        time_if(grant.is_revoked, grant.revoked_at),
    )


cdef object ledger_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_ledger_view entry
    aqw_table_ledger(table, row, &entry)
    return (
        id_from_data(LedgerEntryId, entry.entry_id),
        id_from_data(TenantId, entry.tenant_id),
        text_of(entry.ledger_key),
        id_from_data(ActorId, entry.actor_id) if entry.has_actor else None,
        bytes_of(entry.payload),
        entry.timestamp,
    )


cdef object tombstone_tuple(const aqw_table *table, uint32_t row):
    cdef aqw_tombstone_view tombstone
    aqw_table_tombstone(table, row, &tombstone)
    return id_from_data(TaskId, tombstone.task_id), tombstone.until


cdef list children_in(const aqw_table *table, uint32_t parent_row):
    cdef aqw_parent_view parent
    cdef aqw_child_view child
    cdef list children = []
    aqw_table_parent(table, parent_row, &parent)
    cdef uint32_t row = parent.first_child
    while row:
        aqw_table_child(table, row, &child)
        children.append(id_from_data(TaskId, child.task_id))
        row = child.next
    return children


cdef int check_fresh(const aqw_table *table, object event) except -1:
    """Refuse a run that is not fresh; a C event could not say so. The other rules of its creation come first."""
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


cdef class StateTable:
    """The projection of a log, in memory. All times are Unix seconds.

    A query for something that is not there answers None, False or 0. An argument of the wrong type is a TypeError that
    names it.
    """

    def __cinit__(self):
        cdef bytes seed = urandom(16)
        self.table = aqw_table_new(NULL, seed)
        if self.table == NULL:
            raise MemoryError("no memory for the state table")
        self.encoder = EventEncoder()

    def __dealloc__(self):
        cdef aqw_table *table = self.table
        with nogil:  # a large one takes its time, which others need not wait
            aqw_table_free(table)

    # --- Changes -----------------------------------------------------------------------------------------------------

    cdef void forget_lost_holders(self) noexcept:
        """In a forked child: the queries of threads that do not exist here have no end."""
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef int index, kept = 0
        for index in range(self.holders):
            if self.holding[index] == thread:
                self.holding[kept] = thread
                kept += 1
        self.holders = kept
        self.holders_generation = aqw_fork_generation()

    cdef int hold(self) except -1:
        cdef unsigned long thread = PyThread_get_thread_ident()
        if self.holders_generation != aqw_fork_generation():
            self.forget_lost_holders()
        while True:
            if self.is_in_batch:
                self.wait_for_batch()
            if self.holders < HOLDERS_MAX:
                break
            if self.holds_all():
                raise RecursionError(f"{HOLDERS_MAX} queries of one thread are under way, each within the one before")
            self.wait_a_moment()
        self.holding[self.holders] = thread
        self.holders += 1
        return 0

    cdef void let_go(self) noexcept:
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef int index
        for index in range(self.holders - 1, -1, -1):
            if self.holding[index] == thread:
                self.holders -= 1
                self.holding[index] = self.holding[self.holders]
                return

    cdef bint is_held_here(self) noexcept:
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef int index
        for index in range(self.holders):
            if self.holding[index] == thread:
                return True
        return False

    cdef bint holds_all(self) noexcept:
        """Whether every query that is under way is this thread's: none of them would end while it waits."""
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef int index
        for index in range(self.holders):
            if self.holding[index] != thread:
                return False
        return True

    cdef int wait_a_moment(self) except -1:
        """Let other threads run, with the interpreter's lock given up."""
        pause(PAUSE_SECONDS)
        return 0

    cdef int wait_for_queries(self) except -1:
        if self.holders_generation != aqw_fork_generation():
            self.forget_lost_holders()
        while self.holders > 0:
            if self.is_held_here():
                raise ReentrantCallError
            self.wait_a_moment()
        return 0

    cdef int begin_alone(self) except -1:
        self.wait_for_queries()
        self.batch_thread = PyThread_get_thread_ident()
        self.alone_generation = aqw_fork_generation()
        self.is_in_batch = True
        return 0

    cdef void end_alone(self) noexcept:
        self.is_in_batch = False

    cdef int apply(self, const aqw_event *event) except -1:
        self.wait_for_queries()
        return raise_status(aqw_table_apply(self.table, event), event.sequence)

    cdef int begin(self) except -1:
        self.wait_for_queries()
        raise_status(aqw_table_begin(self.table))
        self.batch_thread = PyThread_get_thread_ident()
        self.is_in_batch = True
        return 0

    cdef void commit(self) noexcept:
        self.is_in_batch = False
        aqw_table_commit(self.table)

    cdef void rollback(self) noexcept:
        aqw_table_rollback(self.table)
        self.is_in_batch = False

    cdef const aqw_table *settled(self) except NULL:
        if self.is_in_batch:
            self.wait_for_batch()
        return self.table

    cdef int wait_for_batch(self) except -1:
        while self.is_in_batch and self.batch_thread != PyThread_get_thread_ident():
            if self.lane is None:
                if self.alone_generation != aqw_fork_generation():
                    raise ForkedError       # the thread that was changing it does not exist here
                self.wait_a_moment()
            else:
                self.lane.enter().release()     # the thread that applies the batch holds it until the batch is committed or undone
        return 0

    @cython.critical_section
    def apply_event(self, event not None):
        """Apply one event wholly, or raise and change nothing.

        Raises:
            RefusedEventError: the event breaks a rule of the projection; ``rule`` says which.
            RecordTooLarge: the event is larger than a record may be.
            TypeError: ``event`` is no event, or a field has the wrong type.
            MemoryError: there is no memory for the change.
            RuntimeError: the projection belongs to a queue, which alone changes it.
        """
        if self.lane is not None:
            raise RuntimeError("this projection belongs to an open queue; submit commands to change it")
        if self.is_readers:
            raise RuntimeError("this projection belongs to a queue that is open read-only; only its refresh changes it")
        # A finalizer may run Python code while the encoder is being filled, and come here again: then it takes
        # another one.
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
        """From now on refuse apply_event: a refresh changes the table without the GIL."""
        self.is_readers = True

    def ensure_not_in_query(self):
        """Raise ReentrantCallError where a query of this thread is under way: a change that it asks for now would wait for itself."""
        if self.holders > 0 and self.is_held_here():
            raise ReentrantCallError

    def take_over(self, StateTable other not None):
        """Exchange contents with a table that holds the same, and that no other thread knows."""
        self.wait_for_queries()
        other.wait_for_queries()
        with cython.critical_section(self, other):
            if self.is_in_batch or aqw_table_latest_sequence(self.table) != aqw_table_latest_sequence(other.table):
                raise RuntimeError("the tables do not hold the same")
            self.table, other.table = other.table, self.table

    # --- What validation asks ----------------------------------------------------------------------------------------

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
    def run_state(self, RunId run_id not None, /):
        """The run's state, or None."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            return STATES[aqw_table_run_state(self.settled(), row)] if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def task_exists(self, TaskId task_id not None, /):
        """Whether the task was created."""
        self.hold()
        try:
            return aqw_table_find_task(self.settled(), task_id.data) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def is_task_canceled(self, TaskId task_id not None, /):
        """Whether the task was canceled."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_task(self.settled(), task_id.data)
            return row != 0 and aqw_table_task_is_canceled(self.settled(), row) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def forgotten_until(self, TaskId task_id not None, /):
        """Until when the identifier is refused for that of a task that was forgotten."""
        cdef aqw_tombstone_view tombstone
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_tombstone(self.settled(), task_id.data)
            if row == 0:
                return None
            aqw_table_tombstone(self.settled(), row, &tombstone)
            return tombstone.until
        finally:
            self.let_go()

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
        """When the engine was last paused, or None; a resume does not clear it."""
        cdef aqw_engine_view engine
        self.hold()
        try:
            aqw_table_engine(self.settled(), &engine)
            return time_if(engine.has_paused_at, engine.paused_at)
        finally:
            self.let_go()

    @cython.critical_section
    def active_attempt_id(self, RunId run_id not None, /):
        """The run's active attempt, or None."""
        cdef uint32_t row
        cdef const uint8_t *attempt_id
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            attempt_id = aqw_table_run_active_attempt(self.settled(), row) if row else NULL
            return id_from_data(AttemptId, attempt_id) if attempt_id != NULL else None
        finally:
            self.let_go()

    @cython.critical_section
    def active_lease(self, RunId run_id not None, /):
        """The run's lease as (owner, expiry), or None."""
        cdef aqw_lease_view lease
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            if row == 0 or not aqw_table_run_lease(self.settled(), row, &lease):
                return None
            return text_of(lease.owner), lease.expiry
        finally:
            self.let_go()

    @cython.critical_section
    def attempt_count(self, RunId run_id not None, /):
        """How many attempts of the run were started; 0 for an unknown run."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            return aqw_table_run_attempt_count(self.settled(), row) if row else 0
        finally:
            self.let_go()

    @cython.critical_section
    def attempt_was_used(self, RunId run_id not None, AttemptId attempt_id not None, /):
        """Whether the run ever had this attempt."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            return row != 0 and aqw_table_run_had_attempt(self.settled(), row, attempt_id.data) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def budget_allocation_exists(self, TaskId task_id not None, dimension, /):
        """Whether the task has a budget in this dimension: a member, or its name."""
        self.hold()
        try:
            return aqw_table_find_budget(self.settled(), task_id.data, <uint8_t>dimension_code("budget_allocation_exists", dimension)) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def subscription_exists(self, SubscriptionId subscription_id not None, /):
        """Whether the subscription was created."""
        self.hold()
        try:
            return aqw_table_find_subscription(self.settled(), subscription_id.data) != 0
        finally:
            self.let_go()

    @cython.critical_section
    def is_subscription_canceled(self, SubscriptionId subscription_id not None, /):
        """Whether the subscription was canceled."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_subscription(self.settled(), subscription_id.data)
            return row != 0 and aqw_table_subscription_is_canceled(self.settled(), row) != 0
        finally:
            self.let_go()

    # --- What records are built from: plain tuples, or None for what is not there -----------------------------------

    @cython.critical_section
    def run(self, RunId run_id not None):
        """Return the run as it is now; None where there is no such run."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            return run_instance(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_lease(self, RunId run_id not None, /):
        """(owner, expiry, acquired_at, updated_at)."""
        cdef aqw_lease_view lease
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            if row == 0 or not aqw_table_run_lease(self.settled(), row, &lease):
                return None
            return text_of(lease.owner), lease.expiry, lease.acquired_at, lease.updated_at
        finally:
            self.let_go()

    @cython.critical_section
    def read_history(self, RunId run_id not None, /):
        """A list of (from_state, to_state, timestamp), oldest first; the first comes from None."""
        cdef aqw_run_view run
        cdef aqw_history_view entry
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            if row == 0:
                return None
            aqw_table_run(self.settled(), row, &run)
            entries = [(None, STATES[AQW_SCHEDULED], run.created_at)]
            row = run.first_history
            while row:
                aqw_table_history(self.settled(), row, &entry)
                entries.append((STATES[entry.from_state], STATES[entry.to_state], entry.timestamp))
                row = entry.next
            return entries
        finally:
            self.let_go()

    @cython.critical_section
    def read_attempts(self, RunId run_id not None, /):
        """A list of (attempt_id, started_at, finished_at, result, error, output), oldest first."""
        cdef aqw_run_view run
        cdef aqw_attempt_view attempt
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_run(self.settled(), run_id.data)
            if row == 0:
                return None
            aqw_table_run(self.settled(), row, &run)
            attempts = []
            row = run.first_attempt
            while row:
                aqw_table_attempt(self.settled(), row, &attempt)
                attempts.append((
                    id_from_data(AttemptId, attempt.attempt_id),
                    attempt.started_at,
                    time_if(attempt.is_finished, attempt.finished_at),
                    RESULTS[attempt.result] if attempt.is_finished else None,
                    text_of(attempt.error) if attempt.error.data != NULL else None,
                    bytes_of(attempt.output) if attempt.output.data != NULL else None,
                ))
                row = attempt.next
            return attempts
        finally:
            self.let_go()

    @cython.critical_section
    def read_run_ids(self, state=None, /):
        """The runs in a state, or all of them, in the order in which they were created."""
        cdef aqw_run_view run
        cdef aqw_table_counts counts
        cdef uint32_t row, left
        cdef int code
        self.hold()
        try:
            code = -1 if state is None else state_code(state)
            counts = counts_of(self.settled())
            left = counts.runs if code < 0 else counts.runs_by_state[code]
            run_ids = []
            row = aqw_table_next_run(self.settled(), 0) if left else 0
            while row and <uint32_t>len(run_ids) < left:
                if code < 0 or aqw_table_run_state(self.settled(), row) == code:
                    aqw_table_run(self.settled(), row, &run)
                    run_ids.append(id_from_data(RunId, run.run_id))
                row = aqw_table_next_run(self.settled(), row)
            return run_ids
        finally:
            self.let_go()

    @cython.critical_section
    def read_runs_of_task(self, TaskId task_id not None, /):
        """Each run of the task, in the order in which they were created."""
        cdef aqw_task_view task
        cdef aqw_run_view run
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_task(self.settled(), task_id.data)
            runs = []
            if row:
                aqw_table_task(self.settled(), row, &task)
                row = task.first_run
            while row:
                runs.append(run_instance(self.settled(), row))
                aqw_table_run(self.settled(), row, &run)
                row = run.next_in_task
            return runs
        finally:
            self.let_go()

    @cython.critical_section
    def read_task(self, TaskId task_id not None, /):
        """(task_id, created_at, canceled_at, encoded spec, runs_created, last_run_at)."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_task(self.settled(), task_id.data)
            return task_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_tasks(self):
        """The same for every task, in the order in which they were created."""
        self.hold()
        try:
            return walked_rows(self.settled(), aqw_table_next_task, task_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_task_ids(self):
        """Every task, in the order in which they were created."""
        self.hold()
        try:
            return walked_rows(self.settled(), aqw_table_next_task, task_id_of)
        finally:
            self.let_go()

    @cython.critical_section
    def read_dependencies(self, TaskId task_id not None, /):
        """The task's prerequisites, in no particular order."""
        cdef aqw_task_view task
        cdef aqw_dependency_view dependency
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_task(self.settled(), task_id.data)
            depends_on = []
            if row:
                aqw_table_task(self.settled(), row, &task)
                row = task.first_dependency
            while row:
                aqw_table_dependency(self.settled(), row, &dependency)
                depends_on.append(id_from_data(TaskId, dependency.depends_on))
                row = dependency.next_in_task
            return depends_on
        finally:
            self.let_go()

    @cython.critical_section
    def read_dependency_pairs(self):
        """Every (task_id, prerequisite), in the order in which they were declared."""
        self.hold()
        try:
            return walked_rows(self.settled(), aqw_table_next_dependency, dependency_pair)
        finally:
            self.let_go()

    @cython.critical_section
    def read_children(self, TaskId parent_task_id not None, /):
        """The tasks that name this one, known or not, as their parent, in the order in which they were created."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_parent(self.settled(), parent_task_id.data)
            return children_in(self.settled(), row) if row else []
        finally:
            self.let_go()

    @cython.critical_section
    def read_parent_pairs(self):
        """Every (parent_task_id, task_id)."""
        cdef aqw_parent_view parent
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_next_parent(self.settled(), 0)
            pairs = []
            while row:
                aqw_table_parent(self.settled(), row, &parent)
                parent_task_id = id_from_data(TaskId, parent.parent_task_id)
                pairs += [(parent_task_id, child) for child in children_in(self.settled(), row)]
                row = aqw_table_next_parent(self.settled(), row)
            return pairs
        finally:
            self.let_go()

    @cython.critical_section
    def read_budget(self, TaskId task_id not None, dimension, /):
        """(task_id, dimension, limit, consumed, allocated_at, is_exhausted)."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_budget(self.settled(), task_id.data, <uint8_t>dimension_code("budget", dimension))
            return budget_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_budgets(self):
        """The same for every budget, in the order in which they were first allocated."""
        self.hold()
        try:
            return walked_rows(self.settled(), aqw_table_next_budget, budget_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_subscription(self, SubscriptionId subscription_id not None, /):
        """(subscription_id, task_id, filter, created_at, triggered_at, canceled_at)."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_subscription(self.settled(), subscription_id.data)
            return subscription_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_subscriptions(self):
        """The same for every subscription, in the order in which they were created."""
        self.hold()
        try:
            return walked_rows(self.settled(), aqw_table_next_subscription, subscription_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_actor(self, ActorId actor_id not None, /):
        """(registration, registered_at, last_heartbeat_at, deregistered_at)."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_actor(self.settled(), actor_id.data)
            return actor_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_actors(self):
        """The same for every actor, in the order in which they were first registered."""
        self.hold()
        try:
            return walked_rows(self.settled(), aqw_table_next_actor, actor_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_tenant(self, TenantId tenant_id not None, /):
        """(tenant_id, name, created_at)."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_tenant(self.settled(), tenant_id.data)
            return tenant_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_tenants(self):
        """The same for every tenant, in the order in which they were first created."""
        self.hold()
        try:
            return all_rows(self.settled(), counts_of(self.settled()).tenants, tenant_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_role(self, ActorId actor_id not None, TenantId tenant_id not None, /):
        """(actor_id, tenant_id, role, assigned_at)."""
        cdef uint32_t row
        self.hold()
        try:
            row = aqw_table_find_role(self.settled(), actor_id.data, tenant_id.data)
            return role_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_roles(self):
        """The same for every actor and tenant, in the order in which they were first assigned."""
        self.hold()
        try:
            return walked_rows(self.settled(), aqw_table_next_role, role_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_capability(self, ActorId actor_id not None, TenantId tenant_id not None, capability not None, /):
        """(actor_id, tenant_id, capability, granted_at, revoked_at)."""
        cdef bytes encoded
        cdef const uint8_t *data
        cdef aqw_bytes key
        cdef uint32_t row
        self.hold()
        try:
            encoded = capability_to_bytes(capability)
            data = encoded
            key.data = data
            key.size = <uint32_t>len(encoded)
            row = aqw_table_find_capability(self.settled(), actor_id.data, tenant_id.data, key)
            return capability_tuple(self.settled(), row) if row else None
        finally:
            self.let_go()

    @cython.critical_section
    def read_capabilities(self):
        """The same for every grant, in the order in which they were first granted."""
        self.hold()
        try:
            return walked_rows(self.settled(), aqw_table_next_capability, capability_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_ledger(self):
        """A list of (entry_id, tenant_id, ledger_key, actor_id, payload, timestamp), in the order of the log."""
        self.hold()
        try:
            return walked_rows(self.settled(), aqw_table_next_ledger, ledger_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_tombstones(self):
        """A list of (task_id, until), in the order in which the tasks were forgotten."""
        self.hold()
        try:
            return walked_rows(self.settled(), aqw_table_next_tombstone, tombstone_tuple)
        finally:
            self.let_go()

    @cython.critical_section
    def read_engine(self):
        """(is_paused, paused_at, resumed_at)."""
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

    @cython.critical_section
    def read_counts_by_state(self):
        """The number of runs in each state, in the order of RunState."""
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
        """How many there are of each kind, and the bytes of memory that the table has taken."""
        cdef aqw_table_counts counts
        self.hold()
        try:
            counts = counts_of(self.settled())
            return {
                "tasks": counts.tasks,
                "runs": counts.runs,
                "history": counts.history + counts.runs,    # each run's first entry is implied
                "attempts": counts.attempts,
                "leases": counts.leases,
                "dependencies": counts.dependencies,
                "budgets": counts.budgets,
                "subscriptions": counts.subscriptions,
                "actors": counts.actors,
                "tenants": counts.tenants,
                "roles": counts.roles,
                "capabilities": counts.capabilities,
                "ledger": counts.ledger,
                "tombstones": counts.tombstones,
                "memory_bytes": counts.memory_bytes,
            }
        finally:
            self.let_go()

    @cython.critical_section
    def newest_change(self):
        """The latest time at which a run was created or changed its state, by the events, those of purged runs included; 0 without any."""
        self.hold()
        try:
            return aqw_table_newest_change(self.table)
        finally:
            self.let_go()

    # --- Retention ---------------------------------------------------------------------------------------------------

    @cython.critical_section
    def find_finished(self, cutoff, uint32_t rows_max, tuple place=(0, 0, 0), /, *, uint64_t timestamp=0, ledger_cutoff=None,
                      uint64_t today=0, kept_until=None):
        """What may be purged, among about the next ``rows_max`` rows, as the event or None; the place; whether a task was put off.

        The place is where to go on: zeros to begin with, and again at the end.
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
                    ids_tuple(RunId, finished.run_ids[0], finished.run_count),
                    ids_tuple(TaskId, finished.task_ids[0], finished.task_count),
                    timestamp,
                    ids_tuple(SubscriptionId, finished.subscription_ids[0], finished.subscription_count),
                    ids_tuple(ActorId, finished.actor_ids[0], finished.actor_count),
                    finished.ledger_count,
                    finished.tombstone_count,
                    kept_until if finished.task_count else None,
                )
                found = finished.run_count + finished.task_count + finished.subscription_count + finished.actor_count
                found += finished.ledger_count + finished.tombstone_count
                place = (finished.next_part, finished.next_row, finished.next_run)
                return event if found else None, place, bool(finished.has_put_off)
            finally:
                PyMem_Free(finished)
        finally:
            self.let_go()
