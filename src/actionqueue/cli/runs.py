"""``actionqueue runs``: print the runs in a state."""

from __future__ import annotations

from pathlib import Path

import click

from actionqueue import inspection
from actionqueue.cli.options import RUN, directory_argument, json_option, limit_option
from actionqueue.cli.output import count, print_json
from actionqueue.cli.run_lines import print_runs
from actionqueue.cli.tables import OutputConsole
from actionqueue.json.projection import run_row
from actionqueue.model import RunId, RunState
from actionqueue.projection import Projection

__all__ = ["runs"]


@click.command()
@directory_argument
@json_option
@click.option(
    "--state",
    type=click.Choice([state.value for state in RunState]),
    metavar="STATE",
    help=f"Only runs in this state: {', '.join(RunState)}.",
)
@limit_option
@click.option("--after", type=RUN, metavar="RUN", help="Begin behind this run.")
def runs(
    directory: Path, *, as_json: bool, state: str | None, limit: int, after: RunId | None
) -> None:
    """Print runs, in the order in which they were created.

    Prints a line for each, with its lease below it; with --json one object a line, without the
    history and the attempts, which dump --jsonl has.
    """
    projection = inspection.read_projection(directory)
    if after is not None and projection.run_state(after) is None:
        raise click.BadParameter(f"The queue knows no run {after}.", param_hint="'--after'")
    found = projection.run_ids(state, limit + 1, after)
    first, has_more = found[:limit], len(found) > limit
    if as_json:
        for run_id in first:
            print_json(run_row(projection, run_id))
    else:
        _print_lines(projection, state, first, has_more=has_more)


def _print_lines(
    projection: Projection, state: str | None, first: list[RunId], *, has_more: bool
) -> None:
    console = OutputConsole()
    total = (
        projection.counts().runs if state is None else projection.counts_by_state()[RunState(state)]
    )
    kind = "runs" if state is None else f"{state} runs"
    if len(first) == total:
        title = f"{count(total)} {kind}"
    else:
        title = f"{count(len(first))} of {count(total)} {kind}"
    console.print(title, style="italic")
    if first:
        print_runs(console, projection, first)
    if has_more:
        only = "" if state is None else f"--state {state} "
        console.print(f"more: {only}--after {first[-1]}")
