"""Budgets: what they stop."""

from __future__ import annotations

from tests.support.scheduler_model.records import ModelBudget, ModelTask
from tests.support.scheduler_model.subscriptions import ModelSubscriptions


class ModelBudgets(ModelSubscriptions):
    def allocate(self, task: ModelTask, dimension: str, limit: int) -> None:
        """Give a new budget, or a used one its new limit. Nothing of it is used then."""
        task.budgets[dimension] = ModelBudget(limit)

    def consume(self, task: ModelTask, dimension: str, amount: int, now: int) -> None:
        budget = task.budgets.get(dimension)
        if budget is not None:
            self.used = task.id, dimension, budget.used
            budget.used += amount
            # A budget is exhausted by use: one of nothing is not, until something is recorded.
            budget.is_exhausted = budget.is_exhausted or budget.used >= budget.limit
        self.end_step(now)

    def exhausted(self, task: ModelTask) -> list[tuple[ModelTask, str]]:
        """The budgets that stop a task: its own, and those of the tasks above it."""
        return [
            (above, dimension)
            for above in self.upwards(task)
            for dimension, budget in above.budgets.items()
            if budget.is_exhausted
        ]
