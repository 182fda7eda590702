"""What the questions of a scheduler cost as a queue grows: which runs are due, which are ready.

Queues of all sizes are open at the same time, and take turns. In each, a hundred runs are due, ten
are ready, and all others are scheduled for later, at random times. The first question of all makes
the orders. From then on each is kept up to date: `change and ask` submits a new time for a run, and
asks for the first run that is due. The ratios are to the smallest queue, round by round.

    python -m benchmarks.orders --runs 10000 100000 1000000
"""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path
from time import perf_counter_ns

import actionqueue as aq
from actionqueue.bench.workload import MOMENT, PAYLOAD
from benchmarks.measure import finish, parser, row, rows_by_size, scratch, sizes_of

RUNS_A_BATCH = 500
DUE = 100
READY = 10
QUESTIONS = ("due, a hundred of them", "ready, ten of them", "change and ask", "the next due time")


class Sized:
    """An open queue with a number of runs, of which few are due or ready."""

    def __init__(self, path: Path, runs: int, changes: int) -> None:
        self.runs = runs
        self._chosen = random.Random(1)  # noqa: S311 -- the same times each time
        self._changes = changes
        self._queue = aq.open(path, durability="deferred", compaction=None)
        self._run_ids = self._fill()
        before = self._queue.projection.counts().memory_bytes
        began = perf_counter_ns()
        self._queue.projection.next_due()
        self.first_question = (perf_counter_ns() - began) / 1e6
        self.memory = (self._queue.projection.counts().memory_bytes - before) / runs

    def _fill(self) -> list[aq.RunId]:
        submit = self._queue.submit
        run_ids: list[aq.RunId] = []
        task = aq.TaskSpec(payload=PAYLOAD)
        submit(aq.TaskCreateCommand(None, task, MOMENT))
        for begin in range(0, self.runs, RUNS_A_BATCH):
            runs = [
                aq.RunInstance.scheduled(task.id, scheduled_at=self._later(), created_at=MOMENT)
                for _ in range(begin, min(begin + RUNS_A_BATCH, self.runs))
            ]
            self._queue.submit_many([aq.RunCreateCommand(None, run) for run in runs])
            run_ids += [run.id for run in runs]
        for run_id in run_ids[:DUE]:
            submit(aq.RunRescheduleCommand(None, run_id, MOMENT, 0, MOMENT))
        for run_id in run_ids[DUE : DUE + READY]:
            submit(aq.RunStateTransitionCommand(None, run_id, "scheduled", "ready", MOMENT))
        return run_ids[DUE + READY :]

    def _later(self) -> int:
        return MOMENT + self._chosen.randint(1, 10_000_000)

    def turn(self) -> tuple[float, ...]:
        """Return microseconds an answer, for each of the questions."""
        queue, projection = self._queue, self._queue.projection
        moved = self._chosen.choices(self._run_ids, k=self._changes)
        times = [perf_counter_ns()]
        for _ in moved:
            projection.due(MOMENT, DUE)
        times.append(perf_counter_ns())
        for _ in moved:
            projection.run_ids("ready")
        times.append(perf_counter_ns())
        for run_id in moved:
            queue.submit(aq.RunRescheduleCommand(None, run_id, self._later(), 0, MOMENT))
            projection.due(MOMENT, 1)
        times.append(perf_counter_ns())
        for _ in moved:
            projection.next_due()
        times.append(perf_counter_ns())
        spans = itertools.pairwise(times)
        return tuple((after - before) / self._changes / 1000 for before, after in spans)

    def close(self) -> None:
        """Close the queue."""
        self._queue.close()


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "")
    sizes_of(options_of)
    options_of.add_argument(
        "--changes", type=int, default=1000, help="questions of each kind in a round; default 1,000"
    )
    options = options_of.parse_args()
    if min(options.runs) <= DUE + READY:
        options_of.error(f"--runs: every size must be over {DUE + READY}")
    with scratch(options.directory) as directory:
        sizes = [Sized(directory / str(runs), runs, options.changes) for runs in options.runs]
        turns = {size.runs: size.turn for size in sizes}
        rows = rows_by_size(options.rounds, turns, QUESTIONS, "µs")
        for size in sizes:
            name = f"{size.runs:,} runs"
            rows.append(row(f"{name}: the first question", "ms", [size.first_question]))
            rows.append(row(f"{name}: memory of the orders a run", "bytes", [size.memory]))
            size.close()
    return finish(options, rows)


if __name__ == "__main__":
    sys.exit(main())
