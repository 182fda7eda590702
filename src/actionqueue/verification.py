"""Whether a whole queue is as it was written, without writing anything."""

from __future__ import annotations

import os
from typing import Any

from _wal_native.fault import locked_error
from _wal_native.progress import Progress
from _wal_native.reader import LogReader
from _wal_native.snapshot import image_digest, list_snapshots, read_snapshot, take_completions
from actionqueue.damage import examine
from actionqueue.directory import (
    existing_directory,
    has_writer,
    lock_path,
    read_undisturbed,
    snapshot_path,
)
from actionqueue.errors import CorruptLogError, OpenError
from actionqueue.policy_fields import progress_or_none
from actionqueue.projection import Projection

__all__ = ["ensure_unlocked", "verify"]

SEGMENT_DATA = 8192
"""Where the records of a segment begin."""


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
        if image_digest(projection) != digest and not _is_older(directory, sequence, projection):
            name = snapshot_path(directory, sequence)
            raise CorruptLogError(name, None, None, "snapshot_differs", sequence, sequence)
    _add(counts, reader.replay(projection, progress))
    return {
        **reader.summary(),
        **counts,
        "snapshots": sorted(digests),
        "last_sequence": projection.latest_sequence,
    }


def _is_older(directory: str, sequence: int, projection: Projection) -> bool:
    """Whether a snapshot lacks nothing but which forgotten runs were completed.

    Those of versions before the one that keeps this do not say so.
    """
    loaded = Projection()
    read_snapshot(directory, sequence, loaded)
    take_completions(loaded, projection)
    return image_digest(loaded) == image_digest(projection)


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
