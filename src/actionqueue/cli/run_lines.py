"""Runs as lines for people."""

from __future__ import annotations

from collections.abc import Iterable

from rich.padding import Padding
from rich.text import Text

from actionqueue.cli.output import printable
from actionqueue.cli.tables import OutputConsole
from actionqueue.model import RunId
from actionqueue.projection import Projection
from actionqueue.texts import moment

__all__ = ["print_runs"]


def print_runs(console: OutputConsole, projection: Projection, run_ids: Iterable[RunId]) -> None:
    """Print a line for each run, and its lease below it, whose owner may have any length."""
    console.print(_row("run", "state", "since", "attempts"), style="bold")
    for run_id in run_ids:
        run, lease = projection.run(run_id), projection.lease(run_id)
        if run is None:
            continue
        console.print(
            _row(str(run_id), run.state, moment(run.last_state_change_at), str(run.attempt_count))
        )
        if lease is not None:
            held = Text(
                f"leased by {printable(lease.owner)} until {moment(lease.expiry)}", overflow="fold"
            )
            console.print(Padding(held, (0, 0, 0, 4), expand=False))


def _row(*cells: str) -> Text:
    """Return a line of 79 columns: the old console of Windows breaks one of 80."""
    return Text("{:<36}  {:<10}  {:<20} {:>8}".format(*cells))
