"""``actionqueue repair``: make a damaged queue open again, without the events it can't read."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from actionqueue.cli.exit_codes import ExitCode
from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import count, print_json, size
from actionqueue.cli.progress import run_with_bar
from actionqueue.damage import RepairReport
from actionqueue.damage import repair as repair_queue
from actionqueue.texts import rows_text

__all__ = ["repair"]


@click.command()
@directory_argument
@json_option
@click.option(
    "--accept-data-loss",
    is_flag=True,
    help="Repair the queue. Without it, only report what that would lose.",
)
def repair(directory: Path, *, as_json: bool, accept_data_loss: bool) -> int:
    """Make a damaged queue open again.

    Keeps everything that verifies up to the first gap, in a snapshot from which the log goes on,
    and moves the old files to quarantine/, where it deletes nothing. Without --accept-data-loss it
    only reports what a repair would keep and lose, changes nothing, and ends with the exit code of
    a damaged log. If not even the first event can be read, it keeps nothing. log --salvage still
    prints what a repair gives up. Leaves a queue that opens as it is alone. Refused while the queue
    is open elsewhere.
    """
    report = run_with_bar(
        "repairing" if accept_data_loss else "examining",
        lambda progress: repair_queue(
            directory, accept_data_loss=accept_data_loss, progress=progress
        ),
    )
    if as_json:
        print_json(report.as_dict())
    else:
        sys.stdout.write(_text(report, directory, accept_data_loss=accept_data_loss))
    return ExitCode.CORRUPT if report.is_damaged and not accept_data_loss else ExitCode.OK


def _text(report: RepairReport, directory: Path, *, accept_data_loss: bool) -> str:
    if report.damage is None:
        return "the queue opens as it is; nothing was done\n"
    damage = report.damage
    where = "" if damage.segment is None else f" segment {damage.segment}"
    where += "" if damage.offset is None else f", offset {damage.offset}"
    lines = [
        f"damage    {damage.path}:{where}{':' if where else ''} {damage.reason}, {damage.meaning}"
    ]
    kept, lost = ("kept", "lost") if accept_data_loss else ("keeps", "loses")
    last = report.kept_sequence
    nothing = (
        "nothing: the first event can't be read"
        if report.given_up
        else "nothing: no event can be read"
    )
    lines.append(f"{kept:<9} " + (f"sequences 1 to {last}" if last else nothing))
    if report.lost_first is None:
        is_gone = damage.reason == "segment_missing"
        unknown = "what the missing file had, which nothing tells" if is_gone else "no known event"
        lines.append(f"{lost:<9} {unknown}")
    else:
        lines.append(
            f"{lost:<9} sequences "
            f"{rows_text(((report.lost_first, report.lost_last or report.lost_first),))}"
        )
        if report.unreadable:
            lines.append(f"          not readable: {rows_text(report.unreadable)}")
        if report.given_up:
            salvage = f"actionqueue log --salvage {directory.as_posix()}"
            lines.append(
                f"          readable, but not without a gap: {rows_text(report.given_up)}; "
                f"`{salvage}` prints them"
            )
    if report.begins_anew:
        verb = "begins" if accept_data_loss else "would begin"
        lines.append(
            f"then      there is no queue any more: the next writer that opens it {verb} a new "
            "one, at sequence 1"
        )
    if accept_data_loss:
        lines.append(
            f"moved     {count(report.quarantined_files)} files, {size(report.quarantined_bytes)}, "
            f"to {directory.as_posix()}/quarantine/"
        )
    else:
        lines.append(
            "nothing was changed; copy the directory, then run it again with --accept-data-loss"
        )
    return "\n".join(lines) + "\n"
