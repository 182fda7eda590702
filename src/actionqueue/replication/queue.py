"""The queue whose log is in a store: as its writer, or standing by to become that."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any, Self

from _wal_native.snapshot import compact
from actionqueue import threads
from actionqueue.clock import now
from actionqueue.compaction import CompactionPolicy, Progress
from actionqueue.directory import directory_to_open
from actionqueue.errors import (
    ActionQueueError,
    ClosedError,
    CorruptLogError,
    DamagedGroupError,
    FencedError,
    ForkedError,
    LockedError,
    LogCloseError,
    PartialDurabilityError,
    PoisonedError,
    SnapshotError,
    StandbyError,
    StoppedError,
    StoreUnavailableError,
    TermHeldError,
    TrimmedError,
)
from actionqueue.growth import LogGrowth
from actionqueue.opening import TAKEOVER_SECONDS
from actionqueue.policy_fields import file_size, flag, seconds_from_0
from actionqueue.queue import ActionQueue
from actionqueue.recovery import RecoveryReport
from actionqueue.replication.copy import Copy
from actionqueue.replication.groups import Chain
from actionqueue.replication.note import NO_TERM, Note, Tail, write_note
from actionqueue.replication.shipper import PASSING, REFUSED, Shipper
from actionqueue.replication.snapshots import Uploader
from actionqueue.retry import Retry
from actionqueue.stores.arguments import name_of
from actionqueue.stores.protocol import Head, LogStore, Term
from actionqueue.sync_policy import DurabilityPolicy, SyncPolicy
from actionqueue.texts import host_name, told

__all__ = ["SHIP_MILLISECONDS", "ReplicatedQueue"]

SHIP_MILLISECONDS = 5
"""How long a Deferred command waits for others to go to the store with."""
STANDBY_SECONDS = 0.2
"""How often a queue that stands by looks whether the writer is gone."""
RETRY_SECONDS = 0.5
STOP_SECONDS = 2.0
CANCEL_SECONDS = 5.0
"""How soon ``progress.cancel()`` ends a wait for the engine. Within one campaign of so long a store
finds out that another writer is silent, whatever the engine's clock says."""


class ReplicatedQueue(ActionQueue):
    """A queue whose log is in a store, of which it is the writer, or stands by.

    :func:`actionqueue.open` makes it with ``store``. It is an :class:`ActionQueue` in all; docs and
    figures of what differs are in docs/replicated.md. What is on stable storage here is on that of
    a majority of the engine's nodes.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        *,
        store: LogStore,
        standby: bool,
        holder: str | None,
        takeover_seconds: float | None,
        outbox_seconds: float,
        durability: DurabilityPolicy | str,
        create: bool,
        segment_size: int,
        ring_size: int,
        sector_size: int,
        compaction: CompactionPolicy | None,
        sync: SyncPolicy,
        progress: Progress | None,
    ) -> None:
        self._started = time.perf_counter()
        self._unusable = ClosedError()
        self._check_options(durability, create, compaction, sync, progress)
        flag("standby", standby)
        self._store = store
        self._holder = name_of(
            "open", "holder", f"{host_name()}:{os.getpid()}" if holder is None else holder
        )
        self._outbox_seconds = seconds_from_0("open", "outbox_seconds", outbox_seconds)
        if takeover_seconds is not None:
            takeover_seconds = seconds_from_0("open", "takeover_seconds", takeover_seconds)
        self._takeover_seconds = takeover_seconds
        self._compaction, self._progress = compaction, progress
        self._shipper: Shipper | None = None
        self._uploader: Uploader | None = None
        self._trouble: str | None = None
        self._compaction_trouble: str | None = None
        self._stopping = threading.Event()
        self._standby_progress = Progress()
        self._compacting = Retry()
        self._active = threading.Event()
        self._standing_by: threading.Thread | None = None
        self._process = os.getpid()
        self._is_released = False
        self._temporary: str | None = None
        if path is None:
            path = self._temporary = tempfile.mkdtemp(prefix="actionqueue-")
        self._path = directory_to_open(path)
        if not sync.acts:
            sync = SyncPolicy(milliseconds=SHIP_MILLISECONDS)
        try:
            self._copy = Copy(
                self._path,
                store,
                {
                    "may_create": create,
                    "segment_size": file_size("segment_size", segment_size),
                    "ring_size": file_size("ring_size", ring_size),
                    "sector_size": file_size("sector_size", sector_size),
                    "sync": sync,
                    "progress": progress,
                },
            )
            head = store.head()
            self._open_copy(head)
            if self._resumes(takeover_seconds):
                return
            if not standby:
                self._campaign(takeover_seconds)
            elif not self._takes_the_rest(takeover_seconds):
                self._unusable = StandbyError(head.holder or "")
                self._begin_to_stand_by()
        except BaseException:
            self._give_up()
            raise

    # --- The copy ---------------------------------------------------------------------------------

    def _open_copy(self, head: Head) -> None:
        self._copy.open(head)
        self._use_copy()

    def _use_copy(self) -> None:
        self._log, self._projection = self._copy.log, self._copy.projection
        self._log.own_table(self._lane)
        self._recovery = self._found()
        self._chain = Chain(self._copy.note.log_id, self._log.last_sequence)
        self._growth = LogGrowth(
            self._path, self._compaction, weakref.ref(self._log), self._recovery
        )

    def _catch_up(self, upto: int | None, timeout: float | None = 0.0) -> None:
        """Take in what the log has; without ``upto``, what is durable, for which it may wait.

        Where the log no longer goes back so far, the copy begins again with a snapshot.
        """
        try:
            self._take_in_all(upto, timeout)
        except (TrimmedError, DamagedGroupError):
            last = self._chain.last
            if not any(info.sequence > last for info in self._store.snapshots()):
                raise
            self._copy.begin_again()
            self._use_copy()
            self._take_in_all(upto, timeout)

    def _take_in_all(self, upto: int | None, timeout: float | None) -> None:
        after = self._chain.last
        groups = (
            self._store.read(after, upto=upto)
            if upto is not None or timeout == 0.0
            else self._store.tail(after, timeout)
        )
        for group in groups:
            self._take_in(group)
            if self._stopping.is_set():
                raise ClosedError

    def _take_in(self, group: bytes) -> None:
        header = self._chain.add(group)
        try:
            reason = self._log.take_in(group)
        except BaseException:
            # Some of it may be in the log.
            self._chain = Chain(self._copy.note.log_id, self._log.last_sequence)
            raise
        if reason:
            raise DamagedGroupError(header.first, reason)

    def _found(self) -> RecoveryReport:
        return RecoveryReport(**self._copy.report, seconds=time.perf_counter() - self._started)

    # --- Becoming the writer ----------------------------------------------------------------------

    def _resumes(self, timeout: float | None) -> bool:
        """Go on with the directory's own term, where no other writer came since."""
        note = self._copy.note
        if not note.term.epoch:
            return False
        try:
            term = self._campaign_until(timeout, note.term)
        except FencedError:
            # Another writer came since the head was read: its events are those of the log.
            self._copy.log.close()
            self._open_copy(self._store.head())
            return False
        self._become_writer(term)
        return True

    def _campaign(self, timeout: float | None) -> None:
        if not self._copy.has_rest:
            self._catch_up(None)
        self._become_writer(self._campaign_until(timeout, None))

    def _takes_the_rest(self, timeout: float | None) -> bool:
        """Go on as the writer, where something is in the outbox and no other writer is there."""
        if not self._copy.has_rest:
            return False
        seconds = TAKEOVER_SECONDS if timeout is None else timeout  # it stands by all the same
        try:
            term = self._campaign_until(seconds, None)
        except TermHeldError:
            self._copy.give_up_the_rest()
            self._use_copy()
            return False
        self._become_writer(term)
        return True

    def _campaign_until(self, timeout: float | None, resume: Term | None) -> Term:
        """Take the log, and look now and then whether the opening was canceled."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            left = CANCEL_SECONDS if until is None else until - time.monotonic()
            try:
                return self._store.campaign(
                    self._holder, resume=resume, timeout=min(max(left, 0.0), CANCEL_SECONDS)
                )
            except (TermHeldError, StoreUnavailableError):
                if left <= CANCEL_SECONDS and until is not None:
                    raise
            self._ensure_not_canceled()

    def _ensure_not_canceled(self) -> None:
        if self._progress is not None and self._progress.is_canceled:
            raise StoppedError

    def _become_writer(self, term: Term) -> None:
        """Begin as the writer of a term: with all that the log has, and what is in the outbox."""
        end = term.first_sequence - 1
        if self._copy.has_rest:
            self._copy.compare_the_rest(end)
            self._use_copy()
        last = self._log.last_sequence
        if last < end:
            self._catch_up(end)
        self._log.ship_from(end)
        note = self._copy.note
        self._copy.note = Note(note.log_id, term, end, note.lost)
        write_note(self._path, self._copy.note)
        self._shipper = Shipper(
            self._log, self._store, self._copy.info, self._path, self._copy.note, self._link(end),
            self._outbox_seconds,
        )  # fmt: skip
        self._shipper.start()
        if last > end:
            self._ship_what_was_left()
        self._begin(self._compaction, self._found(), self._progress)
        self._uploader = Uploader(self._path, self._store, self._shipper)
        self._uploader.start()
        self._ending = weakref.finalize(
            self, _end_writer, self._shipper, self._uploader, self._store
        )
        self._active.set()

    def _ship_what_was_left(self) -> None:
        """Have the store take what an earlier process has left in the outbox."""
        seconds = self._takeover_seconds
        left = math.inf if seconds is None else max(seconds, self._outbox_seconds)
        while not self._log.try_sync(min(left, CANCEL_SECONDS)):
            left -= CANCEL_SECONDS
            self._ensure_not_canceled()
            if left <= 0:
                raise StoreUnavailableError(
                    TimeoutError("what is in the outbox has not reached the store in time")
                )

    def _link(self, end: int) -> int:
        """Return the checksum of the log's last group, 0 where it is not there, or of no use."""
        if self._chain.last == end and self._chain.checksum:
            return self._chain.checksum
        try:
            found = Chain(self._copy.note.log_id, end - 1)
            for group in self._store.read(end - 1, upto=end) if end else ():
                found.add(group)
        except (TrimmedError, DamagedGroupError):
            return 0
        return found.checksum

    # --- Standing by ------------------------------------------------------------------------------

    def _begin_to_stand_by(self) -> None:
        self._catch_up(None)
        self._standby_ending = weakref.finalize(
            self, _end_standby, self._stopping, self._store, self._log
        )
        self._standing_by = threads.start("actionqueue-standby", _StandingBy(self).run, self._path)

    def _look(self) -> None:
        """Take in what is new, and take the log where its writer is gone."""
        try:
            self._catch_up(None, STANDBY_SECONDS)
            self._compact_standing_by()
            # What fails behind the campaign fails before anything is written in the new term.
            self._become_writer(self._store.campaign(self._holder, timeout=0.0))
        except TermHeldError as error:
            self._trouble = None
            self._unusable = StandbyError(error.holder)
            return
        # The directory's lock is that of an opening, which finds it taken and goes away.
        except (*PASSING, *REFUSED, FencedError, LockedError) as error:
            self._give_up_term()
            if self._copy.is_taken:
                raise
            self._trouble = told(error)
            self._stopping.wait(RETRY_SECONDS)
            return
        except BaseException:
            self._give_up_term()
            raise
        self._trouble = None
        self._standby_ending.detach()

    def _compact_standing_by(self) -> None:
        """Compact the directory by the policy, as a writer's compactor does; forget nothing."""
        if not self._growth.is_too_large() or self._compacting.is_put_off:
            return
        try:
            taken = self._growth.taken_bytes()
            found = compact(
                self._path,
                self._log,
                now=now(),
                drops_segments=True,
                progress=self._standby_progress,
            )
        # A full disk, say. And what a disk has damaged is set aside by the next opening: a takeover
        # needs none of it.
        except (SnapshotError, CorruptLogError, MemoryError) as error:
            self._compaction_trouble = told(error)
            self._compacting.put_off()
            return
        self._compaction_trouble = None
        self._compacting.succeed()
        self._growth.note_snapshot(found["sequence"], found["file_size"], taken)

    def _give_up_term(self) -> None:
        """Leave the log to others where this queue has not become its writer altogether."""
        shipper, uploader = self._shipper, self._uploader
        self._shipper = self._uploader = None
        if uploader is not None:
            uploader.stop()
        if shipper is not None:
            shipper.stop()

    def _ensure_usable(self) -> None:
        if isinstance(self._unusable, StandbyError) and os.getpid() != self._process:
            raise ForkedError  # the thread that stood by does not exist here
        super()._ensure_usable()

    def __enter__(self) -> Self:
        self._notice_failure()
        if not isinstance(self._unusable, StandbyError):  # which a block can wait to be over
            self._ensure_usable()
        return self

    @property
    def is_active(self) -> bool:
        """Whether the queue is, or was, the log's writer; a queue that stands by is not."""
        return self._active.is_set()

    def wait_until_active(self, timeout: float | None = None) -> bool:
        """Wait until the queue is the log's writer, for at most so many seconds.

        Returns whether it is. Raises PoisonedError where it can't become that, ClosedError.
        """
        if timeout is not None:
            timeout = seconds_from_0("wait_until_active", "timeout", timeout)
        until = None if timeout is None else time.monotonic() + timeout
        while not self._active.is_set():
            if not isinstance(self._unusable, StandbyError) or os.getpid() != self._process:
                self._ensure_usable()
            left = STANDBY_SECONDS
            if until is not None:
                left = min(left, until - time.monotonic())
            if left < 0:
                return False
            self._active.wait(left)
        return True

    # --- What the queue is ------------------------------------------------------------------------

    @property
    def history(self) -> str:
        """The log's identity in the store, as 32 hexadecimal digits. No takeover changes it."""
        return self._copy.note.log_id.hex

    def stats(self) -> dict[str, Any]:
        """Return what :meth:`ActionQueue.stats` returns, and ``store``.

        ``store`` has ``role`` (``"writer"`` or ``"standby"``), ``holder`` and ``epoch`` of the
        term, ``unshipped_events``, ``groups`` (shipped since the term began), ``valid_seconds``
        (how long no other writer takes the log), ``trouble`` (what keeps events from the store
        now, or None), ``lost`` (the events that were acknowledged here as Deferred and are not in
        the log, as first, last and the file that has them, as long as that is there, or None) and
        ``is_temporary`` (without
        ``path``: Deferred commands that were not shipped are lost with the process).
        """
        shipper = self._shipper
        if not self._active.is_set():
            shipper = None
        store: dict[str, Any] = {
            "role": "standby" if shipper is None else "writer",
            "lost": self._lost(),
            "is_temporary": self._temporary is not None,
        }
        if shipper is None:
            unusable = self._unusable
            store |= {
                "holder": unusable.holder if isinstance(unusable, StandbyError) else "",
                "trouble": self._trouble or self._compaction_trouble,
            }
            if isinstance(unusable, ClosedError):
                self._ensure_usable()
            return {"history": self.history, **self._log.stats(), "store": store}
        found = super().stats()
        uploader = self._uploader
        store |= {
            "holder": shipper.term.holder,
            "epoch": shipper.term.epoch,
            "unshipped_events": found["last_sequence"] - found["durable_sequence"],
            "groups": shipper.groups,
            "valid_seconds": max(shipper.valid_seconds(), 0.0),
            "trouble": shipper.trouble or (uploader and uploader.trouble),
        }
        return {**found, "store": store}

    def _lost(self) -> Tail | None:
        """Return what was lost last, as long as the file that has it is there."""
        lost = self._copy.note.lost
        return lost if lost is not None and Path(lost.path).exists() else None

    # --- The end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Ship what is in the outbox, give the log back to the store, and release the queue.

        The store is closed, too. What cannot be shipped within ``outbox_seconds`` stays in the
        directory: the next opening there ships it, unless another writer has taken the log by then.

        Raises:
            PartialDurabilityError: Not everything reached the store.
            LogCloseError: Everything did, but the directory's own log has no mark of its end.
        """
        if os.getpid() != self._process:
            return  # a forked child: it has neither the log nor the store, and the files are used
        self._end_standing_by()
        if not self._active.is_set():
            self._close_standby()
            return
        if self._is_released:
            return
        try:
            super().close()
        except (LogCloseError, PartialDurabilityError):
            self._release()
            raise
        # Not after an interrupt: the threads go on until the next call, or the last reference.
        self._release()

    def _release(self) -> None:
        self._is_released = True
        self._ending.detach()
        self._store.close()
        self._remove_temporary()

    def _end_standing_by(self) -> None:
        thread = self._standing_by
        if thread is None or thread is threading.current_thread():
            return
        self._stopping.set()
        self._standby_progress.cancel()
        thread.join(STOP_SECONDS)
        if thread.is_alive() and not self._active.is_set():
            self._store.close()  # nothing else ends a call that waits for the engine
            thread.join()

    def _close_standby(self) -> None:
        if isinstance(self._unusable, ClosedError):
            return
        self._unusable = ClosedError()
        self._standby_ending.detach()
        self._log.close()
        self._store.close()
        self._remove_temporary()

    def _take_no_more(self) -> None:
        """Take no more commands. One that waits for the store holds the lane, and waits no more."""
        try:
            self._lane.run_long(
                _Deadline(self._outbox_seconds), setattr, self, "_unusable", ClosedError()
            )
        except StoppedError:
            if self._shipper is not None:
                self._shipper.stop()
            super()._take_no_more()

    def _end_shipping(self) -> None:
        shipper = self._shipper
        if shipper is None:
            return
        if self._uploader is not None:
            self._uploader.stop()
        with contextlib.suppress(PoisonedError, ClosedError):
            self._log.try_sync(self._outbox_seconds)
        shipper.stop()

    def _close_log(self) -> None:
        shipper = self._shipper
        if shipper is None:
            super()._close_log()
            return
        last, shipped = self._log.last_sequence, self._log.durable_sequence
        super()._close_log()
        if shipped < last and self._projection.poisoned_by is None:
            shipper.end_note(shipper.term)
            why = shipper.trouble or "the time to ship them was over"
            raise PartialDurabilityError(last, StoreUnavailableError(TimeoutError(why)))
        if self._projection.poisoned_by is None:
            with contextlib.suppress(Exception):  # the term ends by itself, a little later
                self._store.resign(shipper.term)
                shipper.end_note(NO_TERM)

    def _give_up(self) -> None:
        self._stopping.set()
        self._give_up_term()
        super()._give_up()
        self._remove_temporary()

    def _remove_temporary(self) -> None:
        if self._temporary is not None and os.getpid() == self._process:
            shutil.rmtree(self._temporary, ignore_errors=True)


class _Deadline:
    """What ends a wait for one's turn after so many seconds, as a canceled progress does."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    @property
    def is_canceled(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._until


class _StandingBy:
    """The thread of a queue that stands by. It refers to the queue only while it works."""

    def __init__(self, queue: ReplicatedQueue) -> None:
        self._queue = weakref.ref(queue)
        self._stopping = queue._stopping  # noqa: SLF001 -- the module's own class

    def run(self) -> None:
        while not self._stopping.is_set():
            queue = self._queue()
            if queue is None:
                return
            try:
                queue._look()  # noqa: SLF001
            except ClosedError:
                return
            except BaseException as error:  # noqa: BLE001 -- whatever it is, the queue says so
                queue._unusable = PoisonedError(error)  # noqa: SLF001
                queue._projection.poisoned_by = error  # noqa: SLF001
                return
            if queue.is_active:
                return
            del queue


def _end_writer(shipper: Shipper, uploader: Uploader, store: LogStore) -> None:
    """End a writer that was dropped: what is in its outbox stays there."""
    uploader.stop()
    shipper.stop()
    store.close()


def _end_standby(stopping: threading.Event, store: LogStore, log: Any) -> None:
    """End a queue that stands by and was dropped."""
    stopping.set()
    with contextlib.suppress(ActionQueueError):
        log.close()
        store.close()
