"""Following a log: what is durable, whole, in order and once, whatever the writer or a crash does
meanwhile.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from tests.support.core import log_model as model
from tests.support.core.crash_images import Session, events, numbered
from tests.support.core.damaged_queues import RING, flip, put, segment_path
from tests.support.core.door import ffi
from tests.support.core.log_driver import CoreError, Log, refusal
from tests.support.core.memory_io import RETRIED, Call, Disk, Fault, MemoryIo, home
from tests.support.core.snapshot_driver import (
    Follower,
    compact,
    data_up_to,
    opened_log,
    segments_of,
)

READING = {"open", "close", "read", "size", "list", "check_directory", "check_same", "identity"}


# --- Every step of sessions, against what was promised --------------------------------------------


@dataclass
class Watcher:
    """Followers of one disk, begun at several places, each held against what is durable."""

    disk: Disk
    ios: list[MemoryIo] = field(default_factory=list)
    followers: list[Follower] = field(default_factory=list)
    seen: list[list[tuple[int, bytes]]] = field(default_factory=list)
    after: list[int] = field(default_factory=list)

    def begin(self, after: int) -> None:
        self.ios.append(MemoryIo(self.disk))
        self.followers.append(Follower(self.ios[-1], after))
        self.seen.append([])
        self.after.append(after)

    def look(self, session: Session, *, is_behind: bool = False) -> None:
        """Let all of them read. What is durable arrives, and nothing else."""
        data = [one for unit in session.account.units for one in unit]
        durable = session.account.durable
        if session.log is not None and session.log.log != ffi.NULL:
            durable = max(durable, session.log.durable_sequence)  # a rotation syncs, too
        for number, follower in enumerate(self.followers):
            self.seen[number] += follower.rest()
            sequences = [sequence for sequence, _ in self.seen[number]]
            assert sequences == list(
                range(self.after[number] + 1, self.after[number] + 1 + len(sequences))
            )
            assert [found for _, found in self.seen[number]] == data[
                self.after[number] : self.after[number] + len(sequences)
            ]
            last = sequences[-1] if sequences else self.after[number]
            assert last <= max(durable, self.after[number])
            assert is_behind or last == max(durable, self.after[number])

    def end(self) -> None:
        for follower, io in zip(self.followers, self.ios, strict=True):
            follower.close()
            assert not io.handles
            assert not io.mistakes
            assert {call.operation for call in io.calls} <= READING


def step(session: Session, random: Random) -> None:
    number = 1 + sum(map(len, session.account.units))
    size = random.choice((8, 8, 300, 9_000, 30_000, 70_000))
    entries = [
        numbered(number + index, size if index == 0 else 8)
        for index in range(random.choice((1, 1, 1, 2, 5)))
    ]
    action = random.choice(
        ("append", "append", "append", "commit", "commit", "sync", "close", "kill", "compact")
    )
    if action in ("append", "commit"):
        getattr(session, action)(*entries)
    elif action == "sync":
        session.sync()
    elif action == "compact":
        compact(session.io, drops_segments=False)
    else:
        getattr(session, action)()
        session.open()


@pytest.mark.parametrize("maps", [True, False])
def test_durable_events_in_order_and_once(maps: bool, long_form: bool) -> None:
    """Across syncs, batches, rotation, records larger than the ring, clean and unclean ends."""
    for number in range(60 if long_form else 7):
        random = Random(number)
        session = Session(home(), maps=maps, sector_size=random.choice((0, 0, 512)))
        session.open()
        watcher = Watcher(session.disk)
        watcher.begin(0)
        places = [3, 20]
        for turn in range(25):
            step(session, random)
            if turn == 12:
                watcher.begin(0)
            while places and session.account.durable >= places[0]:
                watcher.begin(places.pop(0))
            watcher.look(session)
        session.close()
        watcher.look(session)
        watcher.end()


def test_at_every_call_of_the_writer() -> None:
    """Between any two of its calls: never more than is durable, and at every step's end all of
    that.
    """
    session = Session(home())
    watcher = Watcher(session.disk)
    is_looking = False

    def watch(call: Call) -> None:
        nonlocal is_looking
        if is_looking or not session.disk.files.get(RING):
            return
        is_looking = True
        # What is durable may be in the ring before the caller knows: then it was synced.
        account = session.account
        known, account.durable = account.durable, account.acknowledged
        watcher.look(session, is_behind=True)
        account.durable = known
        is_looking = False

    session.open()
    assert session.io is not None
    watcher.begin(0)
    session.watch = watch
    session.io.before_call = watch
    for number in range(1, 20):
        session.append(numbered(2 * number - 1, 9_000), numbered(2 * number))
        if number % 3 == 0:
            session.sync()
            watcher.look(session)
        if number % 7 == 0:
            session.kill()
            session.open()
            watcher.look(session)
    session.close()
    watcher.look(session)
    watcher.end()


# --- Where it begins ------------------------------------------------------------------------------


def test_beginning_anywhere() -> None:
    disk = home()
    with opened_log(disk) as log:
        log.commit(numbered(1))
        log.commit(*data_up_to(5)[1:])
        for number in range(6, 12):
            log.commit(numbered(number, 24_000))
    expected = events(1, 5) + events(6, 11, 24_000)
    for after in range(12):
        with Follower(MemoryIo(disk), after) as follower:
            assert follower.rest() == expected[after:]
    for after in (12, 13, 2**64 - 1, 2**64 - 2, 2**63):
        fault = refusal(lambda after=after: Follower(MemoryIo(disk), after))
        assert (fault.status, fault.last_sequence) == ("history_changed", after)


@pytest.mark.parametrize("maps", [True, False])
def test_beginning_behind_what_is_not_durable_yet(maps: bool) -> None:
    """It waits for what comes; a position behind the last event that was appended is another
    history's.
    """
    disk = home()
    with Log(MemoryIo(disk, seed=1, maps=maps)) as log:
        log.commit(numbered(1))
        for number in range(2, 6):
            log.append(numbered(number, 20_000 if number == 3 else 8))
        for after in range(1, 6):
            with Follower(MemoryIo(disk), after) as follower:
                assert follower.rest() == []
        assert refusal(lambda: Follower(MemoryIo(disk), 6)).status == "history_changed"
        with Follower(MemoryIo(disk), 5) as follower:
            log.append(b"six")
            log.sync()
            assert follower.rest() == [(6, b"six")]


def test_an_empty_queue_and_none() -> None:
    disk = home()
    assert refusal(lambda: Follower(MemoryIo(disk))).status == "not_a_queue"
    with opened_log(disk) as log, Follower(MemoryIo(disk)) as follower:
        assert follower.next() is None
        log.append(b"1")
        assert follower.next() is None
        log.sync()
        assert follower.next() == (1, b"1")
        assert follower.next() is None


# --- Ends of segments -----------------------------------------------------------------------------


def superseded_log() -> tuple[Disk, list[tuple[int, bytes]]]:
    """Return a log whose first segment holds, behind its end, events whose sequences others have
    since a restart.
    """
    session = Session(home(), maps=False)
    session.open()
    session.commit(b"one")
    session.append(b"lost 2")
    session.append(b"lost 3")
    session.kill()
    disk = session.disk.copy()
    # The first of the two is torn; the other one still verifies.
    data = disk.bytes_of(segment_path(disk))
    flip(disk, segment_path(disk), data.index(b"lost 2"))
    with opened_log(disk, seed=5) as log:
        assert log.recovered == [b"one"]
        log.commit(b"two 2")
        log.commit(b"two 3")
    return disk, [(1, b"one"), (2, b"two 2"), (3, b"two 3")]


def test_superseded_events_are_never_delivered() -> None:
    disk, expected = superseded_log()
    assert len(segments_of(disk)) == 2
    for after in range(4):
        with Follower(MemoryIo(disk), after) as follower:
            assert follower.rest() == expected[after:]


def test_a_follower_that_was_there_before_the_restart() -> None:
    """It stands where the next record would go; that one was superseded, and others have its
    sequence.
    """
    session = Session(home(), maps=False)
    session.open()
    session.commit(b"one")
    io = MemoryIo(session.disk)
    with Follower(io) as follower:
        assert follower.rest() == [(1, b"one")]
        session.append(b"lost 2")
        session.kill()
        path = segment_path(session.disk)
        data = session.disk.bytes_of(path)
        flip(session.disk, path, data.index(b"lost 2"))
        with opened_log(session.disk, seed=5) as log:
            assert log.recovered == [b"one"]
            flip(session.disk, path, data.index(b"lost 2"))  # the medium may give it back
            log.commit(b"two 2")
            assert follower.rest() == [(2, b"two 2")]


def test_an_error_while_it_looks_for_the_successor_opens_no_way_past_the_end(
    long_form: bool,
) -> None:
    """Whichever call fails, and however often it is asked again: no superseded event is
    delivered.
    """
    disk, expected = superseded_log()
    io = MemoryIo(disk)
    with Follower(io) as follower:
        follower.rest()
    for first in range(len(io.calls)):
        for second in range(first + 1, len(io.calls) + 20, 1 if long_form else 7):
            failing = MemoryIo(disk)
            failing.fault = Fault(first, errno.EIO)
            found = asked_until_the_end(failing, second)
            assert found == expected, (first, second)
            assert not failing.handles
            assert not failing.mistakes


def asked_until_the_end(io: MemoryIo, second: int) -> list[tuple[int, bytes]]:
    """Follow to the end, with another failing call; every refusal is answered by asking again."""
    found: list[tuple[int, bytes]] = []
    follower = None
    while True:
        try:
            if follower is None:
                follower = Follower(io)
            event = follower.next()
        except CoreError as error:
            assert error.status == "io_error"
            io.fault = Fault(second, errno.EIO)
            continue
        if event is None:
            follower.close()
            return found
        found.append(event)


def test_every_call_fails() -> None:
    """Once, for good, short or interrupted: what was delivered was right, and asked again it goes
    on.
    """
    disk = home()
    with opened_log(disk) as log:
        for number in range(1, 7):
            log.commit(numbered(number, 24_000))
    expected = events(1, 6, 24_000)
    io = MemoryIo(disk)
    with Follower(io) as follower:
        follower.rest()
    for call in io.calls:
        for fault in (
            Fault(0, errno.EIO),
            Fault(0, errno.EMFILE),
            Fault(0, errno.EINTR),
            Fault(0, 0, short=True),
        ):
            failing = MemoryIo(disk, fault=replace(fault, index=call.index))
            is_harmless = fault.error in (0, errno.EINTR) and (
                call.operation in RETRIED or fault.error == 0
            )
            found, failures = [], 0
            follower = None
            while True:
                try:
                    follower = follower or Follower(failing)
                    event = follower.next()
                except CoreError as error:
                    assert error.fault.system_error == fault.error
                    failures += 1
                    continue
                if event is None:
                    break
                found.append(event)
            follower.close()
            assert found == expected
            assert failures == (0 if is_harmless or call.operation == "close" else 1), (call, fault)


# --- What stands between events, and in buffers ---------------------------------------------------


def test_markers_and_pads_are_passed_over() -> None:
    for sector in (512, 4096):
        disk = home()
        io = MemoryIo(disk)
        follower = None
        for number in range(1, 8):
            with opened_log(disk, seed=number, sector_size=sector) as log:
                follower = follower or Follower(io)
                log.commit(numbered(number, 700))
                assert follower.rest() == [(number, numbered(number, 700))]
            assert follower.rest() == []
        assert follower is not None
        follower.close()


def test_large_records_between_small_ones() -> None:
    """Larger than the ring, and than what the follower reads at once."""
    disk = home()
    sizes = [8, 70_000, 8, 1_500_000, 8, 16_000_000, 8]
    with opened_log(disk, segment_size=2**25) as log, Follower(MemoryIo(disk)) as follower:
        for number, size in enumerate(sizes, 1):
            log.commit(numbered(number, size))
            if number % 2:
                assert follower.rest() == [
                    (n, numbered(n, sizes[n - 1])) for n in range(max(1, number - 1), number + 1)
                ]


def test_a_stale_buffer_is_read_again() -> None:
    """It read ahead, over bytes that were still zeros or half of a record."""
    disk = home()
    with opened_log(disk) as log, Follower(MemoryIo(disk)) as follower:
        log.commit(b"1")
        log.append(b"2")
        assert follower.rest() == [(1, b"1")]
        log.sync()
        log.append(bytes(20_000))
        assert follower.rest() == [(2, b"2")]
        log.commit(b"4")
        assert follower.rest() == [(3, bytes(20_000)), (4, b"4")]


# --- The ring -------------------------------------------------------------------------------------


def test_torn_slots() -> None:
    """While one is written the other one counts; without both nothing new is durable, and nothing
    is wrong.
    """
    disk = home()
    with opened_log(disk) as log, Follower(MemoryIo(disk)) as follower:
        log.commit(b"1")
        log.commit(b"2")
        slots = [disk.bytes_of(RING)[at : at + 16] for at in model.RING_SLOTS]
        newest = max(range(2), key=lambda number: int.from_bytes(slots[number][:8], "little"))
        put(disk, RING, model.RING_SLOTS[newest], slots[newest][:8] + bytes(8))
        assert follower.rest() == [(1, b"1")]
        put(disk, RING, model.RING_SLOTS[1 - newest], b"\xff" * 16)
        assert follower.rest() == []
        put(disk, RING, model.RING_SLOTS[newest], slots[newest])
        assert follower.rest() == [(2, b"2")]


def test_a_ring_that_is_missing_replaced_or_foreign() -> None:
    disk = home()
    with opened_log(disk) as log, Follower(MemoryIo(disk)) as follower:
        log.commit(b"1")
        ring = disk.files.pop(RING)
        assert follower.rest() == []
        disk.files[RING] = ring
        assert follower.rest() == [(1, b"1")]
    with opened_log(disk, seed=2) as log, Follower(MemoryIo(disk), after=1) as follower:
        log.commit(b"2")
        foreign = model.ring_bytes(bytes(16), bytes(65536), (9, None))
        mine = disk.files[RING]
        disk.files[RING] = Disk({RING: foreign}).files[RING]
        assert refusal(follower.next).status == "history_changed"
        disk.files[RING] = mine
        assert refusal(follower.next).status == "history_changed"  # for good
        with Follower(MemoryIo(disk), after=1) as another:
            assert another.rest() == [(2, b"2")]


# --- Damage ---------------------------------------------------------------------------------------


def test_damage_at_or_below_the_durable_end() -> None:
    """It is told, every time it is asked; what lies before it is delivered, and when it is gone,
    the rest.
    """
    for size in (8, 24_000):
        disk = home()
        with opened_log(disk) as log:
            for number in range(1, 7):
                log.commit(numbered(number, size))
            path = next(
                path
                for path in disk.files
                if path.endswith(".log") and numbered(4, 8) in disk.bytes_of(path)[model.DATA :]
            )
            at = disk.bytes_of(path).index(numbered(4, 8), model.DATA)
            flip(disk, path, at)
            with Follower(MemoryIo(disk)) as follower:
                found = [follower.next() for _ in range(3)]
                assert found == events(1, 3, size)
                for _ in range(3):
                    fault = refusal(follower.next)
                    assert (fault.status, fault.reason, fault.path) == (
                        "corrupt",
                        "record_invalid",
                        path,
                    )
                    assert fault.first_sequence == 4
                flip(disk, path, at)
                assert follower.rest() == events(4, 6, size)


def test_what_is_not_durable_is_not_looked_at() -> None:
    disk = home()
    with opened_log(disk, seed=1) as log, Follower(MemoryIo(disk)) as follower:
        log.commit(b"1")
        put(disk, segment_path(disk), log.stats.segment_used, b"\xff" * 100)
        assert follower.rest() == [(1, b"1")]
        assert follower.rest() == []


def test_the_writer_itself_may_follow_what_it_has_only_written() -> None:
    disk = home()
    with opened_log(disk, seed=1) as log, Follower(MemoryIo(disk)) as follower:
        appended: list[tuple[int, bytes]] = []

        def append(size: int) -> None:
            appended.append((len(appended) + 1, numbered(len(appended) + 1, size)))
            assert log.append(appended[-1][1]) == appended[-1][0]

        seen: list[tuple[int, bytes]] = []
        # The second ones go through several segments.
        for count, size in ((3, 8), (40, 5000), (2, 8)):
            for _ in range(count):
                append(size)
            assert log.write_out() == len(appended) > log.durable_sequence
            follower.trust(len(appended))
            seen += follower.rest()
            assert seen == appended
            append(8)
            assert follower.rest() == []  # neither durable nor trusted
        assert len(segments_of(disk)) > 2


def test_a_missing_segment() -> None:
    disk = home()
    with opened_log(disk) as log:
        for number in range(1, 10):
            log.commit(numbered(number, 24_000))
    assert len(segments_of(disk)) > 3
    first = segments_of(disk)[1][1]
    del disk.files[segment_path(disk, 1)]
    with Follower(MemoryIo(disk)) as follower:
        fault = refusal(follower.rest)
        assert (fault.status, fault.reason, fault.segment) == ("corrupt", "segment_missing", 2)
    with Follower(MemoryIo(disk), after=first + 2) as follower:
        assert follower.rest() == events(first + 3, 9, 24_000)
