"""What happens in a step, and what that resumes."""

from __future__ import annotations

from tests.support.scheduler_model.records import OVER, ModelSubscription
from tests.support.scheduler_model.state import ModelState


class ModelSubscriptions(ModelState):
    signaled: str | None = None
    """The key of this step's signal."""
    used: tuple[object, str, int] | None = None
    """Whose budget this step has used, in which dimension, and how much of it was used before."""

    def signal(self, key: str, now: int) -> list[ModelSubscription]:
        """Return what waits for the key."""
        self.signaled = key
        called = [each for each in self.subscriptions if self._has_happened(each)]
        self.end_step(now)
        return called

    def end_step(self, now: int) -> None:
        """Trigger what waited for something in this step, also for what that resumes."""
        triggered: list[ModelSubscription] = []
        while found := [
            each
            for each in self.subscriptions
            if each not in triggered and self._has_happened(each)
        ]:
            for subscription in found:
                triggered.append(subscription)
                subscription.triggered_at = now
                for run in subscription.task.runs:
                    if run.state == "suspended":
                        run.go("ready", now)
        for run in self.runs:
            run.entered.clear()
        self.signaled = self.used = None

    def _has_happened(self, subscription: ModelSubscription) -> bool:
        if subscription.canceled_at is not None:
            return False
        match subscription.waits_for:
            case "custom", key:
                return key == self.signaled
            case "completed", task_id:
                task = self.task(task_id)
                return (
                    task is not None
                    and task.is_met
                    and any(OVER & set(run.entered) for run in task.runs)
                )
            case "entered", task_id, state:
                return any(run.task.id == task_id and state in run.entered for run in self.runs)
            case "used", task_id, dimension, percent:
                return self._is_used_up_to(task_id, dimension, percent)
        raise AssertionError(subscription.waits_for)

    def _is_used_up_to(self, task_id: object, dimension: object, percent: int) -> bool:
        """Whether this step has taken the use of a budget to a share of it, from below."""
        if self.used is None or self.used[:2] != (task_id, dimension):
            return False
        task = self.task(task_id)
        assert task is not None
        budget = task.budgets[str(dimension)]
        # In nothing of a limit of 0 there is no share, and without any use none is reached.
        reached = [
            amount > 0 and amount >= budget.limit * percent / 100
            for amount in (self.used[2], budget.used)
        ]
        return reached == [False, True]
