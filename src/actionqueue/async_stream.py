"""The events of an open queue for asyncio, each as soon as it is durable."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Self

from actionqueue.errors import ForkedError
from actionqueue.reading import Position, follower_at, next_event

if TYPE_CHECKING:
    from _wal_native.reader import LogFollower
    from actionqueue.model import Event
    from actionqueue.store import ActionQueue

__all__ = ["AsyncEventStream"]

EVENTS_AT_A_TIME = 1000


class AsyncEventStream:
    """The events of an open queue as they become durable: an asynchronous iterator, for one task.

    Made by :meth:`actionqueue.aio.AsyncQueue.follow`. A task that is cancelled while it waits for an
    event, as by a timeout, may ask again: no event is lost.
    """

    def __init__(self, queue: ActionQueue, begin: Position, poll_seconds: float) -> None:
        self._queue = queue
        self._poll_seconds = poll_seconds
        self._given_history = begin.history
        self._sequence, self._checksum = begin.sequence, begin.checksum
        self._follower: LogFollower | None = None
        self._read: deque[tuple[Event, int | None]] = deque()  # with their records' checksums, and not yielded yet
        self._lock = threading.Lock()  # the reading that is under way has it, in its thread, whatever became of its look
        self._waiter: asyncio.AbstractEventLoop | None = None  # in which an event is waited for
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
        if waiter is not None and not waiter.is_closed():  # a loop that is closed never goes on with its task
            raise RuntimeError("an AsyncEventStream is for one task")
        self._waiter = asyncio.get_running_loop()
        try:
            while self._is_closed or not self._read:
                if self._is_closed:
                    raise StopAsyncIteration
                if self._lock.locked() or not self._may_be_more():
                    await asyncio.sleep(self._poll_seconds)
                else:
                    await self._look()
        finally:
            self._waiter = None
        event, self._checksum = self._read.popleft()
        self._sequence = event.sequence
        return event

    async def aclose(self) -> None:
        """Let go of the files; no event comes any more."""
        self._close()

    def _close(self) -> None:
        self._is_closed = True
        self._follower = None
        self._read.clear()

    def _may_be_more(self) -> bool:
        """Tell whether a look at the log is due: the first one, and then where something is durable, or nothing more will be."""
        return (
            self._follower is None
            or self._queue.durable_sequence > self._sequence
            or self._has_all_that_comes()
        )

    def _has_all_that_comes(self) -> bool:
        """Tell whether nothing more will become durable: the queue was closed, and its last sync is over."""
        queue = self._queue
        return queue.is_closed and (queue.durable_sequence == queue.sequence or queue.projection.poisoned_by is not None)

    async def _look(self) -> None:
        """Read in a thread, and wait for its end.

        A task that is cancelled or interrupted meanwhile, or whose loop ends, may leave the reading under way, which nothing stops. The
        stream reads no more before that has ended, and its events come all the same.
        """
        is_last = self._has_all_that_comes()
        if await asyncio.get_running_loop().run_in_executor(None, self._read_some, is_last):
            self._close()

    def _read_some(self, is_last: bool) -> bool:  # noqa: FBT001 -- for a thread
        """Read what is durable, as much as goes at a time; return whether nothing was there, nor will be."""
        if not self._lock.acquire(blocking=False):
            return False  # an earlier look's reading began late; the next look waits for its end
        try:
            return not self._read and not self._read_events() and is_last
        finally:
            self._lock.release()

    def _read_events(self) -> int:
        """Read events behind those that were yielded, and return how many."""
        follower = self._follower
        if follower is None:
            position = Position(self._sequence, self._given_history, self._checksum)
            self._follower = follower = follower_at(self._queue.path, position)
        count = 0
        try:
            while count < EVENTS_AT_A_TIME and (event := next_event(follower)) is not None:
                self._read.append((event, follower.checksum))
                count += 1
        except Exception:
            if not count:
                raise  # else behind the events: the next look meets it again
        return count
