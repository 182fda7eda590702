"""Retention comes when it is due, also on a quiet queue; a clock that jumps ahead does not make it
early.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import compactor, retention, retry
from actionqueue.errors import LogSpaceError, LogWriteError, TimestampWarning

SECONDS_MAX = 60
DAY = 86_400


def finished(timestamp: int) -> list[Any]:
    task = aq.TaskSpec(payload=b"somebody's address")
    run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    cancel = aq.RunStateTransitionCommand(None, run.id, "scheduled", "canceled", timestamp)
    return [aq.TaskCreateCommand(None, task, 1), aq.RunCreateCommand(None, run), cancel]


def wait_until(is_so: Any) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not is_so():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


@pytest.mark.parametrize("log_bytes", [256 * 2**20, None])
def test_a_quiet_queue_forgets_what_is_due(tmp_path: Path, log_bytes: int | None) -> None:
    policy = aq.CompactionPolicy(retention_seconds=1, log_bytes=log_bytes)
    with aq.open(tmp_path / "queue", compaction=policy) as queue:
        queue.submit_many(finished(aq.now()))
        wait_until(lambda: queue.projection.counts().runs == 0)
        assert queue.projection.counts().tasks == 0


class Clocks:
    """The wall clock and the monotonic one, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, wall: int) -> None:
        self.wall, self.instant = wall, 0.0
        monkeypatch.setattr(aq.clock, "now", lambda: self.wall)
        monkeypatch.setattr(retention.time, "monotonic", lambda: self.instant)

    def go_on(self, seconds: int) -> None:
        self.wall += seconds
        self.instant += seconds


def test_the_clock_of_retention(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        clocks = Clocks(patch, 1_000_000_000)
        clock = retention.RetentionClock(newest_change=0)
        assert clock.now() == clocks.wall
        clocks.go_on(100)
        assert clock.now() == clocks.wall
        clocks.wall += 366 * DAY  # it jumps ahead
        true = clock.now()
        clocks.go_on(3600)
        assert clock.now() <= true + 24 * 3600
        clocks.wall -= 366 * DAY  # it is set right
        assert clock.now() == clocks.wall
        clocks.wall -= 5 * DAY  # and back
        assert clock.now() == clocks.wall
        clocks.go_on(10)
        assert clock.now() == clocks.wall


def test_a_start_with_a_clock_that_is_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        clocks = Clocks(patch, 1_000_000_000 + 366 * DAY)
        clock = retention.RetentionClock(newest_change=1_000_000_000)
        clocks.go_on(3600)
        assert clock.now() <= 1_000_000_000 + 2 * DAY
        clocks.go_on(30 * DAY)  # it was right after all: the queue had been closed for a year
        assert clock.now() == clocks.wall


def test_times_in_the_wrong_unit_are_noticed(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue", compaction=None) as queue:
        queue.submit_many(finished(aq.now() * 1000))
        with pytest.warns(TimestampWarning, match="Unix seconds"):
            report = queue.compact(retention_seconds=0)
        assert report.purged_runs == 0
        queue.compact(retention_seconds=0)  # once is enough


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_of_the_applications_logging_does_not_end_the_thread(tmp_path: Path) -> None:
    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise SystemExit("a bug in the application's logging")

    logger, broken = logging.getLogger("actionqueue"), Broken()
    logger.addFilter(broken)
    try:
        with aq.open(
            tmp_path / "queue",
            compaction=aq.CompactionPolicy(log_bytes=1000),
            durability="deferred",
        ) as queue:
            (tmp_path / "queue" / "snapshots").write_bytes(b"")  # a compaction fails, for a moment
            queue.submit_many([command for _ in range(50) for command in finished(1)])
            wait_until(lambda: queue.stats()["snapshot_error"] is not None)
            (tmp_path / "queue" / "snapshots").unlink()
            wait_until(lambda: queue.stats()["snapshot_sequence"] > 0)
    finally:
        logger.removeFilter(broken)


def test_the_first_change_under_a_clock_that_is_ahead_is_not_what_retention_begins_at(
    tmp_path: Path,
) -> None:
    """A scheduler changes runs at once, before the background thread's first look."""
    path, then = tmp_path / "queue", aq.now() - 366 * DAY
    with aq.open(path, compaction=None) as queue:
        queue.submit_many([command for _ in range(5) for command in finished(then)])
    policy = aq.CompactionPolicy(retention_seconds=3600, log_bytes=None)
    with aq.open(path, compaction=policy) as queue:
        queue.submit_many(finished(aq.now()))
        queue._compactor.forget_if_due()
        assert queue.projection.counts().runs == 6


def test_forgetting_makes_room_where_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs an event of its own, for which there is room only when what a snapshot covers was
    dropped.
    """
    policy = aq.CompactionPolicy(retention_seconds=1, log_bytes=None)
    with aq.open(tmp_path / "queue", compaction=policy) as queue:
        compactor = queue._compactor
        purge = compactor._purge

        def purge_in_a_full_disk(*arguments: Any) -> Any:
            if compactor.stats()["snapshot_sequence"] == 0:
                raise aq.AppendError(LogSpaceError("write", "path", errno.ENOSPC))
            return purge(*arguments)

        monkeypatch.setattr(compactor, "_purge", purge_in_a_full_disk)
        queue.submit_many(finished(1))
        wait_until(lambda: queue.projection.counts().runs == 0)
        assert queue.stats()["snapshot_sequence"] > 0


def test_forgetting_that_fails_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    policy = aq.CompactionPolicy(retention_seconds=1, log_bytes=None)
    with aq.open(tmp_path / "queue", compaction=policy) as queue:
        compactor = queue._compactor
        purge, tries = compactor._purge, list[int]()

        def purge_later(*arguments: Any) -> Any:
            tries.append(1)
            if len(tries) == 1:
                raise aq.AppendError(LogWriteError("write", "path", errno.EIO))
            return purge(*arguments)

        monkeypatch.setattr(compactor, "_purge", purge_later)
        queue.submit_many(finished(1))
        wait_until(lambda: queue.projection.counts().runs == 0)
        assert "forgetting in" in caplog.text


def test_the_background_leaves_the_filters_of_warnings_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the process's: what it has shown once would be shown again and again, and what
    another thread sets be lost.
    """
    messages: list[str] = []
    monkeypatch.setattr(
        warnings, "_filters_mutated", lambda: messages.append("filters"), raising=False
    )
    monkeypatch.setattr(warnings, "warn", lambda *_, **__: messages.append("warned"))
    policy = aq.CompactionPolicy(retention_seconds=1, log_bytes=None)
    with aq.open(tmp_path / "queue", compaction=policy) as queue:
        queue.submit_many([*finished(aq.now() * 1000), *finished(1)])
        wait_until(lambda: queue.projection.counts().runs == 1)
    assert messages == []


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError("it has no text")


def test_an_exception_without_a_text_does_not_end_the_thread(tmp_path: Path) -> None:
    raised: list[object] = []

    class Filter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raised.append(record)
            raise UnprintableError

    logger, broken = logging.getLogger("actionqueue"), Filter()
    logger.addFilter(broken)
    try:
        with aq.open(
            tmp_path / "queue", compaction=aq.CompactionPolicy(retention_seconds=1)
        ) as queue:
            # A warning is logged of times in the wrong unit.
            queue.submit_many(finished(aq.now() * 1000))
            wait_until(lambda: raised)
            queue.submit_many(finished(aq.now()))
            wait_until(lambda: queue.projection.counts().runs == 1)
            assert "UnprintableError" in queue.stats()["snapshot_error"]
    finally:
        logger.removeFilter(broken)


def test_a_failure_to_forget_is_over_with_the_next_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = [True]
    purge = aq.ActionQueue._purge

    def failing(queue: aq.ActionQueue, *arguments: Any) -> Any:
        if fails[0]:
            raise aq.AppendError(LogWriteError("write", "somewhere", errno.EIO))
        return purge(queue, *arguments)

    monkeypatch.setattr(aq.ActionQueue, "_purge", failing)
    monkeypatch.setattr(retry, "RETRY_SECONDS_MAX", 0)
    with aq.open(tmp_path / "queue", compaction=aq.CompactionPolicy(retention_seconds=1)) as queue:
        queue.submit_many(finished(aq.now()))
        wait_until(lambda: queue.stats()["snapshot_error"] is not None)
        fails[0] = False
        wait_until(lambda: queue.projection.counts().runs == 0)
        wait_until(lambda: queue.stats()["snapshot_error"] is None)


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_what_logging_a_failure_raises_does_not_hide_the_failure(
    raised: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []

    class Filter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            calls.append(None)
            raise raised

    failure = aq.SnapshotError("write", "snapshot", errno.EIO)

    def fail(*_arguments: object, **_options: object) -> None:
        raise failure

    logger, broken = logging.getLogger("actionqueue"), Filter()
    monkeypatch.setattr(compactor, "compact", fail)
    logger.addFilter(broken)
    try:
        with aq.open(tmp_path / "queue", compaction=aq.CompactionPolicy(log_bytes=1)) as queue:
            queue.submit_many(finished(1))
            wait_until(lambda: calls)
            queue._compactor.stop()
            assert queue.stats()["snapshot_error"] == str(failure)
    finally:
        logger.removeFilter(broken)


def test_an_exception_without_any_text_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise MemoryError

    with aq.open(tmp_path / "queue", compaction=None) as queue:
        queue.submit_many(finished(1))
        with monkeypatch.context() as patch:
            patch.setattr(compactor, "compact", fail)
            with pytest.raises(MemoryError):
                queue.compact()
        assert queue.stats()["snapshot_error"] == "MemoryError"


@pytest.mark.parametrize("failure", [MemoryError, RuntimeError])
def test_whatever_keeps_from_forgetting_is_logged_and_keeps_nothing_from_compacting(
    failure: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def failing(_queue: aq.ActionQueue, *_arguments: Any) -> Any:
        raise failure

    monkeypatch.setattr(aq.ActionQueue, "_purge", failing)
    policy = aq.CompactionPolicy(log_bytes=1, retention_seconds=1)
    with aq.open(tmp_path / "queue", compaction=policy) as queue:
        wait_until(lambda: "forgetting in" in caplog.text)
        queue.submit_many(finished(1))
        wait_until(lambda: queue.stats()["snapshot_sequence"] == queue.sequence)
    assert failure.__name__ in caplog.text
    assert caplog.text.count("forgetting in") <= 3
