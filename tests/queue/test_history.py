"""A reader or follower whose log was replaced, restored or repaired says so, and mixes no two
histories.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.errors import CompactedError, HistoryChangedError
from tests.support.queues import task_create


def fill(path: Path, count: int, tag: bytes) -> None:
    with aq.open(path, ring_size=65536, compaction=None, durability="deferred") as queue:
        for number in range(count):
            queue.submit(task_create(b"%s-%04d-" % (tag, number) + b"x" * 1000))


def replaced(path: Path) -> None:
    shutil.rmtree(path)
    fill(path, 300, b"new")


def restored(path: Path) -> None:
    shutil.rmtree(path)
    shutil.move(f"{path}.backup", path)
    fill(path, 200, b"new")


def restored_in_place(path: Path) -> None:
    """File by file, into the files that are there."""
    kept = Path(f"{path}.backup")
    for file in [
        file
        for file in path.rglob("*")
        if file.is_file() and not (kept / file.relative_to(path)).exists()
    ]:
        file.unlink()
    subprocess.run(["cp", "-r", f"{kept}/.", str(path)], check=True)
    fill(path, 200, b"new")


def repaired(path: Path) -> None:
    segment = next(
        name for name in sorted((path / "wal").glob("*.log")) if b"old-0000-" in name.read_bytes()
    )
    data = bytearray(segment.read_bytes())
    data[data.find(b"old-0000-")] ^= 0xFF
    segment.write_bytes(data)
    aq.repair(path, accept_data_loss=True)
    fill(path, 200, b"new")


CHANGES: list[Callable[[Path], None]] = [replaced, restored, restored_in_place, repaired]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "queue"
    fill(made, 100, b"all")
    shutil.copytree(made, f"{made}.backup")
    fill(made, 100, b"old")
    return made


@pytest.mark.platform("open files")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_reader_of_another_history(path: Path, change: Callable[[Path], None]) -> None:
    with aq.open(path, readonly=True) as reader:
        seen = [task.spec.payload.data for task in reader.projection.tasks()]
        change(path)
        with pytest.raises(HistoryChangedError):
            reader.refresh()
        assert [task.spec.payload.data for task in reader.projection.tasks()] == seen


@pytest.mark.platform("open files")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_follower_of_another_history(path: Path, change: Callable[[Path], None]) -> None:
    follower = aq.follow(path, after=0, timeout=5)
    for _ in range(200):
        next(follower)
    change(path)
    with pytest.raises(HistoryChangedError):
        next(follower)


def test_what_is_no_change_of_history(path: Path) -> None:
    """Reopening, a move of the directory within its file system seen from a new reader, rotations,
    compactions.
    """
    with aq.open(path, readonly=True) as reader:
        fill(path, 10, b"more")
        assert reader.refresh() == 10
        fill(path, 300, b"more")
        assert reader.refresh() == 300
        with aq.open(path, compaction=None) as queue:
            queue.submit(task_create())
            queue.compact()
            queue.submit(task_create())
            queue.compact()
        reader.refresh()
        assert reader.sequence == 512


@pytest.mark.platform("open files")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_stored_position_of_another_history(path: Path, change: Callable[[Path], None]) -> None:
    """What a consumer stored, and comes back with in another process."""
    events = aq.follow(path, timeout=0)
    sequence, history = list(events)[-1].sequence, aq.follow(path).history
    assert history is not None
    change(path)
    with pytest.raises(HistoryChangedError, match=f"event {sequence} was read in") as refusal:
        aq.follow(path, after=sequence, history=history)
    assert refusal.value.sequence == sequence
    with aq.open(path) as queue:
        assert queue.history != history
        with pytest.raises(HistoryChangedError):
            queue.follow(after=sequence, history=history)
        assert (
            aq.follow(path, after=sequence, history=queue.history, timeout=0).history
            == queue.history
        )


@pytest.mark.platform("open files")
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_compaction_does_not_hide_another_history(
    path: Path, change: Callable[[Path], None]
) -> None:
    """Who is told to go on from the snapshot would never hear that what it has handled is not in
    it.
    """
    with aq.open(path, readonly=True) as reader:
        sequence, history = reader.sequence, reader.history
    change(path)
    with aq.open(
        path, compaction=None, segment_size=65536, ring_size=65536, durability="deferred"
    ) as queue:
        for _ in range(3):
            queue.submit_many([task_create(b"x" * 1000) for _ in range(200)])
            queue.compact()
        for follow in (queue.follow, partial(aq.follow, path), aq.open(path, readonly=True).follow):
            with pytest.raises(HistoryChangedError) as refusal:
                follow(after=sequence, history=history)
            assert refusal.value.sequence == sequence
            for known in (None, queue.history):
                with pytest.raises(CompactedError):
                    follow(after=sequence, history=known)


def test_a_stored_position_of_the_same_history(path: Path) -> None:
    with aq.open(path) as queue:
        history = queue.history
        assert (queue.stats()["history"], queue.recovery.history) == (history, history)
        assert re.fullmatch("[0-9a-f]{32}", history)
    fill(path, 300, b"more")
    with aq.open(path, compaction=None) as queue:
        queue.submit(task_create())
        queue.compact()
        assert queue.history == history
    moved = path.rename(path.with_name("moved"))
    stream = aq.follow(moved, after=500, history=history, timeout=0)
    assert [event.sequence for event in stream] == [501]
    with aq.open(moved, readonly=True) as reader:
        assert reader.history == history
        assert reader.follow(after=501, history=history, timeout=0).history == history


def test_a_copy_is_another_history(path: Path) -> None:
    """Two copies can go on differently; so a position in one says nothing of the other, from the
    copying on.
    """
    with aq.open(path) as queue:
        history = queue.history
    copy = path.with_name("copy")
    shutil.copytree(path, copy)
    assert aq.follow(copy).history is None
    with pytest.raises(HistoryChangedError):
        aq.follow(copy, after=200, history=history)
    with aq.open(copy) as queue:
        assert queue.history != history
    with aq.open(path) as queue:
        assert queue.history == history


def test_a_position_past_the_end(path: Path) -> None:
    for after in (201, 10**6, 2**64 - 1):
        with pytest.raises(HistoryChangedError, match=f"event {after} was read in"):
            aq.follow(path, after=after)
    with aq.open(path, durability="deferred") as queue:
        sequence = queue.submit(task_create()).sequence
        # appended, and not durable yet.
        assert list(aq.follow(path, after=sequence, timeout=0)) == []
        with pytest.raises(HistoryChangedError):
            queue.follow(after=sequence + 1)
        events = queue.follow(timeout=5)
        assert queue.submit(task_create(), "immediate").sequence == next(events).sequence


def test_an_event_stream_ends(path: Path) -> None:
    stream = aq.follow(path, after=198, timeout=0)
    assert [event.sequence for event in stream] == [199, 200]
    assert list(stream) == []
    assert stream.history == aq.follow(path).history  # what is stored behind the loop
    stream = aq.follow(path, after=198)
    stream.close()
    assert (list(stream), stream.history) == ([], aq.follow(path).history)
    for after in (-1, 2**64):
        with pytest.raises(
            ValueError,
            match=r"^follow\.after: must be a sequence from 0 to 18446744073709551615, or .*, got ",
        ):
            aq.follow(path, after=after)
    with pytest.raises(TypeError, match=r"^follow\.history: must be a str .*, got b'no'$"):
        aq.follow(path, history=b"no")  # type: ignore[arg-type]


# --- Positions ------------------------------------------------------------------------------------


def follow_to_the_end(path: Path, after: int | str = 0) -> str:
    events = aq.follow(path, after=after, timeout=0)
    for _ in events:
        pass
    return events.position


def put_back(path: Path) -> None:
    """Into the very files that the queue has, so that the file system says of each that it is the
    same.
    """
    kept = Path(f"{path}.open")
    for file in [
        file
        for file in path.rglob("*")
        if file.is_file() and not (kept / file.relative_to(path)).exists()
    ]:
        file.unlink()
    for file in [file for file in kept.rglob("*") if file.is_file()]:
        (path / file.relative_to(kept)).write_bytes(file.read_bytes())


def test_a_position_shows_a_restore_that_leaves_the_history(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    with aq.open(path, ring_size=65536, compaction=None) as queue:
        history = queue.history
        for _ in range(5):
            queue.submit(task_create(b"before"))
        shutil.copytree(path, f"{path}.open")
        before = follow_to_the_end(path)
        for _ in range(5):
            queue.submit(task_create(b"given up"))
        position = follow_to_the_end(path)
    put_back(path)
    for count in (0, 10):  # less than there was, and more
        with aq.open(path, ring_size=65536, compaction=None) as queue:
            for _ in range(count):
                queue.submit(task_create(b"after"))
            assert queue.history == history
        with pytest.raises(HistoryChangedError):
            aq.follow(path, after=position)
    assert len(list(aq.follow(path, after=before, timeout=0))) == 10


def test_a_position_goes_on_over_restarts_rotation_and_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    position: int | str = 0
    for _ in range(3):
        with aq.open(path, ring_size=65536, segment_size=65536, compaction=None) as queue:
            for _ in range(60):
                queue.submit(task_create(b"x" * 700))
                found = aq.follow(path, after=position, timeout=0)
                assert [event.sequence for event in found] == [queue.sequence]
                position = found.position
                assert found.position == position  # also when it has ended
            shutil.copytree(path, f"{path}.killed")
        assert follow_to_the_end(path, position) == position
        shutil.rmtree(f"{path}.killed")


def test_a_position_whose_event_was_compacted_away_is_told_by_its_history(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    with aq.open(path, ring_size=65536, segment_size=65536, compaction=None) as queue:
        queue.submit(task_create(b"x"))
        position = follow_to_the_end(path)
        for _ in range(3):
            for _ in range(60):
                queue.submit(task_create(b"x" * 2000))
            queue.compact()
        with pytest.raises(aq.CompactedError):
            aq.follow(path, after=position)
        with pytest.raises(HistoryChangedError):
            aq.follow(path, after=f"1-{'0' * 32}-{position[-8:]}")


def test_a_position_of_a_stream_that_has_yielded_nothing_is_where_it_began(path: Path) -> None:
    """An event that was met on the way there is told by its checksum too."""
    assert re.fullmatch("0-[0-9a-f]{32}-", aq.follow(path).position)
    assert re.fullmatch("7-[0-9a-f]{32}-[0-9a-f]{8}", aq.follow(path, after=7).position)
    position = follow_to_the_end(path)
    assert re.fullmatch("[0-9]+-[0-9a-f]{32}-[0-9a-f]{8}", position)
    assert aq.follow(path, after=position).position == position


@pytest.mark.parametrize(
    "text", ["", "5", "x", "5-12-", "-1--", f"{2**64}--", "5-" + "g" * 32 + "-", " 5--00000000"]
)
def test_what_is_no_position(path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="after"):
        aq.follow(path, after=text)
    with pytest.raises(ValueError, match="history"):
        aq.follow(path, after="5--", history="0" * 32)
