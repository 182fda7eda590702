"""``actionqueue due``: print what a scheduler should have done by now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import click
from rich.text import Text

from actionqueue import inspection
from actionqueue.cli.options import directory_argument, json_option, limit_option
from actionqueue.cli.output import print_json
from actionqueue.cli.tables import OutputConsole
from actionqueue.clock import now
from actionqueue.limits import U64_MAX
from actionqueue.projection import Projection, TimedRun
from actionqueue.texts import moment

__all__ = ["due"]

_Query: TypeAlias = Callable[[Projection, int, int], list[TimedRun]]
_QUERIES: tuple[tuple[str, str, _Query], ...] = (
    ("run", "due", Projection.due),
    ("lease", "lease expired", Projection.expiring_leases),
    ("attempt", "attempt overdue", Projection.overdue_attempts),
)


@click.command()
@directory_argument
@json_option
@limit_option
@click.option(
    "--at",
    "time",
    type=click.IntRange(0, U64_MAX),
    metavar="SECONDS",
    help="The time to look from, in Unix seconds.  [default: now]",
)
def due(directory: Path, *, as_json: bool, limit: int, time: int | None) -> None:
    """Print what is due: runs, expired leases, and attempts that take too long.

    Runs are due that are scheduled or wait for a retry, from their time on. An attempt takes too
    long after its task's timeout_secs. The limit is for each of the three, and the earliest come
    first. With --json prints one object a line, whose kind is run, lease or attempt.
    """
    projection = inspection.read_projection(directory)
    until = now() if time is None else time
    if as_json:
        for kind, _, query in _QUERIES:
            for at, run_id in query(projection, until, limit):
                print_json({"kind": kind, "run_id": str(run_id), "time": at})
    else:
        _print_lines(projection, until, limit)


def _print_lines(projection: Projection, until: int, limit: int) -> None:
    console = OutputConsole()
    answers = [(words, query(projection, until, limit + 1)) for _, words, query in _QUERIES]
    if not any(found for _, found in answers):
        console.print(_what_is_next(projection))
        return
    console.print(_row("run", "what", "since"), style="bold")
    for words, found in answers:
        for at, run_id in found[:limit]:
            console.print(_row(str(run_id), words, moment(at)))
        if len(found) > limit:
            console.print(f"more of these: raise --limit {limit}")


def _row(*cells: str) -> Text:
    return Text("{:<36}  {:<15}  {:<20}".format(*cells))


def _what_is_next(projection: Projection) -> str:
    times = [
        (time, name)
        for time, name in (
            (projection.next_due(), "a run is due"),
            (projection.next_lease_expiry(), "a lease expires"),
            (projection.next_deadline(), "an attempt is overdue"),
        )
        if time is not None
    ]
    if not times:
        return "nothing is due, and nothing will be"
    time, name = min(times)
    return f"nothing is due; the next time that {name} is {moment(time)}"
