"""Which event a validated command becomes in the log, and which outcome its caller gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from actionqueue.commands import (
    ActorDeregisterCommand,
    ActorHeartbeatCommand,
    ActorRegisterCommand,
    AttemptFinishCommand,
    AttemptStartCommand,
    BudgetAllocateCommand,
    BudgetConsumeCommand,
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
    RunResumeCommand,
    RunStateTransitionCommand,
    RunSuspendCommand,
    SubscriptionCancelCommand,
    SubscriptionCreateCommand,
    SubscriptionTriggerCommand,
    TaskCancelCommand,
    TaskCreateCommand,
    TenantCreateCommand,
)
from actionqueue.events import (
    ActorDeregistered,
    ActorHeartbeat,
    ActorRegistered,
    AttemptFinished,
    AttemptStarted,
    BudgetAllocated,
    BudgetConsumed,
    BudgetReplenished,
    CapabilityGranted,
    CapabilityRevoked,
    DependencyDeclared,
    EnginePaused,
    EngineResumed,
    Event,
    LeaseAcquired,
    LeaseExpired,
    LeaseHeartbeat,
    LeaseReleased,
    LedgerEntryAppended,
    RoleAssigned,
    RunCreated,
    RunResumed,
    RunStateChanged,
    RunSuspended,
    SubscriptionCanceled,
    SubscriptionCreated,
    SubscriptionTriggered,
    TaskCanceled,
    TaskCreated,
    TenantCreated,
)
from actionqueue.outcomes import (
    AppliedActorDeregister,
    AppliedActorHeartbeat,
    AppliedActorRegister,
    AppliedAttemptFinish,
    AppliedAttemptStart,
    AppliedBudgetAllocate,
    AppliedBudgetConsume,
    AppliedBudgetReplenish,
    AppliedCapabilityGrant,
    AppliedCapabilityRevoke,
    AppliedDependencyDeclare,
    AppliedEnginePause,
    AppliedEngineResume,
    AppliedLeaseAcquire,
    AppliedLeaseExpire,
    AppliedLeaseHeartbeat,
    AppliedLeaseRelease,
    AppliedLedgerAppend,
    AppliedMutation,
    AppliedRoleAssign,
    AppliedRunCreate,
    AppliedRunResume,
    AppliedRunStateTransition,
    AppliedRunSuspend,
    AppliedSubscriptionCancel,
    AppliedSubscriptionCreate,
    AppliedSubscriptionTrigger,
    AppliedTaskCancel,
    AppliedTaskCreate,
    AppliedTenantCreate,
)

__all__ = ["applied_of", "event_of"]


def event_of(command: MutationCommand, sequence: int) -> Event:
    """Return the event that the command becomes.

    Args:
        command: one that :func:`actionqueue.validation.validate` accepted.
        sequence: what that returned; the command's own may be None.
    """
    return _EVENTS[type(command)](command, sequence)


def applied_of(command: MutationCommand) -> AppliedMutation:
    """Return what the command changes, as its outcome tells it."""
    return _APPLIED[type(command)](command)


# --- Tasks and runs --------------------------------------------------------------------------------------------------


def _task_created(command: TaskCreateCommand, sequence: int) -> Event:
    return TaskCreated(sequence, command.task_spec, command.timestamp)


def _task_create(command: TaskCreateCommand) -> AppliedMutation:
    return AppliedTaskCreate(command.task_spec.id)


def _run_created(command: RunCreateCommand, sequence: int) -> Event:
    return RunCreated(sequence, command.run_instance)


def _run_create(command: RunCreateCommand) -> AppliedMutation:
    return AppliedRunCreate(command.run_instance.id, command.run_instance.task_id)


def _run_state_changed(command: RunStateTransitionCommand, sequence: int) -> Event:
    return RunStateChanged(sequence, command.run_id, command.previous_state, command.new_state, command.timestamp)


def _run_state_transition(command: RunStateTransitionCommand) -> AppliedMutation:
    return AppliedRunStateTransition(command.run_id, command.previous_state, command.new_state)


def _run_suspended(command: RunSuspendCommand, sequence: int) -> Event:
    return RunSuspended(sequence, command.run_id, command.reason, command.timestamp)


def _run_suspend(command: RunSuspendCommand) -> AppliedMutation:
    return AppliedRunSuspend(command.run_id)


def _run_resumed(command: RunResumeCommand, sequence: int) -> Event:
    return RunResumed(sequence, command.run_id, command.timestamp)


def _run_resume(command: RunResumeCommand) -> AppliedMutation:
    return AppliedRunResume(command.run_id)


def _task_canceled(command: TaskCancelCommand, sequence: int) -> Event:
    return TaskCanceled(sequence, command.task_id, command.timestamp)


def _task_cancel(command: TaskCancelCommand) -> AppliedMutation:
    return AppliedTaskCancel(command.task_id)


def _dependency_declared(command: DependencyDeclareCommand, sequence: int) -> Event:
    return DependencyDeclared(sequence, command.task_id, command.depends_on, command.timestamp)


def _dependency_declare(command: DependencyDeclareCommand) -> AppliedMutation:
    return AppliedDependencyDeclare(command.task_id, command.depends_on)


# --- Attempts --------------------------------------------------------------------------------------------------------


def _attempt_started(command: AttemptStartCommand, sequence: int) -> Event:
    return AttemptStarted(sequence, command.run_id, command.attempt_id, command.timestamp)


def _attempt_start(command: AttemptStartCommand) -> AppliedMutation:
    return AppliedAttemptStart(command.run_id, command.attempt_id)


def _attempt_finished(command: AttemptFinishCommand, sequence: int) -> Event:
    outcome = command.outcome
    return AttemptFinished(sequence, command.run_id, command.attempt_id, outcome.result, outcome.error, outcome.output, command.timestamp)


def _attempt_finish(command: AttemptFinishCommand) -> AppliedMutation:
    return AppliedAttemptFinish(command.run_id, command.attempt_id, command.outcome)


# --- Leases ----------------------------------------------------------------------------------------------------------


def _lease_acquired(command: LeaseAcquireCommand, sequence: int) -> Event:
    return LeaseAcquired(sequence, command.run_id, command.owner, command.expiry, command.timestamp)


def _lease_acquire(command: LeaseAcquireCommand) -> AppliedMutation:
    return AppliedLeaseAcquire(command.run_id, command.owner, command.expiry)


def _lease_renewed(command: LeaseHeartbeatCommand, sequence: int) -> Event:
    return LeaseHeartbeat(sequence, command.run_id, command.owner, command.expiry, command.timestamp)


def _lease_heartbeat(command: LeaseHeartbeatCommand) -> AppliedMutation:
    return AppliedLeaseHeartbeat(command.run_id, command.owner, command.expiry)


def _lease_expired(command: LeaseExpireCommand, sequence: int) -> Event:
    return LeaseExpired(sequence, command.run_id, command.owner, command.expiry, command.timestamp)


def _lease_expire(command: LeaseExpireCommand) -> AppliedMutation:
    return AppliedLeaseExpire(command.run_id, command.owner, command.expiry)


def _lease_released(command: LeaseReleaseCommand, sequence: int) -> Event:
    return LeaseReleased(sequence, command.run_id, command.owner, command.expiry, command.timestamp)


def _lease_release(command: LeaseReleaseCommand) -> AppliedMutation:
    return AppliedLeaseRelease(command.run_id, command.owner, command.expiry)


# --- Engine ----------------------------------------------------------------------------------------------------------


def _engine_paused(command: EnginePauseCommand, sequence: int) -> Event:
    return EnginePaused(sequence, command.timestamp)


def _engine_pause(_command: EnginePauseCommand) -> AppliedMutation:
    return AppliedEnginePause()


def _engine_resumed(command: EngineResumeCommand, sequence: int) -> Event:
    return EngineResumed(sequence, command.timestamp)


def _engine_resume(_command: EngineResumeCommand) -> AppliedMutation:
    return AppliedEngineResume()


# --- Budgets and subscriptions ---------------------------------------------------------------------------------------


def _budget_allocated(command: BudgetAllocateCommand, sequence: int) -> Event:
    return BudgetAllocated(sequence, command.task_id, command.dimension, command.limit, command.timestamp)


def _budget_allocate(command: BudgetAllocateCommand) -> AppliedMutation:
    return AppliedBudgetAllocate(command.task_id, command.dimension, command.limit)


def _budget_consumed(command: BudgetConsumeCommand, sequence: int) -> Event:
    return BudgetConsumed(sequence, command.task_id, command.dimension, command.amount, command.timestamp)


def _budget_consume(command: BudgetConsumeCommand) -> AppliedMutation:
    return AppliedBudgetConsume(command.task_id, command.dimension, command.amount)


def _budget_replenished(command: BudgetReplenishCommand, sequence: int) -> Event:
    return BudgetReplenished(sequence, command.task_id, command.dimension, command.new_limit, command.timestamp)


def _budget_replenish(command: BudgetReplenishCommand) -> AppliedMutation:
    return AppliedBudgetReplenish(command.task_id, command.dimension, command.new_limit)


def _subscription_created(command: SubscriptionCreateCommand, sequence: int) -> Event:
    return SubscriptionCreated(sequence, command.subscription_id, command.task_id, command.filter, command.timestamp)


def _subscription_create(command: SubscriptionCreateCommand) -> AppliedMutation:
    return AppliedSubscriptionCreate(command.subscription_id, command.task_id)


def _subscription_canceled(command: SubscriptionCancelCommand, sequence: int) -> Event:
    return SubscriptionCanceled(sequence, command.subscription_id, command.timestamp)


def _subscription_cancel(command: SubscriptionCancelCommand) -> AppliedMutation:
    return AppliedSubscriptionCancel(command.subscription_id)


def _subscription_triggered(command: SubscriptionTriggerCommand, sequence: int) -> Event:
    return SubscriptionTriggered(sequence, command.subscription_id, command.timestamp)


def _subscription_trigger(command: SubscriptionTriggerCommand) -> AppliedMutation:
    return AppliedSubscriptionTrigger(command.subscription_id)


# --- Actors and the platform -----------------------------------------------------------------------------------------


def _actor_registered(command: ActorRegisterCommand, sequence: int) -> Event:
    registration = command.registration
    department = registration.department
    return ActorRegistered(
        sequence,
        registration.actor_id,
        registration.identity,
        registration.capabilities,
        None if department is None else department.value,
        registration.heartbeat_interval_secs,
        registration.tenant_id,
        command.timestamp,
    )


def _actor_register(command: ActorRegisterCommand) -> AppliedMutation:
    return AppliedActorRegister(command.registration.actor_id)


def _actor_deregistered(command: ActorDeregisterCommand, sequence: int) -> Event:
    return ActorDeregistered(sequence, command.actor_id, command.timestamp)


def _actor_deregister(command: ActorDeregisterCommand) -> AppliedMutation:
    return AppliedActorDeregister(command.actor_id)


def _actor_was_alive(command: ActorHeartbeatCommand, sequence: int) -> Event:
    return ActorHeartbeat(sequence, command.actor_id, command.timestamp)


def _actor_heartbeat(command: ActorHeartbeatCommand) -> AppliedMutation:
    return AppliedActorHeartbeat(command.actor_id)


def _tenant_created(command: TenantCreateCommand, sequence: int) -> Event:
    return TenantCreated(sequence, command.registration.tenant_id, command.registration.name, command.timestamp)


def _tenant_create(command: TenantCreateCommand) -> AppliedMutation:
    return AppliedTenantCreate(command.registration.tenant_id)


def _role_assigned(command: RoleAssignCommand, sequence: int) -> Event:
    return RoleAssigned(sequence, command.actor_id, command.role, command.tenant_id, command.timestamp)


def _role_assign(command: RoleAssignCommand) -> AppliedMutation:
    return AppliedRoleAssign(command.actor_id, command.role, command.tenant_id)


def _capability_granted(command: CapabilityGrantCommand, sequence: int) -> Event:
    return CapabilityGranted(sequence, command.actor_id, command.capability, command.tenant_id, command.timestamp)


def _capability_grant(command: CapabilityGrantCommand) -> AppliedMutation:
    return AppliedCapabilityGrant(command.actor_id, command.capability, command.tenant_id)


def _capability_revoked(command: CapabilityRevokeCommand, sequence: int) -> Event:
    return CapabilityRevoked(sequence, command.actor_id, command.capability, command.tenant_id, command.timestamp)


def _capability_revoke(command: CapabilityRevokeCommand) -> AppliedMutation:
    return AppliedCapabilityRevoke(command.actor_id, command.capability, command.tenant_id)


def _ledger_entry_appended(command: LedgerAppendCommand, sequence: int) -> Event:
    entry = command.entry
    # The log keeps the time at which the entry was appended; the entry's own timestamp is not logged.
    return LedgerEntryAppended(
        sequence, entry.entry_id, entry.tenant_id, entry.ledger_key, entry.actor_id, entry.payload, command.timestamp
    )


def _ledger_append(command: LedgerAppendCommand) -> AppliedMutation:
    return AppliedLedgerAppend(command.entry.entry_id, command.entry.tenant_id)


_EVENTS: dict[type[MutationCommand], Callable[[Any, int], Event]] = {
    TaskCreateCommand: _task_created,
    RunCreateCommand: _run_created,
    RunStateTransitionCommand: _run_state_changed,
    AttemptStartCommand: _attempt_started,
    AttemptFinishCommand: _attempt_finished,
    LeaseAcquireCommand: _lease_acquired,
    LeaseHeartbeatCommand: _lease_renewed,
    LeaseExpireCommand: _lease_expired,
    LeaseReleaseCommand: _lease_released,
    EnginePauseCommand: _engine_paused,
    EngineResumeCommand: _engine_resumed,
    TaskCancelCommand: _task_canceled,
    DependencyDeclareCommand: _dependency_declared,
    RunSuspendCommand: _run_suspended,
    RunResumeCommand: _run_resumed,
    BudgetAllocateCommand: _budget_allocated,
    BudgetConsumeCommand: _budget_consumed,
    BudgetReplenishCommand: _budget_replenished,
    SubscriptionCreateCommand: _subscription_created,
    SubscriptionCancelCommand: _subscription_canceled,
    SubscriptionTriggerCommand: _subscription_triggered,
    ActorRegisterCommand: _actor_registered,
    ActorDeregisterCommand: _actor_deregistered,
    ActorHeartbeatCommand: _actor_was_alive,
    TenantCreateCommand: _tenant_created,
    RoleAssignCommand: _role_assigned,
    CapabilityGrantCommand: _capability_granted,
    CapabilityRevokeCommand: _capability_revoked,
    LedgerAppendCommand: _ledger_entry_appended,
}

_APPLIED: dict[type[MutationCommand], Callable[[Any], AppliedMutation]] = {
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
    SubscriptionTriggerCommand: _subscription_trigger,
    ActorRegisterCommand: _actor_register,
    ActorDeregisterCommand: _actor_deregister,
    ActorHeartbeatCommand: _actor_heartbeat,
    TenantCreateCommand: _tenant_create,
    RoleAssignCommand: _role_assign,
    CapabilityGrantCommand: _capability_grant,
    CapabilityRevokeCommand: _capability_revoke,
    LedgerAppendCommand: _ledger_append,
}
