"""The events of a queue for asyncio: where a stream is, and what its consumer may do with that."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import async_stream
from actionqueue.aio import AsyncEventStream, AsyncQueue, open_async
from actionqueue.errors import CompactedError, ForkedError, HistoryChangedError, PoisonedError
from actionqueue.reading import next_event
from tests.support import every_step
from tests.support.queues import put_back, task_create


def sync_positions(path: Path) -> list[str]:
    stream = aq.follow(path, timeout=0)
    return [stream.position for _ in stream]


async def fill(queue: AsyncQueue, count: int, payload: bytes = b"x") -> None:
    await queue.submit_many([task_create(payload) for _ in range(count)])


async def take(stream: AsyncEventStream, count: int) -> list[int]:
    return [(await anext(stream)).sequence for _ in range(count)]


def test_a_stream_is_behind_the_event_that_it_has_yielded(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            await fill(queue, 2500)
            expected = sync_positions(tmp_path)
            stream = queue.follow(after=0)
            assert stream.history == queue.queue.history
            assert stream.position == f"0-{stream.history}-"
            found = []
            async for event in stream:
                found.append(stream.position)
                assert found[-1].startswith(f"{event.sequence}-{stream.history}-")
                if event.sequence == 2500:
                    break
            assert found == expected
            later = queue.follow()
            assert later.position == f"2500-{stream.history}-"

    asyncio.run(work())


def test_a_position_leads_on_in_both_kinds_of_streams(tmp_path: Path) -> None:
    async def work() -> str:
        async with open_async(tmp_path) as queue:
            await fill(queue, 10)
            stream = queue.follow(after=sync_positions(tmp_path)[3])
            assert await take(stream, 2) == [5, 6]
            position = stream.position
            assert [event.sequence for event in aq.follow(tmp_path, after=position, timeout=0)] == [
                7,
                8,
                9,
                10,
            ]
            assert await take(queue.follow(after=position), 4) == [7, 8, 9, 10]
            return position

    position = asyncio.run(work())

    async def again() -> None:
        async with open_async(tmp_path) as queue:
            stream = queue.follow(after=position)
            assert stream.position == position
            assert await take(stream, 4) == [7, 8, 9, 10]

    asyncio.run(again())


def test_a_position_shows_a_restore_that_leaves_the_history(tmp_path: Path) -> None:
    path, kept = tmp_path / "queue", tmp_path / "kept"

    async def begin() -> tuple[str, str]:
        async with open_async(path, ring_size=65536, compaction=None) as queue:
            stream = queue.follow(after=0)
            await fill(queue, 5)
            shutil.copytree(path, kept)
            assert await take(stream, 5) == [1, 2, 3, 4, 5]
            before = stream.position
            await fill(queue, 5, b"given up")
            assert await take(stream, 5) == [6, 7, 8, 9, 10]
            return before, stream.position

    before, position = asyncio.run(begin())
    put_back(path, kept)

    async def go_on(count: int) -> None:
        async with open_async(path, ring_size=65536, compaction=None) as queue:
            for _ in range(count):
                await queue.submit(task_create(b"after"))
            with pytest.raises(HistoryChangedError):
                await anext(queue.follow(after=position))
            if count:
                assert await take(queue.follow(after=before), count) == list(range(6, 6 + count))

    for count in (0, 10):  # less than there was, and more
        asyncio.run(go_on(count))


def test_a_copy_is_another_history(tmp_path: Path) -> None:
    async def work(path: Path, after: int | str) -> str:
        async with open_async(path) as queue:
            await queue.submit(task_create())
            stream = queue.follow(after=after)
            await anext(stream)
            return stream.position

    position = asyncio.run(work(tmp_path / "queue", 0))
    shutil.copytree(tmp_path / "queue", tmp_path / "copy")
    with pytest.raises(HistoryChangedError):
        asyncio.run(work(tmp_path / "copy", position))
    assert asyncio.run(work(tmp_path / "queue", position)).startswith("2-")


def test_a_position_whose_event_was_compacted_away_is_told_by_its_history(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(
            tmp_path, ring_size=65536, segment_size=65536, compaction=None
        ) as queue:
            stream = queue.follow(after=0)
            await queue.submit(task_create())
            await anext(stream)
            position = stream.position
            for _ in range(3):
                await fill(queue, 60, b"x" * 2000)
                await queue.compact()
            with pytest.raises(CompactedError):
                await anext(queue.follow(after=position))
            with pytest.raises(HistoryChangedError):
                await anext(queue.follow(after=f"1-{'0' * 32}-{position[-8:]}"))

    asyncio.run(work())


def test_arguments_that_do_not_fit_are_refused_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        queue = await open_async(tmp_path)
        for options in (
            {"after": "x"},
            {"after": "5--", "history": "0" * 32},
            {"after": -1},
            {"after": True},
            {"poll_seconds": -1},
        ):
            with pytest.raises(
                aq.InvalidFieldError, match=r"^follow\.(after|history|poll_seconds): "
            ):
                queue.follow(**options)  # type: ignore[arg-type]
        await queue.close()
        with pytest.raises(aq.ClosedError):
            queue.follow()

    asyncio.run(work())


class Held:
    """Has each reading of an event wait until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_reached, self.may_go = threading.Event(), threading.Event()
        monkeypatch.setattr(async_stream, "next_event", self._next)

    def _next(self, *arguments: Any) -> Any:
        self.is_reached.set()
        self.may_go.wait()
        return next_event(*arguments)


def test_a_task_that_is_cancelled_while_it_waits_loses_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            await fill(queue, 5)
            held = Held(monkeypatch)
            stream = queue.follow(after=0)
            for _ in range(3):
                waiting = asyncio.ensure_future(anext(stream))
                await asyncio.to_thread(held.is_reached.wait)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert stream.position == f"0-{stream.history}-"
            held.may_go.set()
            assert await take(stream, 5) == [1, 2, 3, 4, 5]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await anext(stream)
            await queue.submit(task_create())
            assert await take(stream, 1) == [6]

    asyncio.run(work())


def test_a_reading_is_no_task_that_a_sweep_cancels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As frameworks do that cancel all of a loop's tasks: the thread goes on, so a second one would
    read what it reads.
    """
    held = Held(monkeypatch)

    async def consume(stream: AsyncEventStream, found: list[int]) -> None:
        while len(found) < 10:
            try:
                found.append((await anext(stream)).sequence)
            except asyncio.CancelledError:
                continue

    async def work() -> list[int]:
        found: list[int] = []
        async with open_async(tmp_path) as queue:
            await fill(queue, 10)
            stream = queue.follow(after=0)
            consumer = asyncio.create_task(consume(stream, found))
            await asyncio.to_thread(held.is_reached.wait, 60)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            for _ in range(10):
                await asyncio.sleep(0)  # it has asked again
            held.may_go.set()
            await consumer
            await fill(queue, 1)
            return found + await take(stream, 1)

    assert asyncio.run(work()) == list(range(1, 12))


def test_a_stream_goes_on_in_another_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch)

    async def cut_short(stream: AsyncEventStream) -> None:
        taking = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
        await asyncio.to_thread(held.is_reached.wait, 60)
        taking.cancel()
        loop = asyncio.get_running_loop()
        waits_for_threads = loop.shutdown_default_executor

        async def shut_down(*arguments: Any) -> None:
            held.may_go.set()  # its tasks have ended then
            await waits_for_threads(*arguments)

        loop.shutdown_default_executor = shut_down  # type: ignore[method-assign]

    with aq.open(tmp_path) as opened:
        queue = AsyncQueue(opened)
        opened.submit_many([task_create() for _ in range(10)])
        stream = queue.follow(after=0)
        asyncio.run(cut_short(stream))
        assert asyncio.run(take(stream, 10)) == list(range(1, 11))
        opened.submit(task_create())
        assert asyncio.run(take(stream, 1)) == [11]


class Interrupted(BaseException):
    """As KeyboardInterrupt, which asyncio treats in a way of its own."""


def test_a_look_that_is_interrupted_at_any_point_doubles_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal's handler may raise between any two lines: when the thread has begun to read, and
    nothing notes that yet.
    """
    held = Held(monkeypatch)

    async def work() -> list[int]:
        async with open_async(tmp_path) as queue:
            await fill(queue, 10)
            stream = queue.follow(after=0)
            loop = asyncio.get_running_loop()
            run = loop.run_in_executor

            def interrupted(*arguments: Any) -> Any:
                run(*arguments)
                raise Interrupted

            with monkeypatch.context() as patch:
                patch.setattr(loop, "run_in_executor", interrupted)
                with pytest.raises(Interrupted):
                    await anext(stream)
            await asyncio.to_thread(held.is_reached.wait, 60)
            again = anext(stream)
            again.send(None)  # type: ignore[attr-defined]  # to where it waits
            again.close()  # type: ignore[attr-defined]
            taking = asyncio.create_task(take(stream, 10))
            for _ in range(10):
                await asyncio.sleep(0)
            held.may_go.set()
            return await taking

    assert asyncio.run(work()) == list(range(1, 11))


AT_EVERY_STEP = """
with aq.open(sys.argv[1]) as queue:
    queue.submit_many([aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x"), 1) for _ in range(6)])
    step = 0
    while not asyncio.run(work(queue, step)):
        step += 1
print(step)
"""

EVERY_STEP = """
import asyncio, sys
import actionqueue as aq
from actionqueue.aio import AsyncQueue
from tests.support.every_step import BehindCalls

class Raised(Exception): pass

def raises():
    raise Raised

async def consume(stream, found):
    while len(found) < 6:
        try:
            event = await anext(stream)
        except Raised:
            continue
        found.append(event.sequence)

async def work(queue, step):
    found, stream = [], AsyncQueue(queue).follow(after=0, poll_seconds=0.001)
    with BehindCalls(step, raises) as at:
        await consume(stream, found)
    assert found == [1, 2, 3, 4, 5, 6], (step, found)
    return at.is_past
"""


def test_a_handler_that_raises_at_any_step_takes_no_event(tmp_path: Path) -> None:
    program = EVERY_STEP + AT_EVERY_STEP
    code, printed, complaints = every_step.run(program, tmp_path / "queue", seconds=250)
    assert code == 0, complaints
    assert int(printed) > 30


EVERY_STEP_OF_CLOSING = """
import asyncio, sys
import actionqueue as aq
from actionqueue.aio import AsyncQueue
from tests.support.every_step import BehindCalls

async def work(queue, step):
    stream = AsyncQueue(queue).follow(after=0)
    await anext(stream)
    assert stream._follower is not None
    try:
        with BehindCalls(step) as at:
            await stream.aclose()
    except KeyboardInterrupt:
        await stream.aclose()
    assert stream._follower is None and not stream._read, step
    return at.is_past
"""


def test_a_stream_whose_closing_was_interrupted_keeps_nothing_once_it_is_closed(
    tmp_path: Path,
) -> None:
    program = EVERY_STEP_OF_CLOSING + AT_EVERY_STEP
    code, printed, complaints = every_step.run(program, tmp_path / "queue", seconds=250)
    assert (code, complaints) == (0, "")
    assert int(printed) > 1


def test_a_stream_that_is_closed_while_it_reads_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            await fill(queue, 5)
            held = Held(monkeypatch)
            stream = queue.follow(after=0)
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.to_thread(held.is_reached.wait)
            await stream.aclose()
            held.may_go.set()
            with pytest.raises(StopAsyncIteration):
                await waiting
            assert stream._follower is None
            assert not stream._read

    asyncio.run(work())


def test_the_end_of_a_queue_is_the_end_of_its_streams_whatever_comes_after_it(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            await fill(queue, 3)
            stream, late = queue.follow(after=0), queue.follow(after=0)
            assert await take(stream, 1) == [1]
        async with open_async(tmp_path) as successor:
            await fill(successor, 3)
            assert [event.sequence async for event in stream] == [2, 3]
            assert [event.sequence async for event in late] == [1, 2, 3]

    asyncio.run(work())


@pytest.mark.platform("open files")
def test_events_that_can_no_longer_be_read_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its ring a log does not tell what is durable. The stream knows how far it goes, and
    neither runs in circles nor ends.
    """
    looks: list[None] = []

    def counted(*arguments: Any) -> Any:
        looks.append(None)
        return next_event(*arguments)

    async def work() -> None:
        async with open_async(tmp_path) as queue:
            await fill(queue, 3)
            monkeypatch.setattr(async_stream, "next_event", counted)
            (tmp_path / "ring").unlink()
            stream = queue.follow(after=0, poll_seconds=3600)
            waiting = asyncio.ensure_future(anext(stream))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(waiting, 0.2)
            assert len(looks) <= 1
            with suppress(aq.ActionQueueError):
                await queue.close()
            with pytest.raises(HistoryChangedError):
                await anext(stream)

    asyncio.run(work())


def test_threads_that_never_come_to_a_look_leave_the_stream_as_it_was(tmp_path: Path) -> None:
    """As an application ends its threads with the work that waits for them."""

    async def work() -> None:
        async with open_async(tmp_path) as queue:
            await fill(queue, 5)
            stream = queue.follow(after=0)
            threads, may_go = ThreadPoolExecutor(1), threading.Event()
            threads.submit(may_go.wait)
            asyncio.get_running_loop().set_default_executor(threads)
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            threads.shutdown(wait=False, cancel_futures=True)
            with pytest.raises(asyncio.CancelledError):
                await waiting
            may_go.set()
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
            assert await take(stream, 5) == [1, 2, 3, 4, 5]

    asyncio.run(work())


def test_a_loop_that_was_closed_under_a_task_lets_go_of_its_stream(tmp_path: Path) -> None:
    with aq.open(tmp_path) as opened:
        stream = AsyncQueue(opened).follow(after=0)
        loop = asyncio.new_event_loop()
        taking = loop.create_task(anext(stream))  # type: ignore[arg-type]
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        opened.submit(task_create())
        assert asyncio.run(take(stream, 1)) == [1]
        assert not taking.done()
        taking.get_coro().close()  # type: ignore[union-attr]
        taking._log_destroy_pending = False  # type: ignore[attr-defined]


@pytest.mark.platform("fork")
def test_a_forked_child_is_told_at_once_that_it_has_no_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch)

    async def work() -> int:
        async with open_async(tmp_path) as queue:
            await fill(queue, 1)
            stream = queue.follow(after=0)
            taking = asyncio.ensure_future(anext(stream))
            await asyncio.to_thread(held.is_reached.wait)
            taking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
                child = os.fork()
            if not child:
                try:
                    anext(stream).send(None)  # type: ignore[attr-defined]
                except ForkedError:
                    os._exit(5)
                finally:
                    os._exit(6)
            held.may_go.set()
            return child

    child = asyncio.run(work())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5


def test_two_tasks_do_not_share_a_stream(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            stream = queue.follow(after=0)
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="for one task"):
                await anext(stream)
            await queue.submit(task_create())
            assert (await waiting).sequence == 1

    asyncio.run(work())


def test_no_event_comes_once_a_stream_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            await fill(queue, 5)
            stream = queue.follow(after=0)
            assert await take(stream, 2) == [1, 2]
            position = stream.position
            await stream.aclose()
            assert [event async for event in stream] == []
            assert stream.position == position
            held = Held(monkeypatch)
            stream = queue.follow(after=0)
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.to_thread(held.is_reached.wait)
            await stream.aclose()  # while a reading is under way, whose events come too late
            held.may_go.set()
            with pytest.raises(StopAsyncIteration):
                await waiting

    asyncio.run(work())


@pytest.mark.parametrize("failure", [MemoryError, OSError])
def test_events_before_a_failure_come_before_it(
    failure: Callable[[], Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []

    def fail_twice(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) in {4, 5}:
            raise failure()
        return next_event(*arguments)

    async def work() -> None:
        async with open_async(tmp_path) as queue:
            await fill(queue, 5)
            monkeypatch.setattr(async_stream, "next_event", fail_twice)
            stream = queue.follow(after=0)
            assert await take(stream, 3) == [1, 2, 3]
            with pytest.raises(failure):  # type: ignore[call-overload]
                await anext(stream)
            assert re.match("3-", stream.position)
            assert await take(stream, 2) == [4, 5]

    asyncio.run(work())


def test_a_queue_that_takes_nothing_is_not_followed(tmp_path: Path) -> None:
    async def work() -> None:
        async with open_async(tmp_path) as queue:
            queue.queue._poison(OSError(5, "no disk"))
            with pytest.raises(PoisonedError):
                queue.follow()

    asyncio.run(work())
