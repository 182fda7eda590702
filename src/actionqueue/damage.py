"""Repair: make a damaged queue open again, at the price of the events that can't be read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import msgspec

from _wal_native.progress import Progress
from _wal_native.snapshot import repair as repair_directory
from actionqueue.clock import now
from actionqueue.directory import existing_directory, holder_text
from actionqueue.errors import CorruptLogError
from actionqueue.policy_fields import flag, progress_or_none
from actionqueue.texts import Rows

__all__ = ["RepairReport", "repair"]


class RepairReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair found and did, or would do."""

    is_damaged: bool
    """False: the queue opens as it is, and nothing was done."""
    damage: CorruptLogError | None
    """The first damage that the repair met."""
    kept_sequence: int
    """Every event up to this sequence is kept."""
    lost_first: int | None
    """The first and the last lost sequence; None where no event is known to be lost."""
    lost_last: int | None
    readable_events: int
    """Lost events whose records still verify, behind a gap: they are in ``quarantine/``, and
    ``actionqueue log --salvage`` prints them."""
    unreadable: Rows
    """The first and the last sequence of each range of lost events that can't be read."""
    given_up: Rows
    """The same of the lost events that can be read."""
    quarantined_files: int
    quarantined_bytes: int

    @property
    def begins_anew(self) -> bool:
        """Whether the repair can keep nothing.

        Then there is no queue after it, and the next writer begins a new one, at sequence 1.
        """
        return self.is_damaged and self.kept_sequence == 0

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        fields = {**msgspec.structs.asdict(self), "begins_anew": self.begins_anew}
        if self.damage is not None:
            fields["damage"] = {name: getattr(self.damage, name) for name in self.damage.fields}
        return fields


def repair(
    path: str | os.PathLike[str], *, accept_data_loss: bool, progress: Progress | None = None
) -> RepairReport:
    """Make a damaged queue open again, or find out what that would cost.

    The repair keeps what verifies up to the first gap: the newest snapshot, and the whole batches
    behind it. It makes a snapshot of that, from which an empty segment goes on. It moves every
    other file to ``quarantine/``, and deletes nothing. If not even the first event can be read, it
    keeps nothing, and the next writer begins a new queue: :attr:`RepairReport.begins_anew`.

    Args:
        path: The queue's directory. No writer may have it open.
        accept_data_loss: Repair the queue; else only report, and change nothing.
        progress: Tells another thread how far the repair is, and lets it cancel, with StoppedError.

    Raises:
        TypeError: An argument is of another type.
        LockedError: A writer has the queue. NotAQueueError: There is no queue at this path.
            UnsupportedFormatError: A newer version wrote it.
        OpenIOError: A system call failed; the caller can run the repair again.
    """
    return _report(
        repair_directory(
            existing_directory(path),
            accepts_data_loss=flag("accept_data_loss", accept_data_loss),
            now=now(),
            holder=holder_text(),
            progress=progress_or_none("repair", progress),
        )
    )


def examine(directory: str, progress: Progress | None = None) -> RepairReport:
    """Return what a repair would do, without a lock: the caller knows that no writer is there."""
    return _report(repair_directory(directory, accepts_data_loss=False, progress=progress))


def _report(found: dict[str, Any]) -> RepairReport:
    verified, kept, last = found.pop("verified"), found["kept_sequence"], found["lost_last"] or 0
    given_up = merged((max(first, kept + 1), end) for first, end in verified if end > kept)
    return RepairReport(**found, unreadable=gaps(given_up, kept + 1, last), given_up=given_up)


def merged(rows: Iterable[tuple[int, int]]) -> Rows:
    """Return ranges of sequences in order, with those that touch or overlap joined."""
    done: list[tuple[int, int]] = []
    for first, last in sorted(rows):
        if done and first <= done[-1][1] + 1:
            done[-1] = done[-1][0], max(last, done[-1][1])
        else:
            done.append((first, last))
    return tuple(done)


def gaps(rows: Rows, first: int, last: int) -> Rows:
    """Return what the ranges leave out between two sequences."""
    done: list[tuple[int, int]] = []
    for begin, end in rows:
        if begin > first:
            done.append((first, min(begin - 1, last)))
        first = max(first, end + 1)
    return tuple(done) if first > last else (*done, (first, last))
