"""The directory of an open queue is removed, moved or replaced, or its LOCK is: nobody's events are
lost, and who is concerned is told.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.damage import repair
from actionqueue.errors import (
    AppendError,
    DisplacedError,
    LockedError,
    PartialDurabilityError,
    PoisonedError,
    Written,
)
from tests.support.queues import SMALL, in_child, log_bytes, real, replayed, state_of, task_create

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

moves_what_is_open = pytest.mark.platform("open files")


def submit(queue: aq.ActionQueue, times: int) -> None:
    for _ in range(times):
        queue.submit(task_create(b"x" * 9000))


def until_displaced(queue: aq.ActionQueue) -> AppendError:
    with pytest.raises(AppendError) as failure:
        submit(queue, 20)
    return failure.value


@moves_what_is_open
@pytest.mark.parametrize(
    "away",
    [shutil.rmtree, lambda path: path.rename(path.with_name("old"))],
    ids=["removed", "moved"],
)
def test_a_new_queue_at_the_path_of_an_open_one_is_left_alone(
    tmp_path: Path, away: Callable[[Path], object]
) -> None:
    path = tmp_path / "queue"
    first = aq.open(path, **SMALL, compaction=None)
    submit(first, 1)
    away(path)
    with aq.open(path, **SMALL, compaction=None) as second:
        submit(second, 15)
        before = log_bytes(path)
        if (tmp_path / "old").exists():
            error: aq.ActionQueueError = until_displaced(first)
            assert error.written is Written.NO
        else:  # nothing is acknowledged into a file that has no name any more
            with pytest.raises(PartialDurabilityError) as failure:
                submit(first, 1)
            error = failure.value
        assert error.cause == DisplacedError(first.path)
        assert "moved, removed or replaced" in str(error)
        assert "nothing was written" in str(error)
        assert first.is_poisoned
        with pytest.raises(PoisonedError, match="moved, removed or replaced"):
            first.submit(task_create())
        sequence = first.sequence
        first.close()
        assert log_bytes(path) == before
        submit(second, 1)
        state = state_of(second)
    with aq.open(path, **SMALL) as second:
        assert second.recovery.is_clean
        assert second.sequence == 16
        assert state_of(second) == state
    if (tmp_path / "old").exists():
        assert replayed(tmp_path / "old").latest_sequence == sequence


@moves_what_is_open
def test_a_moved_queue_goes_on_where_it_is(tmp_path: Path) -> None:
    path, moved = tmp_path / "queue", tmp_path / "moved"
    with aq.open(path, **SMALL, durability="deferred") as queue:
        submit(queue, 1)
        path.rename(moved)
        error = until_displaced(queue)
        assert isinstance(error.cause, DisplacedError)
        state = state_of(queue)
        assert not path.exists()
    with aq.open(moved, **SMALL) as queue:
        assert state_of(queue) == state
        submit(queue, 20)


@moves_what_is_open
@pytest.mark.parametrize("replaced_by", ["another queue", "a link to where it is now", "nothing"])
def test_snapshots_and_compactions_of_a_moved_queue_fail(tmp_path: Path, replaced_by: str) -> None:
    path, moved = tmp_path / "queue", tmp_path / "moved"
    with aq.open(path, **SMALL, compaction=None) as first:
        submit(first, 20)
        path.rename(moved)
        if replaced_by == "another queue":
            with aq.open(path, **SMALL, compaction=None) as second:
                submit(second, 20)
                second.snapshot()
                submit(second, 1)
                second.snapshot()
        elif replaced_by != "nothing":
            path.symlink_to(moved)
        before = log_bytes(tmp_path)
        for call in (first.snapshot, first.compact):
            with pytest.raises(DisplacedError) as failure:
                call()
            assert failure.value == DisplacedError(first.path)
            assert failure.value.written is Written.NO
        assert log_bytes(tmp_path) == before
        assert first.stats()["snapshot_error"] == str(failure.value)
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            path.rename(tmp_path / "second")
        moved.rename(path)
        assert first.compact().sequence == 20  # put back, it is the queue's own again
        submit(first, 20)


def take_lock_away(path: Path) -> None:
    (path / "LOCK").unlink()


def replace_lock(path: Path) -> None:
    (path / "LOCK").rename(path / "aside")
    (path / "LOCK").write_bytes(b"")


@moves_what_is_open
@pytest.mark.platform("fork")
@pytest.mark.parametrize("lose_lock", [take_lock_away, replace_lock])
def test_a_queue_whose_lock_file_is_lost_has_one_writer(
    tmp_path: Path, lose_lock: Callable[[Path], None]
) -> None:
    holder = os.getpid() if sys.platform == "linux" and Path("/proc/locks").exists() else None

    def refused() -> str:
        with pytest.raises(LockedError) as refusal:
            aq.open(tmp_path, **SMALL)
        assert refusal.value == LockedError(real(tmp_path / "wal"), holder)
        with pytest.raises(LockedError):
            repair(tmp_path, accept_data_loss=True)
        return str(refusal.value)

    with aq.open(tmp_path, **SMALL) as queue:
        submit(queue, 1)
        lose_lock(tmp_path)
        message = refused()
        assert "LOCK was removed" in message
        assert holder is None or f"process {holder}" in message
        assert in_child(refused) == message
        submit(queue, 20)
        queue.compact()
        assert queue.stats()["rotations"] > 1
        assert refused() == message
        state = state_of(queue)
    with aq.open(tmp_path, **SMALL) as queue:
        assert queue.recovery.is_clean
        assert state_of(queue) == state
