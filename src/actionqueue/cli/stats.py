"""``actionqueue stats``: print sizes of the log and counts of the projection."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from actionqueue import inspection
from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import count, print_json, size
from actionqueue.cli.tables import OutputConsole, counts_table, facts_table, states_table

__all__ = ["stats"]


@click.command()
@directory_argument
@json_option
@click.option(
    "--replay",
    is_flag=True,
    help="Count what a large queue holds now, in the time and memory that opening it takes.",
)
def stats(directory: Path, *, as_json: bool, replay: bool) -> None:
    """Print sizes of the files and counts of what the queue holds.

    Without --replay, the counts of a queue of more than a million events and rows are those of its
    newest snapshot.
    """
    found = inspection.statistics(directory, replays=replay or None)
    if as_json:
        print_json(found)
    else:
        _print_tables(found)


def _print_tables(found: dict[str, Any]) -> None:
    log = found["log"]
    console = OutputConsole()
    facts = {
        "open for writing": "yes" if log["has_writer"] else "no",
        "history": log["history"] or "a copy has none before its first writer",
        "last sequence": str(log["last_sequence"]),
        "durable sequence": str(log["durable_sequence"]),
        "segments": count(log["segments"]),
        "size of segments": size(log["segment_bytes"]),
        "snapshots as of": ", ".join(map(str, log["snapshots"])) or "none",
        "size of snapshots": size(log["snapshot_bytes"]),
        "snapshot passed over": log["snapshot_damage"] or "none",
        "files in quarantine": count(log["quarantined_files"]),
        "size of quarantine": size(log["quarantined_bytes"]),
        "room on the disk": size(log["disk_bytes"]),
    }
    console.print(facts_table("Log", facts))
    if found["projection"] is None:
        console.print("The queue has no snapshot with counts: use --replay to count.")
    else:
        console.print(counts_table(found["projection"]))
    if found["runs_by_state"] is not None:
        console.print(states_table(found["runs_by_state"]))
    elif found["projection"] is not None:
        console.print(
            f"These are the counts of a snapshot as of sequence {found['counted_sequence']}: use "
            "--replay to count now, by state too."
        )
