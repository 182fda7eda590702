"""Budgets: how much of something a task may use."""

from enum import StrEnum
from typing import TYPE_CHECKING

from actionqueue.errors import BudgetNotAllocated, UnknownTask
from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import U64, Timestamp
from actionqueue.model.ids import TaskId
from actionqueue.model.queries import ProjectionQueries
from actionqueue.vocabulary import vocabulary

__all__ = [
    "AppliedBudgetAllocate",
    "AppliedBudgetConsume",
    "AppliedBudgetReplenish",
    "BudgetAllocateCommand",
    "BudgetAllocated",
    "BudgetConsumeCommand",
    "BudgetConsumed",
    "BudgetDimension",
    "BudgetExhausted",
    "BudgetReplenishCommand",
    "BudgetReplenished",
]


@vocabulary("dimension")
class BudgetDimension(StrEnum):
    """A quantity that a task may use up to a limit."""

    TOKEN = "token"
    COST_CENTS = "cost_cents"
    TIME_SECS = "time_secs"


class BudgetAllocated(Event, frozen=True):
    """A task got a budget."""

    kind = EventKind.BUDGET_ALLOCATED
    task_id: TaskId
    dimension: BudgetDimension
    limit: int
    timestamp: int


class AppliedBudgetAllocate(AppliedMutation, frozen=True):
    """A task got a budget."""

    name = "budget_allocate"
    task_id: TaskId
    dimension: BudgetDimension
    limit: int


@registered
class BudgetAllocateCommand(MutationCommand, frozen=True, gc=False):
    """Give a task a budget, with nothing consumed.

    The scheduler is to stop at it: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    becomes = BudgetAllocated
    tells = AppliedBudgetAllocate

    sequence: U64 | None
    task_id: TaskId
    dimension: BudgetDimension
    limit: U64
    timestamp: Timestamp

    if TYPE_CHECKING:

        def __init__(
            self,
            sequence: int | None,
            task_id: TaskId,
            dimension: BudgetDimension | str,
            limit: int,
            timestamp: int,
        ) -> None: ...

    def _check(self, projection: ProjectionQueries) -> None:
        if not projection.task_exists(self.task_id):
            raise UnknownTask(task_id=self.task_id)


class BudgetConsumed(Event, frozen=True):
    """A task used some of its budget."""

    kind = EventKind.BUDGET_CONSUMED
    task_id: TaskId
    dimension: BudgetDimension
    amount: int
    timestamp: int


class AppliedBudgetConsume(AppliedMutation, frozen=True):
    """A task used some of its budget. Without an allocation only the log keeps that."""

    name = "budget_consume"
    task_id: TaskId
    dimension: BudgetDimension
    amount: int


@registered
class BudgetConsumeCommand(MutationCommand, frozen=True, gc=False):
    """Record that a task used some of its budget."""

    becomes = BudgetConsumed
    tells = AppliedBudgetConsume

    sequence: U64 | None
    task_id: TaskId
    dimension: BudgetDimension
    amount: U64
    timestamp: Timestamp

    if TYPE_CHECKING:

        def __init__(
            self,
            sequence: int | None,
            task_id: TaskId,
            dimension: BudgetDimension | str,
            amount: int,
            timestamp: int,
        ) -> None: ...

    def _check(self, projection: ProjectionQueries) -> None:
        if not projection.task_exists(self.task_id):
            raise UnknownTask(task_id=self.task_id)


class BudgetReplenished(Event, frozen=True):
    """A task's budget got a new limit."""

    kind = EventKind.BUDGET_REPLENISHED
    task_id: TaskId
    dimension: BudgetDimension
    new_limit: int
    timestamp: int


class AppliedBudgetReplenish(AppliedMutation, frozen=True):
    """A task's budget got a new limit."""

    name = "budget_replenish"
    task_id: TaskId
    dimension: BudgetDimension
    new_limit: int


@registered
class BudgetReplenishCommand(MutationCommand, frozen=True, gc=False):
    """Give a task's budget a new limit, with nothing consumed."""

    becomes = BudgetReplenished
    tells = AppliedBudgetReplenish

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

    def _check(self, projection: ProjectionQueries) -> None:
        task_id, dimension = self.task_id, self.dimension
        if not projection.task_exists(task_id):
            raise UnknownTask(task_id=task_id)
        if not projection.budget_allocation_exists(task_id, dimension):
            raise BudgetNotAllocated(task_id=task_id, dimension=dimension)


class BudgetExhausted(Event, frozen=True):
    """A task's budget was used up. No command makes this event."""

    kind = EventKind.BUDGET_EXHAUSTED
    task_id: TaskId
    dimension: BudgetDimension
    timestamp: int
