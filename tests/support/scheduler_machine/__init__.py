"""The state machine that does the same to a scheduler and to its model, a part a file.

Each part has the rules of one thing; ``tests/scheduler/test_stateful.py`` puts them together.
"""

from tests.support.scheduler_machine.budgets import BudgetRules
from tests.support.scheduler_machine.checks import Checks
from tests.support.scheduler_machine.claims import ClaimRules
from tests.support.scheduler_machine.control import ControlRules
from tests.support.scheduler_machine.subscriptions import SubscriptionRules
from tests.support.scheduler_machine.tasks import TaskRules
from tests.support.scheduler_machine.time import TimeRules

__all__ = [
    "BudgetRules",
    "Checks",
    "ClaimRules",
    "ControlRules",
    "SubscriptionRules",
    "TaskRules",
    "TimeRules",
]
