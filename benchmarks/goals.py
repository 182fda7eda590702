"""The goals of docs/performance.md, where to find each figure, and the table of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.measure import Result, Row


class Goal(NamedTuple):
    """A line of the table: the figure, its goal, and the rows of a benchmark that have it."""

    what: str
    goal: str
    benchmark: str
    rows: tuple[str, ...]
    command: str
    shows_ratio: bool = False
    """Show the ratio to the other row, instead of the value."""


GOALS = (
    Goal(
        "Deferred, one submit a command",
        "1.5 M commands/s",
        "lifecycle",
        ("Deferred, one by one",),
        "python -m benchmarks.lifecycle --runs 50000",
    ),
    Goal(
        "the same, by the Rust crates in the same run",
        "3 times",
        "against_rust",
        ("Deferred: actionqueue",),
        "make bench-rust BENCH_FLAGS_against_rust='--runs 100000 --immediate-runs 200'",
        shows_ratio=True,
    ),
    Goal(
        "Deferred, batches of 1,000",
        "2.5 M commands/s",
        "lifecycle",
        ("Deferred, batches of 1,000",),
        "python -m benchmarks.lifecycle --runs 50000",
    ),
    Goal(
        "transitions as columns",
        "8 M rows/s",
        "columns",
        ("transition: columns",),
        "python -m benchmarks.columns --rows 200000",
    ),
    Goal(
        "Immediate, one thread, median, by the disk's floor in the same run",
        "at most 1.1 times",
        "lifecycle",
        ("Immediate, one thread, p50",),
        "python -m benchmarks.lifecycle --immediate-runs 100",
        shows_ratio=True,
    ),
    Goal(
        "Immediate, rate, by the Rust crates in the same run",
        "1.4 times",
        "against_rust",
        ("Immediate: actionqueue",),
        "make bench-rust BENCH_FLAGS_against_rust='--runs 100000 --immediate-runs 200'",
        shows_ratio=True,
    ),
    Goal(
        "Immediate, 8 threads",
        "40 k commands/s",
        "shared_syncs",
        ("8 threads",),
        "python -m benchmarks.shared_syncs",
    ),
    Goal(
        "Immediate, 32 threads",
        "60 k commands/s",
        "shared_syncs",
        ("32 threads",),
        "python -m benchmarks.shared_syncs",
    ),
    Goal(
        "Immediate, 64 threads, p99.9 of a command",
        "",
        "shared_syncs",
        ("64 threads: p99.9",),
        "python -m benchmarks.shared_syncs",
    ),
    Goal(
        "Immediate, 1,000 asyncio tasks",
        "100 k commands/s",
        "asyncio_tasks",
        ("1,000 tasks",),
        "python -m benchmarks.asyncio_tasks",
    ),
    Goal(
        "groups of 64",
        "400 k commands/s",
        "groups",
        ("groups of 64",),
        "python -m benchmarks.groups",
    ),
    Goal(
        "groups of 1,024",
        "1.7 M commands/s",
        "groups",
        ("groups of 1,024",),
        "python -m benchmarks.groups",
    ),
    Goal(
        "replay into the projection",
        "6 M events/s",
        "replay",
        ("1,000,000 runs: replay",),
        "python -m benchmarks.replay --runs 1000000",
    ),
    Goal(
        "the same, by the Rust crates in the same run",
        "20 times",
        "against_rust",
        ("replay: actionqueue",),
        "make bench-rust BENCH_FLAGS_against_rust='--runs 100000 --immediate-runs 200'",
        shows_ratio=True,
    ),
    Goal(
        "memory a completed run, with its task, history, attempt and output",
        "500 bytes",
        "replay",
        ("1,000,000 runs: the table's memory a run", "1,000,000 runs: the process's memory a run"),
        "python -m benchmarks.replay --runs 1000000",
    ),
    Goal(
        "bytes a record", "61", "lifecycle", ("bytes a record",), "python -m benchmarks.lifecycle"
    ),
    Goal(
        "opening a log of 10 M events with a snapshot",
        "1 s",
        "replay",
        ("1,000,000 runs: open from a snapshot",),
        "python -m benchmarks.replay --runs 1000000",
    ),
    Goal(
        "cost of a command of a new run at 10 M runs, by that at 10 k",
        "1.5 times",
        "scale",
        ("10,000,000 runs: a command of a new run",),
        "python -m benchmarks.scale --runs 10000 100000 1000000 10000000",
        shows_ratio=True,
    ),
    Goal(
        "cost of a transition of any of 10 M runs, by that at 10 k",
        "1.5 times",
        "scale",
        ("10,000,000 runs: a transition of any run",),
        "python -m benchmarks.scale --runs 10000 100000 1000000 10000000",
        shows_ratio=True,
    ),
    Goal(
        "whole jobs, Deferred, one call each",
        "120 k jobs/s",
        "jobs",
        ("Deferred, one by one: actionqueue",),
        "python -m benchmarks.jobs",
    ),
    Goal(
        "the same, by the best peer with the same promise in the same run",
        "",
        "jobs",
        ("Deferred, one by one: actionqueue",),
        "python -m benchmarks.jobs",
        shows_ratio=True,
    ),
    Goal(
        "whole jobs, Deferred, claims and completions of 100",
        "300 k jobs/s",
        "jobs",
        ("Deferred, groups of 100: actionqueue",),
        "python -m benchmarks.jobs",
    ),
    Goal(
        "the same, by the best peer with the same promise in the same run",
        "",
        "jobs",
        ("Deferred, groups of 100: actionqueue",),
        "python -m benchmarks.jobs",
        shows_ratio=True,
    ),
    Goal(
        "whole jobs, Immediate, groups of 100",
        "",
        "jobs",
        ("Immediate, groups of 100: actionqueue",),
        "python -m benchmarks.jobs",
    ),
    Goal(
        "the same, by the best peer with the same promise in the same run",
        "",
        "jobs",
        ("Immediate, groups of 100: actionqueue",),
        "python -m benchmarks.jobs",
        shows_ratio=True,
    ),
    Goal(
        "whole jobs, Immediate, 8 threads, one call each",
        "",
        "jobs",
        ("Immediate, 8 threads: actionqueue",),
        "python -m benchmarks.jobs",
    ),
    Goal(
        "the same, by the best peer with the same promise in the same run",
        "",
        "jobs",
        ("Immediate, 8 threads: actionqueue",),
        "python -m benchmarks.jobs",
        shows_ratio=True,
    ),
    Goal(
        "a claim of one of 1 M ready runs, by that of one of 1 k",
        "",
        "jobs",
        ("claim(limit=1): 1,000,000 runs ready",),
        "python -m benchmarks.jobs",
        shows_ratio=True,
    ),
    Goal(
        "a tick with 100 of 1 M scheduled runs due, by that with 1 k",
        "",
        "jobs",
        ("tick, 100 due: 1,000,000 runs scheduled",),
        "python -m benchmarks.jobs",
        shows_ratio=True,
    ),
    Goal(
        "opening 1 M ready runs from a snapshot to the first claim, by opening alone",
        "",
        "jobs",
        ("1,000,000 ready runs: open a snapshot and claim",),
        "python -m benchmarks.jobs",
        shows_ratio=True,
    ),
)


def number(value: float) -> str:
    """Return three digits, or all that stand before the point if these are more."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004


def spread_of(row: Row, *, shows_ratio: bool) -> str:
    """Return a median and its spread, or the ratio's."""
    spread = row.ratio if shows_ratio else row.spread
    if spread is None:
        return "not measured"
    unit = "times" if shows_ratio else row.unit
    only = spread.minimum == spread.maximum
    return f"**{number(spread.median)}** {unit}" + (
        "" if only else f" ({number(spread.minimum)} - {number(spread.maximum)})"
    )


def table_of_goals(results: Mapping[str, Result]) -> str:
    """Return the table in Markdown, which says so where no result has a figure."""
    lines = ["| figure | goal | measured: median (spread) | command |", "|---|---|---|---|"]
    for goal in GOALS:
        rows = (
            {row.name: row for row in results[goal.benchmark].rows}
            if goal.benchmark in results
            else {}
        )
        found = [
            spread_of(rows[name], shows_ratio=goal.shows_ratio)
            for name in goal.rows
            if name in rows
        ]
        lines.append(
            f"| {goal.what} | {goal.goal} | {'; '.join(found) or 'not measured'} | "
            f"`{goal.command}` |"
        )
    return "\n".join(lines)


def machine_of_results(results: Mapping[str, Result]) -> str:
    """Return a text about the machine and the commits of the measurements."""
    first = results[min(results)]
    machine = first.machine
    commits = ", ".join(sorted({result.commit for result in results.values()}))
    return (
        f"{machine.processor}, {machine.cores} cores; {machine.system}; {machine.python}; "
        f"{machine.file_system} on {machine.device}. Commit {commits}, {first.started_at[:10]}."
    )
