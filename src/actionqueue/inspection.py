"""Looking at a queue: its records, its projection, its health. Writes and creates nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from _wal_native.codec import decode_event
from _wal_native.fault import locked_error
from _wal_native.progress import Progress
from _wal_native.reader import LogFollower, LogReader, lock_is_held
from _wal_native.snapshot import image_digest, list_snapshots, read_snapshot
from actionqueue.directory import existing_directory
from actionqueue.errors import CompactedError, CorruptLogError
from actionqueue.events import Event, EventKind
from actionqueue.projection import Projection
from actionqueue.reading import POLL_SECONDS, ReadOnlyQueue

__all__ = [
    "LogRecord",
    "ensure_unlocked",
    "follow_records",
    "iterate_records",
    "read_projection",
    "statistics",
    "verify",
]

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


def iterate_records(path: str | os.PathLike[str]) -> Iterator[LogRecord]:
    """Yield the records of a log, oldest first. Raises the OpenError family, also on the way.

    Of a log that nobody has open these are the records that the next writer would find, close markers and pads included; of one that a
    writer has open, the durable events.
    """
    directory = existing_directory(path)
    if lock_is_held(_lock_path(directory)):
        yield from _iterate_durable(directory)
        return
    for fields in LogReader(directory, _oldest_base(directory)):
        yield LogRecord(*fields)


def follow_records(
    path: str | os.PathLike[str], *, after: int = 0, poll_seconds: float = POLL_SECONDS
) -> Iterator[LogRecord]:
    """Yield the records of durable events for ever, from behind the sequence ``after`` on. See :func:`actionqueue.follow`."""
    follower = LogFollower(existing_directory(path), after)
    while True:
        fields = follower.next_record()
        if fields is None:
            time.sleep(poll_seconds)
        else:
            yield LogRecord(*fields)


def _iterate_durable(directory: str) -> Iterator[LogRecord]:
    try:
        follower = LogFollower(directory, 0)
    except CompactedError as error:
        follower = LogFollower(directory, error.first_sequence - 1)
    while (fields := follower.next_record()) is not None:
        yield LogRecord(*fields)


def read_projection(path: str | os.PathLike[str]) -> Projection:
    """Return the projection: of a queue that nobody has open, what the next writer would recover; else as far as it is durable."""
    return ReadOnlyQueue(path).projection


def _lock_path(directory: str) -> str:
    return str(Path(directory, "LOCK"))


def _oldest_base(directory: str) -> tuple[bytes, int] | None:
    """Return the oldest snapshot that verifies, which reaches furthest back into the log."""
    for sequence in reversed(list_snapshots(directory)):
        try:
            found = read_snapshot(directory, sequence)
        except CorruptLogError:
            continue
        return found["log_uuid"], found["sequence"]
    return None


def ensure_unlocked(path: str | os.PathLike[str]) -> str:
    """Return the queue's real path, or raise LockedError while a writer holds it, NotAQueueError where there is none."""
    directory = existing_directory(path)
    lock = _lock_path(directory)
    if lock_is_held(lock):
        raise locked_error(lock)
    return directory


def verify(path: str | os.PathLike[str], progress: Progress | None = None) -> dict[str, Any]:
    """Read and replay everything there is, and return what was found.

    Every snapshot is verified and loaded, every record from the oldest one that is needed, and every event is applied; and what the log
    adds up to must be what each snapshot holds. Raises CorruptLogError where something is damaged, LockedError while a writer has the queue.
    """
    directory = ensure_unlocked(path)
    digests: dict[int, tuple[int, int]] = {}
    base, projection = None, Projection()
    for sequence in reversed(list_snapshots(directory)):
        loaded = Projection()
        found = read_snapshot(directory, sequence, loaded, progress=progress)
        digests[sequence] = image_digest(loaded)
        if base is None:
            base, projection = (found["log_uuid"], sequence), loaded
    if base is not None and _begins_at_first(directory):
        base, projection = None, Projection()  # the whole history is there: replay all of it
    reader = LogReader(directory, base)
    for sequence, digest in sorted(digests.items()):
        reader.replay_to(projection, sequence)
        if image_digest(projection) != digest:
            path_of = str(Path(directory, "snapshots", f"{sequence:020d}.snap"))
            raise CorruptLogError(path_of, None, None, "snapshot_differs", sequence, sequence)
    counts = reader.replay(projection, progress)
    return {**reader.summary(), **counts, "snapshots": sorted(digests), "last_sequence": projection.latest_sequence}


def _begins_at_first(directory: str) -> bool:
    try:
        LogReader(directory)
    except CorruptLogError as error:
        if error.reason == "history_missing":
            return False
        raise
    return True


def statistics(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return sizes of the log and counts of the projection, also of a queue that a writer has open, as far as it is durable."""
    directory = existing_directory(path)
    queue = ReadOnlyQueue(directory)
    projection = queue.projection
    files = [(folder, entry) for folder in ("wal", "snapshots", "quarantine") for entry in _files(Path(directory, folder))]
    sizes = {folder: [entry.stat().st_size for named, entry in files if named == folder] for folder in ("wal", "snapshots", "quarantine")}
    return {
        "log": {
            "has_writer": lock_is_held(_lock_path(directory)),
            "last_sequence": queue.sequence,
            "durable_sequence": queue.durable_sequence,
            "segments": len(sizes["wal"]),
            "segment_bytes": sum(sizes["wal"]),
            "snapshots": list(reversed(list_snapshots(directory))),
            "snapshot_bytes": sum(sizes["snapshots"]),
            "quarantined_files": len(sizes["quarantine"]),
            "quarantined_bytes": sum(sizes["quarantine"]),
        },
        "projection": msgspec.to_builtins(projection.counts()),
        "runs_by_state": {state.value: count for state, count in projection.counts_by_state().items()},
    }


def _files(directory: Path) -> list[Path]:
    try:
        return [entry for entry in directory.iterdir() if entry.is_file()]
    except FileNotFoundError:
        return []
