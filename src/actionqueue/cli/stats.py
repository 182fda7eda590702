"""``actionqueue stats``: sizes of the log and counts of the projection."""

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
def stats(directory: Path, *, as_json: bool) -> None:
    """Print sizes and counts: of the files, and of the projection as far as it can be read."""
    found = inspection.statistics(directory)
    if as_json:
        print_json(found)
    else:
        _print_tables(found)


def _print_tables(found: dict[str, Any]) -> None:
    log = found["log"]
    console = OutputConsole()
    facts = {
        "open for writing": "yes" if log["has_writer"] else "no",
        "last sequence": str(log["last_sequence"]),
        "durable sequence": str(log["durable_sequence"]),
        "segments": count(log["segments"]),
        "size of segments": size(log["segment_bytes"]),
        "snapshots as of": ", ".join(map(str, log["snapshots"])) or "none",
        "size of snapshots": size(log["snapshot_bytes"]),
        "snapshot passed over": log["snapshot_damage"] or "none",
        "files in quarantine": count(log["quarantined_files"]),
        "size of quarantine": size(log["quarantined_bytes"]),
    }
    console.print(facts_table("Log", facts))
    console.print(counts_table(found["projection"]))
    console.print(states_table(found["runs_by_state"]))
