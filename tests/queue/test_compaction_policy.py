"""Compactions that happen by themselves: when they are due, and what becomes of one that fails."""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import actionqueue as aq
from actionqueue import compactor, growth, retention, retry
from tests.support.columns import OldBoolean
from tests.support.compaction import first_sequences, run_to_the_end, snapshots
from tests.support.queues import fill, open_small, state_of, task_create, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class Raising:
    """An object whose every attribute raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


# --- The policy -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [
        "log_bytes",
        "age_seconds",
        "retention_seconds",
        "ledger_retention_seconds",
        "tombstone_seconds",
    ],
)
@pytest.mark.parametrize(
    "value", [-1, 1.5, True, "1", OldBoolean(), pytest.param(Raising(), id="raising")]
)
def test_a_policy_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(aq.InvalidFieldError) as refusal:
        aq.CompactionPolicy(**{field: value})
    assert field in str(refusal.value)


@pytest.mark.parametrize(
    "field",
    [
        "log_bytes",
        "age_seconds",
        "retention_seconds",
        "ledger_retention_seconds",
        "tombstone_seconds",
    ],
)
def test_numbers_of_numpy_are_numbers(field: str) -> None:
    value = getattr(aq.CompactionPolicy(**{field: np.uint32(7)}), field)
    assert (value, type(value)) == (7, int)


def test_a_snapshot_whose_size_cannot_be_told_is_no_reason_to_fail_an_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_small(path) as queue:
        fill(queue)
        queue.snapshot()
    stat = Path.stat

    def failing(self: Path, **options: Any) -> os.stat_result:
        if self.suffix == ".snap":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return stat(self, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", failing)
        with open_small(path, aq.CompactionPolicy()) as queue:
            assert queue.recovery.snapshot_sequence == 20


def test_a_policy_of_a_wrong_type_makes_no_queue(path: Path) -> None:
    with pytest.raises(TypeError, match="CompactionPolicy"):
        aq.open(path, compaction=True)  # type: ignore[call-overload]
    assert not path.exists()


class Clock:
    """A clock that is set by hand, for the modules of compaction."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        clocks = {"monotonic": lambda: self.seconds, "perf_counter": lambda: self.seconds}
        for module in (compactor, growth, retention, retry):
            monkeypatch.setattr(module, "time", SimpleNamespace(**clocks, sleep=time.sleep))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(compactor.Compactor, "begin", lambda *_: None)
    monkeypatch.setattr(compactor.Compactor, "start", lambda _self: None)
    return Clock(monkeypatch)


@pytest.mark.usefixtures("clock")
def test_a_compaction_is_due_after_so_many_bytes(path: Path) -> None:
    policy = aq.CompactionPolicy(log_bytes=100_000)
    made: list[int] = []
    mark = 0
    with open_small(path, policy) as queue:
        look = queue._compactor.run_if_due
        for _ in range(3):
            # The second snapshot has more bytes than that: the next one pays only when the log has
            # grown by as many.
            while queue.stats()["taken_bytes"] - mark < max(
                100_000, queue.stats()["snapshot_bytes"]
            ):
                look()
                assert snapshots(path) == made
                fill(queue, 1)
            look()
            made, mark = [*made[-1:], queue.sequence], queue.stats()["taken_bytes"]
            assert snapshots(path) == made
        assert queue.stats()["snapshot_bytes"] > 100_000
        fill(queue, 12)
    with open_small(path, policy) as queue:
        # The snapshot that it was opened from counts, and so do the records behind it.
        look = queue._compactor.run_if_due
        look()
        assert snapshots(path) == made
        while queue.stats()["taken_bytes"] < queue.stats()["snapshot_bytes"] - 12 * 9_000:
            fill(queue, 1)
        look()
        assert snapshots(path) == [made[-1], queue.sequence]


@pytest.mark.usefixtures("clock")
def test_pads_and_the_ends_of_segments_are_of_the_log(path: Path) -> None:
    """On the disk they take as much as records do; a small event that is synced alone takes a
    sector.
    """
    policy = aq.CompactionPolicy(log_bytes=100_000)
    with open_small(path, policy, sector_size=4096) as queue:
        for _ in range(20):
            queue.submit(task_create(), "immediate")
        queue._compactor.run_if_due()
        assert snapshots(path) == []
        for _ in range(6):
            queue.submit(task_create(), "immediate")
        queue._compactor.run_if_due()
        assert snapshots(path) == [26]
        assert queue.stats()["appended_bytes"] < 10_000
        for _ in range(2):  # each fills a segment, but for its second half
            queue.submit(task_create(b"x" * 33_000))
        queue._compactor.run_if_due()
        assert snapshots(path) == [26, 28]


def of_a_life_before(path: Path, tasks: int) -> None:
    """Leave a log behind by a process that did not come to its policy."""
    with open_small(path) as queue:
        run_to_the_end(queue, 1000)
        run_to_the_end(queue, 2000)
        fill(queue, tasks)


def test_an_opening_compacts_where_earlier_lives_did_not_come_to_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compactor.Compactor, "_watch", lambda _self: None)
    policy = aq.CompactionPolicy(log_bytes=100_000, retention_seconds=500)
    of_a_life_before(path, 30)
    with open_small(path, policy) as queue:
        assert queue.projection.counts().runs == 1
        (made,) = snapshots(path)
        assert made == queue.sequence
    with open_small(path, policy):
        assert snapshots(path) == [made]
    of_a_life_before(tmp_path / "less", 15)
    with open_small(tmp_path / "less", policy):
        assert snapshots(tmp_path / "less") == []  # this life may come to it


def test_the_policy_is_looked_at_as_soon_as_the_queue_is_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "CHECK_SECONDS", 3600)
    of_a_life_before(path, 15)
    with open_small(path, aq.CompactionPolicy(log_bytes=100_000, retention_seconds=500)) as queue:
        wait_until(lambda: queue.projection.counts().runs == 1)
        wait_until(lambda: len(snapshots(path)) == 1)


@pytest.mark.usefixtures("clock")
def test_of_the_segment_that_a_snapshot_ends_in_only_what_is_behind_it_counts(path: Path) -> None:
    """Else every opening would compact until the segment is full."""
    policy = aq.CompactionPolicy(log_bytes=20_000)
    with aq.open(path, compaction=None, durability="deferred") as queue:
        while queue.stats()["segment_used"] < 100_000:
            queue.submit_many(
                [aq.EnginePauseCommand(None, 1), aq.EngineResumeCommand(None, 1)] * 100
            )
        queue.compact()
    made = snapshots(path)
    with aq.open(path, compaction=policy) as queue:
        assert queue.recovery.bytes > 90_000
        queue.submit(task_create())
        queue._compactor.run_if_due()
        assert snapshots(path) == made
        assert not queue._compactor._growth.is_too_large()


def test_a_log_that_grows_fast_is_looked_at_sooner(path: Path, clock: Clock) -> None:
    with open_small(path, aq.CompactionPolicy(log_bytes=1_000_000)) as queue:
        patience = queue._compactor._growth.seconds_to_the_next_look
        assert patience() == growth.CHECK_SECONDS
        clock.seconds += 1
        fill(queue, 2)
        assert patience() == growth.CHECK_SECONDS
        clock.seconds += 0.1
        fill(queue, 20)
        assert 0.2 < patience() < 0.6
        clock.seconds += 0.001
        fill(queue, 20)
        assert patience() == growth.CHECK_SECONDS_MIN
        clock.seconds += 1
        assert patience() == growth.CHECK_SECONDS


def test_a_compaction_is_due_after_so_many_seconds(path: Path, clock: Clock) -> None:
    with open_small(path, aq.CompactionPolicy(log_bytes=None, age_seconds=60)) as queue:
        look = queue._compactor.run_if_due
        clock.seconds += 1000
        look()
        queue.submit(task_create())
        look()
        assert snapshots(path) == [1]  # a Deferred command too: it is made durable for that
        queue.submit(task_create())
        clock.seconds += 59
        look()
        assert snapshots(path) == [1]
        clock.seconds += 1
        look()
        assert snapshots(path) == [1, 2]
        clock.seconds += 1000
        look()
        assert snapshots(path) == [1, 2]


@pytest.mark.usefixtures("clock")
def test_the_policys_retention(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aq.clock, "now", lambda: 1000)
    with open_small(path, aq.CompactionPolicy(log_bytes=1, retention_seconds=500)) as queue:
        for time in (499, 500, 501):
            run_to_the_end(queue, time)
        queue._compactor._retention_clock = retention.RetentionClock(newest_change=0)
        queue._compactor.forget_if_due()
        queue._compactor.run_if_due()
        assert queue.projection.counts().runs == 1


def test_without_a_policy_nothing_happens_by_itself(path: Path, clock: Clock) -> None:
    for policy in (None, aq.CompactionPolicy(log_bytes=None, retention_seconds=0)):
        with open_small(path, policy) as queue:
            fill(queue, 20)
            clock.seconds += 1e9
            queue._compactor.run_if_due()
    assert snapshots(path) == []


def test_a_failure_is_told_and_tried_again_after_a_while_that_grows(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failure = aq.SnapshotError("write", "snapshot", 28)
    tries: list[float] = []

    def fail(*_arguments: object, **_options: object) -> None:
        tries.append(clock.seconds)
        raise failure

    with open_small(path, aq.CompactionPolicy(log_bytes=None, age_seconds=100)) as queue:
        queue.submit(task_create())
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, logger="actionqueue"):
            patch.setattr(compactor, "compact", fail)
            for _ in range(20_000):
                clock.seconds += 1
                queue._compactor.run_if_due()
        waits = [int(after - before) for before, after in pairwise(tries)]
        assert waits[:5] == [1, 2, 4, 8, 16]
        assert max(waits) == retry.RETRY_SECONDS_MAX
        assert len(caplog.records) == len(tries)
        message = caplog.records[0].getMessage()
        for part in (path.as_posix(), "No space left on device", "next try in 1 s"):
            assert part in message
        assert queue.stats()["snapshot_error"] == str(failure)
        assert queue.submit(task_create()).sequence == 2
        clock.seconds += 4000
        queue._compactor.run_if_due()
        assert queue.stats()["snapshot_error"] is None
        assert queue.stats()["snapshot_sequence"] == 2
        queue.submit(task_create())
        clock.seconds += 100
        queue._compactor.run_if_due()
        assert queue.stats()["snapshot_sequence"] == 3


def test_the_thread_compacts_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "CHECK_SECONDS", 0.01)
    with open_small(path, aq.CompactionPolicy(log_bytes=1)) as queue:
        for count in (10, 20, 40):  # a snapshot must be outgrown by the log before the next one
            before = queue.stats()["snapshot_sequence"]
            fill(queue, count)
            wait_until(lambda before=before: queue.stats()["snapshot_sequence"] > before)  # type: ignore[misc]
        assert len(snapshots(path)) == 2
        assert first_sequences(path)[0] > 1
        expected = state_of(queue)
    wait_until(
        lambda: (
            not [
                thread
                for thread in threading.enumerate()
                if thread.name == "actionqueue-compaction"
            ]
        )
    )
    with open_small(path) as queue:
        assert state_of(queue) == expected


# --- In the opening -------------------------------------------------------------------------------

OVERDUE = aq.CompactionPolicy(log_bytes=65536, retention_seconds=60)


def overdue(path: Path) -> None:
    """Leave more log than two times what the policy allows, and a run whose time is none: the
    opening that compacts warns of that.
    """
    with open_small(path) as queue:
        task = aq.TaskSpec(payload=b"x")
        run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=10**13)
        queue.submit_many([aq.TaskCreateCommand(None, task, 1), aq.RunCreateCommand(None, run)])
        fill(queue, 20)


@pytest.mark.parametrize(
    "error", [KeyError("a filter"), RuntimeError("a filter"), ValueError("a filter")]
)
def test_an_exception_of_the_applications_logging_fails_no_opening(
    path: Path, error: Exception
) -> None:
    overdue(path)

    def broken(_record: logging.LogRecord) -> bool:
        raise error

    logger = logging.getLogger("actionqueue")
    logger.addFilter(broken)
    try:
        with open_small(path, OVERDUE) as queue:
            assert queue.stats()["snapshot_sequence"] == queue.sequence
    finally:
        logger.removeFilter(broken)


def test_an_opening_that_compacts_can_be_canceled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overdue(path)
    progress, compact = aq.Progress(), compactor.compact

    def canceled(*arguments: Any, **options: Any) -> Any:
        progress.cancel()
        return compact(*arguments, **options)

    monkeypatch.setattr(compactor, "compact", canceled)
    with pytest.raises(aq.StoppedError):
        open_small(path, OVERDUE, progress=progress)
    assert snapshots(path) == []
    with open_small(path) as queue:
        assert queue.recovery.is_clean


class TooLongError(Exception):
    """What a handler raises."""


@pytest.mark.parametrize("error", [TooLongError, KeyboardInterrupt])
def test_what_a_handler_raises_ends_an_opening_that_compacts(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def handler(*_: object) -> None:
        raise error

    overdue(path)
    compact = compactor.compact

    def interrupted(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return compact(*arguments, **options)

    monkeypatch.setattr(compactor, "compact", interrupted)
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(error):
            open_small(path, OVERDUE)
    finally:
        signal.signal(signal.SIGTERM, before)
    with open_small(path) as queue:
        assert queue.sequence == 22
