"""The projection: what the events of a log add up to, in memory, and the queries on it.

Times are Unix seconds. A query for one thing returns None where there is no such thing; a query for
several returns a new list, which may be empty. An argument of the wrong type raises a TypeError
that names it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import msgspec

from _wal_native.events import task_spec_from_bytes
from actionqueue.arrays import state_of
from actionqueue.columns import ProjectionColumns, read_columns, read_run_id_array
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
from actionqueue.run_orders import ReadyRun, RunOrders, TimedRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Budget: TypeAlias = tuple[TaskId, BudgetDimension, int, int, int, bool]
    _Subscription: TypeAlias = tuple[
        SubscriptionId, TaskId, EventFilter, int, int | None, int | None
    ]
    _Actor: TypeAlias = tuple[ActorRegistration, int, int | None, int | None]
    _Tenant: TypeAlias = tuple[TenantId, str, int]
    _Role: TypeAlias = tuple[ActorId, TenantId, Role, int]
    _Capability: TypeAlias = tuple[ActorId, TenantId, Capability, int, int | None]
    _LedgerEntry: TypeAlias = tuple[LedgerEntryId, TenantId, str, ActorId | None, bytes, int]

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
    "ReadyRun",
    "RoleAssignment",
    "SubscriptionRecord",
    "TaskRecord",
    "TenantRecord",
    "TimedRun",
    "Tombstone",
]


class TaskRecord(msgspec.Struct, frozen=True):
    """A task and its history."""

    task_id: TaskId
    created_at: int
    canceled_at: int | None
    encoded_spec: bytes
    """The specification as the log has it."""
    runs_created: int
    """The number of runs that were ever created for the task, also those that retention forgot. A
    policy's ``count`` or ``max_occurrences`` bounds it."""
    last_run_at: int | None
    """The latest time for which one of its runs was created, also after retention forgot that run;
    None before the first.

    The next run of a recurring task follows it. A run for an earlier time changes nothing here."""

    @property
    def spec(self) -> TaskSpec:
        """The specification; each call decodes it."""
        return task_spec_from_bytes(self.task_id, self.encoded_spec)

    @property
    def is_canceled(self) -> bool:
        """Whether the task was canceled."""
        return self.canceled_at is not None


class HistoryEntry(msgspec.Struct, frozen=True):
    """A change of a run's state. The first entry, the run's creation, comes from None.

    The entries need not form a chain: closing the lease of a leased run makes it ready without an
    entry.
    """

    from_state: RunState | None
    to_state: RunState
    timestamp: int


class AttemptRecord(msgspec.Struct, frozen=True):
    """An attempt of a run. Its end is None until it ends.

    An attempt that was active when its run was canceled stays unfinished.
    """

    attempt_id: AttemptId
    started_at: int
    finished_at: int | None
    result: AttemptResultKind | None
    error: str | None
    output: bytes | None


class Lease(msgspec.Struct, frozen=True):
    """The right of an owner to work on a run until a time."""

    owner: str
    expiry: int
    """That time. The lease stays beyond it, until a command drops it:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    acquired_at: int
    updated_at: int
    """The time of the last heartbeat; before the first, that of the acquisition."""


class BudgetRecord(msgspec.Struct, frozen=True):
    """A task's budget in one dimension."""

    task_id: TaskId
    dimension: BudgetDimension
    limit: int
    """The scheduler should stop here; the queue accepts consumption past it:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    consumed: int
    """It stays at 2**64 - 1 where it would pass that."""
    allocated_at: int
    is_exhausted: bool


class SubscriptionRecord(msgspec.Struct, frozen=True):
    """A subscription of a task."""

    subscription_id: SubscriptionId
    task_id: TaskId
    filter: EventFilter
    created_at: int
    triggered_at: int | None
    """The time of the last trigger."""
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
    """The role of an actor in a tenant."""

    actor_id: ActorId
    tenant_id: TenantId
    role: Role
    assigned_at: int


class CapabilityGrant(msgspec.Struct, frozen=True):
    """A capability of an actor in a tenant, also after its revocation."""

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
    """The identifier of a forgotten task, which the queue refuses for a new task."""

    task_id: TaskId
    until: int
    """When retention drops the tombstone, at the earliest."""


class EngineStatus(msgspec.Struct, frozen=True):
    """Whether the engine is paused. A pause clears ``resumed_at``; a resume keeps ``paused_at``."""

    is_paused: bool
    paused_at: int | None
    resumed_at: int | None


class ProjectionCounts(msgspec.Struct, frozen=True):
    """The number of rows of each kind."""

    tasks: int
    runs: int
    history: int
    attempts: int
    leases: int
    """Leases held now."""
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


class Projection(RunOrders):
    """The state that a log leads to.

    It changes only by :meth:`apply_event`; only an open queue changes its own projection. Each
    query sees whole events only. It returns a copy, which stays as it is.
    """

    poisoned_by: BaseException | None = None
    """The failure after which the queue stopped taking commands: the projection may be ahead of the
    disk."""

    if TYPE_CHECKING:
        # What the native table answers for the rows below: tuples of a record's fields.

        def read_budget(
            self, task_id: TaskId, dimension: BudgetDimension | str, /
        ) -> _Budget | None:
            """Return (task_id, dimension, limit, consumed, allocated_at, is_exhausted).

            None where the task has no budget in this dimension: a member, or its name. Raises
            InvalidFieldError for another name, InvalidFieldTypeError for another type.
            """

        def read_budgets(self) -> list[_Budget]:
            """Return what :meth:`read_budget` does for every budget, in the order of allocation."""

        def read_subscription(self, subscription_id: SubscriptionId, /) -> _Subscription | None:
            """Return (subscription_id, task_id, filter, created_at, triggered_at, canceled_at).

            None for an unknown subscription.
            """

        def read_subscriptions(self) -> list[_Subscription]:
            """Return what :meth:`read_subscription` does for all, in the order of creation."""

        def read_actor(self, actor_id: ActorId, /) -> _Actor | None:
            """Return (registration, registered_at, last_heartbeat_at, deregistered_at).

            None for an unknown actor.
            """

        def read_actors(self) -> list[_Actor]:
            """Return what :meth:`read_actor` returns for every actor.

            They are in the order of their first registration.
            """

        def read_tenant(self, tenant_id: TenantId, /) -> _Tenant | None:
            """Return (tenant_id, name, created_at); None for an unknown tenant."""

        def read_tenants(self) -> list[_Tenant]:
            """Return what :meth:`read_tenant` does for every tenant, in the order of creation."""

        def read_role(self, actor_id: ActorId, tenant_id: TenantId, /) -> _Role | None:
            """Return (actor_id, tenant_id, role, assigned_at); None where no role was assigned."""

        def read_roles(self) -> list[_Role]:
            """Return what :meth:`read_role` returns for every actor and tenant.

            They are in the order of their first assignment.
            """

        def read_capability(
            self, actor_id: ActorId, tenant_id: TenantId, capability: Capability, /
        ) -> _Capability | None:
            """Return (actor_id, tenant_id, capability, granted_at, revoked_at).

            None where the capability was not granted.
            """

        def read_capabilities(self) -> list[_Capability]:
            """Return what :meth:`read_capability` returns for every grant.

            They are in the order of their first grant.
            """

        def read_ledger(self) -> list[_LedgerEntry]:
            """Return a list of (entry_id, tenant_id, ledger_key, actor_id, payload, timestamp).

            It is in the order of the log.
            """

        def read_tombstones(self) -> list[tuple[TaskId, int]]:
            """Return a list of (task_id, until), in the order in which the tasks were forgotten."""

    def __reduce__(self) -> NoReturn:
        """Refuse pickling and copying: the state is in native memory, perhaps an open queue's."""
        raise TypeError(
            "a projection can't be pickled or copied; open the queue with readonly=True where it "
            "is needed"
        )

    # --- Runs -------------------------------------------------------------------------------------

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

    def run_id_array(self, state: RunState | str | int | None = None) -> NDArray[np.void]:
        """Return what :meth:`run_ids` does as a read-only V16 array, without a Python object a run.

        The call copies it as :meth:`columns` does. Raises ImportError without NumPy.
        """
        return read_run_id_array(self, None if state is None else state_of("run_id_array", state))

    def runs_of_task(self, task_id: TaskId) -> list[RunInstance]:
        """Return the task's runs in the order of their identifiers."""
        return sorted(self.read_runs_of_task(task_id), key=_run_order)

    def counts_by_state(self) -> dict[RunState, int]:
        """Return the number of runs in each state."""
        return self.read_counts_by_state()

    # --- Tasks ------------------------------------------------------------------------------------

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

    def dependents(self, task_id: TaskId) -> list[TaskId]:
        """Return the tasks that have this one as a prerequisite, the newest declaration first."""
        return self.read_dependents(task_id)

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
        """Return the task's budget in a dimension, which is a member or its name.

        Raises InvalidFieldError for anything else.
        """
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
        """Return all subscriptions, also canceled ones, in the order of their creation."""
        return [SubscriptionRecord(*fields) for fields in self.read_subscriptions()]

    # --- Actors and the platform ------------------------------------------------------------------

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

    def capability_grant(
        self, actor_id: ActorId, tenant_id: TenantId, capability: Capability
    ) -> CapabilityGrant | None:
        """Return the actor's grant of the capability in the tenant, also after its revocation."""
        fields = self.read_capability(actor_id, tenant_id, capability)
        return None if fields is None else CapabilityGrant(*fields)

    def capability_grants(self) -> list[CapabilityGrant]:
        """Return all grants, the revoked ones too, in the order in which they were first made."""
        return [CapabilityGrant(*fields) for fields in self.read_capabilities()]

    def ledger(self) -> list[LedgerRecord]:
        """Return all lines that the ledger keeps, oldest first."""
        return [LedgerRecord(*fields) for fields in self.read_ledger()]

    def tombstones(self) -> list[Tombstone]:
        """Return the refused identifiers of forgotten tasks, in the order of the forgetting."""
        return [Tombstone(*fields) for fields in self.read_tombstones()]

    # --- The whole --------------------------------------------------------------------------------

    @property
    def engine(self) -> EngineStatus:
        """Whether the engine is paused, and since when."""
        return EngineStatus(*self.read_engine())

    def columns(self) -> ProjectionColumns:
        """Return tasks, runs and attempts at this moment as read-only structured arrays.

        The call copies the fields of fixed size once, into one block of memory for each of the
        three, because the table goes on changing. The arrays are that memory, without a Python
        object a row. For an open queue it copies without the interpreter's lock, but in the lane:
        other threads run, query and follow meanwhile, and only submitters wait. Raises ImportError
        without NumPy, MemoryError.
        """
        return read_columns(self)

    def counts(self) -> ProjectionCounts:
        """Return the number of rows of each kind."""
        return ProjectionCounts(**self.read_counts())


RARE_RECORDS: tuple[tuple[str, Callable[[Projection], list[Any]]], ...] = (
    ("budget", Projection.budgets),
    ("subscription", Projection.subscriptions),
    ("actor", Projection.actors),
    ("tenant", Projection.tenants),
    ("role", Projection.roles),
    ("capability", Projection.capability_grants),
    ("ledger", Projection.ledger),
    ("tombstone", Projection.tombstones),
)
"""What a dump has besides tasks and runs: what each record is called there, and its query."""


def _run_order(run: RunInstance) -> RunId:
    return run.id


def _identifier_order(task_id: TaskId) -> bytes:
    return task_id.bytes
