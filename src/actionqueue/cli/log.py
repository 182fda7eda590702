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
from actionqueue.errors import MalformedEventError
from actionqueue.jsonform.events import event_to_json
from actionqueue.limits import U64_MAX
from actionqueue.texts import rows_text

__all__ = ["log"]

_SEQUENCE = click.IntRange(0, U64_MAX)
VALUE_WIDTH = 60


@click.command()
@directory_argument
@json_option
@click.option("--from", "first", type=_SEQUENCE, default=None, metavar="N", help="Start at this sequence, not at the oldest.")
@click.option("--to", "last", type=_SEQUENCE, default=U64_MAX, metavar="N", help="End with this sequence.")
@click.option("--salvage", is_flag=True, help="Of a damaged queue print, as JSON, every event that can still be read.")
@click.option("--follow", "-f", is_flag=True, help="Go on with every event as it becomes durable, until interrupted.")
def log(directory: Path, *, as_json: bool, first: int | None, last: int, follow: bool, salvage: bool) -> None:
    """Print the log's records, oldest first.

    These are the records that a writer would recover; of a queue that is open elsewhere, and with --follow, those of
    durable events. A line has sequence, segment:offset, size, batch (an opening bracket where the next record belongs to
    the same batch, a closing one at its end), kind and fields. Close markers and pads have the sequence of the last event
    before them.

    --salvage reads past damage, also what repairs have moved to quarantine/, and tells on standard error what is missing.
    "moved" says where an event comes from: null for the log, or what the names of the files in quarantine/ begin with. It
    takes no lock and changes nothing.
    """
    if salvage and follow:
        raise click.UsageError("--salvage and --follow do not go together")
    if first is not None and last < first:
        return
    if salvage:
        Salvage(directory, first or 0, last).run()
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


class Salvage:
    """Prints what can be read of a damaged log, and tells what is missing in between."""

    def __init__(self, directory: Path, first: int, last: int) -> None:
        self.directory, self.first, self.last = directory, first, last
        self.moved: str | None = None
        self.previous = 0
        self.count = 0

    def run(self) -> None:
        """Print the log, then what each repair has moved away."""
        for moved in (None, *inspection.moved_logs(self.directory)):
            self.moved, self.previous, self.count = moved, 0, 0
            inspection.salvage(self.directory, self._show, moved=moved)
            self._tell(f"{self.count} events can be read" + (f", up to sequence {self.previous}" if self.count else ""))

    def _show(self, record: inspection.LogRecord) -> None:
        if record.sequence > self.previous + 1:
            missing = rows_text(((self.previous + 1, record.sequence - 1),))
            self._tell(f"sequence {missing} is not there" if missing.isdecimal() else f"sequences {missing} are not there")
        elif record.sequence <= self.previous:
            self._tell(f"sequence {record.sequence} comes again, at {record.segment}:{record.offset}")
        self.previous = record.sequence
        self.count += 1
        if not self.first <= record.sequence <= self.last:
            return
        try:
            fields = _record_to_json(record)
        except MalformedEventError as error:
            fields = _record_to_json(record, is_event=False)
            self._tell(f"sequence {record.sequence}: {error}")
        print_json({"moved": self.moved, **fields})

    def _tell(self, text: str) -> None:
        where = "wal" if self.moved is None else f"quarantine/{self.moved}*"
        print(f"{where}: {text}", file=sys.stderr)


def _between(records: Iterator[inspection.LogRecord], first: int, last: int) -> Iterator[inspection.LogRecord]:
    for record in records:
        if record.sequence > last:
            return
        if record.sequence >= first:
            yield record


def _record_to_json(record: inspection.LogRecord, *, is_event: bool = True) -> dict[str, Any]:
    return {
        "segment": record.segment,
        "offset": record.offset,
        "sequence": record.sequence,
        "kind": record.name,
        "batch": record.batch,
        "size": record.size,
        "watermark": record.watermark,
        "event": event_to_json(record.event()) if record.is_event and is_event else None,
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
