"""``actionqueue dump``: print what a queue's log adds up to."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from actionqueue import inspection
from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import count, print_json
from actionqueue.cli.run_lines import print_runs
from actionqueue.cli.tables import OutputConsole, counts_table, states_table
from actionqueue.json.projection import projection_rows, projection_to_text
from actionqueue.projection import Projection
from actionqueue.texts import moment

__all__ = ["dump"]

RUNS_SHOWN = 20


@click.command()
@directory_argument
@json_option
@click.option(
    "--jsonl",
    "as_rows",
    is_flag=True,
    help="Print everything as JSON, one object a line, each with its kind.",
)
def dump(directory: Path, *, as_json: bool, as_rows: bool) -> None:
    """Print what the log adds up to.

    Prints an overview for people; with --json one object on one line, in the form that other
    implementations share; with --jsonl everything, also what that form leaves out (run policies,
    safety levels, hold policies, required capabilities, filters): the queue, tasks, dependencies,
    runs with their history and attempts, budgets, subscriptions, actors, tenants, roles,
    capabilities and the ledger.
    """
    if as_json and as_rows:
        raise click.UsageError("--json and --jsonl do not go together")
    projection = inspection.read_projection(directory)
    if as_rows:
        for row in projection_rows(projection):
            print_json(row)
    elif as_json:
        for piece in projection_to_text(projection):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.write(b"\n")
    else:
        _print_overview(projection)


def _print_overview(projection: Projection) -> None:
    console = OutputConsole()
    engine = projection.engine
    paused = f"paused since {moment(engine.paused_at or 0)}" if engine.is_paused else "running"
    console.print(f"Sequence {count(projection.latest_sequence)}, engine {paused}")
    console.print(counts_table(msgspec.structs.asdict(projection.counts())))
    console.print(
        states_table({state.value: runs for state, runs in projection.counts_by_state().items()})
    )
    if projection.counts().runs:
        _print_runs(console, projection)


def _print_runs(console: OutputConsole, projection: Projection) -> None:
    run_ids = projection.run_ids()
    console.print(
        "Runs"
        if len(run_ids) <= RUNS_SHOWN
        else f"The last {RUNS_SHOWN} of {count(len(run_ids))} runs",
        style="italic",
    )
    print_runs(console, projection, run_ids[-RUNS_SHOWN:])
