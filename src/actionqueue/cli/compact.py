"""``actionqueue compact``: drop the part of the log that snapshots cover."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import count, print_json, size
from actionqueue.cli.progress import open_with_bar, run_with_bar
from actionqueue.limits import RING_SIZE_MIN, U64_MAX

__all__ = ["compact"]


@click.command()
@directory_argument
@json_option
@click.option(
    "--retention-seconds",
    type=click.IntRange(0, U64_MAX),
    default=None,
    metavar="N",
    help="Forget what ended at least N seconds ago: runs, the tasks that they leave without any, "
    "canceled subscriptions, deregistered actors. Without it: forget nothing.",
)
@click.option(
    "--ledger-retention-seconds",
    type=click.IntRange(0, U64_MAX),
    default=None,
    metavar="N",
    help="Forget the first lines of the ledger, as long as they are at least N seconds old. "
    "Without it: keep the ledger.",
)
@click.option(
    "--tombstone-seconds",
    type=click.IntRange(0, U64_MAX),
    default=None,
    metavar="N",
    help="For N seconds, refuse new tasks with the identifiers of the tasks forgotten now. Without "
    "it: accept them at once.",
)
def compact(
    directory: Path,
    *,
    as_json: bool,
    retention_seconds: int | None,
    ledger_retention_seconds: int | None,
    tombstone_seconds: int | None,
) -> None:
    """Write a snapshot and drop the segments that the snapshot before it covers.

    So the log always goes back to the older of two snapshots, and a damaged one loses nothing. The
    first time there is only one snapshot, and no segment goes. Refused while the queue is open
    elsewhere: an open queue compacts itself.
    """
    # The smallest ring will do, and on a full disk it frees the room of the larger one.
    with open_with_bar(directory, create=False, compaction=None, ring_size=RING_SIZE_MIN) as queue:
        done = run_with_bar(
            "compacting",
            lambda progress: queue.compact(
                retention_seconds=retention_seconds,
                ledger_retention_seconds=ledger_retention_seconds,
                tombstone_seconds=tombstone_seconds,
                progress=progress,
            ),
        )
    if as_json:
        print_json(msgspec.to_builtins(done))
        return
    lines = [
        f"snapshot  sequence {done.sequence}, {size(done.file_bytes)}"
        if done.sequence
        else "snapshot  none: the log has no event yet"
    ]
    always = {"runs": done.purged_runs, "tasks": done.purged_tasks}
    others = {
        "subscriptions": done.purged_subscriptions,
        "actors": done.purged_actors,
        "lines of the ledger": done.purged_ledger_entries,
    }
    forgotten = always | {name: number for name, number in others.items() if number}
    if any(forgotten.values()):
        lines.append(
            "forgotten "
            + ", ".join(f"{count(number)} {name}" for name, number in forgotten.items())
        )
    dropped = f"{count(done.dropped_segments)} segments, {count(done.dropped_snapshots)} snapshots"
    lines.append(f"dropped   {dropped}, {size(done.dropped_bytes)}")
    lines.append(
        "log       kept "
        + (f"from behind sequence {done.kept_sequence}" if done.kept_sequence else "whole")
    )
    sys.stdout.write("\n".join(lines) + "\n")
