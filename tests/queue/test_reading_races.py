"""Readers beside writers that come and go: neither is refused, delayed or misled."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import directory, reading
from tests.support.compaction import WAIT_SECONDS
from tests.support.crash.children import Child, Line
from tests.support.queues import copy_of, fill, open_small, read, state_of, task_create

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


# --- Races with a writer --------------------------------------------------------------------------


def test_queries_get_their_turn_beside_refreshes_without_a_pause(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue, 3)
        queue.sync()
        with aq.open(path, readonly=True) as reader:
            has_answers, was_in_time = threading.Event(), threading.Event()

            def refresh() -> None:
                for _ in range(100_000):
                    reader.refresh()
                    if has_answers.is_set():
                        was_in_time.set()
                        return

            refreshing = threading.Thread(target=refresh)
            refreshing.start()
            for _ in range(20):
                assert reader.projection.latest_sequence > 0
            has_answers.set()
            refreshing.join()
            assert was_in_time.is_set()


@pytest.mark.platform("fork")
def test_a_look_at_the_lock_never_refuses_a_writer(path: Path) -> None:
    """A reader has the lock shared for an instant, and may be scheduled away in it."""
    open_small(path).close()

    def look(line: Line) -> None:
        line.say("ready")
        while True:
            directory.has_writer(str(path))

    lookers = [Child(look) for _ in range(3)]
    try:
        for looker in lookers:
            looker.expect("ready")
        for _ in range(60):
            with open_small(path), pytest.raises(aq.LockedError):
                open_small(path)
    finally:
        for looker in lookers:
            looker.kill()
            looker.end()


@pytest.mark.platform("open files")
def test_a_writer_waits_for_a_look_that_takes_long(path: Path) -> None:
    open_small(path).close()
    opened: list[Any] = []

    def work() -> None:
        try:
            opened.append(open_small(path))
        except aq.LockedError as error:
            opened.append(error)

    import fcntl  # not on Windows

    with (path / "LOCK").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        opener = threading.Thread(target=work)
        opener.start()
        opener.join(0.05)
        assert opened == []
    opener.join(WAIT_SECONDS)
    assert isinstance(opened[0], aq.ActionQueue)
    opened[0].close()


class Visit:
    """A writer that comes while a reader is between two of its files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def nothing(self) -> None:
        pass

    def opens_and_closes(self) -> None:
        with open_small(self.path) as queue:
            fill(queue, 9)

    def compacts(self) -> None:
        with open_small(self.path) as queue:
            for _ in range(3):
                fill(queue, 10)
                queue.compact()

    def is_killed(self) -> None:
        def work(_line: Line) -> None:
            queue = open_small(self.path)
            fill(queue, 10)
            os.kill(os.getpid(), signal.SIGKILL)

        Child(work).end()

    def stays(self) -> None:
        self.queue = open_small(self.path)
        fill(self.queue, 10)


@pytest.mark.platform("fork")
@pytest.mark.parametrize("visit", ["nothing", "opens_and_closes", "compacts", "is_killed", "stays"])
@pytest.mark.parametrize("before", ["closed", "killed", "live"])
@pytest.mark.parametrize("place", ["load_newest_snapshot", "LogReader", "LogFollower"])
def test_a_writer_that_comes_in_the_middle(
    path: Path, monkeypatch: pytest.MonkeyPatch, visit: str, before: str, place: str
) -> None:
    queue = open_small(path)
    for _ in range(2):
        fill(queue, 8)
        queue.compact()
    fill(queue, 3, 10)
    start = path
    if before == "killed":
        start = copy_of(path, path.with_name("killed"))
    if before != "live":
        queue.close()
    visitor = Visit(start)
    real = getattr(reading, place)
    visits = 0

    def call_and_visit(*arguments: Any) -> Any:
        nonlocal visits
        found = real(*arguments)
        visits += 1
        if visits == 1:
            if before == "live":
                queue.close()
            getattr(visitor, visit)()
        return found

    monkeypatch.setattr(reading, place, call_and_visit)
    with read(start) as reader:
        monkeypatch.undo()
        assert reader.projection.counts().tasks == reader.sequence >= 16
        reader.refresh()
        queue.close()
        if visit == "stays" and visits:
            visitor.queue.close()
        with open_small(start) as queue:
            queue.submit(task_create(), "immediate")
            reader.refresh()
            assert state_of(reader) == state_of(queue)


def test_where_nobody_was_there_damage_is_told_at_once(path: Path) -> None:
    open_small(path).close()
    calls = 0

    def fail() -> None:
        nonlocal calls
        calls += 1
        raise aq.CorruptLogError("wal", 1, 2, "record_invalid")

    with pytest.raises(aq.CorruptLogError):
        directory.read_undisturbed(str(path), fail)
    assert calls == 1
    with open_small(path), pytest.raises(aq.CorruptLogError):
        directory.read_undisturbed(str(path), fail)
    assert calls == 1 + directory.READ_TRIES


def unit_size(sequence: int) -> int:
    """Return how many commands the unit that begins behind this sequence has."""
    return (1, 1, 3, 2, 1, 5)[sequence % 6]


ENDS = set()
_end = 0
while _end < 200_000:
    _end += unit_size(_end)
    ENDS.add(_end)
ENDS.add(0)


def payload_of(sequence: int) -> bytes:
    return str(sequence).encode() * (1 + sequence % 7 * sequence % 400)


def submit_units(queue: aq.ActionQueue, count: int, random: Random) -> None:
    for _ in range(count):
        begin = queue.sequence + 1
        commands = [
            task_create(payload_of(begin + index)) for index in range(unit_size(queue.sequence))
        ]
        queue.submit_many(commands, random.choice(("deferred", "deferred", "immediate")))


def live_as_writer(path: Path, seed: int, units: int) -> Callable[[Line], None]:
    """Submit, compact, close and open again, and die in the middle of it."""

    def work(_line: Line) -> None:
        random = Random(seed)
        while True:
            queue = open_small(path)
            for _ in range(random.randrange(1, 8)):
                submit_units(queue, random.randrange(1, units), random)
                match random.randrange(6):
                    case 0:
                        queue.compact()
                    case 1:
                        queue.snapshot()
                    case 2 if random.random() < 0.3:
                        os.kill(os.getpid(), signal.SIGKILL)
            queue.close()

    return work


def live_as_reader(path: Path) -> Callable[[Line], None]:
    """See prefixes only, whole units, growing."""

    def work(line: Line) -> None:
        line.say("ready")
        seen = reloads = opens = 0
        while not path.with_name("done").exists():
            with read(path) as reader:
                opens += 1
                last = reader.sequence
                for _ in range(10):
                    projection = reader.projection
                    assert reader.sequence in ENDS
                    assert projection.counts().tasks == reader.sequence
                    assert reader.sequence >= last
                    last = reader.sequence
                    assert reader.refresh() == reader.sequence - last
                    reloads += projection is not reader.projection
                seen = max(seen, reader.sequence)
        line.say("seen", seen, opens, reloads)

    return work


def live_as_follower(path: Path) -> Callable[[Line], None]:
    """See every event once and in order, but for what was compacted away."""

    def work(line: Line) -> None:
        line.say("ready")
        last = skips = 0
        while not path.with_name("done").exists():
            try:
                for event in aq.follow(path, after=last, timeout=0.02, poll_seconds=0.001):
                    assert event.sequence == last + 1
                    assert event.task_spec.payload.data == payload_of(event.sequence)
                    last = event.sequence
                assert last in ENDS
            except aq.CompactedError as error:
                assert error.first_sequence > last + 1
                with read(path) as reader:
                    last = reader.sequence
                    skips += 1
        line.say("seen", last, skips)

    return work


@pytest.mark.platform("fork")
def test_readers_of_a_queue_whose_writers_come_and_go(path: Path, long_form: bool) -> None:
    with open_small(path) as queue:
        submit_units(queue, 50, Random(0))
    readers = [Child(live_as_reader(path)), Child(live_as_follower(path))]
    for reader in readers:
        reader.expect("ready")
    lives = 150 if long_form else 8
    for seed in range(lives):
        writer = Child(live_as_writer(path, seed, 60))
        said = writer.end()  # it says nothing unless it breaks, by LockedError for instance
        assert said == []
        assert writer.was_killed
        with read(path) as now:
            if now.sequence > 100_000:
                break
    path.with_name("done").touch()
    (seen, opens, _), (followed, _) = (reader.expect("seen") for reader in readers)
    for reader in readers:
        assert reader.end() == []
    with open_small(path) as queue:
        assert queue.sequence in ENDS
        assert 0 < seen <= queue.sequence
        assert 0 < followed <= queue.sequence
        assert opens > 0
