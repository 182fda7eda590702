"""What an accepted command changed."""

from typing import ClassVar

import msgspec

from _wal_native.outcome import MutationOutcome
from actionqueue.budget import BudgetDimension
from actionqueue.ids import ActorId, AttemptId, LedgerEntryId, RunId, SubscriptionId, TaskId, TenantId
from actionqueue.platform import Capability, Role
from actionqueue.run import AttemptOutcome
from actionqueue.states import RunState

__all__ = [
    "AppliedActorDeregister",
    "AppliedActorHeartbeat",
    "AppliedActorRegister",
    "AppliedAttemptFinish",
    "AppliedAttemptStart",
    "AppliedBudgetAllocate",
    "AppliedBudgetConsume",
    "AppliedBudgetReplenish",
    "AppliedCapabilityGrant",
    "AppliedCapabilityRevoke",
    "AppliedDependencyDeclare",
    "AppliedEnginePause",
    "AppliedEngineResume",
    "AppliedLeaseAcquire",
    "AppliedLeaseExpire",
    "AppliedLeaseHeartbeat",
    "AppliedLeaseRelease",
    "AppliedLedgerAppend",
    "AppliedMutation",
    "AppliedRoleAssign",
    "AppliedRunCreate",
    "AppliedRunResume",
    "AppliedRunStateTransition",
    "AppliedRunSuspend",
    "AppliedSubscriptionCancel",
    "AppliedSubscriptionCreate",
    "AppliedSubscriptionTrigger",
    "AppliedTaskCancel",
    "AppliedTaskCreate",
    "AppliedTenantCreate",
    "MutationOutcome",
]


class AppliedMutation(msgspec.Struct, frozen=True):
    """Base of what commands change."""

    name: ClassVar[str]
    """The command's name in lower snake case."""


class AppliedTaskCreate(AppliedMutation, frozen=True):
    """A task was created."""

    name = "task_create"
    task_id: TaskId


class AppliedRunCreate(AppliedMutation, frozen=True):
    """A run was created."""

    name = "run_create"
    run_id: RunId
    task_id: TaskId


class AppliedRunStateTransition(AppliedMutation, frozen=True):
    """A run went from one state to another."""

    name = "run_state_transition"
    run_id: RunId
    previous_state: RunState
    new_state: RunState


class AppliedAttemptStart(AppliedMutation, frozen=True):
    """An attempt started."""

    name = "attempt_start"
    run_id: RunId
    attempt_id: AttemptId


class AppliedAttemptFinish(AppliedMutation, frozen=True):
    """An attempt finished."""

    name = "attempt_finish"
    run_id: RunId
    attempt_id: AttemptId
    outcome: AttemptOutcome


class AppliedLeaseAcquire(AppliedMutation, frozen=True):
    """An owner got a lease."""

    name = "lease_acquire"
    run_id: RunId
    owner: str
    expiry: int


class AppliedLeaseHeartbeat(AppliedMutation, frozen=True):
    """A lease was extended."""

    name = "lease_heartbeat"
    run_id: RunId
    owner: str
    expiry: int


class AppliedLeaseExpire(AppliedMutation, frozen=True):
    """A lease ran out."""

    name = "lease_expire"
    run_id: RunId
    owner: str
    expiry: int


class AppliedLeaseRelease(AppliedMutation, frozen=True):
    """A lease was given back."""

    name = "lease_release"
    run_id: RunId
    owner: str
    expiry: int


class AppliedEnginePause(AppliedMutation, frozen=True):
    """The engine was paused."""

    name = "engine_pause"


class AppliedEngineResume(AppliedMutation, frozen=True):
    """The engine was resumed."""

    name = "engine_resume"


class AppliedTaskCancel(AppliedMutation, frozen=True):
    """A task was canceled."""

    name = "task_cancel"
    task_id: TaskId


class AppliedDependencyDeclare(AppliedMutation, frozen=True):
    """A task got prerequisites."""

    name = "dependency_declare"
    task_id: TaskId
    depends_on: tuple[TaskId, ...]


class AppliedRunSuspend(AppliedMutation, frozen=True):
    """A run was suspended."""

    name = "run_suspend"
    run_id: RunId


class AppliedRunResume(AppliedMutation, frozen=True):
    """A run was resumed."""

    name = "run_resume"
    run_id: RunId


class AppliedBudgetAllocate(AppliedMutation, frozen=True):
    """A task got a budget."""

    name = "budget_allocate"
    task_id: TaskId
    dimension: BudgetDimension
    limit: int


class AppliedBudgetConsume(AppliedMutation, frozen=True):
    """A task used some of its budget. Without an allocation only the log keeps that."""

    name = "budget_consume"
    task_id: TaskId
    dimension: BudgetDimension
    amount: int


class AppliedBudgetReplenish(AppliedMutation, frozen=True):
    """A task's budget got a new limit."""

    name = "budget_replenish"
    task_id: TaskId
    dimension: BudgetDimension
    new_limit: int


class AppliedSubscriptionCreate(AppliedMutation, frozen=True):
    """A task was subscribed."""

    name = "subscription_create"
    subscription_id: SubscriptionId
    task_id: TaskId


class AppliedSubscriptionCancel(AppliedMutation, frozen=True):
    """A subscription was canceled."""

    name = "subscription_cancel"
    subscription_id: SubscriptionId


class AppliedSubscriptionTrigger(AppliedMutation, frozen=True):
    """A subscription was triggered. Of an unknown one only the log keeps that."""

    name = "subscription_trigger"
    subscription_id: SubscriptionId


class AppliedActorRegister(AppliedMutation, frozen=True):
    """An actor was registered, or its registration was replaced."""

    name = "actor_register"
    actor_id: ActorId


class AppliedActorDeregister(AppliedMutation, frozen=True):
    """An actor left. Of one that never registered only the log keeps that."""

    name = "actor_deregister"
    actor_id: ActorId


class AppliedActorHeartbeat(AppliedMutation, frozen=True):
    """An actor was alive. Of one that never registered only the log keeps that."""

    name = "actor_heartbeat"
    actor_id: ActorId


class AppliedTenantCreate(AppliedMutation, frozen=True):
    """A tenant was created, or replaced."""

    name = "tenant_create"
    tenant_id: TenantId


class AppliedRoleAssign(AppliedMutation, frozen=True):
    """An actor got its role in a tenant, in place of the one that it had there."""

    name = "role_assign"
    actor_id: ActorId
    role: Role
    tenant_id: TenantId


class AppliedCapabilityGrant(AppliedMutation, frozen=True):
    """An actor got a capability in a tenant."""

    name = "capability_grant"
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId


class AppliedCapabilityRevoke(AppliedMutation, frozen=True):
    """An actor lost a capability in a tenant. Of one that was never granted only the log keeps that."""

    name = "capability_revoke"
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId


class AppliedLedgerAppend(AppliedMutation, frozen=True):
    """A tenant's ledger got an entry."""

    name = "ledger_append"
    entry_id: LedgerEntryId
    tenant_id: TenantId
