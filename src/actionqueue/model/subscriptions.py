"""Subscriptions: what a task waits for."""

from typing import TYPE_CHECKING, Annotated, Any

from _wal_native.fields import IntegerRule
from actionqueue.errors import (
    InvalidFieldError,
    SubscriptionAlreadyCanceled,
    SubscriptionAlreadyExists,
    UnknownSubscription,
    UnknownTask,
)
from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.budgets import BudgetDimension
from actionqueue.model.fields import U64, Abstract, Text, Timestamp
from actionqueue.model.forms import Keys, fields_to_json
from actionqueue.model.ids import SubscriptionId, TaskId
from actionqueue.model.queries import ProjectionQueries
from actionqueue.model.runs import RunState

__all__ = [
    "AppliedSubscriptionCancel",
    "AppliedSubscriptionCreate",
    "AppliedSubscriptionTrigger",
    "BudgetThresholdFilter",
    "CustomFilter",
    "EventFilter",
    "RunStateChangedFilter",
    "SubscriptionCancelCommand",
    "SubscriptionCanceled",
    "SubscriptionCreateCommand",
    "SubscriptionCreated",
    "SubscriptionTriggerCommand",
    "SubscriptionTriggered",
    "TaskCompletedFilter",
]


class EventFilter(Abstract, frozen=True, gc=False):
    """Base of the four filters.

    The scheduler compares events with them: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

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
        """Return a filter for a budget whose use reaches a share of its limit, in percent."""
        return BudgetThresholdFilter(task_id, dimension, threshold_pct)

    @staticmethod
    def custom(key: str) -> "CustomFilter":
        """Return a filter for events that the application names by a key."""
        return CustomFilter(key)

    @classmethod
    def _from_keys(cls, keys: Keys) -> "EventFilter":
        name = keys.take("type")
        kind = _FILTERS.get(str.__str__(name)) if isinstance(name, str) else None
        if kind is None:
            reason = f"must be one of {', '.join(_FILTERS)}"
            raise InvalidFieldError(keys.where, "type", name, reason)
        return kind(**keys.fields(kind))

    def _to_keys(self) -> dict[str, Any]:
        [name] = [name for name, kind in _FILTERS.items() if kind is type(self)]
        return {"type": name, **fields_to_json(self)}


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

        def __init__(
            self, task_id: TaskId, dimension: BudgetDimension | str, threshold_pct: int
        ) -> None: ...


class CustomFilter(EventFilter, frozen=True, gc=False):
    """An event that the application names by a key, which may be empty."""

    key: Text


_FILTERS: dict[str, type[EventFilter]] = {
    "task_completed": TaskCompletedFilter,
    "run_state_changed": RunStateChangedFilter,
    "budget_threshold": BudgetThresholdFilter,
    "custom": CustomFilter,
}
"""The filters by their names in JSON."""


class SubscriptionCreated(Event, frozen=True):
    """A task was subscribed to what a filter selects."""

    kind = EventKind.SUBSCRIPTION_CREATED
    subscription_id: SubscriptionId
    task_id: TaskId
    filter: EventFilter
    timestamp: int


class AppliedSubscriptionCreate(AppliedMutation, frozen=True):
    """A task was subscribed."""

    name = "subscription_create"
    subscription_id: SubscriptionId
    task_id: TaskId


@registered
class SubscriptionCreateCommand(MutationCommand, frozen=True, gc=False):
    """Subscribe a task to what a filter selects."""

    becomes = SubscriptionCreated
    tells = AppliedSubscriptionCreate

    sequence: U64 | None
    subscription_id: SubscriptionId
    task_id: TaskId
    filter: EventFilter
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        if not projection.task_exists(self.task_id):
            raise UnknownTask(task_id=self.task_id)
        if projection.subscription_exists(self.subscription_id):
            raise SubscriptionAlreadyExists(subscription_id=self.subscription_id)


class SubscriptionCanceled(Event, frozen=True):
    """A subscription was canceled."""

    kind = EventKind.SUBSCRIPTION_CANCELED
    subscription_id: SubscriptionId
    timestamp: int


class AppliedSubscriptionCancel(AppliedMutation, frozen=True):
    """A subscription was canceled."""

    name = "subscription_cancel"
    subscription_id: SubscriptionId


@registered
class SubscriptionCancelCommand(MutationCommand, frozen=True, gc=False):
    """Cancel a subscription."""

    becomes = SubscriptionCanceled
    tells = AppliedSubscriptionCancel

    sequence: U64 | None
    subscription_id: SubscriptionId
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        subscription_id = self.subscription_id
        if not projection.subscription_exists(subscription_id):
            raise UnknownSubscription(subscription_id=subscription_id)
        if projection.is_subscription_canceled(subscription_id):
            raise SubscriptionAlreadyCanceled(subscription_id=subscription_id)


class SubscriptionTriggered(Event, frozen=True):
    """A subscription's filter matched."""

    kind = EventKind.SUBSCRIPTION_TRIGGERED
    subscription_id: SubscriptionId
    timestamp: int


class AppliedSubscriptionTrigger(AppliedMutation, frozen=True):
    """A subscription was triggered. Of an unknown one only the log keeps that."""

    name = "subscription_trigger"
    subscription_id: SubscriptionId


@registered
class SubscriptionTriggerCommand(MutationCommand, frozen=True, gc=False):
    """Record that a subscription's filter matched."""

    becomes = SubscriptionTriggered
    tells = AppliedSubscriptionTrigger

    sequence: U64 | None
    subscription_id: SubscriptionId
    timestamp: Timestamp
