"""Read a queue without opening it for writing: its projection, and events as they become durable.

Readers take no lock, and write and create nothing; the writer does not notice them.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Self, cast, overload

from _wal_native.events import decode_event
from _wal_native.reader import LogFollower, LogReader
from _wal_native.snapshot import load_newest_snapshot
from actionqueue.directory import existing_directory, has_writer, read_undisturbed
from actionqueue.errors import (
    ClosedError,
    CompactedError,
    HistoryChangedError,
    InvalidFieldError,
    InvalidFieldTypeError,
)
from actionqueue.limits import U64_MAX
from actionqueue.model import Event
from actionqueue.policy_fields import number_up_to, seconds_between_looks, seconds_from_0
from actionqueue.projection import Projection

if TYPE_CHECKING:
    from actionqueue.replication.reading import StoreStream
    from actionqueue.stores.protocol import LogStore

__all__ = ["EventStream", "ReadOnlyQueue", "follow"]

POLL_SECONDS = 0.01


@overload
def follow(
    path: str | os.PathLike[str],
    *,
    after: int | str = ...,
    history: str | None = ...,
    timeout: float | None = ...,
    poll_seconds: float = ...,
) -> EventStream: ...


@overload
def follow(
    path: LogStore,
    *,
    after: int | str = ...,
    history: str | None = ...,
    timeout: float | None = ...,
    poll_seconds: float = ...,
) -> StoreStream: ...


@overload
def follow(
    path: None = None,
    *,
    store: LogStore,
    after: int | str = ...,
    history: str | None = ...,
    timeout: float | None = ...,
    poll_seconds: float = ...,
) -> StoreStream: ...


def follow(
    path: str | os.PathLike[str] | LogStore | None = None,
    *,
    store: LogStore | None = None,
    after: int | str = 0,
    history: str | None = None,
    timeout: float | None = None,
    poll_seconds: float = POLL_SECONDS,
) -> EventStream | StoreStream:
    """Yield the events of a log in order, each as soon as it is durable.

    A writer may have the queue open meanwhile. A batch's events follow one another: the first comes
    only when all are durable. The iterator goes on over rotation, the writer's end and its
    successor's start, and waits for more where the log ends.

    Args:
        path: The queue's directory; or a store, as for ``store``.
        store: Follow the log in this store instead of a path. The stream does not close it.
        after: Where to begin: after a position, as :attr:`EventStream.position` gave it; or after
            the event with this sequence, 0 for the first event.
        history: The history of the sequence, as :attr:`EventStream.history` or ``queue.history``
            gave it; None: not known. A position has its own.
        timeout: Seconds without a new event after which the iterator ends, a finite number from 0;
            None waits for ever, 0 reads what is there.
        poll_seconds: How long to wait between two looks at the log, in seconds: from 0 to
            ``actionqueue.limits.POLL_SECONDS_MAX``.

    Raises:
        CompactedError: The next event is no longer in the log. Open the queue read-only, and go on
            from its sequence.
        HistoryChangedError: The log has another history than the one given, never had an event
            ``after``, or has another event in that position; or, later, it was replaced, restored
            or repaired while the stream followed it.
        NotAQueueError: There is no queue at this path.
        CorruptLogError: A durable record does not verify. OpenIOError: A system call failed.
        StoreError: The store failed; the error's class says why.
        InvalidFieldError: A number is out of range, or a text is no position.
            InvalidFieldTypeError: An argument is of another type. Nothing was read.
    """
    position = Position.of(after, history)
    timeout = None if timeout is None else seconds_from_0("follow", "timeout", timeout)
    poll_seconds = seconds_between_looks("follow", poll_seconds)
    if store is None and hasattr(path, "campaign"):  # as a LogStore has, and no path
        path, store = None, cast("LogStore", path)
    if store is not None:
        from actionqueue.replication.reading import StoreStream  # noqa: PLC0415 -- few need it
        from actionqueue.stores.arguments import ensure_store  # noqa: PLC0415

        if path is not None:
            raise TypeError("follow() takes a path or a store, not both")
        ensure_store("follow", store)
        return StoreStream(store, position, timeout)
    if path is None:
        raise TypeError("path must be a str or a path-like of str, got None; or give store=")
    directory = existing_directory(cast("str", path))
    return EventStream(follower_at(directory, position), position, timeout, poll_seconds)


class Position(NamedTuple):
    """An event of a history, after which a stream goes on."""

    sequence: int
    history: str | None
    checksum: int | None
    """The event's checksum, or None where that is not known. It tells apart events of one history:
    a queue that is put back to an earlier state goes on in the same history, but with other events,
    where the file system takes its files for the same ones."""

    @classmethod
    def of(cls, after: int | str, history: str | None) -> Self:
        """Return the position that the arguments of :func:`follow` say.

        Raises InvalidFieldError, InvalidFieldTypeError.
        """
        if history is not None:
            history = _history_of(history)
        if isinstance(after, str):
            if history is not None:
                raise InvalidFieldError(
                    "follow",
                    "history",
                    history,
                    "must not be given with a position, which has its own",
                )
            return cls._read(after)
        return cls(number_up_to("follow", "after", after, U64_MAX, _AFTER), history, None)

    @classmethod
    def _read(cls, text: str) -> Self:
        match = _POSITION.fullmatch(text)
        if match is None or int(match[1]) > U64_MAX:
            raise InvalidFieldError(
                "follow",
                "after",
                text,
                "must be a position as EventStream.position is, or a sequence",
            )
        return cls(int(match[1]), match[2] or None, int(match[3], 16) if match[3] else None)

    def __str__(self) -> str:
        checksum = "" if self.checksum is None else f"{self.checksum:08x}"
        return f"{self.sequence}-{self.history or ''}-{checksum}"


def _history_of(value: str) -> str:
    reason = "must be a str as queue.history is, 32 hexadecimal digits, or None"
    if not isinstance(value, str):
        raise InvalidFieldTypeError("follow", "history", value, reason)
    text = str.__str__(value)  # a subclass of str may have odd comparisons
    if _HISTORY.fullmatch(text) is None:
        raise InvalidFieldError("follow", "history", value, reason)
    return text


_HISTORY = re.compile(r"[0-9a-f]{32}")
_AFTER = f"must be a sequence from 0 to {U64_MAX}, or a position as EventStream.position is"
_POSITION = re.compile(r"([0-9]{1,20})-([0-9a-f]{32})?-([0-9a-f]{8})?")


def follower_at(directory: str, position: Position) -> LogFollower:
    """Return a follower that goes on after a position. Raises what :func:`follow` raises."""
    begin, history, checksum = position
    try:
        follower = LogFollower(directory, begin, checksum)
    except CompactedError as error:
        # A consumer of another history must not be sent to the snapshot, which may lack events that
        # the consumer has handled.
        if history is not None and _oldest_history(directory, error) != history:
            raise HistoryChangedError(directory, begin) from None
        raise
    if history is not None and follower.history != history:
        raise HistoryChangedError(directory, begin)
    return follower


def _oldest_history(directory: str, error: CompactedError) -> str | None:
    """Return the history of a log that begins later than asked for.

    Compactions may go on meanwhile, and drop more of it.
    """
    while True:
        try:
            return LogFollower(directory, error.first_sequence - 1).history
        except CompactedError as again:
            error = again


def next_event(follower: LogFollower, after: int) -> Event | None:
    """Return the next durable event after the one with this sequence, or None.

    If a signal's handler raised before the caller had the event that the follower read last, it is
    that one.
    """
    record = follower.record
    if record is None or record[2] <= after:
        record = follower.next_record()
    return None if record is None else decode_event(record[3], record[2], record[7])


class EventStream:
    """The events of a log as they become durable: an iterator, for one thread.

    :func:`follow` makes it.
    """

    def __init__(
        self, follower: LogFollower, begin: Position, timeout: float | None, poll_seconds: float
    ) -> None:
        self._follower: LogFollower | None = follower
        self._history = follower.history
        self._sequence, self._checksum = begin.sequence, follower.checksum
        self._timeout = timeout
        self._poll_seconds = poll_seconds

    @property
    def history(self) -> str | None:
        """The events' history, as 32 hexadecimal digits.

        None for a copy of a queue that no writer has opened: it has no history of its own yet.
        """
        return self._history if self._follower is None else self._follower.history

    @property
    def position(self) -> str:
        """The stream's place: the event that it yielded last, and that event's history.

        A consumer stores it when it has handled an event, and later follows from it. It is text
        without spaces, of at most 62 characters. It tells the event from any other that may get the
        same sequence after the queue was put back to an earlier state, in whatever way. Once
        compaction has dropped the event, it tells the history only.
        """
        return str(Position(self._sequence, self.history, self._checksum))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        follower = self._follower
        if follower is None:
            raise StopIteration
        idle_since = time.monotonic()
        while (event := next_event(follower, self._sequence)) is None:
            if self._timeout is not None and time.monotonic() - idle_since >= self._timeout:
                self.close()
                raise StopIteration
            time.sleep(self._poll_seconds)
        # No call from here on: if a signal's handler raises, it does so before the stream has moved
        # past the event, and the event comes again.
        self._sequence, self._checksum = event.sequence, follower.checksum
        return event

    def close(self) -> None:
        """Let go of the files; no event comes any more."""
        self._history = self.history
        self._follower = None


class Reader:
    """What readers of a log have in common, wherever the log is."""

    _projection: Projection
    _is_closed = False

    @property
    def projection(self) -> Projection:
        """The projection as of the last ``refresh``."""
        return self._projection

    @property
    def sequence(self) -> int:
        """Sequence of the last event in the projection, 0 without one."""
        return self._projection.latest_sequence

    @property
    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._is_closed

    def close(self) -> None:
        """Let go of the log. The projection stays readable. Closing again does nothing."""
        self._is_closed = True

    def __enter__(self) -> Self:
        if self._is_closed:
            raise ClosedError
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an open queue cannot be pickled or copied; open it by its path")


class ReadOnlyQueue(Reader):
    """The projection of a queue that another process may write.

    :func:`actionqueue.open` makes it with ``readonly=True``. While a writer has the queue open the
    projection goes as far as the log is durable; once the writer has ended, or was killed, it is
    what the next writer would find. Any thread may query it; one thread at a time may call
    :meth:`refresh`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = existing_directory(path)
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
            # The same stream as recovery reads, with the ring.
            self._follower = None
            reader = LogReader(
                self._path, None if base is None else (base["log_uuid"], base["sequence"])
            )
            reader.replay(projection)
            self._durable_sequence = reader.summary()["durable_sequence"]
            # A follower at the last event notices from now on if another history takes the log's
            # place.
            self._follower = LogFollower(self._path, projection.latest_sequence)
            self._follower.replay(projection, is_private=True)
        return projection

    @property
    def path(self) -> str:
        """The queue's directory, as a real path."""
        return self._path

    @property
    def history(self) -> str | None:
        """The log's history, as 32 hexadecimal digits. See :func:`follow`.

        None for a copy that no writer has opened.
        """
        return None if self._follower is None else self._follower.history

    @property
    def durable_sequence(self) -> int:
        """Every event up to this sequence is on stable storage, as far as this reader knows."""
        follower = self._follower
        return (
            self._durable_sequence
            if follower is None
            else max(self._durable_sequence, follower.durable_sequence)
        )

    @property
    def snapshot_damage(self) -> Exception | None:
        """Why the reader skipped the newest snapshot, if that did not verify."""
        return self._snapshot_damage

    @property
    def has_writer(self) -> bool:
        """Whether a writer has the queue open at this moment."""
        return has_writer(self._path)

    def refresh(self) -> int:
        """Bring the projection up to what is durable now, and return how many events that took.

        What becomes durable meanwhile comes along, so beside a writer that is faster than the
        reading the call lasts as long as that writes; queries of other threads get their turn.

        Where a compaction dropped the next event, the call reads everything again, and
        :attr:`projection` is another object from then on.

        Raises:
            HistoryChangedError: The log was replaced, restored from a backup or repaired since. The
                projection stays as it was, of the old history. Open a new ReadOnlyQueue.
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
        """Read everything again; a failure leaves everything as it was.

        Raises HistoryChangedError where the log has another history by now.
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
        """Yield events as they become durable. See :func:`follow`.

        The stream begins after the projection's last event, unless ``after`` says otherwise. It
        does not change the projection.
        """
        if self._is_closed:
            raise ClosedError
        begin = self.sequence if after is None else after
        return follow(
            self._path, after=begin, history=history, timeout=timeout, poll_seconds=poll_seconds
        )

    def close(self) -> None:
        """Let go of the files. The projection stays readable. Closing again does nothing."""
        super().close()
        self._follower = None

    def __repr__(self) -> str:
        return (
            f"<ReadOnlyQueue {self._path!r} {'closed' if self._is_closed else 'open'} at sequence "
            f"{self.sequence}>"
        )
