"""What a scheduler does all day, in one native call a step: ``core/queue/work.h``.

:class:`Work` takes a step through turn, lane, batch and append, as :mod:`actionqueue.lane` does it
for commands. A step's own class says what it adds to the batch. Between two runs of a step Python
code may come, a finalizer's or a signal's handler's, and fork; so each run begins with a check.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from _wal_native.buffers cimport Buffer, byte_buffer, id_buffer, offset_buffer
from _wal_native.core cimport *
from _wal_native.events cimport encode_checked_spec
from _wal_native.from_c cimport bytes_of
from _wal_native.ids cimport AttemptId, RunId, TaskId, id_from_data
from _wal_native.lane cimport Lane
from _wal_native.log cimport Log
from _wal_native.rules cimport state_member
from _wal_native.status cimport raise_status
from _wal_native.turn cimport Turn

from _wal_native.above import (
    ClaimLost,
    InvalidFieldError,
    InvalidFieldTypeError,
    Once,
    PoisonedError,
    SequenceOverflow,
    TaskSpec,
    WriterError,
)

cdef extern from *:
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

cdef enum:
    AT_ONCE = 512       # runs, which take less than a millisecond
    SPEC_SIZE_KEPT = 65536      # bytes of the memory that the next specification takes again


cdef int set_text(aqw_bytes *to, object text) except -1:
    """Point to the bytes of a str, which keeps them."""
    cdef Py_ssize_t size
    to.data = <const uint8_t *>PyUnicode_AsUTF8AndSize(text, &size)
    to.size = <uint32_t>min(size, <Py_ssize_t>AQW_TEXT_SIZE_MAX + 1)    # which the core refuses
    return 0


cdef int let_others_run() except -1:
    """Give up the interpreter's lock for an instant; a signal's handler may raise."""
    with nogil:
        pass
    return PyErr_CheckSignals()


@cython.final
cdef class SchedulersTurn(Turn):
    """The turn of a queue's schedulers, in which a thread takes the queue's lane.

    So the turn comes first, and a thread that is in the lane already, or in a query for whose end
    the lane's holder waits, is refused: a finalizer or a signal's handler calls from there.
    """

    cdef Lane queue

    def __init__(self, Lane queue not None):
        self.queue = queue

    cdef object begin(self):
        self.queue._lane.ensure_outside()
        if self.queue._log.table.holders > 0:
            self.queue._log.ensure_not_in_query()
        return Turn.begin(self)


@cython.final
cdef class Work:
    """The steps over a queue, in the turn of its schedulers.

    ``shared`` is :class:`actionqueue.scheduler.shared.Shared`.
    """

    cdef Lane queue
    cdef Log log
    cdef Turn turn
    cdef object shared
    cdef object make_claim
    cdef object created         # of the shared subscriptions, and what they wait for
    cdef object waiting
    cdef aqw_work work

    def __init__(self, Lane queue not None, shared, make_claim, /):
        """Take a queue, and what makes a claim of the eight fields that a run's claim has."""
        self.queue = queue
        self.log = queue._log
        self.shared = shared
        self.turn = shared.turn
        self.created = shared.subscriptions.created
        self.waiting = shared.subscriptions.waiting
        self.make_claim = make_claim

    cdef uint64_t do(self, Step step, object changes) except? 0:
        """Do a step; return its last sequence, 0 where there was nothing to do.

        ``changes`` returns what happens to runs, as commands, for the step's items and its time.
        """
        cdef object lock = self.turn.begin()
        try:
            if self.shared.is_watched:
                return self.shared.watch(
                    self.append, (step, changes), changes, (step.items, step.now))
            return self.do_in_turn(step, changes)
        finally:
            self.turn.end(lock)

    def append(self, Step step not None, changes, /):
        """Append what a step says, and return the last sequence. The caller is in the turn."""
        return self.do_in_turn(step, changes)

    cdef uint64_t do_in_turn(self, Step step, object changes) except? 0:
        cdef object lock = self.queue._lane.begin()
        try:
            if self.queue.unusable is not None:
                self.queue._ensure_usable()
            return self.do_in_lane(step, changes)
        finally:
            self.queue._lane.end(lock)

    cdef uint64_t do_in_lane(self, Step step, object changes) except? 0:
        try:
            self.log.ensure_open()
            step.add_to_batch(self)
            if not self.log.batch_is_open:
                return 0
            if self.created or self.waiting:
                self.queue._add_to_batch(
                    self.shared.triggered(changes(step.items, step.now), step.now), None)
            self.log.batch_commit()
        except BaseException as error:
            self.log.batch_rollback()
            if isinstance(error, (WriterError, PoisonedError)):
                meant = self.queue._meant_by(error)
                if meant is not error:
                    raise meant from error
            raise
        return aqw_table_latest_sequence(self.log.table.table)

    # --- For the steps ----------------------------------------------------------------------------

    cdef int begin(self, uint64_t now) except -1:
        self.log.batch_begin()
        self.work.table = self.log.table.table
        self.work.batch = &self.log.batch
        self.work.now = now
        return 0

    cdef int check(self, aqw_status status) except -1:
        """Raise what a refusal of the last event means."""
        if status == AQW_OK:
            return 0
        if status == AQW_TOO_LARGE:
            raise self.log.too_large(&self.work.event)
        if self.work.event.sequence == 0:
            raise SequenceOverflow
        return raise_status(status, self.work.event.sequence)

    cdef int complete_held(self, const aqw_held *held, aqw_bytes output) except -1:
        """Complete a run. Raises ClaimLost where its attempt is not held."""
        cdef aqw_status status
        cdef bint is_held
        self.log.check()
        with cython.critical_section(self.log.table):
            is_held = aqw_work_is_held(self.work.table, held)
            status = aqw_work_complete(&self.work, held, output) if is_held else AQW_OK
        if is_held:
            return self.check(status)
        cdef uint32_t row = aqw_table_find_run(self.work.table, held.run_id)
        state = state_member(aqw_table_run_state(self.work.table, row)) if row else None
        raise ClaimLost(
            id_from_data(RunId, held.run_id), id_from_data(AttemptId, held.attempt_id), state)

    # --- The steps --------------------------------------------------------------------------------

    def add(self, list specs not None, uint64_t scheduled_at, uint64_t now, changes, /):
        """Create tasks, each with its first run, which has the task's 16 bytes.

        Returns the last sequence; 0 with nothing done where a task's policy is not Once.

        Raises:
            RefusedEventError: A task's or a run's identifier is taken.
            RecordTooLarge, InvalidFieldError: A task, or all together, are over a limit.
        """
        cdef Addition step
        for spec in specs:
            if not isinstance(spec, TaskSpec):
                raise TypeError(f"expected TaskSpec, got {type(spec).__name__}")
            if type(spec.run_policy) is not Once:
                return 0
        step = Addition.__new__(Addition)
        step.items = specs
        step.now = now
        step.scheduled_at = scheduled_at
        return self.do(step, changes)

    def claim(
        self, str owner not None, uint32_t limit, capabilities, uint64_t expiry, uint64_t now,
        changes, into, /
    ):
        """Claim up to ``limit`` ready runs that nothing blocks, and append them to a list.

        Or to ClaimRows. Returns the last sequence, 0 without a claim. ``capabilities`` is a
        frozenset, or None for all runs. Of runs with one concurrency key the first is claimed.
        There are none while the engine is paused. After an exception some of the claims may be
        held, or all, or none.
        """
        cdef Claiming step = Claiming.__new__(Claiming)
        if isinstance(into, ClaimRows):
            step.rows = into
            step.items = [into]
        else:
            step.items = into
        step.now = now
        step.owner = owner
        step.limit = limit
        step.capabilities = capabilities
        step.expiry = expiry
        return self.do(step, changes)

    def complete_rows(self, claims not None, outputs, uint64_t now, changes, /):
        """Complete what a claim as columns has: its ``owner``, ``run_ids`` and ``attempt_ids``.

        ``outputs`` is bytes for all rows, a pair of arrays (offsets, data), or None. Returns and
        raises what :meth:`complete` does, and InvalidFieldError or InvalidFieldTypeError for arrays
        of another type or layout.
        """
        cdef ColumnCompletion step = ColumnCompletion.__new__(ColumnCompletion)
        step.take(claims, outputs)
        step.now = now
        return self.do(step, changes) if step.run_ids else 0

    def complete(self, list claims not None, list outputs, uint64_t now, changes, /):
        """Complete the runs of claims, and return the last sequence, 0 without a claim.

        ``outputs`` has bytes for each, or is None.

        Raises:
            ClaimLost: A claim is not held.
            RecordTooLarge, InvalidFieldError: A result, or all together, are over a limit.
        """
        cdef Completion step = Completion.__new__(Completion)
        step.items = claims
        step.now = now
        step.outputs = outputs
        return self.do(step, changes)


cdef class Step:
    cdef list items             # what it is about, for those that hear of it
    cdef uint64_t now           # Unix seconds

    cdef int add_to_batch(self, Work on) except -1:
        """Begin a batch, if there is anything to do, and add to it."""
        raise NotImplementedError


@cython.final
cdef class Addition(Step):
    """New tasks with their first runs. The items are their specifications."""

    cdef uint64_t scheduled_at

    cdef int add_to_batch(self, Work on) except -1:
        cdef aqw_new_task task
        cdef aqw_status status
        cdef Py_ssize_t index
        cdef TaskId task_id
        task.scheduled_at = self.scheduled_at
        on.begin(self.now)
        for index in range(len(self.items)):
            if index % AT_ONCE == AT_ONCE - 1:
                let_others_run()
            spec = self.items[index]
            task_id = spec.id
            memcpy(task.task_id, task_id.data, 16)
            memcpy(task.run_id, task_id.data, 16)
            task.priority = <int32_t>spec.metadata.priority
            encode_checked_spec(on.log.encoder, &task.spec, spec)
            on.log.check()
            with cython.critical_section(on.log.table):
                status = aqw_work_add(&on.work, &task)
            on.check(status)
            if task.spec.size > SPEC_SIZE_KEPT:
                on.log.encoder.trim()
        return 0


@cython.final
cdef class Claiming(Step):
    """Ready runs for a worker. The items are the claims."""

    cdef str owner
    cdef uint32_t limit
    cdef object capabilities
    cdef uint64_t expiry
    cdef ClaimRows rows         # or None, for claims as objects

    cdef int add_to_batch(self, Work on) except -1:
        cdef uint32_t *rows = NULL
        cdef uint32_t count
        try:
            with cython.critical_section(on.log.table):
                count = on.log.table.rows_to_claim(self.limit, self.capabilities, &rows)
            return self.claim_each(on, rows, count) if count else 0
        finally:
            PyMem_Free(rows)

    cdef int claim_each(self, Work on, const uint32_t *rows, uint32_t count) except -1:
        cdef aqw_held held
        cdef aqw_bytes spec
        cdef uint32_t at, number
        cdef uint8_t task_id[16]
        cdef aqw_status status
        cdef AttemptId attempt_id
        set_text(&held.owner, self.owner)
        on.begin(self.now)
        for at in range(count):
            if at % AT_ONCE == AT_ONCE - 1:
                let_others_run()
            attempt_id = AttemptId()
            on.log.check()
            memcpy(held.attempt_id, attempt_id.data, 16)
            with cython.critical_section(on.log.table):
                number = describe(on.work.table, rows[at], held.run_id, task_id, &spec)
                status = aqw_work_claim(&on.work, &held, self.expiry)
            on.check(status)
            if self.rows is not None:
                self.rows.add(task_id, &held, number, spec)
                continue
            self.items.append(on.make_claim(
                id_from_data(TaskId, task_id), id_from_data(RunId, held.run_id), attempt_id,
                self.owner, number, self.now, self.expiry, bytes_of(spec)))
        return 0


@cython.final
cdef class Completion(Step):
    """Attempts that did their work. The items are their claims."""

    cdef list outputs           # bytes for each, or None

    cdef int add_to_batch(self, Work on) except -1:
        cdef aqw_held held
        cdef aqw_bytes output
        cdef Py_ssize_t index
        cdef bytes given
        output.data = NULL
        output.size = 0
        on.begin(self.now)
        for index in range(len(self.items)):
            if index % AT_ONCE == AT_ONCE - 1:
                let_others_run()
            owner = set_held(&held, self.items[index])
            if self.outputs is not None:
                given = self.outputs[index]
                output.data = <const uint8_t *><const char *>given
                output.size = <uint32_t>len(given)
            on.complete_held(&held, output)
        return 0


include "work_columns.pxi"


cdef uint32_t describe(
    const aqw_table *table, uint32_t row, uint8_t *run_id, uint8_t *task_id, aqw_bytes *spec
) noexcept:
    """Fill in what a claim says of a run; return the number of the attempt that it begins."""
    cdef aqw_run_view run
    cdef aqw_task_view task
    aqw_table_run(table, row, &run)
    aqw_table_task(table, aqw_table_find_task(table, run.task_id), &task)
    memcpy(run_id, run.run_id, 16)
    memcpy(task_id, run.task_id, 16)
    spec[0] = task.spec
    return aqw_table_counted_attempts(table, row) + 1 if run.attempt_count else 1


cdef object set_held(aqw_held *held, object claim):
    """Fill in what a claim says that its owner holds. Returns the owner, which keeps its bytes."""
    cdef object run_id = claim.run_id, attempt_id = claim.attempt_id
    if type(run_id) is not RunId:
        raise InvalidFieldTypeError("Claim", "run_id", run_id, "must be a RunId")
    if type(attempt_id) is not AttemptId:
        raise InvalidFieldTypeError("Claim", "attempt_id", attempt_id, "must be an AttemptId")
    memcpy(held.run_id, (<RunId>run_id).data, 16)
    memcpy(held.attempt_id, (<AttemptId>attempt_id).data, 16)
    return set_owner(held, "Claim", claim.owner)


cdef object set_owner(aqw_held *held, str whose, object owner):
    """Fill in an owner's name, which may be of a class derived from str. Returns it."""
    if not isinstance(owner, str):
        raise InvalidFieldTypeError(whose, "owner", owner, "must be a text")
    try:
        set_text(&held.owner, owner)
    except UnicodeEncodeError:
        raise InvalidFieldError(
            whose, "owner", owner, "must not have lone surrogates") from None
    return owner
