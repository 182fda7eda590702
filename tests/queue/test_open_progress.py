"""How far a recovery is, and what ends it: a caller's cancel, and what a signal's handler
raises.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.aio import open_async
from actionqueue.bench.workload import commands_of_a_run
from actionqueue.errors import StoppedError
from tests.support.queues import SMALL, copy_of, task_create

LARGE_RUNS = 80_000
"""Events of ten times as many take longer to replay than it takes to ask about signals."""

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def fill(path: Path, runs: int, **options: Any) -> None:
    with aq.open(path, durability="deferred", compaction=None, **options) as queue:
        for begin in range(0, runs, 1000):
            queue.submit_many(
                [command for _ in range(min(1000, runs - begin)) for command in commands_of_a_run()]
            )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "queue"
    fill(path, LARGE_RUNS)
    return path


def test_all_that_was_to_be_read_was_read(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    progress = aq.Progress()
    aq.open(path, progress=progress).close()
    assert progress.done == progress.total == 0
    fill(path, 1000, **SMALL)
    progress = aq.Progress()
    with aq.open(path, compaction=None, progress=progress) as queue:
        assert progress.done == progress.total == queue.recovery.bytes > 500_000
        size = queue.snapshot().file_bytes
        queue.submit(task_create())
    progress = aq.Progress()
    with aq.open(path, progress=progress) as queue:
        assert queue.recovery.events == 1
        assert progress.done == progress.total == size + queue.recovery.bytes


def test_what_a_killed_process_left_counts_as_well(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    with aq.open(path, durability="deferred", compaction=None) as queue:
        queue.submit_many([task_create() for _ in range(100)])
        copy_of(path, tmp_path / "copy")
    progress = aq.Progress()
    with aq.open(tmp_path / "copy", progress=progress) as queue:
        assert queue.recovery.ring_events == 100
        assert progress.done == progress.total > 0


def test_a_recovery_can_be_canceled(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    fill(path, 1000)
    progress = aq.Progress()
    progress.cancel()
    with pytest.raises(StoppedError):
        aq.open(path, progress=progress)
    with aq.open(path) as queue:
        assert (queue.recovery.is_clean, queue.sequence) == (True, 10_000)


def test_another_thread_sees_how_far_it_is_and_ends_it(large: Path) -> None:
    progress = aq.Progress()
    ended: list[BaseException] = []

    def work() -> None:
        try:
            aq.open(large, progress=progress)
        except StoppedError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive() and progress.done == 0:
        pass
    progress.cancel()
    thread.join()
    assert len(ended) == 1
    assert 0 < progress.done < progress.total


class AlarmError(Exception):
    """What the handler raises."""


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Python drops what a handler raises while a finalizer runs, those of other tests included."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.platform("signals")
@pytest.mark.usefixtures("no_collection")
def test_what_a_handler_raises_ends_the_recovery(large: Path) -> None:
    progress = aq.Progress()

    def ring(*_arguments: object) -> None:
        raise AlarmError

    before = signal.signal(signal.SIGALRM, ring)
    try:
        with pytest.raises(AlarmError):
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            aq.open(large, progress=progress)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert progress.done < progress.total or progress.total == 0
    with aq.open(large, compaction=None) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == 10 * LARGE_RUNS


@pytest.mark.platform("signals")
def test_a_handler_that_raises_nothing_does_not_end_it(large: Path) -> None:
    rung: list[bool] = []
    progress = aq.Progress()

    def ring(*_arguments: object) -> None:
        rung.append(progress.done < progress.total)

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        with aq.open(large, compaction=None, progress=progress) as queue:
            assert queue.sequence == 10 * LARGE_RUNS
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert True in rung


def test_a_task_that_is_cancelled_ends_the_recovery(large: Path) -> None:
    progress = aq.Progress()

    async def work() -> None:
        opening = asyncio.ensure_future(_await(open_async(large, progress=progress)))
        while progress.done == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        assert progress.is_canceled

    asyncio.run(work())
    with aq.open(large, compaction=None) as queue:
        assert queue.sequence == 10 * LARGE_RUNS


async def _await(opening: Any) -> Any:
    return await opening


def test_it_is_the_writers_option(tmp_path: Path) -> None:
    aq.open(tmp_path).close()
    with pytest.raises(ValueError, match="progress"):
        aq.open(tmp_path, readonly=True, progress=aq.Progress())  # type: ignore[call-overload]
