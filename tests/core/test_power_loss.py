"""Power loss and kills at every point of a session: what was promised comes back, and no position
is ever used twice.
"""

from __future__ import annotations

import errno
from itertools import product
from random import Random
from typing import Any

import pytest

from tests.support.core import log_model as model
from tests.support.core.crash_images import (
    Session,
    check_recovered,
    crash_images,
    long_run,
    numbered,
    sampled_losses,
)
from tests.support.core.log_driver import DIRECTORY, CoreError, Log, entry_of_size, read_stream
from tests.support.core.memory_io import Call, Disk, Fault, Loss, MemoryIo, NoLoss, RandomLoss, home

OPTIONS: dict[str, dict[str, Any]] = {
    "mapped": {},
    "not mapped": {"maps": False},
    "padded": {"sector_size": 512},
    "large sectors": {"sector_size": 4096},
}


def new_session(**options: Any) -> Session:
    return Session(home(), **options)


@pytest.mark.parametrize("options", OPTIONS)
def test_power_loss_at_every_call(options: str) -> None:
    """Nothing, everything, and samples of what was not stable is kept; every image opens, twice,
    with all that was durable.
    """
    session = new_session(**OPTIONS[options])
    count = 0
    for image in crash_images(
        session, long_run, losses=sampled_losses(Random(options), 2 if options == "mapped" else 1)
    ):
        before = image.disk.image(DIRECTORY)
        with Log(MemoryIo(image.disk, seed=1000 + count)) as log:
            check_recovered(log.recovered, image.account, image.account.durable)
            log.commit(b"after")
        with Log(MemoryIo(image.disk, seed=5000 + count)) as again:
            assert again.recovered == [*log.recovered, b"after"]
            assert again.report.is_clean
        check_kept(before, image.disk.image(DIRECTORY))
        count += 1
    assert count > 400


def check_kept(before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """What an opening drops is in quarantine or still where it was."""
    for name, data in before.items():
        if name.startswith("wal/") and name.endswith(".log"):
            used = data.rstrip(b"\0")
            assert after[name].startswith(used[: model.DATA])
            assert after[name] == data or after[name].startswith(used), (
                "bytes of a segment were changed"
            )


def test_power_loss_while_recovering() -> None:
    """Each recovery of an image is itself cut short at every call."""
    random = Random(7)
    outer = list(crash_images(new_session(), long_run, losses=sampled_losses(Random(1), 1)))
    for image in random.sample(outer, 8):
        with Log(MemoryIo(image.disk.copy())) as log:
            expected = log.recovered
        session = Session(image.disk, image.account)
        session.account.acknowledged = session.account.durable
        for inner in crash_images(session, Session.open, losses=sampled_losses(random, 1)):
            with Log(MemoryIo(inner.disk)) as log:
                assert log.recovered == expected
        session.kill()


def test_a_kill_at_every_call_loses_nothing_acknowledged() -> None:
    def watch(call: Call) -> None:
        copies.append((call, session.disk.after_power_loss(NoLoss()), session.account.copy()))

    for options in OPTIONS.values():
        copies: list[tuple[Call, Disk, Any]] = []
        session = new_session(**options)
        session.watch = watch
        long_run(session)
        for call, disk, account in copies:
            with Log(MemoryIo(disk)) as log:
                try:
                    check_recovered(log.recovered, account, account.acknowledged)
                except AssertionError as error:
                    raise AssertionError(f"at {call}: {error}") from error


@pytest.mark.parametrize("sector", [512, 4096])
def test_synced_sectors_are_not_written_again(sector: int) -> None:
    """With padding, a synced write ends with its sector: no later write touches a sector that holds
    a durable event.

    What a recovery takes along into a new segment is durable, too.
    """
    random = Random(5)
    session = new_session(sector_size=sector)
    durable_sectors: dict[tuple[str, int], bytes] = {}

    def check() -> None:
        files = {
            name: data
            for name, data in session.disk.image(DIRECTORY).items()
            if name.endswith(".log")
        }
        for (name, number), data in durable_sectors.items():
            assert files[name][number * sector : (number + 1) * sector] == data
        for name, data in files.items():
            for number in range(-(-len(data.rstrip(b"\0")) // sector)):
                durable_sectors[name, number] = data[number * sector : (number + 1) * sector]

    session.open()
    for step in range(150):
        size = random.choice((1, 40, 500, 20_000, 65_000, 65_536 - 16 - 49, 70_000))
        for _ in range(random.randrange(1, 4)):
            session.append(numbered(step, size))
        if step % 10 == 9:
            session.kill()
            session.open()
        else:
            session.sync()
        assert session.log is not None
        assert session.log.stats.segment_used % sector == 0
        check()
    session.close()


def test_no_position_is_given_to_two_records() -> None:
    """Over sessions that end in every way, a place in a segment has one record, ever."""
    for number in range(8):
        random = Random(number)
        session = new_session(sector_size=random.choice((0, 512)))
        seen: dict[tuple[str, int], bytes] = {}
        for _ in range(15):
            session.open()
            for _ in range(random.randrange(5)):
                step = random.choice((session.append, session.commit))
                step(
                    *(
                        numbered(random.randrange(99), random.choice((8, 300)))
                        for _ in range(random.randrange(1, 4))
                    )
                )
                note_places(session.disk, seen)
            if random.random() < 0.4:
                session.close()
            note_places(session.disk, seen)
            session.kill()
            if random.random() < 0.3:
                session.disk = session.disk.after_power_loss(Loss())
                session.account.acknowledged = session.account.durable
                seen.clear()  # what has left no trace can't come back
                note_places(session.disk, seen)


def note_places(disk: Disk, seen: dict[tuple[str, int], bytes]) -> None:
    image = disk.image(DIRECTORY)
    ring = model.parse_ring(image["ring"]) if "ring" in image else None
    newest = max(name for name in image if name.endswith(".log"))
    for name in image:
        if not name.endswith(".log"):
            continue
        header = model.header_of(name, image[name])
        found = [
            model.parse_record(header, image[name], at, at)
            for at in model.candidates(image[name], model.DATA)
        ]
        if name == newest:
            found += model.ring_records(header, ring, model.DATA)
        for record in found:
            if record is not None:
                body = bytes([record.kind, record.flags]) + record.payload
                assert seen.setdefault((name, record.position), body) == body


# --- Single histories -----------------------------------------------------------------------------


def test_a_creation_may_fail_again_and_again() -> None:
    """Each attempt fails at another call; none may leave a state that the next one takes for
    damage.
    """
    io = MemoryIo(home())
    Log(io).kill()
    count = len(io.calls)
    for first, second in product(range(0, count + 6, 3), range(0, count + 6, 2)):
        disk = home()
        for seed, index in enumerate((first, second)):
            attempt = MemoryIo(disk, fault=Fault(index, errno.ENOSPC), seed=seed)
            try:
                Log(attempt).kill()
            except CoreError as error:
                assert error.status in ("io_error", "no_space"), (first, second, error)
            attempt.kill()
        for loss in (Loss(), NoLoss()):
            with Log(MemoryIo(disk.after_power_loss(loss))) as log:
                log.commit(b"works")


def disk_with_a_hole_in_the_ring() -> Disk:
    """After a clean close, a session appended to the ring; a power loss took its first record and
    left the second.
    """
    session = new_session()
    session.open()
    session.commit(numbered(1))
    session.close()
    session.open()
    session.append(numbered(2))
    session.append(numbered(3))
    session.kill()
    disk = session.disk.copy()
    ring = disk.files[f"{DIRECTORY}/ring"]
    at = 65536 + model.DATA + 64 + 16  # behind the first record and the marker
    for data in (ring.content, ring.stable):
        data[at : at + 20] = bytes(20)
    return disk


def set_aside(disk: Disk) -> list[bytes]:
    return [
        data for name, data in disk.image(DIRECTORY).items() if name.startswith("quarantine/ring-")
    ]


def test_deferred_events_lost_behind_a_clean_end_are_reported() -> None:
    disk = disk_with_a_hole_in_the_ring()
    assert not read_stream(MemoryIo(disk)).is_clean
    lost = disk.bytes_of(f"{DIRECTORY}/ring")[65536:]
    with Log(MemoryIo(disk)) as log:
        assert log.recovered == [numbered(1)]
        assert log.report.dropped_events == 1
        assert not log.report.is_clean
    assert set_aside(disk) == [lost]
    assert len([name for name in disk.image(DIRECTORY) if name.endswith(".log")]) == 2


def test_the_ring_is_set_aside_before_it_is_replaced() -> None:
    """Wherever a first attempt failed, and wherever a power loss cuts the second short."""

    def many_names(call: Call) -> list[Loss]:
        return (
            [RandomLoss(Random(number)) for number in range(16)]
            if call.operation == "sync_directory"
            else []
        )

    io = MemoryIo(disk_with_a_hole_in_the_ring())
    Log(io).kill()
    for call in io.calls:
        if call.operation not in ("make_directory", "sync_directory", "rename", "sync"):
            continue
        disk = disk_with_a_hole_in_the_ring()
        before = disk.bytes_of(f"{DIRECTORY}/ring")
        first = MemoryIo(disk, fault=Fault(call.index, errno.EIO))
        with pytest.raises(CoreError):
            Log(first)
        first.kill()
        session = Session(disk)
        session.account.units = [(numbered(1),)]
        for image in crash_images(session, Session.open, losses=many_names):
            if image.disk.bytes_of(f"{DIRECTORY}/ring") != before:
                assert before[65536:] in set_aside(image.disk), (call, image.call)
        session.kill()


def test_what_the_ring_holds_behind_a_torn_record_larger_than_itself_is_reported() -> None:
    """The next record in the ring lies more than the ring's size behind the end."""
    session = new_session()
    session.open()
    session.append(numbered(1, 70_000))
    session.append(numbered(2))
    session.kill()
    disk = session.disk.copy()
    segment = next(
        file for path, file in disk.files.items() if path.endswith("2-00000000000000000001.log")
    )
    for data in (segment.content, segment.stable):
        data[30_000:30_512] = bytes(512)
    ring = disk.bytes_of(f"{DIRECTORY}/ring")[65536:]
    with Log(MemoryIo(disk)) as log:
        assert log.recovered == []
        assert log.report.dropped_events == 1
    assert set_aside(disk) == [ring]


def test_opening_and_closing_again_and_again_writes_nothing_more() -> None:
    """A log that is only opened and closed, however often and however full its segment is, stays as
    it is.
    """
    for left in (0, 4, 16, 20, 64):
        session = new_session()
        session.open()
        room = 65536 - model.DATA - 16 - left
        session.commit(entry_of_size(room - 16))  # all but what is left and the marker's room
        assert session.log is not None
        assert session.log.stats.segment_used == 65536 - 16 - left
        session.close()
        before = {
            name: data
            for name, data in session.disk.image(DIRECTORY).items()
            if name.startswith("wal/")
        }
        for _ in range(6):
            session.open()
            assert session.log.report.is_clean
            session.close()
            session.check_io()
        assert {
            name: data
            for name, data in session.disk.image(DIRECTORY).items()
            if name.startswith("wal/")
        } == before
        session.open()
        session.commit(numbered(2))
        session.close()
        session.open()
        session.close()
        session.check_io()


def test_a_full_segment_is_continued_after_a_clean_end() -> None:
    for sector in (0, 512):
        for size in range(30_000, 58_000, 3_501):
            session = new_session(sector_size=sector)
            for number in range(4):
                session.open()
                session.append(numbered(number, size))
                session.close()
                session.check_io()
            session.open()
            session.close()


def test_a_chain_over_many_sessions() -> None:
    """A long mixed history, judged by the model as well."""
    random = Random(11)
    session = new_session()
    for number in range(25):
        session.open()
        for _ in range(random.randrange(4)):
            session.commit(numbered(number, random.choice((8, 9_000, 66_000))))
        session.append(numbered(number))
        if number % 3:
            session.close()
        session.kill()
        reading = model.read_log(session.disk.image(DIRECTORY))
        assert reading.last_sequence == session.account.acknowledged
        assert reading.is_clean is bool(number % 3)
