"""Refusals: commands that are valid in themselves, but that the projection does not allow now.

The log and the projection are untouched after each of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

from actionqueue.errors.base import MutationError
from actionqueue.vocabulary import vocabulary

if TYPE_CHECKING:
    from actionqueue.model import (
        AttemptId,
        BudgetDimension,
        RunId,
        RunState,
        SubscriptionId,
        TaskId,
    )


@vocabulary("event")
class LeaseValidationEvent(StrEnum):
    """Which lease command an error is about."""

    ACQUIRE = "acquire"
    HEARTBEAT = "heartbeat"
    EXPIRE = "expire"
    RELEASE = "release"


class ValidationError(MutationError):
    """Base of the refusals: the command is valid in itself, but not now.

    The log and the projection are untouched.
    """

    batch_index: ClassVar[int | None] = None
    """Position of the refused command in its batch, from 0; None where it was submitted alone. It
    is not one of the fields."""

    def at_batch_index(self, index: int) -> Self:
        """Note the command's position in its batch."""
        self.__dict__["batch_index"] = index
        return self

    def out_of_batch(self) -> Self:
        """Forget the position: the caller has not made the batch."""
        self.__dict__.pop("batch_index", None)
        return self

    def __str__(self) -> str:
        return self._in_batch(super().__str__())

    def _in_batch(self, text: str) -> str:
        return (
            text
            if self.batch_index is None
            else f"command {self.batch_index} of the batch (from 0): {text}"
        )


def _ways_on(state: RunState) -> str:
    """Return where a run may go from a state, by the rules that validation and replay share."""
    from _wal_native.rules import transition_is_valid  # noqa: PLC0415 -- it imports the errors
    from actionqueue.model import RunState  # noqa: PLC0415

    states = [other.value for other in RunState if transition_is_valid(state, other)]
    return f"it may go to {', '.join(states)}" if states else "it goes nowhere: the run has ended"


def _states_for_lease(event: LeaseValidationEvent) -> str:
    """Return the states in which the rules allow a lease command."""
    from _wal_native.rules import state_allows  # noqa: PLC0415 -- it imports the errors
    from actionqueue.model import EventKind, RunState  # noqa: PLC0415

    kind = {
        LeaseValidationEvent.ACQUIRE: EventKind.LEASE_ACQUIRED,
        LeaseValidationEvent.HEARTBEAT: EventKind.LEASE_HEARTBEAT,
    }.get(event, EventKind.LEASE_RELEASED)
    return ", ".join(state.value for state in RunState if state_allows(kind, state))


def _states_to_reschedule() -> str:
    """Return the states in which the rules allow another time and priority."""
    from _wal_native.rules import state_allows  # noqa: PLC0415 -- it imports the errors
    from actionqueue.model import EventKind, RunState  # noqa: PLC0415

    kind = EventKind.RUN_RESCHEDULED
    return ", ".join(state.value for state in RunState if state_allows(kind, state))


class SequenceOverflow(ValidationError):
    """The log is at the last sequence there is (``actionqueue.limits.SEQUENCE_MAX``, 2**64 - 1)."""

    message = "the log is at sequence 2**64 - 1, the last that an event can have; start a new queue"


class NonMonotonicSequence(ValidationError):
    """The command's explicit sequence is not the next one."""

    expected: int
    provided: int
    message = (
        "the next sequence is {expected}, the command says {provided}; leave it None to take the "
        "next one"
    )


class UnknownRun(ValidationError):
    """There is no such run."""

    run_id: RunId
    message = "there is no run {run_id}; create it first"


class UnknownTask(ValidationError):
    """There is no such task."""

    task_id: TaskId
    message = "there is no task {task_id}; create it first"


class TaskAlreadyExists(ValidationError):
    """A task with this identifier was created before."""

    task_id: TaskId
    message = "task {task_id} exists already; use a new identifier"


class TaskForgotten(ValidationError):
    """Retention has forgotten the task with this identifier; a tombstone keeps the identifier."""

    task_id: TaskId
    until: int
    """When retention drops the tombstone, at the earliest, in Unix seconds."""
    message = (
        "task {task_id} was there already and was forgotten; its identifier is refused until "
        "{until} at least: use a new identifier"
    )


class TaskAlreadyCanceled(ValidationError):
    """The task was canceled before."""

    task_id: TaskId
    message = "task {task_id} was canceled already"


class EngineAlreadyPaused(ValidationError):
    """The engine is paused."""

    message = "the engine is paused already"


class EngineNotPaused(ValidationError):
    """The engine is not paused."""

    message = "the engine is not paused, so it cannot be resumed"


class RunAlreadyExists(ValidationError):
    """A run with this identifier was created before."""

    run_id: RunId
    message = "run {run_id} exists already; use a new identifier"


class RunCreateRequiresScheduled(ValidationError):
    """A run enters the queue in the state scheduled only."""

    run_id: RunId
    state: RunState
    message = "run {run_id} must be created as scheduled, not as {state}"


class PreviousStateMismatch(ValidationError):
    """The run is not in the state that the command expects."""

    run_id: RunId
    expected: RunState
    actual: RunState
    message = "run {run_id} is {actual}, the command expects {expected}; read its state again"


class InvalidTransition(ValidationError):
    """No run goes from the one state to the other."""

    run_id: RunId
    from_: RunState
    to: RunState

    def __str__(self) -> str:
        text = f"run {self.run_id} cannot go from {self.from_} to {self.to}"
        if self.to == "scheduled":
            return self._in_batch(
                f"{text}: no transition leads there, and only a run that is "
                f"{_states_to_reschedule()} can be rescheduled"
            )
        return self._in_batch(f"{text}; from {self.from_} {_ways_on(self.from_)}")


class AttemptStartUnknownRun(ValidationError):
    """An attempt cannot start on a run that does not exist."""

    run_id: RunId
    message = "an attempt cannot start: there is no run {run_id}"


class AttemptStartRequiresRunning(ValidationError):
    """An attempt starts on a running run only."""

    run_id: RunId
    state: RunState
    message = "an attempt cannot start: run {run_id} is {state}, not running"


class AttemptStartAlreadyActive(ValidationError):
    """The run has an active attempt, and never has two."""

    run_id: RunId
    active_attempt_id: AttemptId
    message = (
        "an attempt cannot start: attempt {active_attempt_id} of run {run_id} is still active; "
        "finish it first"
    )


class AttemptFinishUnknownRun(ValidationError):
    """An attempt cannot finish on a run that does not exist."""

    run_id: RunId
    message = "an attempt cannot finish: there is no run {run_id}"


class AttemptFinishRequiresRunning(ValidationError):
    """An attempt finishes on a running run only."""

    run_id: RunId
    state: RunState
    message = "an attempt cannot finish: run {run_id} is {state}, not running"


class AttemptFinishMissingActive(ValidationError):
    """The run has no active attempt."""

    run_id: RunId
    message = "an attempt cannot finish: run {run_id} has no active attempt"


class AttemptFinishAttemptMismatch(ValidationError):
    """Another attempt of the run is active."""

    run_id: RunId
    expected_attempt_id: AttemptId
    provided_attempt_id: AttemptId
    message = (
        "attempt {provided_attempt_id} cannot finish: the active attempt of run {run_id} is "
        "{expected_attempt_id}"
    )


class LeaseUnknownRun(ValidationError):
    """A lease command names a run that does not exist."""

    run_id: RunId
    event: LeaseValidationEvent
    message = "lease {event}: there is no run {run_id}"


class LeaseInvalidRunState(ValidationError):
    """The run's state does not allow the lease command."""

    run_id: RunId
    event: LeaseValidationEvent
    state: RunState

    def __str__(self) -> str:
        allowed = _states_for_lease(self.event)
        return self._in_batch(
            f"lease {self.event}: run {self.run_id} is {self.state}; it is allowed in {allowed}"
        )


class LeaseAlreadyActive(ValidationError):
    """The run has a lease; a command must release or expire it first."""

    run_id: RunId
    message = "lease acquire: run {run_id} has a lease already; release or expire it first"


class LeaseMissingActive(ValidationError):
    """The run has no lease."""

    run_id: RunId
    event: LeaseValidationEvent
    message = "lease {event}: run {run_id} has no lease"


class LeaseOwnerMismatch(ValidationError):
    """The run's lease belongs to another owner."""

    run_id: RunId
    event: LeaseValidationEvent
    message = "lease {event}: the lease of run {run_id} belongs to another owner"


class LeaseExpiryMismatch(ValidationError):
    """A command closes a lease with the lease's exact expiry only."""

    run_id: RunId
    event: LeaseValidationEvent
    expected_expiry: int
    provided_expiry: int
    message = (
        "lease {event}: the lease of run {run_id} expires at {expected_expiry}, the command says "
        "{provided_expiry}"
    )


class LeaseHeartbeatExpiryRegression(ValidationError):
    """A heartbeat never lowers a lease's expiry."""

    run_id: RunId
    previous_expiry: int
    proposed_expiry: int
    message = (
        "lease heartbeat: the lease of run {run_id} expires at {previous_expiry}, not before "
        "({proposed_expiry})"
    )


class EmptyDependencyList(ValidationError):
    """The dependency declaration names no prerequisite."""

    task_id: TaskId
    message = "the dependency declaration of task {task_id} names no prerequisite"


class RunSuspendRequiresRunning(ValidationError):
    """Only a running run can be suspended."""

    run_id: RunId
    state: RunState
    message = "run {run_id} cannot be suspended: it is {state}, not running"


class RunResumeRequiresSuspended(ValidationError):
    """Only a suspended run can be resumed."""

    run_id: RunId
    state: RunState
    message = "run {run_id} cannot be resumed: it is {state}, not suspended"


class BudgetNotAllocated(ValidationError):
    """The task has no budget of this dimension."""

    task_id: TaskId
    dimension: BudgetDimension
    message = "task {task_id} has no {dimension} budget; allocate one first"


class SubscriptionAlreadyExists(ValidationError):
    """A subscription with this identifier was created before."""

    subscription_id: SubscriptionId
    message = "subscription {subscription_id} exists already; use a new identifier"


class UnknownSubscription(ValidationError):
    """There is no such subscription."""

    subscription_id: SubscriptionId
    message = "there is no subscription {subscription_id}; create it first"


class SubscriptionAlreadyCanceled(ValidationError):
    """The subscription was canceled before."""

    subscription_id: SubscriptionId
    message = "subscription {subscription_id} was canceled already"


# --- Refusals that keep out of the log what the projection would not take -------------------------


class ActiveAttemptBlocksTransition(ValidationError):
    """A run with an active attempt goes from running to canceled only."""

    run_id: RunId
    from_: RunState
    to: RunState
    active_attempt_id: AttemptId
    message = (
        "run {run_id} cannot go from {from_} to {to} while attempt {active_attempt_id} is active; "
        "finish the attempt first, or cancel the run"
    )


class EngineResumeBeforePause(ValidationError):
    """The engine cannot resume at a time before its pause."""

    paused_at: int
    resumed_at: int
    message = (
        "the engine was paused at {paused_at} and cannot be resumed at {resumed_at}, before that"
    )


class AttemptIdReused(ValidationError):
    """The run had an attempt with this identifier before."""

    run_id: RunId
    attempt_id: AttemptId
    message = (
        "run {run_id} had attempt {attempt_id} before; start the new one with a new identifier"
    )


class AttemptCountOverflow(ValidationError):
    """The run has as many attempts as 32 bits count."""

    run_id: RunId
    message = "run {run_id} has 2**32 - 1 attempts, the most it can have; create a new run"


class RunCreateNotFresh(ValidationError):
    """The run has a past: one of its fields is not what a new run has."""

    run_id: RunId
    field: str
    value: Any
    message = "run {run_id} is not new: {field} is {value}; build it with RunInstance.scheduled"


class RecordTooLarge(ValidationError):
    """The command's record or one of its fields is larger than a reader accepts, in bytes."""

    size: int
    limit: int
    message = "the record takes {size} bytes, the limit is {limit}; keep large payloads elsewhere"
