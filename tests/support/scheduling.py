"""A scheduler whose clock a test sets, and what tests of schedulers ask of its queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import actionqueue as aq

BEGIN = 1_000_000


class Clock:
    """Returns the time that a test has set."""

    def __init__(self, time: int = BEGIN) -> None:
        self.time = time

    def __call__(self) -> int:
        return self.time

    def advance(self, seconds: int) -> None:
        self.time += seconds


class Bench:
    """A queue, a clock and a scheduler, which may be opened again."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.clock = Clock()
        self.options = options
        self.open()

    def open(self) -> None:
        self.queue = aq.open(self.path, durability="deferred", compaction=None)
        self.projection = self.queue.projection
        self.scheduler = aq.Scheduler(self.queue, clock=self.clock, **self.options)

    def reopen(self) -> None:
        self.queue.close()
        self.open()

    def tick_at(self, time: int) -> aq.TickReport:
        """Set the clock to a time after the beginning, and tick."""
        self.clock.time = BEGIN + time
        return self.scheduler.tick()

    def claim(self, *arguments: Any, **options: Any) -> aq.Claim:
        """Claim one run, which must be there."""
        (claim,) = self.scheduler.claim("worker", *arguments, **options)
        return claim

    def state(self, run: aq.RunId | aq.TaskId | aq.Claim) -> aq.RunState | None:
        """Return the state of a run, of a claim's run, or of a task's first run."""
        if isinstance(run, aq.Claim):
            run = run.run_id
        if isinstance(run, aq.TaskId):
            run = aq.run_id_of(run, 0)
        return self.projection.run_state(run)

    def submit(self, *commands: aq.MutationCommand) -> None:
        self.queue.submit_many(commands)


@contextmanager
def bench(path: Path, **options: Any) -> Iterator[Bench]:
    made = Bench(path / "queue", **options)
    try:
        yield made
    finally:
        made.queue.close()


def states(bench: Bench, task_id: aq.TaskId) -> list[str]:
    """Return the states of a task's runs, in the order of their creation."""
    return [run.state.value for run in bench.projection.read_runs_of_task(task_id)]


def times(bench: Bench, task_id: aq.TaskId) -> list[int]:
    """Return for when a task's runs were planned, in seconds after the beginning."""
    return [run.scheduled_at - BEGIN for run in bench.projection.read_runs_of_task(task_id)]
