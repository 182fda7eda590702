"""Errors of an open queue whose handle takes no more calls, or not this one, and its warnings."""

from __future__ import annotations

from actionqueue.errors.base import ActionQueueError
from actionqueue.texts import told


class StoppedError(ActionQueueError):
    """A long operation stopped on request, or because the queue is being closed.

    Nothing of it has appeared.
    """

    message = "stopped before it was done; nothing was changed"


class ClosedError(ActionQueueError):
    """The handle was closed."""

    message = "the queue was closed; open it again"


class ReentrantCallError(ActionQueueError):
    """The thread entered the lane from inside a call of its own.

    A signal handler, a finalizer, a writer or a projection did so.
    """

    message = (
        "entered from inside a call of the same thread (by a signal handler?); submit after that "
        "call"
    )


class PoisonedError(ActionQueueError):
    """Since an earlier failure it is unknown what the log holds: the handle takes no commands."""

    cause: BaseException | None = None

    def __str__(self) -> str:
        why = "" if self.cause is None else f" ({told(self.cause)})"
        return f"an earlier write or sync failed{why}; close the queue and open it again to recover"


class ForkedError(ActionQueueError):
    """The handle belongs to the parent process."""

    message = (
        "the queue was opened before a fork and belongs to the parent process; open it in the "
        "child after that"
    )


class TimestampWarning(UserWarning):
    """Runs ended more than a century after the clock's time.

    Their timestamps are not in seconds, but perhaps in milliseconds.
    """


class UnsafeDirectoryWarning(UserWarning):
    """Other users may put files into the queue's directory and take its own away.

    They may write to it, or it belongs to another user. A group of the owner alone (the primary
    one, with the user's name and no other member) does not count as another user.
    """
