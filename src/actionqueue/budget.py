"""What a task's budgets are counted in."""

from __future__ import annotations

from enum import StrEnum

from actionqueue.vocabulary import vocabulary

__all__ = ["BudgetDimension"]


@vocabulary("dimension")
class BudgetDimension(StrEnum):
    """A quantity that a task may use up to a limit."""

    TOKEN = "token"
    COST_CENTS = "cost_cents"
    TIME_SECS = "time_secs"
