"""Runs, the scheduled occurrences of a task."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from _wal_native.above import provide
from _wal_native.fields import NotNilRule
from actionqueue.errors import (
    ActiveAttemptBlocksTransition,
    InvalidFieldError,
    InvalidTransition,
    PreviousStateMismatch,
    RunAlreadyExists,
    RunCreateNotFresh,
    RunCreateRequiresScheduled,
    RunResumeRequiresSuspended,
    RunSuspendRequiresRunning,
    UnknownRun,
    UnknownTask,
    ValidationError,
)
from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import I32, U32, U64, Checked, Text, Timestamp
from actionqueue.model.forms import Keys, fields_to_json
from actionqueue.model.ids import AttemptId, RunId, TaskId
from actionqueue.model.queries import ProjectionQueries
from actionqueue.vocabulary import vocabulary

__all__ = [
    "AppliedRunCreate",
    "AppliedRunReschedule",
    "AppliedRunResume",
    "AppliedRunStateTransition",
    "AppliedRunSuspend",
    "RunCanceled",
    "RunCreateCommand",
    "RunCreated",
    "RunInstance",
    "RunRescheduleCommand",
    "RunRescheduled",
    "RunResumeCommand",
    "RunResumed",
    "RunState",
    "RunStateChanged",
    "RunStateTransitionCommand",
    "RunSuspendCommand",
    "RunSuspended",
]


@vocabulary("state")
class RunState(StrEnum):
    """Where a run is in its life."""

    SCHEDULED = "scheduled"
    READY = "ready"
    LEASED = "leased"
    RUNNING = "running"
    RETRY_WAIT = "retry_wait"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether a run never leaves this state: completed, failed and canceled."""
        return self in _TERMINAL


_TERMINAL = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELED})

# Looking a member up on its class costs as much as building the rest of a run.
_SCHEDULED = RunState.SCHEDULED
_READY = RunState.READY
_RUNNING = RunState.RUNNING
_SUSPENDED = RunState.SUSPENDED

# What the rules are told about the run's active attempt.
_ACTIVE = True
_NOT_ACTIVE = False

# The rules take the states, so they can be imported only now.
provide({"RunState": RunState})
from _wal_native.rules import (  # noqa: E402
    attempt_blocks_change,
    run_is_fresh,
    state_allows,
    transition_is_valid,
)


class RunInstance(Checked, frozen=True, gc=False):
    """A run as the projection keeps it. New ones are made by :meth:`scheduled` or :meth:`ready`."""

    id: Annotated[RunId, NotNilRule()]
    task_id: Annotated[TaskId, NotNilRule()]
    state: RunState
    current_attempt_id: AttemptId | None
    attempt_count: U32
    created_at: Timestamp
    scheduled_at: Timestamp
    """When the scheduler is to make it ready; before is taken too:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    effective_priority: I32
    """The scheduler is to run higher ones first, as ``Projection.ready`` orders them:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    last_state_change_at: Timestamp

    @classmethod
    def scheduled(
        cls, task_id: TaskId, *, scheduled_at: int, created_at: int, id: RunId | None = None
    ) -> Self:
        """Return a new run in the state scheduled, with a new identifier unless one is given.

        Times are Unix seconds. Raises InvalidFieldError for nil identifiers.
        """
        return cls(
            RunId() if id is None else id,
            task_id,
            _SCHEDULED,
            None,
            0,
            created_at,
            scheduled_at,
            0,
            created_at,
        )

    @classmethod
    def ready(
        cls,
        task_id: TaskId,
        *,
        scheduled_at: int,
        created_at: int,
        effective_priority: int,
        id: RunId | None = None,
    ) -> Self:
        """Return a new run in the state ready.

        No queue accepts it, because a queue takes new runs as scheduled only.

        Raises InvalidFieldError for nil identifiers, and where the run is scheduled for after its
        creation.
        """
        run = cls(
            RunId() if id is None else id,
            task_id,
            _READY,
            None,
            0,
            created_at,
            scheduled_at,
            effective_priority,
            created_at,
        )
        if scheduled_at > created_at:
            reason = (
                f"a run that is ready cannot be scheduled for after its creation at {created_at}"
            )
            raise InvalidFieldError("RunInstance", "scheduled_at", scheduled_at, reason)
        return run

    @property
    def is_terminal(self) -> bool:
        """Whether the run is completed, failed or canceled."""
        return self.state.is_terminal


class RunCreated(Event, frozen=True):
    """A run was created, as scheduled."""

    kind = EventKind.RUN_CREATED
    run_instance: RunInstance


class AppliedRunCreate(AppliedMutation, frozen=True):
    """A run was created."""

    name = "run_create"
    run_id: RunId
    task_id: TaskId


@registered
class RunCreateCommand(MutationCommand, frozen=True, gc=False):
    """Create a run of a task. The run has its time of creation, so the command has no timestamp."""

    becomes = RunCreated
    tells = AppliedRunCreate
    takes_short_way = True

    sequence: U64 | None
    run_instance: RunInstance

    def _check(self, projection: ProjectionQueries) -> None:
        run = self.run_instance
        if not projection.task_exists(run.task_id):
            raise UnknownTask(task_id=run.task_id)
        if projection.run_state(run.id) is not None:
            raise RunAlreadyExists(run_id=run.id)
        if not run_is_fresh(
            run.state,
            run.current_attempt_id is not None,
            run.attempt_count,
            run.created_at,
            run.last_state_change_at,
        ):
            raise _why_not_fresh(run)

    def _applied(self) -> AppliedRunCreate:
        return AppliedRunCreate(self.run_instance.id, self.run_instance.task_id)

    @classmethod
    def _from_keys(cls, keys: Keys) -> Self:
        keys.take("timestamp", None)  # the run has its own, so this one counts for nothing
        sequence = keys.take("sequence", None)
        run = Keys(f"{keys.where}.run", keys.take("run"))
        state = run.take("state")
        if state == _SCHEDULED:
            run.take("effective_priority", None)
            instance = RunInstance.scheduled(**run.fields(RunInstance, *_KEYS))
        elif state == _READY:
            fields = run.fields(RunInstance, *_KEYS)
            priority = run.take("effective_priority", 0)
            instance = RunInstance.ready(**fields, effective_priority=priority)
        else:
            raise InvalidFieldError(run.where, "state", state, "must be scheduled or ready")
        run.finish()
        return cls(sequence, instance)

    def _to_keys(self) -> dict[str, Any]:
        run = self.run_instance
        _refuse_past(run)
        written = fields_to_json(run, *_KEYS, "effective_priority", "state")
        return {"sequence": self.sequence, "run": written}


def _why_not_fresh(run: RunInstance) -> ValidationError:
    """Find the field that makes the run no new one: the rule is asked about one after the other."""
    created_at = run.created_at
    if not run_is_fresh(run.state, _NOT_ACTIVE, 0, created_at, created_at):
        return RunCreateRequiresScheduled(run_id=run.id, state=run.state)
    attempt_id = run.current_attempt_id
    if not run_is_fresh(run.state, attempt_id is not None, 0, created_at, created_at):
        return RunCreateNotFresh(run_id=run.id, field="current_attempt_id", value=attempt_id)
    if not run_is_fresh(run.state, _NOT_ACTIVE, run.attempt_count, created_at, created_at):
        return RunCreateNotFresh(run_id=run.id, field="attempt_count", value=run.attempt_count)
    changed_at = run.last_state_change_at
    return RunCreateNotFresh(run_id=run.id, field="last_state_change_at", value=changed_at)


_KEYS = ("id", "task_id", "scheduled_at", "created_at")
"""What a new run has in JSON, besides its state and its priority."""


def _refuse_past(run: RunInstance) -> None:
    """Refuse a run that neither of the two constructors could have made: it has no JSON form."""
    if run.state is _SCHEDULED:
        fresh: dict[str, int | None] = {"effective_priority": 0}
    elif run.state is _READY:
        fresh = {"scheduled_at": min(run.scheduled_at, run.created_at)}
    else:
        raise InvalidFieldError("run_create.run", "state", run.state, "must be scheduled or ready")
    fresh |= {
        "current_attempt_id": None,
        "attempt_count": 0,
        "last_state_change_at": run.created_at,
    }
    for field, expected in fresh.items():
        value = getattr(run, field)
        if value != expected:
            reason = f"must be {expected} in a new run"
            raise InvalidFieldError("run_create.run", field, value, reason)


class RunStateChanged(Event, frozen=True):
    """A run went from one state to another."""

    kind = EventKind.RUN_STATE_CHANGED
    run_id: RunId
    previous_state: RunState
    new_state: RunState
    timestamp: int


class AppliedRunStateTransition(AppliedMutation, frozen=True):
    """A run went from one state to another."""

    name = "run_state_transition"
    run_id: RunId
    previous_state: RunState
    new_state: RunState


@registered
class RunStateTransitionCommand(MutationCommand, frozen=True, gc=False):
    """Take a run from one state to another."""

    becomes = RunStateChanged
    tells = AppliedRunStateTransition
    takes_short_way = True

    sequence: U64 | None
    run_id: RunId
    previous_state: RunState
    new_state: RunState
    timestamp: Timestamp

    if TYPE_CHECKING:

        def __init__(
            self,
            sequence: int | None,
            run_id: RunId,
            previous_state: RunState | str,
            new_state: RunState | str,
            timestamp: int,
        ) -> None: ...

    def _check(self, projection: ProjectionQueries) -> None:
        run_id = self.run_id
        previous, new = self.previous_state, self.new_state
        state = projection.run_state(run_id)
        if state is None:
            raise UnknownRun(run_id=run_id)
        if state is not previous:
            raise PreviousStateMismatch(run_id=run_id, expected=previous, actual=state)
        if not transition_is_valid(previous, new):
            raise InvalidTransition(run_id=run_id, from_=previous, to=new)
        active = projection.active_attempt_id(run_id)
        if active is not None and attempt_blocks_change(previous, new, _ACTIVE):
            raise ActiveAttemptBlocksTransition(
                run_id=run_id, from_=previous, to=new, active_attempt_id=active
            )


class RunSuspended(Event, frozen=True):
    """A running run was suspended."""

    kind = EventKind.RUN_SUSPENDED
    run_id: RunId
    reason: str | None
    timestamp: int


class AppliedRunSuspend(AppliedMutation, frozen=True):
    """A run was suspended."""

    name = "run_suspend"
    run_id: RunId


@registered
class RunSuspendCommand(MutationCommand, frozen=True, gc=False):
    """Take a running run to suspended, with a reason if there is one."""

    becomes = RunSuspended
    tells = AppliedRunSuspend
    takes_short_way = True

    sequence: U64 | None
    run_id: RunId
    reason: Text | None
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        run_id = self.run_id
        state = projection.run_state(run_id)
        if state is None:
            raise UnknownRun(run_id=run_id)
        if state is not _RUNNING:
            raise RunSuspendRequiresRunning(run_id=run_id, state=state)
        active = projection.active_attempt_id(run_id)
        if active is not None and attempt_blocks_change(state, _SUSPENDED, _ACTIVE):
            raise ActiveAttemptBlocksTransition(
                run_id=run_id, from_=state, to=_SUSPENDED, active_attempt_id=active
            )


class RunResumed(Event, frozen=True):
    """A suspended run became ready."""

    kind = EventKind.RUN_RESUMED
    run_id: RunId
    timestamp: int


class AppliedRunResume(AppliedMutation, frozen=True):
    """A run was resumed."""

    name = "run_resume"
    run_id: RunId


@registered
class RunResumeCommand(MutationCommand, frozen=True, gc=False):
    """Take a suspended run to ready."""

    becomes = RunResumed
    tells = AppliedRunResume
    takes_short_way = True

    sequence: U64 | None
    run_id: RunId
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        run_id = self.run_id
        state = projection.run_state(run_id)
        if state is None:
            raise UnknownRun(run_id=run_id)
        if state is not _SUSPENDED:
            raise RunResumeRequiresSuspended(run_id=run_id, state=state)


class RunRescheduled(Event, frozen=True):
    """A run got another time and another priority."""

    kind = EventKind.RUN_RESCHEDULED
    run_id: RunId
    scheduled_at: int
    effective_priority: int
    timestamp: int


class AppliedRunReschedule(AppliedMutation, frozen=True):
    """A run got another time and another priority."""

    name = "run_reschedule"
    run_id: RunId
    scheduled_at: int
    effective_priority: int


@registered
class RunRescheduleCommand(MutationCommand, frozen=True, gc=False):
    """Give a run that is scheduled, ready, retry_wait or suspended another time and priority.

    The run stays in its state, and gets no entry in its history. ``scheduled_at`` of a run in
    retry_wait is when the scheduler is to try it again. In any other state the queue raises
    InvalidTransition, to scheduled. The task's ``last_run_at`` stays as it is, so a recurring
    task keeps its times.
    """

    becomes = RunRescheduled
    tells = AppliedRunReschedule
    takes_short_way = True

    sequence: U64 | None
    run_id: RunId
    scheduled_at: Timestamp
    effective_priority: I32
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        state = projection.run_state(self.run_id)
        if state is None:
            raise UnknownRun(run_id=self.run_id)
        if not state_allows(RunRescheduled.kind, state):
            raise InvalidTransition(run_id=self.run_id, from_=state, to=_SCHEDULED)


class RunCanceled(Event, frozen=True):
    """A run was canceled, from whichever state it was in. No command makes this event."""

    kind = EventKind.RUN_CANCELED
    run_id: RunId
    timestamp: int
