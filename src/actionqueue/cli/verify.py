"""``actionqueue verify``: check that everything in the log is as it was written, and replays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from actionqueue import inspection
from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import count, print_json, size
from actionqueue.cli.progress import run_with_bar
from actionqueue.errors import CorruptLogError

__all__ = ["verify"]


@click.command()
@directory_argument
@json_option
def verify(directory: Path, *, as_json: bool) -> None:
    """Check the whole log and every snapshot.

    Reads every record, checks every checksum, and replays every event; what the log adds up to must
    be what each snapshot holds. An interrupted write leaves a torn tail: verify reports it, but it
    is no damage. Damage is reported on standard error, with segment, offset, reason, the sequences
    that can't be read, and those that can but that a repair would give up. Refused while the queue
    is open elsewhere.
    """
    try:
        found = run_with_bar("verifying", lambda progress: inspection.verify(directory, progress))
    except CorruptLogError as error:
        if as_json:
            print_json({"ok": False, **{name: getattr(error, name) for name in error.fields}})
        raise
    if as_json:
        print_json({"ok": True, **found})
    else:
        sys.stdout.write(_report(found))


def _report(found: dict[str, Any]) -> str:
    records, events, segments = (count(found[name]) for name in ("records", "events", "segments"))
    lines = [
        f"checked   {records} records, {size(found['bytes'])}, in segments: {segments}; all valid",
        f"replayed  {events} events; the projection takes them all",
    ]
    if found["events"]:
        first, last, durable = (found[f"{name}_sequence"] for name in ("first", "last", "durable"))
        lines.append(f"sequences {first} to {last}, durable up to {durable}")
    if found["snapshots"]:
        lines.append(
            f"snapshots as of {', '.join(map(str, found['snapshots']))}; valid, and equal to what "
            "the log adds up to"
        )
    if found["ring_events"]:
        only = count(found["ring_events"])
        lines.append(
            f"ring      only it has {only} events; the next writer puts them into a segment"
        )
    lines.append(
        "close     " + ("clean" if found["is_clean"] else "not clean; the next writer recovers")
    )
    if found["drop_reason"] is not None:
        lines.append(_torn_tail(found))
    return "\n".join([*lines, "no damage\n"])


def _torn_tail(found: dict[str, Any]) -> str:
    what = "an unfinished batch" if found["drop_reason"] == "batch" else "a torn append"
    if found["dropped_bytes"]:
        where = (
            f"{count(found['dropped_bytes'])} bytes at offset {found['dropped_from']} of the "
            "newest segment"
        )
    else:
        where = f"what the ring holds behind sequence {found['last_sequence']}"
    events = found["dropped_events"]
    among = (
        f", {count(events)} whole events among them, acknowledged as Deferred at most"
        if events
        else ""
    )
    verb = "do" if found["dropped_bytes"] else "does"
    return (
        f"tail      {what}: {where}{among}, {verb} not count; the next writer keeps a copy in "
        "quarantine/"
    )
