"""The 29 commands: what a scheduler proposes, and the authority accepts or refuses.

Every command has the ``sequence`` that its event is to take first; None leaves it to the authority. The ``timestamp``,
in Unix seconds, is last. Constructors check every field, and convert the names of states and dimensions, lists and
bytes-like objects: see :mod:`actionqueue.fields`.
"""

from typing import TYPE_CHECKING

from _wal_native.fields import complete_class
from actionqueue.actor import ActorRegistration
from actionqueue.budget import BudgetDimension
from actionqueue.fields import U64, Abstract, Text, Timestamp
from actionqueue.ids import ActorId, AttemptId, RunId, SubscriptionId, TaskId, TenantId
from actionqueue.platform import Capability, LedgerEntry, Role, TenantRegistration
from actionqueue.run import AttemptOutcome, RunInstance
from actionqueue.states import AttemptResultKind, RunState
from actionqueue.subscription import EventFilter
from actionqueue.task import TaskSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ActorDeregisterCommand",
    "ActorHeartbeatCommand",
    "ActorRegisterCommand",
    "AttemptFinishCommand",
    "AttemptStartCommand",
    "BudgetAllocateCommand",
    "BudgetConsumeCommand",
    "BudgetReplenishCommand",
    "CapabilityGrantCommand",
    "CapabilityRevokeCommand",
    "DependencyDeclareCommand",
    "EnginePauseCommand",
    "EngineResumeCommand",
    "LeaseAcquireCommand",
    "LeaseExpireCommand",
    "LeaseHeartbeatCommand",
    "LeaseReleaseCommand",
    "LedgerAppendCommand",
    "MutationCommand",
    "RoleAssignCommand",
    "RunCreateCommand",
    "RunResumeCommand",
    "RunStateTransitionCommand",
    "RunSuspendCommand",
    "SubscriptionCancelCommand",
    "SubscriptionCreateCommand",
    "SubscriptionTriggerCommand",
    "TaskCancelCommand",
    "TaskCreateCommand",
    "TenantCreateCommand",
]


class MutationCommand(Abstract, frozen=True, gc=False):
    """Base of the commands."""

    if TYPE_CHECKING:

        @property
        def sequence(self) -> int | None:
            """The sequence that the command's event must take; None takes the next one."""


# --- Tasks and runs --------------------------------------------------------------------------------------------------


class TaskCreateCommand(MutationCommand, frozen=True, gc=False):
    """Create a task."""

    sequence: U64 | None
    task_spec: TaskSpec
    timestamp: Timestamp


class TaskCancelCommand(MutationCommand, frozen=True, gc=False):
    """Cancel a task. Its runs are left alone, and new ones taken: docs/guide.md#what-the-queue-refuses-what-is-yours."""

    sequence: U64 | None
    task_id: TaskId
    timestamp: Timestamp


class DependencyDeclareCommand(MutationCommand, frozen=True, gc=False):
    """Add prerequisites to a task, for which the scheduler is to wait: docs/guide.md#what-the-queue-refuses-what-is-yours.

    All tasks must exist.
    """

    sequence: U64 | None
    task_id: TaskId
    depends_on: tuple[TaskId, ...]
    timestamp: Timestamp

    if TYPE_CHECKING:

        def __init__(
            self, sequence: int | None, task_id: TaskId, depends_on: Sequence[TaskId], timestamp: int
        ) -> None: ...


class RunCreateCommand(MutationCommand, frozen=True, gc=False):
    """Create a run of a task. The run has its time of creation, so the command has no timestamp."""

    sequence: U64 | None
    run_instance: RunInstance


class RunStateTransitionCommand(MutationCommand, frozen=True, gc=False):
    """Take a run from one state to another."""

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


class RunSuspendCommand(MutationCommand, frozen=True, gc=False):
    """Take a running run to suspended, with a reason if there is one."""

    sequence: U64 | None
    run_id: RunId
    reason: Text | None
    timestamp: Timestamp


class RunResumeCommand(MutationCommand, frozen=True, gc=False):
    """Take a suspended run to ready."""

    sequence: U64 | None
    run_id: RunId
    timestamp: Timestamp


# --- Attempts --------------------------------------------------------------------------------------------------------


class AttemptStartCommand(MutationCommand, frozen=True, gc=False):
    """Start an attempt of a running run."""

    sequence: U64 | None
    run_id: RunId
    attempt_id: AttemptId
    timestamp: Timestamp


class AttemptFinishCommand(MutationCommand, frozen=True, gc=False):
    """Finish the active attempt of a running run."""

    sequence: U64 | None
    run_id: RunId
    attempt_id: AttemptId
    outcome: AttemptOutcome
    timestamp: Timestamp

    @property
    def result(self) -> AttemptResultKind:
        """How the attempt ended."""
        return self.outcome.result

    @property
    def error(self) -> str | None:
        """The error of a failure or a timeout."""
        return self.outcome.error

    @property
    def output(self) -> bytes | None:
        """The output of a success or a suspension."""
        return self.outcome.output


# --- Leases ----------------------------------------------------------------------------------------------------------


class LeaseAcquireCommand(MutationCommand, frozen=True, gc=False):
    """Give an owner a lease on a ready or leased run, until the expiry (Unix seconds).

    It stays until a command drops it: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp


class LeaseHeartbeatCommand(MutationCommand, frozen=True, gc=False):
    """Extend the owner's lease on a leased or running run to a later expiry."""

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp


class LeaseExpireCommand(MutationCommand, frozen=True, gc=False):
    """Drop a lease, named by its exact owner and expiry.

    Whether it has run out is for the scheduler to know: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp


class LeaseReleaseCommand(MutationCommand, frozen=True, gc=False):
    """Give a lease back, named by its exact owner and expiry."""

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp


# --- Engine ----------------------------------------------------------------------------------------------------------


class EnginePauseCommand(MutationCommand, frozen=True, gc=False):
    """Pause the engine. Commands are taken as before: docs/guide.md#what-the-queue-refuses-what-is-yours."""

    sequence: U64 | None
    timestamp: Timestamp


class EngineResumeCommand(MutationCommand, frozen=True, gc=False):
    """Resume the paused engine, at a time not before its pause."""

    sequence: U64 | None
    timestamp: Timestamp


# --- Budgets ---------------------------------------------------------------------------------------------------------


class BudgetAllocateCommand(MutationCommand, frozen=True, gc=False):
    """Give a task a budget, with nothing consumed. The scheduler is to stop at it: docs/guide.md#what-the-queue-refuses-what-is-yours."""

    sequence: U64 | None
    task_id: TaskId
    dimension: BudgetDimension
    limit: U64
    timestamp: Timestamp

    if TYPE_CHECKING:

        def __init__(
            self, sequence: int | None, task_id: TaskId, dimension: BudgetDimension | str, limit: int, timestamp: int
        ) -> None: ...


class BudgetConsumeCommand(MutationCommand, frozen=True, gc=False):
    """Record that a task used some of its budget."""

    sequence: U64 | None
    task_id: TaskId
    dimension: BudgetDimension
    amount: U64
    timestamp: Timestamp

    if TYPE_CHECKING:

        def __init__(
            self, sequence: int | None, task_id: TaskId, dimension: BudgetDimension | str, amount: int, timestamp: int
        ) -> None: ...


class BudgetReplenishCommand(MutationCommand, frozen=True, gc=False):
    """Give a task's budget a new limit, with nothing consumed."""

    sequence: U64 | None
    task_id: TaskId
    dimension: BudgetDimension
    new_limit: U64
    timestamp: Timestamp

    if TYPE_CHECKING:

        def __init__(
            self,
            sequence: int | None,
            task_id: TaskId,
            dimension: BudgetDimension | str,
            new_limit: int,
            timestamp: int,
        ) -> None: ...


# --- Subscriptions ---------------------------------------------------------------------------------------------------


class SubscriptionCreateCommand(MutationCommand, frozen=True, gc=False):
    """Subscribe a task to what a filter selects."""

    sequence: U64 | None
    subscription_id: SubscriptionId
    task_id: TaskId
    filter: EventFilter
    timestamp: Timestamp


class SubscriptionCancelCommand(MutationCommand, frozen=True, gc=False):
    """Cancel a subscription."""

    sequence: U64 | None
    subscription_id: SubscriptionId
    timestamp: Timestamp


class SubscriptionTriggerCommand(MutationCommand, frozen=True, gc=False):
    """Record that a subscription's filter matched."""

    sequence: U64 | None
    subscription_id: SubscriptionId
    timestamp: Timestamp


# --- Actors and the platform -----------------------------------------------------------------------------------------


class ActorRegisterCommand(MutationCommand, frozen=True, gc=False):
    """Register an actor, or replace its registration."""

    sequence: U64 | None
    registration: ActorRegistration
    timestamp: Timestamp


class ActorDeregisterCommand(MutationCommand, frozen=True, gc=False):
    """Record that an actor left."""

    sequence: U64 | None
    actor_id: ActorId
    timestamp: Timestamp


class ActorHeartbeatCommand(MutationCommand, frozen=True, gc=False):
    """Record that an actor is alive."""

    sequence: U64 | None
    actor_id: ActorId
    timestamp: Timestamp


class TenantCreateCommand(MutationCommand, frozen=True, gc=False):
    """Create a tenant, or replace it."""

    sequence: U64 | None
    registration: TenantRegistration
    timestamp: Timestamp


class RoleAssignCommand(MutationCommand, frozen=True, gc=False):
    """Give an actor its role in a tenant."""

    sequence: U64 | None
    actor_id: ActorId
    role: Role
    tenant_id: TenantId
    timestamp: Timestamp


class CapabilityGrantCommand(MutationCommand, frozen=True, gc=False):
    """Grant an actor a capability in a tenant."""

    sequence: U64 | None
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId
    timestamp: Timestamp


class CapabilityRevokeCommand(MutationCommand, frozen=True, gc=False):
    """Revoke a capability of an actor in a tenant."""

    sequence: U64 | None
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId
    timestamp: Timestamp


class LedgerAppendCommand(MutationCommand, frozen=True, gc=False):
    """Append an entry to a tenant's ledger. The log keeps this command's timestamp, not the entry's."""

    sequence: U64 | None
    entry: LedgerEntry
    timestamp: Timestamp


for _class in MutationCommand.__subclasses__():
    complete_class(_class)
del _class
