"""What a claim, a tick and an opening cost beside many runs, for jobs.py."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter_ns

import actionqueue as aq
from benchmarks.job_queues import OWNER, PAYLOAD
from benchmarks.measure import Row, in_a_child, interleave, row

__all__ = ["SIZE_FIGURES"]

MOMENT = 1_700_000_000
LATER_MAX = 10_000_000
RUNS_A_BATCH = 500
DUE = 100
"""Runs that a tick finds due."""


class _Clock:
    """A scheduler's clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = MOMENT

    def __call__(self) -> int:
        return self.time


class _Sized:
    """An open queue with a number of runs, all ready, or all scheduled for much later."""

    def __init__(self, path: Path, runs: int, *, are_ready: bool) -> None:
        self.queue = aq.open(path, durability="deferred", compaction=None)
        self._clock = _Clock()
        self._scheduler = aq.Scheduler(self.queue, clock=self._clock)
        _fill(self.queue, runs, are_ready=are_ready)
        # The first questions make the orders, whose price is the openings' figure.
        self.queue.projection.next_due()
        self.queue.projection.read_ready(1, "claim")

    def claims(self, count: int) -> float:
        """Return microseconds a claim of one run.

        Between two claims the run is completed, and a new one is added behind all others: as many
        are ready each time, and none has a history that earlier claims made longer.
        """
        scheduler, taken = self._scheduler, 0
        for _ in range(count):
            self._clock.time += 1
            began = perf_counter_ns()
            claims = scheduler.claim(OWNER)
            taken += perf_counter_ns() - began
            if claims[0].attempt != 1:
                raise ValueError("expected a run that was never claimed")
            scheduler.complete(claims[0])
            scheduler.add(PAYLOAD)
        return taken / count / 1000

    def ticks(self, count: int) -> float:
        """Return microseconds a tick that makes DUE new runs ready."""
        taken = 0
        for _ in range(count):
            time = self._clock.time + 1
            for _ in range(DUE):
                self._scheduler.add(PAYLOAD, at=time)
            self._clock.time = time
            began = perf_counter_ns()
            report = self._scheduler.tick()
            taken += perf_counter_ns() - began
            if len(report.ready) != DUE:
                raise ValueError(f"expected {DUE} runs that become ready, not {len(report.ready)}")
        return taken / count / 1000


def _fill(queue: aq.ActionQueue, runs: int, *, are_ready: bool) -> None:
    """Make tasks with a run each. Ready ones have the same time, others random ones."""
    chosen = random.Random(1)  # noqa: S311 -- the same times each time
    for begin in range(0, runs, RUNS_A_BATCH):
        batch: list[aq.MutationCommand] = []
        for _ in range(begin, min(begin + RUNS_A_BATCH, runs)):
            task = aq.TaskSpec(payload=PAYLOAD)
            time = MOMENT if are_ready else MOMENT + LATER_MAX + chosen.randint(1, LATER_MAX)
            run_id = aq.run_id_of(task.id, 0)
            run = aq.RunInstance.scheduled(task.id, scheduled_at=time, created_at=MOMENT, id=run_id)
            batch += (aq.TaskCreateCommand(None, task, MOMENT), aq.RunCreateCommand(None, run))
            if are_ready:
                batch.append(
                    aq.RunStateTransitionCommand(None, run_id, "scheduled", "ready", MOMENT)
                )
        queue.submit_many(batch)


def fill_ready(path: Path, runs: int) -> None:
    """Make a queue with a number of ready runs."""
    with aq.open(path, durability="deferred", compaction=None) as queue:
        _fill(queue, runs, are_ready=True)


def write_snapshot(path: Path) -> None:
    """Make a snapshot of a queue."""
    with aq.open(path, create=False, compaction=None) as queue:
        queue.snapshot()


def opened(path: Path, runs: int, asks: bool) -> float:  # noqa: FBT001 -- a child calls it
    """Return the seconds to open a queue in this process, if it asks with the first claim.

    The queue has the runs again when it is closed.
    """
    began = perf_counter_ns()
    with aq.open(path, create=False, durability="deferred", compaction=None) as queue:
        claims = []
        if asks:
            scheduler = aq.Scheduler(queue)
            claims = scheduler.claim(OWNER)
        taken = perf_counter_ns() - began
        for claim in claims:
            scheduler.release(claim)
        found = len(queue.projection.run_ids("ready", limit=runs))
        if found != runs or len(claims) != asks:
            raise ValueError(f"expected {runs} ready runs, not {found}")
    return taken / 1e9


def _beside_few(what: str, rounds: int, turns: Mapping[str, Callable[[], float]]) -> list[Row]:
    """Measure in turns; compare each with the first."""
    found = interleave(rounds, turns)
    first = next(iter(found))
    name = f"{what}: {first}"
    return [row(name, "µs", found[first])] + [
        row(f"{what}: {which}", "µs", values, to=(first, found[first]))
        for which, values in found.items()
        if which != first
    ]


def claim_rows(directory: Path, options: argparse.Namespace) -> list[Row]:
    """Measure claims of one run beside few and beside many ready ones."""
    with ExitStack() as stack:
        turns = {}
        for runs in (options.few, options.many):
            sized = _Sized(directory / f"ready-{runs}", runs, are_ready=True)
            stack.enter_context(sized.queue)
            turns[f"{runs:,} runs ready"] = _turn(sized.claims, options.claims)
        return _beside_few("claim(limit=1)", options.rounds, turns)


def tick_rows(directory: Path, options: argparse.Namespace) -> list[Row]:
    """Measure ticks that find DUE runs due, beside few and beside many scheduled ones."""
    with ExitStack() as stack:
        turns = {}
        for runs in (options.few, options.many):
            sized = _Sized(directory / f"scheduled-{runs}", runs, are_ready=False)
            stack.enter_context(sized.queue)
            turns[f"{runs:,} runs scheduled"] = _turn(sized.ticks, options.ticks)
        return _beside_few(f"tick, {DUE} due", options.rounds, turns)


def _turn(measure: Callable[[int], float], count: int) -> Callable[[], float]:
    return lambda: measure(count)


def opening_rows(directory: Path, options: argparse.Namespace) -> list[Row]:
    """Measure openings of many ready runs, with the first claim and without a question."""
    path, runs = directory / "openings", options.many
    in_a_child(fill_ready, path, runs)
    rows = _openings(path, runs, options.rounds, "the log")
    in_a_child(write_snapshot, path)
    return rows + _openings(path, runs, options.rounds, "a snapshot")


def _openings(path: Path, runs: int, rounds: int, source: str) -> list[Row]:
    plain, claiming = (f"{runs:,} ready runs: open {source}{end}" for end in ("", " and claim"))
    found = interleave(
        rounds,
        {
            plain: lambda: in_a_child(opened, path, runs, False),  # noqa: FBT003
            claiming: lambda: in_a_child(opened, path, runs, True),  # noqa: FBT003
        },
    )
    return [
        row(plain, "s", found[plain]),
        row(claiming, "s", found[claiming], to=(f"open {source}", found[plain])),
    ]


SIZE_FIGURES: dict[str, Callable[[Path, argparse.Namespace], Sequence[Row]]] = {
    "claims": claim_rows,
    "ticks": tick_rows,
    "openings": opening_rows,
}
"""What measures each figure, by the name that `--only` takes."""
