"""What reads a log, and what encodes a command, is not entered again while it is at work: by a
callback of the collector, or by a value.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import actionqueue as aq
from _wal_native.reader import LogFollower, LogReader

EVENTS = 200


@pytest.fixture
def directory(tmp_path: Path) -> str:
    path = tmp_path / "queue"
    with aq.open(path) as queue:
        for number in range(EVENTS):
            queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"%d" % number * 50), 1))
    return str(path)


def with_collector_calling(
    read: Callable[[], list[Any]], call: Callable[[], object]
) -> tuple[list[Any], list[object]]:
    """What was read while every collection makes a call, and what each of those calls has come
    to.
    """
    results: list[object] = []

    def callback(phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            try:
                results.append(call())
            except RuntimeError as error:
                results.append(str(error))

    thresholds = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(1)
    try:
        return read(), results
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(callback)


def followed(follower: LogFollower) -> list[Any]:
    records: list[Any] = []
    while (record := follower.next_record()) is not None:
        records.append(record)
    return records


def test_a_reader_loses_no_record_to_a_callback_that_reads_too(directory: str) -> None:
    expected = list(LogReader(directory))
    reader = LogReader(directory)
    read, results = with_collector_calling(
        lambda: [next(reader) for _ in range(EVENTS // 2)], lambda: next(reader)
    )
    taken = [result for result in results if isinstance(result, tuple)]
    rest = list(reader)
    assert sorted([*read, *taken, *rest]) == sorted(expected)  # each once, each whole
    assert all(isinstance(result, (tuple, str)) for result in results)


def test_a_follower_loses_no_record_to_a_callback_that_reads_too(directory: str) -> None:
    expected = followed(LogFollower(directory, 0))
    assert len(expected) == EVENTS
    follower = LogFollower(directory, 0)
    read, results = with_collector_calling(lambda: followed(follower), follower.next_record)
    taken = [result for result in results if isinstance(result, tuple)]
    assert sorted([*read, *taken]) == sorted(expected)


class Number:
    """A value that is no number, and submits where it is asked for one."""

    def __init__(self, queue: aq.ActionQueue) -> None:
        self.queue = queue
        self.was_asked = False

    def __index__(self) -> int:
        self.was_asked = True
        self.queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"nested"), 1))
        return 1

    __int__ = __index__


@pytest.mark.parametrize("field", ["timestamp", "sequence"])
@pytest.mark.parametrize("many", [False, True])
def test_a_forced_value_runs_no_code_while_its_command_is_encoded(
    tmp_path: Path, field: str, many: bool
) -> None:
    with aq.open(tmp_path / "queue") as queue:
        command = aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x"), 1)
        value = Number(queue)
        msgspec.structs.force_setattr(command, field, value)
        with pytest.raises((TypeError, aq.ActionQueueError)):
            queue.submit_many([command]) if many else queue.submit(command)
        assert not value.was_asked
        assert queue.sequence == 0
        queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"next"), 1))
        assert queue.sequence == 1


def test_a_forced_value_in_a_task_runs_no_code(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        metadata = aq.TaskMetadata(tags=("a" * 300, "b"))
        value = Number(queue)
        msgspec.structs.force_setattr(metadata, "priority", value)
        command = aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x", metadata=metadata), 1)
        with pytest.raises((TypeError, aq.ActionQueueError)):
            queue.submit(command)
        assert not value.was_asked
        assert queue.sequence == 0


def test_queries_that_nest_without_end_are_refused() -> None:
    projection, deepest = aq.Projection(), [0]

    class Number:
        def __index__(self) -> int:
            deepest[0] += 1
            projection.find_finished(5, 2, (Number(), 0, 0))  # type: ignore[arg-type]
            return 0

        __int__ = __index__

    with pytest.raises(RecursionError, match="queries"):
        projection.find_finished(5, 2, (Number(), 0, 0))  # type: ignore[arg-type]
    assert deepest[0] > 10
    assert projection.counts().runs == 0
