"""``actionqueue why``: print what a run waits for."""

from __future__ import annotations

from pathlib import Path

import click

from actionqueue import inspection
from actionqueue.cli.options import directory_argument, json_option, run_argument
from actionqueue.cli.output import print_json
from actionqueue.cli.run_lines import print_runs
from actionqueue.cli.tables import OutputConsole
from actionqueue.model import RunId, RunState
from actionqueue.texts import moment
from actionqueue.wait_reasons import WaitReason

__all__ = ["why"]


@click.command()
@directory_argument
@run_argument
@json_option
def why(directory: Path, run_id: RunId, *, as_json: bool) -> None:
    """Print what keeps a run from being started.

    That is its time, a key that another run holds, a prerequisite, a budget and so on. With --json
    prints one object, with the run's state and the reasons.
    """
    projection = inspection.read_projection(directory)
    state, reasons = projection.run_state(run_id), projection.why_waiting(run_id)
    if state is None or reasons is None:
        raise click.BadParameter(f"The queue knows no run {run_id}.", param_hint="'RUN'")
    if as_json:
        print_json(
            {
                "run_id": str(run_id),
                "state": state,
                "reasons": [_row(reason) for reason in reasons],
            }
        )
        return
    console = OutputConsole()
    print_runs(console, projection, [run_id])
    for reason in reasons:
        until = "" if reason.until is None else f" ({moment(reason.until)})"
        console.print(f"waits: {reason}{until}")
    if not reasons:
        console.print(_without_reasons(state))


def _row(reason: WaitReason) -> dict[str, object]:
    about = {
        "until": reason.until,
        "task_id": None if reason.task_id is None else str(reason.task_id),
        "dimension": reason.dimension,
        "run_id": None if reason.run_id is None else str(reason.run_id),
    }
    return {"kind": reason.kind, "text": str(reason)} | {
        name: value for name, value in about.items() if value is not None
    }


def _without_reasons(state: RunState) -> str:
    if state is RunState.READY:
        return "nothing keeps it from being started"
    return "it is at its end" if state.is_terminal else "it waits for nothing: it was started"
