"""``actionqueue reschedule``: give a run another time or priority."""

from __future__ import annotations

from pathlib import Path

import click

from actionqueue.cli.options import directory_argument, run_argument
from actionqueue.cli.steps import scheduler_of
from actionqueue.limits import CALENDAR_SECONDS_MAX, I32_MAX, I32_MIN
from actionqueue.model import RunId

__all__ = ["reschedule"]


@click.command()
@directory_argument
@run_argument
@click.option(
    "--at",
    "time",
    type=click.IntRange(0, CALENDAR_SECONDS_MAX),
    metavar="SECONDS",
    help="When it is due, in Unix seconds, if it is scheduled or waits for a retry.",
)
@click.option(
    "--priority",
    type=click.IntRange(I32_MIN, I32_MAX),
    metavar="N",
    help="Its priority; higher ones are started first.",
)
def reschedule(directory: Path, run_id: RunId, *, time: int | None, priority: int | None) -> None:
    """Give a run another time, another priority, or both.

    Refused while the queue is open elsewhere, for a run that was started or is at its end, and
    another time for a run that waits for none: one that is ready or suspended.
    """
    if time is None and priority is None:
        raise click.UsageError("Give --at, --priority, or both.")
    with scheduler_of(directory) as scheduler:
        scheduler.reschedule(run_id, at=time, priority=priority)
