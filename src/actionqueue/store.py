"""The queue that users open: the lane over the native log and projection, safe from any thread."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import warnings
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Literal, NoReturn, ParamSpec, Self, TypeVar, overload

from _wal_native.columns import (
    Rows,
    attempt_finishes,
    attempt_starts,
    lease_heartbeats,
    transitions,
)
from _wal_native.lane import Lane
from _wal_native.log import DEFAULT_RING_SIZE, DEFAULT_SEGMENT_SIZE, open_log
from _wal_native.reader import LogFollower
from _wal_native.snapshot import read_snapshot
from _wal_native.weak_list import WeakList
from actionqueue.clock import now
from actionqueue.columns import ColumnOutcome, append_rows, stops_at_refusal
from actionqueue.compaction import (
    CompactionPolicy,
    CompactionReport,
    Compactor,
    Forgotten,
    Place,
    Progress,
    Retention,
    SnapshotReport,
)
from actionqueue.directory import directory_to_open, holder_text
from actionqueue.errors import (
    ActionQueueError,
    AppendError,
    ClosedError,
    ForkedError,
    LockedError,
    LogCloseError,
    OpenIOError,
    PartialDurabilityError,
    PoisonedError,
    ValidationError,
    WriterError,
)
from actionqueue.limits import RING_SIZE_MAX, RING_SIZE_MIN, SEGMENT_SIZE_MAX, SEGMENT_SIZE_MIN
from actionqueue.model import MutationCommand, MutationOutcome
from actionqueue.model.base import applied_of, event_of, validate
from actionqueue.policy_fields import each, flag, number_from_0, progress_or_none, whole_number
from actionqueue.projection import Projection
from actionqueue.reading import POLL_SECONDS, EventStream, ReadOnlyQueue, follow
from actionqueue.recovery import RecoveryReport
from actionqueue.sync_policy import DurabilityPolicy, SyncPolicy
from actionqueue.texts import shown

__all__ = ["ActionQueue", "Batch", "open"]

IMMEDIATE = DurabilityPolicy.IMMEDIATE

PURGE_ROWS = 2048
"""Rows that retention looks at in one go, while it holds the lane."""

RENEWAL_ROWS_MIN = 1000
"""The memory of fewer forgotten runs, tasks, subscriptions, actors and lines of the ledger is not
worth a renewal of the projection."""
RENEWAL_EVENTS_MAX = 10_000
"""The most events that a renewal of the projection replays while it holds the lane, without a
sync."""
RENEWAL_ROUNDS_MAX = 20
"""How often a renewal tries to come as near as that to the submitters. After that it leaves the
matter to the next compaction."""

P = ParamSpec("P")
R = TypeVar("R")

_open_queues: WeakList[ActionQueue] = WeakList()
_compactors: weakref.WeakValueDictionary[str, Compactor] = weakref.WeakValueDictionary()
"""The compactor of the queue that was opened last in each directory. The background thread of a
dropped queue keeps its own compactor alive."""


def _refuse_in_child() -> None:
    """Mark the parent's queues in a forked child, before a caller can touch one of their locks."""
    for queue in _open_queues:
        queue._unusable = ForkedError()  # noqa: SLF001 -- the module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_refuse_in_child)


DEFAULT_COMPACTION = CompactionPolicy()
DEFAULT_SYNC = SyncPolicy()

WRITER_DEFAULTS: dict[str, Any] = {
    "durability": IMMEDIATE,
    "create": True,
    "segment_size": DEFAULT_SEGMENT_SIZE,
    "ring_size": DEFAULT_RING_SIZE,
    "sector_size": 0,
    "compaction": DEFAULT_COMPACTION,
    "sync": DEFAULT_SYNC,
    "progress": None,
}


@overload
def open(  # noqa: A001 -- as below
    path: str | os.PathLike[str],
    *,
    durability: DurabilityPolicy | str = ...,
    readonly: Literal[False] = False,
    create: bool = ...,
    segment_size: int = ...,
    ring_size: int = ...,
    sector_size: int = ...,
    compaction: CompactionPolicy | None = ...,
    sync: SyncPolicy = ...,
    progress: Progress | None = ...,
) -> ActionQueue: ...


@overload
def open(  # noqa: A001 -- as below
    path: str | os.PathLike[str], *, readonly: Literal[True]
) -> ReadOnlyQueue: ...


def open(  # noqa: A001 -- the package's own open, as in gzip.open
    path: str | os.PathLike[str],
    *,
    durability: DurabilityPolicy | str = IMMEDIATE,
    readonly: bool = False,
    create: bool = True,
    segment_size: int = DEFAULT_SEGMENT_SIZE,
    ring_size: int = DEFAULT_RING_SIZE,
    sector_size: int = 0,
    compaction: CompactionPolicy | None = DEFAULT_COMPACTION,
    sync: SyncPolicy = DEFAULT_SYNC,
    progress: Progress | None = None,
) -> ActionQueue | ReadOnlyQueue:
    """Open the queue in a directory, or create it, and replay its log.

    The caller holds the queue exclusively until it closes it; a reader holds nothing. An exception
    that a signal's handler raises in the main thread (Ctrl-C) ends a recovery within a tenth of a
    second, and leaves the queue as it was.

    The queue also closes when its last reference goes or when its process ends, and then issues a
    ResourceWarning that names its path.

    Args:
        path: The queue's directory. The call creates it, with missing parents, unless ``create`` is
            false. It follows symbolic links on the way once, now, and refuses one that leads
            nowhere. For a directory that other users may write to it issues UnsafeDirectoryWarning.
        readonly: Return a :class:`ReadOnlyQueue`, which takes no lock, creates nothing, and can
            look at a queue that is open elsewhere. The call then refuses the other options, which
            are the writer's.
        durability: What :meth:`ActionQueue.submit` does unless a call says otherwise: IMMEDIATE
            returns when the event is on stable storage; DEFERRED when it would survive the end of
            the process, but maybe not a power loss.
        create: Whether the call creates a missing queue.
        segment_size: Bytes that segment files grow to: a power of two from 64 KiB to 1 GiB.
        ring_size: Bytes of the ring: a multiple of 64 KiB.
        sector_size: 512 or 4096 pads every synced write to whole sectors, for storage that may
            damage a sector's old bytes when it adds new ones; 0 trusts that it does not.
        compaction: When the queue makes snapshots and drops old segments by itself, in a thread of
            its own; None: only when a caller asks for it.
        sync: When the queue syncs Deferred commands by itself, in a native thread of its own; by
            default never: then they become durable with the next Immediate command,
            :meth:`ActionQueue.sync`, a new segment, a snapshot, or closing.
        progress: Tells another thread how many bytes of snapshot and log the opening has read and
            how many there are, and lets it cancel. If the opening compacts, what that reads and
            writes counts too.

    Raises:
        LockedError: Another handle, here or elsewhere, holds the queue; the error names it.
        CorruptLogError: The log is damaged, and a torn append cannot have done it. Nothing was
            changed.
        UnsupportedFormatError: A newer version of the library wrote the queue.
        NotAQueueError: The directory holds no queue, and ``create`` is false.
        OpenIOError: A system call failed.
        StoppedError: The caller called ``progress.cancel()``.
        ValueError: An option is out of range. TypeError: It is of another type. Nothing was
            created.
    """
    options: dict[str, Any] = {
        "durability": durability,
        "create": create,
        "segment_size": segment_size,
        "ring_size": ring_size,
        "sector_size": sector_size,
        "compaction": compaction,
        "sync": sync,
        "progress": progress,
    }
    flag("readonly", readonly)
    if not readonly:
        try:
            return ActionQueue(path, **options)
        except LockedError as error:
            if error.pid not in (None, os.getpid()):
                raise
            compactor = _compactors.get(str(Path(error.path).parent))
        # A dropped queue closes a moment later where its background thread still refers to it.
        if compactor is not None:
            compactor.wait_for_references()
        return ActionQueue(path, **options)
    # A reader creates nothing, so create=False is true as well.
    given = [name for name, value in options.items() if not _is_left_out(name, value)]
    if given:
        raise ValueError(
            f"readonly=True takes no {', '.join(given)}: these are options of a writer only; "
            "leave them out"
        )
    return ReadOnlyQueue(path)


def _is_left_out(name: str, value: object) -> bool:
    default = WRITER_DEFAULTS[name]
    if name == "create" and value is False:
        return True
    # The types are compared first, so that no other object's comparison runs.
    return value is default or (type(value) is type(default) and value == default)


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


_SIZES: dict[str, tuple[Callable[[int], bool], str]] = {
    "segment_size": (
        lambda size: SEGMENT_SIZE_MIN <= size <= SEGMENT_SIZE_MAX and size & (size - 1) == 0,
        f"a power of two from {SEGMENT_SIZE_MIN} to {SEGMENT_SIZE_MAX} bytes",
    ),
    "ring_size": (
        lambda size: RING_SIZE_MIN <= size <= RING_SIZE_MAX and size % RING_SIZE_MIN == 0,
        f"a multiple of {RING_SIZE_MIN} up to {RING_SIZE_MAX} bytes",
    ),
    "sector_size": (lambda size: size in {0, 512, 4096}, "0, 512 or 4096"),
}


def _size(option: str, value: int) -> int:
    """Return a size that fits, or raise an error that names the sizes that do."""
    fits, text = _SIZES[option]
    try:
        size = whole_number("open", option, value)
    except TypeError:
        raise TypeError(f"{option} must be {text}, got {shown(value)}") from None
    if not fits(size):
        raise ValueError(f"{option} must be {text}, got {shown(value)}")
    return size


class ActionQueue(Lane):
    """An open queue: submits commands, and answers queries on what they add up to.

    :func:`actionqueue.open` makes it. Any thread may call every method. The queue validates,
    appends and applies a command under one lock. A caller waits for the disk outside of it, and
    callers that wait at the same time share a sync. So the projection may run ahead of
    :attr:`durable_sequence`; the queue acknowledges nothing as IMMEDIATE before it is durable.

    After a failed write or sync the handle is poisoned: every later call raises PoisonedError, the
    projection stays readable, and the remedy is to close the queue and open it again.
    """

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
        self._path = directory_to_open(path)
        self._projection = Projection()
        try:
            self._log, report = open_log(
                self._path,
                self._projection,
                may_create=create,
                segment_size=_size("segment_size", segment_size),
                ring_size=_size("ring_size", ring_size),
                sector_size=_size("sector_size", sector_size),
                now=now(),
                holder=holder_text(),
                sync=sync,
                progress=progress,
            )
            self._log.own_table(self._lane)
            self._begin(
                compaction,
                RecoveryReport(**report, seconds=time.perf_counter() - started),
                progress,
            )
        except BaseException:
            self._give_up()
            raise

    def _begin(
        self,
        compaction: CompactionPolicy | None,
        recovery: RecoveryReport,
        progress: Progress | None,
    ) -> None:
        """Take commands from now on, and begin to watch the policy."""
        self._forgotten_rows = 0  # since the projection was loaded
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
        _compactors[self._path] = self._compactor
        # Runs when the last reference to the queue goes, before its log closes, and before the
        # process ends: the compactor must not go on after that.
        self._finalizer = weakref.finalize(
            self, _let_go, self._compactor, self._path, os.getpid(), self._lane
        )
        self._unusable = None
        _open_queues.add(self)
        self._compactor.begin(progress)
        try:
            self._compactor.start()
        except RuntimeError as error:  # the system gives no thread
            # A signal's handler raised while the thread was starting; the RuntimeError hides it.
            if error.__context__ is not None:
                raise error.__context__ from None
            raise OpenIOError("start a thread", self._path, errno.EAGAIN) from error

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

    def _submit(self, command: MutationCommand) -> int:
        """Take a command through the lane, and return its sequence.

        Lane calls it for a command that needs I/O, that the rules refuse, or of a rare kind.
        """
        return self._in_lane(self._append_one, command)

    def _in_lane(self, work: Callable[P, R], /, *arguments: P.args, **_nothing: P.kwargs) -> R:
        """Call in the lane, return the result, and turn the writer's errors into the queue's."""
        returned: R = self._lane.run(self._guarded, work, arguments)
        return returned

    def _guarded(self, work: Callable[..., R], arguments: tuple[Any, ...]) -> R:
        if self._unusable is not None:
            self._ensure_usable()
        try:
            # Before any rule: the projection of a poisoned handle may have an event that the log
            # has not.
            self._log.ensure_open()
            return work(*arguments)
        except WriterError as error:
            raise self._append_error(error) from error
        except PoisonedError as error:
            self._poison(error.cause or error)
            raise

    def _append_one(self, command: MutationCommand) -> int:
        sequence = validate(command, self._projection)
        self._log.submit(event_of(command, sequence))
        return sequence

    def submit_many(
        self, commands: Iterable[MutationCommand], durability: DurabilityPolicy | str | None = None
    ) -> list[MutationOutcome]:
        """Submit commands as one, in one append and one sync: all or none, also after a crash.

        The queue validates each command against the state that the commands before it leave. Raises
        what :meth:`submit` raises; a ValidationError then carries the refused command's position in
        ``batch_index``.
        """
        policy = self._durability if durability is None else DurabilityPolicy(durability)
        try:
            batch = list(commands)  # under no lock: an iterable may do anything
        except TypeError:
            each("submit_many", "commands", commands)
            raise
        self._ensure_not_in_query()
        outcomes = self._in_lane(self._append_batch, batch)
        if outcomes and policy is IMMEDIATE:
            self._wait_durable(outcomes[-1].sequence)
        return outcomes

    def batch(self, durability: DurabilityPolicy | str | None = None) -> Batch:
        """Return a context manager that collects commands and submits them as one.

        It submits them when its block ends without an exception. Raises InvalidFieldError for an
        unknown durability.
        """
        return Batch(self, durability)

    def submit_transitions(
        self,
        run_ids: Any,
        previous_states: Any,
        new_states: Any,
        timestamps: Any,
        *,
        on_refusal: Literal["raise", "report"] = "raise",
        durability: DurabilityPolicy | str | None = None,
    ) -> ColumnOutcome:
        """Submit a RunStateTransitionCommand for each row of arrays, in one append and one sync.

        The queue validates each row against the state that the rows before it leave, by the rules
        of single commands. The accepted rows are one batch: a crash leaves all of them or none. No
        row becomes a Python object, and no other thread sees a part of the batch.

        Args:
            run_ids: V16, or uint8 of shape (n, 16); at most ``actionqueue.limits.BATCH_COUNT_MAX``
                rows.
            previous_states: uint8 codes in the order of RunState; or one state, its name or its
                code, for all rows.
            new_states: The same.
            timestamps: uint64, Unix seconds; or one number for all rows.
            on_refusal: "raise": all rows or none. "report": a refused row changes nothing, and the
                outcome reports it; the others go on.
            durability: IMMEDIATE or DEFERRED; None means the queue's own.

        Raises:
            InvalidFieldError: An array has the wrong type or shape, or a value that no command
                could have, or changes meanwhile. The queue is as it was.
            ValidationError: The rules refuse a row (``batch_index`` says which), or the rows take
                more than ``BATCH_SIZE_MAX`` bytes in the log. The queue is as it was.
            AppendError, PartialDurabilityError, PoisonedError, ClosedError, ForkedError: As in
                :meth:`submit`.
        """
        return self._submit_rows(
            transitions(run_ids, previous_states, new_states, timestamps), on_refusal, durability
        )

    def submit_lease_heartbeats(
        self,
        run_ids: Any,
        owners: Any,
        expiries: Any,
        timestamps: Any,
        *,
        on_refusal: Literal["raise", "report"] = "raise",
        durability: DurabilityPolicy | str | None = None,
    ) -> ColumnOutcome:
        """Submit a LeaseHeartbeatCommand for each row. See :meth:`submit_transitions`.

        Args:
            run_ids: As there.
            owners: One str (or its UTF-8 bytes) for all rows; or a pair of arrays as
                :func:`actionqueue.offsets_and_data` makes them.
            expiries: uint64, Unix seconds; or one number for all rows.
            timestamps: The same.
            on_refusal: As there.
            durability: As there.
        """
        return self._submit_rows(
            lease_heartbeats(run_ids, owners, expiries, timestamps), on_refusal, durability
        )

    def submit_attempt_starts(
        self,
        run_ids: Any,
        attempt_ids: Any,
        timestamps: Any,
        *,
        on_refusal: Literal["raise", "report"] = "raise",
        durability: DurabilityPolicy | str | None = None,
    ) -> ColumnOutcome:
        """Submit an AttemptStartCommand for each row. See :meth:`submit_transitions`.

        ``attempt_ids`` is an array like ``run_ids``.
        """
        return self._submit_rows(
            attempt_starts(run_ids, attempt_ids, timestamps), on_refusal, durability
        )

    def submit_attempt_finishes(
        self,
        run_ids: Any,
        attempt_ids: Any,
        results: Any,
        timestamps: Any,
        *,
        outputs: Any = None,
        errors: Any = None,
        on_refusal: Literal["raise", "report"] = "raise",
        durability: DurabilityPolicy | str | None = None,
    ) -> ColumnOutcome:
        """Submit an AttemptFinishCommand for each row. See :meth:`submit_transitions`.

        Args:
            run_ids: As there.
            attempt_ids: An array like run_ids.
            results: uint8 codes in the order of AttemptResultKind; or one kind, its name or its
                code, for all rows.
            timestamps: As there.
            outputs: The outputs of attempts that succeed or suspend: one bytes for all of these
                rows; or a pair of arrays as :func:`actionqueue.offsets_and_data` makes them, empty
                for the rows without output. None: no row has an output.
            errors: The same for attempts that fail or time out, as str or UTF-8 bytes. Such rows
                need an error, though it may be empty.
            on_refusal: As there.
            durability: As there.
        """
        return self._submit_rows(
            attempt_finishes(run_ids, attempt_ids, results, timestamps, outputs, errors),
            on_refusal,
            durability,
        )

    def sync(self) -> None:
        """Return when every command submitted so far is on stable storage."""
        self._ensure_usable()
        self._wait_durable(None)

    def _append_batch(self, commands: list[MutationCommand]) -> list[MutationOutcome]:
        # Keep this short: where memory is exhausted, Python 3.11 enters no handler whose offset is
        # a number from the heap, and tries for ever.
        outcomes: list[MutationOutcome] = []
        try:
            self._log.batch_begin()  # inside, so that an interrupt after it undoes it
            self._add_to_batch(commands, outcomes)
            self._log.batch_commit()
        except BaseException:
            self._log.batch_rollback()
            raise
        return outcomes

    def _add_to_batch(
        self, commands: list[MutationCommand], outcomes: list[MutationOutcome]
    ) -> None:
        while (index := self._log.batch_extend(commands, len(outcomes), outcomes)) < len(commands):
            command = commands[index]
            try:
                sequence = validate(command, self._projection)
                self._log.batch_add(event_of(command, sequence))
            except ValidationError as error:
                raise error.at_batch_index(index) from error.__cause__
            outcomes.append(MutationOutcome(sequence, applied_of(command)))

    def _submit_rows(
        self, rows: Rows, on_refusal: str, durability: DurabilityPolicy | str | None
    ) -> ColumnOutcome:
        policy = self._durability if durability is None else DurabilityPolicy(durability)
        stops = stops_at_refusal(on_refusal)
        self._ensure_not_in_query()
        outcome = self._in_lane(self._append_rows, rows, stops)
        if outcome.count and policy is IMMEDIATE:
            self._wait_durable(outcome.last_sequence)
        return outcome

    def _append_rows(self, rows: Rows, stops: bool) -> ColumnOutcome:  # noqa: FBT001
        return append_rows(self._log, rows, stops=stops)

    def _ensure_not_in_query(self) -> None:
        """Refuse a call that a collector's callback or a finalizer makes inside its thread's query.

        It would wait for that query.
        """
        self._log.ensure_not_in_query()

    def _append_error(self, error: WriterError) -> AppendError:
        appended = AppendError(error)
        if appended.written != "no":
            self._poison(error)
        return appended

    def _wait_durable(self, sequence: int | None) -> None:
        try:
            self._log.sync(sequence)
        except (WriterError, PoisonedError) as error:
            cause = (
                error.cause
                if isinstance(error, PoisonedError) and error.cause is not None
                else error
            )
            self._poison(cause)
            raise PartialDurabilityError(
                self.sequence if sequence is None else sequence, cause
            ) from error
        except ClosedError as error:
            # Another thread closed the queue before this was durable: its last sync failed.
            cause = self._projection.poisoned_by or error
            raise PartialDurabilityError(
                self.sequence if sequence is None else sequence, cause
            ) from error

    def _poison(self, cause: BaseException) -> None:
        if self._unusable is None:
            self._unusable = PoisonedError(cause)
            self._projection.poisoned_by = cause

    def _notice_failure(self) -> None:
        """Poison the handle where a sync has failed that no caller waited for."""
        if self._unusable is None:
            try:
                self._log.ensure_open()
            except PoisonedError as error:
                self._poison(error.cause or error)
            except (ClosedError, ForkedError):
                pass  # since the line before: the call that made it so says why

    def _ensure_usable(self) -> None:
        self._notice_failure()
        unusable = self._unusable
        if unusable is not None:
            # A new object each time, because a raised exception collects tracebacks.
            raise type(unusable)(*unusable.args)

    # --- Snapshots and compaction -----------------------------------------------------------------

    def snapshot(self, *, progress: Progress | None = None) -> SnapshotReport:
        """Make everything durable, and write the projection to a snapshot file.

        The next open need not replay what came before. The queue makes the snapshot from the log on
        the disk, with a second projection in memory while that lasts; submitters don't wait for it.
        It keeps two snapshots, or one while the disk has no room for two.

        Args:
            progress: Tells another thread how far the snapshot is, and lets it cancel. Ctrl-C in
                the main thread ends it too.

        Raises:
            InvalidFieldError: An argument is out of range. InvalidFieldTypeError: It is of another
                type. Nothing was done.
            SnapshotError: A system call failed. CorruptLogError: The log on the disk does not
                verify. StoppedError: A caller canceled it, or the queue is being closed.
                MemoryError. DisplacedError: The directory was moved, removed or replaced under the
                open queue. None of them harms the open queue, its log, or an older snapshot, nor
                what stands in the directory's place.
            PartialDurabilityError: The sync of the log failed; the handle is poisoned.
            PoisonedError, ClosedError, ForkedError: The handle is no longer usable.
        """
        self._ensure_usable()
        self._ensure_not_in_query()
        made = self._compactor.run(
            drops_segments=False, progress=progress_or_none("snapshot", progress)
        )
        return SnapshotReport(
            **{name: getattr(made, name) for name in SnapshotReport.__struct_fields__}
        )

    def compact(
        self,
        *,
        retention_seconds: int | None = None,
        ledger_retention_seconds: int | None = None,
        tombstone_seconds: int | None = None,
        progress: Progress | None = None,
    ) -> CompactionReport:
        """Make a snapshot, and drop the segments that the older of the two snapshots covers.

        So one damaged snapshot loses nothing. While the disk has no room for that, the queue keeps
        only the newest snapshot and the log behind it.

        Args:
            retention_seconds: Before that, forget what ended at least this long ago: runs, the
                tasks that they leave without any, canceled subscriptions, deregistered actors (see
                :class:`CompactionPolicy`); None forgets nothing.
            ledger_retention_seconds: Likewise, forget lines from the start of the ledger on, up to
                the first that is younger than this.
            tombstone_seconds: How long the queue refuses the identifiers of the tasks that it
                forgets now; None: as the queue's policy says.
            progress: As in :meth:`snapshot`.

        Raises what :meth:`snapshot` raises.
        """
        given = {
            "retention_seconds": retention_seconds,
            "ledger_retention_seconds": ledger_retention_seconds,
            "tombstone_seconds": tombstone_seconds,
        }
        seconds = {name: number_from_0("compact", name, value) for name, value in given.items()}
        progress = progress_or_none("compact", progress)
        self._ensure_usable()
        self._ensure_not_in_query()
        return self._compactor.run(drops_segments=True, progress=progress, **seconds)

    def _purge(self, what: Retention, place: Place) -> Forgotten:
        """Forget what has ended among some rows, from a place on; zeros are the first place.

        Returns the event that says what that was, or None; where to go on, zeros after the last
        row; and whether it put off a task for its many dependents.
        """
        return self._in_lane(self._append_purge, what, place)

    def _append_purge(self, what: Retention, place: Place) -> Forgotten:
        event, place, has_put_off = self._projection.find_finished(
            what.cutoff,
            PURGE_ROWS,
            place,
            timestamp=now(),
            ledger_cutoff=what.ledger_cutoff,
            today=what.today,
            kept_until=what.kept_until,
        )
        if event is not None:
            self._log.submit_frugally(event)
            self._forgotten_rows += len(event.run_ids) + len(event.task_ids)
            self._forgotten_rows += (
                len(event.subscription_ids)
                + len(event.actor_ids)
                + event.ledger_entries
                + event.tombstones
            )
        return event, place, has_put_off

    def _renew(self, sequence: int) -> None:
        """Where retention forgot much, go on with a projection loaded from a snapshot.

        That one holds no memory for what was forgotten.
        """
        counts = self._projection.counts()
        kept = (
            counts.runs
            + counts.tasks
            + counts.subscriptions
            + counts.actors
            + counts.ledger
            + counts.tombstones
        )
        if self._forgotten_rows < max(kept, RENEWAL_ROWS_MIN):
            return
        fresh = Projection()
        read_snapshot(self._path, sequence, fresh)
        follower = LogFollower(self._path, fresh.latest_sequence)
        for _ in range(RENEWAL_ROUNDS_MAX):
            follower.trust(self._write_out())
            # Most of what came meanwhile, while submitters go on.
            follower.replay(fresh, is_private=True)
            if self._in_lane(self._take_over, fresh, follower):
                return

    def _take_over(self, fresh: Projection, follower: LogFollower) -> bool:
        if self.sequence - follower.sequence > RENEWAL_EVENTS_MAX:
            return False
        follower.trust(self._write_out())
        follower.replay(fresh, is_private=True)
        self._projection.take_over(fresh)
        self._forgotten_rows = 0
        return True

    def _write_out(self) -> int:
        """Write the events so far to the log's files, without a sync; return the last sequence."""
        try:
            return self._log.write_out()
        except (WriterError, PoisonedError, ClosedError):
            self._wait_durable(None)  # it fails too, and its error says why
            raise

    def _newest_change(self) -> int:
        return self._projection.newest_change()

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
    def durability(self) -> DurabilityPolicy:
        """What :meth:`submit` does unless a call says otherwise."""
        return self._durability

    @property
    def projection(self) -> Projection:
        """The projection. It stays readable when the handle is closed or poisoned.

        A poisoned handle sets ``projection.poisoned_by``.
        """
        return self._projection

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

    @property
    def sequence(self) -> int:
        """Sequence of the last event that was appended and applied, 0 without one."""
        return self._projection.latest_sequence

    @property
    def durable_sequence(self) -> int:
        """Every event up to this sequence is on stable storage."""
        return self._log.durable_sequence

    @property
    def is_closed(self) -> bool:
        """Whether the handle was closed."""
        return isinstance(self._unusable, ClosedError)

    @property
    def is_poisoned(self) -> bool:
        """Whether an earlier write or sync failed."""
        self._notice_failure()
        return isinstance(self._unusable, PoisonedError)

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
        self._lane.run(setattr, self, "_unusable", ClosedError())
        self._compactor.stop()  # outside the lane, which a compaction may be waiting for
        try:
            self._lane.run(self._close_log)
        finally:
            # Here, because an exception that a signal's handler raises in a finalizer is lost.
            self._finalizer.detach()

    def _close_log(self) -> None:
        try:
            self._log.close()
        except LogCloseError:
            raise  # nothing is in doubt
        except (WriterError, PoisonedError) as error:
            cause = (
                error.cause
                if isinstance(error, PoisonedError) and error.cause is not None
                else error
            )
            self._projection.poisoned_by = cause
            raise PartialDurabilityError(self.sequence, cause) from error

    def __enter__(self) -> Self:
        self._ensure_usable()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception_type is None:
            self._outcomes = self._queue.submit_many(self._commands, self._durability)
