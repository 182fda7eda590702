"""What opening a queue found."""

from __future__ import annotations

import msgspec

from actionqueue.errors import CorruptLogError
from actionqueue.texts import dropped_text

__all__ = ["RecoveryReport"]


class RecoveryReport(msgspec.Struct, frozen=True, kw_only=True):
    """What opening a queue replayed and dropped. Sizes in bytes."""

    is_created: bool
    """There was no queue, and the opening created one."""
    is_clean: bool
    """The last writer closed the queue, or the queue had no writer yet."""
    history: str
    """The history with which the queue goes on, as 32 hexadecimal digits: each repair and each copy
    gets another one. A stored sequence says something only together with its history; see
    :func:`actionqueue.follow`."""
    snapshot_sequence: int
    """Replay began from a snapshot as of this event; 0: from the beginning."""
    snapshots_damaged: int
    """Newer snapshots that did not verify; the opening took an older one or the log instead."""
    snapshot_damage: CorruptLogError | None
    """What is wrong with the newest of these. The next compaction removes it."""
    segments: int
    """Segment files that the opening read."""
    records: int
    """Records that it read, with those that hold no event."""
    events: int
    """Events that it replayed, behind the snapshot if there is one."""
    bytes: int
    """Size of the records that it read."""
    replayed_bytes: int
    """Size of the records behind the snapshot if there is one, with pads."""
    last_sequence: int
    """Sequence of the last event, 0 where the log has no event."""
    durable_sequence: int
    """The last event that the log itself proved to be on stable storage before the opening."""
    ring_events: int
    """Events that a killed process had left only in the ring; the queue keeps them."""
    rewritten_events: int
    """Events above the durable sequence; the opening wrote them again and synced them."""
    dropped_bytes: int
    """Bytes behind the end of the log that do not count: a torn tail. A copy is in
    ``quarantine/``."""
    dropped_events: int
    """Whole events in the dropped bytes. The queue had acknowledged none of them as durable."""
    drop_reason: str | None
    """``"torn"``, ``"batch"`` for an unfinished batch, or None."""
    dropped_segment: int
    """Number of the segment that had the dropped bytes."""
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
