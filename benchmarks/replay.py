"""How fast a log replays and a snapshot loads, and the memory of a completed run, over sizes.

For each size the benchmark fills a queue with runs that went through their whole life, ten events
each. It opens the queue, each time in a new process, from the log alone; then it makes a snapshot,
and opens the queue from that. The files are in the page cache: the figures are those of the work,
not of a cold disk.

    python -m benchmarks.replay --runs 10000 100000 1000000
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

import actionqueue as aq
from actionqueue.bench.workload import COMMANDS_A_RUN, commands_of_a_run
from benchmarks.measure import Row, finish, in_a_child, interleave, own_rss, parser, row, scratch

RUNS_A_BATCH = 100


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one opening."""

    seconds: float
    events: int
    runs: int
    table_bytes: int
    rss_bytes: int


def fill(path: Path, runs: int) -> None:
    """Make a queue with a number of completed runs."""
    with aq.open(path, durability="deferred", compaction=None) as queue:
        for begin in range(0, runs, RUNS_A_BATCH):
            batch: list[aq.MutationCommand] = []
            for _ in range(min(RUNS_A_BATCH, runs - begin)):
                batch += commands_of_a_run()
            queue.submit_many(batch)


def opened(path: Path) -> Opened:
    """Open a queue in this process, and return the figures."""
    before = own_rss()
    with aq.open(path, create=False, compaction=None) as queue:
        counts, recovery = queue.projection.counts(), queue.recovery
        return Opened(
            seconds=recovery.seconds,
            events=recovery.events,
            runs=counts.runs,
            table_bytes=counts.memory_bytes,
            rss_bytes=own_rss() - before,
        )


def expect(openings: list[Opened], runs: int, events: int) -> None:
    """Make sure that the openings replayed what they should."""
    for done in openings:
        if (done.runs, done.events) != (runs, events):
            raise ValueError(f"expected {runs} runs after {events} events, not {done}")


def snapshot(path: Path) -> tuple[float, int]:
    """Make the queue's only snapshot in this process; return the seconds and its bytes."""
    for old in (path / "snapshots").glob("*.snap"):
        old.unlink()
    with aq.open(path, create=False, compaction=None) as queue:
        made = queue.snapshot()
        return made.seconds, made.file_bytes


def rows_of(path: Path, runs: int, rounds: int) -> list[Row]:
    """Measure one size."""
    in_a_child(fill, path, runs)
    name = f"{runs:,} runs"
    replayed = interleave(rounds, {name: lambda: in_a_child(opened, path)})[name]
    expect(replayed, runs, runs * COMMANDS_A_RUN)
    written = interleave(rounds, {name: lambda: in_a_child(snapshot, path)})[name]
    size = written[-1][1]
    loaded = interleave(rounds, {name: lambda: in_a_child(opened, path)})[name]
    expect(loaded, runs, 0)
    return [
        row(f"{name}: replay", "events/s", [done.events / done.seconds for done in replayed]),
        row(f"{name}: open from the log", "s", [done.seconds for done in replayed]),
        row(
            f"{name}: write a snapshot",
            "s",
            [seconds for seconds, _ in written],
            note=f"{size:,} bytes, from the log alone",
        ),
        row(f"{name}: open from a snapshot", "s", [done.seconds for done in loaded]),
        row(f"{name}: the snapshot's size", "bytes", [size]),
        row(f"{name}: load of the snapshot", "bytes/s", [size / done.seconds for done in loaded]),
        row(
            f"{name}: the table's memory a run",
            "bytes",
            [done.table_bytes / runs for done in replayed],
        ),
        row(
            f"{name}: the process's memory a run",
            "bytes",
            [done.rss_bytes / runs for done in replayed],
        ),
    ]


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "", rounds=3)
    options_of.add_argument(
        "--runs", type=int, nargs="+", default=[10_000, 100_000], help="sizes of the queue, in runs"
    )
    options = options_of.parse_args()
    rows = []
    for runs in options.runs:
        with scratch(options.directory) as directory:
            rows += rows_of(directory / "queue", runs, options.rounds)
    return finish(options, rows)


if __name__ == "__main__":
    sys.exit(main())
