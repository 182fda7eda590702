"""Reading a queue without opening it for writing: its projection, and the events of a live log as they become durable.

Readers take no lock, and write and create nothing; the writer does not notice them.
"""

from __future__ import annotations

import os
import re
import time
from types import TracebackType
from typing import NamedTuple, NoReturn, Self

from _wal_native.codec import decode_event
from _wal_native.reader import LogFollower, LogReader
from _wal_native.snapshot import load_newest_snapshot
from actionqueue.directory import existing_directory, has_writer, read_undisturbed
from actionqueue.errors import ClosedError, CompactedError, HistoryChangedError, InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import U64_MAX
from actionqueue.model import Event
from actionqueue.policy_fields import number_up_to, seconds_between_looks, seconds_from_0
from actionqueue.projection import Projection

__all__ = ["EventStream", "ReadOnlyQueue", "follow"]

POLL_SECONDS = 0.01


def follow(
    path: str | os.PathLike[str],
    *,
    after: int | str = 0,
    history: str | None = None,
    timeout: float | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> EventStream:
    """Yield the events of a log in order, each as soon as it is durable, also while a writer has the queue open.

    A batch's events follow one another: none of them is yielded before all are durable. The iterator goes on over rotation, the writer's
    end and its successor's start, and waits for more where the log ends.

    Args:
        path: The queue's directory.
        after: Where to begin: behind a position, as :attr:`EventStream.position` said; or behind the event with this sequence, 0 for
            the first event.
        history: The history that a sequence was read in, as :attr:`EventStream.history` or ``queue.history`` said; None: not known. A
            position has its own.
        timeout: Seconds without a new event after which the iterator ends, a finite number from 0; None waits for ever, 0 reads what is
            there.
        poll_seconds: How long to wait between two looks at the log, in seconds: from 0 to ``actionqueue.limits.POLL_SECONDS_MAX``.

    Raises:
        CompactedError: The next event is no longer in the log. Open the queue read-only, and go on from its sequence.
        HistoryChangedError: The log has another history than the one given, no event ``after`` was ever appended to it, or another event
            is in that position; or, later, it was replaced, restored or repaired while it was followed.
        NotAQueueError: There is no queue at this path.
        CorruptLogError: A durable record does not verify. OpenIOError: A system call failed.
        InvalidFieldError: A number is out of range, or a text is no position. InvalidFieldTypeError: An argument is of another type.
            Nothing was read.
    """
    position = Position.of(after, history)
    timeout = None if timeout is None else seconds_from_0("follow", "timeout", timeout)
    poll_seconds = seconds_between_looks("follow", poll_seconds)
    return EventStream(follower_at(existing_directory(path), position), position, timeout, poll_seconds)


class Position(NamedTuple):
    """Behind which event of which history."""

    sequence: int
    history: str | None
    checksum: int | None
    """Of the event; None where that is not known. A queue that is put back to an earlier state goes on in the same history where the file
    system takes its files for the same ones; but with other events."""

    @classmethod
    def of(cls, after: int | str, history: str | None) -> Self:
        """Return what the arguments of :func:`follow` say. Raises InvalidFieldError, InvalidFieldTypeError."""
        if history is not None and not isinstance(history, str):
            raise InvalidFieldTypeError("follow", "history", history, "must be a str as queue.history is, or None")
        if isinstance(after, str):
            if history is not None:
                raise InvalidFieldError("follow", "history", history, "must not be given with a position, which has its own")
            return cls._read(after)
        return cls(number_up_to("follow", "after", after, U64_MAX, _AFTER), history, None)

    @classmethod
    def _read(cls, text: str) -> Self:
        match = _POSITION.fullmatch(text)
        if match is None or int(match[1]) > U64_MAX:
            raise InvalidFieldError("follow", "after", text, "must be a position as EventStream.position is, or a sequence")
        return cls(int(match[1]), match[2] or None, int(match[3], 16) if match[3] else None)

    def __str__(self) -> str:
        checksum = "" if self.checksum is None else f"{self.checksum:08x}"
        return f"{self.sequence}-{self.history or ''}-{checksum}"


_AFTER = f"must be a sequence from 0 to {U64_MAX}, or a position as EventStream.position is"
_POSITION = re.compile(r"([0-9]{1,20})-([0-9a-f]{32})?-([0-9a-f]{8})?")


def follower_at(directory: str, position: Position) -> LogFollower:
    """Return a follower that stands behind an event of a history, or of any history. Raises what :func:`follow` raises."""
    begin, history, checksum = position
    try:
        follower = LogFollower(directory, begin, checksum)
    except CompactedError as error:
        # Whose history is another one must not be sent to the snapshot, which may lack events that it has handled.
        if history is not None and _oldest_history(directory, error) != history:
            raise HistoryChangedError(directory, begin) from None
        raise
    if history is not None and follower.history != history:
        raise HistoryChangedError(directory, begin)
    return follower


def _oldest_history(directory: str, error: CompactedError) -> str | None:
    """Return the history of a log that does not go back as far as was asked for; compactions may go on meanwhile."""
    while True:
        try:
            return LogFollower(directory, error.first_sequence - 1).history
        except CompactedError as again:
            error = again


def next_event(follower: LogFollower) -> Event | None:
    """Return the next event that is durable, None where there is none yet."""
    record = follower.next_record()
    return None if record is None else decode_event(record[3], record[2], record[7])


class EventStream:
    """The events of a log as they become durable: an iterator. Made by :func:`follow`; for one thread."""

    def __init__(self, follower: LogFollower, begin: Position, timeout: float | None, poll_seconds: float) -> None:
        self._follower: LogFollower | None = follower
        self._history = follower.history
        self._sequence, self._checksum = begin.sequence, follower.checksum
        self._timeout = timeout
        self._poll_seconds = poll_seconds

    @property
    def history(self) -> str | None:
        """The history that the events are of, as 32 hexadecimal digits.

        None where only a copy of a queue is there, which has no history of its own before a writer has opened it.
        """
        return self._history if self._follower is None else self._follower.history

    @property
    def position(self) -> str:
        """Behind which event of which history the stream is: what a consumer stores when it has handled an event, and follows from.

        Text without spaces, of at most 62 characters. It tells the event from any other that may have the same sequence once the queue was
        put back to an earlier state, however that was done; once compaction has dropped the event, its history alone can be told.
        """
        return str(Position(self._sequence, self.history, self._checksum))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        follower = self._follower
        if follower is None:
            raise StopIteration
        idle_since = time.monotonic()
        while (event := next_event(follower)) is None:
            if self._timeout is not None and time.monotonic() - idle_since >= self._timeout:
                self.close()
                raise StopIteration
            time.sleep(self._poll_seconds)
        self._sequence, self._checksum = event.sequence, follower.checksum
        return event

    def close(self) -> None:
        """Let go of the files; no event comes any more."""
        self._history = self.history
        self._follower = None


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
        projection.leave_to_reader()
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
            # It stands at the last event from now on, so that another history in the log's place is noticed.
            self._follower = LogFollower(self._path, projection.latest_sequence)
            self._follower.replay(projection, is_private=True)
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
    def history(self) -> str | None:
        """The log's history, as 32 hexadecimal digits; None for a copy that no writer has opened. See :func:`follow`."""
        return None if self._follower is None else self._follower.history

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

        Where the log no longer has the next event, because a compaction dropped it, everything is read again, and
        :attr:`projection` is another object from then on.

        Raises:
            HistoryChangedError: The log was replaced, restored from a backup or repaired since; the projection is of the old history, as it
                was. Open a new ReadOnlyQueue.
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
            self._load_again(before)
        return self.sequence - before

    def _load_again(self, before: int) -> None:
        """Read everything again; after a failure all is as it was.

        Raises HistoryChangedError where the log is of another history by now.
        """
        kept = self._follower, self._durable_sequence, self._snapshot_damage
        history, is_same = self.history, False
        try:
            projection = self._load()
            is_same = projection.latest_sequence >= before and history in (None, self.history)
        finally:
            if not is_same:
                self._follower, self._durable_sequence, self._snapshot_damage = kept
        if not is_same:
            raise HistoryChangedError(self._path, before)
        self._projection = projection

    def follow(
        self,
        *,
        after: int | str | None = None,
        history: str | None = None,
        timeout: float | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> EventStream:
        """Yield events as they become durable, from behind the projection's last one unless ``after`` says otherwise. See :func:`follow`.

        The projection is not changed by it.
        """
        if self._is_closed:
            raise ClosedError
        begin = self.sequence if after is None else after
        return follow(self._path, after=begin, history=history, timeout=timeout, poll_seconds=poll_seconds)

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
