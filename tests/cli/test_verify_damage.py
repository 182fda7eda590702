"""What verify says of each kind of damage."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import actionqueue as aq
from tests.support.command_line import (
    fill_more,
    kill_a_writer,
    newest_segment,
    run,
    tree,
)
from tests.support.large_queues import flip, make_large

Damage = Callable[[list[Path]], None]


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


DAMAGES: dict[str, tuple[Damage, str, list[list[int]], list[list[int]]]] = {
    # What is done to segments of six events each, the reason, what can't be read, what a repair
    # would give up.
    "a record": (
        lambda wal: flip(wal[1], 8192 + 2 * 9088 + 100),
        "record_invalid",
        [[9, 9]],
        [[10, 60]],
    ),
    "a segment removed": (lambda wal: wal[1].unlink(), "segment_missing", [[7, 12]], [[13, 60]]),
    "two segments": (
        lambda wal: (wal[1].unlink(), wal[4].unlink()),
        "segment_missing",
        [[7, 12], [25, 30]],
        [[13, 24], [31, 60]],
    ),
    "the first removed": (lambda wal: wal[0].unlink(), "history_missing", [[1, 6]], [[7, 60]]),
    "the newest removed": (lambda wal: wal[-1].unlink(), "segment_missing", [[55, 60]], []),
    "a segment cut": (lambda wal: cut(wal[1], 8192 + 9100), "file_size", [[8, 12]], [[13, 60]]),
    "a header": (
        lambda wal: wal[1].write_bytes(bytes(8192) + wal[1].read_bytes()[8192:]),
        "header_invalid",
        [[7, 12]],
        [[13, 60]],
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_verify_says_exactly_which_sequences_are_lost(tmp_path: Path, name: str) -> None:
    act, reason, unreadable, given_up = DAMAGES[name]
    directory = tmp_path / "queue"
    make_large(directory)
    wal = sorted((directory / "wal").glob("*.log"))
    assert [int(path.name[21:41]) for path in wal] == list(range(1, 61, 6)), "six events in each"
    (directory / "ring").write_bytes((directory / "ring").read_bytes()[:65536] + bytes(65536))
    act(wal)
    before = tree(directory)
    ended = run("verify", directory, "--json")
    assert tree(directory) == before
    (found,) = ended.objects
    assert (ended.code, found["reason"], found["unreadable"], found["given_up"]) == (
        5,
        reason,
        unreadable,
        given_up,
    )
    assert (found["first_sequence"], found["last_sequence"]) == (unreadable[0][0], 60)
    if reason == "segment_missing":
        assert (found["path"], found["segment"], found["offset"]) == (
            f"{directory.as_posix()}/wal",
            unreadable[0][0] // 6 + 1,
            None,
        )
    looked = run("repair", directory, "--json").objects[0]
    assert (looked["unreadable"], looked["given_up"], looked["kept_sequence"]) == (
        unreadable,
        given_up,
        unreadable[0][0] - 1,
    )
    # And that is what there is: every event that is not called unreadable can be had.
    there = [entry["sequence"] for entry in run("log", "--salvage", directory).objects]
    assert there == [
        number
        for number in range(1, 61)
        if not any(first <= number <= last for first, last in unreadable)
    ]


def test_verify_where_a_batch_is_broken(tmp_path: Path) -> None:
    """Those of its events that can be read are given up with it."""
    directory = tmp_path / "queue"
    with aq.open(directory, compaction=None) as queue:
        fill_more(queue, 2)
        with queue.batch() as batch:
            for _ in range(3):
                batch.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x" * 100), 1))
        fill_more(queue, 1)
    record = run("log", directory, "--json").objects[3]
    assert record["sequence"] == 4
    flip(newest_segment(directory), record["offset"] + 40)
    (directory / "ring").write_bytes(
        (directory / "ring").read_bytes()[:65536]
        + bytes((directory / "ring").stat().st_size - 65536)
    )
    (found,) = run("verify", directory, "--json").objects
    assert (found["unreadable"], found["given_up"]) == ([[4, 4]], [[3, 3], [5, 6]])


def test_one_event_that_is_lost_is_the_first_and_the_last(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    with aq.open(directory, compaction=None) as queue:
        fill_more(queue, 3)
    record = run("log", directory, "--json").objects[2]
    flip(newest_segment(directory), record["offset"] + 30)
    (directory / "ring").write_bytes(
        (directory / "ring").read_bytes()[:65536]
        + bytes((directory / "ring").stat().st_size - 65536)
    )
    with pytest.raises(aq.CorruptLogError) as refusal:
        aq.open(directory)
    assert (refusal.value.first_sequence, refusal.value.last_sequence) == (3, 3)
    (found,) = run("verify", directory, "--json").objects
    assert (found["first_sequence"], found["last_sequence"], found["unreadable"]) == (
        3,
        3,
        [[3, 3]],
    )


def test_no_sequence_is_named_that_is_not_known(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    make_large(directory)
    max((directory / "wal").glob("*.log")).unlink()
    (directory / "ring").unlink()
    with pytest.raises(aq.CorruptLogError) as refusal:
        aq.open(directory)
    assert (refusal.value.first_sequence, refusal.value.last_sequence) == (55, None)
    assert "from 55 on" in str(refusal.value)
    assert "None" not in run("verify", directory).error


def test_what_a_killed_writers_damaged_ring_costs_is_told(tmp_path: Path) -> None:
    directory = tmp_path / "queue"
    kill_a_writer(directory, 20)
    record = run("log", directory, "--json", "--from", "8").objects[0]
    with (directory / "ring").open("r+b") as ring:
        ring.seek(65536 + record["offset"] + 2)
        ring.write(b"\xff" * 7)
    shown = run("verify", directory).output
    assert (
        "what the ring holds behind sequence 7, 12 whole events among them, acknowledged as "
        "Deferred at most, does not count" in shown
    )
    with aq.open(directory) as queue:
        assert (queue.sequence, queue.recovery.dropped_events, queue.recovery.dropped_bytes) == (
            7,
            12,
            0,
        )
        text = str(queue.recovery)
    assert (
        "dropped what only the ring held (torn), 12 whole events among them, acknowledged as "
        "Deferred at most" in text
    )
    assert "0 bytes" not in text
