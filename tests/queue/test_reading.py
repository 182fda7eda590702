"""Read-only queues: what a reader sees of a queue in every state, and that it touches nothing."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.inspection import iterate_records
from tests.support.command_line import kill_a_writer, tree
from tests.support.queues import (
    IN_MEMORY,
    copy_of,
    fill,
    in_child,
    open_small,
    read,
    real,
    segment_of_version,
    state_of,
    task_create,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


# --- Every state of a queue -----------------------------------------------------------------------


def test_a_closed_queue(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue)
        expected = state_of(queue)
    with read(path) as reader:
        assert state_of(reader) == expected
        assert (reader.sequence, reader.durable_sequence) == (20, 20)
        assert not reader.has_writer
        assert reader.snapshot_damage is None
        assert reader.path == real(path)
        assert reader.refresh() == 0
        assert (reader.sequence, reader.durable_sequence) == (20, 20)


def test_a_killed_queue_with_events_in_its_ring(path: Path, tmp_path: Path) -> None:
    with open_small(path) as queue:
        fill(queue, 3)
        queue.sync()
        fill(queue, 2, 10)
        killed = copy_of(path, tmp_path / "killed")
        expected = state_of(queue)
    with read(killed) as reader:
        assert state_of(reader) == expected
        assert (reader.sequence, reader.durable_sequence) == (5, 3)
        assert reader.refresh() == 0
        assert (reader.sequence, reader.durable_sequence) == (5, 3)
        assert list(reader.follow(timeout=0)) == []
        assert [event.sequence for event in reader.follow(after=0, timeout=0)] == [1, 2, 3]
        # Its next writer makes them durable, and the reader goes on from where it is.
        with open_small(killed) as queue:
            queue.submit(task_create(), "immediate")
            assert reader.refresh() == 1
            assert state_of(reader) == state_of(queue)
            assert reader.durable_sequence == 6


def test_a_queue_in_use_as_far_as_it_is_durable(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue, 3)
        queue.sync()
        expected = state_of(queue)
        queue.submit(task_create())
        with read(path) as reader:
            assert reader.has_writer
            assert (reader.sequence, reader.durable_sequence) == (3, 3)
            assert state_of(reader) == expected
            assert reader.refresh() == 0
            queue.sync()
            assert reader.refresh() == 1
            assert state_of(reader) == state_of(queue)


def test_an_empty_queue(path: Path) -> None:
    with open_small(path) as queue, read(path) as reader:
        assert (reader.sequence, reader.durable_sequence) == (0, 0)
        queue.submit(task_create(), "immediate")
        assert reader.refresh() == 1
    copied = shutil.copytree(path, path.with_name("copy"))
    with read(copied) as reader:
        assert reader.sequence == 1


def test_a_compacted_queue(path: Path) -> None:
    with open_small(path) as queue:
        for _ in range(3):
            fill(queue)
            queue.compact()
        fill(queue, 5)
        queue.sync()
        expected = state_of(queue)
        for _ in range(2):
            with read(path) as reader:
                assert state_of(reader) == expected
                assert reader.sequence == 65
            queue.close()


def test_where_there_is_no_queue_none_is_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "LOCK only").mkdir()
    (tmp_path / "LOCK only" / "LOCK").write_bytes(b"")
    (tmp_path / "preparing" / "wal").mkdir(parents=True)
    (tmp_path / "preparing" / "wal" / "prepare-1.tmp").write_bytes(b"\0" * 65536)
    before = tree(tmp_path)
    for name in (
        "empty",
        "file",
        "LOCK only",
        "preparing",
        "missing",
        "missing/queue",
        "file/queue",
    ):
        for call in (read, aq.follow):
            with pytest.raises(aq.NotAQueueError) as refusal:
                call(tmp_path / name)
            assert refusal.value.path == real(tmp_path / name)
    assert tree(tmp_path) == before


def test_a_creation_that_was_cut_short_before_the_ring(path: Path) -> None:
    open_small(path).close()
    (path / "ring").unlink()
    with read(path) as reader:
        assert (reader.sequence, list(reader.follow(timeout=0))) == (0, [])


def test_damage_is_refused_and_told_as_the_writer_tells_it(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue)
    victim = next(record for record in iterate_records(path) if record.sequence == 4)
    segment = sorted((path / "wal").glob("*.log"))[victim.segment - 1]
    with segment.open("r+b") as file:
        file.seek(victim.offset + 40)
        file.write(b"\xff")
    with pytest.raises(aq.CorruptLogError) as told:
        open_small(path)
    before = tree(path)
    with pytest.raises(aq.CorruptLogError) as refusal:
        read(path)
    assert refusal.value == told.value
    events = aq.follow(path, timeout=0)
    assert [next(events).sequence for _ in range(3)] == [1, 2, 3]
    with pytest.raises(aq.CorruptLogError) as refusal:
        next(events)
    assert (refusal.value.segment, refusal.value.offset) == (victim.segment, victim.offset)
    assert tree(path) == before


def test_a_damaged_snapshot_is_passed_over_and_told(path: Path) -> None:
    with open_small(path) as queue:
        for _ in range(2):
            fill(queue)
            queue.compact()
        expected = state_of(queue)
    newest = max((path / "snapshots").iterdir())
    newest.write_bytes(newest.read_bytes()[:-1])
    with read(path) as reader:
        assert state_of(reader) == expected
        assert isinstance(reader.snapshot_damage, aq.CorruptLogError)
        assert reader.snapshot_damage.path == f"{reader.path}/snapshots/{newest.name}"


def test_a_newer_format_is_refused(path: Path) -> None:
    open_small(path).close()
    [segment] = (path / "wal").glob("*.log")
    content = segment_of_version(segment.read_bytes(), 99)
    segment.write_bytes(content)
    with pytest.raises(aq.UnsupportedFormatError):
        read(path)


def test_a_copy_without_lock_and_ring_of_a_closed_queue(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue)
    for name in ("LOCK", "ring"):
        (path / name).unlink()
    with read(path) as reader:
        assert (reader.sequence, reader.durable_sequence) == (20, 20)
        assert reader.refresh() == 0
        assert reader.durable_sequence == 20


# --- Nothing is touched ---------------------------------------------------------------------------


def do_everything(path: Path) -> None:
    with read(path) as reader:
        reader.refresh()
        assert reader.projection.latest_sequence == reader.sequence
        list(reader.follow(after=0, timeout=0))
        reader.refresh()
    list(iterate_records(path))


@pytest.mark.parametrize("kind", ["closed", "killed", "live", "empty"])
def test_nothing_on_disk_changes(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "queue"
    queue = None
    if kind == "killed":
        kill_a_writer(path)
    else:
        queue = aq.open(path)
        if kind != "empty":
            fill(queue, 10, 100)
            queue.submit(task_create(), "deferred")
    if queue is not None and kind != "live":
        queue.close()
    before = tree(tmp_path)
    do_everything(path)
    assert tree(tmp_path) == before
    if queue is not None:
        queue.close()


class Readable:
    """A queue that everybody may read and only its owner may write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for entry in [path, *path.rglob("*")]:
            entry.chmod(0o755 if entry.is_dir() else 0o644)


@pytest.fixture
def public() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="actionqueue-", dir=IN_MEMORY) as made:
        Path(made).chmod(0o755)
        yield Path(made, "queue")


def as_nobody(work: Callable[[], Any]) -> Any:
    """Do the work in a child that is nobody in particular."""

    def work_as_nobody() -> Any:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return work()

    return in_child(work_as_nobody)


@pytest.mark.platform("fork", "modes")
@pytest.mark.system("root")
@pytest.mark.filterwarnings("ignore::actionqueue.UnsafeDirectoryWarning")
@pytest.mark.parametrize("is_live", [False, True])
def test_who_may_not_write_may_read(public: Path, is_live: bool) -> None:
    queue = open_small(public)
    fill(queue, 10)
    queue.snapshot()
    fill(queue, 10)
    queue.sync()
    if not is_live:
        queue.close()
    Readable(public)

    def work() -> list[int]:
        with pytest.raises(aq.OpenIOError):
            aq.open(public)
        with read(public) as reader:
            assert reader.has_writer == is_live
            reader.refresh()
            return [reader.sequence, len(list(reader.follow(after=0, timeout=0)))]

    assert as_nobody(work) == [20, 20]
    queue.close()


@pytest.mark.platform("fork", "modes")
@pytest.mark.system("root")
def test_who_may_not_read_is_told_so(public: Path) -> None:
    with open_small(public) as queue:
        fill(queue, 3)

    def work() -> None:
        for call in (read, aq.follow):
            with pytest.raises(aq.OpenIOError, match="Permission denied"):
                call(public)

    as_nobody(work)
    public.chmod(0o755)
    as_nobody(work)


# --- The handle -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"durability": "deferred"},
        {"segment_size": 65536},
        {"ring_size": 65536},
        {"sector_size": 512},
        {"compaction": None},
    ],
    ids=str,
)
def test_the_writers_options_are_refused(path: Path, options: dict[str, Any]) -> None:
    open_small(path).close()
    with pytest.raises(ValueError, match=next(iter(options))):
        aq.open(path, readonly=True, **options)
    aq.open(path, readonly=True, create=False).close()  # type: ignore[call-overload]


def test_a_closed_reader(path: Path) -> None:
    with open_small(path) as queue:
        queue.submit(task_create(), "immediate")
    reader = read(path)
    assert repr(reader) == f"<ReadOnlyQueue {reader.path!r} open at sequence 1>"
    reader.close()
    reader.close()
    assert reader.is_closed
    assert "closed" in repr(reader)
    assert reader.projection.counts().tasks == 1
    for call in (reader.refresh, reader.follow, reader.__enter__):
        with pytest.raises(aq.ClosedError):
            call()


def test_a_reader_is_not_copied(path: Path) -> None:
    open_small(path).close()
    with read(path) as reader:
        for call in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="open it by its path"):
                call(reader)


@pytest.mark.platform("fork")
def test_a_forked_child_has_the_projection_but_not_the_files(path: Path) -> None:
    def look() -> int:
        with pytest.raises(aq.ForkedError):
            reader.refresh()
        with read(path) as own:
            assert own.sequence == 1
        return reader.sequence

    with open_small(path) as queue, read(path) as reader:
        queue.submit(task_create(), "immediate")
        assert in_child(look) == 0
        assert reader.refresh() == 1


def test_it_has_no_way_to_write(path: Path) -> None:
    open_small(path).close()
    with read(path) as reader:
        for name in ("submit", "submit_many", "batch", "sync", "snapshot", "compact"):
            assert not hasattr(reader, name)


def test_paths_of_wrong_types() -> None:
    for wrong in (b"queue", 3, None):
        with pytest.raises(TypeError):
            aq.open(wrong, readonly=True)  # type: ignore[call-overload]


def test_a_reader_takes_no_part_of_a_batch_that_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    with aq.open(path, compaction=None) as queue:
        queue.submit(task_create(b"first"))
        with aq.open(path, readonly=True) as reader:
            queue.submit(task_create(b"second"))
            queue.submit_many([task_create(b"batch %d" % number) for number in range(3)])
            (segment,) = path.glob("wal/*.log")
            whole = segment.read_bytes()
            place = whole.index(b"batch 2")
            with segment.open("r+b") as file:
                file.seek(place)
                file.write(b"B")
            for _ in range(2):
                with pytest.raises(aq.CorruptLogError):
                    reader.refresh()
                assert reader.sequence == reader.projection.counts().tasks == 2
            with segment.open("r+b") as file:
                file.seek(place)
                file.write(b"b")
            assert reader.refresh() == 3
            assert reader.sequence == reader.projection.counts().tasks == 5
