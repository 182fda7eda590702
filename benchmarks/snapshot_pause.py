"""How long a submitter waits during a snapshot, and while a compaction forgets runs.

One thread submits, without a pause, while another makes snapshots of a queue that holds a number of
runs; then the same without snapshots. Then six in ten of the runs finish, and one compaction
forgets them, makes a snapshot of the rest, and goes on with a projection loaded from that. The
table has the longest submit and the 99.9th percentile of each, in microseconds, for Deferred and
for Immediate submits.

    python -m benchmarks.snapshot_pause --runs 10000 100000 1000000
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import actionqueue as aq

BATCH = 1000
FINISHED_OF_TEN = 6
"""Enough that a compaction that forgets them renews the projection."""
SUBMITS_MIN = 1000


def fill(path: Path, runs: int) -> None:
    """Make a queue with a number of runs, each of a task of its own."""
    with aq.open(path, durability="deferred", compaction=None) as queue:
        for begin in range(0, runs, BATCH):
            commands: list[aq.MutationCommand] = []
            for _ in range(min(BATCH, runs - begin)):
                task = aq.TaskSpec(payload=b"p" * 64)
                commands.append(aq.TaskCreateCommand(None, task, 1))
                commands.append(
                    aq.RunCreateCommand(
                        None, aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
                    )
                )
            queue.submit_many(commands)


def finish(path: Path) -> None:
    """Cancel six in ten of the queue's runs."""
    with aq.open(path, durability="deferred", compaction=None) as queue:
        runs = [
            run
            for index, run in enumerate(queue.projection.run_ids(state="scheduled"))
            if index % 10 < FINISHED_OF_TEN
        ]
        for begin in range(0, len(runs), BATCH):
            queue.submit_many(
                [
                    aq.RunStateTransitionCommand(None, run, "scheduled", "canceled", 2)
                    for run in runs[begin : begin + BATCH]
                ]
            )


class Submitter(threading.Thread):
    """Submits until another thread stops it, and keeps each submit's time in nanoseconds."""

    def __init__(self, queue: aq.ActionQueue, durability: str) -> None:
        super().__init__()
        self._queue = queue
        self._durability = durability
        self._is_stopped = threading.Event()
        self.times: list[int] = []

    def run(self) -> None:
        """Alternate between two commands that leave nothing behind in memory."""
        commands = aq.EnginePauseCommand(None, 1), aq.EngineResumeCommand(None, 1)
        submit, clock = self._queue.submit, time.perf_counter_ns
        while not self._is_stopped.is_set() or len(self.times) < SUBMITS_MIN:
            for command in commands:
                began = clock()
                submit(command, self._durability)
                self.times.append(clock() - began)

    def stop(self) -> list[int]:
        """Return the times, sorted."""
        self._is_stopped.set()
        self.join()
        return sorted(self.times)


def measure(
    path: Path, durability: str, seconds_min: float, *, with_snapshots: bool
) -> tuple[list[int], float, int]:
    """Return the times of the submits, the seconds that the longest snapshot took, and its size."""
    with aq.open(path, compaction=None) as queue:
        submitter = Submitter(queue, durability)
        submitter.start()
        ends = time.monotonic() + seconds_min
        longest, size = 0.0, 0
        while time.monotonic() < ends:
            if with_snapshots:
                report = queue.snapshot()
                longest, size = max(longest, report.seconds), report.file_bytes
            else:
                time.sleep(0.1)
        return submitter.stop(), longest, size


def measure_retention(path: Path, durability: str) -> tuple[list[int], str]:
    """Return the times of submits during a compaction that forgets runs, and its results."""
    with aq.open(path, compaction=None) as queue:
        before = queue.projection.counts().memory_bytes
        submitter = Submitter(queue, durability)
        submitter.start()
        report = queue.compact(retention_seconds=0)
        times = submitter.stop()
        after = queue.projection.counts().memory_bytes
    memory = f"{before / 2**20:.1f} to {after / 2**20:.1f} MiB"
    return (
        times,
        (
            f"a compaction forgets {report.purged_runs:,} runs in {report.seconds:.2f} s, memory "
            f"{memory}"
        ),
    )


def row(runs: int, durability: str, times: list[int], what: str) -> str:
    """Return one line of the table."""
    tail = times[min(len(times) - 1, len(times) * 999 // 1000)]
    middle = times[len(times) // 2]
    return (
        f"{runs:>9,}  {durability:<9}  {len(times):>9,}  {middle / 1e3:>8.1f}  {tail / 1e3:>9.1f}  "
        f"{times[-1] / 1e3:>10.1f}  {what}"
    )


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="How long a submitter waits during a snapshot.")
    parser.add_argument(
        "--runs",
        type=int,
        nargs="+",
        default=[10_000, 100_000, 1_000_000],
        help="sizes of the queue, in runs",
    )
    parser.add_argument(
        "--seconds", type=float, default=5, help="shortest time of the measurement of a row"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=None,
        help="where to make the queues; default: a temporary directory",
    )
    options = parser.parse_args()
    print("     runs  durability   submits    p50 us   p99.9 us      max us  while", flush=True)
    for runs in options.runs:
        base = Path(tempfile.mkdtemp(prefix="actionqueue-", dir=options.directory))
        try:
            fill(base / "queue", runs)
            for durability in ("deferred", "immediate"):
                alone, _, _ = measure(
                    base / "queue", durability, options.seconds, with_snapshots=False
                )
                print(row(runs, durability, alone, "no snapshot is made"), flush=True)
                beside, seconds, size = measure(
                    base / "queue", durability, options.seconds, with_snapshots=True
                )
                what = f"snapshots of {size / 2**20:.1f} MiB are made, {seconds:.2f} s each at most"
                print(row(runs, durability, beside, what), flush=True)
            finish(base / "queue")
            for durability in ("deferred", "immediate"):
                shutil.copytree(base / "queue", base / durability)
                print(
                    row(runs, durability, *measure_retention(base / durability, durability)),
                    flush=True,
                )
        finally:
            shutil.rmtree(base)
    return 0


if __name__ == "__main__":
    sys.exit(main())
