"""The threads of a writer: one ships events to the store, and one keeps the term."""

from __future__ import annotations

import contextlib
import threading
import time

from _wal_native.log import Log
from _wal_native.reader import LogFollower
from actionqueue import threads
from actionqueue.errors import (
    ClosedError,
    FencedError,
    ForkedError,
    OpenIOError,
    OutcomeUnknownError,
    PoisonedError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    StoreUnsafeError,
    TermHeldError,
)
from actionqueue.replication.note import Note, write_note
from actionqueue.stores.protocol import LogStore, StoreInfo, Term
from actionqueue.texts import told

__all__ = ["GROUP_BYTES", "PASSING", "REFUSED", "Shipper"]

GROUP_BYTES = 1 << 20
"""Bytes of a group that hold more than one batch."""
IDLE_SECONDS = 3600.0
CAMPAIGN_SECONDS = 1.0
RETRY_SECONDS = 0.25
STOP_SECONDS = 2.0
NOTE_SECONDS = 5.0
PASSING = (OutcomeUnknownError, StoreUnavailableError, TermHeldError)
"""What ends by itself. The group may be in the log, so its outcome is asked for."""
REFUSED = (StoreFullError, StoreUnsafeError)
"""What ends when an operator does something. The group is not in the log."""


class Shipper:
    """What ships the events of one writer, from its term's beginning to its end."""

    def __init__(
        self,
        log: Log,
        store: LogStore,
        info: StoreInfo,
        directory: str,
        note: Note,
        link: int,
        outbox_seconds: float,
    ) -> None:
        self._log = log
        self._store = store
        self._directory = directory
        self._note = note
        self.term = note.term
        self._link = link
        self._outbox_seconds = outbox_seconds
        self._keep_seconds = info.keep_seconds
        self._group_bytes = min(GROUP_BYTES, info.append_bytes_max)
        self._shipped = note.acknowledged
        self._shipping_since: float | None = None
        self.trouble: str | None = None
        """What keeps events from the store now."""
        self.groups = 0
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._note_lock = threading.Lock()
        self._noted_at = 0.0

    def start(self) -> None:
        """Keep the term, and ship from now on. Raises OpenIOError if the system gives no thread."""
        self._allow_appends()
        for name, run in (("shipper", self._run), ("keeper", self._keep)):
            self._threads.append(threads.start(f"actionqueue-{name}", run, self._directory))

    def stop(self) -> None:
        """End the threads. What a call of the store is doing then comes to its end first."""
        self._stop.set()
        try:
            self._log.stop_shipping()
        except ForkedError:
            return
        if not self._have_ended(STOP_SECONDS):
            self._store.close()  # nothing else ends a call that waits for the engine
            self._have_ended(None)

    def _have_ended(self, seconds: float | None) -> bool:
        others = [each for each in self._threads if each is not threading.current_thread()]
        for thread in others:
            thread.join(seconds)
        return not any(thread.is_alive() for thread in others)

    def valid_seconds(self) -> float:
        """Return how long no other writer takes the log."""
        return self._store.valid_until(self.term) - time.monotonic()

    # --- Shipping ---------------------------------------------------------------------------------

    def _run(self) -> None:
        follower = None
        while not self._stop.is_set():
            try:
                upto = self._log.begin_shipping(IDLE_SECONDS)
                if upto is None:
                    continue
                if follower is None:
                    follower = LogFollower(self._directory, self._shipped)
                self._ship(follower, upto)
            except ForkedError:
                return
            except PoisonedError:
                self._stop.set()  # nor is the term kept: another writer can go on
                return
            except BaseException as error:  # noqa: BLE001 -- whatever it is, nothing ships any more
                self._fail(error)
                return

    def _ship(self, follower: LogFollower, upto: int) -> None:
        self._shipping_since = time.monotonic()
        self._allow_appends()
        while not self._stop.is_set():
            group = follower.take_group(
                upto,
                self._group_bytes,
                self._note.log_id.bytes,
                self.term.epoch,
                self._shipped,
                self._link,
            )
            if group is None:
                break
            first, last, data, checksum = group
            if not self._append(first, last, data):
                return
            self._link, self._shipped = checksum, last
            self.groups += 1
            self._log.acknowledge(last)
        self._shipping_since = None
        self._allow_appends()

    def _append(self, first: int, last: int, data: bytes) -> bool:
        """Append a group, however long that takes; return False at the end of the shipper."""
        while not self._stop.is_set():
            try:
                self._store.append(self.term, first, last, data)
            except PASSING as error:
                self.trouble = told(error)
                if self._resume() and self._is_there(first, data):
                    return True
            except REFUSED as error:
                self.trouble = told(error)
                self._stop.wait(RETRY_SECONDS)
            else:
                self.trouble = None
                return True
        return False

    def _resume(self) -> bool:
        """Take the log again, as long as no other writer came; return False at the shipper's end.

        A campaign that failed may be carried out later. So nothing is appended behind it before one
        goes well: the store would take that for an older writer's.
        """
        while not self._stop.is_set():
            try:
                term = self._store.campaign(
                    self.term.holder, resume=self.term, timeout=CAMPAIGN_SECONDS
                )
            except (*PASSING, *REFUSED) as error:
                self.trouble = told(error)
                self._stop.wait(RETRY_SECONDS)
            else:
                self.term = term
                self._write_note()  # before anything is appended in this term
                return True
        return False

    def _is_there(self, first: int, data: bytes) -> bool:
        try:
            is_there = self._store.outcome(self.term, first, data)
        except PASSING:
            return False  # the append, once more, comes to the same
        if is_there:
            self.trouble = None
        return is_there

    # --- The term ---------------------------------------------------------------------------------

    def _keep(self) -> None:
        self._noted_at = time.monotonic()
        while not self._stop.wait(self._keep_seconds):
            try:
                self._keep_once()
            except ForkedError:
                return
            except PoisonedError:
                self._stop.set()  # the term is left to another writer
                return
            except BaseException as error:  # noqa: BLE001 -- whatever it is, the term ends
                self._fail(error)
                return

    def _keep_once(self) -> None:
        term = self.term
        try:
            self._store.keep(term)
            if self._shipping_since is None:
                self.trouble = None
        except FencedError:
            # While events are being shipped the term may be about to be resumed, and what ships
            # them finds out.
            if self._shipping_since is None and self.term is term:
                raise
        except StoreError as error:
            self.trouble = self.trouble or told(error)
        self._log.ensure_open()
        self._allow_appends()
        if time.monotonic() - self._noted_at > NOTE_SECONDS:
            self._noted_at = time.monotonic()
            try:
                self._write_note()
            except OpenIOError as error:
                self.trouble = self.trouble or told(error)

    def append_seconds(self) -> float:
        """Return how long appends go on: while no other writer comes, and the outbox is young."""
        seconds, since = self.valid_seconds(), self._shipping_since
        if since is None:
            return seconds
        return min(seconds, since + self._outbox_seconds - time.monotonic())

    def _allow_appends(self) -> None:
        self._log.append_for(self.append_seconds())

    def _write_note(self) -> None:
        # Both threads come here, and what one of them wrote last has to be the newest.
        with self._note_lock:
            note = Note(self._note.log_id, self.term, self._shipped, self._note.lost)
            if (self._note.term, self._note.acknowledged) != (note.term, note.acknowledged):
                write_note(self._directory, note)
                self._note = note

    def _fail(self, error: BaseException) -> None:
        """Poison the log, and leave the term to another writer, unless the shipper was stopped."""
        if self._stop.is_set():
            return
        self._stop.set()
        self.trouble = told(error)
        with contextlib.suppress(ClosedError, ForkedError):
            self._log.fail_shipping(error)

    def end_note(self, term: Term) -> None:
        """Say at the end what the store has, and whether the term goes on. Raises OpenIOError."""
        write_note(self._directory, Note(self._note.log_id, term, self._shipped, self._note.lost))
