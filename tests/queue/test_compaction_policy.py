"""Compactions that happen by themselves: when they are due, and what becomes of one that fails."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import actionqueue as aq
from actionqueue import compaction
from compaction_tools import fill, first_sequences, open_small, run_to_the_end, snapshots, wait_for
from queue_tools import state_of, task_create

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


# --- The policy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["log_bytes", "age_seconds", "retention_seconds"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "1"])
def test_a_policy_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(aq.InvalidFieldError) as refusal:
        aq.CompactionPolicy(**{field: value})
    assert field in str(refusal.value)


@pytest.mark.parametrize("field", ["log_bytes", "age_seconds", "retention_seconds"])
def test_numbers_of_numpy_are_numbers(field: str) -> None:
    value = getattr(aq.CompactionPolicy(**{field: np.uint32(7)}), field)
    assert (value, type(value)) == (7, int)


def test_a_snapshot_whose_size_cannot_be_told_is_no_reason_to_fail_an_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    """A clock that is set by hand, for the module of compaction."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        clocks = {"monotonic": lambda: self.seconds, "perf_counter": lambda: self.seconds}
        monkeypatch.setattr(compaction, "time", SimpleNamespace(**clocks, sleep=time.sleep))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(compaction.Compactor, "start", lambda _self: None)
    return Clock(monkeypatch)


@pytest.mark.usefixtures("clock")
def test_a_compaction_is_due_after_so_many_bytes(path: Path) -> None:
    policy = aq.CompactionPolicy(log_bytes=100_000)
    with open_small(path, policy) as queue:
        look = queue._compactor.run_if_due
        fill(queue, 10)
        look()
        assert snapshots(path) == []
        fill(queue, 2)
        look()
        assert snapshots(path) == [12]
        # The snapshot has more bytes than that: the next one pays only when as many were appended.
        fill(queue, 11)
        look()
        assert snapshots(path) == [12]
        fill(queue, 2)
        look()
        assert snapshots(path) == [12, 25]
        look()
        assert snapshots(path) == [12, 25]
        fill(queue, 12)
    with open_small(path, policy) as queue:
        # The snapshot that it was opened from counts, and so do the records behind it.
        queue._compactor.run_if_due()
        assert snapshots(path) == [12, 25]
        fill(queue, 14)
        queue._compactor.run_if_due()
        assert snapshots(path) == [25, 51]


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
    monkeypatch.setattr(compaction, "now", lambda: 1000)
    with open_small(path, aq.CompactionPolicy(log_bytes=1, retention_seconds=500)) as queue:
        for time in (499, 500, 501):
            run_to_the_end(queue, time)
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
            patch.setattr(compaction, "compact", fail)
            for _ in range(20_000):
                clock.seconds += 1
                queue._compactor.run_if_due()
        waits = [int(after - before) for before, after in pairwise(tries)]
        assert waits[:5] == [1, 2, 4, 8, 16]
        assert max(waits) == compaction.RETRY_SECONDS_MAX
        assert len(caplog.records) == len(tries)
        message = caplog.records[0].getMessage()
        for part in (str(path), "No space left on device", "next try in 1 s"):
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
    monkeypatch.setattr(compaction, "CHECK_SECONDS", 0.01)
    with open_small(path, aq.CompactionPolicy(log_bytes=1)) as queue:
        for count in (10, 20, 40):  # a snapshot must be outgrown by the log before the next one
            before = queue.stats()["snapshot_sequence"]
            fill(queue, count)
            wait_for(lambda before=before: queue.stats()["snapshot_sequence"] > before)  # type: ignore[misc]
        assert len(snapshots(path)) == 2
        assert first_sequences(path)[0] > 1
        expected = state_of(queue)
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name == "actionqueue-compaction"])
    with open_small(path) as queue:
        assert state_of(queue) == expected
