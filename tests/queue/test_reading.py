"""Read-only queues and following: what a reader sees of a queue in every state, and what a writer notices of it, which is nothing."""

from __future__ import annotations

import copy
import fcntl
import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import directory, reading
from actionqueue.inspection import iterate_records
from children import Child, Line
from cli_tools import kill_a_writer, tree
from queue_tools import IN_MEMORY, SMALL, copy_of, in_child, state_of, task_create

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

WAIT_SECONDS = 60


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="actionqueue-", dir=IN_MEMORY) as made:
        yield Path(made, "queue")


def open_small(path: Path, **options: Any) -> aq.ActionQueue:
    return aq.open(path, **{"compaction": None, "durability": "deferred", **SMALL, **options})


def read(path: Path) -> aq.ReadOnlyQueue:
    return aq.open(path, readonly=True)


def fill(queue: aq.ActionQueue, count: int = 20, size: int = 9000) -> None:
    for _ in range(count):
        queue.submit(task_create(b"x" * size))


def state(reader: aq.ReadOnlyQueue) -> dict[str, Any]:
    from actionqueue.jsonform.projection import projection_to_json

    return projection_to_json(reader.projection)


# --- Every state of a queue ------------------------------------------------------------------------------------------


def test_a_closed_queue(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue)
        expected = state_of(queue)
    with read(path) as reader:
        assert state(reader) == expected
        assert (reader.sequence, reader.durable_sequence) == (20, 20)
        assert not reader.has_writer
        assert reader.snapshot_damage is None
        assert reader.path == os.path.realpath(path)
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
        assert state(reader) == expected
        assert (reader.sequence, reader.durable_sequence) == (5, 3)
        assert reader.refresh() == 0
        assert (reader.sequence, reader.durable_sequence) == (5, 3)
        assert list(reader.follow(timeout=0)) == []
        assert [event.sequence for event in reader.follow(after=0, timeout=0)] == [1, 2, 3]
        # Its next writer makes them durable, and the reader goes on from where it is.
        with open_small(killed) as queue:
            queue.submit(task_create(), "immediate")
            assert reader.refresh() == 1
            assert state(reader) == state_of(queue)
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
            assert state(reader) == expected
            assert reader.refresh() == 0
            queue.sync()
            assert reader.refresh() == 1
            assert state(reader) == state_of(queue)


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
                assert state(reader) == expected
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
    for name in ("empty", "file", "LOCK only", "preparing", "missing", "missing/queue", "file/queue"):
        for call in (read, aq.follow):
            with pytest.raises(aq.NotAQueueError) as refusal:
                call(tmp_path / name)
            assert refusal.value.path == os.path.realpath(tmp_path / name)
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
        assert state(reader) == expected
        assert isinstance(reader.snapshot_damage, aq.CorruptLogError)
        assert reader.snapshot_damage.path == str(Path(reader.path, "snapshots", newest.name))


def test_a_newer_format_is_refused(path: Path) -> None:
    open_small(path).close()
    [segment] = (path / "wal").glob("*.log")
    content = bytearray(segment.read_bytes())
    for header in (0, 4096):
        content[header + 8 : header + 12] = (99).to_bytes(4, "little")
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


# --- Nothing is touched ----------------------------------------------------------------------------------------------


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
    if os.geteuid() != 0:
        pytest.fail("this test changes its user: run it as root")

    def work_as_nobody() -> Any:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return work()

    return in_child(work_as_nobody)


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


# --- Races with a writer ---------------------------------------------------------------------------------------------


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


def test_a_writer_waits_for_a_look_that_takes_long(path: Path) -> None:
    open_small(path).close()
    opened: list[Any] = []

    def work() -> None:
        try:
            opened.append(open_small(path))
        except aq.LockedError as error:
            opened.append(error)

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


@pytest.mark.parametrize("visit", ["nothing", "opens_and_closes", "compacts", "is_killed", "stays"])
@pytest.mark.parametrize("before", ["closed", "killed", "live"])
@pytest.mark.parametrize("place", ["load_newest_snapshot", "LogReader", "LogFollower"])
def test_a_writer_that_comes_in_the_middle(path: Path, monkeypatch: pytest.MonkeyPatch, visit: str, before: str, place: str) -> None:
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
            assert state(reader) == state_of(queue)


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
        commands = [task_create(payload_of(begin + index)) for index in range(unit_size(queue.sequence))]
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


# --- Refreshing and following ----------------------------------------------------------------------------------------


def test_refresh_goes_on_over_rotation_restart_and_compaction(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue, 3)
        queue.sync()
        reader = read(path)
        projection = reader.projection
        fill(queue, 20)
        queue.compact()
        assert reader.refresh() == 20
    with open_small(path) as queue:
        fill(queue, 20)
        queue.compact()
        assert reader.refresh() == 20
        assert reader.projection is projection
        # From here on the log begins behind it, and everything is read anew.
        for _ in range(3):
            fill(queue, 20)
            queue.compact()
        assert reader.refresh() == 60
        assert reader.projection is not projection
        assert projection.latest_sequence == 43
        assert state(reader) == state_of(queue)
        queue.submit(task_create(), "immediate")
        assert reader.refresh() == 1


def test_a_batch_is_seen_whole(path: Path) -> None:
    with open_small(path, segment_size=2**22) as queue, read(path) as reader:
        queue.submit_many([task_create() for _ in range(1000)], "immediate")  # more than are applied in one turn
        assert reader.refresh() == 1000


def test_queries_while_it_refreshes(path: Path) -> None:
    """They see a batch whole or not at all."""
    with open_small(path, segment_size=2**22) as queue, read(path) as reader:
        is_done = threading.Event()
        seen: list[int] = []

        def ask() -> None:
            while not is_done.is_set():
                seen.append(reader.projection.counts().tasks)

        asker = threading.Thread(target=ask)
        asker.start()
        for _ in range(3):
            queue.submit_many([task_create() for _ in range(40_000)], "immediate")
            reader.refresh()
        is_done.set()
        asker.join()
        assert seen == sorted(seen)
        assert {tasks % 40_000 for tasks in seen} == {0}
        assert reader.sequence == 120_000


def test_follow_begins_where_it_is_told_to(path: Path) -> None:
    with open_small(path) as queue:
        fill(queue, 20)
        queue.sync()
        with read(path) as reader:
            queue.submit(task_create(), "immediate")
            assert [event.sequence for event in reader.follow(timeout=0)] == [21]
            assert [event.sequence for event in reader.follow(after=18, timeout=0)] == [19, 20, 21]
            assert reader.sequence == 20
        assert [event.sequence for event in queue.follow(timeout=0)] == []
        assert [event.sequence for event in queue.follow(after=20, timeout=0)] == [21]
        assert [event.sequence for event in aq.follow(path, timeout=0)] == list(range(1, 22))
        for after in (21, 22, 2**64 - 2, 2**64 - 1):
            assert list(aq.follow(path, after=after, timeout=0)) == []


@pytest.mark.parametrize(
    "options", [{"after": -1}, {"after": 2**64}, {"timeout": -1}, {"poll_seconds": -0.1}, {"timeout": float("nan")}], ids=str
)
def test_follow_of_numbers_out_of_range(path: Path, options: dict[str, Any]) -> None:
    with open_small(path) as queue:
        for call in (lambda **more: aq.follow(path, **more), queue.follow):
            with pytest.raises(ValueError, match=r"sequence|seconds"):
                call(**options)


def test_follow_waits_for_what_comes(path: Path) -> None:
    with open_small(path) as queue:
        events = queue.follow()
        got: list[int] = []
        follower = threading.Thread(target=lambda: got.extend(next(events).sequence for _ in range(60)))
        follower.start()
        for _ in range(20):
            queue.submit_many([task_create(b"x" * 3000) for _ in range(3)])
        queue.sync()
        follower.join(WAIT_SECONDS)
        assert got == list(range(1, 61))


def test_follow_of_what_was_compacted_away(path: Path) -> None:
    with open_small(path) as queue:
        begun = aq.follow(path, timeout=0)
        fill(queue, 2)
        queue.sync()
        assert next(begun).sequence == 1
        for _ in range(3):
            fill(queue)
            queue.compact()
        first = min(int(file.name.split("-")[1].removesuffix(".log")) for file in (path / "wal").glob("*.log"))
        with pytest.raises(aq.CompactedError) as refusal:
            aq.follow(path)
        assert refusal.value.first_sequence == first > 1
        # One that is under way has its segment's file still, and then goes on or says the same.
        with pytest.raises(aq.CompactedError):
            list(begun)
        assert [event.sequence for event in aq.follow(path, after=first - 1, timeout=0)] == list(range(first, 63))
        with read(path) as reader:
            assert list(reader.follow(timeout=0)) == []


def test_a_poll_that_ends(path: Path) -> None:
    with open_small(path):
        assert list(aq.follow(path, timeout=0.02, poll_seconds=0.001)) == []


# --- The handle ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"durability": "deferred"}, {"segment_size": 65536}, {"ring_size": 65536}, {"sector_size": 512}, {"compaction": None}],
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
