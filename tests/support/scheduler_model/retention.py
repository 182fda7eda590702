"""Retention: what of it all is forgotten."""

from __future__ import annotations

from tests.support.scheduler_model.claims import ModelClaims
from tests.support.scheduler_model.records import OVER, ModelTask


class ModelRetention(ModelClaims):
    def forget(self, until: int) -> None:
        """Forget what ended by a time: nothing that is live, and nothing that is waited for."""
        not_needed = [task for task in self.tasks if not self._is_needed(task, until)]
        forgotten = [task for task in not_needed if self._may_go(task, until)]
        for task in not_needed:
            task.runs = [run for run in task.runs if run.state not in OVER or run.changed > until]
        self.runs = [run for run in self.runs if run in run.task.runs]
        self.tasks = [task for task in self.tasks if task not in forgotten]
        for task in self.tasks:
            task.prerequisites = [each for each in task.prerequisites if each in self.tasks]
        self.subscriptions = [
            each
            for each in self.subscriptions
            if each.task in self.tasks and (each.canceled_at is None or each.canceled_at > until)
        ]

    def _is_needed(self, task: ModelTask, until: int) -> bool:
        return any(
            other is not task and task in other.prerequisites and not self._may_go(other, until)
            for other in self.tasks
        )

    def _may_go(self, task: ModelTask, until: int) -> bool:
        """Whether it has come to its end, with each of its runs, by a time."""
        if task.canceled_at is not None and task.canceled_at > until:
            return False
        return task.gets_no_more_runs and all(
            run.state in OVER and run.changed <= until for run in task.runs
        )
