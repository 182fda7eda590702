"""Reading a log in a store: its projection, and its events as they become durable."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from typing import Any, Self

from _wal_native.events import decode_event
from _wal_native.group import event_checksum, records_of_group, take_in
from _wal_native.snapshot import load_newest_snapshot
from actionqueue.errors import (
    ClosedError,
    CompactedError,
    CorruptLogError,
    DamagedGroupError,
    HistoryChangedError,
    TrimmedError,
)
from actionqueue.model import Event
from actionqueue.projection import Projection
from actionqueue.reading import Position, Reader
from actionqueue.replication.groups import Chain
from actionqueue.replication.snapshots import fetch
from actionqueue.stores.protocol import LogStore

__all__ = ["StoreReader", "StoreStream"]


class StoreReader(Reader):
    """The projection of a queue whose log is in a store, and which another process may write.

    :func:`actionqueue.open` makes it with ``store`` and ``readonly=True``. Its projection is in
    memory alone. Any thread may query it; one thread at a time may call :meth:`refresh`.
    """

    def __init__(self, store: LogStore) -> None:
        self._store = store
        self._log_id = store.head().log_id
        self._begin()

    def _begin(self) -> None:
        """Begin with the store's newest snapshot, or with nothing, and take in what comes then."""
        projection = Projection()
        projection.leave_to_reader()
        _load_snapshot(self._store, projection)
        chain = Chain(self._log_id, projection.latest_sequence)
        _take_in_all(self._store, projection, chain)
        self._projection, self._chain = projection, chain

    @property
    def durable_sequence(self) -> int:
        """What is in the projection is durable."""
        return self.sequence

    @property
    def history(self) -> str:
        """The log's identity in the store, as 32 hexadecimal digits."""
        return self._log_id.hex

    def refresh(self) -> int:
        """Bring the projection up to what is durable now, and return how many events that took.

        Where the log was trimmed meanwhile, the call begins again with a snapshot, and
        :attr:`projection` is another object from then on. Raises what the store raises,
        DamagedGroupError, ClosedError.
        """
        if self._is_closed:
            raise ClosedError
        before = self.sequence
        if self._chain.last != before:  # a call before this one was interrupted, or failed
            self._chain = Chain(self._log_id, before)
        try:
            _take_in_all(self._store, self._projection, self._chain)
        except TrimmedError:
            self._begin()
        return self.sequence - before

    def close(self) -> None:
        """Let go of the store. The projection stays readable. Closing again does nothing."""
        super().close()
        self._store.close()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "open"
        return f"<StoreReader {self.history} {state} at sequence {self.sequence}>"


def _load_snapshot(store: LogStore, projection: Projection) -> None:
    damage: Exception | None = None
    for info in store.snapshots():
        folder = tempfile.mkdtemp(prefix="actionqueue-")
        try:
            fetch(store, info, folder)
            load_newest_snapshot(folder, projection)
        except TrimmedError:
            continue  # dropped meanwhile: there is a newer one
        except CorruptLogError as error:
            damage = damage or error
            continue  # the log goes back to the one before it
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    if damage is not None:
        raise damage


def _take_in_all(store: LogStore, projection: Projection, chain: Chain) -> None:
    for group in store.read(chain.last):
        header = chain.add(group)
        reason = take_in(projection, group)
        if reason:
            raise DamagedGroupError(header.first, reason)


class StoreStream:
    """The events of a log in a store as they become durable: an iterator, for one thread.

    :func:`actionqueue.follow` makes it with ``store``. Its positions are those of an
    :class:`~actionqueue.reading.EventStream` of any copy of the log.
    """

    def __init__(self, store: LogStore, begin: Position, timeout: float | None) -> None:
        self._store = store
        self._log_id = store.head().log_id
        if begin.history not in (None, self.history):
            raise HistoryChangedError("the store", begin.sequence)
        self._chain = Chain(self._log_id, begin.sequence)
        self._timeout = timeout
        self._records: deque[Any] = deque()
        self._sequence, self._checksum = begin.sequence, begin.checksum
        self._is_closed = False

    @property
    def history(self) -> str:
        """The log's identity in the store, as 32 hexadecimal digits."""
        return self._log_id.hex

    @property
    def position(self) -> str:
        """The stream's place: the event that it yielded last. See :attr:`EventStream.position`."""
        return str(Position(self._sequence, self.history, self._checksum))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while not self._is_left() and not self._is_closed:
            self._is_closed = not self._wait()
        if not self._records:
            raise StopIteration
        record = self._records[0]
        event = decode_event(record[3], record[2], record[7])
        checksum = event_checksum(record[2], record[3], record[7])
        self._sequence, self._checksum = record[2], checksum
        return event

    def _is_left(self) -> bool:
        """Whether an event is here, after those that were yielded."""
        while self._records and self._records[0][2] <= self._sequence:
            self._records.popleft()
        return bool(self._records)

    def close(self) -> None:
        """End the stream: no event comes any more."""
        self._is_closed = True
        self._records.clear()

    def _wait(self) -> bool:
        is_any = False
        try:
            for group in self._store.tail(self._chain.last, self._timeout):
                is_any = True
                self._add(group)
        except TrimmedError as error:
            raise CompactedError("the store", error.trimmed_to + 1) from error
        return is_any

    def _add(self, group: bytes) -> None:
        begin = self._chain
        chain = Chain(self._log_id, begin.last, begin.checksum)
        chain.add(group)
        # Before the chain: where a signal's handler raises in between, the events come twice.
        self._records.extend(records_of_group(group, begin.last))
        self._chain = chain
