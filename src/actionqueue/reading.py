"""Reading a queue without opening it for writing: its projection, and the events of a live log as they become durable.

Readers take no lock, and write and create nothing; the writer does not notice them.
"""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Iterator
from types import TracebackType
from typing import NoReturn, Self

from _wal_native.codec import decode_event
from _wal_native.reader import LogFollower, LogReader
from _wal_native.snapshot import load_newest_snapshot
from actionqueue.directory import existing_directory, has_writer, read_undisturbed
from actionqueue.errors import ClosedError, CompactedError
from actionqueue.events import Event
from actionqueue.limits import U64_MAX
from actionqueue.projection import Projection

__all__ = ["ReadOnlyQueue", "follow"]

POLL_SECONDS = 0.01


def follow(
    path: str | os.PathLike[str],
    *,
    after: int = 0,
    timeout: float | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> Iterator[Event]:
    """Yield the events of a log in order, each as soon as it is durable, also while a writer has the queue open.

    A batch's events follow one another: none of them is yielded before all are durable. The iterator goes on over rotation, the writer's
    end and its successor's start, and waits for more where the log ends.

    Args:
        path: The queue's directory.
        after: The sequence behind which to begin; 0 for the first event.
        timeout: Seconds without a new event after which the iterator ends; None waits for ever, 0 reads what is there.
        poll_seconds: How long to wait between two looks at the log.

    Raises:
        CompactedError: The next event is no longer in the log. Open the queue read-only, and go on from its sequence.
        NotAQueueError: There is no queue at this path.
        CorruptLogError: A durable record does not verify. OpenIOError: A system call failed.
        ValueError: A number is out of range.
    """
    begin = operator.index(after)
    if not 0 <= begin <= U64_MAX:
        raise ValueError("after must be a sequence, or 0")
    if not poll_seconds >= 0 or (timeout is not None and not timeout >= 0):
        raise ValueError("seconds must be 0 or more")
    follower = LogFollower(existing_directory(path), begin)
    return _events(follower, timeout, poll_seconds)


def _events(follower: LogFollower, timeout: float | None, poll_seconds: float) -> Iterator[Event]:
    idle_since = time.monotonic()
    while True:
        record = follower.next_record()
        if record is not None:
            yield decode_event(record[3], record[2], record[7])
            idle_since = time.monotonic()
        elif timeout is not None and time.monotonic() - idle_since >= timeout:
            return
        else:
            time.sleep(poll_seconds)


class ReadOnlyQueue:
    """The projection of a queue that others write. Made by :func:`actionqueue.open` with ``readonly=True``.

    While a writer has the queue open the projection goes as far as the log is durable; of a queue whose writer has ended, or was killed,
    it is what the next writer would find. Queries may come from any thread; :meth:`refresh` from one at a time.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = existing_directory(path)
        self._is_closed = False
        self._follower: LogFollower | None = None
        self._durable_sequence = 0
        self._snapshot_damage: Exception | None = None
        self._projection = self._load()

    def _load(self) -> Projection:
        return read_undisturbed(self._path, self._load_once)

    def _load_once(self) -> Projection:
        projection = Projection()
        is_live = has_writer(self._path)
        base, self._snapshot_damage = load_newest_snapshot(self._path, projection)
        if is_live:
            self._follower = LogFollower(self._path, projection.latest_sequence)
            self._follower.replay(projection, is_private=True)
        else:
            # The same stream that recovery reads, the ring included.
            self._follower = None
            reader = LogReader(self._path, None if base is None else (base["log_uuid"], base["sequence"]))
            reader.replay(projection)
            self._durable_sequence = reader.summary()["durable_sequence"]
        return projection

    @property
    def path(self) -> str:
        """The queue's directory, as a real path."""
        return self._path

    @property
    def projection(self) -> Projection:
        """The projection as of the last :meth:`refresh`."""
        return self._projection

    @property
    def sequence(self) -> int:
        """Sequence of the last event in the projection, 0 where there is none."""
        return self._projection.latest_sequence

    @property
    def durable_sequence(self) -> int:
        """Every event up to this sequence is on stable storage, as far as this reader knows."""
        follower = self._follower
        return self._durable_sequence if follower is None else max(self._durable_sequence, follower.durable_sequence)

    @property
    def snapshot_damage(self) -> Exception | None:
        """What is wrong with the newest snapshot, if it did not verify and was passed over."""
        return self._snapshot_damage

    @property
    def has_writer(self) -> bool:
        """Whether somebody has the queue open for writing at this moment."""
        return has_writer(self._path)

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._is_closed

    def refresh(self) -> int:
        """Bring the projection up to what is durable now, and return how many events that took.

        Where the log no longer has the next event, because a compaction dropped it, everything is read anew, and
        :attr:`projection` is another object from then on.
        """
        if self._is_closed:
            raise ClosedError
        before = self.sequence
        try:
            follower = self._follower
            if follower is None:
                self._follower = follower = LogFollower(self._path, before)
            while follower.replay(self._projection, is_private=False):
                pass
        except CompactedError:
            self._projection = self._load()
        return self.sequence - before

    def follow(
        self, *, after: int | None = None, timeout: float | None = None, poll_seconds: float = POLL_SECONDS
    ) -> Iterator[Event]:
        """Yield events as they become durable, from behind the projection's last one unless ``after`` says otherwise. See :func:`follow`.

        The projection is not changed by it.
        """
        if self._is_closed:
            raise ClosedError
        begin = self.sequence if after is None else after
        return follow(self._path, after=begin, timeout=timeout, poll_seconds=poll_seconds)

    def close(self) -> None:
        """Let go of the files. The projection stays readable. Closing again does nothing."""
        self._is_closed = True
        self._follower = None

    def __enter__(self) -> Self:
        if self._is_closed:
            raise ClosedError
        return self

    def __exit__(
        self, exception_type: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an open queue cannot be pickled or copied; open it by its path")

    def __repr__(self) -> str:
        return f"<ReadOnlyQueue {self._path!r} {'closed' if self._is_closed else 'open'} at sequence {self.sequence}>"
