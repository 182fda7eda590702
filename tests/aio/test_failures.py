"""A queue of asyncio that fails: what tasks, loops and followers get to know, and when."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import async_syncer
from actionqueue.aio import AsyncQueue, open_async
from actionqueue.errors import (
    LogWriteError,
    PartialDurabilityError,
    PoisonedError,
)
from tests.support.aio import Gate, run, until
from tests.support.queues import file_size_limit, in_child, replayed, task_create


async def poisoned(path: Path) -> AsyncQueue:
    """Open a queue with one durable event, and let a sync fail for ten tasks."""
    queue = await open_async(path / "queue")
    await queue.submit(task_create())
    gate = Gate(queue)
    with file_size_limit(0):
        tasks = [asyncio.ensure_future(queue.submit(task_create())) for _ in range(10)]
        await gate.reached()
        late = [
            asyncio.ensure_future(queue.submit_many([task_create()])),
            asyncio.ensure_future(queue.sync()),
        ]
        await asyncio.sleep(0)
        gate.may_go.set()
        ended = await asyncio.gather(*tasks, *late, return_exceptions=True)
    failures = [end for end in ended if isinstance(end, PartialDurabilityError)]
    assert [failure.sequence for failure in failures] == [*range(2, 13), 12]
    assert len(set(map(id, failures))) == 12
    assert all(isinstance(failure.cause, LogWriteError) for failure in failures)
    return queue


@pytest.mark.platform("fork", "limits")
def test_a_failed_sync_is_told_to_everybody_who_waits(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await poisoned(tmp_path)
        assert queue.is_poisoned
        assert queue.durable_sequence == 1
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: queue.submit(task_create()),
            lambda: queue.submit_many([task_create()], "deferred"),
            queue.sync,
            queue.snapshot,
            queue.compact,
            queue.__aenter__,
        ]
        for call in calls:
            with pytest.raises(PoisonedError):
                await call()
        assert len(queue.projection.tasks()) == 12
        await queue.close()

    in_child(lambda: run(work()))
    assert replayed(tmp_path / "queue").latest_sequence == 12


@pytest.mark.platform("fork", "limits")
def test_who_waits_for_what_is_durable_is_not_told_of_a_failure(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await poisoned(tmp_path)
        await queue._syncer.wait(1)
        with pytest.raises(PartialDurabilityError):
            await queue._syncer.wait(2)
        await queue.close()

    in_child(lambda: run(work()))


@pytest.mark.platform("fork", "limits")
def test_a_failing_last_sync_is_told_to_those_who_wait_and_by_close(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await open_async(tmp_path / "queue")
        gate = Gate(queue)
        waiting = asyncio.ensure_future(queue.submit(task_create()))
        await gate.reached()
        with file_size_limit(0):
            closing = asyncio.ensure_future(queue.close())
            await until(lambda: queue.is_closed and queue.projection.poisoned_by is not None)
            gate.may_go.set()
            for one in (waiting, closing):
                with pytest.raises(PartialDurabilityError) as failure:
                    await one
                assert isinstance(failure.value.cause, LogWriteError)

    in_child(lambda: run(work()))


@pytest.mark.parametrize("failures", [1, 3])
def test_who_cannot_be_told_is_told_later(
    tmp_path: Path, failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread goes on, whatever it meets: nobody waits for ever, and what is durable is
    durable.
    """

    async def work() -> None:
        async with open_async(tmp_path / "queue") as queue:
            loop = asyncio.get_running_loop()
            through, met = loop.call_soon_threadsafe, itertools.count(1)

            def out_of_memory(callback: Any, *arguments: Any, **options: Any) -> asyncio.Handle:
                if callback is async_syncer._answer and next(met) <= failures:
                    raise MemoryError
                return through(callback, *arguments, **options)

            monkeypatch.setattr(loop, "call_soon_threadsafe", out_of_memory)
            outcomes = await asyncio.gather(*(queue.submit(task_create()) for _ in range(5)))
            assert next(met) > failures
            assert [outcome.sequence for outcome in outcomes] == [1, 2, 3, 4, 5]
            assert queue.durable_sequence == 5
            assert (await queue.submit(task_create())).sequence == 6

    run(work())


def test_a_loop_that_can_never_be_told_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_syncer, "RETRY_SECONDS", 0)

    async def work() -> None:
        queue = await open_async(tmp_path / "queue")
        loop = asyncio.get_running_loop()
        through = loop.call_soon_threadsafe

        def never(callback: Any, *arguments: Any, **options: Any) -> asyncio.Handle:
            if callback is async_syncer._answer:
                raise MemoryError
            return through(callback, *arguments, **options)

        monkeypatch.setattr(loop, "call_soon_threadsafe", never)
        lost = asyncio.ensure_future(queue.submit(task_create()))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(asyncio.run, queue.submit(task_create())) is not None
        lost.cancel()
        monkeypatch.undo()
        assert (await queue.submit(task_create())).sequence == 3
        await queue.close()

    run(work())


@pytest.mark.platform("fork", "limits")
@pytest.mark.parametrize("notice", ["columns", "submit"])
def test_a_follower_ends_when_a_sync_of_the_policy_has_failed(tmp_path: Path, notice: str) -> None:
    async def work() -> None:
        policy = aq.SyncPolicy(records=1)
        queue = await open_async(
            tmp_path / "queue", durability="deferred", sync=policy, compaction=None
        )
        task = aq.TaskSpec(payload=b"x")
        run_of_it = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
        await queue.submit_many(
            [aq.TaskCreateCommand(None, task, 1), aq.RunCreateCommand(None, run_of_it)], "immediate"
        )
        followed = asyncio.ensure_future(_sequences(queue))
        await asyncio.sleep(0)
        with file_size_limit(0):
            await queue.submit(task_create())
            await until(lambda: _has_failed(queue))
        with pytest.raises(PoisonedError):
            if notice == "submit":
                await queue.submit(task_create())
            else:
                queue.queue.submit_transitions(
                    memoryview(run_of_it.id.bytes).cast("B", (1, 16)), "scheduled", "ready", 1
                )
        await queue.close()
        assert await followed == [1, 2]

    in_child(lambda: run(work()))


async def _sequences(queue: AsyncQueue) -> list[int]:
    return [event.sequence async for event in queue.follow(after=0, poll_seconds=0.001)]


def _has_failed(queue: AsyncQueue) -> bool:
    """Tell whether a sync has failed, without anybody being told."""
    try:
        queue.queue._log.ensure_open()
    except PoisonedError:
        return True
    return False
