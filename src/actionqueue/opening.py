"""Opening a queue: for writing, or only for reading."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from _wal_native.log import DEFAULT_RING_SIZE, DEFAULT_SEGMENT_SIZE
from actionqueue.compaction import CompactionPolicy, Progress
from actionqueue.errors import LockedError
from actionqueue.lane import IMMEDIATE
from actionqueue.policy_fields import flag
from actionqueue.queue import ActionQueue, compactors
from actionqueue.reading import ReadOnlyQueue
from actionqueue.sync_policy import DurabilityPolicy, SyncPolicy

if TYPE_CHECKING:
    from actionqueue.replication.queue import ReplicatedQueue
    from actionqueue.replication.reading import StoreReader
    from actionqueue.stores.protocol import LogStore

__all__ = ["open"]

NOTE_NAME = "store.json"
"""The file by which a directory says that its log is in a store."""
DEFAULT_COMPACTION = CompactionPolicy()
DEFAULT_SYNC = SyncPolicy()
TAKEOVER_SECONDS = 10.0
"""How long an opening waits for a writer that is gone to be known as gone."""
OUTBOX_SECONDS = 5.0
"""How long commands are taken while nothing reaches the store."""

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
STORE_DEFAULTS: dict[str, Any] = {
    "standby": False,
    "holder": None,
    "takeover_seconds": TAKEOVER_SECONDS,
    "outbox_seconds": OUTBOX_SECONDS,
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


@overload
def open(  # noqa: A001 -- as below
    path: str | os.PathLike[str] | None = None,
    *,
    store: LogStore,
    standby: bool = ...,
    holder: str | None = ...,
    takeover_seconds: float | None = ...,
    outbox_seconds: float = ...,
    durability: DurabilityPolicy | str = ...,
    readonly: Literal[False] = False,
    create: bool = ...,
    segment_size: int = ...,
    ring_size: int = ...,
    sector_size: int = ...,
    compaction: CompactionPolicy | None = ...,
    sync: SyncPolicy = ...,
    progress: Progress | None = ...,
) -> ReplicatedQueue: ...


@overload
def open(  # noqa: A001 -- as below
    path: None = None, *, store: LogStore, readonly: Literal[True]
) -> StoreReader: ...


def open(  # noqa: A001 -- the package's own open, as in gzip.open
    path: str | os.PathLike[str] | None = None,
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
    store: LogStore | None = None,
    standby: bool = False,
    holder: str | None = None,
    takeover_seconds: float | None = TAKEOVER_SECONDS,
    outbox_seconds: float = OUTBOX_SECONDS,
) -> ActionQueue | ReadOnlyQueue | StoreReader:
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
            With ``store`` it may be left out: then Deferred commands that have not reached the
            store are lost with the process.
        store: Where the log is: an event is durable when this store has it. The call returns a
            :class:`~actionqueue.replication.queue.ReplicatedQueue`, and the directory is a copy and
            the outbox. The queue closes the store. See docs/replicated.md.
        standby: With ``store``: follow another writer, and take the log over when that is gone.
        holder: With ``store``: the name under which others see this writer; the host and the
            process, unless it is given.
        takeover_seconds: With ``store``: how long to wait for another writer to be gone; None for
            any time.
        outbox_seconds: With ``store``: how long commands are taken while nothing reaches it. Then
            they wait.
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
        OtherLogError: The directory is of another log than the store's, or, without ``store``, of
            one that is in a store.
        TermHeldError: Another writer still holds the store's log after ``takeover_seconds``.
        StoreError: The store failed; the error's class says why.
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
    in_store = {
        "standby": standby,
        "holder": holder,
        "takeover_seconds": takeover_seconds,
        "outbox_seconds": outbox_seconds,
    }
    if store is not None:
        return _open_in_store(path, store, options, in_store, readonly=readonly)
    given = [name for name, value in in_store.items() if value != STORE_DEFAULTS[name]]
    if given:
        raise ValueError(f"{', '.join(given)}: without a store this means nothing; give store=")
    if path is None:
        raise TypeError("path must be a str or a path-like of str, got None; or give store=")
    if not readonly:
        try:
            return ActionQueue(path, **options)
        except LockedError as error:
            if error.pid not in (None, os.getpid()):
                raise
            compactor = compactors.get(Path(error.path).parent.as_posix())
        # A dropped queue closes a moment later where its background thread still refers to it.
        if compactor is not None:
            compactor.wait_for_references(progress)
        return ActionQueue(path, **options)
    # A reader creates nothing, so create=False is true as well.
    given = [name for name, value in options.items() if not _is_left_out(name, value)]
    if given:
        raise ValueError(
            f"readonly=True takes no {', '.join(given)}: these are options of a writer only; "
            "leave them out"
        )
    return ReadOnlyQueue(path)


def _open_in_store(
    path: str | os.PathLike[str] | None,
    store: LogStore,
    options: dict[str, Any],
    in_store: dict[str, Any],
    *,
    readonly: bool,
) -> ReplicatedQueue | StoreReader:
    from actionqueue.replication.queue import ReplicatedQueue  # noqa: PLC0415 -- few need it
    from actionqueue.replication.reading import StoreReader  # noqa: PLC0415
    from actionqueue.stores.arguments import ensure_store  # noqa: PLC0415

    ensure_store("open", store)
    if not readonly:
        return ReplicatedQueue(path, store=store, **in_store, **options)
    given = [name for name, value in options.items() if not _is_left_out(name, value)]
    given += [name for name, value in in_store.items() if value != STORE_DEFAULTS[name]]
    if path is not None:
        given.append("path")
    if given:
        raise ValueError(f"readonly=True with a store takes no {', '.join(given)}; leave them out")
    return StoreReader(store)


def _is_left_out(name: str, value: object) -> bool:
    default = WRITER_DEFAULTS[name]
    if name == "create" and value is False:
        return True
    # The types are compared first, so that no other object's comparison runs.
    return value is default or (type(value) is type(default) and value == default)
