"""``actionqueue dump``: what a queue's log adds up to."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.table import Table
from rich.text import Text

from actionqueue import inspection
from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import count, print_json, printable
from actionqueue.cli.tables import OutputConsole, counts_table, states_table
from actionqueue.jsonform.projection import projection_to_json
from actionqueue.projection import Projection

__all__ = ["dump"]

RUNS_SHOWN = 20


@click.command()
@directory_argument
@json_option
def dump(directory: Path, *, as_json: bool) -> None:
    """Print what the log adds up to.

    An overview for people; with --json the whole projection, on one line.
    """
    projection = inspection.read_projection(directory)
    if as_json:
        print_json(projection_to_json(projection))
    else:
        _print_overview(projection)


def _print_overview(projection: Projection) -> None:
    console = OutputConsole()
    engine = projection.engine
    paused = f"paused since {engine.paused_at}" if engine.is_paused else "running"
    console.print(f"Sequence {count(projection.latest_sequence)}, engine {paused}")
    console.print(counts_table(msgspec.structs.asdict(projection.counts())))
    console.print(states_table({state.value: runs for state, runs in projection.counts_by_state().items()}))
    if projection.counts().runs:
        console.print(_runs_table(projection))


def _runs_table(projection: Projection) -> Table:
    run_ids = projection.run_ids()
    title = "Runs" if len(run_ids) <= RUNS_SHOWN else f"The last {RUNS_SHOWN} of {count(len(run_ids))} runs"
    table = Table(title=title)
    table.add_column("run", no_wrap=True)
    for name in ("state", "since", "attempts", "lease"):
        table.add_column(name, overflow="fold")
    for run_id in run_ids[-RUNS_SHOWN:]:
        run, lease = projection.run(run_id), projection.lease(run_id)
        if run is None:
            continue
        held = "" if lease is None else f"{printable(lease.owner)} until {lease.expiry}"
        table.add_row(str(run_id), run.state, str(run.last_state_change_at), str(run.attempt_count), Text(held))
    return table
