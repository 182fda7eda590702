"""``actionqueue snapshot``: write the projection to a file, so that openings replay less."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import count, print_json, size
from actionqueue.cli.progress import open_with_bar, run_with_bar

__all__ = ["snapshot"]


@click.command()
@directory_argument
@json_option
def snapshot(directory: Path, *, as_json: bool) -> None:
    """Write a snapshot of everything in the log.

    The next open loads it, and replays only the events after it. The queue keeps two snapshots; the
    log stays as it is (see compact). Refused while the queue is open elsewhere: an open queue makes
    its own, by its policy or when the program says so.
    """
    with open_with_bar(directory, create=False, compaction=None) as queue:
        made = run_with_bar(
            "writing a snapshot", lambda progress: queue.snapshot(progress=progress)
        )
    if as_json:
        print_json(msgspec.to_builtins(made))
    elif made.is_new:
        sys.stdout.write(
            f"snapshot  sequence {made.sequence}, {size(made.file_bytes)}, "
            f"{count(made.replayed_events)} events since the one before\n"
        )
    elif made.sequence:
        sys.stdout.write(f"snapshot  the one as of sequence {made.sequence} has everything\n")
    else:
        sys.stdout.write("snapshot  none: the log has no event yet\n")
