"""Check whether a change made the hot paths longer: count the instructions of a command.

Instructions repeat where seconds do not. Fixed workloads run under valgrind, each once at a size
and once at twice that size; the difference is what the commands themselves take, without the
interpreter's start. The program compares the counts with those in instructions.json, which has them
for each processor architecture and Python version; more than 5 % above them is a failure. They
depend on the compiler too: after a change of the compiler, or a wanted change of the code, --update
writes new ones, and the diff of the file shows the change of each.

    python -m benchmarks.instructions             # as make bench-check does
    python -m benchmarks.instructions --update    # write the counts of this machine
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import actionqueue as aq
from actionqueue.bench.workload import (
    COMMANDS_A_RUN,
    MOMENT,
    PAYLOAD,
    commands_of_a_run,
    submit_a_run,
)

COUNTS = Path(__file__).with_name("instructions.json")
GROWTH_MAX = 0.05
BATCH_RUNS = 10
SEGMENT_SIZE = 65536
ROWS = 100
"""Rows of a call with arrays."""
OWNER = "worker-0001"


class Workload(NamedTuple):
    """Something that takes a directory and a number of runs."""

    runs: int
    work: Callable[[Path, int], None]
    prepare: Callable[[Path, int], None] | None = None
    """Runs before the work, and does not count."""


def deferred(directory: Path, runs: int) -> None:
    """Submit one command after the other."""
    with aq.open(directory, durability="deferred", compaction=None) as queue:
        for _ in range(runs):
            submit_a_run(queue.submit)


def asked(directory: Path, runs: int) -> None:
    """Ask, after each run's commands, which run is due next: the orders are kept up to date."""
    with aq.open(directory, durability="deferred", compaction=None) as queue:
        queue.projection.next_due()
        for _ in range(runs):
            submit_a_run(queue.submit)
            queue.projection.next_due()


def immediate(directory: Path, runs: int) -> None:
    """Submit one command after the other, each with a sync; the system's part does not count."""
    with aq.open(directory, durability="immediate", compaction=None) as queue:
        for _ in range(runs):
            submit_a_run(queue.submit)


def batches(directory: Path, runs: int) -> None:
    """Submit a hundred commands at a time."""
    with aq.open(directory, durability="deferred", compaction=None) as queue:
        for _ in range(0, runs, BATCH_RUNS):
            queue.submit_many(
                [command for _ in range(BATCH_RUNS) for command in commands_of_a_run()]
            )


def build(_: Path, runs: int) -> None:
    """Build the commands only."""
    for _number in range(runs):
        commands_of_a_run()


def log(directory: Path, runs: int) -> None:
    """Leave a log of small segments to open: how full the last one is must not matter."""
    with aq.open(
        directory, durability="deferred", compaction=None, segment_size=SEGMENT_SIZE
    ) as queue:
        for _ in range(runs):
            queue.submit_many(commands_of_a_run())


def replay(directory: Path, _: int) -> None:
    """Open the log that `log` left."""
    aq.open(directory, create=False, compaction=None).close()


def log_and_snapshot(directory: Path, runs: int) -> None:
    """Leave a log and a snapshot to open."""
    log(directory, runs)
    with aq.open(directory, create=False, compaction=None) as queue:
        queue.snapshot()


def leased(directory: Path, _: int) -> None:
    """Leave as many leased runs as a call with arrays has rows."""
    with aq.open(directory, durability="deferred", compaction=None) as queue:
        for _number in range(ROWS):
            task = aq.TaskSpec(payload=PAYLOAD)
            run = aq.RunInstance.scheduled(task.id, scheduled_at=MOMENT, created_at=MOMENT)
            queue.submit(aq.TaskCreateCommand(None, task, MOMENT))
            queue.submit(aq.RunCreateCommand(None, run))
            queue.submit(aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", MOMENT))
            queue.submit(aq.LeaseAcquireCommand(None, run.id, OWNER, MOMENT, MOMENT))
            queue.submit(aq.RunStateTransitionCommand(None, run.id, "ready", "leased", MOMENT))


def columns(directory: Path, runs: int) -> None:
    """Submit heartbeats as arrays, as many as the commands of a number of runs."""
    with aq.open(directory, durability="deferred", compaction=None) as queue:
        # Without NumPy, whose import takes as much as many rows do, and not always the same.
        run_ids = memoryview(b"".join(run_id.bytes for run_id in queue.projection.run_ids())).cast(
            "B", (ROWS, 16)
        )
        for _ in range(runs * COMMANDS_A_RUN // ROWS):
            queue.submit_lease_heartbeats(run_ids, OWNER, MOMENT, MOMENT)


WORKLOADS = {
    "build": Workload(500, build),
    "deferred": Workload(300, deferred),
    "asked": Workload(300, asked),
    "immediate": Workload(50, immediate),
    "batches": Workload(300, batches),
    "columns": Workload(10_000, columns, leased),
    "replay": Workload(4000, replay, log),
    "load_snapshot": Workload(4000, replay, log_and_snapshot),
}


def count(name: str, runs: int) -> int:
    """Return the instructions of a process that does a number of runs of a workload."""
    workload = WORKLOADS[name]
    with tempfile.TemporaryDirectory(prefix="actionqueue-") as base:
        if workload.prepare is not None:
            workload.prepare(Path(base) / "queue", runs)
        command = [
            "valgrind",
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
        ]
        command += [
            sys.executable,
            "-m",
            "benchmarks.instructions",
            "--child",
            name,
            "--runs",
            str(runs),
            "--directory",
            f"{base}/queue",
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "pymalloc"}
        done = subprocess.run(  # noqa: S603 -- a fixed command
            command, env=environment, capture_output=True, text=True, check=False
        )
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or found is None:
        sys.exit(f"valgrind ended with {done.returncode}:\n{done.stderr}")
    return int(found[1].replace(",", ""))


def measure() -> dict[str, int]:
    """Return the instructions a command of every workload."""
    found = {}
    for name, workload in WORKLOADS.items():
        once, twice = count(name, workload.runs), count(name, 2 * workload.runs)
        found[name] = round((twice - once) / (workload.runs * COMMANDS_A_RUN))
        print(f"{name:<14}{found[name]:>10,} instructions a command", flush=True)
    return found


def kind() -> str:
    """Return the architecture and the Python, on which the counts depend most."""
    return (
        f"{platform.machine()} {platform.python_implementation()} "
        f"{sys.version_info.major}.{sys.version_info.minor}"
    )


def compare(found: dict[str, int], kept: dict[str, Any]) -> int:
    """Print the changes since the kept counts; return 1 if one grew too much."""
    code = 0
    for name, instructions in found.items():
        before = kept["instructions_a_command"].get(name)
        if before is None:
            print(f"{name}: the file has no count to compare with; --update writes one")
            code = 1
            continue
        growth = instructions / before - 1
        if growth > GROWTH_MAX:
            print(
                f"{name}: {growth:+.1%}: {instructions:,} instructions a command, up from "
                f"{before:,}"
            )
            code = 1
        elif growth < -GROWTH_MAX:
            print(f"{name}: {growth:+.1%}: --update keeps the gain")
    if code and kept["compiler"] != platform.python_compiler():
        print(
            f"the counts were made with {kept['compiler']}, and this is "
            f"{platform.python_compiler()}"
        )
    if not code:
        print(f"nothing grew by more than {GROWTH_MAX:.0%}")
    return code


def main() -> int:
    """Count, and compare or keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--update", action="store_true", help="write the counts instead of comparing with them"
    )
    parser.add_argument("--child", choices=WORKLOADS, help=argparse.SUPPRESS)
    parser.add_argument("--runs", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        WORKLOADS[options.child].work(options.directory, options.runs)
        return 0
    if shutil.which("valgrind") is None:
        sys.exit("valgrind, which counts, is not installed: make system-packages")
    kept = json.loads(COUNTS.read_text("utf-8")) if COUNTS.exists() else {}
    if not options.update and kind() not in kept:
        sys.exit(f"{COUNTS.name} has no counts for {kind()}; --update writes them")
    found = measure()
    if not options.update:
        return compare(found, kept[kind()])
    kept[kind()] = {"compiler": platform.python_compiler(), "instructions_a_command": found}
    COUNTS.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
