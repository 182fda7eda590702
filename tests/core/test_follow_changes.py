"""Following a log whose past is taken away meanwhile: by a compaction, or by a repair."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.core import log_model as model
from tests.support.core.crash_images import events, numbered
from tests.support.core.damaged_queues import RING, flip, put, segment_path
from tests.support.core.log_driver import CoreError, Log, refusal
from tests.support.core.memory_io import Call, Disk, MemoryIo, home
from tests.support.core.snapshot_driver import Follower, compact, opened_log, repair, segments_of

# --- Compaction -----------------------------------------------------------------------------------


def compacting_log() -> tuple[Disk, Log]:
    disk = home()
    log = opened_log(disk)
    for number in range(1, 8):
        log.commit(numbered(number, 24_000))
    compact(log.io)
    return disk, log


def test_compaction_under_its_feet() -> None:
    """It goes on where the log still has the next event, else it is told where the log begins."""
    for read in range(13):
        disk, log = compacting_log()
        io = MemoryIo(disk)
        follower = Follower(io)
        found = [follower.next() for _ in range(min(read, 7))]
        for number in range(8, 13):
            log.commit(numbered(number, 24_000))
        found += [follower.next() for _ in range(read - 7)]
        assert found == events(1, read, 24_000)
        assert compact(log.io).dropped_segments > 0
        oldest = segments_of(disk)[0][1]
        try:
            rest = follower.rest()
        except CoreError as error:
            assert error.status == "compacted"
            assert error.fault.first_sequence == oldest
            assert read + 1 < oldest
            assert refusal(follower.next).status == "compacted"
        else:
            assert rest == events(read + 1, 12, 24_000)
            log.commit(b"on")
            assert follower.rest() == [(13, b"on")]
        follower.close()
        assert not io.handles
        log.kill()


def test_beginning_in_what_was_dropped() -> None:
    disk, log = compacting_log()
    for number in range(8, 13):
        log.commit(numbered(number, 24_000))
    compact(log.io)
    oldest = segments_of(disk)[0][1]
    for after in range(13):
        if after + 1 < oldest:
            fault = refusal(lambda after=after: Follower(MemoryIo(disk), after))
            assert (fault.status, fault.first_sequence) == ("compacted", oldest)
        else:
            with Follower(MemoryIo(disk), after) as follower:
                assert follower.rest() == events(after + 1, 12, 24_000)
    log.kill()


def test_compaction_between_any_two_calls() -> None:
    """Whenever segments vanish, it delivers the right events or tells that they are gone."""
    disk, log = compacting_log()
    for number in range(8, 13):
        log.commit(numbered(number, 24_000))
    log.close()
    io = MemoryIo(disk.copy())
    with Follower(io) as follower:
        follower.rest()
    for call in io.calls:
        image = disk.copy()
        following = MemoryIo(image)
        following.before_call = lambda made, at=call.index, image=image: (
            compact(MemoryIo(image)) and None if made.index == at else None
        )
        found: list[tuple[int, bytes]] = []
        try:
            with Follower(following) as follower:
                while (event := follower.next()) is not None:
                    found.append(event)
        except CoreError as error:
            assert error.status == "compacted"
            assert len(found) + 1 < segments_of(image)[0][1]
        else:
            assert len(found) == 12
        assert found == events(1, len(found), 24_000)
        assert not following.handles


# --- Repair ---------------------------------------------------------------------------------------


def repaired_log(damaged: int, count: int = 6) -> Disk:
    """Return the disk of a log that lost what comes from the event `damaged` on, and goes on behind
    it.
    """
    disk = home()
    log = opened_log(disk)
    for number in range(1, count + 1):
        log.commit(numbered(number))
    log.kill()
    flip(disk, segment_path(disk), disk.bytes_of(segment_path(disk)).index(numbered(damaged)))
    put(disk, RING, model.RING_DATA, bytes(65536))  # which has it, too
    return disk


def test_a_repair_under_its_feet() -> None:
    """A repair begins a new history, also for a follower that has seen nothing that was lost: it
    says so behind the damage.
    """
    for read in range(1, 5):
        disk = repaired_log(5)
        with Follower(MemoryIo(disk)) as follower:
            assert [follower.next() for _ in range(read)] == events(1, read)
            assert repair(MemoryIo(disk)).kept == 4
            with opened_log(disk, seed=3) as log:
                log.commit(b"five")
                assert [follower.next() for _ in range(4 - read)] == events(read + 1, 4)
                assert refusal(follower.next).reason == "record_invalid"
                assert refusal(follower.next).status == "history_changed"


def test_a_repair_under_the_feet_of_one_that_has_read_nothing() -> None:
    disk = repaired_log(5)
    with Follower(MemoryIo(disk)) as follower:
        repair(MemoryIo(disk))
        for _ in range(2):
            fault = refusal(follower.next)
            assert fault.status == "history_changed"


def test_a_repair_that_gave_up_what_was_delivered() -> None:
    disk = home()
    log = opened_log(disk)
    for number in range(1, 7):
        log.commit(numbered(number))
    log.kill()
    path = segment_path(disk)
    place = disk.bytes_of(path).index(numbered(5))
    with Follower(MemoryIo(disk)) as follower:
        assert follower.rest() == events(1, 6)
        flip(disk, path, place)
        put(disk, RING, model.RING_DATA, bytes(65536))
        assert repair(MemoryIo(disk)).kept == 4
        with opened_log(disk, seed=3) as log:
            log.commit(b"five")
            log.commit(b"six")
            log.commit(b"seven")
            for _ in range(2):
                fault = refusal(follower.next)
                assert fault.status == "history_changed"


def test_following_the_repaired_log() -> None:
    disk = repaired_log(5)
    repair(MemoryIo(disk))
    with opened_log(disk, seed=3) as log:
        log.commit(b"five")
        with Follower(MemoryIo(disk), after=4) as follower:
            assert follower.rest() == [(5, b"five")]
        assert refusal(lambda: Follower(MemoryIo(disk), after=3)).status == "compacted"


# --- Beginning behind an event that is not durable yet --------------------------------------------


def drains(log: Log) -> None:
    """What was in the ring goes to the segment, and other events into its place in the ring."""
    for number in range(3):
        log.append(numbered(number, 30_000))


def recovers(log: Log) -> None:
    """The process ends, and the next one writes what only the ring had into a new segment, and
    replaces the ring.
    """
    assert log.io is not None
    log.kill()
    opened_log(log.io.disk, seed=2).kill()


@pytest.mark.parametrize("act", [drains, recovers])
def test_an_event_that_moves_while_it_is_looked_for_is_there(act: Callable[[Log], None]) -> None:
    """At whatever call of the follower's that happens."""
    happened = 0
    for at in range(100):
        disk = home()
        log = opened_log(disk, segment_size=2**18)
        log.commit(numbered(1))
        for number in range(2, 6):
            log.append(numbered(number))
        io = MemoryIo(disk)

        def before(call: Call, at: int = at, log: Log = log) -> None:
            nonlocal happened
            if call.index == at:
                happened += 1
                act(log)

        io.before_call = before
        with Follower(io, after=5) as follower:
            found = follower.rest()
        assert found in (
            [],
            [(6, numbered(0, 30_000)), (7, numbered(1, 30_000)), (8, numbered(2, 30_000))][
                : len(found)
            ],
        )
        log.kill()
    assert 5 < happened < 100
