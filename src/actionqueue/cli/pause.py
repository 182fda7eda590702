"""``actionqueue pause``: have schedulers hand out nothing more."""

from __future__ import annotations

from pathlib import Path

import click

from actionqueue.cli.options import directory_argument
from actionqueue.cli.steps import scheduler_of

__all__ = ["pause"]


@click.command()
@directory_argument
def pause(directory: Path) -> None:
    """Pause the engine: no run is claimed until resume.

    Runs that are claimed go on. Nothing happens where it is paused already. Refused while the queue
    is open elsewhere: that process pauses its scheduler itself.
    """
    with scheduler_of(directory) as scheduler:
        scheduler.pause()
