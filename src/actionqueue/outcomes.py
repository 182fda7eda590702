"""What an accepted command changed."""

from typing import ClassVar

import msgspec

from _wal_native.outcome import MutationOutcome
from actionqueue.budget import BudgetDimension
from actionqueue.ids import AttemptId, RunId, SubscriptionId, TaskId
from actionqueue.run import AttemptOutcome
from actionqueue.states import RunState

__all__ = [
    "AppliedAttemptFinish",
    "AppliedAttemptStart",
    "AppliedBudgetAllocate",
    "AppliedBudgetConsume",
    "AppliedBudgetReplenish",
    "AppliedDependencyDeclare",
    "AppliedEnginePause",
    "AppliedEngineResume",
    "AppliedLeaseAcquire",
    "AppliedLeaseExpire",
    "AppliedLeaseHeartbeat",
    "AppliedLeaseRelease",
    "AppliedMutation",
    "AppliedNoOp",
    "AppliedRunCreate",
    "AppliedRunResume",
    "AppliedRunStateTransition",
    "AppliedRunSuspend",
    "AppliedSubscriptionCancel",
    "AppliedSubscriptionCreate",
    "AppliedSubscriptionTrigger",
    "AppliedTaskCancel",
    "AppliedTaskCreate",
    "MutationOutcome",
]


class AppliedMutation(msgspec.Struct, frozen=True, gc=False):
    """Base of what commands change."""

    name: ClassVar[str]
    """The command's name in lower snake case, or ``"no_op"``."""


class AppliedTaskCreate(AppliedMutation, frozen=True, gc=False):
    """A task was created."""

    name = "task_create"
    task_id: TaskId


class AppliedRunCreate(AppliedMutation, frozen=True, gc=False):
    """A run was created."""

    name = "run_create"
    run_id: RunId
    task_id: TaskId


class AppliedRunStateTransition(AppliedMutation, frozen=True, gc=False):
    """A run went from one state to another."""

    name = "run_state_transition"
    run_id: RunId
    previous_state: RunState
    new_state: RunState


class AppliedAttemptStart(AppliedMutation, frozen=True, gc=False):
    """An attempt started."""

    name = "attempt_start"
    run_id: RunId
    attempt_id: AttemptId


class AppliedAttemptFinish(AppliedMutation, frozen=True, gc=False):
    """An attempt finished."""

    name = "attempt_finish"
    run_id: RunId
    attempt_id: AttemptId
    outcome: AttemptOutcome


class AppliedLeaseAcquire(AppliedMutation, frozen=True, gc=False):
    """An owner got a lease."""

    name = "lease_acquire"
    run_id: RunId
    owner: str
    expiry: int


class AppliedLeaseHeartbeat(AppliedMutation, frozen=True, gc=False):
    """A lease was extended."""

    name = "lease_heartbeat"
    run_id: RunId
    owner: str
    expiry: int


class AppliedLeaseExpire(AppliedMutation, frozen=True, gc=False):
    """A lease ran out."""

    name = "lease_expire"
    run_id: RunId
    owner: str
    expiry: int


class AppliedLeaseRelease(AppliedMutation, frozen=True, gc=False):
    """A lease was given back."""

    name = "lease_release"
    run_id: RunId
    owner: str
    expiry: int


class AppliedEnginePause(AppliedMutation, frozen=True, gc=False):
    """The engine was paused."""

    name = "engine_pause"


class AppliedEngineResume(AppliedMutation, frozen=True, gc=False):
    """The engine was resumed."""

    name = "engine_resume"


class AppliedTaskCancel(AppliedMutation, frozen=True, gc=False):
    """A task was canceled."""

    name = "task_cancel"
    task_id: TaskId


class AppliedDependencyDeclare(AppliedMutation, frozen=True, gc=False):
    """A task got prerequisites."""

    name = "dependency_declare"
    task_id: TaskId
    depends_on: tuple[TaskId, ...]


class AppliedRunSuspend(AppliedMutation, frozen=True, gc=False):
    """A run was suspended."""

    name = "run_suspend"
    run_id: RunId


class AppliedRunResume(AppliedMutation, frozen=True, gc=False):
    """A run was resumed."""

    name = "run_resume"
    run_id: RunId


class AppliedBudgetAllocate(AppliedMutation, frozen=True, gc=False):
    """A task got a budget."""

    name = "budget_allocate"
    task_id: TaskId
    dimension: BudgetDimension
    limit: int


class AppliedBudgetConsume(AppliedMutation, frozen=True, gc=False):
    """A task used some of its budget."""

    name = "budget_consume"
    task_id: TaskId
    dimension: BudgetDimension
    amount: int


class AppliedBudgetReplenish(AppliedMutation, frozen=True, gc=False):
    """A task's budget got a new limit."""

    name = "budget_replenish"
    task_id: TaskId
    dimension: BudgetDimension
    new_limit: int


class AppliedSubscriptionCreate(AppliedMutation, frozen=True, gc=False):
    """A task was subscribed."""

    name = "subscription_create"
    subscription_id: SubscriptionId
    task_id: TaskId


class AppliedSubscriptionCancel(AppliedMutation, frozen=True, gc=False):
    """A subscription was canceled."""

    name = "subscription_cancel"
    subscription_id: SubscriptionId


class AppliedSubscriptionTrigger(AppliedMutation, frozen=True, gc=False):
    """A subscription was triggered."""

    name = "subscription_trigger"
    subscription_id: SubscriptionId


class AppliedNoOp(AppliedMutation, frozen=True, gc=False):
    """The command of an actor, tenant, role, capability or ledger entry was recorded; it has nothing to report."""

    name = "no_op"
