"""The state table. Times are Unix seconds.

A query for something that is not there answers None, False or 0; one for several answers an empty list. An argument of
the wrong type is a TypeError that names it.
"""

from typing import TypeAlias

from actionqueue.model import (
    ActorId,
    ActorRegistration,
    AttemptId,
    AttemptResultKind,
    BudgetDimension,
    Capability,
    Event,
    EventFilter,
    LedgerEntryId,
    Role,
    RunId,
    RunInstance,
    RunsPurged,
    RunState,
    SubscriptionId,
    TaskId,
    TenantId,
)

_Task: TypeAlias = tuple[TaskId, int, int | None, bytes, int, int | None]
_Attempt: TypeAlias = tuple[
    AttemptId, int, int | None, AttemptResultKind | None, str | None, bytes | None
]
_Budget: TypeAlias = tuple[TaskId, BudgetDimension, int, int, int, bool]
_Subscription: TypeAlias = tuple[SubscriptionId, TaskId, EventFilter, int, int | None, int | None]
_Actor: TypeAlias = tuple[ActorRegistration, int, int | None, int | None]
_Tenant: TypeAlias = tuple[TenantId, str, int]
_Role: TypeAlias = tuple[ActorId, TenantId, Role, int]
_Capability: TypeAlias = tuple[ActorId, TenantId, Capability, int, int | None]
_LedgerEntry: TypeAlias = tuple[LedgerEntryId, TenantId, str, ActorId | None, bytes, int]

class StateTable:
    """The projection of a log, in memory."""

    def __init__(self) -> None: ...
    def newest_change(self) -> int: ...
    def leave_to_reader(self) -> None: ...
    def ensure_not_in_query(self) -> None: ...
    def take_over(self, other: StateTable) -> None: ...
    def apply_event(self, event: Event) -> None:
        """Apply one event wholly, or raise and change nothing.

        Raises:
            RefusedEventError: the event breaks a rule of the projection; ``rule`` says which.
            RecordTooLarge: the event is larger than a record may be.
            TypeError: ``event`` is no event, or a field has the wrong type.
            MemoryError: there is no memory for the change.
        """

    @property
    def latest_sequence(self) -> int:
        """The sequence of the last event applied; 0 before the first."""

    def run_state(self, run_id: RunId, /) -> RunState | None:
        """The run's state."""

    def task_exists(self, task_id: TaskId, /) -> bool:
        """Whether the task was created."""

    def is_task_canceled(self, task_id: TaskId, /) -> bool:
        """Whether the task was canceled."""

    def forgotten_until(self, task_id: TaskId, /) -> int | None:
        """When the identifier of a forgotten task may be used again, at the earliest (Unix seconds); None where it may be used now."""

    def is_engine_paused(self) -> bool:
        """Whether the engine is paused."""

    def engine_paused_at(self) -> int | None:
        """When the engine was last paused; a resume does not clear it."""

    def active_attempt_id(self, run_id: RunId, /) -> AttemptId | None:
        """The run's active attempt."""

    def active_lease(self, run_id: RunId, /) -> tuple[str, int] | None:
        """The run's lease as (owner, expiry)."""

    def attempt_count(self, run_id: RunId, /) -> int:
        """How many attempts of the run were started."""

    def attempt_was_used(self, run_id: RunId, attempt_id: AttemptId, /) -> bool:
        """Whether the run ever had this attempt."""

    def budget_allocation_exists(
        self, task_id: TaskId, dimension: BudgetDimension | str, /
    ) -> bool:
        """Whether the task has a budget in this dimension: a member, or its name. Raises InvalidFieldError for anything else."""

    def subscription_exists(self, subscription_id: SubscriptionId, /) -> bool:
        """Whether the subscription was created."""

    def is_subscription_canceled(self, subscription_id: SubscriptionId, /) -> bool:
        """Whether the subscription was canceled."""

    def run(self, run_id: RunId) -> RunInstance | None:
        """Return the run as it is now; None where there is no such run."""

    def read_lease(self, run_id: RunId, /) -> tuple[str, int, int, int] | None: ...
    def read_history(
        self, run_id: RunId, /
    ) -> list[tuple[RunState | None, RunState, int]] | None: ...
    def read_attempts(self, run_id: RunId, /) -> list[_Attempt] | None: ...
    def read_run_ids(self, state: RunState | None = None, /) -> list[RunId]: ...
    def read_runs_of_task(self, task_id: TaskId, /) -> list[RunInstance]: ...
    def read_task(self, task_id: TaskId, /) -> _Task | None: ...
    def read_tasks(self) -> list[_Task]: ...
    def read_task_ids(self) -> list[TaskId]: ...
    def read_dependencies(self, task_id: TaskId, /) -> list[TaskId]: ...
    def read_dependency_pairs(self) -> list[tuple[TaskId, TaskId]]: ...
    def read_children(self, parent_task_id: TaskId, /) -> list[TaskId]: ...
    def read_parent_pairs(self) -> list[tuple[TaskId, TaskId]]: ...
    def read_budget(
        self, task_id: TaskId, dimension: BudgetDimension | str, /
    ) -> _Budget | None: ...
    def read_budgets(self) -> list[_Budget]: ...
    def read_subscription(self, subscription_id: SubscriptionId, /) -> _Subscription | None: ...
    def read_subscriptions(self) -> list[_Subscription]: ...
    def read_actor(self, actor_id: ActorId, /) -> _Actor | None: ...
    def read_actors(self) -> list[_Actor]: ...
    def read_tenant(self, tenant_id: TenantId, /) -> _Tenant | None: ...
    def read_tenants(self) -> list[_Tenant]: ...
    def read_role(self, actor_id: ActorId, tenant_id: TenantId, /) -> _Role | None: ...
    def read_roles(self) -> list[_Role]: ...
    def read_capability(
        self, actor_id: ActorId, tenant_id: TenantId, capability: Capability, /
    ) -> _Capability | None: ...
    def read_capabilities(self) -> list[_Capability]: ...
    def read_ledger(self) -> list[_LedgerEntry]: ...
    def read_tombstones(self) -> list[tuple[TaskId, int]]: ...
    def read_engine(self) -> tuple[bool, int | None, int | None]: ...
    def read_counts_by_state(self) -> dict[RunState, int]: ...
    def read_counts(self) -> dict[str, int]: ...
    def find_finished(
        self,
        cutoff: int | None,
        rows_max: int,
        place: tuple[int, int, int] = (0, 0, 0),
        /,
        *,
        timestamp: int = 0,
        ledger_cutoff: int | None = None,
        today: int = 0,
        kept_until: int | None = None,
    ) -> tuple[RunsPurged | None, tuple[int, int, int], bool]:
        """What may be purged, among about the next ``rows_max`` rows, as the event or None; the place; whether a task was put off.

        That are runs that ended, with their last change at or before the cutoff; tasks that are over, that is have no other run, and
        were canceled at or before the cutoff or will have no more runs by their policy; neither where a task that is not over
        depends on them; subscriptions that were canceled, and actors that were deregistered, at or before the cutoff; what the ledger
        begins with, as long as it was appended at or before its own cutoff. None finds nothing. And the oldest tombstones, as long as
        they were to be kept until today or a time before. Tasks' identifiers become tombstones where ``kept_until`` says until when.

        The event is accepted as long as no other was applied. The place is where to go on: zeros to begin with, and again at the end.
        A task with more than 4,096 dependents is put off until there are fewer: another search, from the beginning, may find it.
        """
