"""The projection: what the events of a log add up to, in memory, and the queries on it.

Times are Unix seconds. A query for one thing answers None where there is no such thing; one for several answers a new
list, empty where there are none. An argument of the wrong type is a TypeError that names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import msgspec

from _wal_native.codec import task_spec_from_bytes
from _wal_native.table import StateTable
from actionqueue.columns import ProjectionColumns, read_columns, read_run_id_array, state_of
from actionqueue.model import (
    ActorId,
    ActorRegistration,
    AttemptId,
    AttemptResultKind,
    BudgetDimension,
    Capability,
    EventFilter,
    LedgerEntryId,
    Role,
    RunId,
    RunInstance,
    RunState,
    SubscriptionId,
    TaskId,
    TaskSpec,
    TenantId,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "ActorRecord",
    "AttemptRecord",
    "BudgetRecord",
    "CapabilityGrant",
    "EngineStatus",
    "HistoryEntry",
    "Lease",
    "LedgerRecord",
    "Projection",
    "ProjectionCounts",
    "RoleAssignment",
    "SubscriptionRecord",
    "TaskRecord",
    "TenantRecord",
    "Tombstone",
]


class TaskRecord(msgspec.Struct, frozen=True):
    """A task and what became of it."""

    task_id: TaskId
    created_at: int
    canceled_at: int | None
    encoded_spec: bytes
    """The specification as the log has it."""
    runs_created: int
    """How many runs were ever created for it, also those that retention forgot. What a policy's ``count`` or ``max_occurrences`` bounds."""
    last_run_at: int | None
    """The latest time that one of its runs was created for, also after retention forgot that run; None before the first.

    Where the next run of a recurring task follows. A run that is created for an earlier time changes nothing here."""

    @property
    def spec(self) -> TaskSpec:
        """The specification, decoded anew each time."""
        return task_spec_from_bytes(self.task_id, self.encoded_spec)

    @property
    def is_canceled(self) -> bool:
        """Whether the task was canceled."""
        return self.canceled_at is not None


class HistoryEntry(msgspec.Struct, frozen=True):
    """A change of a run's state. The first entry, the run's creation, comes from None.

    The entries need not form a chain: closing the lease of a leased run makes it ready without an entry.
    """

    from_state: RunState | None
    to_state: RunState
    timestamp: int


class AttemptRecord(msgspec.Struct, frozen=True):
    """An attempt of a run. What is known only at its end is None until then.

    An attempt that was active when its run was canceled stays unfinished.
    """

    attempt_id: AttemptId
    started_at: int
    finished_at: int | None
    result: AttemptResultKind | None
    error: str | None
    output: bytes | None


class Lease(msgspec.Struct, frozen=True):
    """Who may work on a run, and until when."""

    owner: str
    expiry: int
    """Until when. The lease stays beyond it, until a command drops it: docs/guide.md#what-the-queue-refuses-what-is-yours."""
    acquired_at: int
    updated_at: int
    """When the last heartbeat came; before the first, when the lease was acquired."""


class BudgetRecord(msgspec.Struct, frozen=True):
    """A task's budget in one dimension."""

    task_id: TaskId
    dimension: BudgetDimension
    limit: int
    """What the scheduler is to stop at; consuming past it is taken: docs/guide.md#what-the-queue-refuses-what-is-yours."""
    consumed: int
    """Stays at 2**64 - 1 where it would pass it."""
    allocated_at: int
    is_exhausted: bool


class SubscriptionRecord(msgspec.Struct, frozen=True):
    """A subscription of a task."""

    subscription_id: SubscriptionId
    task_id: TaskId
    filter: EventFilter
    created_at: int
    triggered_at: int | None
    """The last time."""
    canceled_at: int | None


class ActorRecord(msgspec.Struct, frozen=True):
    """An actor, as it last registered."""

    registration: ActorRegistration
    registered_at: int
    last_heartbeat_at: int | None
    deregistered_at: int | None

    @property
    def actor_id(self) -> ActorId:
        """The actor's identifier."""
        return self.registration.actor_id


class TenantRecord(msgspec.Struct, frozen=True):
    """A tenant."""

    tenant_id: TenantId
    name: str
    created_at: int


class RoleAssignment(msgspec.Struct, frozen=True):
    """What an actor is in a tenant."""

    actor_id: ActorId
    tenant_id: TenantId
    role: Role
    assigned_at: int


class CapabilityGrant(msgspec.Struct, frozen=True):
    """What an actor may do in a tenant, or might before it was revoked."""

    actor_id: ActorId
    tenant_id: TenantId
    capability: Capability
    granted_at: int
    revoked_at: int | None


class LedgerRecord(msgspec.Struct, frozen=True):
    """A line of a tenant's ledger. The timestamp is that of the command that appended it."""

    entry_id: LedgerEntryId
    tenant_id: TenantId
    ledger_key: str
    actor_id: ActorId | None
    payload: bytes
    timestamp: int


class Tombstone(msgspec.Struct, frozen=True):
    """The identifier of a forgotten task, which is refused for a new one."""

    task_id: TaskId
    until: int
    """When retention drops it, at the earliest."""


class EngineStatus(msgspec.Struct, frozen=True):
    """Whether the engine is paused. A pause clears ``resumed_at``; a resume keeps ``paused_at``."""

    is_paused: bool
    paused_at: int | None
    resumed_at: int | None


class ProjectionCounts(msgspec.Struct, frozen=True):
    """How many there are of each kind."""

    tasks: int
    runs: int
    history: int
    attempts: int
    leases: int
    """Held now."""
    dependencies: int
    budgets: int
    subscriptions: int
    actors: int
    tenants: int
    roles: int
    capabilities: int
    ledger: int
    tombstones: int
    memory_bytes: int
    """Memory that the projection has taken from the system."""


class Projection(StateTable):
    """The state that a log leads to.

    It changes only by :meth:`apply_event`; one that belongs to an open queue is changed by the queue alone. Each query
    sees whole events only. What it answers is a copy, and stays as it is.
    """

    poisoned_by: BaseException | None = None
    """The failure after which the queue stopped taking commands: what is here may be ahead of what the disk holds."""

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: the state is in native memory, and may be an open queue's."""
        raise TypeError("a projection can't be pickled or copied; open the queue with readonly=True where it is needed")

    # --- Runs --------------------------------------------------------------------------------------------------------

    def run(self, run_id: RunId) -> RunInstance | None:
        """Return the run as it is now."""
        fields = self.read_run(run_id)
        return None if fields is None else RunInstance(*fields)

    def lease(self, run_id: RunId) -> Lease | None:
        """Return the run's lease."""
        fields = self.read_lease(run_id)
        return None if fields is None else Lease(*fields)

    def history(self, run_id: RunId) -> list[HistoryEntry] | None:
        """Return the run's changes of state, oldest first; None for an unknown run."""
        entries = self.read_history(run_id)
        return None if entries is None else [HistoryEntry(*fields) for fields in entries]

    def attempts(self, run_id: RunId) -> list[AttemptRecord] | None:
        """Return the run's attempts, oldest first; None for an unknown run."""
        attempts = self.read_attempts(run_id)
        return None if attempts is None else [AttemptRecord(*fields) for fields in attempts]

    def run_ids(self, state: RunState | str | int | None = None) -> list[RunId]:
        """Return the runs in a state (a member, its name or its code), or all runs, in the order in which they were created.

        Raises InvalidFieldError for anything else.
        """
        return self.read_run_ids(None if state is None else state_of("run_ids", state))

    def run_id_array(self, state: RunState | str | int | None = None) -> NDArray[np.void]:
        """Return the same as a read-only V16 array, which costs no Python object a run. Raises ImportError without NumPy.

        It is copied as :meth:`columns` is.
        """
        return read_run_id_array(self, None if state is None else state_of("run_id_array", state))

    def runs_of_task(self, task_id: TaskId) -> list[RunInstance]:
        """Return the task's runs in the order of their identifiers."""
        return [RunInstance(*fields) for fields in sorted(self.read_runs_of_task(task_id))]

    def counts_by_state(self) -> dict[RunState, int]:
        """Return the number of runs in each of the states."""
        return self.read_counts_by_state()

    # --- Tasks -------------------------------------------------------------------------------------------------------

    def task(self, task_id: TaskId) -> TaskRecord | None:
        """Return the task."""
        fields = self.read_task(task_id)
        return None if fields is None else TaskRecord(*fields)

    def tasks(self) -> list[TaskRecord]:
        """Return all tasks, in the order in which they were created."""
        return [TaskRecord(*fields) for fields in self.read_tasks()]

    def task_ids(self) -> list[TaskId]:
        """Return all tasks' identifiers, in the order in which they were created."""
        return self.read_task_ids()

    def dependencies(self, task_id: TaskId) -> list[TaskId]:
        """Return the task's prerequisites in the order of their identifiers."""
        return sorted(self.read_dependencies(task_id), key=_identifier_order)

    def dependency_pairs(self) -> list[tuple[TaskId, TaskId]]:
        """Return every (task, prerequisite), in the order in which they were declared."""
        return self.read_dependency_pairs()

    def children_of(self, task_id: TaskId) -> list[TaskId]:
        """Return the tasks whose parent this one is, in the order in which they were created.

        The parent itself may be unknown.
        """
        return self.read_children(task_id)

    def parent_pairs(self) -> list[tuple[TaskId, TaskId]]:
        """Return every (parent, child), those of one parent together."""
        return self.read_parent_pairs()

    def budget(self, task_id: TaskId, dimension: BudgetDimension | str) -> BudgetRecord | None:
        """Return the task's budget in a dimension: a member, or its name. Raises InvalidFieldError for anything else."""
        fields = self.read_budget(task_id, dimension)
        return None if fields is None else BudgetRecord(*fields)

    def budgets(self) -> list[BudgetRecord]:
        """Return all budgets, in the order in which they were first allocated."""
        return [BudgetRecord(*fields) for fields in self.read_budgets()]

    def subscription(self, subscription_id: SubscriptionId) -> SubscriptionRecord | None:
        """Return the subscription."""
        fields = self.read_subscription(subscription_id)
        return None if fields is None else SubscriptionRecord(*fields)

    def subscriptions(self) -> list[SubscriptionRecord]:
        """Return all subscriptions, the canceled ones too, in the order in which they were created."""
        return [SubscriptionRecord(*fields) for fields in self.read_subscriptions()]

    # --- Actors and the platform -------------------------------------------------------------------------------------

    def actor(self, actor_id: ActorId) -> ActorRecord | None:
        """Return the actor, also after it deregistered."""
        fields = self.read_actor(actor_id)
        return None if fields is None else ActorRecord(*fields)

    def actors(self) -> list[ActorRecord]:
        """Return all actors, in the order in which they first registered."""
        return [ActorRecord(*fields) for fields in self.read_actors()]

    def tenant(self, tenant_id: TenantId) -> TenantRecord | None:
        """Return the tenant."""
        fields = self.read_tenant(tenant_id)
        return None if fields is None else TenantRecord(*fields)

    def tenants(self) -> list[TenantRecord]:
        """Return all tenants, in the order in which they were first created."""
        return [TenantRecord(*fields) for fields in self.read_tenants()]

    def role(self, actor_id: ActorId, tenant_id: TenantId) -> RoleAssignment | None:
        """Return the actor's role in the tenant."""
        fields = self.read_role(actor_id, tenant_id)
        return None if fields is None else RoleAssignment(*fields)

    def roles(self) -> list[RoleAssignment]:
        """Return all roles, in the order in which they were first assigned."""
        return [RoleAssignment(*fields) for fields in self.read_roles()]

    def capability_grant(self, actor_id: ActorId, tenant_id: TenantId, capability: Capability) -> CapabilityGrant | None:
        """Return the grant of the capability to the actor in the tenant, also after it was revoked."""
        fields = self.read_capability(actor_id, tenant_id, capability)
        return None if fields is None else CapabilityGrant(*fields)

    def capability_grants(self) -> list[CapabilityGrant]:
        """Return all grants, the revoked ones too, in the order in which they were first made."""
        return [CapabilityGrant(*fields) for fields in self.read_capabilities()]

    def ledger(self) -> list[LedgerRecord]:
        """Return all lines of the ledger that are kept, oldest first."""
        return [LedgerRecord(*fields) for fields in self.read_ledger()]

    def tombstones(self) -> list[Tombstone]:
        """Return the identifiers of forgotten tasks that are refused, in the order in which the tasks were forgotten."""
        return [Tombstone(*fields) for fields in self.read_tombstones()]

    # --- The whole ---------------------------------------------------------------------------------------------------

    @property
    def engine(self) -> EngineStatus:
        """Whether the engine is paused, and since when."""
        return EngineStatus(*self.read_engine())

    def columns(self) -> ProjectionColumns:
        """Return tasks, runs and attempts at this moment as read-only structured arrays.

        What has a fixed size is copied once, into one block of memory for each of the three, because the table goes on changing; the arrays
        are that memory, and there is no Python object a row. Of an open queue the copy is made without the interpreter's lock, but in the
        lane: others run, query and follow meanwhile, and only who submits waits. Raises ImportError without NumPy, MemoryError.
        """
        return read_columns(self)

    def counts(self) -> ProjectionCounts:
        """Return how many there are of each kind."""
        return ProjectionCounts(**self.read_counts())


def _identifier_order(task_id: TaskId) -> bytes:
    return task_id.bytes
