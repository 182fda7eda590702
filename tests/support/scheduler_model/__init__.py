"""What a scheduler does, written down slowly and plainly: lists, and a look at each of them.

It knows nothing of commands, leases or the log. The clock's time is handed in. What a scheduler
does in one step is one method here, and at the end of each stands what subscriptions make of it.
"""

from tests.support.scheduler_model.model import SchedulerModel
from tests.support.scheduler_model.records import (
    NEVER,
    OVER,
    ModelBudget,
    ModelRun,
    ModelSubscription,
    ModelTask,
)

__all__ = [
    "NEVER",
    "OVER",
    "ModelBudget",
    "ModelRun",
    "ModelSubscription",
    "ModelTask",
    "SchedulerModel",
]
