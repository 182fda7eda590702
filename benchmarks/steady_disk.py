"""Whether a queue's disk use stays bounded under a steady load, with retention and compaction.

One thread makes tasks with a run each and takes the runs through their lifecycle, for --minutes.
Every --every seconds a line says how much the queue's directory takes, and what the queue has done;
a last line says how much it took at most in each half of the time.

    python -m benchmarks.steady_disk --minutes 10
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import actionqueue as aq

BATCH = 50


def lifecycle(number: int) -> list[aq.MutationCommand]:
    """Return the commands of one task and its run, from the beginning to the end."""
    moment = aq.now()
    task = aq.TaskSpec(payload=b"x" * (50 + number % 100))
    run = aq.RunInstance.scheduled(task.id, scheduled_at=moment, created_at=moment)
    attempt = aq.AttemptId()
    return [
        aq.TaskCreateCommand(None, task, moment),
        aq.RunCreateCommand(None, run),
        aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", moment),
        aq.LeaseAcquireCommand(None, run.id, "worker", moment + 30, moment),
        aq.RunStateTransitionCommand(None, run.id, "ready", "leased", moment),
        aq.RunStateTransitionCommand(None, run.id, "leased", "running", moment),
        aq.AttemptStartCommand(None, run.id, attempt, moment),
        aq.AttemptFinishCommand(None, run.id, attempt, aq.AttemptOutcome.success(b"done"), moment),
        aq.RunStateTransitionCommand(None, run.id, "running", "completed", moment),
    ]


def disk_use(path: Path) -> int:
    """Return the bytes that the directory's files take on the disk."""
    total = 0
    for file in path.rglob("*"):
        with suppress(FileNotFoundError):
            total += file.stat().st_blocks * 512
    return total


class Watcher(threading.Thread):
    """Looks at the disk many times a second, to see also what is there only for a while."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._is_stopped = threading.Event()
        self.most = 0

    def run(self) -> None:
        """Keep the largest use."""
        while not self._is_stopped.wait(0.05):
            self.most = max(self.most, disk_use(self._path))

    def stop(self) -> None:
        """End."""
        self._is_stopped.set()
        self.join()


def work(queue: aq.ActionQueue, watcher: Watcher, options: argparse.Namespace) -> list[int]:
    """Submit at the requested rate, print lines, and return the disk's peak in each interval."""
    began = next_line = time.monotonic()
    ends = began + options.minutes * 60
    most: list[int] = []
    number = 0
    while (instant := time.monotonic()) < ends:
        for _ in range(BATCH):
            queue.submit_many(lifecycle(number))
            number += 1
        behind = number / options.rate - (instant - began)
        if behind > 0:
            time.sleep(behind)
        if instant >= next_line:
            next_line += options.every
            most.append(watcher.most)
            watcher.most = 0
            counts, stats = queue.projection.counts(), queue.stats()
            print(
                f"{instant - began:>7.0f}  {number:>9,}  {counts.runs:>9,}  "
                f"{counts.memory_bytes / 2**20:>8.1f}  {stats['appended_bytes'] / 2**20:>9.1f}  "
                f"{stats['snapshot_sequence']:>10,}  {stats['snapshot_bytes'] / 2**20:>8.1f}  "
                f"{most[-1] / 2**20:>8.1f}",
                flush=True,
            )
    return most


def main() -> int:
    """Work, print the disk's use, and say whether it stayed bounded."""
    parser = argparse.ArgumentParser(
        description="Whether the disk that a queue takes stays bounded under a steady load."
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--rate", type=float, default=2000, help="runs a second, each of nine events"
    )
    parser.add_argument(
        "--retention",
        type=int,
        default=20,
        metavar="SECONDS",
        help="how long the queue keeps finished runs",
    )
    parser.add_argument(
        "--log-bytes", type=int, default=32 * 2**20, help="bytes of records between two compactions"
    )
    parser.add_argument("--segment-size", type=int, default=8 * 2**20)
    parser.add_argument(
        "--every", type=float, default=20, metavar="SECONDS", help="time between two lines"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=None,
        help="where to make the queue; default: a temporary directory",
    )
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="actionqueue-", dir=options.directory))
    policy = aq.CompactionPolicy(log_bytes=options.log_bytes, retention_seconds=options.retention)
    print(
        "seconds       runs       kept  memory M  appended M   snapshot  its size M  disk M",
        flush=True,
    )
    try:
        with aq.open(
            base / "queue",
            durability="deferred",
            compaction=policy,
            segment_size=options.segment_size,
        ) as queue:
            watcher = Watcher(base / "queue")
            watcher.start()
            most = work(queue, watcher, options)
            watcher.stop()
            appended = queue.stats()["appended_bytes"]
    finally:
        shutil.rmtree(base)
    half = len(most) // 2
    first, second = max(most[:half], default=0), max(most[half:], default=0)
    print(
        f"{appended / 2**20:.0f} MiB of records were appended; the disk held at most "
        f"{first / 2**20:.0f} MiB in the first half and {second / 2**20:.0f} MiB in the second"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
