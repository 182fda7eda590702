"""Real failures of system calls, made without privileges: file size and descriptor limits,
directories that are gone.

Limits are for a whole process, so each test sets them in a forked child.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.errors import (
    ActionQueueError,
    AppendError,
    ClosedError,
    DisplacedError,
    LogCloseError,
    LogSpaceError,
    LogWriteError,
    OpenIOError,
    PartialDurabilityError,
    PoisonedError,
    Written,
)
from tests.support.queues import (
    SMALL,
    copy_of,
    file_size_limit,
    in_child,
    limit,
    replayed,
    state_of,
    task_create,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Let every open fail with EMFILE."""
    import resource  # not on Windows

    lowest_free = os.dup(0)
    os.close(lowest_free)
    with limit(resource.RLIMIT_NOFILE, lowest_free):
        yield


CALLS: dict[str, Callable[[aq.ActionQueue], Any]] = {
    "submit": lambda queue: queue.submit(task_create()),
    "submit deferred": lambda queue: queue.submit(task_create(), "deferred"),
    "submit_many": lambda queue: queue.submit_many([task_create()]),
    "batch": lambda queue: queue.batch().__exit__(None, None, None),
    "sync": lambda queue: queue.sync(),
    "with": lambda queue: queue.__enter__(),
}


def assert_poisoned(
    queue: aq.ActionQueue, cause: type[BaseException], projection: dict[str, Any]
) -> None:
    """Every call says that the handle is poisoned and what to do; queries go on."""
    assert queue.is_poisoned
    assert not queue.is_closed
    for call in [*CALLS.values(), *CALLS.values()]:
        with pytest.raises(PoisonedError) as refusal:
            call(queue)
        assert isinstance(refusal.value.cause, cause)
        assert refusal.value.written is Written.NO
        assert "open it again" in str(refusal.value)
    assert isinstance(queue.projection.poisoned_by, cause)
    assert state_of(queue) == projection
    assert queue.durable_sequence <= queue.sequence
    assert queue.stats()["last_sequence"] >= queue.durable_sequence
    assert "poisoned" in repr(queue)
    queue.close()
    queue.close()
    assert queue.is_closed
    with pytest.raises(ClosedError):
        queue.submit(task_create())
    assert state_of(queue) == projection


def assert_recovers(path: Path, at_least: int, at_most: int) -> None:
    """The queue opens again, with everything that was acknowledged, and takes commands."""
    model = replayed(path)
    assert at_least <= model.latest_sequence <= at_most
    with aq.open(path) as queue:
        assert state_of(queue) == model.to_json()
        assert queue.submit(task_create()).sequence == model.latest_sequence + 1
        assert not queue.is_poisoned
        assert queue.projection.poisoned_by is None


# --- Writes that fail -----------------------------------------------------------------------------


@pytest.mark.platform("fork", "limits")
@pytest.mark.parametrize("call", ["submit", "submit_many", "sync"])
def test_a_drain_that_fails_before_a_sync(tmp_path: Path, call: str) -> None:
    def work() -> int:
        queue = aq.open(tmp_path)
        queue.submit(task_create())
        for _ in range(5):
            queue.submit(task_create(b"x" * 100), "deferred")
        with file_size_limit(queue.stats()["segment_used"] - 50):
            with pytest.raises(PartialDurabilityError) as failure:
                CALLS[call](queue)
            projection = state_of(queue)
            error = failure.value
            assert error.written is Written.UNKNOWN
            assert error.sequence == queue.sequence
            assert isinstance(error.cause, LogWriteError)
            assert (error.cause.operation, error.cause.errno) == ("write", errno.EFBIG)
            assert error.cause.path.startswith(f"{queue.path}/wal")
            assert queue.durable_sequence == 1
            assert_poisoned(queue, LogWriteError, projection)
        return queue.sequence

    sequence = in_child(work)
    # What was acknowledged as deferred is in the ring.
    assert_recovers(tmp_path, 6, sequence)


@pytest.mark.platform("fork", "limits")
def test_a_drain_that_fails_for_want_of_room_in_the_ring(tmp_path: Path) -> None:
    def work() -> tuple[int, int]:
        queue = aq.open(tmp_path, segment_size=2**20, ring_size=65536, durability="deferred")
        acknowledged = 0
        with file_size_limit(queue.stats()["segment_used"] + 20_000):
            with pytest.raises(AppendError) as failure:
                while True:
                    acknowledged = queue.submit(task_create(b"x" * 5000)).sequence
            projection = state_of(queue)
            assert failure.value.written is Written.UNKNOWN
            assert isinstance(failure.value.cause, LogWriteError)
            assert queue.sequence == acknowledged >= 12
            assert_poisoned(queue, LogWriteError, projection)
        return acknowledged, queue.sequence

    acknowledged, sequence = in_child(work)
    assert_recovers(tmp_path, acknowledged, sequence)


@pytest.mark.platform("fork", "limits")
@pytest.mark.parametrize("is_batch", [False, True], ids=["one", "batch"])
def test_a_direct_append_that_fails(tmp_path: Path, is_batch: bool) -> None:
    """What exceeds the ring is written at once; where that fails it is not applied."""

    def work() -> int:
        queue = aq.open(tmp_path, segment_size=2**20, ring_size=65536, durability="deferred")
        queue.submit(task_create())
        projection = state_of(queue)
        with file_size_limit(queue.stats()["segment_used"] + 40_000):
            with pytest.raises(AppendError) as failure:
                if is_batch:
                    queue.submit_many([task_create(b"x" * 15_000) for _ in range(6)])
                else:
                    queue.submit(task_create(b"x" * 90_000))
            assert failure.value.written is Written.UNKNOWN
            assert isinstance(failure.value.cause, LogWriteError)
            assert failure.value.cause.errno == errno.EFBIG
            assert_poisoned(queue, LogWriteError, projection)
        return queue.sequence

    assert in_child(work) == 1
    assert_recovers(tmp_path, 1, 1)


@pytest.mark.platform("fork", "limits")
def test_a_close_whose_sync_fails(tmp_path: Path) -> None:
    def work() -> None:
        queue = aq.open(tmp_path)
        queue.submit(task_create(b"x" * 100), "deferred")
        with file_size_limit(queue.stats()["segment_used"] - 50):
            with pytest.raises(PartialDurabilityError) as failure:
                queue.close()
            assert failure.value.sequence == 1
            assert isinstance(failure.value.cause, LogWriteError)
        assert queue.is_closed
        queue.close()
        with pytest.raises(ClosedError):
            queue.submit(task_create())
        aq.open(tmp_path).close()

    in_child(work)
    assert replayed(tmp_path).latest_sequence == 1


@pytest.mark.platform("fork", "limits")
@pytest.mark.parametrize("durability", ["immediate", "deferred"])
def test_a_close_whose_mark_cannot_be_written(tmp_path: Path, durability: str) -> None:
    """Everything is durable by then, so the failure says that the log is whole, and nobody is asked
    to submit again.
    """

    def work() -> dict[str, Any]:
        queue = aq.open(tmp_path, durability=durability)
        queue.submit(task_create(b"x" * 100))
        projection = state_of(queue)
        with (
            file_size_limit(queue.stats()["segment_used"]),
            pytest.raises(LogCloseError) as failure,
        ):
            queue.close()
        error = failure.value
        assert error.written is Written.YES
        assert (error.operation, error.errno) == ("write", errno.EFBIG)
        assert "every event is on stable storage" in str(error)
        assert "submit again" not in str(error)
        assert queue.is_closed
        assert not queue.is_poisoned
        queue.close()
        with pytest.raises(ClosedError):
            queue.submit(task_create())
        return projection

    projection = in_child(work)
    with aq.open(tmp_path) as queue:
        assert not queue.recovery.is_clean
        assert queue.recovery.dropped_bytes == 0
        assert state_of(queue) == projection
        assert queue.submit(task_create()).sequence == 2


@pytest.mark.platform("fork", "limits")
def test_everybody_who_waits_is_told_of_the_failure(tmp_path: Path) -> None:
    """Nobody is acknowledged as immediate after a failed sync, whoever led it."""

    def work() -> tuple[int, int]:
        queue = aq.open(tmp_path, segment_size=2**18)
        said: list[int | BaseException] = []

        def submit() -> None:
            while True:
                try:
                    said.append(queue.submit(task_create(b"x" * 500)).sequence)
                except (PartialDurabilityError, PoisonedError) as failure:
                    said.append(failure)
                    return

        threads = [threading.Thread(target=submit) for _ in range(12)]
        with file_size_limit(queue.stats()["segment_used"] + 100_000):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            acknowledged = [sequence for sequence in said if isinstance(sequence, int)]
            failures = [failure for failure in said if not isinstance(failure, int)]
            assert len(failures) == 12
            assert any(isinstance(failure, PartialDurabilityError) for failure in failures)
            assert max(acknowledged) <= queue.durable_sequence
            in_doubt = {
                failure.sequence
                for failure in failures
                if isinstance(failure, PartialDurabilityError)
            }
            assert not in_doubt & set(acknowledged)
            assert in_doubt | set(acknowledged) == set(range(1, queue.sequence + 1))
            assert_poisoned(queue, LogWriteError, state_of(queue))
        return max(acknowledged), queue.sequence

    acknowledged, sequence = in_child(work)
    assert_recovers(tmp_path, acknowledged, sequence)


@pytest.mark.platform("fork", "limits")
def test_closing_while_others_wait_for_a_sync_that_fails(tmp_path: Path) -> None:
    """Whose command was appended is never told that nothing was written."""

    def one_round(path: Path) -> None:
        queue = aq.open(path, segment_size=2**18)
        told: list[int] = []
        in_doubt: list[int] = []

        def submit() -> None:
            while True:
                try:
                    told.append(queue.submit(task_create(b"x" * 500)).sequence)
                except PartialDurabilityError as failure:
                    in_doubt.append(failure.sequence)
                    # A failed sync is known by now; closing overtakes those who still wait for it.
                    with contextlib.suppress(PartialDurabilityError):
                        queue.close()
                except (PoisonedError, ClosedError):
                    return

        threads = [threading.Thread(target=submit) for _ in range(8)]
        with file_size_limit(queue.stats()["segment_used"] + 20_000):
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(told + in_doubt) == list(range(1, queue.sequence + 1))
        assert queue.is_closed

    def work() -> None:
        for number in range(20):
            one_round(tmp_path / str(number))

    in_child(work)


@pytest.mark.platform("fork", "limits")
def test_a_poisoned_queue_keeps_its_ring_for_the_recovery(tmp_path: Path) -> None:
    def work() -> None:
        queue = aq.open(tmp_path / "queue", segment_size=2**20, durability="deferred")
        for _ in range(50):
            queue.submit(task_create(b"x" * 1000))
        with (
            file_size_limit(queue.stats()["segment_used"] - 20_000),
            pytest.raises(PartialDurabilityError),
        ):
            queue.sync()
        copy_of(tmp_path / "queue", tmp_path / "killed")
        queue.close()

    in_child(work)
    assert_recovers(tmp_path / "killed", 50, 50)
    assert_recovers(tmp_path / "queue", 50, 50)


# --- No room for the next segment -----------------------------------------------------------------


def fill(queue: aq.ActionQueue) -> AppendError:
    """Submit until the next segment cannot be made."""
    with pytest.raises(AppendError) as failure:
        while True:
            queue.submit(task_create(b"x" * 3000))
    return failure.value


@pytest.mark.platform("fork", "limits")
@pytest.mark.parametrize("durability", ["immediate", "deferred"])
def test_a_next_segment_that_finds_no_room_can_be_tried_again(
    tmp_path: Path, durability: str
) -> None:
    def work() -> int:
        queue = aq.open(tmp_path, segment_size=2**20, ring_size=65536, durability=durability)
        size = queue.stats()["segment_size"]
        with file_size_limit(size):  # the next would be larger
            for _ in range(3):
                before = queue.sequence
                error = fill(queue)
                assert error.written is Written.NO
                assert isinstance(error.cause, LogSpaceError)
                assert error.cause.errno == errno.EFBIG
                assert queue.sequence == queue.stats()["last_sequence"] >= before
                assert not queue.is_poisoned
                assert queue.projection.poisoned_by is None
                before = queue.sequence
                with pytest.raises(AppendError) as failure:
                    queue.submit_many([task_create(), task_create(b"x" * 10_000)])
                assert failure.value.written is Written.NO
                assert queue.sequence == before
                queue.submit(task_create())  # a small one still fits
                queue.sync()
            assert queue.stats()["rotations"] == 0
        for _ in range(100):
            queue.submit(task_create(b"x" * 3000))
        assert queue.stats()["rotations"] == 1
        queue.close()
        return queue.sequence

    sequence = in_child(work)
    assert replayed(tmp_path).latest_sequence == sequence
    assert not list((tmp_path / "wal").glob("*.tmp"))


@pytest.mark.platform("fork", "limits")
def test_no_descriptors_for_the_next_segment(tmp_path: Path) -> None:
    def work() -> int:
        queue = aq.open(tmp_path, **SMALL)
        for _ in range(2):
            with no_more_descriptors():
                error = fill(queue)
                assert error.written is Written.NO
                assert isinstance(error.cause, LogSpaceError)
                assert error.cause.errno == errno.EMFILE
            assert not queue.is_poisoned
            for _ in range(40):
                queue.submit(task_create(b"x" * 3000))
        queue.close()
        return queue.sequence

    sequence = in_child(work)
    assert replayed(tmp_path).latest_sequence == sequence


@pytest.mark.parametrize("replacement", [None, "file"])
def test_a_directory_of_segments_that_is_gone(tmp_path: Path, replacement: str | None) -> None:
    with aq.open(tmp_path / "queue", **SMALL) as queue:
        queue.submit(task_create())
        (tmp_path / "queue" / "wal").rename(tmp_path / "aside")
        if replacement:
            (tmp_path / "queue" / "wal").write_text("in the way")
        error = fill(queue)
        assert error.written is Written.NO
        assert isinstance(error.cause, LogSpaceError)
        assert error.cause.errno == (errno.ENOTDIR if replacement else errno.ENOENT)
        # What fits the present segment is still taken, and durable.
        before = queue.sequence
        queue.submit(task_create())
        assert queue.durable_sequence == before + 1
        if replacement:
            (tmp_path / "queue" / "wal").unlink()
        (tmp_path / "aside").rename(tmp_path / "queue" / "wal")
        for _ in range(40):
            queue.submit(task_create(b"x" * 3000))
    assert replayed(tmp_path / "queue").latest_sequence == queue.sequence


@pytest.mark.platform("open files")
def test_a_directory_that_is_removed_under_an_open_queue(tmp_path: Path) -> None:
    queue = aq.open(tmp_path / "queue", **SMALL)
    queue.submit(task_create())
    shutil.rmtree(tmp_path / "queue")
    # Nothing is acknowledged into a file that has no name any more.
    with pytest.raises(PartialDurabilityError) as failure:
        queue.submit(task_create())
    assert failure.value.cause == DisplacedError(queue.path)
    assert not (tmp_path / "queue").exists()
    queue.close()
    with aq.open(tmp_path / "queue") as queue:
        assert queue.recovery.is_created


# --- Opening --------------------------------------------------------------------------------------


@pytest.mark.platform("fork", "limits")
def test_opening_without_descriptors(tmp_path: Path) -> None:
    def work() -> None:
        with no_more_descriptors():
            for name in ("new", "queue"):
                with pytest.raises(OpenIOError) as failure:
                    aq.open(tmp_path / name)
                assert failure.value.errno == errno.EMFILE
                assert failure.value.written is Written.NO
        with aq.open(tmp_path / "queue") as queue:
            assert queue.sequence == 1
        aq.open(tmp_path / "new").close()

    with aq.open(tmp_path / "queue") as queue:
        queue.submit(task_create())
    in_child(work)


@pytest.mark.platform("fork", "limits")
@pytest.mark.parametrize("size", [0, 10, 65536, 100_000, 300_000])
def test_creating_without_room_leaves_nothing_that_hinders(tmp_path: Path, size: int) -> None:
    def work() -> None:
        with file_size_limit(size):
            for _ in range(2):
                with pytest.raises(OpenIOError) as failure:
                    aq.open(tmp_path / "queue")
                assert failure.value.errno == errno.EFBIG
        with aq.open(tmp_path / "queue") as queue:
            assert queue.submit(task_create()).sequence == 1

    in_child(work)
    assert replayed(tmp_path / "queue").latest_sequence == 1


@pytest.mark.platform("fork", "limits")
@pytest.mark.parametrize("size", [0, 10, 8192, 65536, 100_000, 300_000])
def test_recovering_without_room_loses_nothing(tmp_path: Path, size: int) -> None:
    with aq.open(tmp_path / "queue") as queue:
        for _ in range(3):
            queue.submit(task_create())
        for _ in range(20):
            queue.submit(task_create(b"x" * 1000), "deferred")
        killed = copy_of(tmp_path / "queue", tmp_path / "killed")
    model = replayed(killed)
    assert model.latest_sequence == 23

    def work() -> None:
        with file_size_limit(size):
            for _ in range(2):
                with pytest.raises(OpenIOError) as failure:
                    aq.open(killed)
                assert failure.value.errno == errno.EFBIG
            assert replayed(killed) == model
        with aq.open(killed) as queue:
            assert state_of(queue) == model.to_json()
            assert queue.submit(task_create()).sequence == 24

    in_child(work)
    assert replayed(killed).latest_sequence == 24


def test_every_error_of_the_queue_says_what_was_written() -> None:
    causes: list[ActionQueueError] = [
        LogWriteError("write", "path", errno.EIO), LogSpaceError("write", "path", errno.ENOSPC),
    ]  # fmt: skip
    assert [AppendError(cause).written for cause in causes] == [Written.UNKNOWN, Written.NO]
    assert PartialDurabilityError(1, causes[0]).written is Written.UNKNOWN


def test_a_ring_that_changed_under_the_queue_is_never_written_out(tmp_path: Path) -> None:
    """Memory that is mapped from a file can be lost to a failed writeback: then the handle must
    stop, not copy the loss.
    """
    with aq.open(tmp_path, durability="deferred") as queue:
        queue.submit(
            aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"kept"), 1), durability="immediate"
        )
        used = queue.stats()["segment_used"]
        queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"lost"), 1))
        with (tmp_path / "ring").open("r+b") as ring:
            ring.seek(65536 + used)
            ring.write(bytes(64))
        with pytest.raises(PartialDurabilityError) as failure:
            queue.sync()
        assert isinstance(failure.value.cause, LogWriteError)
        assert failure.value.cause.operation == "verify the ring"
        assert queue.is_poisoned
        with pytest.raises(PoisonedError):
            queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"more"), 1))
    (segment,) = (tmp_path / "wal").glob("*.log")
    assert not any(segment.read_bytes()[used:])
    with aq.open(tmp_path) as queue:
        assert queue.sequence == 1
