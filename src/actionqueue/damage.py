"""Repair: make a damaged queue open again, at the price of what can't be read."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from _wal_native.progress import Progress
from _wal_native.snapshot import repair as repair_directory
from actionqueue.clock import now
from actionqueue.directory import existing_directory, holder_text
from actionqueue.errors import CorruptLogError

__all__ = ["RepairReport", "repair"]


class RepairReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair found and did, or would do."""

    is_damaged: bool
    """False: the queue opens as it is, and nothing was done."""
    damage: CorruptLogError | None
    """The first damage that was met."""
    kept_sequence: int
    """Every event up to this sequence is kept."""
    lost_first: int | None
    """The first and last sequence that are lost; None where no lost event is known of."""
    lost_last: int | None
    readable_events: int
    """Of the lost events those whose records still verify, behind a gap: they are in ``quarantine/``."""
    quarantined_files: int
    quarantined_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        fields = msgspec.structs.asdict(self)
        if self.damage is not None:
            fields["damage"] = {name: getattr(self.damage, name) for name in self.damage.fields}
        return fields


def repair(path: str | os.PathLike[str], *, accept_data_loss: bool, progress: Progress | None = None) -> RepairReport:
    """Make a damaged queue open again, or find out what that would cost.

    What verifies is kept up to the first gap: the newest snapshot, and the whole batches behind it. It becomes a snapshot, from which an
    empty segment goes on. Every other file is moved to ``quarantine/``; nothing is deleted.

    Args:
        path: The queue's directory. No writer may have it open.
        accept_data_loss: Do it; else only report, and change nothing.
        progress: Tells another thread how far it is, and lets it cancel, with StoppedError.

    Raises:
        LockedError: A writer has the queue. NotAQueueError: There is none. UnsupportedFormatError: A newer version wrote it.
        OpenIOError: A system call failed; the repair can be run again.
    """
    found = repair_directory(
        existing_directory(path), accepts_data_loss=accept_data_loss, now=now(), holder=holder_text(), progress=progress
    )
    return RepairReport(**found)
