"""The scheduler for asyncio: the same steps, without a thread that waits for the disk."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.aio import AsyncQueue, open_async
from actionqueue.errors import ClaimLost, InvalidFieldError, PartialDurabilityError
from actionqueue.scheduler.aio import AsyncScheduler
from tests.support.aio import Gate, run, until
from tests.support.scheduling import BEGIN, Clock


def test_it_has_the_methods_of_the_scheduler_for_threads() -> None:
    for name, method in inspect.getmembers(aq.Scheduler, inspect.isfunction):
        if not name.startswith("_"):
            own = inspect.signature(getattr(AsyncScheduler, name))
            assert list(own.parameters) == list(inspect.signature(method).parameters), name


def test_a_job_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    async def work() -> None:
        clock = Clock()
        async with open_async(tmp_path / "queue", compaction=None) as queue:
            scheduler = AsyncScheduler(queue, clock=clock, retry=aq.Backoff(jitter=0))
            assert scheduler.queue is queue
            assert "AsyncScheduler of" in repr(scheduler)
            first = await scheduler.add(b"payload", max_attempts=2)
            second = await scheduler.add(b"", depends_on=[first])
            assert queue.durable_sequence == queue.sequence
            assert await scheduler.wait(0)
            (claim,) = await scheduler.claim("w", 9)
            assert claim.payload == b"payload"
            end = scheduler.finished(claim.run_id)
            await scheduler.heartbeat(claim)
            assert await scheduler.fail(claim, "why") == "retry_wait"
            assert scheduler.next_wakeup() == BEGIN + 1
            clock.advance(1)
            assert (await scheduler.tick()).ready == [claim.run_id]
            (claim,) = await scheduler.claim("w", 9)
            await scheduler.release(claim)
            (claim,) = await scheduler.claim("w", 9)
            await scheduler.suspend(claim, "later")
            await scheduler.resume_run(claim.run_id)
            (claim,) = await scheduler.claim("w", 9)
            await scheduler.complete(claim, b"out")
            assert (await end).output == b"out"
            assert (await scheduler.finished(claim.run_id)).state == "completed"
            with pytest.raises(ClaimLost):
                await scheduler.complete(claim)
            third = await scheduler.add(b"", priority=9)
            assert len(await scheduler.claim("gone")) == 1
            assert await scheduler.release_all("gone") == 1
            assert queue.projection.run_state(aq.run_id_of(third, 0)) == "ready"
            assert await scheduler.cancel(third) == [third]
            await scheduler.pause()
            assert await scheduler.claim("w") == []
            await scheduler.resume()
            await scheduler.reschedule(aq.run_id_of(second, 0), priority=4)
            await scheduler.consume(second, "token", 1)
            assert await scheduler.signal("key") == []
            await scheduler.add_prerequisites(second, [await scheduler.add(b"")])
            assert await scheduler.plan_next(second) is None
            third = await scheduler.add(b"", at=BEGIN + 500)
            await scheduler.cancel_run(aq.run_id_of(third, 0))
            assert await scheduler.cancel(second) == [second]
            with pytest.raises(aq.PreviousStateMismatch):
                await scheduler.retry(claim.run_id)
            assert queue.durable_sequence == queue.sequence

    run(work())


def test_tasks_share_syncs_and_claims(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path / "queue", compaction=None) as queue:
            scheduler = AsyncScheduler(queue, clock=Clock())
            await asyncio.gather(*(scheduler.add(b"") for _ in range(200)))
            done: list[aq.RunId] = []

            async def worker(name: str) -> None:
                while claims := await scheduler.claim(name, 3):
                    for claim in claims:
                        await scheduler.complete(claim)
                        done.append(claim.run_id)

            await asyncio.gather(*(worker(f"w{number}") for number in range(8)))
            assert len(done) == len(set(done)) == 200
            assert queue.stats()["syncs"] < 500

    run(work())


def test_waiting_ends_with_what_another_task_or_thread_adds(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path / "queue", durability="deferred", compaction=None) as queue:
            clock = Clock()
            scheduler = AsyncScheduler(queue, clock=clock)
            beside = aq.Scheduler(queue.queue, clock=clock)
            for add in (
                lambda: scheduler.add(b""),
                lambda: asyncio.to_thread(beside.add, b""),
                lambda: asyncio.to_thread(beside.add, b"", at=BEGIN - 1),
            ):
                assert not await scheduler.wait(0)
                waiting = asyncio.ensure_future(scheduler.wait())
                await until(lambda: beside._shared.is_watched)
                assert not waiting.done()
                await add()
                assert await waiting
                assert len(await scheduler.claim("w", 9)) == 1
            assert not await scheduler.wait(0.001)
            clock.advance(1000)
            waiting = asyncio.ensure_future(scheduler.wait())
            await until(lambda: beside._shared.is_watched)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not beside._shared.is_watched

    run(work())


def test_a_call_waits_for_durability_and_its_end_is_told_then(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path / "queue", compaction=None) as queue:
            scheduler = AsyncScheduler(queue, clock=Clock())
            await scheduler.add(b"")
            (claim,) = await scheduler.claim("w")
            end = scheduler.finished(claim.run_id)
            gate = Gate(queue)
            completing = asyncio.ensure_future(scheduler.complete(claim))
            await gate.reached()
            completing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await completing
            assert not end.done()
            gate.may_go.set()
            assert (await end).state == "completed"

    run(work())


def test_a_claim_that_is_cancelled_gives_its_runs_back(tmp_path: Path) -> None:
    """The task has not seen them, so the attempt does not count either."""

    async def work() -> None:
        async with open_async(tmp_path / "queue", compaction=None) as queue:
            scheduler = AsyncScheduler(queue, clock=Clock())
            task_id = await scheduler.add(b"")
            gate = Gate(queue)
            claiming = asyncio.ensure_future(scheduler.claim("w"))
            await gate.reached()
            claiming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await claiming
            gate.may_go.set()
            (claim,) = await scheduler.claim("w")
            assert (claim.task_id, claim.attempt) == (task_id, 1)

    run(work())


def test_a_failed_sync_is_told_to_all_that_wait(tmp_path: Path, monkeypatch) -> None:
    async def work() -> None:
        async with open_async(tmp_path / "queue", compaction=None) as queue:
            scheduler = AsyncScheduler(queue, clock=Clock())
            await scheduler.add(b"")
            (claim,) = await scheduler.claim("w")
            end = scheduler.finished(claim.run_id)

            def fail(sequence: int) -> None:
                raise PartialDurabilityError(sequence, OSError(5, "no disk"))

            monkeypatch.setattr(queue._syncer, "_wait_durable", fail)
            with pytest.raises(PartialDurabilityError):
                await scheduler.complete(claim)
            with pytest.raises(PartialDurabilityError):
                await end

    run(work())


@pytest.mark.parametrize("queue", [None, "path", aq.Scheduler])
def test_what_is_no_queue_is_named(queue: Any) -> None:
    with pytest.raises(InvalidFieldError, match=r"AsyncScheduler\.queue"):
        AsyncScheduler(queue)


def test_it_is_neither_copied_nor_pickled(tmp_path: Path) -> None:
    import copy

    async def work() -> None:
        async with AsyncQueue(aq.open(tmp_path / "queue", compaction=None)) as queue:
            with pytest.raises(TypeError, match="cannot be pickled"):
                copy.copy(AsyncScheduler(queue))

    run(work())
