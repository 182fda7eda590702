"""The statistics of a queue's directory: the same with and without a replay, whatever state the log
is in.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import actionqueue as aq
from actionqueue.inspection import statistics
from tests.support.queues import task_create


def submit(queue: aq.ActionQueue, count: int, **options: Any) -> None:
    for _ in range(count):
        task = task_create(b"x" * 100)
        queue.submit(task, **options)
        queue.submit(
            aq.RunCreateCommand(
                None, aq.RunInstance.scheduled(task.task_spec.id, scheduled_at=1, created_at=1)
            ),
            **options,
        )


def empty(path: Path) -> None:
    aq.open(path).close()


def without_snapshot(path: Path) -> None:
    with aq.open(path, compaction=None) as queue:
        submit(queue, 50)


def with_snapshots(path: Path) -> None:
    with aq.open(path, compaction=None, segment_size=65536, ring_size=65536) as queue:
        for _ in range(3):
            submit(queue, 400)
            queue.compact()
        submit(queue, 30)


def copied_while_open(path: Path) -> None:
    """As a kill leaves it: what is not durable is only in the ring."""
    with aq.open(f"{path}.original", compaction=None) as queue:
        submit(queue, 20)
        queue.snapshot()
        submit(queue, 10, durability="deferred")
        shutil.copytree(f"{path}.original", path)


def without_ring(path: Path) -> None:
    with_snapshots(path)
    (path / "ring").unlink()


def with_damaged_snapshot(path: Path) -> None:
    with_snapshots(path)
    damage(newest_snapshot(path), 100)


LOGS: list[Callable[[Path], None]] = [
    empty,
    without_snapshot,
    with_snapshots,
    copied_while_open,
    without_ring,
    with_damaged_snapshot,
]


def newest_snapshot(path: Path) -> Path:
    return max((path / "snapshots").glob("*.snap"))


def damage(file: Path, offset: int) -> None:
    content = bytearray(file.read_bytes())
    content[offset] ^= 0xFF
    file.write_bytes(content)


def logs_of(path: Path) -> list[dict[str, Any]]:
    found = [statistics(path, replays=replays)["log"] for replays in (False, True)]
    for log in found:
        log["snapshot_damage"] = log["snapshot_damage"] is not None
    return found


@pytest.mark.parametrize("make", LOGS, ids=lambda make: make.__name__)
def test_sizes_and_sequences_need_no_replay(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "queue"
    make(path)
    cheap, exact = logs_of(path)
    assert cheap == exact
    if make is copied_while_open:
        return  # a writer would make a history of its own of it
    with aq.open(path, compaction=None, segment_size=65536, ring_size=65536) as queue:
        cheap, exact = logs_of(path)
        assert cheap == exact
        assert (cheap["has_writer"], cheap["history"], cheap["last_sequence"]) == (
            True,
            queue.history,
            queue.sequence,
        )
        submit(queue, 10, durability="deferred")
        submit(queue, 1)
        submit(queue, 5, durability="deferred")
        cheap, exact = logs_of(path)
        assert cheap == exact
        assert cheap["last_sequence"] == queue.stats()["durable_sequence"]


def test_counts_are_those_of_the_newest_snapshot_or_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue"
    with aq.open(path, compaction=None) as queue:
        submit(queue, 20)
        queue.snapshot()
        snapshot = {
            name: number
            for name, number in msgspec.to_builtins(queue.projection.counts()).items()
            if name != "memory_bytes"
        }
        counted = queue.sequence
        submit(queue, 3)
    now = statistics(path)
    assert (
        now["projection"]["runs"],
        now["runs_by_state"]["scheduled"],
        now["counted_sequence"],
    ) == (23, 23, counted + 6)
    monkeypatch.setattr("actionqueue.statistics.REPLAYED_MAX", 0)
    assert statistics(path, replays=True) == now
    found = statistics(path)
    assert (found["projection"], found["runs_by_state"], found["counted_sequence"]) == (
        snapshot,
        None,
        counted,
    )


def test_counts_of_a_large_queue_without_a_snapshot_are_not_made_up(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    without_snapshot(path)
    found = statistics(path, replays=False)
    assert (found["projection"], found["runs_by_state"], found["counted_sequence"]) == (
        None,
        None,
        None,
    )


def test_a_snapshot_whose_beginning_is_damaged_gives_no_counts(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    with_snapshots(path)
    older = min(newest_snapshot(path).parent.glob("*.snap"))
    damage(newest_snapshot(path), 100)
    assert statistics(path, replays=False)["counted_sequence"] == int(older.stem)
