"""The scheduler: all its parts in one class."""

from __future__ import annotations

from typing import NoReturn

from actionqueue.scheduler.adding import Adding
from actionqueue.scheduler.controlling import Controlling
from actionqueue.scheduler.waiting import Waiting
from actionqueue.scheduler.working_columns import WorkingInColumns

__all__ = ["Scheduler"]


class Scheduler(Adding, WorkingInColumns, Controlling, Waiting):
    """Decides what runs when, over an open queue, which is its only memory.

    Every decision is one batch of commands: the log has all of it or nothing, and it is as durable
    as the queue's policy says before a call returns. What cancels more than 250,000 runs and tasks
    takes several. A process that opens the queue again goes on where the last one was. Any thread
    may call every method, several schedulers may share a queue, and raw commands may be submitted
    beside them.

    Times are whole Unix seconds. Nothing happens by itself: something has to call :meth:`tick`, or
    wait with :meth:`wait`, which does.

    Args:
        queue: The open queue.
        lease_seconds: How long a claim is a worker's own without a heartbeat.
        retry: How long a run waits after a failed attempt.
        misfire: What becomes of a recurring task's times that were missed: a :class:`Misfire` or
            its name.
        on_prerequisite_failed: What becomes of tasks that wait for one which can no longer be
            completed: a :class:`PrerequisiteFailure` or its name.
        clock: Returns the time, in whole Unix seconds.

    Raises:
        InvalidFieldError: An argument does not fit.
        ClosedError, PoisonedError, ForkedError: The queue takes no commands.
    """

    def __reduce__(self) -> NoReturn:
        raise TypeError("a scheduler cannot be pickled or copied; make one over an open queue")

    def __repr__(self) -> str:
        return f"<Scheduler of {self._queue!r}>"
