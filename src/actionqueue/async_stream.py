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
    from actionqueue.events import Event
    from actionqueue.store import ActionQueue

__all__ = ["AsyncEventStream"]

EVENTS_AT_A_TIME = 1000


class AsyncEventStream:
    """The events of an open queue as they become durable: an asynchronous iterator, for one task.

    Made by :meth:`actionqueue.aio.AsyncQueue.follow`. A task that is cancelled while it waits for
    an event, as by a timeout, may ask again: no event is lost.
    """

    def __init__(self, queue: ActionQueue, begin: Position, poll_seconds: float) -> None:
        self._queue = queue
        self._poll_seconds = poll_seconds
        self._given_history = begin.history
        self._sequence, self._checksum = (
            begin.sequence,
            begin.checksum,
        )  # of the event that was yielded last
        self._read_up_to = begin.sequence
        self._follower: LogFollower | None = None
        self._read: deque[tuple[Event, int | None]] = (
            deque()
        )  # from the last yielded on, with their records' checksums
        self._lock = (
            threading.Lock()
        )  # the reading that is under way has it, in its thread, whatever became of its look
        self._waiter: tuple[asyncio.AbstractEventLoop] | None = (
            None  # in which an event is waited for
        )
        self._is_closed = False
        self._process = os.getpid()

    @property
    def history(self) -> str:
        """The history that the events are of, as 32 hexadecimal digits: the one that was given, or the queue's."""
        return self._given_history or self._queue.history

    @property
    def position(self) -> str:
        """Behind which event of which history the stream is.

        A consumer stores it when it has handled an event, and follows from it. It has the form of
        :attr:`actionqueue.EventStream.position`, and both kinds of ``follow`` take both.
        """
        return str(Position(self._sequence, self.history, self._checksum))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        if self._process != os.getpid():
            raise ForkedError
        waiter = self._waiter
        if (
            waiter is not None and not waiter[0].is_closed()
        ):  # a loop that is closed never goes on with its task
            raise RuntimeError("an AsyncEventStream is for one task")
        self._waiter = mine = (asyncio.get_running_loop(),)
        try:
            while self._is_closed or not self._has_more():
                if self._is_closed:
                    raise StopAsyncIteration
                await self._wait_or_look()
        finally:
            if self._waiter is mine:
                self._waiter = None
        event, checksum = self._read[0]
        # No call from here on: a signal's handler that raises comes before the stream is behind the
        # event, which then comes again.
        self._sequence, self._checksum = event.sequence, checksum
        return event

    def _has_more(self) -> bool:
        """Forget the event that was yielded last, and tell whether others were read behind it."""
        read = self._read
        while read and read[0][0].sequence <= self._sequence:
            read.popleft()
        return bool(read)

    async def aclose(self) -> None:
        """Let go of the files; no event comes any more. A task that waits for one notices it within ``poll_seconds``."""
        self._is_closed = True
        if self._lock.acquire(blocking=False):  # else the reading that is under way lets go
            try:
                self._let_go()
            finally:
                self._lock.release()

    def _let_go(self) -> None:
        self._follower = None
        self._read.clear()

    async def _wait_or_look(self) -> None:
        """Read where the log may have more; else, or where an earlier look's reading is under way, wait."""
        is_due = (
            self._follower is None
            or self._read_up_to < self._queue.durable_sequence
            or self._has_all_that_comes()
        )
        if not is_due or self._lock.locked() or (not await self._look() and not self._is_closed):
            await asyncio.sleep(self._poll_seconds)

    def _has_all_that_comes(self) -> bool:
        """Tell whether nothing more will become durable: the queue was closed, and its last sync is over."""
        queue = self._queue
        return queue.is_closed and (
            queue.durable_sequence == queue.sequence or queue.projection.poisoned_by is not None
        )

    async def _look(self) -> bool | None:
        """Read in a thread, wait for its end, and return whether it has read anything; None where another reading was under way.

        A task that is cancelled or interrupted meanwhile, or whose loop ends, may leave the reading
        under way, which nothing stops. The stream reads no more before that has ended, and its
        events come all the same.
        """
        is_last = self._has_all_that_comes()
        has_read = await asyncio.get_running_loop().run_in_executor(None, self._read_some)
        if is_last and has_read is False and not self._has_more():
            if self._read_up_to < self._queue.durable_sequence:
                raise HistoryChangedError(
                    self._queue.path, self._sequence
                )  # the files are not those that the queue has written
            await self.aclose()
        return has_read

    def _read_some(self) -> bool | None:
        """Read what is durable, as much as goes at a time, in a thread; return whether anything was read. None as :meth:`_look` has it."""
        if not self._lock.acquire(blocking=False):
            return None  # an earlier look's reading began late
        try:
            return not self._is_closed and not self._has_unread() and self._read_events() > 0
        finally:
            if self._is_closed:
                self._let_go()
            self._lock.release()

    def _has_unread(self) -> bool:
        return self._read_up_to > self._sequence

    def _read_events(self) -> int:
        """Read events behind those that were read, up to the last that the queue itself knows to be durable; return how many.

        Behind that may be those of a writer that came after the queue was closed.
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
                raise  # else behind the events: the next look meets it again
        return count
