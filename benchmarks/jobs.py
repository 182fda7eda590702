"""How many whole jobs a second this project's scheduler and other job queues for Python do.

A job is added with 100 bytes, claimed, and completed with 32 bytes of output, where the queue keeps
an output. Each queue is new, and used as its documentation shows, in one process; all jobs are
added first, then all are worked on. What is compared has the same promise: Deferred is what a
killed process can't take, Immediate what a power loss can't take either. The notes below the table
have each queue's settings, what it promises less all the same, and which calls for several jobs it
has for the groups: this project claims a hundred runs at a time, and in Immediate the hundred share
a sync a step.

The ratio of this project is to the best peer of its mode, that of a peer to this project. Each
queue takes as many jobs a round as make a second of work or so: this project 20,000 where its peers
take 1,000. So fewer jobs wait in a peer, which is no disadvantage to any of them, and what a round
begins and ends with weighs more there: a commit or two.

The other figures are of this project alone: a claim, a tick and an opening beside many runs.

    python -m benchmarks.jobs
    python -m benchmarks.jobs --only deferred immediate-threads --queues actionqueue huey
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from actionqueue.bench.spread import Spread
from actionqueue.temporary import temporary_directory
from benchmarks.job_peers import PEERS
from benchmarks.job_queues import OURS, How, Queue, calls, in_threads
from benchmarks.job_servers import OVER_SERVERS
from benchmarks.job_sizes import SIZE_FIGURES
from benchmarks.measure import Missing, Row, finish, interleave, parser, positive, result_of, row

THREADS = 8
GROUP = 100
HOW_TO_INSTALL = (
    "what is missing: pip install --group bench has the queues, make system-packages NEEDS=JOBS "
    "their servers"
)
WARM_UP_JOBS = 24
"""Jobs that a queue does at least before it is measured."""


class Mode(NamedTuple):
    """A promise, and how jobs are taken through the queues."""

    title: str
    how: How


MODES = {
    "deferred": Mode("Deferred, one by one", How(is_synced=False, group=1, threads=1)),
    "deferred-groups": Mode(
        f"Deferred, groups of {GROUP}",
        How(is_synced=False, group=GROUP, threads=1),
    ),
    "immediate-groups": Mode(
        f"Immediate, groups of {GROUP}", How(is_synced=True, group=GROUP, threads=1)
    ),
    "immediate-threads": Mode(
        f"Immediate, {THREADS} threads",
        How(is_synced=True, group=1, threads=THREADS),
    ),
}
QUEUES = {queue.name: queue for queue in (OURS, *PEERS, *OVER_SERVERS)}
NAMES = {queue.module: queue.name for queue in QUEUES.values()}
"""The queues' names for `--queues`, which have no spaces."""


def missing_of(queue: Queue, directory: Path) -> str:
    """Take a job through a queue; return why that can't be done, an empty text if it can."""
    try:
        import_module(queue.module)
        rate(queue, directory, How(is_synced=False, group=1, threads=1), 1)
    except (ImportError, OSError, RuntimeError) as error:
        return str(error).strip()
    return ""


def rate(queue: Queue, directory: Path, how: How, jobs: int) -> float:
    """Return the jobs a second that a new queue does, of a number of jobs at least.

    Raises LookupError where the queue did not do all jobs.
    """
    share = how.threads * how.group
    jobs = -(-jobs // share) * share
    opened = queue.open(Path(tempfile.mkdtemp(dir=directory)), how)
    try:
        adders = [opened.adder() for _ in range(how.threads)]
        warm_up = -(-WARM_UP_JOBS // share) * share
        in_threads(adders, warm_up)
        opened.work(warm_up)
        before = calls()
        seconds = in_threads(adders, jobs) + opened.work(jobs)
        done = calls() - before - 1
    finally:
        opened.close()
    if done != jobs:
        raise LookupError(f"{queue.name} did {done} of {jobs} jobs")
    return jobs / seconds


def rates_of(
    mode: Mode, queues: Sequence[Queue], directory: Path, options: argparse.Namespace
) -> list[Row]:
    """Measure the queues in one mode, in turns."""
    candidates = {}
    for queue in queues:
        jobs = options.peer_jobs
        if queue is OURS:
            jobs = options.durable_jobs if mode.how.threads > 1 else options.jobs
        candidates[queue.name] = partial(rate, queue, directory, mode.how, jobs)
    found = interleave(options.rounds, candidates)
    ours = found.get(OURS.name)
    peers = [name for name in found if name != OURS.name]
    best = max(peers, key=lambda name: Spread.of(found[name]).median, default=None)
    rows = []
    for name, rates in found.items():
        to = None if ours is None else (OURS.name, ours)
        if name == OURS.name:
            to = None if best is None else (best, found[best])
        rows.append(row(f"{mode.title}: {name}", "jobs/s", rates, to=to))
    return rows


def notes_of(queues: Sequence[Queue]) -> list[str]:
    """Return the settings of each queue."""
    notes = []
    for queue in queues:
        notes += [
            f"{queue.name}, Deferred: {queue.deferred}",
            f"{queue.name}, Immediate: {queue.immediate}",
        ]
        groups = queue.groups or "it has no such calls, and makes one call each"
        notes.append(f"{queue.name}, groups: {groups}")
    return notes


def draw(path: Path, options: argparse.Namespace, rows: Sequence[Row]) -> None:
    """Draw the rates into an SVG file, as `make bench-figures` does."""
    figures = import_module("benchmarks.figures")  # it needs matplotlib
    figures.save(figures.jobs_figure(result_of(options, rows)), path)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; end the process with a message where it makes no sense."""
    made = parser(__doc__ or "")
    numbers = (
        ("jobs", 20_000, "this project's jobs in a round with one thread"),
        ("durable-jobs", 2000, f"this project's jobs in a round of {THREADS} threads"),
        ("peer-jobs", 1000, "each peer's jobs in a round"),
        ("few", 1000, "runs of the small queue of claims and ticks"),
        ("many", 1_000_000, "runs of the large one, and of the openings"),
        ("claims", 2000, "claims of a queue in a round"),
        ("ticks", 5, "ticks of a queue in a round"),
    )
    for name, default, text in numbers:
        made.add_argument(
            f"--{name}",
            type=positive,
            default=default,
            metavar="N",
            help=f"{text}; default {default:,}",
        )
    made.add_argument(
        "--only",
        nargs="+",
        choices=[*MODES, *SIZE_FIGURES],
        default=[*MODES, *SIZE_FIGURES],
        help="which figures; default: all",
    )
    made.add_argument(
        "--queues", nargs="+", choices=list(NAMES), default=list(NAMES), help="default: all"
    )
    made.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the rates into this file, as SVG"
    )
    options = made.parse_args(arguments)
    if options.plot is not None:
        if not set(options.only) & set(MODES):
            made.error(f"--plot draws {', '.join(MODES)}: choose one of them")
        try:
            import_module("matplotlib")
        except ImportError as error:
            made.error(f"--plot: {error}; pip install --group bench")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    options = options_of(arguments)
    chosen = [QUEUES[NAMES[module]] for module in options.queues]
    is_compared = any(name in MODES for name in options.only)
    rows: list[Row] = []
    missing: list[Missing] = []
    with temporary_directory("actionqueue-bench-", options.directory) as directory:
        reasons = {queue.name: is_compared and missing_of(queue, directory) for queue in chosen}
        present = [queue for queue in chosen if not reasons[queue.name]]
        for name in options.only:
            if name in MODES:
                rows += rates_of(MODES[name], present, directory, options)
                missing += [
                    Missing(name=f"{MODES[name].title}: {queue}", reason=reason)
                    for queue, reason in reasons.items()
                    if reason
                ]
            else:
                rows += SIZE_FIGURES[name](directory, options)
    notes = notes_of(present) if is_compared else []
    if missing:
        notes.append(HOW_TO_INSTALL)
    code = finish(options, rows, notes, missing)
    if options.plot is not None:
        draw(options.plot, options, rows)
    return code


if __name__ == "__main__":
    sys.exit(main())
