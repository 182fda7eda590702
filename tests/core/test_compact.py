"""Compaction: what is dropped is covered twice, what stays suffices, and nobody is disturbed."""

from __future__ import annotations

import errno
from dataclasses import replace
from itertools import combinations
from random import Random
from typing import Any

import pytest

from tests.support.core.crash_images import (
    Session,
    check_recovered,
    crash_images,
    numbered,
    sampled_losses,
)
from tests.support.core.damaged_queues import flip
from tests.support.core.log_driver import DIRECTORY, CoreError, Log, refusal
from tests.support.core.memory_io import RETRIED, Call, Disk, Fault, Loss, MemoryIo, home
from tests.support.core.snapshot_driver import (
    Progress,
    compact,
    data_up_to,
    opened_log,
    parse_snapshot,
    reopened,
    segments_of,
    snapshot_name,
    snapshot_path,
    snapshots_of,
)

SIZE = 24_000
"""Two events of this size fill the smallest segment."""


def damage(disk: Disk, path: str) -> Disk:
    """Return a copy of the disk with one file cut short."""
    copy = disk.copy()
    del copy.files[path].content[-1:]
    return copy


def log_with(events: int, *compactions: int, size: int = SIZE) -> tuple[Disk, Log]:
    """Return an open queue with so many events, compacted behind some of them."""
    disk = home()
    log = opened_log(disk)
    for number in range(1, events + 1):
        log.commit(numbered(number, size))
        if number in compactions:
            compact(log.io)
    return disk, log


class ShortReads(MemoryIo):
    """One of its reads finds no bytes, as in a file that was cut."""

    reads_left = -1

    def _read(self, handle: int, offset: int, to: Any, size: int, done: Any) -> int:
        self.reads_left -= 1
        if self.reads_left == 0:
            done[0] = 0
            return 0
        return super()._read(handle, offset, to, size, done)


# --- What goes and what stays ---------------------------------------------------------------------


def test_every_pair_of_snapshots() -> None:
    """The segments stay that hold an event behind the older one, and the newest; so either snapshot
    may be damaged.
    """
    events = 9
    disk, log = log_with(events)
    log.close()
    whole = segments_of(disk)
    assert len(whole) > 3
    data = data_up_to(events, SIZE)
    for older, newer in combinations(range(1, events + 1), 2):
        disk, log = log_with(newer, older)
        at_that_time = segments_of(disk)
        report = compact(log.io)
        expected = [
            segment
            for segment, following in zip(
                at_that_time, [*at_that_time[1:], (0, 2**64)], strict=True
            )
            if following[1] - 1 > older
        ]
        assert segments_of(disk) == expected
        assert snapshots_of(disk) == [older, newer]
        assert (report.is_new, report.sequence, report.kept_sequence) == (True, newer, older)
        assert report.replayed_events == newer - older
        assert report.dropped_segments == len(at_that_time) - len(expected)
        assert report.dropped_bytes == 65536 * report.dropped_segments
        for number in range(newer + 1, events + 1):
            log.commit(numbered(number, SIZE))
        log.close()
        log = reopened(disk.copy())
        assert (log.recovered, log.report.snapshot_sequence) == (data, newer)
        log = reopened(damage(disk, snapshot_path(newer)))
        assert (log.recovered, log.report.snapshot_sequence) == (data, older)
        log = reopened(damage(disk, snapshot_path(older)))
        assert (log.recovered, log.report.snapshot_sequence) == (data, newer)


@pytest.mark.parametrize("where", ["header", "body", "end"])
def test_a_damaged_older_snapshot_is_not_what_the_log_is_kept_behind(where: str) -> None:
    """Where there is nothing new either: the segments stay that the newest one alone would not make
    up for, should it be damaged next.
    """
    events = 8
    disk = home()
    log = opened_log(disk)
    for number in range(1, events + 1):
        log.commit(numbered(number, SIZE))
        if number in (5, events):
            compact(log.io, drops_segments=False)
    older = snapshot_path(5)
    size = len(disk.bytes_of(older))
    flip(disk, older, {"header": 40, "body": size // 2, "end": size - 1}[where])
    whole = segments_of(disk)
    report = compact(log.io)
    assert (report.is_new, report.sequence, report.kept_sequence, report.dropped_segments) == (
        False,
        events,
        0,
        0,
    )
    assert segments_of(disk) == whole
    assert snapshots_of(disk) == [events]
    log.close()
    log = reopened(damage(disk, snapshot_path(events)))
    assert (log.recovered, log.report.snapshot_sequence) == (data_up_to(events, SIZE), 0)


def test_many_compactions_keep_two() -> None:
    disk = home()
    log = opened_log(disk)
    made: list[int] = []
    for number in range(1, 30):
        log.commit(numbered(number, SIZE))
        if number % 3 == 0:
            report = compact(log.io)
            made.append(number)
            assert snapshots_of(disk) == made[-2:]
            assert report.dropped_snapshots == (len(made) > 2)
        if number % 10 == 0:
            log.close()
            log = opened_log(disk, seed=number)
            assert log.recovered == data_up_to(number, SIZE)
            assert log.report.snapshot_sequence == made[-1]
    assert len(segments_of(disk)) <= 5
    log.close()


def segment_path_of(disk: Disk) -> str:
    return max(path for path in disk.files if path.endswith(".log"))


def test_segments_that_restarts_left_empty() -> None:
    """An unclean end that leaves nothing open begins none; those that do may leave several that
    begin with the same event.
    """
    disk = home()
    for seed in range(1, 4):
        log = opened_log(disk, seed)
        log.kill()
        path = segment_path_of(disk)
        disk.files[path].content[8192] = disk.files[path].stable[8192] = 1  # a torn append
    log = opened_log(disk, 5)
    log.commit(numbered(1))
    compact(log.io)
    assert [first for _, first in segments_of(disk)] == [1, 1, 1, 1]
    log.kill()
    for seed in range(6, 9):
        log = opened_log(disk, seed)
        log.kill()
        path = segment_path_of(disk)
        data = disk.files[path]
        data.content[-8] = data.stable[-8] = 1
    log = opened_log(disk, 10)
    assert [first for _, first in segments_of(disk)] == [1, 1, 1, 1, 2, 2, 2]
    log.commit(numbered(2))
    assert compact(log.io).dropped_segments == 6
    log.kill()
    assert reopened(disk).recovered == data_up_to(2)


def test_without_dropping_the_log_stays_whole() -> None:
    disk, log = log_with(9)
    before = segments_of(disk)
    for number in range(10, 13):
        assert compact(log.io, drops_segments=False).dropped_segments == 0
        log.commit(numbered(number))
    assert segments_of(disk) == before
    assert snapshots_of(disk) == [10, 11]
    log.close()
    for path in (snapshot_path(10), snapshot_path(11)):
        disk = damage(disk, path)
    assert reopened(disk).recovered == data_up_to(9, SIZE) + [numbered(n) for n in (10, 11, 12)]


def test_nothing_new_makes_no_file() -> None:
    disk, log = log_with(0)
    assert compact(log.io).sequence == 0
    assert snapshots_of(disk) == []
    log.append(b"not durable")
    assert not compact(log.io).is_new
    log.sync()
    assert compact(log.io).is_new
    before = disk.bytes_of(snapshot_path(1))
    report = compact(log.io)
    assert (report.is_new, report.sequence, report.kept_sequence, report.replayed_events) == (
        False,
        1,
        0,
        0,
    )
    assert report.file_size == len(before)
    assert disk.bytes_of(snapshot_path(1)) == before
    log.kill()


def test_what_an_earlier_one_left_is_dropped_later() -> None:
    """One that only made snapshots, then one that has nothing new."""
    disk, log = log_with(5)
    compact(log.io, drops_segments=False)
    log.commit(numbered(6, SIZE))
    compact(log.io, drops_segments=False)
    report = compact(log.io)
    assert (report.is_new, report.sequence, report.kept_sequence) == (False, 6, 5)
    assert report.dropped_segments == 2
    log.close()
    assert reopened(disk).recovered == data_up_to(6, SIZE)


# --- Damaged snapshots ----------------------------------------------------------------------------


def test_a_damaged_one_is_dropped_and_not_relied_on() -> None:
    """The newest, the one before, one in between: the log behind the older whole one stays."""
    for victim, kept in ((4, 6), (6, 4)):
        disk, log = log_with(6, size=8)
        for number in (4, 6):
            junk = b"junk" if number == victim else None
            made = log_with(number, number, size=8)[0]
            data = junk or made.bytes_of(snapshot_path(number))
            file = disk.files.setdefault(snapshot_path(number), Disk({"/x": data}).files["/x"])
            assert bytes(file.content) == data
        disk.directories.add(f"{DIRECTORY}/snapshots")
        log.commit(numbered(7))
        report = compact(log.io)
        assert (report.sequence, report.kept_sequence, report.replayed_events) == (
            7,
            kept,
            7 - kept,
        )
        assert snapshots_of(disk) == [kept, 7]
        log.kill()


def test_a_damaged_middle_one_where_nothing_is_new() -> None:
    disk, log = log_with(6, 2, 6, size=8)
    log.close()
    image = disk.copy()
    image.files[snapshot_path(4)] = Disk({"/x": b"junk"}).files["/x"]
    report = compact(MemoryIo(image))
    assert (report.is_new, report.sequence, report.kept_sequence, report.dropped_snapshots) == (
        False,
        6,
        2,
        1,
    )
    assert snapshots_of(image) == [2, 6]


def test_a_whole_one_of_another_log_is_not_relied_on() -> None:
    """Nothing is dropped behind it, for nothing could fall back to it."""
    disk, log = log_with(6, 6)
    log.close()
    file = parse_snapshot(disk.bytes_of(snapshot_path(6)))
    foreign = replace(file, log_uuid=bytes(16), sequence=4)
    disk.files[snapshot_path(4)] = Disk({"/x": foreign.to_bytes()}).files["/x"]
    before = segments_of(disk)
    report = compact(MemoryIo(disk))
    assert (report.sequence, report.kept_sequence) == (6, 0)
    assert segments_of(disk) == before


def test_a_damaged_one_with_the_name_of_the_new_one() -> None:
    disk, log = log_with(6, 3, 6)
    image = damage(disk, snapshot_path(6))
    log.kill()
    report = compact(MemoryIo(image))
    assert (report.is_new, report.sequence, report.kept_sequence, report.replayed_events) == (
        True,
        6,
        3,
        3,
    )
    assert reopened(image).recovered == data_up_to(6, SIZE)


def test_all_damaged_with_the_history_gone() -> None:
    """The queue in use is the last copy; compaction says what is wrong, and drops nothing."""
    disk, log = log_with(9, 5, 8)
    image = damage(damage(disk, snapshot_path(5)), snapshot_path(8))
    log.kill()
    before = image.image(DIRECTORY)
    fault = refusal(lambda: compact(MemoryIo(image)))
    assert (fault.status, fault.reason, fault.path) == (
        "corrupt",
        "snapshot_invalid",
        snapshot_path(8),
    )
    for path in (snapshot_path(5), snapshot_path(8)):
        del image.files[path]
    fault = refusal(lambda: compact(MemoryIo(image)))
    assert (fault.status, fault.reason) == ("corrupt", "history_missing")
    assert (fault.first_sequence, fault.last_sequence) == (1, segments_of(disk)[0][1] - 1)
    assert {name for name in before if name.startswith("wal/")} == {
        name for name in image.image(DIRECTORY) if name.startswith("wal/")
    }


def test_a_damaged_log() -> None:
    """It is read before anything is dropped."""
    disk, log = log_with(6, 2)
    path = next(
        path
        for path in disk.files
        if path.endswith(".log") and numbered(4, SIZE) in disk.bytes_of(path)
    )
    file = disk.files[path]
    file.content[file.content.index(numbered(4)) + 100] ^= 1
    before = disk.image(DIRECTORY)
    assert refusal(lambda: compact(log.io)).reason == "record_invalid"
    assert disk.image(DIRECTORY) == before
    log.kill()


def test_cancel_leaves_nothing() -> None:
    disk, log = log_with(7, 2, 4)
    before = disk.image(DIRECTORY)
    progress = Progress()
    progress.cancel()
    with pytest.raises(CoreError) as raised:
        compact(log.io, progress=progress)
    assert raised.value.status == "stopped"
    assert disk.image(DIRECTORY) == before
    assert log.io is not None
    for stop in range(200):
        progress, last = Progress(), stop + len(log.io.calls)
        log.io.before_call = lambda call, progress=progress, last=last: (
            progress.cancel() if call.index == last else None
        )
        try:
            compact(log.io, progress=progress)
            break
        except CoreError as error:
            assert error.status == "stopped"
            assert disk.image(DIRECTORY) == before
    else:
        pytest.fail("it never came to its end")
    log.kill()


# --- In use ---------------------------------------------------------------------------------------


def test_a_writer_goes_on_between_any_two_calls() -> None:
    """Appends, batches, syncs and rotations at every call of compactions; each time the directory
    opens to all of it.
    """
    disk, log = log_with(5)
    io = MemoryIo(disk)
    data = data_up_to(5, SIZE)
    random, checks = Random(1), 0

    def write(call: Call) -> None:
        nonlocal checks
        sizes = [random.choice((8, 8, 300, 9_000)) for _ in range(random.choice((1, 1, 3)))]
        entries = [numbered(len(data) + 1 + index, size) for index, size in enumerate(sizes)]
        log.append(*entries)
        data.extend(entries)
        if random.random() < 0.5:
            log.sync()
        if call.operation in ("rename", "unlink", "sync_directory") or call.index % 40 == 0:
            checks += 1
            assert reopened(disk.copy()).recovered == data

    io.before_call = write
    for _ in range(2):
        durable = log.durable_sequence
        report = compact(io)
        assert report.is_new
        assert report.sequence >= durable
    assert report.dropped_segments > 0
    assert checks > 15
    assert log.state == "ok"
    log.close()
    assert reopened(disk).recovered == data


# --- Order, faults and power loss -----------------------------------------------------------------


def test_segments_go_oldest_first_when_the_snapshots_are_durable() -> None:
    disk, log = log_with(14, 7)
    assert log.io is not None
    start = len(log.io.calls)
    assert compact(log.io).dropped_segments > 2
    calls = log.io.calls[start:]
    removed = [
        call.path for call in calls if call.operation == "unlink" and call.path.endswith(".log")
    ]
    assert removed == sorted(removed)
    first = next(
        call.index for call in calls if call.operation == "unlink" and call.path.endswith(".log")
    )
    named = [
        call.index
        for call in calls
        if call.operation == "sync_directory" and call.path.endswith("/snapshots")
    ]
    synced = [
        call.index
        for call in calls
        if call.operation == "sync" and call.path.endswith("snapshot.tmp")
    ]
    renamed = [call.index for call in calls if call.operation == "rename"]
    assert synced[0] < renamed[0] < named[0] < first
    assert [call.path for call in calls if call.operation == "sync_directory"][-1].endswith("/wal")
    log.close()
    assert reopened(disk).recovered == data_up_to(14, SIZE)


def test_names_that_were_never_synced_are_synced_before_anything_is_dropped() -> None:
    """Whoever made both snapshots did not come to the sync of their names."""
    disk, log = log_with(5)
    io = log.io
    assert io is not None
    for number in (5, 6):
        io.before_call = lambda call: (
            io.fail(call.index, errno.EIO)
            if call.operation == "sync_directory" and call.path.endswith("/snapshots")
            else None
        )
        assert refusal(lambda: compact(io)).operation == "sync directory"
        io.before_call = None
        if number == 5:
            log.commit(numbered(6, SIZE))
    assert snapshots_of(disk) == [5, 6]
    report = compact(io)
    assert not report.is_new
    assert report.dropped_segments > 0
    left = disk.after_power_loss(Loss())
    log.kill()
    assert reopened(left).recovered == data_up_to(6, SIZE)


FAULTS = (
    Fault(0, errno.EIO),
    Fault(0, errno.EIO, once=False),
    Fault(0, errno.EINTR),
    Fault(0, errno.EACCES),
)


def test_every_call_fails(long_form: bool) -> None:
    """What was there still is or was dropped by the rule; the queue opens to all of it, and the
    next one finishes.
    """
    disk, log = log_with(11, 7)
    log.close()
    io = MemoryIo(disk.copy())
    done = compact(io)
    assert done.dropped_segments > 1
    data = data_up_to(11, SIZE)
    for call in io.calls:
        for fault in (
            FAULTS
            if long_form or call.operation in ("unlink", "rename", "sync_directory")
            else FAULTS[:1]
        ):
            image = disk.copy()
            failing = MemoryIo(image, fault=replace(fault, index=call.index))
            try:
                compact(failing)
            except CoreError as error:
                assert error.fault.system_error == fault.error
                assert fault.error != errno.EINTR or call.operation not in RETRIED
            assert not failing.handles
            assert not failing.mistakes
            assert reopened(image.copy()).recovered == data
            compact(MemoryIo(image))
            assert snapshots_of(image)[-1] == 11
            assert reopened(image).recovered == data


def compacting_run(session: Session) -> None:
    session.open()
    for number in range(1, 6):
        session.commit(numbered(number, SIZE))
    compact(session.io)
    session.append(numbered(6, SIZE))
    session.append(numbered(7), numbered(8))
    compact(session.io)
    session.sync()
    compact(session.io)
    session.append(numbered(9, SIZE))
    session.kill()
    session.open()
    compact(session.io)
    session.commit(numbered(10))
    compact(session.io)
    session.close()


@pytest.mark.parametrize("maps", [True, False])
def test_power_loss_at_every_call(maps: bool, long_form: bool) -> None:
    """Never fewer than were durable, and never others; a compaction changes no event."""
    random = Random(6)
    count = 0
    session = Session(home(), maps=maps)
    for image in crash_images(
        session, compacting_run, losses=sampled_losses(random, 12 if long_form else 0)
    ):
        if (
            not long_form
            and count % 2
            and image.call.operation not in ("unlink", "rename", "sync_directory")
        ):
            count += 1
            continue
        count += 1
        with Log(MemoryIo(image.disk, seed=1000 + count)) as log:
            check_recovered(log.recovered, image.account, image.account.durable)
            assert log.report.snapshots_damaged == 0
            log.commit(b"after")
        assert log.io is not None
        assert not log.io.mistakes
        assert reopened(image.disk).recovered == [*log.recovered, b"after"]
    assert count > 200


def test_a_kill_at_every_call() -> None:
    kills: list[tuple[Call, Disk, Any]] = []
    session = Session(home())
    session.watch = lambda call: kills.append((call, session.disk.copy(), session.account.copy()))
    compacting_run(session)
    for call, disk, account in kills[::3]:
        log = reopened(disk)
        check_recovered(log.recovered, account, account.acknowledged)
        assert log.report.snapshots_damaged == 0, call
        compact(MemoryIo(disk))
        assert "snapshots/snapshot.tmp" not in disk.image(DIRECTORY)
        assert snapshots_of(disk)[-1:] in ([], [log.report.last_sequence])
        assert snapshot_name(0) not in disk.image(DIRECTORY)


@pytest.mark.parametrize("kind", ["snapshots", "wal"])
def test_one_file_that_cannot_be_removed_lets_no_others_pile_up(kind: str) -> None:
    disk, log = log_with(6, 3, 6)
    io, events = log.io, 6
    assert io is not None
    stuck = min(path for path in disk.files if f"/{kind}/0" in path)
    for _ in range(5):
        for _ in range(4):
            events += 1
            log.commit(numbered(events, SIZE))
        io.before_call = lambda call: (
            io.fail(call.index, errno.EPERM)
            if (call.operation, call.path) == ("unlink", stuck)
            else None
        )
        told = refusal(lambda: compact(io))
        assert (told.operation, told.path, told.system_error) == ("unlink", stuck, errno.EPERM)
        io.before_call = None
        assert len(snapshots_of(disk)) == (3 if kind == "snapshots" else 2)
        assert len(segments_of(disk)) <= (7 if kind == "snapshots" else 40)
    compact(io)
    assert len(snapshots_of(disk)) == 2
    assert len(segments_of(disk)) <= 7
    log.close()
    assert reopened(disk).recovered == data_up_to(events, SIZE)


def test_a_read_that_finds_no_bytes_is_damage() -> None:
    """Not another history: that is what a reader is told of a log that was replaced."""
    statuses: list[str] = []
    for read in range(1, 1000):
        io = ShortReads(home())
        log = Log(io)
        for number in range(1, 10):
            log.commit(numbered(number, SIZE))
            if number == 4:
                compact(io)
        io.reads_left = read
        try:
            compact(io)
        except CoreError as error:
            statuses.append(error.status)
        was_reached = io.reads_left <= 0
        io.reads_left = -1
        compact(io)
        log.close()
        if not was_reached:
            break
    assert set(statuses) == {"corrupt"}
    assert len(statuses) > 5
