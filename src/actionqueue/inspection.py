"""Look at a queue's records, its projection and its health, without writing anything."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from _wal_native.events import decode_event
from _wal_native.fault import locked_error
from _wal_native.progress import Progress
from _wal_native.reader import LogFollower, LogReader
from _wal_native.reader import salvage as read_salvage
from _wal_native.snapshot import image_digest, list_snapshots, read_snapshot, snapshot_counts
from actionqueue.damage import examine
from actionqueue.directory import (
    disk_bytes,
    existing_directory,
    has_writer,
    lock_path,
    read_undisturbed,
)
from actionqueue.errors import (
    CompactedError,
    CorruptLogError,
    NotAQueueError,
    OpenError,
    OpenIOError,
)
from actionqueue.limits import U64_MAX
from actionqueue.model import Event, EventKind
from actionqueue.policy_fields import (
    flag,
    function,
    number_up_to,
    progress_or_none,
    seconds_between_looks,
)
from actionqueue.projection import Projection
from actionqueue.reading import POLL_SECONDS, ReadOnlyQueue

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
SEGMENT_DATA = 8192
REPLAYED_MAX = 1_000_000
"""The statistics come from a replay if the queue has at most this many events and rows."""
BATCH_OPEN, BATCH_END = 1, 2

_SEGMENT = re.compile(r"[0-9]{20}-([0-9]{20})\.log")
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
        """The kind's name in lower snake case."""
        if self.kind == MARKER:
            return "close_marker"
        return "pad" if self.kind == PAD else EventKind(self.kind).name.lower()

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
    firsts = [
        int(match[1])
        for file in Path(directory, "wal").iterdir()
        if (match := _SEGMENT.fullmatch(file.name)) is not None
    ]
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


def ensure_unlocked(path: str | os.PathLike[str]) -> str:
    """Return the queue's real path, or raise LockedError while a writer holds it.

    Raises NotAQueueError where there is no queue.
    """
    directory = existing_directory(path)
    if has_writer(directory):
        raise locked_error(lock_path(directory))
    return directory


def verify(path: str | os.PathLike[str], progress: Progress | None = None) -> dict[str, Any]:
    """Read and replay the whole queue, and return what was found.

    It verifies and loads every snapshot, verifies every record from the oldest needed one on, and
    applies every event. Then what the log adds up to must be what each snapshot holds.

    Args:
        path: The queue's directory.
        progress: Tells another thread how many bytes were read and how many there are, and lets it
            cancel.

    Raises:
        InvalidFieldTypeError: ``progress`` is no Progress; nothing was read.
        CorruptLogError: Something is damaged. The error has exactly the sequences that can't be
            read and those that a repair would give up.
        LockedError: A writer has the queue. NotAQueueError: There is no queue at this path.
            OpenIOError: A system call failed.
        StoppedError: The caller called ``progress.cancel()``.
    """
    progress = progress_or_none("verify", progress)
    if progress is None:
        progress = Progress()
    directory = ensure_unlocked(path)

    def verify_unless_locked() -> dict[str, Any]:
        ensure_unlocked(directory)  # again before each try: a writer may have come
        return _verify(directory, progress)

    try:
        return read_undisturbed(directory, verify_unless_locked)
    except CorruptLogError as error:
        raise _exact(error, directory, progress) from None


def _exact(error: CorruptLogError, directory: str, progress: Progress) -> CorruptLogError:
    """Return the damage with the sequences that it costs, which only further reading tells."""
    try:
        found = examine(directory, progress)
    except (OpenError, MemoryError):  # the damage is as real without the sequences
        return error
    if not found.is_damaged:
        return error  # the queue opens without the damaged part: nothing is at stake
    fields = {name: getattr(error, name) for name in error.fields}
    fields |= {"first_sequence": found.lost_first, "last_sequence": found.lost_last}
    return CorruptLogError(**fields | {"unreadable": found.unreadable, "given_up": found.given_up})


def _verify(directory: str, progress: Progress) -> dict[str, Any]:
    digests: dict[int, tuple[int, int]] = {}
    base, projection = None, Projection()
    for sequence in reversed(list_snapshots(directory)):
        loaded = Projection()
        found = read_snapshot(directory, sequence, loaded, progress=progress)
        digests[sequence] = image_digest(loaded)
        if base is None:
            base, projection = (found["log_uuid"], sequence), loaded
    if base is not None and _begins_at_first(directory):
        base, projection = None, Projection()  # the log has the whole history: replay all of it
    reader = LogReader(directory, base)
    progress.expect(_size_of_records(reader))
    counts = {"records": 0, "events": 0, "bytes": 0}
    for sequence, digest in sorted(digests.items()):
        _add(counts, reader.replay_to(projection, sequence, progress))
        if image_digest(projection) != digest:
            name = str(Path(directory, "snapshots", f"{sequence:020d}.snap"))
            raise CorruptLogError(name, None, None, "snapshot_differs", sequence, sequence)
    _add(counts, reader.replay(projection, progress))
    return {
        **reader.summary(),
        **counts,
        "snapshots": sorted(digests),
        "last_sequence": projection.latest_sequence,
    }


def _add(counts: dict[str, int], more: dict[str, int]) -> None:
    for name, number in more.items():
        counts[name] += number


def _size_of_records(reader: LogReader) -> int:
    """Return how many bytes of records a reader will read."""
    ends = [*(segment["link_end"] for segment in reader.segments()[1:]), reader.summary()["end"]]
    return sum(end - SEGMENT_DATA for end in ends)


def _begins_at_first(directory: str) -> bool:
    try:
        LogReader(directory)
    except CorruptLogError as error:
        if error.reason == "history_missing":
            return False
        raise
    return True


def statistics(path: str | os.PathLike[str], *, replays: bool | None = None) -> dict[str, Any]:
    """Return sizes of the log and counts of the projection.

    While a writer has the queue open, they go as far as the log is durable. ``"counted_sequence"``
    is the last event in the counts.

    Args:
        path: The queue's directory.
        replays: True: replay the queue, for counts of this moment, in the time and the memory that
            opening it takes. False: return the counts that the newest snapshot begins with, which
            are not by state; without a snapshot the counts are None. None: replay if the queue has
            at most REPLAYED_MAX events and rows.

    Raises TypeError if ``replays`` is not one of the three; the OpenError family.
    """
    if replays is not None:
        flag("replays", replays)
    directory = existing_directory(path)
    outline = read_undisturbed(directory, lambda: _Outline(directory))
    queue = (
        ReadOnlyQueue(directory)
        if replays or (replays is None and outline.size <= REPLAYED_MAX)
        else None
    )
    wal, snapshots, quarantine = (
        _sizes(Path(directory, folder)) for folder in ("wal", "snapshots", "quarantine")
    )
    damage = outline.damage if queue is None else queue.snapshot_damage
    counts: dict[str, Any] = {
        "counted_sequence": outline.counted_sequence,
        "projection": outline.counts,
        "runs_by_state": None,
    }
    if queue is not None:
        states = {state.value: count for state, count in queue.projection.counts_by_state().items()}
        projection = msgspec.to_builtins(queue.projection.counts())
        counts = {
            "counted_sequence": queue.sequence,
            "projection": projection,
            "runs_by_state": states,
        }
    return {
        "log": {
            "has_writer": has_writer(directory),
            "history": outline.history if queue is None else queue.history,
            "disk_bytes": disk_bytes(directory),
            "last_sequence": outline.last_sequence if queue is None else queue.sequence,
            "durable_sequence": outline.durable_sequence
            if queue is None
            else queue.durable_sequence,
            "segments": len(wal),
            "segment_bytes": sum(wal),
            "snapshots": list(reversed(list_snapshots(directory))),
            "snapshot_bytes": sum(snapshots),
            "snapshot_damage": None if damage is None else str(damage),
            "quarantined_files": len(quarantine),
            "quarantined_bytes": sum(quarantine),
        },
        **counts,
    }


class _Outline:
    """What the newest segment, the ring and the start of each snapshot say of a queue."""

    def __init__(self, directory: str) -> None:
        self.damage: CorruptLogError | None = None
        """What is wrong with the newest snapshot, as far as its start shows that."""
        self.counts: dict[str, int] | None = None
        """The number of rows of each kind in the newest snapshot; None without one."""
        self.counted_sequence: int | None = None
        base = self._look_at_snapshots(directory)
        if has_writer(directory):
            # The first look at the newest segment tells how far the log is durable.
            follower = LogFollower(directory, _newest_first_sequence(directory) - 1)
            follower.next_record()
            self.last_sequence = self.durable_sequence = max(
                follower.durable_sequence, follower.sequence
            )
        else:
            summary = LogReader(directory, base).summary()
            self.last_sequence, self.durable_sequence = (
                summary["last_sequence"],
                summary["durable_sequence"],
            )
            follower = LogFollower(directory, self.last_sequence)
        self.history = follower.history

    def _look_at_snapshots(self, directory: str) -> tuple[bytes, int] | None:
        for sequence in list_snapshots(directory):
            try:
                found, self.counts = snapshot_counts(directory, sequence)
            except CorruptLogError as error:
                self.damage = self.damage or error
            else:
                self.counted_sequence = sequence
                return found["log_uuid"], sequence
        return None

    @property
    def size(self) -> int:
        """The number of rows and events that a replay reads."""
        return sum((self.counts or {}).values()) + self.last_sequence - (self.counted_sequence or 0)


def _newest_first_sequence(directory: str) -> int:
    """Return the first sequence of the newest segment, 1 where there is no segment."""
    names = [
        match[0]
        for file in Path(directory, "wal").iterdir()
        if (match := _SEGMENT.fullmatch(file.name)) is not None
    ]
    newest = _SEGMENT.fullmatch(max(names, default=""))
    return 1 if newest is None else int(newest[1])


def _sizes(directory: Path) -> list[int]:
    """Return the sizes of a folder's files without temporary ones; files may come and go."""
    found = []
    try:
        entries = [entry for entry in directory.iterdir() if entry.suffix != ".tmp"]
    except (FileNotFoundError, NotADirectoryError):
        return []
    for entry in entries:
        with suppress(FileNotFoundError):
            status = entry.lstat()
            if stat.S_ISREG(status.st_mode):
                found.append(status.st_size)
    return found
