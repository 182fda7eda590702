"""What opening a queue found."""

from __future__ import annotations

import msgspec

from actionqueue.errors import CorruptLogError
from actionqueue.texts import dropped_text

__all__ = ["RecoveryReport"]


class RecoveryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was replayed and what was dropped when a queue was opened. Sizes in bytes."""

    is_created: bool
    """There was no queue; it was made."""
    is_clean: bool
    """The last writer closed the queue, or there was none."""
    history: str
    """Which history the queue goes on with, as 32 hexadecimal digits: another one after each
    repair, and in each copy. A stored sequence says something only together with it; see
    :func:`actionqueue.follow`."""
    snapshot_sequence: int
    """Replay began from a snapshot as of this event; 0: from the beginning."""
    snapshots_damaged: int
    """Newer snapshots that did not verify, and were passed over for an older one or the log."""
    snapshot_damage: CorruptLogError | None
    """What is wrong with the newest of those. The next compaction removes it."""
    segments: int
    """Segment files that were read."""
    records: int
    """Records that were read, those without an event included."""
    events: int
    """Events that were replayed, behind the snapshot if there is one."""
    bytes: int
    """Size of the records that were read."""
    replayed_bytes: int
    """Size of those behind the snapshot if there is one, pads included."""
    last_sequence: int
    """Sequence of the last event, 0 where there is none."""
    durable_sequence: int
    """What the log itself proved to be on stable storage before it was opened."""
    ring_events: int
    """Events that a killed process had only left in the ring; they are kept."""
    rewritten_events: int
    """Events above the durable sequence, which were written anew and synced."""
    dropped_bytes: int
    """Bytes behind the end of the log that do not count: a torn append. A copy is in
    ``quarantine/``."""
    dropped_events: int
    """Whole events among them. None of them had been acknowledged as durable."""
    drop_reason: str | None
    """``"torn"``, ``"batch"`` for an unfinished batch, or None."""
    dropped_segment: int
    """Number of the segment that the dropped bytes lay in."""
    dropped_offset: int
    """Where they began in it."""
    seconds: float
    """How long opening took."""

    def __str__(self) -> str:
        if self.is_created:
            return "created a new queue"
        end = "after a clean close" if self.is_clean else "after an unclean end"
        files = f"{self.segments} segment" if self.segments == 1 else f"{self.segments} segments"
        text = f"replayed {self.events} events from {files} {end} in {self.seconds:.3f} s"
        if self.snapshot_sequence:
            text += f", behind a snapshot as of sequence {self.snapshot_sequence}"
        if self.snapshots_damaged:
            text += f"; passed over {self.snapshots_damaged} damaged ({self.snapshot_damage})"
        if self.ring_events:
            text += f"; {self.ring_events} came from the ring"
        if self.drop_reason is not None:
            text += (
                "; dropped "
                f"{dropped_text(self.drop_reason, self.dropped_bytes, self.dropped_events)}, a "
                "copy is in quarantine/"
            )
        return text
