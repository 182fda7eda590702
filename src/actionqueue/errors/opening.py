"""Errors of opening a queue, for writing or for reading."""

from __future__ import annotations

from actionqueue.errors.base import ActionQueueError
from actionqueue.errors.system_calls import failed_call, remedy_for_opening
from actionqueue.texts import Rows, moment, rows_text


class OpenError(ActionQueueError):
    """Base of the errors of opening a queue. Nothing on disk was changed."""


class LockedError(OpenError):
    """Another handle holds the queue. What the lock file does not say of the holder is None."""

    path: str
    pid: int | None = None
    host: str | None = None
    started: int | None = None
    """When the holder opened the queue, in Unix seconds."""

    @property
    def since(self) -> str | None:
        """``started`` as text for people."""
        return None if self.started is None else moment(self.started)

    def __str__(self) -> str:
        holder = "another handle" if self.pid is None else f"process {self.pid}"
        where = "" if self.host is None else f" on {self.host}"
        since = "" if self.started is None else f" since {self.since}"
        # The opener looks at the lock file first: a queue held by its folder lost that file.
        why = ", although its LOCK was removed or replaced" if self.path.endswith("/wal") else ""
        return (
            f"{self.path} is held by {holder}{where}{since}{why}; close it there first, or open it "
            "with readonly=True to read"
        )


_REASONS = {
    "header_invalid": "the file's header is not as it was written",
    "header_copies_differ": "both copies of the segment's header are valid, and they differ",
    "file_size": "the file is not as long as its header says",
    "other_log": "the file belongs to another queue",
    "segment_missing": "a file of the log is gone",
    "segment_duplicate": "two files have the same segment's number",
    "link": "the segment does not go on from the one before it",
    "ring_missing": "the file `ring` is gone, and the log was not closed",
    "record_invalid": "a record that was on stable storage is not as it was written",
    "record_count": "the segment holds other events than the next one says",
    "batch": "a batch is broken where no interrupted write breaks it",
    "payload": "a record is as it was written, but is no event",
    "refused_event": "an event is as it was written, but breaks a rule",
    "history_missing": "the log does not go back to the first event, and no snapshot stands in",
    "directory": "something else stands in the place of one of the queue's directories",
    "torn": "an append was cut short",
    "snapshot_invalid": "the snapshot is not as it was written",
    "snapshot_ahead": "the log ends before the snapshot does",
    "snapshot_differs": "the snapshot is not what the log adds up to",
    "unreadable": "the disk does not give the bytes back",
}
"""What each reason's code means, in plain words."""


class CorruptLogError(OpenError):
    """The log is damaged, and an interrupted write cannot have done it. What is unknown is None."""

    path: str
    segment: int | None
    offset: int | None
    """Where the damaged record starts in the segment, in bytes."""
    reason: str
    first_sequence: int | None = None
    last_sequence: int | None = None
    """The first and the last sequence at stake: from ``actionqueue verify`` exactly what a repair
    would give up, else what the opener knew without reading further. The last is None where the log
    does not say how far it went."""
    unreadable: Rows | None = None
    """From ``actionqueue verify``: the first and the last sequence of each range of events that
    can't be read."""
    given_up: Rows | None = None
    """From ``actionqueue verify``: the same of the events that can be read, but lie behind those,
    so that a repair would give them up."""

    @property
    def meaning(self) -> str:
        """The reason in plain words."""
        return _REASONS.get(self.reason.split(" ", 1)[0], "")

    def __str__(self) -> str:
        where = "" if self.segment is None else f", segment {self.segment}"
        where += "" if self.offset is None else f", offset {self.offset}"
        meaning = f", {self.meaning}" if self.meaning else ""
        return f"{self.path}{where}: {self.reason}{meaning}{self._stake()}; {self._advice()}"

    def _stake(self) -> str:
        if self.unreadable is None:
            if self.first_sequence is None:
                return ""
            first, last = self.first_sequence, self.last_sequence
            rows = f"from {first} on" if last is None else rows_text(((first, last),))
            return (
                f"; sequences at stake, as far as was read: {rows} (`actionqueue verify DIR` says "
                "exactly)"
            )
        if not self.unreadable and not self.given_up:
            return "; every event that is known of can be read"
        lost = (
            f"; sequences that can't be read: {rows_text(self.unreadable)}"
            if self.unreadable
            else "; every event can be read"
        )
        return lost + (
            f"; readable, but given up by a repair: {rows_text(self.given_up)}"
            if self.given_up
            else ""
        )

    def _advice(self) -> str:
        match self.reason.split(" ", 1)[0]:
            case "snapshot_invalid":
                return (
                    "the queue opens without this snapshot if an older one or the log has "
                    "everything; the next compaction replaces it"
                )
            case "snapshot_differs":
                return (
                    "it was not made from this log; copy the directory, move the snapshot away, "
                    "and verify again"
                )
            case "directory":
                return (
                    "nothing was changed, and a repair leaves this alone: put the directory "
                    "itself there, moved or copied back from where it is; links are followed to "
                    "a queue, not inside it"
                )
        return (
            "nothing was changed; copy the directory, then let `actionqueue repair DIR` say what "
            "can be kept"
        )


class UnsupportedFormatError(OpenError):
    """The queue was written by a newer version of the library."""

    path: str
    """The file; the queue's directory where an event is what this version does not know."""
    version: int
    """The version of the format on disk."""
    event_kind: int | None = None
    """The code of an event's kind that this version does not know."""

    def __str__(self) -> str:
        what = (
            f"{self.path} has format {self.version}"
            if self.event_kind is None
            else f"{self.path} has an event of kind {self.event_kind} in format {self.version}"
        )
        return f"{what}, which this version does not know; upgrade the library"


class CompactedError(OpenError):
    """The log no longer has the events that were asked for: a snapshot covers them."""

    path: str
    first_sequence: int
    """The oldest event that the log still has."""
    message = (
        "the log of {path} begins at sequence {first_sequence}, what came before is in its "
        "snapshot; read that, and go on from there"
    )


class HistoryChangedError(OpenError):
    """The log at the path is not the one that the position was taken in, or its history is not.

    It was replaced, restored or repaired.
    """

    path: str
    sequence: int = 0
    """The position: the last event that was read."""
    message = (
        "the log in {path} is not the one, or has not the history, that event {sequence} was "
        "read in: it was replaced, restored or repaired, or the position is another queue's; "
        "read the projection again and follow from there"
    )


class NotAQueueError(OpenError):
    """There is no queue at this path."""

    path: str
    quarantine: str | None = None
    """Where a repair has moved everything that was here, if it could keep nothing."""

    def __str__(self) -> str:
        if self.quarantine is not None:
            return (
                f"there is no queue at {self.path} any more: a repair could keep nothing of it "
                f"and moved everything to {self.quarantine}; `actionqueue log --salvage DIR` "
                "prints the events that can be read there; opening it for writing begins a new "
                "queue at sequence 1"
            )
        return (
            f"there is no queue at {self.path}; look at the path, or open it for writing without "
            "create=False to make one"
        )


class OpenIOError(OpenError):
    """A system call failed that opening needs."""

    operation: str
    path: str
    errno: int

    @property
    def what(self) -> str:
        """Which call failed, and why, without the remedy."""
        return failed_call(self.operation, self.path, self.errno)

    def __str__(self) -> str:
        return f"{self.what}; the queue was not opened{remedy_for_opening(self.errno)}"
