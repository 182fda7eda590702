"""Runs, the scheduled occurrences of a task."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Self

from _wal_native.fields import NotNilRule
from actionqueue.errors import InvalidFieldError
from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import I32, U32, U64, Checked, Text, Timestamp
from actionqueue.model.ids import AttemptId, RunId, TaskId
from actionqueue.vocabulary import vocabulary

__all__ = [
    "AppliedRunCreate",
    "AppliedRunResume",
    "AppliedRunStateTransition",
    "AppliedRunSuspend",
    "RunCanceled",
    "RunCreateCommand",
    "RunCreated",
    "RunInstance",
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


class RunInstance(Checked, frozen=True, gc=False):
    """A run as the projection keeps it. New ones are made by :meth:`scheduled` or :meth:`ready`."""

    id: Annotated[RunId, NotNilRule()]
    task_id: Annotated[TaskId, NotNilRule()]
    state: RunState
    current_attempt_id: AttemptId | None
    attempt_count: U32
    created_at: Timestamp
    scheduled_at: Timestamp
    """When the scheduler is to make it ready; before is taken too: docs/guide.md#what-the-queue-refuses-what-is-yours."""
    effective_priority: I32
    """The scheduler is to run higher ones first; no query orders by it: docs/guide.md#what-the-queue-refuses-what-is-yours."""
    last_state_change_at: Timestamp

    @classmethod
    def scheduled(cls, task_id: TaskId, *, scheduled_at: int, created_at: int, id: RunId | None = None) -> Self:
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
        """Return a new run in the state ready, which no queue accepts: it takes new runs as scheduled only.

        Raises InvalidFieldError for nil identifiers, and where the run is scheduled for after its creation.
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
            reason = f"a run that is ready cannot be scheduled for after its creation at {created_at}"
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

    sequence: U64 | None
    run_instance: RunInstance

    def _applied(self) -> AppliedRunCreate:
        return AppliedRunCreate(self.run_instance.id, self.run_instance.task_id)


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

    sequence: U64 | None
    run_id: RunId
    reason: Text | None
    timestamp: Timestamp


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

    sequence: U64 | None
    run_id: RunId
    timestamp: Timestamp


class RunCanceled(Event, frozen=True):
    """A run was canceled, from whichever state it was in. No command makes this event."""

    kind = EventKind.RUN_CANCELED
    run_id: RunId
    timestamp: int
