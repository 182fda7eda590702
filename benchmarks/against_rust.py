"""Compare this project with the published Rust crates of its commands and events.

Both run the lifecycle workload, Deferred and Immediate, in one thread with one submit a command,
and replay the log that it leaves. This project runs in a process of its own and the Rust driver in
another, in turn. The crates write to the file on every command, so their Deferred survives the end
of the process too; they have no batches. The ratios are this project's figure divided by the
crates', round by round.

    make bench-rust    # builds the driver with cargo, and runs this
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import actionqueue as aq
from actionqueue.bench.spread import Latency
from actionqueue.bench.workload import COMMANDS_A_RUN, submit_a_run, timed
from benchmarks.measure import Row, finish, in_a_child, interleave, own_rss, parser, row, scratch

DRIVER = Path(__file__).parent / "peers" / "rust" / "target" / "release" / "actionqueue-rust-driver"
WARM_UP_RUNS = 200


def ours(mode: str, path: Path, runs: int) -> dict[str, Any]:
    """Do what the Rust driver does, and return what it prints."""
    with aq.open(path, durability="deferred", compaction=None) as queue:
        for _ in range(WARM_UP_RUNS):
            submit_a_run(queue.submit)
        times: array[int] = array("Q")
        submit: Callable[[aq.MutationCommand], Any] = queue.submit
        if mode == "immediate":
            submit = timed(lambda command: queue.submit(command, "immediate"), times)
        began = perf_counter_ns()
        for _ in range(runs):
            submit_a_run(submit)
        seconds = (perf_counter_ns() - began) / 1e9
        stats = queue.stats()
        latency = Latency.of(times or [0])
        return {
            "commands": runs * COMMANDS_A_RUN,
            "seconds": seconds,
            "p50_ns": latency.p50_ns,
            "p99_ns": latency.p99_ns,
            "bytes_a_record": stats["appended_bytes"] / stats["appended_records"],
        }


def our_replay(path: Path) -> dict[str, Any]:
    """Open the queue that `ours` left."""
    before = own_rss()
    with aq.open(path, create=False, compaction=None) as queue:
        recovery, runs = queue.recovery, queue.projection.counts().runs
        return {
            "events": recovery.events,
            "runs": runs,
            "seconds": recovery.seconds,
            "resident_bytes": own_rss() - before,
        }


def theirs(*arguments: object) -> dict[str, Any]:
    """Run the driver, and return what it prints."""
    command = [str(DRIVER), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 -- ours
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Round:
    """Writes new directories for each measurement of a round."""

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self._directory = directory
        self._options = options
        self._number = 0

    def lifecycle(self, mode: str, *, is_ours: bool) -> dict[str, Any]:
        """Run the workload once, and replay a Deferred log."""
        self._number += 1
        path = self._directory / str(self._number)
        runs = self._options.immediate_runs if mode == "immediate" else self._options.runs
        found = in_a_child(ours, mode, path, runs) if is_ours else theirs(mode, path, runs)
        if mode == "deferred":
            replayed = in_a_child(our_replay, path) if is_ours else theirs("replay", path)
            if replayed["runs"] != runs + WARM_UP_RUNS:
                raise ValueError(f"expected {runs + WARM_UP_RUNS} runs, not {replayed}")
            found["replay"] = replayed
        return found


Figure = Callable[[dict[str, Any]], float]
FIGURES: dict[str, list[tuple[str, str, Figure]]] = {
    "deferred": [
        ("Deferred", "commands/s", lambda found: found["commands"] / found["seconds"]),
        ("bytes a record", "bytes", lambda found: found["bytes_a_record"]),
        (
            "replay",
            "events/s",
            lambda found: found["replay"]["events"] / found["replay"]["seconds"],
        ),
        (
            "memory a completed run",
            "bytes",
            lambda found: found["replay"]["resident_bytes"] / found["replay"]["runs"],
        ),
    ],
    "immediate": [
        ("Immediate", "commands/s", lambda found: found["commands"] / found["seconds"]),
        ("Immediate p50", "us", lambda found: found["p50_ns"] / 1000),
        ("Immediate p99", "us", lambda found: found["p99_ns"] / 1000),
    ],
}


def rows_of(mode: str, found: dict[str, list[dict[str, Any]]]) -> list[Row]:
    """Return each figure of a mode: the crates', and then this project's."""
    rows = []
    for name, unit, figure in FIGURES[mode]:
        other = [figure(done) for done in found["the Rust crates"]]
        rows.append(row(f"{name}: the Rust crates", unit, other))
        rows.append(
            row(
                f"{name}: actionqueue",
                unit,
                [figure(done) for done in found["actionqueue"]],
                to=("the Rust crates", other),
            )
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
        "--immediate-runs", type=int, default=100, help="runs of an Immediate round; default 100"
    )
    options = options_of.parse_args()
    if not DRIVER.exists():
        sys.exit(f"{DRIVER} is missing: make bench-rust builds it, with cargo")
    rows = []
    with scratch(options.directory) as directory:
        turns = Round(directory, options)
        for mode in FIGURES:
            sides = {
                "the Rust crates": partial(turns.lifecycle, mode, is_ours=False),
                "actionqueue": partial(turns.lifecycle, mode, is_ours=True),
            }
            rows += rows_of(mode, interleave(options.rounds, sides))
    return finish(options, rows)


if __name__ == "__main__":
    sys.exit(main())
