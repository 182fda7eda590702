"""Whether commands, memory, opening or snapshots cost more as a queue grows, over several sizes.

Queues of all sizes are open at the same time, so that they can take turns. In each round each queue
takes some of its waiting runs, at random places, from scheduled to ready (that measures a cold
look-up), and some new tasks and runs through their whole life. The ratios are to the smallest
queue, round by round. Then the benchmark closes each queue, and opens it from its log and from a
snapshot, in new processes.

    python -m benchmarks.scale --runs 10000 100000 1000000 10000000
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from time import perf_counter_ns

import actionqueue as aq
from actionqueue.bench.workload import COMMANDS_A_RUN, MOMENT, PAYLOAD, submit_a_run
from benchmarks.measure import (
    Row,
    finish,
    in_a_child,
    parser,
    row,
    rows_by_size,
    scratch,
    sizes_of,
)
from benchmarks.replay import opened, snapshot

RUNS_A_BATCH = 500


class Sized:
    """An open queue with a number of waiting runs, which keeps some of them for later rounds."""

    def __init__(self, path: Path, runs: int, options: argparse.Namespace) -> None:
        self.path = path
        self.runs = runs
        self._lifecycles = options.lifecycles
        self._transitions = min(options.transitions, max(1, runs // options.rounds))
        self._queue = aq.open(path, durability="deferred", compaction=None)
        self._waiting = self._fill(self._transitions * options.rounds)

    def _fill(self, kept: int) -> list[aq.RunId]:
        """Create the runs; return some from random places, in random order."""
        chosen = random.Random(1)  # noqa: S311 -- the same ones each time
        places = set(chosen.sample(range(self.runs), kept))
        waiting: list[aq.RunId] = []
        for begin in range(0, self.runs, RUNS_A_BATCH):
            batch: list[aq.MutationCommand] = []
            for place in range(begin, min(begin + RUNS_A_BATCH, self.runs)):
                task = aq.TaskSpec(payload=PAYLOAD)
                run = aq.RunInstance.scheduled(task.id, scheduled_at=MOMENT, created_at=MOMENT)
                batch += (aq.TaskCreateCommand(None, task, MOMENT), aq.RunCreateCommand(None, run))
                if place in places:
                    waiting.append(run.id)
            self._queue.submit_many(batch)
        chosen.shuffle(waiting)
        return waiting

    def turn(self) -> tuple[float, float]:
        """Return nanoseconds a command, of transitions of old runs and of lives of new runs."""
        submit = self._queue.submit
        chosen, self._waiting = (
            self._waiting[: self._transitions],
            self._waiting[self._transitions :],
        )
        scheduled, ready = aq.RunState.SCHEDULED, aq.RunState.READY
        began = perf_counter_ns()
        for run_id in chosen:
            submit(aq.RunStateTransitionCommand(None, run_id, scheduled, ready, MOMENT))
        between = perf_counter_ns()
        for _ in range(self._lifecycles):
            submit_a_run(submit)
        ended = perf_counter_ns()
        return (between - began) / len(chosen), (ended - between) / (
            self._lifecycles * COMMANDS_A_RUN
        )

    def close(self) -> tuple[float, int]:
        """Close the queue; return the table's bytes a run, and the events in the log."""
        counts, events = self._queue.projection.counts(), self._queue.sequence
        self._queue.close()
        del self._queue, self._waiting  # the processes that open it next need the memory
        return counts.memory_bytes / counts.runs, events


def cost_rows(sizes: list[Sized], rounds: int) -> list[Row]:
    """Let the open queues take turns."""
    figures = ("a transition of any run", "a command of a new run")
    return rows_by_size(rounds, {size.runs: size.turn for size in sizes}, figures, "ns")


def file_rows(size: Sized, rounds: int) -> list[Row]:
    """Close a queue, and open it from its log and from a snapshot."""
    memory, events = size.close()
    name = f"{size.runs:,} runs"
    replayed = [in_a_child(opened, size.path).seconds for _ in range(rounds)]
    written = [in_a_child(snapshot, size.path) for _ in range(rounds)]
    loaded = [in_a_child(opened, size.path).seconds for _ in range(rounds)]
    return [
        row(f"{name}: the table's memory a run", "bytes", [memory]),
        row(f"{name}: open from the log", "s", replayed, note=f"{events:,} events"),
        row(
            f"{name}: write a snapshot",
            "s",
            [seconds for seconds, _ in written],
            note=f"{written[-1][1]:,} bytes, from the log alone",
        ),
        row(f"{name}: open from a snapshot", "s", loaded),
    ]


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "")
    sizes_of(options_of)
    options_of.add_argument(
        "--transitions",
        type=int,
        default=20_000,
        help="transitions of a size in a round; default 20,000",
    )
    options_of.add_argument(
        "--lifecycles",
        type=int,
        default=1000,
        help="whole lives of a size in a round; default 1,000",
    )
    options = options_of.parse_args()
    with scratch(options.directory) as directory:
        sizes = [Sized(directory / str(runs), runs, options) for runs in options.runs]
        rows = cost_rows(sizes, options.rounds)
        for size in sizes:
            rows += file_rows(size, options.rounds)
    return finish(options, rows)


if __name__ == "__main__":
    sys.exit(main())
