"""``actionqueue log``: a queue's records, one a line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from actionqueue import inspection
from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import print_json, printable
from actionqueue.jsonform.events import event_to_json
from actionqueue.limits import U64_MAX

__all__ = ["log"]

_SEQUENCE = click.IntRange(0, U64_MAX)
VALUE_WIDTH = 60


@click.command()
@directory_argument
@json_option
@click.option("--from", "first", type=_SEQUENCE, default=None, metavar="N", help="Start at this sequence, not at the oldest.")
@click.option("--to", "last", type=_SEQUENCE, default=U64_MAX, metavar="N", help="End with this sequence.")
@click.option("--follow", "-f", is_flag=True, help="Go on with every event as it becomes durable, until interrupted.")
def log(directory: Path, *, as_json: bool, first: int | None, last: int, follow: bool) -> None:
    """Print the log's records, oldest first.

    These are the records that a writer would recover; of a queue that is open elsewhere, and with --follow, those of
    durable events. A line has sequence, segment:offset, size, batch (an opening bracket where the next record belongs to
    the same batch, a closing one at its end), kind and fields. Close markers and pads have the sequence of the last event
    before them.
    """
    if first is not None and last < first:
        return
    if follow:
        records = inspection.follow_records(directory, after=None if first is None else max(first, 1) - 1)
    else:
        records = inspection.iterate_records(directory)
    for record in _between(records, first or 0, last):
        if as_json:
            print_json(_record_to_json(record))
        else:
            sys.stdout.write(_line(record))
        if follow:
            sys.stdout.flush()
        if follow and record.sequence == last:
            return


def _between(records: Iterator[inspection.LogRecord], first: int, last: int) -> Iterator[inspection.LogRecord]:
    for record in records:
        if record.sequence > last:
            return
        if record.sequence >= first:
            yield record


def _record_to_json(record: inspection.LogRecord) -> dict[str, Any]:
    return {
        "segment": record.segment,
        "offset": record.offset,
        "sequence": record.sequence,
        "kind": record.name,
        "batch": record.batch,
        "size": record.size,
        "watermark": record.watermark,
        "event": event_to_json(record.event()) if record.is_event else None,
    }


def _line(record: inspection.LogRecord) -> str:
    mark = {"open": "(", "end": ")"}.get(record.batch or "", " ")
    place = f"{record.segment}:{record.offset}"
    line = f"{record.sequence:>10}  {place:>14}  {record.size:>6} B {mark} {record.name:<22} {_details(record)}"
    return line.rstrip() + "\n"


def _details(record: inspection.LogRecord) -> str:
    """Return the event's fields that are there, as name=value."""
    if not record.is_event:
        return ""
    fields = event_to_json(record.event())
    del fields["type"], fields["sequence"]
    return " ".join(f"{name}={_short(value)}" for name, value in _flat(fields) if value not in (None, [], ""))


def _flat(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name, value


def _short(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    text = printable(text)
    return text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 1] + "…"
