"""Tasks: what they wait for, what waits for them in vain, and the runs of recurring ones."""

from __future__ import annotations

import actionqueue as aq
from tests.support.scheduler_model.budgets import ModelBudgets
from tests.support.scheduler_model.records import OVER, ModelRun, ModelTask


class ModelTasks(ModelBudgets):
    # --- Runs of a task ---------------------------------------------------------------------------

    def add(self, tasks: list[ModelTask], at: int, now: int) -> None:
        for task in tasks:
            self.tasks.append(task)
            run = self._create(task, at, now)
            if self.cancels and any(map(self.is_lost, task.prerequisites)):
                task.canceled_at = now
                run.go("canceled", now)
            elif at <= now:
                self.when_due(run, now)
        self.end_step(now)

    def _create(self, task: ModelTask, at: int, now: int) -> ModelRun:
        run_id = aq.run_id_of(task.id, task.created)
        run = ModelRun(run_id, task, task.created, at, task.priority, now)
        task.created += 1
        task.runs.append(run)
        self.runs.append(run)
        task.last = max(task.last, at)
        return run

    def _create_next(self, task: ModelTask, after: int, now: int) -> ModelRun | None:
        if task.created == task.count:
            return None
        return self._create(task, self._next(task, after), now)

    def _next(self, task: ModelTask, after: int) -> int:
        time = task.last + task.interval
        while time <= after:
            time += task.interval
        return time

    def when_due(self, run: ModelRun, now: int) -> None:
        """A run's time has come."""
        task = run.task
        anchor = max(task.last, run.at)
        recurs = task.count > 1 and run.is_newest
        if self.misfire == "skip" and recurs and self._next(task, anchor) <= now:
            run.at = self._next(task, now)
            return
        run.go("ready", now)
        if not run.is_newest:
            return
        if self.misfire != "all":
            self._create_next(task, max(anchor, now), now)
            return
        while (following := self._create_next(task, task.last, now)) is not None:
            if following.at > now:
                break
            following.go("ready", now)

    def cancel_raw(self, run: ModelRun, now: int) -> None:
        """Cancel it by a raw command, of which no scheduler is told."""
        run.go("canceled", now)
        run.entered.clear()

    def plan_next(self, task: ModelTask, now: int) -> ModelRun | None:
        if task.is_canceled or any(run.state == "scheduled" for run in task.runs):
            return None
        return self._create_next(task, task.last, now)

    # --- Prerequisites ----------------------------------------------------------------------------

    def is_lost(self, task: ModelTask) -> bool:
        """Whether it will never be met. A run that is forgotten counts as not completed."""
        return not task.is_met and not task.has_open_runs and task.gets_no_more_runs

    def waits_for(self, task: ModelTask, other: ModelTask) -> bool:
        """Whether it does, at once or by way of others."""
        return task is other or any(self.waits_for(each, other) for each in task.prerequisites)

    def add_prerequisites(self, task: ModelTask, several: list[ModelTask], now: int) -> None:
        task.prerequisites += [each for each in several if each not in task.prerequisites]
        if self.cancels and any(map(self.is_lost, several)) and not self.is_over(task):
            self.cancel(task, now)

    def is_over(self, task: ModelTask) -> bool:
        return task.is_canceled or (not task.has_open_runs and task.gets_no_more_runs)

    # --- Canceling --------------------------------------------------------------------------------

    def cancel_what_waits_in_vain(self, now: int) -> None:
        """Cancel until there is no more of it."""
        while self.cancels and (
            vain := [
                task
                for task in self.tasks
                if any(map(self.is_lost, task.prerequisites)) and not self.is_over(task)
            ]
        ):
            for task in vain:
                self._cancel(task, now)

    def _cancel(self, task: ModelTask, now: int) -> None:
        if task.canceled_at is None:
            task.canceled_at = now
        for run in task.runs:
            self._cancel_one(run, now)

    def _cancel_one(self, run: ModelRun, now: int) -> None:
        if run.state not in OVER:
            run.go("canceled", now)
            run.attempt_id = None

    def cancel(self, task: ModelTask, now: int) -> None:
        self._cancel(task, now)
        self.cancel_what_waits_in_vain(now)
        self.end_step(now)

    def cancel_run(self, run: ModelRun, now: int) -> None:
        if run.state in OVER:
            return
        was_ahead = run.state == "scheduled" and run.is_newest
        self._cancel_one(run, now)
        if was_ahead:
            self._create_next(run.task, max(run.task.last, run.at), now)
        self.cancel_what_waits_in_vain(now)
        self.end_step(now)
