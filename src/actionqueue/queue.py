"""The queue that users open: the lane over the native log and projection, safe from any thread."""

from __future__ import annotations

import contextlib
import os
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, NoReturn, ParamSpec, Self, TypeVar

from _wal_native.log import open_log
from _wal_native.weak_list import WeakList
from actionqueue.clock import now
from actionqueue.compaction import CompactionPolicy, Progress
from actionqueue.compactor import Compactor
from actionqueue.directory import directory_to_open, holder_text
from actionqueue.errors import (
    ActionQueueError,
    ClosedError,
    ForkedError,
    LogCloseError,
    OtherLogError,
    PartialDurabilityError,
    PoisonedError,
    WriterError,
)
from actionqueue.lane import cause_of
from actionqueue.maintenance import MaintainedLane
from actionqueue.model import MutationCommand, MutationOutcome
from actionqueue.policy_fields import file_size, flag, progress_or_none
from actionqueue.projection import Projection
from actionqueue.reading import POLL_SECONDS, EventStream, follow
from actionqueue.recovery import RecoveryReport
from actionqueue.submit_columns import ColumnLane
from actionqueue.sync_policy import DurabilityPolicy, SyncPolicy
from actionqueue.texts import shown

__all__ = ["ActionQueue", "Batch"]

P = ParamSpec("P")
R = TypeVar("R")

_open_queues: WeakList[ActionQueue] = WeakList()
compactors: weakref.WeakValueDictionary[str, Compactor] = weakref.WeakValueDictionary()
"""The compactor of the queue that was opened last in each directory. The background thread of a
dropped queue keeps its own compactor alive."""


def _refuse_in_child() -> None:
    """Mark the parent's queues in a forked child, before a caller can touch one of their locks."""
    for queue in _open_queues:
        queue._unusable = ForkedError()  # noqa: SLF001 -- the module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_refuse_in_child)


def _method(queue: ActionQueue, method: Callable[Concatenate[ActionQueue, P], R]) -> Callable[P, R]:
    """Bind a method without keeping the queue alive, which closes with its last reference."""
    reference = weakref.ref(queue)

    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = reference()
        if bound is None:
            raise ClosedError
        return method(bound, *args, **kwargs)

    return call


def _let_go(compactor: Compactor, path: str, process: int, made_with_it: object) -> None:
    """End the compactions of an unclosed queue with its last reference or its process, and warn.

    For the object made with the queue tracemalloc can tell where the caller opened it. For a
    class's own instances it can tell only since Python 3.12.
    """
    try:
        if os.getpid() == process:  # the parent closes it or not, a forked child doesn't
            text = f"unclosed queue {path!r}; close() it, or open it in a with block"
            # stacklevel: at the line that dropped the queue, one above the finalizer
            warnings.warn(text, ResourceWarning, stacklevel=3, source=made_with_it)
    finally:
        compactor.abandon()


class ActionQueue(ColumnLane, MaintainedLane):
    """An open queue: submits commands, and answers queries on what they add up to.

    :func:`actionqueue.open` makes it. Any thread may call every method. The queue validates,
    appends and applies a command under one lock. A caller waits for the disk outside of it, and
    callers that wait at the same time share a sync. So the projection may run ahead of
    :attr:`durable_sequence`; the queue acknowledges nothing as IMMEDIATE before it is durable.

    After a failed write or sync the handle is poisoned: every later call raises PoisonedError, the
    projection stays readable, and the remedy is to close the queue and open it again.
    """

    _scheduling: object = None
    """What the schedulers of the queue share, once there is one: actionqueue.scheduler.shared."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: DurabilityPolicy | str,
        create: bool,
        segment_size: int,
        ring_size: int,
        sector_size: int,
        compaction: CompactionPolicy | None,
        sync: SyncPolicy,
        progress: Progress | None,
    ) -> None:
        started = time.perf_counter()
        self._unusable = ClosedError()
        self._check_options(durability, create, compaction, sync, progress)
        self._path = directory_to_open(path)
        self._projection = Projection()
        try:
            self._log, report = open_log(
                self._path,
                self._projection,
                may_create=create,
                segment_size=file_size("segment_size", segment_size),
                ring_size=file_size("ring_size", ring_size),
                sector_size=file_size("sector_size", sector_size),
                now=now(),
                holder=holder_text(),
                sync=sync,
                progress=progress,
            )
            self._ensure_in_no_store(report["history"])
            self._log.own_table(self._lane)
            self._begin(
                compaction,
                RecoveryReport(**report, seconds=time.perf_counter() - started),
                progress,
            )
        except BaseException:
            self._give_up()
            raise

    def _ensure_in_no_store(self, history: str) -> None:
        """Refuse a copy of a log in a store, whose history is the log's identity."""
        if history == self._log.log_uuid.hex():
            raise OtherLogError(self._path, "is a copy of a log in a store: give store=, too")

    def _check_options(
        self,
        durability: DurabilityPolicy | str,
        create: object,
        compaction: object,
        sync: object,
        progress: object,
    ) -> None:
        """Refuse options of other types, and take the durability."""
        self._durability = DurabilityPolicy(durability)
        flag("create", create)
        if compaction is not None and not isinstance(compaction, CompactionPolicy):
            raise TypeError(
                "compaction must be a CompactionPolicy, or None for no compaction by itself, got "
                f"{shown(compaction)}"
            )
        if not isinstance(sync, SyncPolicy):
            raise TypeError(
                "sync must be a SyncPolicy (SyncPolicy() as it stands never syncs by itself), got "
                f"{shown(sync)}"
            )
        progress_or_none("open", progress)

    def _begin(
        self,
        compaction: CompactionPolicy | None,
        recovery: RecoveryReport,
        progress: Progress | None,
    ) -> None:
        """Take commands from now on, and begin to watch the policy."""
        self._forgotten_rows = 0
        self._recovery = recovery
        self._compactor = Compactor(
            self._path,
            compaction,
            log=weakref.ref(self._log),
            recovery=self._recovery,
            purge=_method(self, ActionQueue._purge),
            sync=_method(self, ActionQueue.sync),
            renew=_method(self, ActionQueue._renew),
            newest_change=_method(self, ActionQueue._newest_change),
        )
        compactors[self._path] = self._compactor
        # Runs when the last reference to the queue goes, before its log closes, and before the
        # process ends: the compactor must not go on after that.
        self._finalizer = weakref.finalize(
            self, _let_go, self._compactor, self._path, os.getpid(), self._lane
        )
        self._unusable = None
        _open_queues.add(self)
        self._compactor.begin(progress)
        self._compactor.start()

    def _give_up(self) -> None:
        """Release the queue after an opening that fails once the log is open.

        Its exception refers to the queue, and must not keep it held.
        """
        log = self._log
        if log is None:
            return
        self._unusable = ClosedError()
        finalizer = getattr(self, "_finalizer", None)
        if finalizer is not None:
            finalizer.detach()
            self._compactor.abandon()
        with contextlib.suppress(ActionQueueError):  # the next open recovers it
            log.close()

    # --- Commands ---------------------------------------------------------------------------------
    def batch(self, durability: DurabilityPolicy | str | None = None) -> Batch:
        """Return a context manager that collects commands and submits them as one.

        It submits them when its block ends without an exception. Raises InvalidFieldError for an
        unknown durability.
        """
        return Batch(self, durability)

    def follow(
        self,
        *,
        after: int | str | None = None,
        history: str | None = None,
        timeout: float | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> EventStream:
        """Yield events as they become durable. See :func:`actionqueue.follow`.

        It begins after the last event submitted, unless ``after`` says otherwise.
        """
        self._ensure_usable()
        begin = self.sequence if after is None else after
        return follow(
            self._path, after=begin, history=history, timeout=timeout, poll_seconds=poll_seconds
        )

    # --- What the queue is ------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The queue's directory, as a real path."""
        return self._path

    @property
    def recovery(self) -> RecoveryReport:
        """What opening found."""
        return self._recovery

    @property
    def history(self) -> str:
        """The log's history, as 32 hexadecimal digits. Each repair and each copy gets another one.

        A sequence stored elsewhere says something only together with its history; see
        :func:`actionqueue.follow`.
        """
        return self._recovery.history

    def stats(self) -> dict[str, Any]:
        """Return counters and positions: sizes in bytes, times in nanoseconds.

        Counts begin when the queue opens.

        **Where the log is.** ``history`` (see :attr:`history`); ``last_sequence`` and
        ``durable_sequence``; ``segment_number``, ``segment_size`` and ``segment_used`` (bytes of
        its file, and where the next record goes); ``rotations`` (segments begun),
        ``appended_records``, ``appended_bytes``, and ``taken_bytes``: what the segments grew by for
        these, with pads and with the ends of segments that no record fitted into, as ``log_bytes``
        of the :class:`CompactionPolicy` counts them.

        **The ring.** ``ring_size``; ``ring_used``, the bytes in the ring alone now, and
        ``ring_used_max``, the most so far; ``is_ring_mapped``: where it is not, the queue writes
        every append to the segment before it returns. ``drains`` and ``drained_bytes``: writes
        of the ring's bytes to the segment, for any reason. ``stalls``: appends that had to
        wait for room in the ring or the segment, with ``stall_ns_total`` and ``stall_ns_max``.

        **Syncs.** ``syncs``, ``sync_ns_total`` and ``sync_ns_max`` are the disk's calls alone,
        without any wait for one's turn. ``sync_ns_histogram`` is a tuple of 40 counts by powers of
        two: ``[i]`` counts the syncs that took at least ``2**(i-1)`` and less than ``2**i`` ns, the
        last one all longer ones too. ``sync_groups`` counts the syncs that made events durable,
        ``sync_events_total`` those events and ``sync_events_max`` the most in one sync; so the mean
        group is the quotient. ``sync_events_histogram`` is a tuple of 32 counts of these groups by
        their sizes: ``[i]`` counts those of ``2**(i-1)`` to ``2**i - 1`` events.

        **Snapshots.** ``snapshot_sequence`` and ``snapshot_bytes`` are the newest snapshot's, 0
        without one; ``snapshot_ns`` is how long the last snapshot or compaction took, 0 before the
        first; ``snapshot_error`` says why the last one failed, None where it did not.

        **Failures.** ``poisoned_by`` says which write or sync failed, also one of the sync
        policy's. After it the handle takes no more commands. None while it takes them.
        """
        self._notice_failure()
        if isinstance(self._unusable, (ClosedError, ForkedError)):
            self._ensure_usable()
        poisoned_by = self._projection.poisoned_by
        return {
            "history": self.history,
            **self._log.stats(),
            **self._compactor.stats(),
            "poisoned_by": None if poisoned_by is None else str(poisoned_by),
        }

    # --- The end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Make everything durable, mark the log as cleanly closed and release the queue.

        Closing again does nothing. If a signal's handler raises meanwhile (Ctrl-C), the handle
        takes no more commands; closing it again, or dropping it, goes on.

        Raises:
            PartialDurabilityError: The last sync failed, or an earlier sync of the sync policy that
                no call has reported yet. The queue is released all the same, and the next open
                recovers it.
            LogCloseError: Everything is durable, but the write of the mark of a clean close failed
                (a full disk?). The queue is released; the next open recovers it, and loses nothing.
        """
        if isinstance(self._unusable, ForkedError):
            return
        self._ensure_not_in_query()
        self._compactor.ensure_outside()
        # First, and in one step: an interrupt after it leaves a handle that takes nothing, and that
        # a caller can close again.
        self._take_no_more()
        self._end_shipping()
        self._compactor.stop()  # outside the lane, which a compaction may be waiting for
        try:
            self._lane.run(self._close_log)
        finally:
            # Here, because an exception that a signal's handler raises in a finalizer is lost.
            self._finalizer.detach()

    def _take_no_more(self) -> None:
        self._lane.run(setattr, self, "_unusable", ClosedError())

    def _end_shipping(self) -> None:
        """Do what comes before the log closes, while a compaction may still be under way."""

    def _close_log(self) -> None:
        try:
            self._log.close()
        except LogCloseError:
            raise  # nothing is in doubt
        except (WriterError, PoisonedError) as error:
            cause = cause_of(error)
            self._projection.poisoned_by = cause
            raise PartialDurabilityError(self.sequence, cause) from error

    def __enter__(self) -> Self:
        self._ensure_usable()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an open queue cannot be pickled or copied; open it by its path")

    def __repr__(self) -> str:
        self._notice_failure()
        state = (
            "open"
            if self._unusable is None
            else type(self._unusable).__name__.removesuffix("Error").lower()
        )
        return f"<ActionQueue {self._path!r} {state} at sequence {self.sequence}>"


class Batch:
    """Collects commands and submits them as one. See :meth:`ActionQueue.batch`."""

    def __init__(self, queue: ActionQueue, durability: DurabilityPolicy | str | None) -> None:
        self._queue = queue
        self._durability = None if durability is None else DurabilityPolicy(durability)
        self._commands: list[MutationCommand] = []
        self._outcomes: list[MutationOutcome] | None = None
        self._is_entered = False

    def submit(self, command: MutationCommand) -> None:
        """Add a command, to validate, append and apply with the others when the block ends."""
        if not isinstance(command, MutationCommand):
            raise TypeError(f"command must be a MutationCommand, not {type(command).__name__}")
        if self._outcomes is not None:
            raise RuntimeError("the batch was submitted; begin a new one")
        self._commands.append(command)

    def __len__(self) -> int:
        return len(self._commands)

    @property
    def outcomes(self) -> list[MutationOutcome]:
        """The outcomes, one a command, once the block has ended and submitted the batch."""
        if self._outcomes is None:
            raise RuntimeError("the batch has no outcomes before its block has ended")
        return self._outcomes

    def __enter__(self) -> Self:
        if self._outcomes is not None:
            raise RuntimeError("the batch was submitted; begin a new one")
        if self._is_entered:
            raise RuntimeError("the batch's block has begun; begin a new one for a block in it")
        self._is_entered = True
        return self

    def __exit__(self, exception_type: type[BaseException] | None, *_exception: object) -> None:
        if exception_type is None:
            self._outcomes = self._queue.submit_many(self._commands, self._durability)
