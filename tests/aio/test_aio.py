"""The queue for asyncio: what tasks rely on when they share one, are cancelled, or it closes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import pickle
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.aio import AsyncQueue, Handover, open_async
from actionqueue.errors import (
    ClosedError,
    ForkedError,
    LockedError,
    ValidationError,
)
from tests.support.aio import PATIENCE_S, Gate, run, until
from tests.support.queues import REFUSED, dropping, in_child, replayed, task_create

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

# --- Submitting -----------------------------------------------------------------------------------


def test_a_queue_opens_takes_commands_and_closes(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path / "queue", compaction=None) as queue:
            assert queue.recovery.is_created
            assert (queue.path, queue.sequence, queue.is_closed) == (
                (tmp_path / "queue").as_posix(),
                0,
                False,
            )
            task = aq.TaskSpec(payload=b"x")
            outcome = await queue.submit(aq.TaskCreateCommand(None, task, 1))
            assert outcome == aq.MutationOutcome(1, aq.AppliedTaskCreate(task.id))
            assert queue.durable_sequence == 1
            assert queue.projection.task_exists(task.id)
            outcomes = await queue.submit_many([task_create(), task_create()])
            assert [outcome.sequence for outcome in outcomes] == [2, 3]
            assert queue.durable_sequence == 3
            async with queue.batch() as batch:
                batch.submit(task_create())
                batch.submit(task_create())
            assert [outcome.sequence for outcome in batch.outcomes] == [4, 5]
            assert (len(batch), queue.durable_sequence) == (2, 5)
            assert await queue.submit_many([]) == []
        assert queue.is_closed
        assert "closed" in repr(queue)

    run(work())
    assert replayed(tmp_path / "queue").latest_sequence == 5
    with aq.open(tmp_path / "queue") as queue:
        assert queue.recovery.is_clean


def test_it_can_be_awaited_and_closed_by_hand(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await open_async(tmp_path, durability="deferred")
        await queue.submit(task_create())
        assert queue.durable_sequence == 0
        await queue.submit_many([task_create()])
        async with queue.batch() as batch:
            batch.submit(task_create())
        assert queue.durable_sequence == 0
        async with queue.batch("immediate") as batch:
            batch.submit(task_create())
        assert queue.durable_sequence == 4
        await queue.submit(task_create())
        await queue.sync()
        assert (queue.durable_sequence, queue.stats()["sync_groups"]) == (5, 2)
        await queue.close()
        await queue.close()

    run(work())


def test_refusals_change_nothing(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            with pytest.raises(ValidationError):
                await queue.submit(REFUSED)
            with pytest.raises(ValidationError) as refusal:
                await queue.submit_many([task_create(), REFUSED])
            assert refusal.value.batch_index == 1
            with pytest.raises(ValidationError):
                async with queue.batch() as batch:
                    batch.submit(REFUSED)
            with pytest.raises(KeyError):
                async with queue.batch() as batch:
                    batch.submit(task_create())
                    raise KeyError
            with pytest.raises(ValueError, match="soon"):
                await queue.submit(task_create(), "soon")
            with pytest.raises(TypeError):
                pickle.dumps(queue)
            assert queue.sequence == 0
            await queue.sync()

    run(work())


def test_errors_of_opening_reach_the_task(tmp_path: Path) -> None:
    async def work() -> None:
        with pytest.raises(aq.NotAQueueError):
            await open_async(tmp_path / "none", create=False)
        with pytest.raises(ValueError, match="ring_size"):
            async with open_async(tmp_path / "odd", ring_size=5):
                pytest.fail("it was opened")
        async with open_async(tmp_path / "queue"):
            with pytest.raises(LockedError):
                await open_async(tmp_path / "queue")

    run(work())


def test_reading_has_another_way(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="readonly=True"):
        open_async(tmp_path, readonly=True)  # type: ignore[call-arg]
    assert list(tmp_path.iterdir()) == []


def test_thousands_of_tasks_share_a_few_syncs(tmp_path: Path) -> None:
    each, tasks = 5, 1000

    async def work() -> None:
        async with open_async(tmp_path) as queue:
            acknowledged: list[int] = []

            async def submit() -> None:
                for _ in range(each):
                    outcome = await queue.submit(task_create())
                    assert queue.durable_sequence >= outcome.sequence
                    acknowledged.append(outcome.sequence)

            before = threading.active_count()
            await asyncio.gather(*(submit() for _ in range(tasks)))
            assert threading.active_count() == before
            assert sorted(acknowledged) == list(range(1, each * tasks + 1))
            assert queue.stats()["syncs"] < each * tasks / 10

    run(work())
    assert replayed(tmp_path).latest_sequence == each * tasks


def test_tasks_submit_and_go_on_in_their_order(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            ended: list[int] = []

            async def submit(number: int) -> None:
                outcome = await queue.submit(task_create())
                assert outcome.sequence == number
                ended.append(number)

            await asyncio.gather(*(submit(number) for number in range(1, 301)))
            assert ended == list(range(1, 301))

    run(work())


def test_the_loop_goes_on_while_the_disk_works(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            gate = Gate(queue)
            waiting = asyncio.ensure_future(queue.submit(task_create()))
            await gate.reached()
            for _ in range(100):
                await queue.submit(task_create(), "deferred")
            more = [asyncio.ensure_future(queue.submit(task_create())) for _ in range(50)]
            await asyncio.sleep(0)
            assert queue.sequence == 151
            assert not waiting.done()
            assert gate.asked == [1]
            gate.may_go.set()
            await asyncio.gather(waiting, *more)
            assert gate.asked == [1, 151]  # one wait for all who came during the first

    run(work())


# --- Cancellation ---------------------------------------------------------------------------------


def test_a_cancelled_task_leaves_its_command_and_the_others_alone(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            gate = Gate(queue)
            tasks = [asyncio.ensure_future(queue.submit(task_create())) for _ in range(20)]
            await gate.reached()
            for task in tasks[::2]:
                assert task.cancel()
            late = asyncio.ensure_future(queue.submit(task_create()))
            await asyncio.sleep(0)
            assert late.cancel()
            gate.may_go.set()
            ended = await asyncio.gather(*tasks, late, return_exceptions=True)
            assert all(
                isinstance(end, asyncio.CancelledError) for end in [*ended[:-1:2], ended[-1]]
            )
            assert [
                end.sequence for end in ended[1:20:2] if isinstance(end, aq.MutationOutcome)
            ] == list(range(2, 21, 2))
            await queue.sync()
            assert queue.durable_sequence == 21

    run(work())
    assert replayed(tmp_path).latest_sequence == 21


def test_a_task_that_is_cancelled_while_it_opens_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actionqueue import opening

    begun, may_go = threading.Event(), threading.Event()
    through = opening.open

    def slowly(*arguments: Any, **options: Any) -> Any:
        begun.set()
        assert may_go.wait(PATIENCE_S)
        return through(*arguments, **options)

    monkeypatch.setattr(opening, "open", slowly)

    async def work() -> None:
        opening = asyncio.ensure_future(open_once(tmp_path))
        assert await asyncio.to_thread(begun.wait, PATIENCE_S)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        may_go.set()
        while True:
            try:
                queue = await open_async(tmp_path, create=False)
            except (LockedError, aq.NotAQueueError, aq.OpenIOError):
                await asyncio.sleep(0.001)
            else:
                break
        assert queue.recovery.is_clean
        await queue.close()

    async def open_once(path: Path) -> None:
        async with open_async(path):
            pytest.fail("it was cancelled")

    run(work())


def test_a_task_that_is_cancelled_when_the_queue_is_open_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread is done and the task has not heard of it yet. Like the test before, it fails where
    the queue goes with a warning.
    """
    opened = threading.Event()
    give = Handover.give

    def given(self: Handover, queue: AsyncQueue) -> None:
        give(self, queue)
        opened.set()

    monkeypatch.setattr(Handover, "give", given)

    async def work() -> None:
        opening = asyncio.ensure_future(open_async(tmp_path)._open_in_a_thread())
        await asyncio.sleep(0)  # it begins
        opened.wait(PATIENCE_S)  # in the loop's thread: the task hears of nothing
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        async with open_async(tmp_path) as queue:
            assert queue.recovery.is_clean

    run(work())


def test_cancelling_the_close_does_not_stop_it(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await open_async(tmp_path)
        gate = Gate(queue)
        waiting = asyncio.ensure_future(queue.submit(task_create()))
        await gate.reached()
        closing = asyncio.ensure_future(queue.close())
        await until(lambda: queue.is_closed)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        gate.may_go.set()
        assert (await waiting).sequence == 1
        await queue.close()

    run(work())
    with aq.open(tmp_path) as queue:
        assert queue.recovery.is_clean


# --- Several loops --------------------------------------------------------------------------------


def test_loops_in_several_threads_and_threads_without_loops(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    failures: list[BaseException] = []

    async def in_loop(queue: AsyncQueue) -> None:
        async def submit() -> None:
            for _ in range(10):
                outcome = await queue.submit(task_create())
                acknowledged.append(outcome.sequence)

        await asyncio.gather(*(submit() for _ in range(50)))

    def guarded(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    async def work() -> None:
        async with open_async(tmp_path) as queue:
            works: list[Callable[[], Any]] = [
                lambda: asyncio.run(in_loop(queue)),
                lambda: asyncio.run(in_loop(queue)),
                lambda: acknowledged.extend(
                    queue.queue.submit(task_create(), "immediate").sequence for _ in range(50)
                ),
            ]
            await asyncio.gather(
                in_loop(queue), *(asyncio.to_thread(guarded, one) for one in works)
            )
            assert failures == []
            assert sorted(acknowledged) == list(range(1, 1551))
            assert queue.durable_sequence == 1550

    run(work())


def test_a_loop_that_has_ended_breaks_nobody(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            gate = Gate(queue)
            other = asyncio.new_event_loop()

            async def leave() -> None:
                waiting = asyncio.ensure_future(queue.submit(task_create()))
                await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting

            await asyncio.to_thread(other.run_until_complete, leave())
            other.close()
            mine = asyncio.ensure_future(queue.submit(task_create()))
            await asyncio.sleep(0)
            gate.may_go.set()
            assert (await mine).sequence == 2

    run(work())


# --- The end --------------------------------------------------------------------------------------


def test_closing_serves_those_who_wait(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await open_async(tmp_path)
        gate = Gate(queue)
        first = asyncio.ensure_future(queue.submit(task_create()))
        await gate.reached()
        others = [asyncio.ensure_future(queue.submit(task_create())) for _ in range(50)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(queue.close())
        await until(lambda: queue.is_closed)
        with pytest.raises(ClosedError):
            await queue.submit(task_create())
        gate.may_go.set()
        await closing
        assert [(await one).sequence for one in (first, *others)] == list(range(1, 52))
        await queue._syncer.wait(51)  # who comes when the thread has ended is served as well
        for call in (queue.sync, queue.snapshot, queue.__aenter__):
            with pytest.raises(ClosedError):
                await call()
        with pytest.raises(ClosedError):
            await anext(queue.follow())

    run(work())
    assert replayed(tmp_path).latest_sequence == 51


def test_a_queue_that_nobody_refers_to_any_more_is_closed(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await open_async(tmp_path)
        await queue.submit(task_create())
        inner, thread = weakref.ref(queue.queue), queue._syncer._thread
        with dropping(tmp_path):
            del queue
            gc.collect()
            await asyncio.to_thread(thread.join, PATIENCE_S)
            assert not thread.is_alive()
            await until(lambda: inner() is None)
        async with open_async(tmp_path) as again:
            assert again.recovery.is_clean

    run(work())


def test_an_open_queue_can_be_given_to_tasks_and_taken_back(tmp_path: Path) -> None:
    async def work(inner: aq.ActionQueue) -> None:
        queue = AsyncQueue(inner)
        assert queue.queue is inner
        await queue.submit(task_create())

    with aq.open(tmp_path, compaction=None) as inner:
        run(work(inner))
        assert inner.submit(task_create()).sequence == 2


@pytest.mark.platform("fork")
def test_a_forked_child_is_refused_and_closes_nothing(tmp_path: Path) -> None:
    queue = asyncio.run(opened(tmp_path))

    async def child() -> None:
        with pytest.raises(ForkedError):
            await queue.submit(task_create())
        with pytest.raises(ForkedError):
            await queue.sync()
        await queue.close()

    in_child(lambda: run(child()))
    assert run(queue.submit(task_create())).sequence == 1
    run(queue.close())


async def opened(path: Path) -> AsyncQueue:
    return await open_async(path)


# --- Snapshots and following ----------------------------------------------------------------------


def test_snapshots_and_compaction_run_beside_the_loop(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            await queue.submit_many([task_create() for _ in range(100)])
            assert (await queue.snapshot()).sequence == 100
            report, outcome = await asyncio.gather(queue.compact(), queue.submit(task_create()))
            assert report.sequence >= 100
            assert outcome.sequence == 101

    run(work())


def test_following_yields_what_is_durable_until_the_queue_is_closed(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await open_async(tmp_path)
        seen: list[int] = []
        is_seen = asyncio.Event()

        async def follow(after: int | None) -> list[int]:
            numbers = []
            async for event in queue.follow(after=after, poll_seconds=0.001):
                assert event.sequence <= queue.durable_sequence
                numbers.append(event.sequence)
                seen.append(event.sequence)
                is_seen.set()
            return numbers

        await queue.submit(task_create())
        followers = [asyncio.ensure_future(follow(after)) for after in (0, None)]
        await asyncio.sleep(0)
        await queue.submit_many([task_create() for _ in range(2500)], "deferred")
        await is_seen.wait()
        assert set(seen) == {1}
        await queue.sync()
        await queue.submit(task_create(), "deferred")
        await until(lambda: len(seen) == 1 + 2 * 2500)
        await queue.close()
        all_events, new_events = await asyncio.gather(*followers)
        assert all_events == list(range(1, 2503))
        assert new_events == list(range(2, 2503))

    run(work())


def test_a_follower_can_be_left(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            await queue.submit_many([task_create() for _ in range(10)])
            events = queue.follow(after=3)
            assert [(await anext(events)).sequence for _ in range(3)] == [4, 5, 6]
            await events.aclose()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(queue.follow())

    run(work())


def test_batches_from_tasks_are_wholes(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:

            async def submit() -> list[int]:
                async with queue.batch() as batch:
                    for _ in range(7):
                        batch.submit(task_create())
                        await asyncio.sleep(0)
                return [outcome.sequence for outcome in batch.outcomes]

            groups = await asyncio.gather(*(submit() for _ in range(100)))
            assert sorted(itertools.chain(*groups)) == list(range(1, 701))
            assert all(group == list(range(group[0], group[0] + 7)) for group in groups)

    run(work())


def test_following_from_no_sequence_is_refused(tmp_path: Path) -> None:
    async def follow_from(after: int) -> None:
        async with open_async(tmp_path / "queue") as queue:
            async for _ in queue.follow(after=after):
                raise AssertionError("an event came")

    for after in (-1, 2**64):
        with pytest.raises(
            ValueError,
            match=r"^follow\.after: must be a sequence from 0 to 18446744073709551615, or .*, got ",
        ):
            asyncio.run(follow_from(after))
    with pytest.raises(aq.HistoryChangedError):
        asyncio.run(follow_from(7))
