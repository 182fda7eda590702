"""The queue's files are put back to an earlier state, or replaced by a copy that went on apart,
under those who read them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.errors import HistoryChangedError
from tests.support.queues import put_back, task_create

SMALL = {"segment_size": 65536, "ring_size": 65536, "compaction": None, "durability": "deferred"}
SLOTS = 4096, 8192
"""Where the ring's file says how far the log is durable: stored into a mapping, which a loss of
power takes back.
"""


def fill(path: Path, count: int, tag: str, size: int = 3000, **options: object) -> None:
    with aq.open(path, **{**SMALL, **options}) as queue:  # type: ignore[arg-type]
        for number in range(count):
            queue.submit(task_create(f"{tag} {number} ".encode().ljust(size)))


def tags(reader: aq.ReadOnlyQueue) -> list[bytes]:
    return [task.spec.payload.data.split()[0] for task in reader.projection.tasks()]


class Under:
    """A follower and a reader that have seen 50 events of both histories and 50 of the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events = aq.follow(path, timeout=5)
        for _ in range(100):
            next(self.events)
        self.reader = aq.open(path, readonly=True)
        self.position = self.events.position

    def check(self) -> None:
        seen = tags(self.reader)
        with pytest.raises(HistoryChangedError):
            next(self.events)
        for _ in range(2):
            with pytest.raises(HistoryChangedError):
                self.reader.refresh()
        assert tags(self.reader) == seen
        assert self.events.position == self.position
        with pytest.raises(HistoryChangedError):
            aq.follow(self.path, after=self.position)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "queue"
    fill(made, 50, "both")
    shutil.copytree(made, tmp_path / "apart")
    return made


def by_a_copy(path: Path, other: Path) -> None:
    shutil.rmtree(path)
    shutil.copytree(other, path)


def by_a_move(path: Path, other: Path) -> None:
    shutil.rmtree(path)
    other.rename(path)


@pytest.mark.parametrize("replace", [by_a_copy, by_a_move], ids=lambda replace: replace.__name__)
def test_a_copy_that_went_on_apart_in_other_segments(
    path: Path, replace: Callable[[Path, Path], None]
) -> None:
    """No segment of the one that is read has its name there."""
    other = path.parent / "apart"
    fill(path, 50, "first")
    fill(other, 300, "second", 2000)
    assert not {file.name for file in other.glob("wal/*")} & {max(path.glob("wal/*")).name}
    readers = Under(path)
    replace(path, other)
    readers.check()


def test_a_copy_that_went_on_apart_and_was_compacted(path: Path) -> None:
    """To go on from its snapshot would be to go on in another history."""
    other = path.parent / "apart"
    fill(path, 50, "first")
    readers = Under(path)
    fill(other, 200, "second")
    with aq.open(other, **SMALL) as queue:  # type: ignore[arg-type]
        queue.compact()
        queue.submit(task_create())
        queue.compact()
    by_a_copy(path, other)
    readers.check()


@pytest.mark.parametrize("count", [0, 30, 200])
def test_files_put_back_into_themselves(path: Path, count: int) -> None:
    """The ring keeps its file, so the history goes on; but the events are others, or are not there
    yet.
    """
    path = path.parent / "in-place"
    with aq.open(path, **SMALL) as queue:  # type: ignore[arg-type]
        for number in range(50):
            queue.submit(task_create(f"both {number} ".encode().ljust(3000)))
        queue.sync()
        shutil.copytree(path, path.parent / "kept")
        history = queue.history
        for number in range(50):
            queue.submit(task_create(f"first {number} ".encode().ljust(3000)))
    readers = Under(path)
    put_back(path, path.parent / "kept")
    if count > 0:
        fill(path, count, "second", 2000)
        with aq.open(path, readonly=True) as after:
            assert after.history == history
    readers.check()


def test_files_put_back_under_a_slow_consumer(tmp_path: Path) -> None:
    """It is in the middle of what was durable, with a part of the segment in memory: what it reads
    on is of the same segment.
    """
    path = tmp_path / "queue"
    large = {"segment_size": 64 << 20}
    fill(path, 1700, "before", 10_000, **large)
    fill(path, 10, "both", 50_000, **large)
    shutil.copytree(path, tmp_path / "kept")
    fill(path, 90, "first", 50_000, **large)
    events = aq.follow(path, after=1700, timeout=5)
    seen = [next(events) for _ in range(20)]
    put_back(path, tmp_path / "kept")
    with aq.open(path, **{**SMALL, **large}) as queue:  # type: ignore[arg-type]
        for number in range(90):
            queue.submit(task_create(f"second {number} ".encode().ljust(50_000)))
        queue.sync()
        with pytest.raises(HistoryChangedError):
            seen += events
    found = {event.task_spec.payload.data.split()[0] for event in seen}
    assert found == {b"both", b"first"}


def test_a_position_stays_behind_its_event_after_a_loss_of_power(tmp_path: Path) -> None:
    """The event is there; what said that it is durable is not, and the next writer writes it again
    in another place.
    """
    path = tmp_path / "queue"
    with aq.open(path, ring_size=65536, compaction=None) as queue:
        queue.submit(task_create(b"first"))
        early = (path / "ring").read_bytes()[SLOTS[0] : SLOTS[1] + 16]
        for number in range(10):
            queue.submit(task_create(b"%d" % number))
        events = aq.follow(path, timeout=0)
        assert len(list(events)) == 11
        shutil.copytree(path, tmp_path / "killed")
    ring = bytearray((tmp_path / "killed" / "ring").read_bytes())
    ring[SLOTS[0] : SLOTS[1] + 16] = early
    (tmp_path / "killed" / "ring").write_bytes(ring)
    put_back(path, tmp_path / "killed")
    segments = len(list(path.glob("wal/*.log")))
    with aq.open(path, readonly=True) as reader:
        assert reader.sequence == 11
    assert list(aq.follow(path, after=events.position, timeout=0)) == []
    with aq.open(path, ring_size=65536, compaction=None) as queue:
        assert queue.recovery.last_sequence == 11
        assert len(list(path.glob("wal/*.log"))) == segments + 1  # written again
        queue.submit(task_create())
        assert [event.sequence for event in aq.follow(path, after=events.position, timeout=0)] == [
            12
        ]
