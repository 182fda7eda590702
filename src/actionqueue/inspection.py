"""Look at a queue's records, its projection and its health, without writing anything."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from _wal_native.events import decode_event
from _wal_native.reader import LogFollower, LogReader
from _wal_native.reader import salvage as read_salvage
from _wal_native.snapshot import list_snapshots, read_snapshot
from actionqueue.directory import (
    existing_directory,
    first_sequences,
    has_writer,
    read_undisturbed,
)
from actionqueue.errors import (
    CompactedError,
    CorruptLogError,
    NotAQueueError,
    OpenIOError,
)
from actionqueue.limits import U64_MAX
from actionqueue.model import Event, EventKind
from actionqueue.policy_fields import (
    function,
    number_up_to,
    seconds_between_looks,
)
from actionqueue.projection import Projection
from actionqueue.reading import POLL_SECONDS, ReadOnlyQueue
from actionqueue.statistics import statistics
from actionqueue.verification import ensure_unlocked, verify

__all__ = [
    "LogRecord",
    "ensure_unlocked",
    "follow_records",
    "iterate_records",
    "moved_logs",
    "read_projection",
    "salvage",
    "statistics",
    "verify",
]

MARKER, PAD = 240, 241
BATCH_OPEN, BATCH_END = 1, 2

_MOVED = re.compile(r"repair-[0-9a-f]{16}-")


class LogRecord(msgspec.Struct, frozen=True):
    """One record of a log."""

    segment: int
    offset: int
    """Where the record begins in its segment, in bytes."""
    sequence: int
    """The event's sequence; for a close marker or a pad that of the last event before it."""
    kind: int
    """The event kind's code, or that of a close marker or pad."""
    flags: int
    size: int
    """Bytes in the log, header and padding included."""
    watermark: int
    """Everything up to this sequence was durable when the writer appended the record; 0 where that
    is not known."""
    payload: bytes

    @property
    def is_event(self) -> bool:
        """Whether the record holds an event."""
        return self.kind < MARKER

    @property
    def name(self) -> str:
        """The kind's name in lower snake case; ``kind_200`` for one of a newer version."""
        if self.kind == MARKER:
            return "close_marker"
        if self.kind == PAD:
            return "pad"
        known = self.kind in EventKind.__members__.values()
        return EventKind(self.kind).name.lower() if known else f"kind_{self.kind}"

    @property
    def batch(self) -> str | None:
        """``"open"`` if the batch goes on behind the record, ``"end"`` for its last, else None."""
        return {BATCH_OPEN: "open", BATCH_END: "end"}.get(self.flags)

    def event(self) -> Event:
        """Return the decoded event."""
        return decode_event(self.kind, self.sequence, self.payload)


def iterate_records(path: str | os.PathLike[str]) -> Iterator[LogRecord]:
    """Yield the records of a log, oldest first. Raises the OpenError family, also on the way.

    Without a writer these are the records that the next writer would find, with close markers and
    pads; while a writer has the queue open, the durable events.
    """
    directory = existing_directory(path)
    last = 0
    if not has_writer(directory):
        try:
            for fields in read_undisturbed(directory, lambda: _oldest_reader(directory)):
                record = LogRecord(*fields)
                yield record
                last = record.sequence
        except (CorruptLogError, NotAQueueError, OpenIOError):
            if not has_writer(directory):
                raise
        else:
            return
    yield from _iterate_durable(directory, last)  # a writer has the queue, or came meanwhile


def follow_records(
    path: str | os.PathLike[str], *, after: int | None = None, poll_seconds: float = POLL_SECONDS
) -> Iterator[LogRecord]:
    """Yield the records of durable events for ever, after the sequence ``after``.

    None begins at the oldest record. See :func:`actionqueue.follow`. Raises InvalidFieldError if
    ``after`` is no sequence or ``poll_seconds`` is out of range; and the OpenError family.
    """
    if after is not None:
        after = number_up_to(
            "follow_records",
            "after",
            after,
            U64_MAX,
            f"must be a sequence from 0 to {U64_MAX}, or None",
        )
    return _follow_records(path, after, seconds_between_looks("follow_records", poll_seconds))


def _follow_records(
    path: str | os.PathLike[str], after: int | None, poll_seconds: float
) -> Iterator[LogRecord]:
    directory = existing_directory(path)
    follower = _oldest_follower(directory) if after is None else LogFollower(directory, after)
    while True:
        fields = follower.next_record()
        if fields is None:
            time.sleep(poll_seconds)
        else:
            yield LogRecord(*fields)


def _oldest_follower(directory: str) -> LogFollower:
    after = 0
    while True:
        try:
            return LogFollower(directory, after)
        except CompactedError as error:
            after = error.first_sequence - 1


def _iterate_durable(directory: str, last: int) -> Iterator[LogRecord]:
    follower = LogFollower(directory, last) if last > 0 else _oldest_follower(directory)
    while (fields := follower.next_record()) is not None:
        yield LogRecord(*fields)


def moved_logs(path: str | os.PathLike[str]) -> list[str]:
    """Return the prefix of the files that each repair has moved to ``quarantine/``, oldest first.

    A prefix is ``repair-<id>-``.
    """
    quarantine = Path(existing_directory(path), "quarantine")
    found: dict[str, int] = {}
    with suppress(FileNotFoundError):
        for entry in os.scandir(quarantine):
            if (match := _MOVED.match(entry.name)) is not None:
                changed = entry.stat(follow_symlinks=False).st_ctime_ns  # a rename sets it
                found[match[0]] = min(changed, found.get(match[0], changed))
    return sorted(found, key=lambda prefix: (found[prefix], prefix))


def salvage(
    path: str | os.PathLike[str], visit: Callable[[LogRecord], object], *, moved: str | None = None
) -> None:
    """Call ``visit`` with every event whose record verifies, whatever is damaged around it.

    They come in the order of their places. The call takes no lock, and writes nothing. Sequences
    may be missing, and one may come twice where the log was cut short and went on elsewhere.

    Args:
        path: The queue's directory.
        visit: Gets each record.
        moved: Read not the log but the files that a repair has moved to ``quarantine/``: one of
            :func:`moved_logs`.

    Raises InvalidFieldTypeError if ``visit`` can't be called, before it reads anything; what
    ``visit`` raises; the OpenError family.
    """
    function("salvage", "visit", visit)
    read_salvage(existing_directory(path), moved, lambda fields: visit(LogRecord(*fields)))


def read_projection(path: str | os.PathLike[str]) -> Projection:
    """Return the projection as far as it is durable, or, without a writer, as the next finds it."""
    return ReadOnlyQueue(path).projection


def _oldest_reader(directory: str) -> LogReader:
    """Return a reader of every record in the log, also of those that snapshots cover."""
    try:
        return LogReader(directory)
    except CorruptLogError as error:
        base = _oldest_base(directory)
        if error.reason != "history_missing" or base is None:
            if base is None:
                raise
            # Of a damaged log read only what the next writer needs.
            return LogReader(directory, base)
    firsts = first_sequences(directory)
    before = min(firsts, default=base[1] + 1) - 1
    if before < base[1]:
        with suppress(CorruptLogError):  # a gap after segments that a compaction was dropping
            return LogReader(directory, (base[0], before))
    return LogReader(directory, base)


def _oldest_base(directory: str) -> tuple[bytes, int] | None:
    """Return the oldest snapshot that verifies; the log behind it goes back furthest."""
    for sequence in reversed(list_snapshots(directory)):
        try:
            found = read_snapshot(directory, sequence)
        except CorruptLogError:
            continue
        return found["log_uuid"], found["sequence"]
    return None
