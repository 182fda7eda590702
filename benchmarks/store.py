"""What a queue costs whose log is in PostgreSQL or etcd, beside bare appends and the local disk.

Three nodes of each engine run on this machine, on the disk to measure. All cells of a round are
measured in turn: a bare append of the engine by the store's own call, Immediate commands one by one
and in groups of 100, Deferred commands as fast as one thread makes them, until the store has them,
and a sync of as many bytes on the local disk. Then a queue that stands by takes over from one with
many runs.

    python -m benchmarks.store --engines postgres etcd --rounds 5
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import actionqueue as aq
from actionqueue.bench.workload import MOMENT, PAYLOAD
from actionqueue.stores import EtcdStore, PostgresStore
from benchmarks.measure import Row, finish, interleave, parser, positive, row, scratch
from tests.support.stores import servers

GROUP = 100
GROUP_BYTES = 6400
RECORD_BYTES = 64
RUNS = 1000
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def cluster_of(engine: str, directory: Path) -> Iterator[tuple[Any, Callable[[str], Any]]]:
    """Start three nodes; give them, and what makes a store on a log of theirs."""
    place = Path(tempfile.mkdtemp(prefix=f"{engine}-", dir=directory))
    cluster: Any
    if engine == "postgres":
        cluster = servers.Postgres(place, standbys=2)
        yield cluster, lambda log: PostgresStore(cluster.conninfo, log=log)
    else:
        cluster = servers.Etcd(place, 3)
        yield cluster, lambda log: EtcdStore(cluster.endpoints, log=log)
    cluster.stop()


def seconds_of(cluster: Any) -> float:
    """Return the processor time that all processes of a cluster's nodes have used."""
    nodes = {server.process.pid for server in cluster.servers.values()}
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text("ascii").rpartition(")")[2].split()
        except OSError:
            continue
        if int(path.parent.name) in nodes or int(fields[1]) in nodes:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


class Engine:
    """A cluster with an open queue on one log and a term on another."""

    def __init__(self, name: str, directory: Path, stack: ExitStack, appends: int) -> None:
        self.name = name
        self.appends = appends
        self.cluster, self.store_on = stack.enter_context(cluster_of(name, directory))
        self.store = self.store_on("bare")
        stack.callback(self.store.close)
        self.store.initialize()
        self.store_on("queue").initialize()
        self.term = self.store.campaign("bench")
        self.next = self.term.first_sequence
        place = Path(tempfile.mkdtemp(dir=directory))
        self.queue = stack.enter_context(aq.open(place, store=self.store_on("queue")))
        self.runs = add_runs(self.queue, RUNS)
        self.server_us: list[float] = []

    def bare(self, size: int) -> float:
        """Return the milliseconds of a bare append of so many bytes, the median."""
        data = os.urandom(size)
        before, times = seconds_of(self.cluster), []
        for _ in range(self.appends):
            begun = time.perf_counter()
            self.store.append(self.term, self.next, self.next + GROUP - 1, data)
            times.append(time.perf_counter() - begun)
            self.next += GROUP
        if size == GROUP_BYTES:
            self.server_us.append((seconds_of(self.cluster) - before) / self.appends * 1e6)
        return median(times) * 1e3

    def one_by_one(self) -> float:
        """Return the milliseconds of an Immediate command, the median."""
        times = []
        for command in self.commands(self.appends):
            begun = time.perf_counter()
            self.queue.submit(command)
            times.append(time.perf_counter() - begun)
        return median(times) * 1e3

    def in_groups(self) -> float:
        """Return the milliseconds of an Immediate group of 100, the median."""
        times = []
        for _ in range(self.appends):
            commands = self.commands(GROUP)
            begun = time.perf_counter()
            self.queue.submit_many(commands)
            times.append(time.perf_counter() - begun)
        return median(times) * 1e3

    def saturated(self) -> float:
        """Return how many commands a second one thread gets into the store, all as Deferred."""
        count = self.appends * 1000
        batches = [self.commands(1000) for _ in range(count // 1000)]
        begun = time.perf_counter()
        for commands in batches:
            self.queue.submit_many(commands, "deferred")
        self.queue.sync()
        return count / (time.perf_counter() - begun)

    def commands(self, count: int) -> list[aq.MutationCommand]:
        """Return commands whose records are about as long as those of most others."""
        runs = self.runs
        return [
            aq.RunRescheduleCommand(None, runs[index % RUNS], MOMENT + index, 0, MOMENT)
            for index in range(count)
        ]

    def takeover(self, directory: Path, runs: int) -> float:
        """Return the seconds from a writer's end until a queue that stood by takes commands."""
        self.store_on("takeover").initialize()
        first = aq.open(directory / f"{self.name}-first", store=self.store_on("takeover"))
        add_runs(first, runs)
        first.sync()
        second = aq.open(
            directory / f"{self.name}-second", store=self.store_on("takeover"), standby=True
        )
        while second.sequence < first.sequence:
            time.sleep(0.01)
        first.close()
        begun = time.perf_counter()
        second.wait_until_active()
        second.submit(aq.EnginePauseCommand(None, MOMENT))
        taken = time.perf_counter() - begun
        second.close()
        return taken


def add_runs(queue: aq.ActionQueue, count: int) -> list[aq.RunId]:
    """Add runs that are due much later, and return their identifiers."""
    task = aq.TaskSpec(payload=PAYLOAD)
    queue.submit(aq.TaskCreateCommand(None, task, MOMENT), "deferred")
    ids: list[aq.RunId] = []
    for begin in range(0, count, RUNS):
        runs = [
            aq.RunInstance.scheduled(task.id, scheduled_at=MOMENT + 10**9, created_at=MOMENT)
            for _ in range(begin, min(begin + RUNS, count))
        ]
        queue.submit_many([aq.RunCreateCommand(None, run) for run in runs], "deferred")
        ids += [run.id for run in runs]
    return ids


def local_sync(directory: Path, appends: int) -> float:
    """Return the milliseconds of writing a group's bytes to a local file and syncing them."""
    data, times = os.urandom(GROUP_BYTES), []
    with (directory / "local").open("wb", buffering=0) as file:
        file.truncate(appends * GROUP_BYTES)
        for _ in range(appends):
            begun = time.perf_counter()
            file.write(data)
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - begun)
    return median(times) * 1e3


def rows_of(engine: Engine, found: dict[str, list[float]], disk: list[float]) -> list[Row]:
    """Return the figures of one engine."""
    name = engine.name
    bare = f"{name}: bare append of {GROUP_BYTES:,} bytes"
    small = f"{name}: bare append of {RECORD_BYTES} bytes"
    groups = found[f"{name} groups"]
    return [
        row(bare, "ms", found[f"{name} bare"], to=("local sync", disk)),
        row(small, "ms", found[f"{name} small"], to=("local sync", disk)),
        row(
            f"{name}: Immediate, one command",
            "ms",
            found[f"{name} one"],
            to=(small, found[f"{name} small"]),
        ),
        row(
            f"{name}: Immediate, group of {GROUP}",
            "ms",
            groups,
            to=(bare, found[f"{name} bare"]),
        ),
        row(
            f"{name}: Immediate, groups of {GROUP}",
            "commands/s",
            [GROUP * 1e3 / value for value in groups],
        ),
        row(f"{name}: Deferred until stored", "commands/s", found[f"{name} saturated"]),
        row(f"{name}: servers' processor time an append", "us", engine.server_us),
    ]


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "")
    options_of.add_argument("--engines", nargs="+", default=["postgres", "etcd"])
    options_of.add_argument(
        "--appends", type=positive, default=200, help="appends of a cell in a round; default 200"
    )
    options_of.add_argument(
        "--runs", type=positive, default=1_000_000, help="runs at a takeover; default a million"
    )
    options = options_of.parse_args()
    with scratch(options.directory.resolve()) as directory, ExitStack() as stack:
        directory.chmod(0o755)  # PostgreSQL runs as another user where this is root
        engines = [Engine(name, directory, stack, options.appends) for name in options.engines]
        cells: dict[str, Callable[[], float]] = {
            "local sync": lambda: local_sync(directory, options.appends)
        }
        for engine in engines:
            cells |= {
                f"{engine.name} bare": lambda engine=engine: engine.bare(GROUP_BYTES),
                f"{engine.name} small": lambda engine=engine: engine.bare(RECORD_BYTES),
                f"{engine.name} one": engine.one_by_one,
                f"{engine.name} groups": engine.in_groups,
                f"{engine.name} saturated": engine.saturated,
            }
        found = interleave(options.rounds, cells)
        disk = found["local sync"]
        rows = [row(f"local sync of {GROUP_BYTES:,} bytes", "ms", disk)]
        for engine in engines:
            rows += rows_of(engine, found, disk)
            seconds = [engine.takeover(directory, options.runs)]
            rows.append(row(f"{engine.name}: takeover with {options.runs:,} runs", "s", seconds))
        return finish(options, rows, ["all nodes and the queue share this machine's processors"])


if __name__ == "__main__":
    sys.exit(main())
