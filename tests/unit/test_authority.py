"""The lane over stubs: its order, what each stage's failure leaves behind, interrupts, and minimal
projections.
"""

from __future__ import annotations

import gc
import signal
import sys
import threading
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionqueue import (
    AppliedRunCreate,
    AppliedTaskCancel,
    AppliedTaskCreate,
    AttemptId,
    AttemptStartCommand,
    AttemptStarted,
    BudgetDimension,
    BudgetReplenishCommand,
    DurabilityPolicy,
    EnginePauseCommand,
    EnginePaused,
    EngineResumeCommand,
    EngineResumed,
    Event,
    EventFilter,
    MutationOutcome,
    RunCreateCommand,
    RunCreated,
    RunId,
    RunInstance,
    RunState,
    RunStateChanged,
    RunStateTransitionCommand,
    SubscriptionCancelCommand,
    SubscriptionCreateCommand,
    SubscriptionId,
    TaskCancelCommand,
    TaskCanceled,
    TaskCreateCommand,
    TaskCreated,
    TaskId,
    TaskSpec,
)
from actionqueue.authority import StorageMutationAuthority
from actionqueue.errors import (
    AppendError,
    ApplyError,
    BudgetNotAllocated,
    ClosedError,
    InvalidFieldError,
    InvalidFieldTypeError,
    LogSpaceError,
    LogWriteError,
    NonMonotonicSequence,
    PartialDurabilityError,
    PoisonedError,
    RecordTooLarge,
    ReentrantCallError,
    RefusedEventError,
    TaskAlreadyCanceled,
    UnknownSubscription,
    UnknownTask,
    Written,
)
from actionqueue.projection import Projection

TASK = TaskSpec(payload=b"payload")
CREATE = TaskCreateCommand(None, TASK, 10)
CANCEL = TaskCancelCommand(None, TASK.id, 11)


class ProjectionStub:
    """A projection with no more than the required queries, light enough to be obvious."""

    def __init__(self) -> None:
        self.latest_sequence = 0
        self.tasks: set[TaskId] = set()
        self.canceled_tasks: set[TaskId] = set()
        self.runs: dict[RunId, RunState] = {}
        self.active_attempts: dict[RunId, AttemptId] = {}
        self.is_paused = False
        self.raises_before: BaseException | None = None
        self.raises_after: BaseException | None = None
        self.applied: list[int] = []

    def run_state(self, run_id: RunId) -> RunState | None:
        return self.runs.get(run_id)

    def task_exists(self, task_id: TaskId) -> bool:
        return task_id in self.tasks

    def is_task_canceled(self, task_id: TaskId) -> bool:
        return task_id in self.canceled_tasks

    def is_engine_paused(self) -> bool:
        return self.is_paused

    def active_attempt_id(self, run_id: RunId) -> AttemptId | None:
        return self.active_attempts.get(run_id)

    def active_lease(self, run_id: RunId) -> tuple[str, int] | None:
        return None

    def apply_event(self, event: Event) -> None:
        raised, self.raises_before = self.raises_before, None
        if raised is not None:
            raise raised
        match event:
            case TaskCreated(task_spec=spec):
                self.tasks.add(spec.id)
            case TaskCanceled(task_id=task_id):
                self.canceled_tasks.add(task_id)
            case RunCreated(run_instance=run):
                self.runs[run.id] = run.state
            case RunStateChanged(run_id=run_id, new_state=state):
                self.runs[run_id] = state
            case AttemptStarted(run_id=run_id, attempt_id=attempt_id):
                self.active_attempts[run_id] = attempt_id
            case EnginePaused():
                self.is_paused = True
            case EngineResumed():
                self.is_paused = False
        self.applied.append(event.sequence)
        self.latest_sequence = event.sequence
        raised, self.raises_after = self.raises_after, None
        if raised is not None:
            raise raised


class WriterStub:
    """A writer into a list, which raises what it is told to, once, before or after it does its
    work.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.flushes: list[int] = []  # how many events there were at each flush
        self.append_raises_before: BaseException | None = None
        self.append_raises_after: BaseException | None = None
        self.flush_raises: BaseException | None = None

    def append(self, event: Event) -> None:
        raised, self.append_raises_before = self.append_raises_before, None
        if raised is not None:
            raise raised
        self.events.append(event)
        raised, self.append_raises_after = self.append_raises_after, None
        if raised is not None:
            raise raised

    def flush(self) -> None:
        raised, self.flush_raises = self.flush_raises, None
        if raised is not None:
            raise raised
        self.flushes.append(len(self.events))


Authority = StorageMutationAuthority[WriterStub, ProjectionStub]


@pytest.fixture
def authority() -> Authority:
    return StorageMutationAuthority(WriterStub(), ProjectionStub())


def assert_refuses(authority: Authority, cause: BaseException | None) -> PoisonedError:
    """Check that the authority takes nothing any more, says why, and touches neither of its
    parts.
    """
    events, applied = list(authority.writer.events), list(authority.projection.applied)
    with pytest.raises(PoisonedError) as refusal:
        authority.submit_command(TaskCreateCommand(None, TaskSpec(payload=b""), 12))
    assert refusal.value.cause is cause
    assert authority.failure is cause
    assert (authority.writer.events, authority.projection.applied) == (events, applied)
    return refusal.value


# --- The order of the lane ------------------------------------------------------------------------


def test_takes_a_task_a_run_and_a_transition_with_explicit_sequences(authority: Authority) -> None:
    run = RunInstance.scheduled(TASK.id, scheduled_at=100, created_at=100)
    ready = RunStateTransitionCommand(3, run.id, RunState.SCHEDULED, RunState.READY, 100)
    assert authority.submit_command(TaskCreateCommand(1, TASK, 10)) == MutationOutcome(
        1, AppliedTaskCreate(TASK.id)
    )
    assert authority.submit_command(RunCreateCommand(2, run)) == MutationOutcome(
        2, AppliedRunCreate(run.id, TASK.id)
    )
    assert authority.submit_command(ready).sequence == 3

    writer, projection = authority.into_parts()
    assert [event.sequence for event in writer.events] == [1, 2, 3]
    assert writer.flushes == [1, 2, 3]  # each before the next append
    assert projection.task_exists(TASK.id)
    assert projection.run_state(run.id) is RunState.READY


def test_a_failed_flush_is_partial_durability_and_leaves_the_projection_alone(
    authority: Authority,
) -> None:
    cause = OSError("flush failed")
    authority.writer.flush_raises = cause
    with pytest.raises(PartialDurabilityError) as failure:
        authority.submit_command(CREATE)
    assert failure.value == PartialDurabilityError(1, cause)
    assert failure.value.__cause__ is cause
    assert failure.value.written is Written.UNKNOWN
    assert [event.sequence for event in authority.writer.events] == [1]
    assert not authority.projection.task_exists(TASK.id)
    refusal = assert_refuses(authority, failure.value)
    assert "projection ends at event 0" in refusal.__notes__[0]


def test_deferred_commands_are_applied_without_a_flush(authority: Authority) -> None:
    authority.submit_command(CREATE, DurabilityPolicy.DEFERRED)
    assert authority.writer.flushes == []
    assert authority.projection.task_exists(TASK.id)


def test_the_durability_may_be_named_and_must_be_one(authority: Authority) -> None:
    authority.submit_command(CREATE, "deferred")  # type: ignore[arg-type]
    assert authority.writer.flushes == []
    with pytest.raises(InvalidFieldError) as refusal:
        authority.submit_command(CANCEL, "imediate")  # type: ignore[arg-type]
    assert refusal.value.field == "durability"
    assert len(authority.writer.events) == 1


def test_no_sequence_means_the_next_one(authority: Authority) -> None:
    assert authority.submit_command(CREATE).sequence == 1
    assert authority.submit_command(CANCEL) == MutationOutcome(2, AppliedTaskCancel(TASK.id))


# --- What each failure leaves behind --------------------------------------------------------------


def test_a_refused_command_touches_nothing_and_the_lane_goes_on(authority: Authority) -> None:
    with pytest.raises(UnknownTask):
        authority.submit_command(CANCEL)
    with pytest.raises(NonMonotonicSequence):
        authority.submit_command(TaskCreateCommand(7, TASK, 10))
    assert authority.writer.events == []
    assert authority.submit_command(CREATE).sequence == 1


def test_what_is_no_command_is_refused_as_a_wrong_type(authority: Authority) -> None:
    with pytest.raises(InvalidFieldTypeError):
        authority.submit_command({"type": "task_create"})  # type: ignore[arg-type]
    assert authority.submit_command(CREATE).sequence == 1


def test_an_append_that_wrote_nothing_can_be_repeated(authority: Authority) -> None:
    cause = LogSpaceError("write", "queue", 28)
    authority.writer.append_raises_before = cause
    with pytest.raises(AppendError) as failure:
        authority.submit_command(CREATE)
    assert (failure.value.cause, failure.value.written) == (cause, Written.NO)
    assert authority.failure is None
    assert authority.projection.applied == []
    assert authority.submit_command(CREATE).sequence == 1


@pytest.mark.parametrize(
    "cause", [LogWriteError("write", "queue", 5), OSError("disk"), StopIteration()]
)
def test_an_append_of_unknown_outcome_poisons(authority: Authority, cause: Exception) -> None:
    authority.writer.append_raises_after = cause
    with pytest.raises(AppendError) as failure:
        authority.submit_command(CREATE)
    assert failure.value.written is Written.UNKNOWN
    assert authority.projection.applied == []
    assert_refuses(authority, failure.value)


def test_an_event_that_the_writer_finds_too_large_is_refused_like_any_invalid_command(
    authority: Authority,
) -> None:
    authority.writer.append_raises_before = RecordTooLarge(17, 16)
    with pytest.raises(RecordTooLarge):
        authority.submit_command(CREATE)
    assert authority.submit_command(CREATE).sequence == 1


def test_an_event_that_the_projection_refuses_poisons(authority: Authority) -> None:
    cause = RefusedEventError("task_exists", 1)
    authority.projection.raises_before = cause
    with pytest.raises(ApplyError) as failure:
        authority.submit_command(CREATE)
    assert failure.value == ApplyError(1, cause)
    assert failure.value.written is Written.YES
    assert authority.writer.flushes == [1]
    assert_refuses(authority, failure.value)


def test_the_parts_of_a_poisoned_authority_can_be_had(authority: Authority) -> None:
    authority.writer.flush_raises = OSError()
    with pytest.raises(PartialDurabilityError):
        authority.submit_command(CREATE)
    writer, projection = authority.into_parts()
    assert len(writer.events) == 1
    assert projection.applied == []
    assert isinstance(authority.failure, PartialDurabilityError)


def test_an_authority_that_was_taken_apart_takes_nothing(authority: Authority) -> None:
    parts = authority.into_parts()
    with pytest.raises(ClosedError):
        authority.submit_command(CREATE)
    assert authority.into_parts() == parts


# --- Interrupts -----------------------------------------------------------------------------------


def test_an_interrupt_before_the_append_changes_nothing(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_task_id: TaskId) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(authority.projection, "task_exists", interrupted)
        with pytest.raises(KeyboardInterrupt):
            authority.submit_command(CREATE)
    assert authority.submit_command(CREATE).sequence == 1


@pytest.mark.parametrize("point", ["append_raises_before", "append_raises_after"])
def test_an_interrupt_out_of_the_append_poisons(authority: Authority, point: str) -> None:
    interrupt = KeyboardInterrupt()
    setattr(authority.writer, point, interrupt)
    with pytest.raises(KeyboardInterrupt):
        authority.submit_command(CREATE)
    assert authority.projection.applied == []
    assert_refuses(authority, interrupt)


def test_an_interrupt_during_the_flush_leaves_the_event_to_the_next_command(
    authority: Authority,
) -> None:
    authority.writer.flush_raises = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        authority.submit_command(CREATE)
    assert authority.projection.applied == []
    # It was validated against the task, so that was applied before.
    assert authority.submit_command(CANCEL).sequence == 2
    assert authority.projection.applied == [1, 2]
    assert authority.writer.flushes == [2]


@pytest.mark.parametrize("point", ["raises_before", "raises_after"])
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit()])
def test_an_interrupt_during_apply_applies_exactly_once(
    authority: Authority, point: str, interrupt: BaseException
) -> None:
    setattr(authority.projection, point, interrupt)
    with pytest.raises(type(interrupt)):
        authority.submit_command(CREATE)
    assert authority.submit_command(CANCEL).sequence == 2
    assert authority.projection.applied == [1, 2]


def test_a_waiting_event_is_applied_even_where_the_next_command_is_refused(
    authority: Authority,
) -> None:
    authority.projection.raises_before = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        authority.submit_command(CREATE)
    with pytest.raises(NonMonotonicSequence) as refusal:
        # This is the interrupted caller, trying again.
        authority.submit_command(TaskCreateCommand(1, TASK, 10))
    assert refusal.value.expected == 2
    assert authority.projection.applied == [1]


def test_a_waiting_event_is_applied_before_the_authority_is_taken_apart(
    authority: Authority,
) -> None:
    authority.projection.raises_before = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        authority.submit_command(CREATE)
    _, projection = authority.into_parts()
    assert projection.applied == [1]


def test_a_waiting_event_that_the_projection_refuses_poisons(authority: Authority) -> None:
    authority.writer.flush_raises = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        authority.submit_command(CREATE)
    authority.projection.raises_before = RefusedEventError("task_exists", 1)
    with pytest.raises(ApplyError) as failure:
        authority.into_parts()
    assert_refuses(authority, failure.value)
    assert authority.into_parts() == (authority.writer, authority.projection)


@settings(deadline=None)
@given(points=st.lists(st.sampled_from([None, "flush", "before", "after"]), min_size=1, max_size=8))
def test_wherever_interrupts_come_log_and_projection_agree(points: list[str | None]) -> None:
    authority = StorageMutationAuthority(WriterStub(), ProjectionStub())
    for point in points:
        authority.writer.flush_raises = KeyboardInterrupt() if point == "flush" else None
        authority.projection.raises_before = KeyboardInterrupt() if point == "before" else None
        authority.projection.raises_after = KeyboardInterrupt() if point == "after" else None
        try:
            authority.submit_command(TaskCreateCommand(None, TaskSpec(payload=b""), 1))
        except KeyboardInterrupt:
            assert point is not None
    writer, projection = authority.into_parts()
    assert [event.sequence for event in writer.events] == projection.applied


class ListWriter:
    """A writer whose append is one C call, so that no signal handler runs inside it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.append = self.events.append

    def flush(self) -> None:
        pass


class CountingProjection(ProjectionStub):
    """A projection whose apply is one C call."""

    @property
    def latest_sequence(self) -> int:
        return len(self.applied)

    @latest_sequence.setter
    def latest_sequence(self, _value: int) -> None:
        pass

    def apply_event(self, event: Event) -> None:
        self.applied.append(event.sequence)


@pytest.mark.platform("signals")
def test_signals_at_any_moment_neither_lose_nor_double_an_event() -> None:
    authority = StorageMutationAuthority(ListWriter(), CountingProjection())
    interrupted = 0

    def interrupt(_signal: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code is StorageMutationAuthority.submit_command.__code__:
                raise KeyboardInterrupt
            frame = frame.f_back

    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for number in range(20_000):
            signal.setitimer(signal.ITIMER_REAL, (1 + number % 50) * 1e-6)
            try:
                authority.submit_command(CREATE)
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    writer, projection = authority.into_parts()
    assert interrupted
    assert (
        [event.sequence for event in writer.events]
        == projection.applied
        == list(range(1, len(writer.events) + 1))
    )


# --- Threads and calls from inside a call ---------------------------------------------------------


def test_threads_take_turns(authority: Authority) -> None:
    def submit_many() -> None:
        for _ in range(50):
            authority.submit_command(TaskCreateCommand(None, TaskSpec(payload=b""), 1))

    threads = [threading.Thread(target=submit_many) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads change places at almost every step
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert authority.projection.applied == list(range(1, 201))
    assert [event.sequence for event in authority.writer.events] == list(range(1, 201))


def test_a_projection_cannot_submit_while_it_is_asked(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submits(_task_id: TaskId) -> bool:
        authority.submit_command(CREATE)
        return False

    with monkeypatch.context() as patch:
        patch.setattr(authority.projection, "task_exists", submits)
        with pytest.raises(ReentrantCallError):
            authority.submit_command(CREATE)
    assert authority.writer.events == []
    assert authority.submit_command(CREATE).sequence == 1


# --- Projections with no more than the required queries -------------------------------------------


def test_a_minimal_projection_gets_the_defaults(authority: Authority) -> None:
    run = RunInstance.scheduled(TASK.id, scheduled_at=1, created_at=1)
    subscription_id = SubscriptionId()
    authority.submit_command(CREATE)
    authority.submit_command(RunCreateCommand(None, run))
    authority.projection.runs[run.id] = RunState.RUNNING
    # The attempts of this run were never used, and are never too many.
    authority.submit_command(AttemptStartCommand(None, run.id, AttemptId(), 1))
    authority.submit_command(EnginePauseCommand(None, 50))
    authority.submit_command(EngineResumeCommand(None, 10))  # when it was paused is not known
    authority.submit_command(
        SubscriptionCreateCommand(
            None, subscription_id, TASK.id, EventFilter.task_completed(TASK.id), 1
        )
    )
    with pytest.raises(UnknownSubscription):
        authority.submit_command(SubscriptionCancelCommand(None, subscription_id, 1))
    with pytest.raises(BudgetNotAllocated):
        authority.submit_command(BudgetReplenishCommand(None, TASK.id, BudgetDimension.TOKEN, 1, 1))
    authority.submit_command(CANCEL)
    with pytest.raises(TaskAlreadyCanceled):
        authority.submit_command(CANCEL)


def test_optional_queries_are_asked_where_there_are_some(authority: Authority) -> None:
    class WithBudgets(ProjectionStub):
        def budget_allocation_exists(self, _task_id: TaskId, _dimension: BudgetDimension) -> bool:
            return True

    with_budgets = StorageMutationAuthority(WriterStub(), WithBudgets())
    with_budgets.submit_command(CREATE)
    assert (
        with_budgets.submit_command(
            BudgetReplenishCommand(None, TASK.id, BudgetDimension.TOKEN, 1, 1)
        ).sequence
        == 2
    )


def test_a_finalizer_in_a_query_is_refused_before_its_command_reaches_the_log() -> None:
    projection = Projection()
    authority = StorageMutationAuthority(WriterStub(), projection)
    for _ in range(200):
        authority.submit_command(TaskCreateCommand(None, TaskSpec(payload=b"x"), 1))
    taken, refused, kept = [200], list[ReentrantCallError](), list[object]()

    def call(phase: str, _info: dict[str, int]) -> None:
        if phase == "start" and not refused:
            try:
                taken.append(
                    authority.submit_command(
                        TaskCreateCommand(None, TaskSpec(payload=b"x"), 1)
                    ).sequence
                )
            except ReentrantCallError as error:
                refused.append(error)

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    gc.callbacks.append(call)
    try:
        for _ in range(200):
            # Tuples that were let go would be used again, and call for no collection.
            kept.append(projection.read_tasks())
            if refused:
                break
    finally:
        gc.callbacks.remove(call)
        gc.set_threshold(*threshold)
    # Since 3.12 the collector runs between Python's own steps only, and a query is one.
    assert refused or sys.version_info >= (3, 12)
    assert authority.failure is None
    assert authority.submit_command(EnginePauseCommand(None, 5)).sequence == taken[-1] + 1
