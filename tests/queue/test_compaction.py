"""Snapshots and compaction of an open queue: what they report and leave, when they happen by themselves, and what ends them."""

from __future__ import annotations

import gc
import logging
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import compaction
from actionqueue.inspection import iterate_records, verify
from queue_tools import IN_MEMORY, SMALL, in_child, log_bytes, state_of, task_create

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

WAIT_SECONDS = 60


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="actionqueue-", dir=IN_MEMORY) as made:
        yield Path(made, "queue")


def open_small(path: Path, policy: aq.CompactionPolicy | None = None, **options: Any) -> aq.ActionQueue:
    return aq.open(path, compaction=policy, durability="deferred", **SMALL, **options)


def fill(queue: aq.ActionQueue, count: int = 20, size: int = 9000) -> None:
    """Submit enough for a segment every seven commands."""
    for _ in range(count):
        queue.submit(task_create(b"x" * size))


def names(path: Path, folder: str) -> list[str]:
    return sorted(file.name for file in (path / folder).iterdir() if file.suffix != ".tmp") if (path / folder).exists() else []


def snapshots(path: Path) -> list[int]:
    return [int(name.removesuffix(".snap")) for name in names(path, "snapshots")]


def first_sequences(path: Path) -> list[int]:
    return [int(name.removesuffix(".log").split("-")[1]) for name in names(path, "wal")]


# --- What they do ----------------------------------------------------------------------------------------------------


def test_a_snapshot_of_nothing(path: Path) -> None:
    with open_small(path) as queue:
        report = queue.snapshot()
        assert (report.sequence, report.is_new, report.file_bytes, report.replayed_events) == (0, False, 0, 0)
        assert queue.compact().kept_sequence == 0
    assert snapshots(path) == []


def test_a_snapshot_spares_the_replay(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue, 20)
        report = queue.snapshot()
        assert type(report) is aq.SnapshotReport
        assert (report.sequence, report.is_new, report.replayed_events) == (20, True, 20)
        assert report.seconds > 0
        assert queue.durable_sequence == 20
        [file] = (path / "snapshots").iterdir()
        assert report.file_bytes == file.stat().st_size > 20 * 9000
        again = queue.snapshot()
        assert (again.sequence, again.is_new, again.file_bytes, again.replayed_events) == (20, False, report.file_bytes, 0)
        assert first_sequences(path)[0] == 1
        fill(queue, 3)
        before = state_of(queue)
    with open_small(path) as queue:
        assert (queue.recovery.snapshot_sequence, queue.recovery.events, queue.recovery.last_sequence) == (20, 3, 23)
        assert "snapshot as of sequence 20" in str(queue.recovery)
        assert state_of(queue) == before
        stats = queue.stats()
        assert (stats["snapshot_sequence"], stats["snapshot_bytes"], stats["snapshot_ns"]) == (20, report.file_bytes, 0)
    assert verify(path)["snapshots"] == [20]


def test_two_snapshots_are_kept_and_the_log_from_the_older_one_on(path: Path) -> None:
    with open_small(path) as queue:
        kept = 0
        for last in (20, 40, 60, 80):
            fill(queue, 20)
            before = names(path, "wal")
            sizes = {name: (path / "wal" / name).stat().st_size for name in before}
            report = queue.compact()
            assert (report.sequence, report.is_new, report.kept_sequence) == (last, True, kept)
            assert snapshots(path) == [sequence for sequence in (kept, last) if sequence]
            gone = sorted(set(before) - set(names(path, "wal")))
            assert gone == before[: len(gone)]
            assert report.dropped_segments == len(gone)
            assert bool(gone) == (kept > 0)
            assert report.dropped_snapshots == (1 if last > 40 else 0)
            assert report.dropped_bytes >= sum(sizes[name] for name in gone)
            # The first segment that is left begins at or before the first event behind the older snapshot, the second one behind it.
            starts = first_sequences(path)
            assert starts[0] <= kept + 1 < starts[1]
            kept = last
        expected = state_of(queue)
    assert verify(path)["snapshots"] == [60, 80]
    with open_small(path) as queue:
        assert queue.recovery.snapshot_sequence == 80
        assert state_of(queue) == expected


@pytest.mark.parametrize("damaged", [[80], [60], []], ids=str)
def test_one_damaged_snapshot_loses_nothing(path: Path, damaged: list[int]) -> None:
    with open_small(path) as queue:
        for _ in range(4):
            fill(queue, 20)
            queue.compact()
        fill(queue, 5)
        expected = state_of(queue)
    for sequence in damaged:
        file = path / "snapshots" / f"{sequence:020}.snap"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with open_small(path) as queue:
        assert state_of(queue) == expected
        report = queue.recovery
        assert report.snapshots_damaged == (1 if 80 in damaged else 0)
        assert report.snapshot_sequence == (60 if 80 in damaged else 80)
        if damaged == [80]:
            assert report.snapshot_damage is not None
            assert report.snapshot_damage.path.endswith(f"{80:020}.snap")
            for text in (str(report), str(report.snapshot_damage)):
                assert "next compaction replaces it" in text
                assert "repair" not in text
        queue.compact()
        assert snapshots(path) == [60 if 80 in damaged else 80, 85]
    verify(path)


def test_with_both_snapshots_damaged_the_queue_is_refused_once_the_log_is_cut(path: Path) -> None:
    with open_small(path) as queue:
        for _ in range(3):
            fill(queue, 20)
            queue.compact()
    for file in (path / "snapshots").iterdir():
        file.write_bytes(b"x" * file.stat().st_size)
    before = log_bytes(path)
    with pytest.raises(aq.CorruptLogError) as refusal:
        open_small(path)
    assert refusal.value.reason == "history_missing"
    assert "actionqueue repair" in str(refusal.value)
    assert {**log_bytes(path), "LOCK": b""} == {**before, "LOCK": b""}


def test_events_in_the_ring_are_in_the_snapshot(path: Path) -> None:
    with open_small(path) as queue:
        queue.submit(task_create())
        assert queue.durable_sequence == 0
        assert queue.snapshot().sequence == 1
        queue.submit(task_create())
        assert queue.compact().sequence == 2


def test_what_is_wrong_on_the_disk_is_found_and_harms_nobody(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue, 20)
        queue.snapshot()
        fill(queue, 20)
        queue.sync()
        victim = next(record for record in iterate_records(path) if record.sequence == 25)
        segment = next(file for file in (path / "wal").glob("*.log") if int(file.name.split("-")[0]) == victim.segment)
        with segment.open("r+b") as file:
            file.seek(victim.offset + 40)
            file.write(b"\xff")
        with pytest.raises(aq.CorruptLogError) as refusal:
            queue.compact()
        assert (refusal.value.segment, refusal.value.first_sequence) == (victim.segment, 25)
        assert str(refusal.value) == queue.stats()["snapshot_error"]
        assert snapshots(path) == [20]
        assert queue.submit(task_create(), "immediate").sequence == 41


# --- Retention -------------------------------------------------------------------------------------------------------


def run_to_the_end(queue: aq.ActionQueue, time: int) -> aq.RunId:
    """Make a task with one run that is canceled at this time."""
    task = aq.TaskSpec(payload=b"")
    run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    queue.submit(aq.TaskCreateCommand(None, task, 1))
    queue.submit(aq.RunCreateCommand(None, run))
    queue.submit(aq.RunStateTransitionCommand(None, run.id, "scheduled", "canceled", time))
    return run.id


def test_retention_forgets_what_ended_long_enough_ago(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "now", lambda: 1000)
    with open_small(path) as queue:
        old = [run_to_the_end(queue, time) for time in (10, 500, 900)]
        young = [run_to_the_end(queue, time) for time in (901, 1000, 2000)]
        assert queue.compact().purged_runs == 0
        report = queue.compact(retention_seconds=100)
        assert (report.purged_runs, report.purged_tasks) == (3, 3)
        assert report.sequence == queue.sequence == queue.durable_sequence == 19
        assert set(queue.projection.run_ids()) == set(young)
        assert all(queue.projection.run(run_id) is None for run_id in old)
        assert queue.compact(retention_seconds=100).purged_runs == 0
        assert queue.compact(retention_seconds=2**63).purged_runs == 0
        expected = state_of(queue)
    verify(path)
    with open_small(path) as queue:
        assert state_of(queue) == expected
        assert queue.compact(retention_seconds=0).purged_runs == 2


def test_what_is_forgotten_gives_its_memory_back(path: Path) -> None:
    """While others submit and ask: the projection's contents are exchanged under them, and nobody notices."""
    is_done = threading.Event()
    submitted: list[int] = []

    def submit() -> None:
        while not is_done.is_set():
            sequence = queue.submit(aq.ActorHeartbeatCommand(None, aq.ActorId(), 1)).sequence  # leaves nothing behind
            assert queue.projection.latest_sequence >= sequence
            submitted.append(sequence)

    with aq.open(path, durability="deferred", compaction=None) as queue:
        for _ in range(20_000):
            run_to_the_end(queue, 1)
        before = queue.projection.counts()
        threads = [threading.Thread(target=submit) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(submitted) > 100)
        try:
            report = queue.compact(retention_seconds=0)
        finally:
            is_done.set()
            for thread in threads:
                thread.join()
        after = queue.projection.counts()
        assert (report.purged_runs, after.runs) == (20_000, 0)
        assert after.memory_bytes < before.memory_bytes / 10
        assert len(set(submitted)) == len(submitted)
        left = run_to_the_end(queue, 2)
        assert queue.projection.run_ids() == [left]
        state = state_of(queue)
    with aq.open(path, compaction=None) as queue:
        assert state_of(queue) == state


def test_retention_gives_submitters_their_turns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from actionqueue import store

    monkeypatch.setattr(compaction, "now", lambda: 1000)
    monkeypatch.setattr(store, "PURGE_ROWS", 2)
    with open_small(path) as queue:
        for _ in range(10):
            run_to_the_end(queue, 1)
        purge, turns = queue._compactor._purge, []

        def slice_then_submit(cutoff: int, place: int) -> tuple[int, int, int]:
            found = purge(cutoff, place)
            thread = threading.Thread(target=lambda: turns.append(queue.submit(task_create()).sequence))
            thread.start()
            thread.join()
            return found

        monkeypatch.setattr(queue._compactor, "_purge", slice_then_submit)
        assert queue.compact(retention_seconds=1).purged_runs == 10
        assert len(turns) >= 5
        assert queue.projection.counts().tasks == len(turns)


@pytest.mark.parametrize("seconds", [-1, -(2**70)])
def test_a_retention_out_of_range(path: Path, seconds: int) -> None:
    with open_small(path) as queue:
        with pytest.raises(ValueError, match="retention_seconds"):
            queue.compact(retention_seconds=seconds)
        with pytest.raises(TypeError):
            queue.compact(retention_seconds="1")  # type: ignore[arg-type]


# --- The policy ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["log_bytes", "age_seconds", "retention_seconds"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "1"])
def test_a_policy_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(aq.InvalidFieldError) as refusal:
        aq.CompactionPolicy(**{field: value})
    assert field in str(refusal.value)


def test_a_policy_of_a_wrong_type_makes_no_queue(path: Path) -> None:
    with pytest.raises(TypeError, match="CompactionPolicy"):
        aq.open(path, compaction=True)  # type: ignore[call-overload]
    assert not path.exists()


class Clock:
    """A clock that is set by hand, for the module of compaction."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(compaction, "time", SimpleNamespace(monotonic=lambda: self.seconds, perf_counter=lambda: self.seconds))


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


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when something has come about that another thread is to bring about."""
    waiting = threading.Event()
    for _ in range(WAIT_SECONDS * 100):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come about")


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


# --- Failures --------------------------------------------------------------------------------------------------------


def test_a_snapshot_that_does_not_fit_leaves_queue_and_older_snapshot_as_they_were(path: Path) -> None:
    def work() -> None:
        with open_small(path) as queue:
            queue.submit(task_create())
            queue.snapshot()
            fill(queue, 40)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
            for call in (queue.snapshot, queue.compact):
                with pytest.raises(aq.SnapshotError) as refusal:
                    call()
                assert refusal.value.operation == "write"
                assert "the queue stays open" in str(refusal.value)
                assert queue.stats()["snapshot_error"] == str(refusal.value)
                assert queue.stats()["snapshot_sequence"] == 1
                assert list((path / "snapshots").iterdir()) == [path / "snapshots" / f"{1:020}.snap"]
            assert queue.submit(task_create(), "immediate").sequence == 42
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert queue.compact().sequence == 42
            assert queue.stats()["snapshot_error"] is None

    in_child(work)
    assert verify(path)["snapshots"] == [1, 42]


def test_a_file_in_the_place_of_the_directory(path: Path) -> None:
    with open_small(path) as queue:
        queue.submit(task_create())
        (path / "snapshots").write_bytes(b"")
        with pytest.raises(aq.CorruptLogError, match="snapshots"):
            queue.snapshot()
        assert queue.submit(task_create(), "immediate").sequence == 2
        (path / "snapshots").unlink()
        assert queue.snapshot().sequence == 2


def poison(queue: aq.ActionQueue) -> None:
    """Let a write fail: the segment's file may not grow, and the next one cannot be made; then a write fails within one."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    with pytest.raises(aq.MutationError):
        queue.submit(task_create(), "immediate")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert queue.is_poisoned


def test_a_poisoned_handle_makes_no_snapshot(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        queue = open_small(path, aq.CompactionPolicy(log_bytes=1))
        queue._compactor._is_stopped = True
        queue.submit(task_create(), "immediate")
        poison(queue)
        queue._compactor._is_stopped = False
        for call in (queue.snapshot, queue.compact):
            with pytest.raises(aq.PoisonedError):
                call()
        queue._compactor.run_if_due()
        assert caplog.records == []
        assert queue.stats()["snapshot_error"] is None
        queue.close()
        assert snapshots(path) == []

    in_child(work)


def test_a_closed_handle_makes_no_snapshot(path: Path) -> None:
    queue = open_small(path)
    queue.close()
    queue.close()
    for call in (queue.snapshot, queue.compact):
        with pytest.raises(aq.ClosedError):
            call()


# --- What ends one that is under way ---------------------------------------------------------------------------------


class Gate:
    """Holds compactions at their beginning until they are let go or canceled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began = threading.Event()
        self.may_go = threading.Event()
        self.threads: list[int] = []
        self._compact = compaction.compact
        monkeypatch.setattr(compaction, "compact", self._compact_when_let_go)

    def _compact_when_let_go(self, directory: str, *, progress: aq.Progress, **options: Any) -> dict[str, Any]:
        self.threads.append(threading.get_ident())
        self.began.set()
        wait_for(lambda: self.may_go.is_set() or progress.is_canceled)
        return self._compact(directory, progress=progress, **options)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


class Worker:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.ended: Any = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.ended = self._call()
        except BaseException as error:
            self.ended = error

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()
        return self.ended


@pytest.mark.parametrize("call", ["snapshot", "compact"])
def test_closing_cancels_what_is_under_way(path: Path, gate: Gate, call: str) -> None:
    queue = open_small(path)
    fill(queue, 20)
    worker = Worker(getattr(queue, call))
    gate.began.wait(WAIT_SECONDS)
    waiting = Worker(getattr(queue, call))
    queue.close()
    assert queue._compactor._owner is None  # it is over when the queue's lock is let go
    assert isinstance(worker.result(), aq.StoppedError)
    assert isinstance(waiting.result(), aq.ClosedError)
    assert list((path / "snapshots").iterdir()) == [] if (path / "snapshots").exists() else True
    with open_small(path) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == 20


def test_closing_cancels_the_thread_that_compacts_by_itself(path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "CHECK_SECONDS", 0.01)
    queue = open_small(path, aq.CompactionPolicy(log_bytes=1))
    fill(queue, 20)
    gate.began.wait(WAIT_SECONDS)
    queue.close()
    wait_for(lambda: gate.threads[0] not in {thread.ident for thread in threading.enumerate()})
    assert snapshots(path) == []


def test_progress_is_told_and_can_cancel(path: Path, gate: Gate) -> None:
    with open_small(path) as queue:
        fill(queue, 40)
        progress = aq.Progress()
        worker = Worker(lambda: queue.snapshot(progress=progress))
        gate.began.wait(WAIT_SECONDS)
        progress.cancel()
        assert isinstance(worker.result(), aq.StoppedError)
        assert snapshots(path) == []
        assert queue.stats()["snapshot_error"] is None
        with pytest.raises(aq.StoppedError):
            queue.compact(progress=progress)
        gate.may_go.set()
        progress = aq.Progress()
        report = queue.compact(progress=progress)
        assert progress.done >= report.file_bytes > 0
        assert not progress.is_canceled


def test_nobody_who_submits_waits_for_a_snapshot(path: Path, gate: Gate) -> None:
    with open_small(path) as queue:
        fill(queue, 20)
        worker = Worker(queue.compact)
        gate.began.wait(WAIT_SECONDS)
        for durability in ("immediate", "deferred"):
            queue.submit(task_create(b"y" * 50_000), durability)  # over the end of a segment
            queue.submit_many([task_create(), task_create()], durability)
        assert queue.projection.counts().tasks == 26
        gate.may_go.set()
        assert worker.result().sequence >= 20


def test_one_at_a_time(path: Path, gate: Gate) -> None:
    with open_small(path) as queue:
        fill(queue, 20)
        workers = [Worker(queue.compact), Worker(queue.snapshot), Worker(queue.compact)]
        gate.began.wait(WAIT_SECONDS)
        assert len(gate.threads) == 1
        gate.may_go.set()
        assert [worker.result().sequence for worker in workers] == [20, 20, 20]
        assert sorted(worker.ended.is_new for worker in workers) == [False, False, True]


def test_a_queue_that_nobody_refers_to_is_closed_at_once(path: Path) -> None:
    gc.disable()
    try:
        queue = open_small(path, aq.CompactionPolicy(log_bytes=1))
        queue.submit(task_create())
        queue.snapshot()
        del queue
        with open_small(path) as queue:
            assert queue.recovery.is_clean
    finally:
        gc.enable()


@pytest.mark.parametrize("place", ["compact", "sync", "appended_bytes"])
def test_a_queue_that_nobody_refers_to_any_more_does_not_compact_on(
    path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Else two processes could write snapshots into one directory."""
    monkeypatch.setattr(compaction, "CHECK_SECONDS", 0.01)
    queue = open_small(path, aq.CompactionPolicy(log_bytes=1))
    compactor = queue._compactor
    reached, may_go = threading.Event(), threading.Event()
    if place != "compact":
        real = getattr(compactor, f"_{place}")

        def pause() -> Any:
            found = real()
            if compactor._owner is not None:
                reached.set()
                may_go.wait(WAIT_SECONDS)
            return found

        monkeypatch.setattr(compactor, f"_{place}", pause)
    else:
        reached = gate.began
    fill(queue, 20)
    assert reached.wait(WAIT_SECONDS)
    if place == "compact":
        del queue
    else:
        releaser = threading.Thread(target=lambda: (wait_for(lambda: compactor._is_stopped), may_go.set()))
        releaser.start()
        del queue
        releaser.join()
    with open_small(path) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == 20
        assert snapshots(path) == []
        assert compactor._owner is None


def test_the_last_reference_may_be_the_threads_own(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue is then closed in the middle of a compaction, by the thread that compacts."""
    monkeypatch.setattr(compaction, "CHECK_SECONDS", 0.01)
    queue = open_small(path, aq.CompactionPolicy(log_bytes=1))
    compactor = queue._compactor
    held, may_go = threading.Event(), threading.Event()
    sync = aq.ActionQueue.sync

    def hold(self: aq.ActionQueue) -> None:
        sync(self)
        held.set()
        may_go.wait(WAIT_SECONDS)

    from actionqueue import store

    compactor._sync = store._method(queue, hold)
    queue.submit(task_create())
    assert held.wait(WAIT_SECONDS)
    del queue
    may_go.set()
    wait_for(lambda: not [thread for thread in threading.enumerate() if thread.name == "actionqueue-compaction"])
    assert caplog.records == []
    with open_small(path) as queue:
        assert queue.recovery.is_clean
        assert snapshots(path) == []


def test_a_process_that_ends_in_the_middle_ends(path: Path) -> None:
    code = """
import sys, threading
import actionqueue as aq
from actionqueue import compaction

compact, began = compaction.compact, threading.Event()

def wait(directory, *, progress, **options):
    began.set()
    while not progress.is_canceled:
        pass
    return compact(directory, progress=progress, **options)

compaction.compact = wait
compaction.CHECK_SECONDS = 0.01
queue = aq.open(sys.argv[1], compaction=aq.CompactionPolicy(log_bytes=1))
queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x" * 200_000), 1))
began.wait()
"""
    ended = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, timeout=WAIT_SECONDS, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert snapshots(path) == []
    with open_small(path) as queue:
        assert queue.sequence == 1


# --- Signals and forks -----------------------------------------------------------------------------------------------


@pytest.fixture
def on_signal() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Return a function that sets what SIGUSR1 does."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda call: signal.signal(signal.SIGUSR1, lambda _number, _frame: call()) and None
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("call", ["close", "snapshot", "compact"])
def test_a_call_from_a_handler_inside_a_snapshot_is_refused(
    path: Path, on_signal: Any, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    compact = compaction.compact

    def compact_with_a_signal(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return compact(*arguments, **options)

    monkeypatch.setattr(compaction, "compact", compact_with_a_signal)
    refusals: list[type[BaseException]] = []

    def handle() -> None:
        with pytest.raises(aq.ReentrantCallError) as refusal:
            getattr(queue, call)()
        refusals.append(refusal.type)

    on_signal(handle)
    with open_small(path) as queue:
        queue.submit(task_create())
        assert queue.snapshot().is_new
        assert refusals == [aq.ReentrantCallError]
        assert queue.submit(task_create()).sequence == 2


@pytest.mark.parametrize("call", ["close", "snapshot", "compact"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_call_from_a_handler_at_the_edges_of_a_snapshot(
    path: Path, on_signal: Any, monkeypatch: pytest.MonkeyPatch, call: str, at: int
) -> None:
    """Where the turn is already or still this thread's, but nothing has begun yet, or all is over."""
    get_ident, asked = threading.get_ident, 0

    def get_ident_with_a_signal() -> int:
        nonlocal asked
        asked += 1
        if asked == at:
            signal.raise_signal(signal.SIGUSR1)
        return get_ident()

    ended: list[Any] = []

    def handle() -> None:
        ended.append(getattr(queue, call)())

    on_signal(handle)
    queue = open_small(path)
    queue.submit(task_create())
    monkeypatch.setattr(compaction, "threading", SimpleNamespace(get_ident=get_ident_with_a_signal))
    if call == "close" and at < 3:
        with pytest.raises(aq.ClosedError):
            queue.snapshot()
    else:
        assert queue.snapshot().sequence == 1
    monkeypatch.undo()
    assert len(ended) == (1 if at < 3 else 0)
    queue.close()
    with open_small(path) as queue:
        assert queue.sequence == 1


def test_closing_from_a_handler_while_the_thread_waits_for_another_ones_compaction(path: Path, on_signal: Any, gate: Gate) -> None:
    queue = open_small(path)
    fill(queue, 20)
    worker = Worker(queue.compact)
    gate.began.wait(WAIT_SECONDS)
    on_signal(queue.close)
    main = threading.main_thread()
    striker = threading.Timer(0.05, lambda: signal.pthread_kill(main.ident or 0, signal.SIGUSR1))
    striker.start()
    with pytest.raises(aq.ClosedError):
        queue.snapshot()
    striker.join()
    assert isinstance(worker.result(), aq.StoppedError)
    assert queue.is_closed


def test_a_fork_in_the_middle(path: Path, gate: Gate) -> None:
    with open_small(path, aq.CompactionPolicy(log_bytes=None, age_seconds=10**6)) as queue:
        fill(queue, 20)
        worker = Worker(queue.compact)
        gate.began.wait(WAIT_SECONDS)
        gone = [queue]

        def work() -> list[str]:
            said = []
            for call in (queue.snapshot, queue.compact, queue.stats):
                try:
                    call()
                except aq.ForkedError as error:
                    said.append(type(error).__name__)
            queue.close()
            gone.clear()
            gc.collect()
            return said

        assert in_child(work) == ["ForkedError"] * 3
        in_child(queue._compactor.abandon)
        gate.may_go.set()
        assert worker.result().sequence == 20
        assert queue.submit(task_create(), "immediate").sequence == 21
    assert verify(path)["snapshots"] == [20]


# --- All at once -----------------------------------------------------------------------------------------------------


def test_many_threads_submit_while_another_compacts(path: Path, long_form: bool) -> None:
    queue = aq.open(path, compaction=None, **SMALL)

    def submit(number: int) -> None:
        for count in range(8000 if long_form else 1000):
            size = (10, 300, 10_000)[(count + number) % 3]
            queue.submit_many([task_create(b"x" * size), task_create()], "immediate" if count % 8 == 0 else "deferred")

    submitters = [Worker(lambda number=number: submit(number)) for number in range(4)]  # type: ignore[misc]
    reports: list[aq.SnapshotReport] = []
    while any(submitter.is_alive for submitter in submitters):
        reports.append(queue.compact() if len(reports) % 3 else queue.snapshot())
        if len(reports) % 4 == 0:
            with aq.open(path, readonly=True) as reader:
                assert reader.sequence >= reports[-1].sequence
                assert reader.projection.counts().tasks == reader.sequence
                assert reader.sequence % 2 == 0
    assert [submitter.result() for submitter in submitters] == [None] * 4
    sequences = [report.sequence for report in reports]
    assert sequences == sorted(sequences)
    assert all(sequence % 2 == 0 for sequence in sequences)  # whole batches
    assert queue.sequence == 4 * 2 * (8000 if long_form else 1000)
    expected = state_of(queue)
    queue.close()
    verify(path)
    with aq.open(path) as queue:
        assert state_of(queue) == expected
