"""Snapshots and compaction of an open queue: what they report and leave, and what is forgotten."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import actionqueue as aq
from actionqueue import retention
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.inspection import iterate_records, verify
from tests.support.compaction import Worker, first_sequences, names, run_to_the_end, snapshots
from tests.support.queues import (
    SMALL,
    fill,
    in_child,
    log_bytes,
    open_small,
    state_of,
    task_create,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


# --- What they do ---------------------------------------------------------------------------------


def test_a_snapshot_of_nothing(path: Path) -> None:
    with open_small(path) as queue:
        report = queue.snapshot()
        assert (report.sequence, report.is_new, report.file_bytes, report.replayed_events) == (
            0,
            False,
            0,
            0,
        )
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
        assert (again.sequence, again.is_new, again.file_bytes, again.replayed_events) == (
            20,
            False,
            report.file_bytes,
            0,
        )
        assert first_sequences(path)[0] == 1
        fill(queue, 3)
        before = state_of(queue)
    with open_small(path) as queue:
        assert (
            queue.recovery.snapshot_sequence,
            queue.recovery.events,
            queue.recovery.last_sequence,
        ) == (20, 3, 23)
        assert "snapshot as of sequence 20" in str(queue.recovery)
        assert state_of(queue) == before
        stats = queue.stats()
        assert (stats["snapshot_sequence"], stats["snapshot_bytes"], stats["snapshot_ns"]) == (
            20,
            report.file_bytes,
            0,
        )
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
            # The first segment that is left begins at or before the first event behind the older
            # snapshot, the second one behind it.
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
        segment = next(
            file
            for file in (path / "wal").glob("*.log")
            if int(file.name.split("-")[0]) == victim.segment
        )
        with segment.open("r+b") as file:
            file.seek(victim.offset + 40)
            file.write(b"\xff")
        with pytest.raises(aq.CorruptLogError) as refusal:
            queue.compact()
        assert (refusal.value.segment, refusal.value.first_sequence) == (victim.segment, 25)
        assert str(refusal.value) == queue.stats()["snapshot_error"]
        assert snapshots(path) == [20]
        assert queue.submit(task_create(), "immediate").sequence == 41


# --- Retention ------------------------------------------------------------------------------------


def test_retention_forgets_what_ended_long_enough_ago(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aq.clock, "now", lambda: 1000)
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
    """While others submit and ask: the projection's contents are exchanged under them, and nobody
    notices.
    """
    is_done = threading.Event()
    submitted: list[int] = []

    def submit() -> None:
        while not is_done.is_set():
            # This command leaves nothing behind.
            sequence = queue.submit(aq.ActorHeartbeatCommand(None, aq.ActorId(), 1)).sequence
            assert queue.projection.latest_sequence >= sequence
            submitted.append(sequence)

    with aq.open(path, durability="deferred", compaction=None) as queue:
        for _ in range(20_000):
            run_to_the_end(queue, 1)
        before = queue.projection.counts()
        threads = [threading.Thread(target=submit) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(submitted) > 100)
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


def test_a_renewal_waits_for_no_sync_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was submitted meanwhile is in the log's files or in the ring only, and is in the new
    projection all the same.
    """
    from actionqueue import maintenance

    load = maintenance.read_snapshot

    def load_then_submit(*args: Any) -> None:
        load(*args)
        for _ in range(100):  # over more than one segment, the last of them in the ring
            run_to_the_end(queue, 2)
            queue.submit(task_create(bytes(3000)))
        durable.append(queue.durable_sequence)
        submitted.append(queue.sequence)

    durable: list[int] = []
    submitted: list[int] = []
    monkeypatch.setattr(aq.clock, "now", lambda: 1000)
    with open_small(path) as queue:
        for _ in range(5000):
            run_to_the_end(queue, 1)
        before = queue.projection.counts().memory_bytes
        monkeypatch.setattr(maintenance, "read_snapshot", load_then_submit)
        assert queue.compact(retention_seconds=1).purged_runs == 5000
        assert [queue.durable_sequence] == durable < submitted == [queue.sequence]
        assert queue.projection.counts().memory_bytes < before / 2
        state = state_of(queue)
    with open_small(path) as queue:
        assert state_of(queue) == state


def test_a_renewal_gives_up_where_it_is_outrun(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next compaction tries again."""
    from actionqueue import maintenance

    monkeypatch.setattr(maintenance, "RENEWAL_EVENTS_MAX", -1)
    with open_small(path) as queue:
        for _ in range(5000):
            run_to_the_end(queue, 1)
        before = queue.projection.counts().memory_bytes
        assert queue.compact(retention_seconds=0).purged_runs == 5000
        assert queue.projection.counts().memory_bytes > before / 2
        run_to_the_end(queue, 1)
        monkeypatch.undo()
        assert queue.compact().purged_runs == 0
        assert queue.projection.counts().memory_bytes < before / 2


def test_retention_gives_submitters_their_turns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from actionqueue import maintenance

    monkeypatch.setattr(aq.clock, "now", lambda: 1000)
    monkeypatch.setattr(maintenance, "PURGE_ROWS", 2)
    with open_small(path) as queue:
        for _ in range(10):
            run_to_the_end(queue, 1)
        turns: list[int] = []

        def submit_meanwhile(_seconds: float) -> None:
            thread = threading.Thread(
                target=lambda: turns.append(queue.submit(task_create()).sequence)
            )
            thread.start()
            thread.join()

        clocks = {"monotonic": time.monotonic, "perf_counter": time.perf_counter}
        monkeypatch.setattr(retention, "time", SimpleNamespace(**clocks, sleep=submit_meanwhile))
        assert queue.compact(retention_seconds=1).purged_runs == 10
        assert len(turns) >= 5
        assert queue.projection.counts().tasks == len(turns)


AGES = ["retention_seconds", "ledger_retention_seconds", "tombstone_seconds"]


@pytest.mark.parametrize("age", AGES)
def test_an_age_out_of_range(path: Path, age: str) -> None:
    text = rf"^compact\.{age}: must be a whole number from 0 to {2**64 - 1}, or None, got "
    with open_small(path) as queue:
        for value in (-1, -(2**70), np.int8(-1), -(10**5000), 2**64, 10**5000):
            with pytest.raises(InvalidFieldError, match=text):
                queue.compact(**{age: value})
        for value in ("1", 1.0, True, False, b"1", [1], np.float64(1)):
            with pytest.raises(InvalidFieldTypeError, match=text):
                queue.compact(**{age: value})
        assert queue.stats()["snapshot_error"] is None


@pytest.mark.parametrize(
    "kind", [np.int8, np.int16, np.int32, np.uint64], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("age", AGES)
def test_ages_are_whole_numbers_of_any_kind(
    path: Path, age: str, kind: Callable[[int], Any]
) -> None:
    """They are counted back from a time that has no room in the small ones."""
    with open_small(path) as queue:
        queue.submit(task_create())
        ages: dict[str, Any] = {"retention_seconds": 100} | {age: kind(100)}
        assert queue.compact(**ages).sequence == 1


# --- Failures -------------------------------------------------------------------------------------


@pytest.mark.platform("fork", "limits")
def test_a_snapshot_that_does_not_fit_leaves_queue_and_older_snapshot_as_they_were(
    path: Path,
) -> None:
    import resource  # not on Windows

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
                assert (
                    "the log and older snapshots are as they were; "
                    "raise the limit on the size of files" in str(refusal.value)
                )
                assert queue.stats()["snapshot_error"] == str(refusal.value)
                assert queue.stats()["snapshot_sequence"] == 1
                assert list((path / "snapshots").iterdir()) == [
                    path / "snapshots" / f"{1:020}.snap"
                ]
            assert queue.submit(task_create(), "immediate").sequence == 42
            resource.setrlimit(
                resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
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
    """Let a write fail: the segment's file may not grow, and the next one cannot be made; then a
    write fails within one.
    """
    import resource  # not on Windows

    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    with pytest.raises(aq.MutationError):
        queue.submit(task_create(), "immediate")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert queue.is_poisoned


@pytest.mark.platform("fork", "limits")
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


# --- All at once ----------------------------------------------------------------------------------


def test_many_threads_submit_while_another_compacts(path: Path, long_form: bool) -> None:
    queue = aq.open(path, compaction=None, **SMALL)

    def submit(number: int) -> None:
        for count in range(8000 if long_form else 1000):
            size = (10, 300, 10_000)[(count + number) % 3]
            queue.submit_many(
                [task_create(b"x" * size), task_create()],
                "immediate" if count % 8 == 0 else "deferred",
            )

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
