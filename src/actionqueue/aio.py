"""A queue for asyncio: tasks wait for durability together.

They need no thread each, and don't block the loop.

::

    from actionqueue.aio import open_async

    async with open_async("queue") as q:
        outcome = await q.submit(command)

The loop's thread validates, appends and applies a command, which takes about a microsecond of
memory work. One thread of the queue waits for the disk: it syncs while a task waits, and each of
its syncs serves all tasks whose commands came before it.

A submit waits in the loop's thread itself, and stops the loop, for:

- A ring that is full of Deferred work, which the submit then writes to the log's file; and the
  change to the next segment, every 64 MiB or so, which syncs the rest of the old one and a header.
  ``stats()`` counts both as ``stalls``.
- Large calls: a batch takes some microseconds a command, a call with arrays about a tenth of one a
  row. A call that submits more than the ring holds writes it to the file before it returns.
- Other threads in the lane: their batches, calls with arrays and stalls; the compaction's thread
  while it forgets old runs (some 2,000 rows at a time) and while it renews the projection, after it
  forgot much (it replays up to 10,000 events and syncs nothing). ``compaction=None`` leaves out the
  last two, until a caller calls ``compact()``.
- The interpreter's lock, which other threads may hold for some milliseconds, as in any program.

A lone task pays for the way to the queue's thread and back, some tens of microseconds beyond the
disk's sync; a thread that calls :meth:`ActionQueue.submit` does not. Several tasks share the way,
and a command then costs less than by any other way.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypedDict, Unpack

from actionqueue import opening
from actionqueue.async_stream import AsyncEventStream
from actionqueue.async_syncer import Syncer
from actionqueue.compaction import CompactionPolicy, CompactionReport, Progress, SnapshotReport
from actionqueue.errors import ActionQueueError, InvalidFieldTypeError
from actionqueue.model import MutationCommand, MutationOutcome
from actionqueue.policy_fields import progress_or_none, seconds_between_looks
from actionqueue.projection import Projection
from actionqueue.queue import ActionQueue, Batch
from actionqueue.reading import POLL_SECONDS, Position
from actionqueue.recovery import RecoveryReport
from actionqueue.sync_policy import DurabilityPolicy, SyncPolicy

if TYPE_CHECKING:
    from actionqueue.stores.protocol import LogStore

__all__ = ["AsyncBatch", "AsyncEventStream", "AsyncQueue", "open_async"]

IMMEDIATE = DurabilityPolicy.IMMEDIATE
DEFERRED = DurabilityPolicy.DEFERRED


class WriterOptions(TypedDict, total=False):
    """The options of :func:`actionqueue.open`, without ``readonly``."""

    durability: DurabilityPolicy | str
    create: bool
    segment_size: int
    ring_size: int
    sector_size: int
    compaction: CompactionPolicy | None
    sync: SyncPolicy
    progress: Progress | None
    store: LogStore | None
    standby: bool
    holder: str | None
    takeover_seconds: float | None
    outbox_seconds: float


def open_async(
    path: str | os.PathLike[str] | None = None, **options: Unpack[WriterOptions]
) -> Opening:
    """Open or create the queue in a directory, in a thread: recovery may take seconds.

    Use the result as ``async with open_async(path) as q``, or ``q = await open_async(path)`` and
    close it yourself. If the task is cancelled while it waits for this, the recovery ends, and
    nothing stays open.

    Args:
        path: The queue's directory; with ``store`` it may be left out.
        options: Those of :func:`actionqueue.open`, without ``readonly``: a reader waits for its
            reading only, so call ``await asyncio.to_thread(actionqueue.open, path,
            readonly=True)`` for one.

    Raises what :func:`actionqueue.open` raises.
    """
    if options.pop("readonly", False):  # type: ignore[typeddict-item]
        raise ValueError(
            "open_async opens for writing; to read, await asyncio.to_thread(actionqueue.open, "
            "path, readonly=True)"
        )
    return Opening(path, options)


class Opening:
    """What :func:`open_async` returns: await it, or enter it with ``async with``."""

    def __init__(self, path: str | os.PathLike[str] | None, options: WriterOptions) -> None:
        self._path = path
        self._options = options
        self._opened: list[AsyncQueue] = []

    def __await__(self) -> Generator[Any, None, AsyncQueue]:
        return self._open_in_a_thread().__await__()

    async def _open_in_a_thread(self) -> AsyncQueue:
        progress = progress_or_none("open", self._options.get("progress"))
        if progress is None:
            progress = Progress()
        handover = Handover()
        try:
            return await asyncio.to_thread(self._open, progress, handover)
        except asyncio.CancelledError:
            progress.cancel()
            handover.give_up()
            raise

    def _open(self, progress: Progress, handover: Handover) -> AsyncQueue:
        options: dict[str, Any] = {**self._options, "progress": progress}
        queue: ActionQueue = opening.open(self._path, **options)
        try:
            opened = AsyncQueue(queue)
        except BaseException:
            queue.close()
            raise
        handover.give(opened)
        return opened

    async def __aenter__(self) -> AsyncQueue:
        self._opened.append(await self)
        return self._opened[-1]

    async def __aexit__(self, *_exception: object) -> None:
        await self._opened.pop().close()


class Handover:
    """A queue's way from the thread that opens it to the task that waits for it.

    If the task is cancelled meanwhile, the queue closes on the way.
    """

    def __init__(self) -> None:
        self._given: list[AsyncQueue] = []
        self._is_given_up = False

    def give(self, queue: AsyncQueue) -> None:
        """Hand the queue over, unless the task has given up."""
        self._given.append(queue)
        if self._is_given_up:
            self._close()

    def give_up(self) -> None:
        """Close the queue that was handed over, or will be."""
        self._is_given_up = True
        self._close()

    def _close(self) -> None:
        try:
            queue = self._given.pop()  # one of the two gets it, where both come here
        except IndexError:
            return
        with suppress(ActionQueueError):  # nothing was submitted, so nothing is in doubt
            queue._close()  # noqa: SLF001 -- the module's own class


class AsyncQueue:
    """An open queue, for tasks.

    :func:`open_async` makes it; or make it around an :class:`ActionQueue` that is open already.
    Several event loops in several threads may use it at once, and other threads meanwhile use
    :attr:`queue`.

    **Cancellation.** The queue submits a command at once, and the task waits for its durability. So
    a task that is cancelled while it waits leaves its command submitted, and the command becomes
    durable as it would have.

    **Failures.** When a sync fails, each task that waits for an event which the sync should have
    covered gets its own PartialDurabilityError. Later calls raise PoisonedError, as with
    :class:`ActionQueue`.

    Raises InvalidFieldTypeError if ``queue`` is no ActionQueue.
    """

    def __init__(self, queue: ActionQueue) -> None:
        if not isinstance(queue, ActionQueue):
            raise InvalidFieldTypeError("AsyncQueue", "queue", queue, "must be an ActionQueue")
        self._queue = queue
        self._durability = queue.durability
        wait_durable = queue._wait_durable  # noqa: SLF001 -- the queue's other half
        self._syncer = Syncer(wait_durable, queue.path)
        # With the last reference to this object, the thread lets go of the queue.
        self._finalizer = weakref.finalize(self, self._syncer.end)

    # --- Commands ---------------------------------------------------------------------------------

    async def submit(
        self, command: MutationCommand, durability: DurabilityPolicy | str | None = None
    ) -> MutationOutcome:
        """Submit a command, and return its outcome once it is as durable as asked for.

        The call submits the command before it first waits: tasks submit in the order in which they
        run, whatever they wait for then.

        Arguments and exceptions are those of :meth:`ActionQueue.submit`.
        """
        policy = self._durability if durability is None else DurabilityPolicy(durability)
        outcome = self._queue.submit(command, DEFERRED)
        if policy is IMMEDIATE:
            await self._syncer.wait(outcome.sequence)
        return outcome

    async def submit_many(
        self, commands: Iterable[MutationCommand], durability: DurabilityPolicy | str | None = None
    ) -> list[MutationOutcome]:
        """Submit commands as one: all or none. See :meth:`ActionQueue.submit_many`.

        Waiting and cancelling are as in :meth:`submit`.
        """
        policy = self._durability if durability is None else DurabilityPolicy(durability)
        outcomes = self._queue.submit_many(commands, DEFERRED)
        if outcomes and policy is IMMEDIATE:
            await self._syncer.wait(outcomes[-1].sequence)
        return outcomes

    def batch(self, durability: DurabilityPolicy | str | None = None) -> AsyncBatch:
        """Return an asynchronous context manager that collects commands and submits them as one.

        It submits them when its block ends without an exception.
        """
        policy = self._durability if durability is None else DurabilityPolicy(durability)
        return AsyncBatch(
            Batch(self._queue, DEFERRED), self._syncer.wait if policy is IMMEDIATE else None
        )

    async def sync(self) -> None:
        """Return when every command submitted so far is on stable storage."""
        self._queue._ensure_usable()  # noqa: SLF001 -- as sync() does
        await self._syncer.wait(self._queue.sequence)

    # --- Snapshots and reading --------------------------------------------------------------------

    async def snapshot(self, *, progress: Progress | None = None) -> SnapshotReport:
        """Write a snapshot, in a thread. See :meth:`ActionQueue.snapshot`.

        ``progress.cancel()`` stops it; cancelling the task does not.
        """
        return await asyncio.to_thread(self._queue.snapshot, progress=progress)

    async def compact(
        self,
        *,
        retention_seconds: int | None = None,
        ledger_retention_seconds: int | None = None,
        tombstone_seconds: int | None = None,
        progress: Progress | None = None,
    ) -> CompactionReport:
        """Compact the queue, in a thread. See :meth:`ActionQueue.compact`.

        ``progress.cancel()`` stops it; cancelling the task does not.
        """
        return await asyncio.to_thread(
            self._queue.compact,
            retention_seconds=retention_seconds,
            ledger_retention_seconds=ledger_retention_seconds,
            tombstone_seconds=tombstone_seconds,
            progress=progress,
        )

    def follow(
        self,
        *,
        after: int | str | None = None,
        history: str | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> AsyncEventStream:
        """Yield events as they become durable.

        The stream begins after the last event submitted, unless ``after`` says otherwise. When the
        queue is closed it ends, after the last event.

        Args:
            after: As in :func:`actionqueue.follow`: a position, of this kind of stream or the
                other, or a sequence.
            history: As there.
            poll_seconds: How long to wait between two looks at the durable sequence, as there.

        Raises what :func:`actionqueue.follow` raises: at once for an argument that does not fit and
        for a queue that is not open; at the first event where the log has another history, or lacks
        the event.
        """
        self._queue._ensure_usable()  # noqa: SLF001 -- as the queue's own does
        position = Position.of(self._queue.sequence if after is None else after, history)
        return AsyncEventStream(
            self._queue, position, seconds_between_looks("follow", poll_seconds)
        )

    # --- What the queue is ------------------------------------------------------------------------

    @property
    def queue(self) -> ActionQueue:
        """The queue itself. Its calls block the thread that makes them.

        Its queries and Deferred submits are short enough for a loop.
        """
        return self._queue

    @property
    def path(self) -> str:
        """The queue's directory, as a real path."""
        return self._queue.path

    @property
    def projection(self) -> Projection:
        """The projection, which may run ahead of :attr:`durable_sequence`.

        Its queries are memory reads: make them in the loop.
        """
        return self._queue.projection

    @property
    def recovery(self) -> RecoveryReport:
        """What opening found."""
        return self._queue.recovery

    @property
    def sequence(self) -> int:
        """Sequence of the last event that was appended and applied, 0 without one."""
        return self._queue.sequence

    @property
    def durable_sequence(self) -> int:
        """Every event up to this sequence is on stable storage."""
        return self._queue.durable_sequence

    @property
    def is_closed(self) -> bool:
        """Whether the queue was closed."""
        return self._queue.is_closed

    @property
    def is_poisoned(self) -> bool:
        """Whether an earlier write or sync failed."""
        return self._queue.is_poisoned

    def stats(self) -> dict[str, Any]:
        """Return counters and positions. See :meth:`ActionQueue.stats`."""
        return self._queue.stats()

    # --- The end ----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Make everything durable, wake every waiting task, and release the queue, in a thread.

        Closing again does nothing. If the task is cancelled while it waits for this, the closing
        goes on. Raises what :meth:`ActionQueue.close` raises.
        """
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        try:
            self._queue.close()
        finally:
            if self._queue.is_closed:
                self._syncer.end()
                self._syncer.join()

    async def __aenter__(self) -> Self:
        self._queue._ensure_usable()  # noqa: SLF001 -- as a with block does
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an open queue cannot be pickled or copied; open it by its path")

    def __repr__(self) -> str:
        return f"<AsyncQueue of {self._queue!r}>"


class AsyncBatch:
    """Collects commands and submits them as one. See :meth:`AsyncQueue.batch`."""

    def __init__(self, batch: Batch, wait: Callable[[int], asyncio.Future[None]] | None) -> None:
        self._batch = batch
        self._wait = wait

    def submit(self, command: MutationCommand) -> None:
        """Add a command, to validate, append and apply with the others when the block ends."""
        self._batch.submit(command)

    def __len__(self) -> int:
        return len(self._batch)

    @property
    def outcomes(self) -> list[MutationOutcome]:
        """The outcomes, one a command, once the block has ended and submitted the batch."""
        return self._batch.outcomes

    async def __aenter__(self) -> Self:
        self._batch.__enter__()
        return self

    async def __aexit__(
        self, exception_type: type[BaseException] | None, *exception: object
    ) -> None:
        self._batch.__exit__(exception_type, *exception)
        if exception_type is None and self._wait is not None and self._batch.outcomes:
            await self._wait(self._batch.outcomes[-1].sequence)
