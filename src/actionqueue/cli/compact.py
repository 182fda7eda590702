"""``actionqueue compact``: drop what snapshots make superfluous."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import count, print_json, size
from actionqueue.cli.progress import open_with_bar, run_with_bar
from actionqueue.limits import U64_MAX

__all__ = ["compact"]


@click.command()
@directory_argument
@json_option
@click.option(
    "--retention-seconds",
    type=click.IntRange(0, U64_MAX),
    default=None,
    metavar="N",
    help="Forget the runs that ended at least so long ago, and the tasks that they leave without a run. Without it: forget nothing.",
)
def compact(directory: Path, *, as_json: bool, retention_seconds: int | None) -> None:
    """Write a snapshot and drop the segments that the snapshot before it covers.

    So the log always goes back to the older of two snapshots, and one that is damaged loses nothing. The first time,
    there is only one, and no segment is dropped. Refused while the queue is open elsewhere: an open queue compacts itself.
    """
    with open_with_bar(directory, create=False, compaction=None) as queue:
        done = run_with_bar("compacting", lambda progress: queue.compact(retention_seconds=retention_seconds, progress=progress))
    if as_json:
        print_json(msgspec.to_builtins(done))
        return
    lines = [f"snapshot  sequence {done.sequence}, {size(done.file_bytes)}" if done.sequence else "snapshot  none: there is no event yet"]
    if done.purged_runs or done.purged_tasks:
        lines.append(f"forgotten {count(done.purged_runs)} runs, {count(done.purged_tasks)} tasks")
    dropped = f"{count(done.dropped_segments)} segments, {count(done.dropped_snapshots)} snapshots"
    lines.append(f"dropped   {dropped}, {size(done.dropped_bytes)}")
    lines.append("log       kept " + (f"from behind sequence {done.kept_sequence}" if done.kept_sequence else "whole"))
    sys.stdout.write("\n".join(lines) + "\n")
