"""The state table. Times are Unix seconds.

A query for something that is not there answers None, False or 0; one for several answers an empty list. An argument of
the wrong type is a TypeError that names it.
"""

from typing import TypeAlias

from actionqueue.actor import ActorRegistration
from actionqueue.budget import BudgetDimension
from actionqueue.events import Event
from actionqueue.ids import ActorId, AttemptId, LedgerEntryId, RunId, SubscriptionId, TaskId, TenantId
from actionqueue.platform import Capability, Role
from actionqueue.states import AttemptResultKind, RunState
from actionqueue.subscription import EventFilter

_Run: TypeAlias = tuple[RunId, TaskId, RunState, AttemptId | None, int, int, int, int, int]
_Task: TypeAlias = tuple[TaskId, int, int | None, bytes]
_Attempt: TypeAlias = tuple[AttemptId, int, int | None, AttemptResultKind | None, str | None, bytes | None]
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

    def budget_allocation_exists(self, task_id: TaskId, dimension: BudgetDimension, /) -> bool:
        """Whether the task has a budget in this dimension."""

    def subscription_exists(self, subscription_id: SubscriptionId, /) -> bool:
        """Whether the subscription was created."""

    def is_subscription_canceled(self, subscription_id: SubscriptionId, /) -> bool:
        """Whether the subscription was canceled."""

    def read_run(self, run_id: RunId, /) -> _Run | None: ...
    def read_lease(self, run_id: RunId, /) -> tuple[str, int, int, int] | None: ...
    def read_history(self, run_id: RunId, /) -> list[tuple[RunState | None, RunState, int]] | None: ...
    def read_attempts(self, run_id: RunId, /) -> list[_Attempt] | None: ...
    def read_run_ids(self, state: RunState | None = None, /) -> list[RunId]: ...
    def read_runs_of_task(self, task_id: TaskId, /) -> list[_Run]: ...
    def read_task(self, task_id: TaskId, /) -> _Task | None: ...
    def read_tasks(self) -> list[_Task]: ...
    def read_task_ids(self) -> list[TaskId]: ...
    def read_dependencies(self, task_id: TaskId, /) -> list[TaskId]: ...
    def read_dependency_pairs(self) -> list[tuple[TaskId, TaskId]]: ...
    def read_children(self, parent_task_id: TaskId, /) -> list[TaskId]: ...
    def read_parent_pairs(self) -> list[tuple[TaskId, TaskId]]: ...
    def read_budget(self, task_id: TaskId, dimension: BudgetDimension, /) -> _Budget | None: ...
    def read_budgets(self) -> list[_Budget]: ...
    def read_subscription(self, subscription_id: SubscriptionId, /) -> _Subscription | None: ...
    def read_subscriptions(self) -> list[_Subscription]: ...
    def read_actor(self, actor_id: ActorId, /) -> _Actor | None: ...
    def read_actors(self) -> list[_Actor]: ...
    def read_tenant(self, tenant_id: TenantId, /) -> _Tenant | None: ...
    def read_tenants(self) -> list[_Tenant]: ...
    def read_role(self, actor_id: ActorId, tenant_id: TenantId, /) -> _Role | None: ...
    def read_roles(self) -> list[_Role]: ...
    def read_capability(self, actor_id: ActorId, tenant_id: TenantId, capability: Capability, /) -> _Capability | None: ...
    def read_capabilities(self) -> list[_Capability]: ...
    def read_ledger(self) -> list[_LedgerEntry]: ...
    def read_engine(self) -> tuple[bool, int | None, int | None]: ...
    def read_counts_by_state(self) -> dict[RunState, int]: ...
    def read_counts(self) -> dict[str, int]: ...
    def find_finished(self, cutoff: int, rows_max: int, place: int = 0, /) -> tuple[list[RunId], list[TaskId], int]:
        """What may be purged, among the next ``rows_max`` tasks and runs: (run_ids, task_ids, place).

        Runs that ended, with their last change at or before the cutoff; and tasks that have no other run, that no other task
        depends on, and that were canceled at or before the cutoff, or are neither canceled nor recurring and had a run.
        A :class:`RunsPurged` of just these is accepted as long as no other event was applied. The place is where to go
        on; 0 to begin with, and again after the last task.
        """
