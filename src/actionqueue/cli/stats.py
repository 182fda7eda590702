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
    """Print sizes and counts."""
    found = inspection.statistics(directory)
    if as_json:
        print_json(found)
    else:
        _print_tables(found)


def _print_tables(found: dict[str, Any]) -> None:
    log = found["log"]
    console = OutputConsole()
    facts = {
        "segments": count(log["segments"]),
        "size of their files": size(log["file_bytes"]),
        "records": count(log["records"]),
        "size of the records": size(log["bytes"]),
        "events": count(log["events"]),
        "last sequence": str(log["last_sequence"]),
        "durable sequence": str(log["durable_sequence"]),
        "events only in the ring": count(log["ring_events"]),
        "dropped bytes at the end": count(log["dropped_bytes"]),
        "last close": "clean" if log["is_clean"] else "not clean",
    }
    console.print(facts_table("Log", facts))
    console.print(counts_table(found["projection"]))
    console.print(states_table(found["runs_by_state"]))
