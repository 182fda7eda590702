"""The state table. Times are Unix seconds.

A query for something unknown returns None, False, 0 or an empty list. An argument of the wrong type
raises a TypeError that names it.
"""

from typing import TypeAlias

from actionqueue.model import (
    AttemptId,
    AttemptResultKind,
    BudgetDimension,
    Event,
    RunId,
    RunInstance,
    RunsPurged,
    RunState,
    SubscriptionId,
    TaskId,
)

_Task: TypeAlias = tuple[TaskId, int, int | None, bytes, int, int | None]
_Attempt: TypeAlias = tuple[
    AttemptId, int, int | None, AttemptResultKind | None, str | None, bytes | None
]

ORDER_DUE: int
ORDER_LEASES: int
ORDER_DEADLINES: int
BLOCKED_BY_CANCEL: int
BLOCKED_BY_ATTEMPTS: int
BLOCKED_BY_LEASE: int
BLOCKED_BY_PREREQUISITE: int
BLOCKED_BY_BUDGET: int
BLOCKED_BY_KEY: int

class StateTable:
    """The projection of a log, in memory.

    The queries for rarer rows are declared where they are called: ``actionqueue/projection.py``.
    """

    def __init__(self) -> None: ...
    def newest_change(self) -> int:
        """Return the latest time at which a run was created or changed its state (Unix seconds).

        The times are those of the events, purged runs included; 0 without any.
        """

    def leave_to_reader(self) -> None:
        """From now on refuse :meth:`apply_event`: a refresh changes the table without the GIL."""

    def ensure_not_in_query(self) -> None:
        """Raise ReentrantCallError where a query of this thread is under way.

        A change that it asks for now would wait for itself.
        """

    def take_over(self, other: StateTable) -> None:
        """Exchange contents with a table that holds the same, and that no other thread knows.

        Raises RuntimeError where the two do not hold the same, ReentrantCallError in a query.
        """

    def apply_event(self, event: Event) -> None:
        """Apply one event wholly, or raise and change nothing.

        Raises:
            RefusedEventError: The event breaks a rule of the projection; ``rule`` says which.
            RecordTooLarge: The event is larger than a record may be.
            MalformedEventError: No record can hold the event.
            TypeError, OverflowError: It is not an event, or a field has a wrong type or range.
            MemoryError: There is no memory for the change.
            RuntimeError: The projection belongs to a queue, which alone changes it.
            ReentrantCallError: A query of this thread is under way.
        """

    @property
    def latest_sequence(self) -> int:
        """The sequence of the last event applied; 0 before the first."""

    def run_state(self, run_id: RunId, /) -> RunState | None:
        """Return the run's state; None for an unknown run."""

    def task_exists(self, task_id: TaskId, /) -> bool:
        """Whether the task was created, and not forgotten since."""

    def is_task_canceled(self, task_id: TaskId, /) -> bool:
        """Whether the task was canceled."""

    def has_forgotten_completed_run(self, task_id: TaskId, /) -> bool:
        """Whether retention has forgotten a completed run of the task.

        What depends on the task counts it as one that is there.
        """

    def forgotten_until(self, task_id: TaskId, /) -> int | None:
        """Return when a forgotten task's identifier may be used again (Unix seconds).

        Until then a new task with it is refused. None where it may be used now.
        """

    def is_engine_paused(self) -> bool:
        """Whether the engine is paused."""

    def engine_paused_at(self) -> int | None:
        """Return when the engine was last paused (Unix seconds), or None.

        A resume does not clear it.
        """

    def active_attempt_id(self, run_id: RunId, /) -> AttemptId | None:
        """Return the run's active attempt; None where it has no active attempt."""

    def active_lease(self, run_id: RunId, /) -> tuple[str, int] | None:
        """Return the run's lease as (owner, expiry in Unix seconds); None where it has no lease."""

    def attempt_count(self, run_id: RunId, /) -> int:
        """Return the number of the run's attempts so far; 0 for an unknown run."""

    def attempt_was_used(self, run_id: RunId, attempt_id: AttemptId, /) -> bool:
        """Whether the run ever had this attempt."""

    def budget_allocation_exists(
        self, task_id: TaskId, dimension: BudgetDimension | str, /
    ) -> bool:
        """Whether the task has a budget in this dimension: a member, or its name.

        Raises InvalidFieldError for another name, InvalidFieldTypeError for another type.
        """

    def subscription_exists(self, subscription_id: SubscriptionId, /) -> bool:
        """Whether the subscription was created."""

    def is_subscription_canceled(self, subscription_id: SubscriptionId, /) -> bool:
        """Whether the subscription was canceled."""

    def run(self, run_id: RunId) -> RunInstance | None:
        """Return the run as it is now; None where there is no such run."""

    def read_lease(self, run_id: RunId, /) -> tuple[str, int, int, int] | None:
        """Return (owner, expiry, acquired_at, updated_at); None where the run has no lease."""

    def read_history(self, run_id: RunId, /) -> list[tuple[RunState | None, RunState, int]] | None:
        """Return a list of (from_state, to_state, timestamp), oldest first.

        The first from_state is None. Returns None for an unknown run.
        """

    def read_attempts(self, run_id: RunId, /) -> list[_Attempt] | None:
        """Return a list of (attempt_id, started_at, finished_at, result, error, output).

        It has the oldest attempt first. Returns None for an unknown run.
        """

    def read_order(
        self,
        order: int,
        until: int,
        limit: int,
        owner: str,
        after: tuple[int, RunId] | None = None,
        /,
    ) -> list[tuple[int, RunId]]:
        """Return a list of up to ``limit`` (time, run_id), the earliest time first.

        ``order`` is ORDER_DUE, ORDER_LEASES (the times are expiries) or ORDER_DEADLINES. No time is
        after ``until``. Of runs with the same time the oldest comes first. ``after`` is the pair
        behind which the list begins; ``owner`` names the caller's query. Raises InvalidFieldError
        where it names an unknown run, MemoryError without memory.
        """

    def read_run_ids(
        self, state: RunState | None = None, limit: int = ..., after: RunId | None = None, /
    ) -> list[RunId]:
        """Return the identifiers of up to ``limit`` runs in a state, or of all, the oldest first.

        ``after`` is the RunId behind which the list begins, of a run in any state. Raises TypeError
        for a state that is not a RunState, InvalidFieldError for an unknown run.
        """

    def read_ready(
        self,
        limit: int,
        owner: str,
        capabilities: frozenset[str] | None = None,
        after: tuple[int, int, RunId] | None = None,
        /,
    ) -> list[tuple[int, int, RunId]]:
        """Return a list of up to ``limit`` (priority, since, run_id) of runs that may be started.

        ``capabilities`` is a frozenset of texts, or None for all runs. ``after`` is the triple
        behind which the list begins; ``owner`` names the caller's query. Raises InvalidFieldError
        where it names an unknown run, MemoryError without memory.
        """

    def counted_attempts(self, run_id: RunId, /) -> int:
        """Return the number of the run's attempts that did not end as suspended; 0 for no run."""

    def read_blockers(
        self, run_id: RunId, /
    ) -> list[tuple[int, TaskId | RunId, BudgetDimension | None]] | None:
        """Return what would keep a run from being started, were it ready: (kind, id, dimension).

        ``kind`` is a code of C, BLOCKED_BY_CANCEL and so on; the identifier is that of a task,
        for BLOCKED_BY_KEY that of the run that holds the key, and for BLOCKED_BY_LEASE the run's
        own; only budgets have a dimension. None for an unknown run. A triple may come twice.
        """

    def read_runs_of_task(self, task_id: TaskId, /) -> list[RunInstance]:
        """Return the task's runs, in the order of creation."""

    def read_task(self, task_id: TaskId, /) -> _Task | None:
        """Return (task_id, created_at, canceled_at, encoded spec, runs_created, last_run_at).

        None for an unknown task.
        """

    def read_tasks(self) -> list[_Task]:
        """Return what :meth:`read_task` returns for every task, in the order of creation."""

    def read_task_ids(self) -> list[TaskId]:
        """Return the identifiers of all tasks, in the order of creation."""

    def read_dependencies(self, task_id: TaskId, /) -> list[TaskId]:
        """Return the identifiers of the task's prerequisites, in no particular order."""

    def read_dependents(self, task_id: TaskId, /) -> list[TaskId]:
        """Return the identifiers of the tasks that depend on this one, the newest first."""

    def read_dependency_pairs(self) -> list[tuple[TaskId, TaskId]]:
        """Return every (task_id, prerequisite), in the order of declaration."""

    def read_children(self, parent_task_id: TaskId, /) -> list[TaskId]:
        """Return the tasks that name this one as their parent, in the order of creation.

        The parent itself may be unknown.
        """

    def read_parent_pairs(self) -> list[tuple[TaskId, TaskId]]:
        """Return every (parent_task_id, task_id)."""

    def read_engine(self) -> tuple[bool, int | None, int | None]:
        """Return (is_paused, paused_at, resumed_at)."""

    def read_counts_by_state(self) -> dict[RunState, int]:
        """Return the number of runs in each state, in the order of RunState."""

    def read_counts(self) -> dict[str, int]:
        """Return the number of rows of each kind, and the table's memory in bytes."""

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
        """Find what may be purged, among about the next ``rows_max`` rows.

        Returns the event or None, the place, and whether a task was put off. Times are Unix
        seconds. The event names:

        - runs that ended, with their last change at or before the cutoff;
        - tasks that are over: they have no other run, and were canceled at or before the cutoff, or
          will have no more runs by their policy;
        - subscriptions that were canceled, and actors that were deregistered, at or before the
          cutoff;
        - the first entries of the ledger, as long as they were appended at or before its own
          cutoff;
        - the oldest tombstones, as long as they were to be kept until today or an earlier time.

        It names neither runs nor tasks on which a task that is not over depends. A cutoff of None
        finds nothing. Tasks' identifiers become tombstones where ``kept_until`` says until when.

        The event is accepted as long as no other was applied. The place says where the next call
        goes on: zeros to begin with, and again at the end. A task with more than 4,096 dependents
        is put off until it has fewer: another search, from the beginning, may find it. Raises
        ValueError for ``rows_max`` below 2.
        """

def free_sections() -> None:
    """Let go, in a forked child, of the tables' critical sections for the parent's threads."""
