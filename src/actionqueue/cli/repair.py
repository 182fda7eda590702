"""``actionqueue repair``: make a damaged queue open again, at the price of what can't be read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from actionqueue.cli.exit_codes import ExitCode
from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import count, print_json, size
from actionqueue.cli.progress import run_with_bar
from actionqueue.damage import repair as repair_queue

__all__ = ["repair"]


@click.command()
@directory_argument
@json_option
@click.option("--accept-data-loss", is_flag=True, help="Do it. Without this, only say what would be lost.")
def repair(directory: Path, *, as_json: bool, accept_data_loss: bool) -> int:
    """Make a damaged queue open again.

    Everything that verifies up to the first gap is kept, in a snapshot that the log goes on from; the old files are moved
    to quarantine/, where nothing is deleted. Without --accept-data-loss it only tells what would be kept and lost, changes
    nothing, and ends with the exit code of a damaged log. A queue that opens as it is is left alone. Refused while the
    queue is open elsewhere.
    """
    report = run_with_bar(
        "repairing" if accept_data_loss else "examining",
        lambda progress: repair_queue(directory, accept_data_loss=accept_data_loss, progress=progress),
    )
    found = report.as_dict()
    if as_json:
        print_json(found)
    else:
        sys.stdout.write(_text(found, accept_data_loss=accept_data_loss))
    return ExitCode.CORRUPT if report.is_damaged and not accept_data_loss else ExitCode.OK


def _text(found: dict[str, Any], *, accept_data_loss: bool) -> str:
    if not found["is_damaged"]:
        return "the queue opens as it is; nothing was done\n"
    damage = found["damage"]
    where = "" if damage["segment"] is None else f" segment {damage['segment']}, offset {damage['offset']}:"
    lines = [f"damage    {damage['path']}:{where} {damage['reason']}"]
    kept = "keeps" if not accept_data_loss else "kept"
    last = found["kept_sequence"]
    lines.append(f"{kept:<9} " + (f"sequences 1 to {last}" if last else "nothing: no event can be read"))
    lost = "loses" if not accept_data_loss else "lost"
    if found["lost_first"] is None:
        lines.append(f"{lost:<9} no event that is known of")
    else:
        readable = f"; {count(found['readable_events'])} of them are readable behind the gap" if found["readable_events"] else ""
        lines.append(f"{lost:<9} sequences {found['lost_first']} to {found['lost_last']}{readable}")
    if accept_data_loss:
        lines.append(f"moved     {count(found['quarantined_files'])} files, {size(found['quarantined_bytes'])}, to quarantine/")
    else:
        lines.append("nothing was changed; copy the directory, then run it again with --accept-data-loss")
    return "\n".join(lines) + "\n"
