"""How large a queue is: sizes of its log, counts of its projection."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from _wal_native.reader import LogFollower, LogReader
from _wal_native.snapshot import list_snapshots, snapshot_counts
from actionqueue.directory import (
    disk_bytes,
    existing_directory,
    first_sequences,
    has_writer,
    read_undisturbed,
)
from actionqueue.errors import CorruptLogError
from actionqueue.policy_fields import flag
from actionqueue.reading import ReadOnlyQueue

__all__ = ["statistics"]

REPLAYED_MAX = 1_000_000
"""The statistics come from a replay if the queue has at most this many events and rows."""


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
            *_, newest = 1, *first_sequences(directory)
            follower = LogFollower(directory, newest - 1)
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
