"""The scheduler for asyncio: its calls don't block the loop while they wait for the disk.

::

    from actionqueue.aio import open_async
    from actionqueue.scheduler.aio import AsyncScheduler

    async with open_async("queue") as q:
        scheduler = AsyncScheduler(q)
        while await scheduler.wait():
            for claim in await scheduler.claim("worker-1", limit=10):
                ...

A call plans and appends in the loop's thread, some microseconds a command, and waits for durability
in the queue's thread, with all other tasks that do. A task that is cancelled while it waits leaves
its step done, and the step becomes durable as it would have.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, ParamSpec, TypedDict, TypeVar, Unpack

from actionqueue.aio import AsyncQueue
from actionqueue.errors import ActionQueueError, InvalidFieldTypeError
from actionqueue.model import (
    BudgetDimension,
    RunId,
    RunState,
    SubscriptionId,
    TaskId,
    TaskPayload,
    TaskSpec,
)
from actionqueue.scheduler.adding import TaskFields
from actionqueue.scheduler.arguments import texts_or_none
from actionqueue.scheduler.backoff import Backoff
from actionqueue.scheduler.claim_columns import ClaimColumns, held_rows
from actionqueue.scheduler.claims import Claim
from actionqueue.scheduler.prerequisites import PrerequisiteFailure
from actionqueue.scheduler.recurrence import Misfire
from actionqueue.scheduler.releasing import Held, held_by
from actionqueue.scheduler.scheduler import Scheduler
from actionqueue.scheduler.shared import RunEnd
from actionqueue.scheduler.ticking import REFUSALS, TickReport
from actionqueue.scheduler.waiting import deadline

__all__ = ["AsyncScheduler"]

P = ParamSpec("P")
R = TypeVar("R")


class SchedulerOptions(TypedDict, total=False):
    """The options of a :class:`actionqueue.Scheduler`."""

    lease_seconds: int
    retry: Backoff
    misfire: Misfire | str
    on_prerequisite_failed: PrerequisiteFailure | str
    clock: Callable[[], int]


class _Appended(threading.local):
    """The last sequence that a thread's call has appended."""

    sequence = 0


class _Appending(Scheduler):
    """A scheduler that waits for nothing: it notes what is to become durable."""

    def __init__(self, queue: AsyncQueue, options: SchedulerOptions) -> None:
        super().__init__(queue.queue, **options)
        self.appended = _Appended()
        self.syncer = queue._syncer  # noqa: SLF001 -- the queue's other half

    def _settle(self, sequence: int) -> None:
        self.appended.sequence = max(sequence, self.appended.sequence)

    def call(self, method: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        """Make a call of a method of this one, and note from the beginning."""
        self.appended.sequence = 0
        return method(*arguments, **options)

    async def settle(self) -> None:
        """Wait for what the thread's last call has appended, as the queue's policy says."""
        sequence = self.appended.sequence
        if not sequence:
            return
        if self._shared.ended:
            settled = self.begin_to_settle(sequence)
            if settled is not None:
                await asyncio.shield(settled)
        elif self._is_immediate:
            try:
                await self.syncer.wait(sequence)
            except ActionQueueError as error:
                self._shared.fail(error)
                raise

    def begin_to_settle(self, sequence: int) -> asyncio.Future[None] | None:
        """Have the futures of ended runs done when a sequence is durable.

        That is also when no task waits for it any more.
        """
        if not self._is_immediate:
            self._shared.resolve(sequence)
            return None

        def settle(durable: asyncio.Future[None]) -> None:
            if durable.cancelled():  # the loop ends: the next step sees to it
                return
            error = durable.exception()
            if error is None:
                self._shared.resolve(sequence)
            elif isinstance(error, ActionQueueError):
                self._shared.fail(error)

        settled = self.syncer.wait(sequence)
        settled.add_done_callback(settle)
        return settled

    def look(
        self, able: frozenset[str] | None, key: object, wake: Callable[[], object]
    ) -> float | None:
        """Return None where something can be claimed, or the seconds until the next look."""
        return self._turn.run(self._look, able, key, wake)

    def give_back(self, owner: str, held: Sequence[Held], now: int) -> None:
        """Give back claims that did not reach their task."""
        self._give_back(owner, held, now)

    def can_claim(self, able: frozenset[str] | None) -> bool:
        """Return whether there is something to claim."""
        return self._can_claim(able)

    def forget(self, key: object) -> None:
        """Wake no more."""
        self._turn.run(self._shared.remove_waker, key)


class AsyncScheduler:
    """A :class:`actionqueue.Scheduler` for tasks: the same methods, to be awaited.

    Any event loop may use it, and other schedulers may share its queue, in other threads too.

    Args:
        queue: What :func:`actionqueue.aio.open_async` returns.
        options: Those of :class:`actionqueue.Scheduler`.

    Raises what that raises.
    """

    def __init__(self, queue: AsyncQueue, **options: Unpack[SchedulerOptions]) -> None:
        if not isinstance(queue, AsyncQueue):
            reason = "must be an open AsyncQueue"
            raise InvalidFieldTypeError("AsyncScheduler", "queue", queue, reason)
        self._queue = queue
        self._scheduler = _Appending(queue, options)

    @property
    def queue(self) -> AsyncQueue:
        """The queue."""
        return self._queue

    async def _call(self, method: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R:
        returned = self._scheduler.call(method, *arguments, **options)
        await self._scheduler.settle()
        return returned

    async def add(
        self,
        task: TaskSpec | TaskPayload | bytes | bytearray | memoryview,
        *,
        at: int | None = None,
        depends_on: Iterable[TaskId] = (),
        **fields: Unpack[TaskFields],
    ) -> TaskId:
        """Create a task with its first run. See :meth:`actionqueue.Scheduler.add`."""
        return await self._call(self._scheduler.add, task, at=at, depends_on=depends_on, **fields)

    async def add_many(
        self,
        tasks: Iterable[TaskSpec | TaskPayload | bytes | bytearray | memoryview],
        *,
        at: int | None = None,
        depends_on: Iterable[TaskId] = (),
        **fields: Unpack[TaskFields],
    ) -> list[TaskId]:
        """Create several tasks as one step. See :meth:`actionqueue.Scheduler.add_many`."""
        return await self._call(
            self._scheduler.add_many, tasks, at=at, depends_on=depends_on, **fields
        )

    async def add_prerequisites(self, task_id: TaskId, depends_on: Iterable[TaskId]) -> None:
        """Have a task wait for more. See :meth:`actionqueue.Scheduler.add_prerequisites`."""
        await self._call(self._scheduler.add_prerequisites, task_id, depends_on)

    async def claim(
        self, owner: str, limit: int = 1, capabilities: Iterable[str] | None = None
    ) -> list[Claim]:
        """Give ready runs to a worker. See :meth:`actionqueue.Scheduler.claim`.

        Where the task is cancelled before it has its claims, they are released.
        """
        claims = self._scheduler.call(self._scheduler.claim, owner, limit, capabilities)
        started_at = claims[0].started_at if claims else 0
        await self._settle_or_release(owner, lambda: held_by(claims), started_at)
        return claims

    async def claim_columns(
        self, owner: str, limit: int, capabilities: Iterable[str] | None = None
    ) -> ClaimColumns:
        """Claim runs as arrays. See :meth:`actionqueue.Scheduler.claim_columns`.

        Where the task is cancelled before it has its claims, they are released.
        """
        claims = self._scheduler.call(self._scheduler.claim_columns, owner, limit, capabilities)

        def held() -> Sequence[Held]:
            return held_rows(claims.run_ids.tobytes(), claims.attempt_ids.tobytes())

        await self._settle_or_release(owner, held, claims.started_at)
        return claims

    async def _settle_or_release(
        self, owner: str, held: Callable[[], Sequence[Held]], now: int
    ) -> None:
        try:
            await self._scheduler.settle()
        except BaseException:  # the task was cancelled, or its coroutine closed: it gets no claim
            self._scheduler.call(self._scheduler.give_back, owner, held(), now)
            raise

    async def heartbeat(self, claims: Claim | Iterable[Claim]) -> None:
        """Extend leases. See :meth:`actionqueue.Scheduler.heartbeat`."""
        await self._call(self._scheduler.heartbeat, claims)

    async def complete(self, claim: Claim, output: bytes = b"") -> None:
        """Take the result of an attempt. See :meth:`actionqueue.Scheduler.complete`."""
        await self._call(self._scheduler.complete, claim, output)

    async def complete_many(self, results: Iterable[Claim | tuple[Claim, bytes]]) -> None:
        """Take the results of several attempts: :meth:`actionqueue.Scheduler.complete_many`."""
        await self._call(self._scheduler.complete_many, results)

    async def complete_columns(self, claims: ClaimColumns, outputs: Any = None) -> None:
        """Complete runs as arrays. See :meth:`actionqueue.Scheduler.complete_columns`."""
        await self._call(self._scheduler.complete_columns, claims, outputs)

    async def fail(
        self, claim: Claim, error: str, *, retry_at: int | None = None, retry: bool = True
    ) -> RunState:
        """Take the failure of an attempt. See :meth:`actionqueue.Scheduler.fail`."""
        fail = self._scheduler.fail
        return await self._call(fail, claim, error, retry_at=retry_at, retry=retry)

    async def suspend(
        self, claim: Claim, reason: str | None = None, *, output: bytes = b""
    ) -> None:
        """Lay a run aside. See :meth:`actionqueue.Scheduler.suspend`."""
        await self._call(self._scheduler.suspend, claim, reason, output=output)

    async def release(self, claim: Claim) -> None:
        """Give a run back. See :meth:`actionqueue.Scheduler.release`."""
        await self._call(self._scheduler.release, claim)

    async def release_all(self, owner: str) -> int:
        """Give back what an owner holds. See :meth:`actionqueue.Scheduler.release_all`."""
        return await self._call(self._scheduler.release_all, owner)

    async def tick(self) -> TickReport:
        """Do what time has brought about. See :meth:`actionqueue.Scheduler.tick`."""
        return await self._call(self._scheduler.tick)

    def next_wakeup(self) -> int | None:
        """Return when a tick has something to do: :meth:`actionqueue.Scheduler.next_wakeup`."""
        return self._scheduler.next_wakeup()

    async def cancel(self, task_id: TaskId) -> list[TaskId]:
        """Cancel a task. See :meth:`actionqueue.Scheduler.cancel`."""
        return await self._call(self._scheduler.cancel, task_id)

    async def cancel_run(self, run_id: RunId) -> None:
        """Cancel one run. See :meth:`actionqueue.Scheduler.cancel_run`."""
        await self._call(self._scheduler.cancel_run, run_id)

    async def plan_next(self, task_id: TaskId) -> RunId | None:
        """Create a recurring task's next run: :meth:`actionqueue.Scheduler.plan_next`."""
        return await self._call(self._scheduler.plan_next, task_id)

    async def pause(self) -> None:
        """Hand nothing out from now on. See :meth:`actionqueue.Scheduler.pause`."""
        await self._call(self._scheduler.pause)

    async def resume(self) -> None:
        """Hand out runs again. See :meth:`actionqueue.Scheduler.resume`."""
        await self._call(self._scheduler.resume)

    async def reschedule(
        self, run_id: RunId, *, at: int | None = None, priority: int | None = None
    ) -> None:
        """Give a run another time or priority. See :meth:`actionqueue.Scheduler.reschedule`."""
        await self._call(self._scheduler.reschedule, run_id, at=at, priority=priority)

    async def resume_run(self, run_id: RunId) -> None:
        """Make a suspended run ready. See :meth:`actionqueue.Scheduler.resume_run`."""
        await self._call(self._scheduler.resume_run, run_id)

    async def retry(self, run_id: RunId) -> None:
        """Try a run again now. See :meth:`actionqueue.Scheduler.retry`."""
        await self._call(self._scheduler.retry, run_id)

    async def signal(self, key: str) -> list[SubscriptionId]:
        """Trigger subscriptions by a key. See :meth:`actionqueue.Scheduler.signal`."""
        return await self._call(self._scheduler.signal, key)

    async def consume(self, task_id: TaskId, dimension: BudgetDimension | str, amount: int) -> None:
        """Record the use of a budget. See :meth:`actionqueue.Scheduler.consume`."""
        await self._call(self._scheduler.consume, task_id, dimension, amount)

    # --- Waiting ----------------------------------------------------------------------------------

    async def wait(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 -- as the scheduler for threads has it
        capabilities: Iterable[str] | None = None,
    ) -> bool:
        """Return True as soon as something can be claimed, False at the end of the timeout.

        It ticks meanwhile. See :meth:`actionqueue.Scheduler.wait`.
        """
        able = texts_or_none("wait", "capabilities", capabilities)
        end = deadline("wait", timeout)
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed, so no task waits there any more
                loop.call_soon_threadsafe(changed.set)

        while True:
            changed.clear()
            seconds = self._scheduler.look(able, changed, wake)
            if seconds is None:
                return True
            if seconds == 0:
                try:
                    await self.tick()
                except REFUSALS:
                    if self._scheduler.can_claim(able):
                        return True
                    raise
                continue
            try:
                left = seconds if end is None else min(seconds, end - time.monotonic())
                if left <= 0:
                    return False
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await changed.wait()
            finally:
                self._scheduler.forget(changed)

    def finished(self, run_id: RunId) -> asyncio.Future[RunEnd]:
        """Return a future of the running loop for a run's end.

        See :meth:`actionqueue.Scheduler.finished`.
        """
        scheduler = self._scheduler
        future = scheduler.call(scheduler.finished, run_id)
        if scheduler.appended.sequence:
            scheduler.begin_to_settle(scheduler.appended.sequence)
        return asyncio.wrap_future(future)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a scheduler cannot be pickled or copied; make one over an open queue")

    def __repr__(self) -> str:
        return f"<AsyncScheduler of {self._queue!r}>"
