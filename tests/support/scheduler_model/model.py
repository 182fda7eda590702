"""The whole model: what time brings about is added to the rest."""

from __future__ import annotations

from tests.support.scheduler_model.records import NEVER, ModelRun
from tests.support.scheduler_model.retention import ModelRetention


class SchedulerModel(ModelRetention):
    def tick(self, now: int) -> None:
        """Three steps: lost leases, attempts that take too long, then what is due."""
        running = [run for run in self.runs if run.state == "running"]
        self.fail_each([run for run in running if run.expiry <= now], now)
        running = [run for run in self.runs if run.state == "running"]
        self.fail_each([run for run in running if self.deadline(run) <= now], now)
        while due := self.due(now):
            for run in due:
                if run.state == "retry_wait":
                    run.go("ready", now)
                else:
                    self.when_due(run, now)
            self.end_step(now)

    def deadline(self, run: ModelRun) -> int:
        return NEVER if run.task.timeout is None else run.started + run.task.timeout

    def due(self, now: int) -> list[ModelRun]:
        due = [
            run for run in self.runs if run.state in {"scheduled", "retry_wait"} and run.at <= now
        ]
        return sorted(due, key=lambda run: run.at)

    def next_wakeup(self) -> int | None:
        times = [run.at for run in self.runs if run.state in {"scheduled", "retry_wait"}]
        for run in self.runs:
            if run.state == "running":
                times += [run.expiry, self.deadline(run)]
        return min((time for time in times if time != NEVER), default=None)
