"""``actionqueue resume``: have schedulers hand out runs again."""

from __future__ import annotations

from pathlib import Path

import click

from actionqueue.cli.options import directory_argument
from actionqueue.cli.steps import scheduler_of

__all__ = ["resume"]


@click.command()
@directory_argument
def resume(directory: Path) -> None:
    """Resume the engine, which pause has paused.

    Nothing happens where it is not paused. Refused while the queue is open elsewhere.
    """
    with scheduler_of(directory) as scheduler:
        scheduler.resume()
