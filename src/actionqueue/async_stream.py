"""The events of an open queue for asyncio, each as soon as it is durable."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Self

from actionqueue.errors import ForkedError, HistoryChangedError
from actionqueue.reading import Position, follower_at, next_event

if TYPE_CHECKING:
    from _wal_native.reader import LogFollower
    from actionqueue.model import Event
    from actionqueue.queue import ActionQueue

__all__ = ["AsyncEventStream"]

EVENTS_AT_A_TIME = 1000


class AsyncEventStream:
    """The events of an open queue as they become durable: an asynchronous iterator, for one task.

    :meth:`actionqueue.aio.AsyncQueue.follow` makes it. A task that is cancelled while it waits for
    an event, by a timeout for instance, may ask again: it loses no event.
    """

    def __init__(self, queue: ActionQueue, begin: Position, poll_seconds: float) -> None:
        self._queue = queue
        self._poll_seconds = poll_seconds
        self._given_history = begin.history
        # Of the event that was yielded last.
        self._sequence, self._checksum = begin.sequence, begin.checksum
        self._read_up_to = begin.sequence
        self._follower: LogFollower | None = None
        # The events from the last yielded on, with their records' checksums.
        self._read: deque[tuple[Event, int | None]] = deque()
        # A reading holds it, in its thread, whatever became of the look that began the reading.
        self._lock = threading.Lock()
        # The loop in which a task waits for an event.
        self._waiter: tuple[asyncio.AbstractEventLoop] | None = None
        self._is_closed = False
        self._process = os.getpid()

    @property
    def history(self) -> str:
        """The events' history, as 32 hexadecimal digits: that of the argument, or the queue's."""
        return self._given_history or self._queue.history

    @property
    def position(self) -> str:
        """The stream's place: the event that it yielded last, and that event's history.

        A consumer stores it when it has handled an event, and later follows from it. It has the
        form of :attr:`actionqueue.EventStream.position`, and both kinds of ``follow`` take both.
        """
        return str(Position(self._sequence, self.history, self._checksum))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._process != os.getpid():
            raise ForkedError
        waiter = self._waiter
        # A closed loop never goes on with its task.
        if waiter is not None and not waiter[0].is_closed():
            raise RuntimeError("an AsyncEventStream is for one task")
        self._waiter = mine = (asyncio.get_running_loop(),)
        try:
            if self._is_closed or not self._has_more():
                await self._read_more()
        finally:
            if self._waiter is mine:
                self._waiter = None
        event, checksum = self._read[0]
        # No call from here on: if a signal's handler raises, it does so before the stream has moved
        # past the event, and the event comes again.
        self._sequence, self._checksum = event.sequence, checksum
        return event

    async def _read_more(self) -> None:
        # In a function of its own (tests/unit/test_loops.py): what a signal's handler raises where
        # a loop goes back runs no finally block in the same function in CPython 3.13.
        while not self._is_closed:
            if self._has_more():
                return
            await self._wait_or_look()
        raise StopAsyncIteration

    def _has_more(self) -> bool:
        """Forget the event that was yielded last, and tell whether the stream has read more."""
        read = self._read
        while read and read[0][0].sequence <= self._sequence:
            read.popleft()
        return bool(read)

    async def aclose(self) -> None:
        """Let go of the files; no event comes any more.

        A task that waits for an event notices it within ``poll_seconds``.
        """
        self._is_closed = True
        # A reading that begins after the line above reads nothing, and one under way lets go. So
        # this takes no lock, which an interrupt could leave taken.
        if not self._lock.locked():
            self._let_go()

    def _let_go(self) -> None:
        self._follower = None
        self._read.clear()

    async def _wait_or_look(self) -> None:
        """Read if the log may have more and no earlier look's reading is under way; else wait."""
        is_due = (
            self._follower is None
            or self._read_up_to < self._queue.durable_sequence
            or self._has_all_that_comes()
        )
        if not is_due or self._lock.locked() or (not await self._look() and not self._is_closed):
            await asyncio.sleep(self._poll_seconds)

    def _has_all_that_comes(self) -> bool:
        """Tell whether nothing more will become durable.

        The queue was closed then, and its last sync is over.
        """
        queue = self._queue
        return queue.is_closed and (
            queue.durable_sequence == queue.sequence or queue.projection.poisoned_by is not None
        )

    async def _look(self) -> bool | None:
        """Read in a thread, wait for its end, and return whether it has read anything.

        Returns None where another reading was under way. If the task is cancelled or interrupted
        meanwhile, or its loop ends, the reading may go on, and nothing stops it. The stream reads
        no more before that has ended, and its events come all the same.
        """
        is_last = self._has_all_that_comes()
        has_read = await asyncio.get_running_loop().run_in_executor(None, self._read_some)
        if is_last and has_read is False and not self._has_more():
            if self._read_up_to < self._queue.durable_sequence:
                # The files are not those that the queue has written.
                raise HistoryChangedError(self._queue.path, self._sequence)
            await self.aclose()
        return has_read

    def _read_some(self) -> bool | None:
        """Read up to EVENTS_AT_A_TIME durable events, in a thread; return as :meth:`_look` does."""
        if not self._lock.acquire(blocking=False):
            return None  # the reading of an earlier look began late
        try:
            return not self._is_closed and not self._has_unread() and self._read_events() > 0
        finally:
            if self._is_closed:
                self._let_go()
            self._lock.release()

    def _has_unread(self) -> bool:
        return self._read_up_to > self._sequence

    def _read_events(self) -> int:
        """Read the next events, up to the last that the queue knows to be durable; return how many.

        Later events may come from a writer that opened the queue after this one closed it.
        """
        follower, last = self._follower, self._queue.durable_sequence
        if follower is None:
            position = Position(self._sequence, self._given_history, self._checksum)
            self._follower = follower = follower_at(self._queue.path, position)
            self._read_up_to = self._sequence
        count = 0
        try:
            while count < EVENTS_AT_A_TIME and self._read_up_to < last:
                event = next_event(follower, self._read_up_to)
                if event is None:
                    break
                self._read.append((event, follower.checksum))
                self._read_up_to = event.sequence
                count += 1
        except Exception:
            if not count:
                raise  # else the events come first, and the next look meets the error again
        return count
