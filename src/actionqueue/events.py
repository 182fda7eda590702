"""The 32 kinds of events: what the log holds and the projection applies.

One for each command, plus :class:`RunCanceled` and :class:`BudgetExhausted`, which only replay knows, and
:class:`RunsPurged`, which the retention of a queue makes. Events are made
from commands that were checked, or from records that were decoded, so their constructors check nothing. The
``sequence`` is first, the ``timestamp`` (Unix seconds) last; :class:`RunCreated` has none, its run has the time.
"""

from enum import IntEnum
from typing import ClassVar

import msgspec

from actionqueue.budget import BudgetDimension
from actionqueue.ids import ActorId, AttemptId, LedgerEntryId, RunId, SubscriptionId, TaskId, TenantId
from actionqueue.platform import Capability, Role
from actionqueue.run import RunInstance
from actionqueue.states import AttemptResultKind, RunState
from actionqueue.subscription import EventFilter
from actionqueue.task import TaskSpec
from actionqueue.vocabulary import vocabulary

__all__ = [
    "ActorDeregistered",
    "ActorHeartbeat",
    "ActorRegistered",
    "AttemptFinished",
    "AttemptStarted",
    "BudgetAllocated",
    "BudgetConsumed",
    "BudgetExhausted",
    "BudgetReplenished",
    "CapabilityGranted",
    "CapabilityRevoked",
    "DependencyDeclared",
    "EnginePaused",
    "EngineResumed",
    "Event",
    "EventKind",
    "LeaseAcquired",
    "LeaseExpired",
    "LeaseHeartbeat",
    "LeaseReleased",
    "LedgerEntryAppended",
    "RoleAssigned",
    "RunCanceled",
    "RunCreated",
    "RunResumed",
    "RunStateChanged",
    "RunSuspended",
    "RunsPurged",
    "SubscriptionCanceled",
    "SubscriptionCreated",
    "SubscriptionTriggered",
    "TaskCanceled",
    "TaskCreated",
    "TenantCreated",
]


@vocabulary("kind")
class EventKind(IntEnum):
    """The permanent codes of the kinds in the log."""

    TASK_CREATED = 1
    RUN_CREATED = 2
    RUN_STATE_CHANGED = 3
    ATTEMPT_STARTED = 4
    ATTEMPT_FINISHED = 5
    TASK_CANCELED = 6
    RUN_CANCELED = 7
    LEASE_ACQUIRED = 8
    LEASE_HEARTBEAT = 9
    LEASE_EXPIRED = 10
    LEASE_RELEASED = 11
    ENGINE_PAUSED = 12
    ENGINE_RESUMED = 13
    DEPENDENCY_DECLARED = 14
    RUN_SUSPENDED = 15
    RUN_RESUMED = 16
    BUDGET_ALLOCATED = 17
    BUDGET_CONSUMED = 18
    BUDGET_EXHAUSTED = 19
    BUDGET_REPLENISHED = 20
    SUBSCRIPTION_CREATED = 21
    SUBSCRIPTION_TRIGGERED = 22
    SUBSCRIPTION_CANCELED = 23
    ACTOR_REGISTERED = 24
    ACTOR_DEREGISTERED = 25
    ACTOR_HEARTBEAT = 26
    TENANT_CREATED = 27
    ROLE_ASSIGNED = 28
    CAPABILITY_GRANTED = 29
    CAPABILITY_REVOKED = 30
    LEDGER_ENTRY_APPENDED = 31
    RUNS_PURGED = 32


class Event(msgspec.Struct, frozen=True):
    """Base of the events."""

    kind: ClassVar[EventKind]
    sequence: int


class TaskCreated(Event, frozen=True):
    """A task was created."""

    kind = EventKind.TASK_CREATED
    task_spec: TaskSpec
    timestamp: int


class RunCreated(Event, frozen=True):
    """A run was created, as scheduled."""

    kind = EventKind.RUN_CREATED
    run_instance: RunInstance


class RunStateChanged(Event, frozen=True):
    """A run went from one state to another."""

    kind = EventKind.RUN_STATE_CHANGED
    run_id: RunId
    previous_state: RunState
    new_state: RunState
    timestamp: int


class AttemptStarted(Event, frozen=True):
    """An attempt of a run started."""

    kind = EventKind.ATTEMPT_STARTED
    run_id: RunId
    attempt_id: AttemptId
    timestamp: int


class AttemptFinished(Event, frozen=True):
    """The active attempt of a run finished."""

    kind = EventKind.ATTEMPT_FINISHED
    run_id: RunId
    attempt_id: AttemptId
    result: AttemptResultKind
    error: str | None
    output: bytes | None
    timestamp: int


class TaskCanceled(Event, frozen=True):
    """A task was canceled."""

    kind = EventKind.TASK_CANCELED
    task_id: TaskId
    timestamp: int


class RunCanceled(Event, frozen=True):
    """A run was canceled, from whichever state it was in. No command makes this event."""

    kind = EventKind.RUN_CANCELED
    run_id: RunId
    timestamp: int


class LeaseAcquired(Event, frozen=True):
    """An owner got a lease on a run."""

    kind = EventKind.LEASE_ACQUIRED
    run_id: RunId
    owner: str
    expiry: int
    timestamp: int


class LeaseHeartbeat(Event, frozen=True):
    """A lease was extended."""

    kind = EventKind.LEASE_HEARTBEAT
    run_id: RunId
    owner: str
    expiry: int
    timestamp: int


class LeaseExpired(Event, frozen=True):
    """A lease ran out."""

    kind = EventKind.LEASE_EXPIRED
    run_id: RunId
    owner: str
    expiry: int
    timestamp: int


class LeaseReleased(Event, frozen=True):
    """A lease was given back."""

    kind = EventKind.LEASE_RELEASED
    run_id: RunId
    owner: str
    expiry: int
    timestamp: int


class EnginePaused(Event, frozen=True):
    """The engine was paused."""

    kind = EventKind.ENGINE_PAUSED
    timestamp: int


class EngineResumed(Event, frozen=True):
    """The engine was resumed."""

    kind = EventKind.ENGINE_RESUMED
    timestamp: int


class DependencyDeclared(Event, frozen=True):
    """A task got prerequisites."""

    kind = EventKind.DEPENDENCY_DECLARED
    task_id: TaskId
    depends_on: tuple[TaskId, ...]
    timestamp: int


class RunSuspended(Event, frozen=True):
    """A running run was suspended."""

    kind = EventKind.RUN_SUSPENDED
    run_id: RunId
    reason: str | None
    timestamp: int


class RunResumed(Event, frozen=True):
    """A suspended run became ready."""

    kind = EventKind.RUN_RESUMED
    run_id: RunId
    timestamp: int


class BudgetAllocated(Event, frozen=True):
    """A task got a budget."""

    kind = EventKind.BUDGET_ALLOCATED
    task_id: TaskId
    dimension: BudgetDimension
    limit: int
    timestamp: int


class BudgetConsumed(Event, frozen=True):
    """A task used some of its budget."""

    kind = EventKind.BUDGET_CONSUMED
    task_id: TaskId
    dimension: BudgetDimension
    amount: int
    timestamp: int


class BudgetExhausted(Event, frozen=True):
    """A task's budget was used up. No command makes this event."""

    kind = EventKind.BUDGET_EXHAUSTED
    task_id: TaskId
    dimension: BudgetDimension
    timestamp: int


class BudgetReplenished(Event, frozen=True):
    """A task's budget got a new limit."""

    kind = EventKind.BUDGET_REPLENISHED
    task_id: TaskId
    dimension: BudgetDimension
    new_limit: int
    timestamp: int


class SubscriptionCreated(Event, frozen=True):
    """A task was subscribed to what a filter selects."""

    kind = EventKind.SUBSCRIPTION_CREATED
    subscription_id: SubscriptionId
    task_id: TaskId
    filter: EventFilter
    timestamp: int


class SubscriptionTriggered(Event, frozen=True):
    """A subscription's filter matched."""

    kind = EventKind.SUBSCRIPTION_TRIGGERED
    subscription_id: SubscriptionId
    timestamp: int


class SubscriptionCanceled(Event, frozen=True):
    """A subscription was canceled."""

    kind = EventKind.SUBSCRIPTION_CANCELED
    subscription_id: SubscriptionId
    timestamp: int


class ActorRegistered(Event, frozen=True):
    """An actor was registered."""

    kind = EventKind.ACTOR_REGISTERED
    actor_id: ActorId
    identity: str
    capabilities: tuple[str, ...]
    department: str | None
    heartbeat_interval_secs: int
    tenant_id: TenantId | None
    timestamp: int


class ActorDeregistered(Event, frozen=True):
    """An actor left."""

    kind = EventKind.ACTOR_DEREGISTERED
    actor_id: ActorId
    timestamp: int


class ActorHeartbeat(Event, frozen=True):
    """An actor was alive."""

    kind = EventKind.ACTOR_HEARTBEAT
    actor_id: ActorId
    timestamp: int


class TenantCreated(Event, frozen=True):
    """A tenant was created."""

    kind = EventKind.TENANT_CREATED
    tenant_id: TenantId
    name: str
    timestamp: int


class RoleAssigned(Event, frozen=True):
    """An actor got its role in a tenant."""

    kind = EventKind.ROLE_ASSIGNED
    actor_id: ActorId
    role: Role
    tenant_id: TenantId
    timestamp: int


class CapabilityGranted(Event, frozen=True):
    """An actor got a capability in a tenant."""

    kind = EventKind.CAPABILITY_GRANTED
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId
    timestamp: int


class CapabilityRevoked(Event, frozen=True):
    """An actor lost a capability in a tenant."""

    kind = EventKind.CAPABILITY_REVOKED
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId
    timestamp: int


class LedgerEntryAppended(Event, frozen=True):
    """An entry was appended to a tenant's ledger."""

    kind = EventKind.LEDGER_ENTRY_APPENDED
    entry_id: LedgerEntryId
    tenant_id: TenantId
    ledger_key: str
    actor_id: ActorId | None
    payload: bytes
    timestamp: int


class RunsPurged(Event, frozen=True):
    """What was over, or old, was dropped from the projection: runs, tasks without runs, subscriptions, actors, lines of the ledger.

    No command makes this event.

    From then on it is as if they had never been there: a purged task takes its prerequisites, budgets and subscriptions along, an
    actor its roles and capabilities, and identifiers may be used again, unless ``kept_until`` says otherwise of the tasks'.
    """

    kind = EventKind.RUNS_PURGED
    run_ids: tuple[RunId, ...]
    task_ids: tuple[TaskId, ...]
    timestamp: int
    subscription_ids: tuple[SubscriptionId, ...] = ()
    actor_ids: tuple[ActorId, ...] = ()
    ledger_entries: int = 0
    """How many lines of the ledger, the oldest."""
    tombstones: int = 0
    """How many tombstones, the oldest: identifiers of tasks that were forgotten before, which may be used again now."""
    kept_until: int | None = None
    """Where the identifiers of ``task_ids`` become tombstones, which are refused until they are dropped: that time, at the earliest."""
