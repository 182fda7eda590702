"""Looking at a queue that nobody has open: its records, its projection, its health. Writes and creates nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from _wal_native.codec import decode_event
from _wal_native.fault import locked_error
from _wal_native.reader import LogReader, lock_is_held
from actionqueue.errors import NotAQueueError
from actionqueue.events import Event, EventKind
from actionqueue.projection import Projection

__all__ = ["LogRecord", "ensure_unlocked", "iterate_records", "read_projection", "statistics", "verify"]

MARKER, PAD = 240, 241
BATCH_OPEN, BATCH_END = 1, 2


class LogRecord(msgspec.Struct, frozen=True, gc=False):
    """One record of a log."""

    segment: int
    offset: int
    """Where the record begins in its segment, in bytes."""
    sequence: int
    """The event's sequence; for a close marker or pad that of the last event before it."""
    kind: int
    """The event kind's code, or that of a close marker or pad."""
    flags: int
    size: int
    """Bytes in the log, header and padding included."""
    watermark: int
    """Everything up to this sequence was durable when the record was appended; 0 where that is not known."""
    payload: bytes

    @property
    def is_event(self) -> bool:
        """Whether the record holds an event."""
        return self.kind < MARKER

    @property
    def name(self) -> str:
        """The kind's name in lower snake case."""
        if self.kind == MARKER:
            return "close_marker"
        return "pad" if self.kind == PAD else EventKind(self.kind).name.lower()

    @property
    def batch(self) -> str | None:
        """``"open"`` where the batch goes on with the next record, ``"end"`` for its last record, else None."""
        return {BATCH_OPEN: "open", BATCH_END: "end"}.get(self.flags)

    def event(self) -> Event:
        """Return the decoded event."""
        return decode_event(self.kind, self.sequence, self.payload)


def ensure_unlocked(path: str | os.PathLike[str]) -> str:
    """Return the queue's real path, or raise LockedError while a writer holds it, NotAQueueError where there is none."""
    directory = os.path.realpath(os.fspath(path))
    try:
        if not stat.S_ISDIR(Path(directory).stat().st_mode):
            raise NotAQueueError(directory)
    except (FileNotFoundError, NotADirectoryError):
        raise NotAQueueError(directory) from None
    lock = str(Path(directory, "LOCK"))
    if lock_is_held(lock):
        raise locked_error(lock)
    return directory


def iterate_records(path: str | os.PathLike[str]) -> Iterator[LogRecord]:
    """Yield the records that a writer would recover, oldest first. Raises the OpenError family, also on the way."""
    for fields in LogReader(ensure_unlocked(path)):
        yield LogRecord(*fields)


def read_projection(path: str | os.PathLike[str]) -> Projection:
    """Return the projection that a writer would recover."""
    projection = Projection()
    LogReader(ensure_unlocked(path)).replay(projection)
    return projection


def verify(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and replay everything, and return what was found. Raises CorruptLogError where the log is damaged."""
    reader = LogReader(ensure_unlocked(path))
    counts = reader.replay(Projection())
    return {**reader.summary(), **counts}


def statistics(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return sizes of the log and counts of the projection."""
    directory = ensure_unlocked(path)
    reader = LogReader(directory)
    projection = Projection()
    counts = reader.replay(projection)
    return {
        "log": {**reader.summary(), **counts, "file_bytes": sum(segment["file_size"] for segment in reader.segments())},
        "projection": msgspec.to_builtins(projection.counts()),
        "runs_by_state": {state.value: count for state, count in projection.counts_by_state().items()},
    }
