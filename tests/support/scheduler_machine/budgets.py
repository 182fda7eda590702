"""Rules: budgets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

import actionqueue as aq
from actionqueue.errors import BudgetNotAllocated
from tests.support.scheduler_machine.base import Base, any_number, at_work, has_tasks, in_between
from tests.support.scheduler_model import ModelTask

dimensions = st.sampled_from(["token", "token", "cost_cents"])
limits = st.integers(0, 5)
amounts = st.integers(0, 4)


class BudgetRules(Base):
    @in_between
    @has_tasks
    @rule(
        number=any_number,
        dimension=dimensions,
        limit=limits,
        is_new=st.booleans(),
        used=st.none() | amounts,
    )
    def give_budget(
        self, number: int, dimension: str, limit: int, is_new: bool, used: int | None
    ) -> None:
        """Allocate or replenish, and use some of it at once, or not."""
        task = self.some_task(number)
        give: Any = aq.BudgetAllocateCommand if is_new else aq.BudgetReplenishCommand
        command = give(None, task.id, dimension, limit, self.now)
        if not is_new and dimension not in task.budgets:
            with pytest.raises(BudgetNotAllocated):
                self.queue.submit(command)
            return
        self.queue.submit(command)
        self.model.allocate(task, dimension, limit)
        if used is not None:
            self.use(task, dimension, used)

    @at_work
    @has_tasks
    @rule(number=any_number, dimension=dimensions, amount=amounts, is_known=st.booleans())
    def consume(self, number: int, dimension: str, amount: int, is_known: bool) -> None:
        """Consume of any task, or of one that has such a budget."""
        self.use(self.some_task_with(dimension if is_known else None, number), dimension, amount)

    def use(self, task: ModelTask, dimension: str, amount: int) -> None:
        self.scheduler.consume(task.id, dimension, amount)
        self.model.consume(task, dimension, amount, self.now)
