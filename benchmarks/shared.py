"""The common parts of the benchmarks of shared syncs: the queue, the measurement and the table."""

from __future__ import annotations

import resource
import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import msgspec

import actionqueue as aq
from actionqueue.bench.spread import Latency
from actionqueue.bench.workload import submit_a_run
from benchmarks.measure import Row, row

__all__ = ["Shared", "measured", "queue_in", "rows_of"]

WARM_UP_RUNS = 100


class Shared(msgspec.Struct, frozen=True):
    """The figures of one round."""

    rate: float
    """Commands a second, all callers together."""
    latency: Latency
    group: float
    """Events a sync, on average."""
    switches: float
    """How often a thread of the process went to sleep, for each command; that includes the thread
    that runs the tasks or waits for the threads."""
    cpu_us: float
    """CPU time of the process for each command, with the system's part."""
    fairness: float
    """Commands of the caller with the fewest, divided by those of the caller with the most."""


def queue_in(directory: Path) -> str:
    """Make a queue, use it a little, and return its path."""
    path = tempfile.mkdtemp(prefix="queue-", dir=directory)
    with aq.open(path, durability="deferred", compaction=None) as queue:
        for _ in range(WARM_UP_RUNS):
            submit_a_run(queue.submit)
    return path


@contextmanager
def measured(
    queue: aq.ActionQueue, times: Sequence[array[int]], to: Callable[[Shared], Any]
) -> Iterator[None]:
    """Measure the block, in which callers submit and note each call's time in nanoseconds."""
    before, used, began = queue.stats(), resource.getrusage(resource.RUSAGE_SELF), perf_counter_ns()
    yield
    ended, used_more, after = (
        perf_counter_ns(),
        resource.getrusage(resource.RUSAGE_SELF),
        queue.stats(),
    )
    commands = after["last_sequence"] - before["last_sequence"]
    groups = after["sync_groups"] - before["sync_groups"]
    to(
        Shared(
            commands * 1e9 / (ended - began),
            Latency.of(time for those in times for time in those),
            (after["sync_events_total"] - before["sync_events_total"]) / max(1, groups),
            (used_more.ru_nvcsw - used.ru_nvcsw) / commands,
            (used_more.ru_utime + used_more.ru_stime - used.ru_utime - used.ru_stime)
            * 1e6
            / commands,
            min(map(len, times)) / max(map(len, times)),
        )
    )


def rows_of(found: Mapping[str, Sequence[Shared]], first: str) -> list[Row]:
    """Return rates and their ratios to the first, latencies, and how the callers shared."""
    base = [one.rate for one in found[first]]
    rows = [
        row(name, "commands/s", [one.rate for one in those], to=(first, base))
        for name, those in found.items()
    ]
    for name, those in found.items():
        for what in ("p50", "p99", "p999", "max"):
            label = "p99.9" if what == "p999" else what
            if what == "p999" and not all(one.latency.has_p999 for one in those):
                continue  # it would only be the longest
            rows.append(
                row(
                    f"{name}: {label}",
                    "µs",
                    [getattr(one.latency, f"{what}_ns") / 1000 for one in those],
                )
            )
    for name, those in found.items():
        rows.append(row(f"{name}: events a sync", "", [one.group for one in those]))
        rows.append(row(f"{name}: sleeps a command", "", [one.switches for one in those]))
        rows.append(row(f"{name}: CPU time a command", "µs", [one.cpu_us for one in those]))
        rows.append(row(f"{name}: fewest by most", "", [one.fairness for one in those]))
    return rows
