"""A queue for asyncio: tasks that wait for durability together, without a thread each and without blocking the loop.

::

    from actionqueue.aio import open_async

    async with open_async("queue") as q:
        outcome = await q.submit(command)

A command is validated, appended and applied in the loop's thread, which takes about a microsecond of memory work. What waits for the disk
is one thread of the queue's: it syncs while anybody waits, and each of its syncs serves all whose commands came before it.

What makes a submit wait in the loop's thread itself, and with it the loop:

- A ring that is full of Deferred work, which is then written to the log's file; and the change to the next segment, every 64 MiB or so,
  which syncs what is left and a header. ``stats()`` counts both as ``stalls``.
- What is submitted in one go: a batch takes some microseconds a command, a call with arrays about a tenth of one a row; what is larger than
  the ring is written to the file before its call returns.
- Other threads that are in the lane: a batch or a call with arrays of theirs, and their stalls; the forgetting of old runs by the
  compaction's thread (some 2,000 rows at a time); and the renewal of the projection, after a compaction that forgot much, which
  replays up to 10,000 events and syncs nothing. ``compaction=None`` leaves out the last two, until ``compact()`` is called.
- The interpreter's lock, which other threads may hold for some milliseconds, as in any program.

A lone task pays for the way to that thread and back, some tens of microseconds beyond the disk's sync; a thread that calls
:meth:`ActionQueue.submit` does not. With others the way is shared, and a command costs less than by any other way.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, NoReturn, Self, TypedDict, Unpack

from actionqueue import store
from actionqueue.async_stream import AsyncEventStream
from actionqueue.compaction import CompactionPolicy, CompactionReport, Progress, SnapshotReport
from actionqueue.errors import ActionQueueError, InvalidFieldTypeError, OpenIOError
from actionqueue.model import MutationCommand, MutationOutcome
from actionqueue.policy_fields import progress_or_none, seconds_between_looks
from actionqueue.projection import Projection
from actionqueue.reading import POLL_SECONDS, Position
from actionqueue.recovery import RecoveryReport
from actionqueue.store import ActionQueue, Batch
from actionqueue.sync_policy import DurabilityPolicy, SyncPolicy

__all__ = ["AsyncBatch", "AsyncEventStream", "AsyncQueue", "open_async"]

IMMEDIATE = DurabilityPolicy.IMMEDIATE
DEFERRED = DurabilityPolicy.DEFERRED

TRIES = 100
RETRY_SECONDS = 0.01
"""How often, and after how long, somebody is told again who could not be told: for want of memory, say."""

Request = tuple[int, asyncio.Future[None]]
Answer = tuple[asyncio.Future[None], BaseException | None]


class WriterOptions(TypedDict, total=False):
    """The options of :func:`actionqueue.open`, but for ``readonly``."""

    durability: DurabilityPolicy | str
    create: bool
    segment_size: int
    ring_size: int
    sector_size: int
    compaction: CompactionPolicy | None
    sync: SyncPolicy
    progress: Progress | None


def open_async(path: str | os.PathLike[str], **options: Unpack[WriterOptions]) -> Opening:
    """Open or create the queue in a directory, in a thread: recovery may take seconds.

    Use the result as ``async with open_async(path) as q``, or ``q = await open_async(path)`` and close it yourself. A task that is
    cancelled while it waits for this leaves nothing open, and ends the recovery.

    Args:
        path: The queue's directory.
        options: As :func:`actionqueue.open` has them, but for ``readonly``: a read-only queue waits for nothing but its reading, so
            ``await asyncio.to_thread(actionqueue.open, path, readonly=True)`` is all that there would be.

    Raises what :func:`actionqueue.open` raises.
    """
    if options.pop("readonly", False):  # type: ignore[typeddict-item]
        raise ValueError("open_async opens for writing; to read, await asyncio.to_thread(actionqueue.open, path, readonly=True)")
    return Opening(path, options)


class Opening:
    """What :func:`open_async` returns: to be awaited, or entered with ``async with``."""

    def __init__(self, path: str | os.PathLike[str], options: WriterOptions) -> None:
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
        options: WriterOptions = {**self._options, "progress": progress}
        queue = store.open(self._path, **options)
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

    async def __aexit__(
        self, exception_type: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opened.pop().close()


class Handover:
    """A queue's way from the thread that opens it to the task that waits for it: closed where the task is cancelled on the way."""

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
            queue = self._given.pop()  # by one of the two, where both come here
        except IndexError:
            return
        with suppress(ActionQueueError):  # nothing was submitted, so nothing is in doubt
            queue._close()  # noqa: SLF001 -- the module's own class


class AsyncQueue:
    """An open queue, for tasks. Made by :func:`open_async`, or around an :class:`ActionQueue` that is open already.

    It may be used from several event loops in several threads at once, and beside them by threads through :attr:`queue`.

    **Cancellation.** A command is submitted at once, and what is waited for is its durability. So a task that is cancelled while it
    waits leaves its command submitted, and it becomes durable as it would have.

    **Failures.** When a sync fails, everybody who waits for what it should have covered gets a PartialDurabilityError of their own, and
    later calls PoisonedError, as with :class:`ActionQueue`.

    Raises InvalidFieldTypeError for what is no ActionQueue.
    """

    def __init__(self, queue: ActionQueue) -> None:
        if not isinstance(queue, ActionQueue):
            raise InvalidFieldTypeError("AsyncQueue", "queue", queue, "must be an ActionQueue")
        self._queue = queue
        self._durability = queue.durability
        self._syncer = Syncer(queue._wait_durable, queue.path)  # noqa: SLF001 -- the queue's other half
        # With the last reference to this, the thread lets go of the queue.
        self._finalizer = weakref.finalize(self, self._syncer.end)

    # --- Commands ----------------------------------------------------------------------------------------------------

    async def submit(self, command: MutationCommand, durability: DurabilityPolicy | str | None = None) -> MutationOutcome:
        """Submit a command, and return its outcome once it is as durable as asked for.

        It is submitted before this first waits: tasks submit in the order in which they run, whatever they wait for then.

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
        """Submit commands as one: all or none. See :meth:`ActionQueue.submit_many`; waiting and cancelling are as in :meth:`submit`."""
        policy = self._durability if durability is None else DurabilityPolicy(durability)
        outcomes = self._queue.submit_many(commands, DEFERRED)
        if outcomes and policy is IMMEDIATE:
            await self._syncer.wait(outcomes[-1].sequence)
        return outcomes

    def batch(self, durability: DurabilityPolicy | str | None = None) -> AsyncBatch:
        """Return an asynchronous context manager that collects commands and submits them as one when its block ends well."""
        policy = self._durability if durability is None else DurabilityPolicy(durability)
        return AsyncBatch(Batch(self._queue, DEFERRED), self._syncer.wait if policy is IMMEDIATE else None)

    async def sync(self) -> None:
        """Return when every command submitted so far is on stable storage."""
        self._queue._ensure_usable()  # noqa: SLF001 -- as sync() does
        await self._syncer.wait(self._queue.sequence)

    # --- Snapshots and reading ---------------------------------------------------------------------------------------

    async def snapshot(self, *, progress: Progress | None = None) -> SnapshotReport:
        """Write a snapshot, in a thread. See :meth:`ActionQueue.snapshot`; ``progress.cancel()`` stops it, cancelling the task does not."""
        return await asyncio.to_thread(self._queue.snapshot, progress=progress)

    async def compact(
        self,
        *,
        retention_seconds: int | None = None,
        ledger_retention_seconds: int | None = None,
        tombstone_seconds: int | None = None,
        progress: Progress | None = None,
    ) -> CompactionReport:
        """Compact the queue, in a thread. See :meth:`ActionQueue.compact`; ``progress.cancel()`` stops it, cancelling the task does not."""
        return await asyncio.to_thread(
            self._queue.compact,
            retention_seconds=retention_seconds,
            ledger_retention_seconds=ledger_retention_seconds,
            tombstone_seconds=tombstone_seconds,
            progress=progress,
        )

    def follow(
        self, *, after: int | str | None = None, history: str | None = None, poll_seconds: float = POLL_SECONDS
    ) -> AsyncEventStream:
        """Yield events as they become durable, from behind the last one submitted unless ``after`` says otherwise.

        It ends when the queue is closed, behind the last event.

        Args:
            after: As in :func:`actionqueue.follow`: a position, of this kind of stream or the other, or a sequence.
            history: As there.
            poll_seconds: How long to wait between two looks at the durable sequence, as there.

        Raises what :func:`actionqueue.follow` raises: for an argument that does not fit, and a queue that
        is not open, at once; where the log has another history, or not the event, at the first event.
        """
        self._queue._ensure_usable()  # noqa: SLF001 -- as the queue's own does
        position = Position.of(self._queue.sequence if after is None else after, history)
        return AsyncEventStream(self._queue, position, seconds_between_looks("follow", poll_seconds))

    # --- What the queue is -------------------------------------------------------------------------------------------

    @property
    def queue(self) -> ActionQueue:
        """The queue itself. Its own calls wait where they are made; its queries, and Deferred submits, may well be made in a loop."""
        return self._queue

    @property
    def path(self) -> str:
        """The queue's directory, as a real path."""
        return self._queue.path

    @property
    def projection(self) -> Projection:
        """The projection: queries are memory reads, and are made in the loop. It may run ahead of :attr:`durable_sequence`."""
        return self._queue.projection

    @property
    def recovery(self) -> RecoveryReport:
        """What opening found."""
        return self._queue.recovery

    @property
    def sequence(self) -> int:
        """Sequence of the last event that was appended and applied, 0 where there is none."""
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

    # --- The end -----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Make everything durable, let everybody know who waits, and release the queue, in a thread. Closing again does nothing.

        A task that is cancelled while it waits for this leaves the queue being closed. Raises what :meth:`ActionQueue.close` raises.
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

    async def __aexit__(
        self, exception_type: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an open queue cannot be pickled or copied; open it by its path")

    def __repr__(self) -> str:
        return f"<AsyncQueue of {self._queue!r}>"


class AsyncBatch:
    """Commands that are submitted as one. See :meth:`AsyncQueue.batch`."""

    def __init__(self, batch: Batch, wait: Callable[[int], asyncio.Future[None]] | None) -> None:
        self._batch = batch
        self._wait = wait

    def submit(self, command: MutationCommand) -> None:
        """Add a command. It is validated, appended and applied with the others when the block ends."""
        self._batch.submit(command)

    def __len__(self) -> int:
        return len(self._batch)

    @property
    def outcomes(self) -> list[MutationOutcome]:
        """The outcomes, one a command, once the batch was submitted."""
        return self._batch.outcomes

    async def __aenter__(self) -> Self:
        self._batch.__enter__()
        return self

    async def __aexit__(
        self, exception_type: type[BaseException] | None, exception: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._batch.__exit__(exception_type, exception, traceback)
        if exception_type is None and self._wait is not None and self._batch.outcomes:
            await self._wait(self._batch.outcomes[-1].sequence)


class Syncer:
    """The thread that syncs for all tasks: while anybody waits, and then once for everybody who has come until it begins."""

    def __init__(self, wait_durable: Callable[[int], None], path: str) -> None:
        self._wait_durable = wait_durable
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._has_ended = False
        # A daemon, so that a queue that nobody closes does not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="actionqueue-aio", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            if error.__context__ is not None:  # what a signal's handler raised while the thread was being started
                raise error.__context__ from None
            raise OpenIOError("start a thread", path, errno.EAGAIN) from error

    def wait(self, sequence: int) -> asyncio.Future[None]:
        """Return a future of the running loop: done when the event is durable, or failed with a PartialDurabilityError."""
        future = asyncio.get_running_loop().create_future()
        self._requests.put((sequence, future))
        if self._has_ended:
            # The queue is closed, so this does not wait for the disk.
            self._serve(self._take())
        return future

    def end(self) -> None:
        """Let the thread serve those who wait, and end."""
        self._requests.put(None)

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def _run(self) -> None:
        taken: list[Request | None] = []
        while None not in taken:
            taken = []
            try:
                taken.append(self._requests.get())
                taken += self._take()
                self._serve(taken)
            except BaseException:  # noqa: BLE001 -- whatever it is, nobody who waits must wait for ever
                self._serve_each(taken)
        self._has_ended = True
        # Who came before that line may have seen a thread that still served.
        self._serve_each(self._take())

    def _take(self) -> list[Request | None]:
        taken: list[Request | None] = []
        with suppress(Empty):
            while True:
                taken.append(self._requests.get_nowait())
        return taken

    def _serve_each(self, taken: list[Request | None]) -> None:
        """Serve those who could not be served together, some of whom may have been: one by one, again and again."""
        for request in taken:
            for _ in range(TRIES):
                try:
                    self._serve([request])
                    break
                except BaseException:  # noqa: BLE001 -- as above
                    time.sleep(RETRY_SECONDS)

    def _serve(self, taken: list[Request | None]) -> None:
        requests = [request for request in taken if request is not None]
        if not requests:
            return
        answers: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
        error = self._failure_of(max(sequence for sequence, _ in requests))
        for sequence, future in requests:
            # What the failed sync was to cover and an earlier one had covered is durable.
            own = None if error is None else self._failure_of(sequence)
            answers.setdefault(future.get_loop(), []).append((future, own))
        for loop, those in answers.items():
            with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(_answer, those)

    def _failure_of(self, sequence: int) -> BaseException | None:
        """Wait until an event is durable; return why it will not be."""
        try:
            self._wait_durable(sequence)
        except BaseException as error:  # noqa: BLE001 -- whatever it is, it is for those who wait
            return error
        return None


def _answer(answers: list[Answer]) -> None:
    for future, error in answers:
        if future.done():  # its task was cancelled
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
