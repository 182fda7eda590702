"""The queue for asyncio: what waits, what does not, and what cancelling, failing and closing leave."""

from __future__ import annotations

import asyncio
import copy
import gc
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.aio import AsyncQueue, open_async
from queue_tools import SMALL, file_size_limit, in_child, replayed, task_create

PATIENCE_S = 60


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def bounded() -> Any:
        return await asyncio.wait_for(work(), PATIENCE_S)

    return asyncio.run(bounded())


class SlowDisk:
    """Holds the wait for durability until it is let go."""

    def __init__(self, queue: AsyncQueue) -> None:
        self.reached, self.may_go = threading.Event(), threading.Event()
        self._wait = queue._syncer._wait_durable
        queue._syncer._wait_durable = self

    def __call__(self, sequence: int) -> None:
        self.reached.set()
        assert self.may_go.wait(PATIENCE_S)
        self._wait(sequence)


def test_from_the_beginning_to_the_end(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path / "queue", **SMALL) as queue:
            assert queue.recovery.is_created
            command = task_create()
            outcome = await queue.submit(command)
            assert outcome == aq.MutationOutcome(1, aq.AppliedTaskCreate(command.task_spec.id))
            assert queue.durable_sequence == 1
            assert (await queue.submit(task_create(), "deferred")).sequence == 2
            assert queue.durable_sequence == 1
            await queue.sync()
            assert queue.durable_sequence == queue.sequence == 2
            assert [outcome.sequence for outcome in await queue.submit_many([task_create(), task_create()])] == [3, 4]
            assert queue.durable_sequence == 4
            assert await queue.submit_many([]) == []
            async with queue.batch() as batch:
                batch.submit(task_create())
                batch.submit(task_create())
            assert [outcome.sequence for outcome in batch.outcomes] == [5, 6]
            assert queue.durable_sequence == 6
            assert (await queue.snapshot()).sequence == 6
            assert (await queue.compact()).sequence == 6
            assert queue.stats()["snapshot_sequence"] == 6
            assert len(queue.projection.tasks()) == 6
            assert queue.path == str((tmp_path / "queue").resolve())
            assert not queue.is_closed
            assert not queue.is_poisoned
        assert queue.is_closed
        await queue.close()
        with pytest.raises(aq.ClosedError):
            await queue.submit(task_create())
        with pytest.raises(aq.ClosedError):
            await queue.sync()

    run(work)
    assert replayed(tmp_path / "queue").latest_sequence == 6


def test_many_tasks_share_a_few_syncs(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            slow = SlowDisk(queue)
            tasks = [asyncio.create_task(queue.submit(task_create())) for _ in range(1000)]
            await asyncio.to_thread(slow.reached.wait, PATIENCE_S)
            assert queue.sequence == 1000  # the loop went on while the first one waited
            assert not any(task.done() for task in tasks)
            slow.may_go.set()
            outcomes = await asyncio.gather(*tasks)
            assert [outcome.sequence for outcome in outcomes] == list(range(1, 1001))
            assert queue.durable_sequence == 1000
            assert queue.stats()["syncs"] <= 3

    run(work)


def test_a_refusal_changes_nothing_and_waits_for_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            command = task_create()
            await queue.submit(command)
            syncs = queue.stats()["syncs"]
            with pytest.raises(aq.TaskAlreadyExists):
                await queue.submit(command)
            with pytest.raises(aq.TaskAlreadyExists) as refusal:
                await queue.submit_many([task_create(), command])
            assert refusal.value.batch_index == 1
            with pytest.raises(ValueError, match="soon"):
                await queue.submit(task_create(), "soon")
            with pytest.raises(KeyError):
                async with queue.batch() as batch:
                    batch.submit(task_create())
                    raise KeyError
            assert queue.sequence == 1
            assert queue.stats()["syncs"] == syncs

    run(work)


def test_a_cancelled_wait_leaves_the_command_submitted_and_harms_nobody(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            slow = SlowDisk(queue)
            tasks = [asyncio.create_task(queue.submit(task_create())) for _ in range(9)]
            await asyncio.to_thread(slow.reached.wait, PATIENCE_S)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.sleep(0)
            slow.may_go.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results[::2]] == [asyncio.CancelledError] * 5
            assert [result.sequence for result in results[1::2] if isinstance(result, aq.MutationOutcome)] == [2, 4, 6, 8]
            assert queue.sequence == 9
            assert (await queue.submit(task_create())).sequence == 10

    run(work)
    assert replayed(tmp_path).latest_sequence == 10


def test_a_failed_sync_reaches_everybody_who_waits(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await open_async(tmp_path)
        await queue.submit(task_create())
        slow = SlowDisk(queue)
        tasks = [asyncio.create_task(queue.submit(task_create())) for _ in range(5)]
        await asyncio.to_thread(slow.reached.wait, PATIENCE_S)
        with file_size_limit(1):
            slow.may_go.set()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [aq.PartialDurabilityError] * 5
        assert len({id(result) for result in results}) == 5
        assert queue.is_poisoned
        with pytest.raises(aq.PoisonedError):
            await queue.submit(task_create())
        with pytest.raises(aq.PoisonedError):
            await queue.sync()
        await queue.close()

    in_child(lambda: run(work))  # its limits are its own
    with aq.open(tmp_path) as queue:
        assert 1 <= queue.sequence <= 6


def test_closing_serves_those_who_wait(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await open_async(tmp_path)
        slow = SlowDisk(queue)
        tasks = [asyncio.create_task(queue.submit(task_create())) for _ in range(3)]
        await asyncio.to_thread(slow.reached.wait, PATIENCE_S)
        closing = [asyncio.create_task(queue.close()) for _ in range(2)]
        await asyncio.sleep(0)
        slow.may_go.set()
        await asyncio.gather(*closing)
        assert [(await task).sequence for task in tasks] == [1, 2, 3]

    run(work)
    with aq.open(tmp_path) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == 3


def test_loops_in_several_threads_and_threads_without_a_loop(tmp_path: Path) -> None:
    sequences: list[int] = []

    async def submit(queue: AsyncQueue) -> None:
        for _ in range(20):
            outcomes = await asyncio.gather(*[queue.submit(task_create()) for _ in range(10)])
            assert queue.durable_sequence >= outcomes[-1].sequence
            sequences.extend(outcome.sequence for outcome in outcomes)

    def submit_without_loop(queue: aq.ActionQueue) -> None:
        sequences.extend(queue.submit(task_create(), "immediate").sequence for _ in range(50))

    with aq.open(tmp_path) as shared:
        queue = AsyncQueue(shared)
        threads = [threading.Thread(target=lambda: run(lambda: submit(queue))) for _ in range(3)]
        threads.append(threading.Thread(target=submit_without_loop, args=(shared,)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run(queue.close)
    assert sorted(sequences) == list(range(1, 651))


def test_following_to_the_end(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await open_async(tmp_path, **SMALL)
        seen: list[int] = []

        async def follow() -> None:
            async for event in queue.follow(after=0, poll_seconds=0.001):
                seen.append(event.sequence)
                if event.sequence == 30:
                    arrived.set()

        arrived = asyncio.Event()
        following = asyncio.create_task(follow())
        for _ in range(30):
            await queue.submit(task_create(b"x" * 9000))  # through rotations
        await arrived.wait()
        await queue.close()
        await following
        assert seen == list(range(1, 31))

    run(work)


def test_a_cancelled_opening_leaves_nothing_open(tmp_path: Path) -> None:
    async def work() -> None:
        task = asyncio.ensure_future(_opened(tmp_path))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work)  # its end waits for the thread that opened
    gc.collect()
    aq.open(tmp_path).close()


async def _opened(path: Path) -> AsyncQueue:
    return await open_async(path)


def test_what_can_not_be_opened(tmp_path: Path) -> None:
    async def work() -> None:
        with pytest.raises(aq.NotAQueueError):
            await open_async(tmp_path, create=False)
        with pytest.raises(TypeError):
            await open_async(tmp_path, sectors=4096)  # type: ignore[call-arg]
        async with open_async(tmp_path) as queue:
            with pytest.raises(aq.LockedError):
                await open_async(tmp_path)
            with pytest.raises(TypeError, match="open it by its path"):
                copy.copy(queue)
            assert repr(queue) == f"<AsyncQueue of {queue.queue!r}>"

    run(work)
