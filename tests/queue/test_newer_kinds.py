"""A log with an event of a kind that only a newer library knows: it is no damage and no torn tail,
and nothing about it changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.inspection import verify
from tests.support.command_line import run
from tests.support.core import log_model as model
from tests.support.queues import copy_of, log_bytes

NEWER = 200
SIZE = 65536


def pause_and_resume(queue: aq.ActionQueue, times: int) -> None:
    for _ in range(times):
        queue.submit(aq.EnginePauseCommand(None, 5))
        queue.submit(aq.EngineResumeCommand(None, 5))


def make_newer(path: Path, sequence: int, *, in_ring: bool) -> None:
    """Give the record of an event another kind, as a newer library would have sealed it."""
    header, file, data, position, at, record = found(path, sequence, in_ring=in_ring)
    lag = sequence - record.watermark if record.watermark else model.LAG_UNKNOWN
    data[at : at + record.size] = model.record_bytes(
        header, position, record.ordinal, NEWER, record.payload, lag=lag
    )
    file.write_bytes(data)


def found(path: Path, sequence: int, *, in_ring: bool) -> Any:
    """Return the segment's header, the file that holds the record of an event and its bytes, and
    the record's position, its place in the file and the record.
    """
    (segment,) = (path / "wal").glob("*.log")
    header = model.header_of(f"wal/{segment.name}", segment.read_bytes())
    file = path / "ring" if in_ring else segment
    data = bytearray(file.read_bytes())
    for position in range(model.DATA, SIZE, 4):
        at = model.RING_DATA + position % SIZE if in_ring else position
        record = model.parse_record(header, bytes(data), at, position)
        if record is not None and record.is_event and record.sequence == sequence:
            return header, file, data, position, at, record
    raise AssertionError(f"{file} has no event {sequence}")


def check_refused(path: Path) -> None:
    before = log_bytes(path) | {"LOCK": b""}
    for _ in range(2):
        for options in ({}, {"readonly": True}):
            with pytest.raises(aq.UnsupportedFormatError, match=r"kind 200 .*upgrade") as refused:
                aq.open(path, **options)
            assert (refused.value.event_kind, refused.value.path) == (NEWER, path.as_posix())
        with pytest.raises(aq.UnsupportedFormatError):
            verify(path)
        with pytest.raises(aq.UnsupportedFormatError):
            aq.repair(path, accept_data_loss=True)
    assert log_bytes(path) | {"LOCK": b""} == before


@pytest.mark.parametrize("sequence", [1, 4, 6])
def test_in_a_segment(tmp_path: Path, sequence: int) -> None:
    path = tmp_path / "queue"
    with aq.open(path, durability="deferred", segment_size=SIZE, ring_size=SIZE) as queue:
        pause_and_resume(queue, 3)
    make_newer(path, sequence, in_ring=False)
    check_refused(path)


def test_a_repair_of_damage_behind_it_gives_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    with aq.open(path, durability="deferred", segment_size=SIZE, ring_size=SIZE) as queue:
        pause_and_resume(queue, 3)
    make_newer(path, 2, in_ring=False)
    _, segment, data, _, at, record = found(path, 6, in_ring=False)
    data[at + record.size // 2] ^= 0x40
    segment.write_bytes(data)
    before = log_bytes(path) | {"LOCK": b""}
    with pytest.raises(aq.CorruptLogError):
        aq.open(path)
    with pytest.raises(aq.UnsupportedFormatError, match="kind 200"):
        aq.repair(path, accept_data_loss=True)
    assert log_bytes(path) | {"LOCK": b""} == before


def test_the_command_line_says_at_which_event_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    with aq.open(path, durability="deferred", segment_size=SIZE, ring_size=SIZE) as queue:
        pause_and_resume(queue, 3)
    make_newer(path, 4, in_ring=False)
    ended = run("log", path, "--json")
    assert (ended.code, len(ended.objects)) == (5, 3)
    assert "kind 200, sequence 4" in ended.error
    assert run("verify", path).code == run("dump", path).code == 6


@pytest.mark.parametrize("sequence", [1, 4, 6])
def test_in_the_ring_of_a_killed_writer(tmp_path: Path, sequence: int) -> None:
    path = tmp_path / "queue"
    with aq.open(
        path, durability="deferred", segment_size=SIZE, ring_size=SIZE, compaction=None
    ) as queue:
        pause_and_resume(queue, 3)
        copy_of(path, tmp_path / "copy")
    make_newer(tmp_path / "copy", sequence, in_ring=True)
    check_refused(tmp_path / "copy")
