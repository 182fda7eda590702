"""Refreshing and following: a reader goes on over rotation, restart and compaction."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from tests.support import every_step
from tests.support.compaction import WAIT_SECONDS
from tests.support.queues import fill, open_small, read, state_of, task_create

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


# --- Refreshing and following ---------------------------------------------------------------------


def test_refresh_goes_on_over_rotation_restart_and_compaction(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue, 3)
        queue.sync()
        reader = read(path)
        projection = reader.projection
        fill(queue, 20)
        queue.compact()
        assert reader.refresh() == 20
    with open_small(path) as queue:
        fill(queue, 20)
        queue.compact()
        assert reader.refresh() == 20
        assert reader.projection is projection
        # From here on the log begins behind it, and everything is read anew.
        for _ in range(3):
            fill(queue, 20)
            queue.compact()
        assert reader.refresh() == 60
        assert reader.projection is not projection
        assert projection.latest_sequence == 43
        assert state_of(reader) == state_of(queue)
        queue.submit(task_create(), "immediate")
        assert reader.refresh() == 1


def test_a_batch_is_seen_whole(path: Path) -> None:
    with open_small(path, segment_size=2**22) as queue, read(path) as reader:
        # These are more than are applied in one turn.
        queue.submit_many([task_create() for _ in range(1000)], "immediate")
        assert reader.refresh() == 1000


def test_queries_while_it_refreshes(path: Path) -> None:
    """They see a batch whole or not at all."""
    with open_small(path, segment_size=2**22) as queue, read(path) as reader:
        is_done = threading.Event()
        seen: list[int] = []

        def ask() -> None:
            while not is_done.is_set():
                seen.append(reader.projection.counts().tasks)

        asker = threading.Thread(target=ask)
        asker.start()
        for _ in range(3):
            queue.submit_many([task_create() for _ in range(40_000)], "immediate")
            reader.refresh()
        is_done.set()
        asker.join()
        assert seen == sorted(seen)
        assert {tasks % 40_000 for tasks in seen} == {0}
        assert reader.sequence == 120_000


def test_follow_begins_where_it_is_told_to(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue, 20)
        queue.sync()
        with read(path) as reader:
            queue.submit(task_create(), "immediate")
            assert [event.sequence for event in reader.follow(timeout=0)] == [21]
            assert [event.sequence for event in reader.follow(after=18, timeout=0)] == [19, 20, 21]
            assert reader.sequence == 20
        assert [event.sequence for event in queue.follow(timeout=0)] == []
        assert [event.sequence for event in queue.follow(after=20, timeout=0)] == [21]
        assert [event.sequence for event in aq.follow(path, timeout=0)] == list(range(1, 22))
        assert list(aq.follow(path, after=21, timeout=0)) == []
        for after in (22, 2**64 - 2, 2**64 - 1):
            with pytest.raises(aq.HistoryChangedError):
                aq.follow(path, after=after)


@pytest.mark.parametrize(
    "options",
    [
        {"after": -1},
        {"after": 2**64},
        {"timeout": -1},
        {"poll_seconds": -0.1},
        {"timeout": float("nan")},
    ],
    ids=str,
)
def test_follow_of_numbers_out_of_range(path: Path, options: dict[str, Any]) -> None:
    with open_small(path) as queue:
        for call in (lambda **more: aq.follow(path, **more), queue.follow):
            with pytest.raises(
                ValueError,
                match=r"^follow\.(after|timeout|poll_seconds): must be .*(sequence|seconds)",
            ):
                call(**options)


def test_follow_waits_for_what_comes(path: Path) -> None:
    with open_small(path) as queue:
        events = queue.follow()
        got: list[int] = []
        follower = threading.Thread(
            target=lambda: got.extend(next(events).sequence for _ in range(60))
        )
        follower.start()
        for _ in range(20):
            queue.submit_many([task_create(b"x" * 3000) for _ in range(3)])
        queue.sync()
        follower.join(WAIT_SECONDS)
        assert got == list(range(1, 61))


def test_follow_of_what_was_compacted_away(path: Path) -> None:
    with open_small(path) as queue:
        begun = aq.follow(path, timeout=0)
        fill(queue, 2)
        queue.sync()
        assert next(begun).sequence == 1
        for _ in range(3):
            fill(queue)
            queue.compact()
        first = min(
            int(file.name.split("-")[1].removesuffix(".log"))
            for file in (path / "wal").glob("*.log")
        )
        with pytest.raises(aq.CompactedError) as refusal:
            aq.follow(path)
        assert refusal.value.first_sequence == first > 1
        # One that is under way has its segment's file still, and then goes on or says the same.
        with pytest.raises(aq.CompactedError):
            list(begun)
        assert [event.sequence for event in aq.follow(path, after=first - 1, timeout=0)] == list(
            range(first, 63)
        )
        with read(path) as reader:
            assert list(reader.follow(timeout=0)) == []


def test_a_poll_that_ends(path: Path) -> None:
    with open_small(path):
        assert list(aq.follow(path, timeout=0.02, poll_seconds=0.001)) == []


def test_a_readers_projection_is_changed_by_its_refresh_alone(path: Path) -> None:
    with aq.open(path) as queue:
        queue.submit(task_create())
    with aq.open(path, readonly=True) as reader, pytest.raises(RuntimeError, match="read-only"):
        reader.projection.apply_event(aq.TaskCreated(2, aq.TaskSpec(payload=b"x"), 1))


# --- Signals' handlers ----------------------------------------------------------------------------

PROGRAM = """
import sys
import actionqueue as aq
from tests.support.every_step import BehindCalls

path = sys.argv[1]
with aq.open(path) as queue:
    for number in range(6):
        queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x"), 1))
step = 0
while True:
    found, stream = [], aq.follow(path, timeout=0)
    try:
        with BehindCalls(step) as at:
            for event in stream:
                found.append(event.sequence)
    except KeyboardInterrupt:
        for event in stream:
            found.append(event.sequence)
    assert found == [1, 2, 3, 4, 5, 6], (step, found)
    if at.is_past:
        break
    step += 1
print(step)
"""


def test_a_handler_that_raises_at_any_step_takes_no_event(path: Path) -> None:
    code, printed, complaints = every_step.run(PROGRAM, path, seconds=250)
    assert code == 0, complaints
    assert int(printed) > 30
