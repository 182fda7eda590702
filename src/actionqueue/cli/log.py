"""``actionqueue log``: print a queue's records, one a line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from _wal_native.snapshot import list_snapshots
from actionqueue import inspection
from actionqueue.cli.options import directory_argument, json_option
from actionqueue.cli.output import print_json, printable
from actionqueue.directory import existing_directory
from actionqueue.errors import MalformedEventError, NotAQueueError
from actionqueue.json.commands import event_to_json
from actionqueue.limits import U64_MAX
from actionqueue.texts import moment, rows_text

__all__ = ["log"]

_SEQUENCE = click.IntRange(0, U64_MAX)
VALUE_WIDTH = 60
FIELDS_INDENT = " " * 12
TIMES = frozenset({"timestamp", "expiry", "created_at", "scheduled_at", "last_state_change_at"})
"""The fields of events with Unix seconds."""


@click.command()
@directory_argument
@json_option
@click.option(
    "--from",
    "first",
    type=_SEQUENCE,
    default=None,
    metavar="N",
    help="Start at this sequence, instead of the oldest.",
)
@click.option(
    "--to", "last", type=_SEQUENCE, default=U64_MAX, metavar="N", help="End with this sequence."
)
@click.option(
    "--salvage",
    is_flag=True,
    help="Print every event of a damaged queue that can still be read, as JSON.",
)
@click.option(
    "--follow",
    "-f",
    is_flag=True,
    help="Go on with every event as it becomes durable, until interrupted.",
)
def log(
    directory: Path, *, as_json: bool, first: int | None, last: int, follow: bool, salvage: bool
) -> None:
    """Print the log's records, oldest first.

    These are the records that a writer would recover; while another process has the queue open, and
    with --follow, those of durable events. A line has sequence, segment:offset, size, batch (an
    opening bracket if the next record belongs to the same batch, a closing one at its end), kind
    and fields; on a terminal the fields fold below it. Times are in UTC; --json has them in Unix
    seconds. Close markers and pads have the sequence of the last event before them.

    The log begins where compactions have left it. --from before that prints the rest, says so on
    standard error, and ends with 0; with --follow it is an error.

    --salvage reads past damage, also in files that repairs have moved to quarantine/, and reports
    on standard error what is missing. "moved" says where an event comes from: null for the log, or
    the prefix of the files in quarantine/. It takes no lock and changes nothing.
    """
    if salvage and follow:
        raise click.UsageError("--salvage and --follow do not go together")
    if salvage:
        Salvage(directory, first or 0, last).run()
        return
    if last < (max(first or 1, 1) if follow else first or 0):
        # The range is empty, but a missing queue is an error all the same.
        next(inspection.iterate_records(directory), None)
        return
    if follow:
        records = inspection.follow_records(
            directory, after=None if first is None else max(first, 1) - 1
        )
    else:
        records = inspection.iterate_records(directory)
    show = _show_as_json if as_json else _line_printer()
    for record in _between(_told(records, first, last, directory), first or 0, last):
        show(record)
        if follow:
            sys.stdout.flush()
        if follow and record.sequence == last:
            return


def _told(
    records: Iterator[inspection.LogRecord], first: int | None, last: int, directory: Path
) -> Iterator[inspection.LogRecord]:
    """Yield the records, and report on standard error if the log begins after the first one asked.

    A close marker or a pad before the first event has the sequence of the last event before it. If
    there is no record at all, the log begins behind the newest snapshot.
    """
    record = next(records, None)
    if first is not None:
        snapshots = list_snapshots(existing_directory(directory)) if record is None else []
        gone = max(snapshots, default=0) if record is None else record.sequence - record.is_event
        wanted = max(first, 1)
        if wanted <= gone:
            dropped = rows_text(((wanted, min(last, gone)),))
            print(
                f"actionqueue: the log begins at sequence {gone + 1}: a compaction dropped "
                f"{dropped}; the snapshot has what they add up to (see actionqueue dump)",
                file=sys.stderr,
            )
    if record is not None:
        yield record
        yield from records


class Salvage:
    """Prints what can be read of a damaged log, and reports what is missing in between."""

    def __init__(self, directory: Path, first: int, last: int) -> None:
        self.directory, self.first, self.last = directory, first, last
        self.moved: str | None = None
        self.previous = 0
        self.count = 0

    def run(self) -> None:
        """Print the log, then the files that each repair has moved away."""
        directory = existing_directory(self.directory)
        if not any(
            Path(directory, name).exists() for name in ("wal", "ring", "snapshots", "quarantine")
        ):
            raise NotAQueueError(directory)
        for moved in (None, *inspection.moved_logs(self.directory)):
            self.moved, self.previous, self.count = moved, 0, 0
            inspection.salvage(self.directory, self._show, moved=moved)
            self._tell(
                f"{self.count} events can be read"
                + (f", up to sequence {self.previous}" if self.count else "")
            )

    def _show(self, record: inspection.LogRecord) -> None:
        if record.sequence > self.previous + 1:
            missing = rows_text(((self.previous + 1, record.sequence - 1),))
            self._tell(
                f"sequence {missing} is missing"
                if missing.isdecimal()
                else f"sequences {missing} are missing"
            )
        elif record.sequence <= self.previous:
            self._tell(
                f"sequence {record.sequence} comes again, at {record.segment}:{record.offset}"
            )
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


def _between(
    records: Iterator[inspection.LogRecord], first: int, last: int
) -> Iterator[inspection.LogRecord]:
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


def _show_as_json(record: inspection.LogRecord) -> None:
    print_json(_record_to_json(record))


def _line_printer() -> Callable[[inspection.LogRecord], None]:
    """Return what prints a record for people: on one line, or folded to a terminal's width."""
    if not sys.stdout.isatty():
        return lambda record: print(f"{_head(record)} {_details(record)}".rstrip())
    from actionqueue.cli.tables import fold  # noqa: PLC0415 -- it takes rich

    width = shutil.get_terminal_size().columns

    def show(record: inspection.LogRecord) -> None:
        details = _details(record)
        print(
            "\n".join(
                fold(_head(record).rstrip(), width, "")
                + (fold(details, width, FIELDS_INDENT) if details else [])
            )
        )

    return show


def _head(record: inspection.LogRecord) -> str:
    mark = {"open": "(", "end": ")"}.get(record.batch or "", " ")
    place = f"{record.segment}:{record.offset}"
    return f"{record.sequence:>10}  {place:>14}  {record.size:>6} B {mark} {record.name:<22}"


def _details(record: inspection.LogRecord) -> str:
    """Return the event's fields that have a value, as name=value."""
    if not record.is_event:
        return ""
    fields = event_to_json(record.event())
    del fields["type"], fields["sequence"]
    return " ".join(
        f"{name}={_shown(name, value)}"
        for name, value in _flat(fields)
        if value not in (None, [], "")
    )


def _flat(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name, value


def _shown(name: str, value: Any) -> str:
    if name in TIMES:
        return moment(value)
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    text = printable(text)
    return text if len(text) <= VALUE_WIDTH else text[: VALUE_WIDTH - 1] + "…"
