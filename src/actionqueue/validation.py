"""Which commands the projection allows, and which typed error the others get.

One function a command, each in the order of its checks: the first check that fails decides the error. A rule that
replay has too is asked of :mod:`_wal_native.rules`, over the C functions that the state table itself asks, so what
passes here is never refused by replay. Refusals that exist only for that reason come after the command's other checks.

This is the hot path: a check is one query of the projection and one comparison or rule, and success builds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from _wal_native.rules import (
    attempt_allowed,
    attempt_blocks_change,
    attempt_count_is_full,
    lease_acquire_allowed,
    lease_close_allowed,
    lease_expiry_regresses,
    lease_heartbeat_allowed,
    resume_precedes_pause,
    run_is_fresh,
    transition_is_valid,
)
from actionqueue.errors import (
    ActiveAttemptBlocksTransition,
    AttemptCountOverflow,
    AttemptFinishAttemptMismatch,
    AttemptFinishMissingActive,
    AttemptFinishRequiresRunning,
    AttemptFinishUnknownRun,
    AttemptIdReused,
    AttemptStartAlreadyActive,
    AttemptStartRequiresRunning,
    AttemptStartUnknownRun,
    BudgetNotAllocated,
    EmptyDependencyList,
    EngineAlreadyPaused,
    EngineNotPaused,
    EngineResumeBeforePause,
    InvalidFieldTypeError,
    InvalidTransition,
    LeaseAlreadyActive,
    LeaseExpiryMismatch,
    LeaseHeartbeatExpiryRegression,
    LeaseInvalidRunState,
    LeaseMissingActive,
    LeaseOwnerMismatch,
    LeaseUnknownRun,
    LeaseValidationEvent,
    NonMonotonicSequence,
    PreviousStateMismatch,
    RunAlreadyExists,
    RunCreateNotFresh,
    RunCreateRequiresScheduled,
    RunResumeRequiresSuspended,
    RunSuspendRequiresRunning,
    SequenceOverflow,
    SubscriptionAlreadyCanceled,
    SubscriptionAlreadyExists,
    TaskAlreadyCanceled,
    TaskAlreadyExists,
    TaskForgotten,
    UnknownRun,
    UnknownSubscription,
    UnknownTask,
    ValidationError,
)
from actionqueue.limits import SEQUENCE_MAX
from actionqueue.model import (
    ActorDeregisterCommand,
    ActorHeartbeatCommand,
    ActorRegisterCommand,
    AttemptFinishCommand,
    AttemptId,
    AttemptStartCommand,
    BudgetAllocateCommand,
    BudgetConsumeCommand,
    BudgetDimension,
    BudgetReplenishCommand,
    CapabilityGrantCommand,
    CapabilityRevokeCommand,
    DependencyDeclareCommand,
    EnginePauseCommand,
    EngineResumeCommand,
    LeaseAcquireCommand,
    LeaseExpireCommand,
    LeaseHeartbeatCommand,
    LeaseReleaseCommand,
    LedgerAppendCommand,
    MutationCommand,
    RoleAssignCommand,
    RunCreateCommand,
    RunId,
    RunInstance,
    RunResumeCommand,
    RunState,
    RunStateTransitionCommand,
    RunSuspendCommand,
    SubscriptionCancelCommand,
    SubscriptionCreateCommand,
    SubscriptionId,
    SubscriptionTriggerCommand,
    TaskCancelCommand,
    TaskCreateCommand,
    TaskId,
    TenantCreateCommand,
)

__all__ = ["ProjectionQueries", "RequiredQueries", "validate"]

# Members of an enumeration are looked up slowly on Python 3.11, module constants quickly.
_RUNNING = RunState.RUNNING
_SUSPENDED = RunState.SUSPENDED
_ACQUIRE = LeaseValidationEvent.ACQUIRE
_HEARTBEAT = LeaseValidationEvent.HEARTBEAT
_EXPIRE = LeaseValidationEvent.EXPIRE
_RELEASE = LeaseValidationEvent.RELEASE

# What the rules are told about the run's active attempt.
_ACTIVE = True
_NOT_ACTIVE = False


class RequiredQueries(Protocol):
    """What validation asks of every projection."""

    @property
    def latest_sequence(self) -> int:
        """Sequence of the last applied event; 0 before the first."""
        ...

    def run_state(self, run_id: RunId, /) -> RunState | None:
        """Return the run's state; None for an unknown run."""
        ...

    def task_exists(self, task_id: TaskId, /) -> bool:
        """Tell whether the task was created."""
        ...

    def is_task_canceled(self, task_id: TaskId, /) -> bool:
        """Tell whether the task was canceled."""
        ...

    def is_engine_paused(self) -> bool:
        """Tell whether the engine is paused."""
        ...

    def active_attempt_id(self, run_id: RunId, /) -> AttemptId | None:
        """Return the run's active attempt, if it has one."""
        ...

    def active_lease(self, run_id: RunId, /) -> tuple[str, int] | None:
        """Return the owner and the expiry (Unix seconds) of the run's lease, if it has one."""
        ...


class ProjectionQueries(RequiredQueries, Protocol):
    """All that validation asks of a projection.

    For a projection that lacks the queries declared here, :class:`~actionqueue.authority.StorageMutationAuthority`
    answers as the default in each docstring says.
    """

    def forgotten_until(self, task_id: TaskId, /) -> int | None:
        """Return until when (Unix seconds) the identifier of a forgotten task is refused; None where it is not. Default: None."""
        ...

    def attempt_count(self, run_id: RunId, /) -> int:
        """Return how many attempts the run has started. Default: 0."""
        ...

    def attempt_was_used(self, run_id: RunId, attempt_id: AttemptId, /) -> bool:
        """Tell whether the run ever started this attempt. Default: no."""
        ...

    def engine_paused_at(self) -> int | None:
        """Return when the engine was last paused, in Unix seconds. Default: None, never."""
        ...

    def budget_allocation_exists(self, task_id: TaskId, dimension: BudgetDimension, /) -> bool:
        """Tell whether the task has a budget of this dimension. Default: no."""
        ...

    def subscription_exists(self, subscription_id: SubscriptionId, /) -> bool:
        """Tell whether the subscription was created. Default: no."""
        ...

    def is_subscription_canceled(self, subscription_id: SubscriptionId, /) -> bool:
        """Tell whether the subscription was canceled. Default: no."""
        ...


def validate(command: MutationCommand, projection: ProjectionQueries) -> int:
    """Return the sequence that the command's event gets; raise what forbids the command.

    An explicit sequence must be the one after the projection's latest; None stands for that one.

    Raises:
        ValidationError: the subclass says why the projection does not allow the command.
        InvalidFieldTypeError: this is no command.
    """
    try:
        check = _CHECKS[type(command)]
    except KeyError:
        raise InvalidFieldTypeError(
            type_name="MutationCommand", field="command", value=command, reason="one of the 29 commands is needed"
        ) from None
    sequence = projection.latest_sequence + 1
    if sequence > SEQUENCE_MAX:
        raise SequenceOverflow
    provided = command.sequence
    if provided is not None and provided != sequence:
        raise NonMonotonicSequence(expected=sequence, provided=provided)
    if check is not None:
        check(command, projection)
    return sequence


# --- Tasks and runs --------------------------------------------------------------------------------------------------


def _task_create(command: TaskCreateCommand, projection: ProjectionQueries) -> None:
    task_id = command.task_spec.id
    if projection.task_exists(task_id):
        raise TaskAlreadyExists(task_id=task_id)
    until = projection.forgotten_until(task_id)
    if until is not None:
        raise TaskForgotten(task_id=task_id, until=until)


def _run_create(command: RunCreateCommand, projection: ProjectionQueries) -> None:
    run = command.run_instance
    if not projection.task_exists(run.task_id):
        raise UnknownTask(task_id=run.task_id)
    if projection.run_state(run.id) is not None:
        raise RunAlreadyExists(run_id=run.id)
    has_active_attempt = run.current_attempt_id is not None
    if not run_is_fresh(run.state, has_active_attempt, run.attempt_count, run.created_at, run.last_state_change_at):
        raise _why_not_fresh(run)


def _why_not_fresh(run: RunInstance) -> ValidationError:
    """Find the field that makes the run no new one, by asking the rule about one field after the other."""
    created_at = run.created_at
    if not run_is_fresh(run.state, _NOT_ACTIVE, 0, created_at, created_at):
        return RunCreateRequiresScheduled(run_id=run.id, state=run.state)
    if not run_is_fresh(run.state, run.current_attempt_id is not None, 0, created_at, created_at):
        return RunCreateNotFresh(run_id=run.id, field="current_attempt_id", value=run.current_attempt_id)
    if not run_is_fresh(run.state, _NOT_ACTIVE, run.attempt_count, created_at, created_at):
        return RunCreateNotFresh(run_id=run.id, field="attempt_count", value=run.attempt_count)
    return RunCreateNotFresh(run_id=run.id, field="last_state_change_at", value=run.last_state_change_at)


def _run_state_transition(command: RunStateTransitionCommand, projection: ProjectionQueries) -> None:
    run_id = command.run_id
    previous, new = command.previous_state, command.new_state
    state = projection.run_state(run_id)
    if state is None:
        raise UnknownRun(run_id=run_id)
    if state is not previous:
        raise PreviousStateMismatch(run_id=run_id, expected=previous, actual=state)
    if not transition_is_valid(previous, new):
        raise InvalidTransition(run_id=run_id, from_=previous, to=new)
    active = projection.active_attempt_id(run_id)
    if active is not None and attempt_blocks_change(previous, new, _ACTIVE):
        raise ActiveAttemptBlocksTransition(run_id=run_id, from_=previous, to=new, active_attempt_id=active)


def _run_suspend(command: RunSuspendCommand, projection: ProjectionQueries) -> None:
    run_id = command.run_id
    state = projection.run_state(run_id)
    if state is None:
        raise UnknownRun(run_id=run_id)
    if state is not _RUNNING:
        raise RunSuspendRequiresRunning(run_id=run_id, state=state)
    active = projection.active_attempt_id(run_id)
    if active is not None and attempt_blocks_change(state, _SUSPENDED, _ACTIVE):
        raise ActiveAttemptBlocksTransition(run_id=run_id, from_=state, to=_SUSPENDED, active_attempt_id=active)


def _run_resume(command: RunResumeCommand, projection: ProjectionQueries) -> None:
    run_id = command.run_id
    state = projection.run_state(run_id)
    if state is None:
        raise UnknownRun(run_id=run_id)
    if state is not _SUSPENDED:
        raise RunResumeRequiresSuspended(run_id=run_id, state=state)


def _task_cancel(command: TaskCancelCommand, projection: ProjectionQueries) -> None:
    task_id = command.task_id
    if not projection.task_exists(task_id):
        raise UnknownTask(task_id=task_id)
    if projection.is_task_canceled(task_id):
        raise TaskAlreadyCanceled(task_id=task_id)


def _dependency_declare(command: DependencyDeclareCommand, projection: ProjectionQueries) -> None:
    task_id = command.task_id
    if not command.depends_on:
        raise EmptyDependencyList(task_id=task_id)
    if not projection.task_exists(task_id):
        raise UnknownTask(task_id=task_id)
    for prerequisite in command.depends_on:
        if not projection.task_exists(prerequisite):
            raise UnknownTask(task_id=prerequisite)


# --- Attempts --------------------------------------------------------------------------------------------------------


def _attempt_start(command: AttemptStartCommand, projection: ProjectionQueries) -> None:
    run_id = command.run_id
    state = projection.run_state(run_id)
    if state is None:
        raise AttemptStartUnknownRun(run_id=run_id)
    if not attempt_allowed(state):
        raise AttemptStartRequiresRunning(run_id=run_id, state=state)
    active = projection.active_attempt_id(run_id)
    if active is not None:
        raise AttemptStartAlreadyActive(run_id=run_id, active_attempt_id=active)
    if projection.attempt_was_used(run_id, command.attempt_id):
        raise AttemptIdReused(run_id=run_id, attempt_id=command.attempt_id)
    if attempt_count_is_full(projection.attempt_count(run_id)):
        raise AttemptCountOverflow(run_id=run_id)


def _attempt_finish(command: AttemptFinishCommand, projection: ProjectionQueries) -> None:
    run_id = command.run_id
    state = projection.run_state(run_id)
    if state is None:
        raise AttemptFinishUnknownRun(run_id=run_id)
    if not attempt_allowed(state):
        raise AttemptFinishRequiresRunning(run_id=run_id, state=state)
    active = projection.active_attempt_id(run_id)
    if active is None:
        raise AttemptFinishMissingActive(run_id=run_id)
    if active != command.attempt_id:
        raise AttemptFinishAttemptMismatch(run_id=run_id, expected_attempt_id=active, provided_attempt_id=command.attempt_id)


# --- Leases ----------------------------------------------------------------------------------------------------------


def _lease_acquire(command: LeaseAcquireCommand, projection: ProjectionQueries) -> None:
    run_id = command.run_id
    state = projection.run_state(run_id)
    if state is None:
        raise LeaseUnknownRun(run_id=run_id, event=_ACQUIRE)
    if not lease_acquire_allowed(state):
        raise LeaseInvalidRunState(run_id=run_id, event=_ACQUIRE, state=state)
    if projection.active_lease(run_id) is not None:
        raise LeaseAlreadyActive(run_id=run_id)


def _lease_heartbeat(command: LeaseHeartbeatCommand, projection: ProjectionQueries) -> None:
    run_id = command.run_id
    state = projection.run_state(run_id)
    if state is None:
        raise LeaseUnknownRun(run_id=run_id, event=_HEARTBEAT)
    if not lease_heartbeat_allowed(state):
        raise LeaseInvalidRunState(run_id=run_id, event=_HEARTBEAT, state=state)
    lease = projection.active_lease(run_id)
    if lease is None:
        raise LeaseMissingActive(run_id=run_id, event=_HEARTBEAT)
    owner, expiry = lease
    if owner != command.owner:
        raise LeaseOwnerMismatch(run_id=run_id, event=_HEARTBEAT)
    if lease_expiry_regresses(expiry, command.expiry):
        raise LeaseHeartbeatExpiryRegression(run_id=run_id, previous_expiry=expiry, proposed_expiry=command.expiry)


def _lease_expire(command: LeaseExpireCommand, projection: ProjectionQueries) -> None:
    _lease_close(command, projection, _EXPIRE)


def _lease_release(command: LeaseReleaseCommand, projection: ProjectionQueries) -> None:
    _lease_close(command, projection, _RELEASE)


def _lease_close(command: LeaseExpireCommand | LeaseReleaseCommand, projection: ProjectionQueries, event: LeaseValidationEvent) -> None:
    run_id = command.run_id
    state = projection.run_state(run_id)
    if state is None:
        raise LeaseUnknownRun(run_id=run_id, event=event)
    if not lease_close_allowed(state):
        raise LeaseInvalidRunState(run_id=run_id, event=event, state=state)
    lease = projection.active_lease(run_id)
    if lease is None:
        raise LeaseMissingActive(run_id=run_id, event=event)
    owner, expiry = lease
    if owner != command.owner:
        raise LeaseOwnerMismatch(run_id=run_id, event=event)
    if expiry != command.expiry:
        raise LeaseExpiryMismatch(run_id=run_id, event=event, expected_expiry=expiry, provided_expiry=command.expiry)


# --- Engine ----------------------------------------------------------------------------------------------------------


def _engine_pause(_command: EnginePauseCommand, projection: ProjectionQueries) -> None:
    if projection.is_engine_paused():
        raise EngineAlreadyPaused


def _engine_resume(command: EngineResumeCommand, projection: ProjectionQueries) -> None:
    if not projection.is_engine_paused():
        raise EngineNotPaused
    paused_at = projection.engine_paused_at()
    if paused_at is not None and resume_precedes_pause(paused_at, command.timestamp):
        raise EngineResumeBeforePause(paused_at=paused_at, resumed_at=command.timestamp)


# --- Budgets and subscriptions ---------------------------------------------------------------------------------------


def _budget_allocate(command: BudgetAllocateCommand, projection: ProjectionQueries) -> None:
    if not projection.task_exists(command.task_id):
        raise UnknownTask(task_id=command.task_id)


def _budget_consume(command: BudgetConsumeCommand, projection: ProjectionQueries) -> None:
    if not projection.task_exists(command.task_id):
        raise UnknownTask(task_id=command.task_id)


def _budget_replenish(command: BudgetReplenishCommand, projection: ProjectionQueries) -> None:
    task_id, dimension = command.task_id, command.dimension
    if not projection.task_exists(task_id):
        raise UnknownTask(task_id=task_id)
    if not projection.budget_allocation_exists(task_id, dimension):
        raise BudgetNotAllocated(task_id=task_id, dimension=dimension)


def _subscription_create(command: SubscriptionCreateCommand, projection: ProjectionQueries) -> None:
    subscription_id = command.subscription_id
    if not projection.task_exists(command.task_id):
        raise UnknownTask(task_id=command.task_id)
    if projection.subscription_exists(subscription_id):
        raise SubscriptionAlreadyExists(subscription_id=subscription_id)


def _subscription_cancel(command: SubscriptionCancelCommand, projection: ProjectionQueries) -> None:
    subscription_id = command.subscription_id
    if not projection.subscription_exists(subscription_id):
        raise UnknownSubscription(subscription_id=subscription_id)
    if projection.is_subscription_canceled(subscription_id):
        raise SubscriptionAlreadyCanceled(subscription_id=subscription_id)


# The checks of each command after its sequence; None where there are none.
_CHECKS: dict[type[MutationCommand], Callable[[Any, ProjectionQueries], None] | None] = {
    TaskCreateCommand: _task_create,
    RunCreateCommand: _run_create,
    RunStateTransitionCommand: _run_state_transition,
    AttemptStartCommand: _attempt_start,
    AttemptFinishCommand: _attempt_finish,
    LeaseAcquireCommand: _lease_acquire,
    LeaseHeartbeatCommand: _lease_heartbeat,
    LeaseExpireCommand: _lease_expire,
    LeaseReleaseCommand: _lease_release,
    EnginePauseCommand: _engine_pause,
    EngineResumeCommand: _engine_resume,
    TaskCancelCommand: _task_cancel,
    DependencyDeclareCommand: _dependency_declare,
    RunSuspendCommand: _run_suspend,
    RunResumeCommand: _run_resume,
    BudgetAllocateCommand: _budget_allocate,
    BudgetConsumeCommand: _budget_consume,
    BudgetReplenishCommand: _budget_replenish,
    SubscriptionCreateCommand: _subscription_create,
    SubscriptionCancelCommand: _subscription_cancel,
    SubscriptionTriggerCommand: None,
    ActorRegisterCommand: None,
    ActorDeregisterCommand: None,
    ActorHeartbeatCommand: None,
    TenantCreateCommand: None,
    RoleAssignCommand: None,
    CapabilityGrantCommand: None,
    CapabilityRevokeCommand: None,
    LedgerAppendCommand: None,
}
