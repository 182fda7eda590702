"""What a scheduler does, written down slowly and plainly: lists, and a look at each of them.

It knows nothing of commands, leases or the log. The clock's time is handed in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import actionqueue as aq

OVER = {"completed", "failed", "canceled"}
NEVER = 10**12
"""Later than every time of a test."""


@dataclass(eq=False)
class ModelTask:
    id: aq.TaskId
    count: int
    interval: int
    priority: int
    max_attempts: int
    timeout: int | None
    key: str | None
    holds_during_retry: bool
    required: frozenset[str]
    prerequisites: list[ModelTask]
    is_canceled: bool = False
    last: int = 0
    runs: list[ModelRun] = field(default_factory=list)


@dataclass(eq=False)
class ModelRun:
    id: aq.RunId
    task: ModelTask
    at: int
    priority: int
    changed: int
    state: str = "scheduled"
    attempts: int = 0
    is_retry: bool = False
    """Whether it became ready from retry_wait, and is ready still."""
    attempt_id: aq.AttemptId | None = None
    owner: str = ""
    started: int = 0
    expiry: int = 0

    def go(self, state: str, now: int) -> None:
        self.is_retry = (self.state, state) == ("retry_wait", "ready")
        self.state, self.changed = state, now

    @property
    def holds_its_key(self) -> bool:
        return self.state == "running" or (
            self.task.holds_during_retry and (self.state == "retry_wait" or self.is_retry)
        )


class SchedulerModel:
    def __init__(self, misfire: str, on_prerequisite_failed: str, lease: int) -> None:
        self.misfire = misfire
        self.cancels = on_prerequisite_failed == "cancel"
        self.lease = lease
        self.backoff = aq.Backoff(first=1, factor=2, most=4, jitter=0.5)
        self.tasks: list[ModelTask] = []
        self.runs: list[ModelRun] = []
        self.is_paused = False

    # --- Tasks ------------------------------------------------------------------------------------

    def add(self, task: ModelTask, at: int, now: int) -> None:
        self.tasks.append(task)
        run = self._create(task, at, now)
        if self.cancels and any(map(self.is_lost, task.prerequisites)):
            task.is_canceled = True
            run.go("canceled", now)
        elif at <= now:
            self._when_due(run, now)

    def _create(self, task: ModelTask, at: int, now: int) -> ModelRun:
        run_id = aq.run_id_of(task.id, len(task.runs))
        run = ModelRun(run_id, task, at, task.priority, now)
        task.runs.append(run)
        self.runs.append(run)
        task.last = max(task.last, at)
        return run

    def _create_next(self, task: ModelTask, after: int, now: int) -> ModelRun | None:
        if len(task.runs) == task.count:
            return None
        return self._create(task, self._next(task, after), now)

    def _next(self, task: ModelTask, after: int) -> int:
        time = task.last + task.interval
        while time <= after:
            time += task.interval
        return time

    def _when_due(self, run: ModelRun, now: int) -> None:
        task = run.task
        anchor = max(task.last, run.at)
        recurs = task.count > 1 and run is task.runs[-1]
        if self.misfire == "skip" and recurs and self._next(task, anchor) <= now:
            run.at = self._next(task, now)
            return
        run.go("ready", now)
        if run is not task.runs[-1]:
            return
        if self.misfire != "all":
            self._create_next(task, max(anchor, now), now)
            return
        while (following := self._create_next(task, task.last, now)) is not None:
            if following.at > now:
                break
            following.go("ready", now)

    # --- Prerequisites ----------------------------------------------------------------------------

    def is_met(self, task: ModelTask) -> bool:
        states = {run.state for run in task.runs}
        return "completed" in states and states <= OVER

    def is_lost(self, task: ModelTask) -> bool:
        states = {run.state for run in task.runs}
        if "completed" in states or not states <= OVER:
            return False
        return task.is_canceled or len(task.runs) == task.count

    def waits_for(self, task: ModelTask, other: ModelTask) -> bool:
        """Whether it does, at once or by way of others."""
        return task is other or any(self.waits_for(each, other) for each in task.prerequisites)

    def add_prerequisite(self, task: ModelTask, prerequisite: ModelTask, now: int) -> None:
        task.prerequisites.append(prerequisite)
        if self.cancels and self.is_lost(prerequisite) and not self._is_over(task):
            self.cancel(task, now)

    def _is_over(self, task: ModelTask) -> bool:
        has_open = any(run.state not in OVER for run in task.runs)
        return task.is_canceled or (not has_open and len(task.runs) == task.count)

    def _after_an_end(self, now: int) -> None:
        """Cancel what waits in vain, until there is no more of it."""
        if not self.cancels:
            return
        while True:
            vain = [
                task
                for task in self.tasks
                if any(map(self.is_lost, task.prerequisites)) and not self._is_over(task)
            ]
            if not vain:
                return
            for task in vain:
                self._cancel(task, now)

    def _cancel(self, task: ModelTask, now: int) -> None:
        task.is_canceled = True
        for run in task.runs:
            if run.state not in OVER:
                run.go("canceled", now)
                run.attempt_id = None

    def cancel(self, task: ModelTask, now: int) -> None:
        self._cancel(task, now)
        self._after_an_end(now)

    def cancel_run(self, run: ModelRun, now: int) -> None:
        if run.state in OVER:
            return
        was_ahead = run.state == "scheduled" and run is run.task.runs[-1]
        run.go("canceled", now)
        run.attempt_id = None
        if was_ahead:
            self._create_next(run.task, max(run.task.last, run.at), now)
        self._after_an_end(now)

    def plan_next(self, task: ModelTask, now: int) -> ModelRun | None:
        if task.is_canceled or any(run.state == "scheduled" for run in task.runs):
            return None
        return self._create_next(task, task.last, now)

    # --- Claims -----------------------------------------------------------------------------------

    def ready(self, able: frozenset[str] | None) -> list[ModelRun]:
        """Return what may be claimed one at a time, in order."""
        free = [run for run in self.runs if run.state == "ready" and self.is_free(run, able)]
        return sorted(free, key=lambda run: (-run.priority, run.changed, self.runs.index(run)))

    def is_free(self, run: ModelRun, able: frozenset[str] | None) -> bool:
        task = run.task
        return (
            not task.is_canceled
            and all(map(self.is_met, task.prerequisites))
            and (able is None or task.required <= able)
            and not (
                task.key is not None
                and any(
                    other.task.key == task.key and other.holds_its_key and other is not run
                    for other in self.runs
                )
            )
        )

    def claim(self, limit: int, able: frozenset[str] | None) -> list[ModelRun]:
        """Return what one claim takes: of each key one run at most."""
        taken: list[ModelRun] = []
        for run in [] if self.is_paused else self.ready(able):
            if len(taken) < limit and (
                run.task.key is None or run.task.key not in {other.task.key for other in taken}
            ):
                taken.append(run)
        return taken

    def claimed(self, run: ModelRun, claim: aq.Claim, now: int) -> None:
        run.go("running", now)
        run.attempts += 1
        run.attempt_id, run.owner = claim.attempt_id, claim.owner
        run.started, run.expiry = now, now + self.lease

    def is_held(self, claim: aq.Claim) -> ModelRun | None:
        for run in self.runs:
            if run.id == claim.run_id and run.attempt_id == claim.attempt_id:
                return run
        return None

    def complete(self, run: ModelRun, now: int) -> None:
        run.attempt_id = None
        run.go("completed", now)

    def fail(self, run: ModelRun, now: int, retry_at: int | None = None) -> None:
        self._fail(run, now, retry_at)
        self._after_an_end(now)

    def _fail(self, run: ModelRun, now: int, retry_at: int | None = None) -> None:
        run.attempt_id = None
        if run.attempts >= run.task.max_attempts:
            run.go("failed", now)
            return
        run.go("retry_wait", now)
        delay = self.backoff.seconds_after(run.id, run.attempts)
        run.at = now + delay if retry_at is None else retry_at

    def suspend(self, run: ModelRun, now: int) -> None:
        run.attempts -= 1
        run.attempt_id = None
        run.go("suspended", now)

    def release(self, run: ModelRun, now: int) -> None:
        self.suspend(run, now)
        run.go("ready", now)

    def release_all(self, owner: str, now: int) -> int:
        held = [run for run in self.runs if run.state == "running" and run.owner == owner]
        for run in held:
            self.release(run, now)
        return len(held)

    # --- Time -------------------------------------------------------------------------------------

    def tick(self, now: int) -> None:
        lost = [run for run in self.runs if run.state == "running" and run.expiry <= now]
        for run in lost:
            self._fail(run, now)
        self._after_an_end(now)
        slow = [run for run in self.runs if run.state == "running" and self.deadline(run) <= now]
        for run in slow:
            self._fail(run, now)
        self._after_an_end(now)
        while due := self.due(now):
            for run in due:
                if run.state == "retry_wait":
                    run.go("ready", now)
                else:
                    self._when_due(run, now)

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

    # --- What always holds ------------------------------------------------------------------------

    def keys_in_use(self) -> Iterable[str]:
        return [run.task.key for run in self.runs if run.task.key and run.holds_its_key]
