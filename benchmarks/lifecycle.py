"""How many commands a second one thread submits, and how long a durable one waits beyond the disk.

The lifecycle workload takes a task and its run from creation to completion in ten commands; the
timing includes building them and their identifiers. The benchmark submits it Deferred one by one,
Deferred in batches, and Immediate one by one. In turn with a few Immediate commits it writes as
many bytes to a preallocated file and syncs them, without the library: that is the disk's floor, and
the ratio of the medians is the figure to look at.

    python -m benchmarks.lifecycle --runs 50000 --rounds 7
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter_ns

import actionqueue as aq
from actionqueue.bench.disk import FLOOR_BYTES, floor_in
from actionqueue.bench.spread import Latency
from actionqueue.bench.workload import COMMANDS_A_RUN, commands_of_a_run, submit_a_run, timed
from benchmarks.measure import Row, finish, interleave, parser, row, scratch

BATCHES = (10, 100, 1000)
WARM_UP_RUNS = 200
RUNS_A_TURN = 10
"""Immediate runs between two turns of the floor."""


def queue_in(directory: Path) -> aq.ActionQueue:
    """Open a new queue, and use it a little."""
    queue = aq.open(tempfile.mkdtemp(dir=directory), durability="deferred", compaction=None)
    for _ in range(WARM_UP_RUNS):
        submit_a_run(queue.submit)
    queue.sync()
    return queue


def one_by_one(directory: Path, runs: int) -> tuple[float, float]:
    """Return commands a second, and the bytes of a record."""
    with queue_in(directory) as queue:
        before = queue.stats()
        began = perf_counter_ns()
        for _ in range(runs):
            submit_a_run(queue.submit)
        seconds = (perf_counter_ns() - began) / 1e9
        after = queue.stats()
    taken = after["appended_bytes"] - before["appended_bytes"]
    return runs * COMMANDS_A_RUN / seconds, taken / (
        after["appended_records"] - before["appended_records"]
    )


def in_batches(directory: Path, runs: int, size: int) -> tuple[float, float]:
    """Return commands a second, in batches of a size; and 0."""
    with queue_in(directory) as queue:
        batches = max(1, runs * COMMANDS_A_RUN // size)
        began = perf_counter_ns()
        for _ in range(batches):
            batch: list[aq.MutationCommand] = []
            while len(batch) < size:
                batch += commands_of_a_run()
            queue.submit_many(batch)
        return batches * size * 1e9 / (perf_counter_ns() - began), 0.0


def beside_the_floor(directory: Path, runs: int) -> tuple[Latency, Latency]:
    """Return the times of Immediate submits and of the floor's commits, in turns."""
    ours: array[int] = array("Q")
    floors: array[int] = array("Q")
    with queue_in(directory) as queue, floor_in(directory) as floor:
        submit = timed(lambda command: queue.submit(command, "immediate"), ours)
        for begin in range(0, runs, RUNS_A_TURN):
            turn = min(RUNS_A_TURN, runs - begin)
            for _ in range(turn):
                submit_a_run(submit)
            floor.commit_many(floors, seconds=3600, count_max=turn * COMMANDS_A_RUN)
    return Latency.of(ours), Latency.of(floors)


def deferred_rows(directory: Path, options: argparse.Namespace) -> list[Row]:
    """Measure the Deferred forms."""
    candidates: dict[str, Callable[[], tuple[float, float]]] = {
        "Deferred, one by one": lambda: one_by_one(directory, options.runs)
    }
    for size in BATCHES:
        candidates[f"Deferred, batches of {size:,}"] = partial(
            in_batches, directory, options.runs, size
        )
    found = interleave(options.rounds, candidates)
    single = [rate for rate, _ in found["Deferred, one by one"]]
    rows = [row("bytes a record", "bytes", [size for _, size in found["Deferred, one by one"]])]
    rows.append(row("Deferred, one by one", "commands/s", single))
    for size in BATCHES:
        name = f"Deferred, batches of {size:,}"
        rows.append(
            row(name, "commands/s", [rate for rate, _ in found[name]], to=("one by one", single))
        )
    return rows


def immediate_rows(directory: Path, options: argparse.Namespace) -> list[Row]:
    """Measure Immediate commits beside the floor."""
    found = interleave(
        options.rounds,
        {"Immediate beside the floor": lambda: beside_the_floor(directory, options.immediate_runs)},
    )
    pairs = next(iter(found.values()))
    rows = []
    for name, attribute in (("p50", "p50_ns"), ("p99", "p99_ns"), ("p99.9", "p999_ns")):
        if name == "p99.9" and not all(latency.has_p999 for pair in pairs for latency in pair):
            continue  # it would only be the longest
        floor = [getattr(floor, attribute) / 1000 for _, floor in pairs]
        rows.append(row(f"disk alone, {name}", "us", floor))
        ours = [getattr(ours, attribute) / 1000 for ours, _ in pairs]
        rows.append(
            row(f"Immediate, one thread, {name}", "us", ours, to=(f"disk alone, {name}", floor))
        )
    return rows


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "")
    options_of.add_argument(
        "--runs",
        type=int,
        default=20_000,
        help="runs of a Deferred round, ten commands each; default 20,000",
    )
    options_of.add_argument(
        "--immediate-runs",
        type=int,
        default=100,
        help="runs of an Immediate round, a sync a command; default 100",
    )
    options = options_of.parse_args()
    with scratch(options.directory) as directory:
        rows = [*deferred_rows(directory, options), *immediate_rows(directory, options)]
    return finish(
        options,
        rows,
        [f"disk alone: {FLOOR_BYTES} bytes written into a preallocated file, and synced"],
    )


if __name__ == "__main__":
    sys.exit(main())
