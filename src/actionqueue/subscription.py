"""Subscriptions: what a task waits for."""

from typing import TYPE_CHECKING, Annotated

from _wal_native.fields import IntegerRule
from actionqueue.budget import BudgetDimension
from actionqueue.fields import Abstract, Text
from actionqueue.ids import TaskId
from actionqueue.states import RunState

__all__ = [
    "BudgetThresholdFilter",
    "CustomFilter",
    "EventFilter",
    "RunStateChangedFilter",
    "TaskCompletedFilter",
]


class EventFilter(Abstract, frozen=True, gc=False):
    """Base of the four filters. The scheduler compares events with them: docs/guide.md#what-the-queue-refuses-what-is-yours."""

    @staticmethod
    def task_completed(task_id: TaskId) -> "TaskCompletedFilter":
        """Return a filter for the completion of a task."""
        return TaskCompletedFilter(task_id)

    @staticmethod
    def run_state_changed(task_id: TaskId, state: RunState | str) -> "RunStateChangedFilter":
        """Return a filter for a run of the task entering a state."""
        return RunStateChangedFilter(task_id, state)

    @staticmethod
    def budget_threshold(
        task_id: TaskId, dimension: BudgetDimension | str, threshold_pct: int
    ) -> "BudgetThresholdFilter":
        """Return a filter for the use of a budget reaching a share of its limit, 0 to 100 percent."""
        return BudgetThresholdFilter(task_id, dimension, threshold_pct)

    @staticmethod
    def custom(key: str) -> "CustomFilter":
        """Return a filter for events that the application names by a key."""
        return CustomFilter(key)


class TaskCompletedFilter(EventFilter, frozen=True, gc=False):
    """A task is completed."""

    task_id: TaskId


class RunStateChangedFilter(EventFilter, frozen=True, gc=False):
    """A run of a task enters a state."""

    task_id: TaskId
    state: RunState

    if TYPE_CHECKING:

        def __init__(self, task_id: TaskId, state: RunState | str) -> None: ...


class BudgetThresholdFilter(EventFilter, frozen=True, gc=False):
    """The use of a task's budget reaches a share of its limit."""

    task_id: TaskId
    dimension: BudgetDimension
    threshold_pct: Annotated[int, IntegerRule(0, 100)]

    if TYPE_CHECKING:

        def __init__(self, task_id: TaskId, dimension: BudgetDimension | str, threshold_pct: int) -> None: ...


class CustomFilter(EventFilter, frozen=True, gc=False):
    """An event that the application names by a key, which may be empty."""

    key: Text
