"""Failures of writing: of the native writer, and of the lane around it."""

from __future__ import annotations

from typing import ClassVar

from actionqueue.errors.base import ActionQueueError, MutationError, Written
from actionqueue.errors.system_calls import failed_call, remedy


class AppendError(MutationError):
    """The writer failed to append the event. The projection is untouched.

    ``written`` is what the writer's error says.
    """

    cause: BaseException
    message = "the event was not appended ({cause}); nothing was applied"

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.written = cause.written if isinstance(cause, ActionQueueError) else Written.UNKNOWN


class PartialDurabilityError(MutationError):
    """The event was appended, but not made durable: it may or may not survive a restart."""

    sequence: int
    cause: BaseException
    message = (
        "event {sequence} was appended but not synced ({cause}); reopen the queue to see whether "
        "it survived"
    )
    written = Written.UNKNOWN


class ApplyError(MutationError):
    """The event is in the log, but the projection refused it."""

    sequence: int
    cause: BaseException
    message = (
        "event {sequence} is in the log, but the projection refused it ({cause}); reopen the queue"
    )
    written = Written.YES


class WriterError(ActionQueueError):
    """Base of the errors of the native writer."""


class _SystemCallError(WriterError):
    """A system call failed that the writer needs."""

    operation: str
    path: str
    errno: int
    advice: ClassVar[str]
    """What to do; ``{remedy}`` stands for what the errno asks for."""

    @property
    def what(self) -> str:
        """Which call failed, and why, without the remedy."""
        return failed_call(self.operation, self.path, self.errno)

    def __str__(self) -> str:
        return f"{self.what}; {self.advice.format(remedy=remedy(self.errno))}"


class LogWriteError(_SystemCallError):
    """A write or a sync of the log failed. The handle takes no further commands."""

    written = Written.UNKNOWN
    advice = "reopen the queue to recover what the disk holds"


class LogSpaceError(_SystemCallError):
    """The writer could not make the next segment, mostly for want of room.

    Nothing was written, and the caller can submit the command again.
    """

    advice = "nothing was written; {remedy}, then submit again"


class DisplacedError(WriterError):
    """The queue's directory was moved, removed or replaced under the open handle.

    Nothing was written to what stands at its path now. Submitting a command then poisons the
    handle: what it acknowledged before is in the directory that it was opened in, if that still
    exists. A snapshot or a compaction only fails.
    """

    path: str
    message = (
        "the directory at {path} is not the one that this queue was opened in, which was moved, "
        "removed or replaced; nothing was written there; close the queue, and open it where its "
        "directory is now"
    )


class SnapshotError(_SystemCallError):
    """A snapshot or a compaction failed.

    The queue stays open, and its log and older snapshots are as good as before.
    """

    advice = "the log and older snapshots are as they were; {remedy}, then try again"


class LogCloseError(_SystemCallError):
    """Closing could not write the mark of a clean close.

    Every event is on stable storage, and the queue is released.
    """

    written = Written.YES
    advice = "every event is on stable storage and the queue is released; the next open recovers it"
