"""``actionqueue retry``: try a run again now."""

from __future__ import annotations

from pathlib import Path

import click

from actionqueue.cli.options import directory_argument, run_argument
from actionqueue.cli.steps import scheduler_of
from actionqueue.model import RunId

__all__ = ["retry"]


@click.command()
@directory_argument
@run_argument
def retry(directory: Path, run_id: RunId) -> None:
    """Make a run ready that waits for its next attempt.

    A run that has ended has no next attempt. Refused while the queue is open elsewhere.
    """
    with scheduler_of(directory) as scheduler:
        scheduler.retry(run_id)
