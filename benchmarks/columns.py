"""What a row costs: in arrays, in submit_many and in submit; and what reading arrays costs.

Each round measures every way once, in an order of its own, on queues with the same runs. A row is a
state transition, a lease heartbeat, an attempt start or an attempt finish. The benchmark makes ids,
arrays and commands before the clock runs. It also reads the projection as arrays and as objects.

    python -m benchmarks.columns --rows 100000 --rounds 7
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import actionqueue as aq
from benchmarks.measure import Row, parser, row, scratch
from benchmarks.measure import finish as finish_with

COMPARED = {
    "submit": None,
    "submit_many": "submit",
    "columns": "submit_many",
    "read objects": None,
    "read columns": "read objects",
}
"""Each way, and the way that the table compares it with."""
BATCH = 1000
ROWS_BY_COMMAND_MAX = 50_000
"""Rows that a round submits as commands: enough for a median, without waiting for the slow ways."""

Work = Callable[[aq.ActionQueue], int]
"""A call to measure; it returns the number of its rows."""


class Rows:
    """The same rows of each kind, as arrays and as commands."""

    def __init__(self, queue: aq.ActionQueue, seed: int) -> None:
        shuffled = np.random.default_rng(seed).permutation(queue.projection.run_id_array())
        self.run_ids = np.ascontiguousarray(shuffled)
        self.attempt_ids = aq.columns.new_ids(aq.AttemptId, len(self.run_ids))
        self.times = np.full(len(self.run_ids), 1_800_000_000, np.uint64)
        few = min(len(self.run_ids), ROWS_BY_COMMAND_MAX)
        self.runs = aq.columns.ids_from_array(np.ascontiguousarray(self.run_ids[:few]), aq.RunId)
        self.attempts = aq.columns.ids_from_array(
            np.ascontiguousarray(self.attempt_ids[:few]), aq.AttemptId
        )


def fill(path: Path, runs: int, *, until: str) -> aq.ActionQueue:
    """Make a queue with a number of runs: scheduled, or running with a lease."""
    queue = aq.open(path, durability="deferred", compaction=None)
    for begin in range(0, runs, BATCH):
        commands: list[aq.MutationCommand] = []
        for _ in range(min(BATCH, runs - begin)):
            task = aq.TaskSpec(payload=b"p" * 100)
            run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
            commands += [aq.TaskCreateCommand(None, task, 1), aq.RunCreateCommand(None, run)]
            if until == "running":
                commands.append(aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", 1))
                commands.append(aq.LeaseAcquireCommand(None, run.id, "worker-1", 1, 1))
        queue.submit_many(commands)
    if until == "running":
        run_ids = queue.projection.run_id_array()
        for previous, new in (("ready", "leased"), ("leased", "running")):
            for begin in range(0, runs, 100_000):
                queue.submit_transitions(run_ids[begin : begin + 100_000], previous, new, 1)
    return queue


# --- The kinds of rows ----------------------------------------------------------------------------


def transition(
    rows: Rows,
) -> tuple[Callable[[aq.ActionQueue, slice], Any], list[aq.MutationCommand]]:
    """Return the call for arrays, and the commands."""
    return (
        lambda queue, part: queue.submit_transitions(
            rows.run_ids[part], "scheduled", "ready", rows.times[part]
        ),
        [
            aq.RunStateTransitionCommand(None, run_id, "scheduled", "ready", 1_800_000_000)
            for run_id in rows.runs
        ],
    )


def heartbeat(
    rows: Rows,
) -> tuple[Callable[[aq.ActionQueue, slice], Any], list[aq.MutationCommand]]:
    """Return the call for arrays, and the commands."""
    return (
        lambda queue, part: queue.submit_lease_heartbeats(
            rows.run_ids[part], "worker-1", 1_800_000_060, rows.times[part]
        ),
        [
            aq.LeaseHeartbeatCommand(None, run_id, "worker-1", 1_800_000_060, 1_800_000_000)
            for run_id in rows.runs
        ],
    )


def start(rows: Rows) -> tuple[Callable[[aq.ActionQueue, slice], Any], list[aq.MutationCommand]]:
    """Return the call for arrays, and the commands."""
    pairs = zip(rows.runs, rows.attempts, strict=True)
    return (
        lambda queue, part: queue.submit_attempt_starts(
            rows.run_ids[part], rows.attempt_ids[part], rows.times[part]
        ),
        [
            aq.AttemptStartCommand(None, run_id, attempt_id, 1_800_000_000)
            for run_id, attempt_id in pairs
        ],
    )


def finish(rows: Rows) -> tuple[Callable[[aq.ActionQueue, slice], Any], list[aq.MutationCommand]]:
    """Return the call for arrays, and the commands. The runs must have the attempts."""
    outcome = aq.AttemptOutcome.success(b"o" * 32)
    pairs = zip(rows.runs, rows.attempts, strict=True)

    def submit(queue: aq.ActionQueue, part: slice) -> Any:
        return queue.submit_attempt_finishes(
            rows.run_ids[part],
            rows.attempt_ids[part],
            "success",
            rows.times[part],
            outputs=b"o" * 32,
        )

    return submit, [
        aq.AttemptFinishCommand(None, run_id, attempt_id, outcome, 1_800_000_000)
        for run_id, attempt_id in pairs
    ]


KINDS: dict[str, tuple[Callable[[Rows], tuple[Any, list[aq.MutationCommand]]], str]] = {
    "transition": (transition, "scheduled"),
    "heartbeat": (heartbeat, "running"),
    "attempt start": (start, "running"),
    "attempt finish": (finish, "running"),
}

# --- The ways -------------------------------------------------------------------------------------


def by_columns(
    submit: Callable[[aq.ActionQueue, slice], Any], count: int, rows_a_call: int
) -> Work:
    """Submit arrays."""

    def work(queue: aq.ActionQueue) -> int:
        for begin in range(0, count, rows_a_call):
            submit(queue, slice(begin, begin + rows_a_call))
        return count

    return work


def by_batches(commands: list[aq.MutationCommand]) -> Work:
    """Submit ready-made commands, in batches."""

    def work(queue: aq.ActionQueue) -> int:
        for begin in range(0, len(commands), BATCH):
            queue.submit_many(commands[begin : begin + BATCH])
        return len(commands)

    return work


def one_by_one(commands: list[aq.MutationCommand]) -> Work:
    """Submit ready-made commands, one a call."""

    def work(queue: aq.ActionQueue) -> int:
        for command in commands:
            queue.submit(command)
        return len(commands)

    return work


def read_columns(queue: aq.ActionQueue) -> int:
    """Read the whole projection as arrays."""
    return len(queue.projection.columns().runs)


def read_objects(queue: aq.ActionQueue) -> int:
    """Read the same of the runs as objects, one query a run."""
    projection = queue.projection
    run_ids = projection.run_ids()[:ROWS_BY_COMMAND_MAX]
    for run_id in run_ids:
        projection.run(run_id)
        projection.lease(run_id)
    return len(run_ids)


def nanoseconds_a_row(queue: aq.ActionQueue, work: Work) -> float:
    """Measure one way."""
    began = time.perf_counter_ns()
    rows = work(queue)
    return (time.perf_counter_ns() - began) / rows


def one_round(
    directory: Path, kind: str, count: int, rows_a_call: int, seed: int
) -> dict[str, float]:
    """Measure each way once, each on a new queue; return nanoseconds a row."""
    make, until = KINDS[kind]
    ways = ["columns", "submit_many", "submit"]
    random.Random(seed).shuffle(ways)  # noqa: S311 -- an order, no secret
    times: dict[str, float] = {}
    for way in ways:
        with tempfile.TemporaryDirectory(dir=directory) as made:
            queue = fill(Path(made) / "queue", count, until=until)
            rows = Rows(queue, seed)
            if kind == "attempt finish":
                for begin in range(0, count, 100_000):
                    start(rows)[0](queue, slice(begin, begin + 100_000))
            submit, commands = make(rows)
            works = {
                "columns": by_columns(submit, count, rows_a_call),
                "submit_many": by_batches(commands),
                "submit": one_by_one(commands),
            }
            queue.sync()
            times[way] = nanoseconds_a_row(queue, works[way])
            if kind == "transition" and way == "columns":
                times["read columns"] = nanoseconds_a_row(queue, read_columns)
                times["read objects"] = nanoseconds_a_row(queue, read_objects)
            queue.close()
    return times


def rows_of(kind: str, rounds: list[dict[str, float]]) -> list[Row]:
    """Return the rows of one kind: rates, and their ratios to another way's in the same rounds."""
    rates = {way: [1e9 / measured[way] for measured in rounds] for way in rounds[0]}
    made = []
    for way, base in COMPARED.items():
        if way in rates:
            to = None if base is None else (f"{kind}: {base}", rates[base])
            made.append(row(f"{kind}: {way}", "rows/s", rates[way], to=to))
    return made


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "")
    options_of.add_argument(
        "--rows", type=int, default=200_000, help="runs in the queue, and rows in a round"
    )
    options_of.add_argument(
        "--rows-a-call", type=int, default=100_000, help="rows in each call with arrays"
    )
    options_of.add_argument(
        "--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), help="kinds of rows"
    )
    options = options_of.parse_args()
    if min(options.rows, options.rows_a_call) < 1:
        options_of.error("there must be at least one row, and one row a call")
    made: list[Row] = []
    with scratch(options.directory) as directory:
        for kind in options.kinds:
            rounds = [
                one_round(directory, kind, options.rows, options.rows_a_call, seed)
                for seed in range(options.rounds)
            ]
            made += rows_of(kind, rounds)
    return finish_with(
        options,
        made,
        [
            (
                "Deferred: a row survives a killed process; the sync that would take it to the "
                "disk is not timed"
            )
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
