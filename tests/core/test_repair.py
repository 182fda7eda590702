"""Repair: what it keeps and what it says is lost is exact, and nothing is destroyed."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

import pytest

from tests.support.core import log_model as model
from tests.support.core.crash_images import numbered
from tests.support.core.damaged_queues import (
    RING,
    SIZE,
    check_nothing_destroyed,
    contents,
    flip,
    header_of,
    log_of,
    lose,
    place_of,
    put,
    records_of,
    remove,
    replace_file,
    segment_paths,
    singles,
)
from tests.support.core.log_driver import DIRECTORY, CoreError, Log, refusal
from tests.support.core.memory_io import Disk, Fault, MemoryIo, home
from tests.support.core.snapshot_driver import (
    Progress,
    Repair,
    compact,
    data_up_to,
    opened_log,
    parse_snapshot,
    reopened,
    repair,
    salvage,
    segments_of,
    snapshot_path,
    snapshots_of,
)

pytestmark = pytest.mark.usefixtures("segment_held")


def repaired(
    disk: Disk, kept: list[bytes], lost: tuple[int, int], readable: int = 0, reason: str = ""
) -> Repair:
    """Repair, and check everything that is promised of it."""
    before = disk.copy()
    fault = refusal(lambda: reopened(disk.copy()))
    assert fault.status == "corrupt"
    seen = MemoryIo(disk)
    only_looked = repair(seen, accepts_data_loss=False, only_looks=True)
    assert disk.image(DIRECTORY) == before.image(DIRECTORY)
    there = salvage(seen)
    assert disk.image(DIRECTORY) == before.image(DIRECTORY)
    assert not seen.handles
    assert not seen.mistakes
    looked = repair(MemoryIo(disk), accepts_data_loss=False)
    assert only_looked == looked
    assert {**disk.image(DIRECTORY), "LOCK": b""} == {**before.image(DIRECTORY), "LOCK": b""}
    io = MemoryIo(disk)
    report = repair(io)
    assert not io.handles
    assert not io.mistakes
    assert looked == replace(report, files=0, bytes=0)
    assert (report.is_damaged, report.kept, report.lost, report.readable) == (
        True,
        len(kept),
        lost,
        readable,
    )
    assert report.damage == fault
    assert not reason or fault.reason == reason
    check_nothing_destroyed(before, disk)
    # What could be read before can be read in quarantine.
    prefixes = {
        name[11:35] for name in disk.image(DIRECTORY) if name.startswith("quarantine/repair-")
    }
    assert [salvage(MemoryIo(disk), prefix) for prefix in prefixes] == [there][: len(prefixes)]
    moved = [data for name, data in disk.image(DIRECTORY).items() if name.startswith("quarantine/")]
    assert (report.files, report.bytes) == (len(moved), sum(map(len, moved)))
    check_works(disk, kept)
    return report


def check_works(disk: Disk, kept: list[bytes]) -> None:
    """The queue opens with what was kept, and goes on as ever, also over a rotation and a
    compaction.
    """
    if kept:
        again = repair(MemoryIo(disk.copy()))
        assert (again.is_damaged, again.files) == (False, 0)
    log = opened_log(disk, seed=31)
    assert log.recovered == kept
    log.commit(b"more", b"and more")
    log.append(bytes(40_000))
    compact(log.io)
    log.append(bytes(30_000))
    log.kill()
    expected = [*kept, b"more", b"and more", bytes(40_000), bytes(30_000)]
    with opened_log(disk, seed=32) as log:
        assert log.recovered == expected
        compact(log.io)
    assert reopened(disk).recovered == expected


# --- Damaged records ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, SIZE])
def test_an_event_anywhere(size: int) -> None:
    """In one segment, or each few in their own: what lies before it is kept, what lies behind it is
    readable.
    """
    count = 6
    for number in range(1, count + 1):
        disk = log_of(*singles(count, size))
        lose(disk, numbered(number, size))
        repaired(
            disk, data_up_to(number - 1, size), (number, count), count - number, "record_invalid"
        )


def test_every_byte_of_a_record() -> None:
    """Header or payload: the one event is lost, never another."""
    disk = log_of(*singles(3))
    path = segment_paths(disk)[0]
    second = records_of(disk, path)[1]
    for offset in range(second.position, second.position + second.size):
        image = disk.copy()
        put(image, RING, model.RING_DATA, bytes(65536))
        flip(image, path, offset)
        report = repair(MemoryIo(image))
        assert (report.kept, report.lost, report.readable) == (1, (2, 3), 1)
        assert reopened(image).recovered == [numbered(1)]


def test_the_ring_still_has_it() -> None:
    """The record's bytes verify there; nothing is lost."""
    disk = log_of(*singles(4))
    flip(disk, *place_of(disk, numbered(3)))
    repaired(disk, data_up_to(4), (0, 0), 0, "record_invalid")


def test_events_that_only_the_ring_has_are_kept() -> None:
    for damaged, kept in ((2, 1), (None, 6)):
        disk = home()
        log = opened_log(disk)
        for number in range(1, 4):
            log.commit(numbered(number))
        log.append(numbered(4))
        log.append(numbered(5), numbered(6))
        log.kill()
        disk = disk.copy()
        if damaged is None:
            # A later segment's name, which makes the log no chain.
            name = segment_paths(disk)[0].replace("1-0", "9-0")
            replace_file(disk, name, b"junk")
            repaired(disk, data_up_to(6), (0, 0))
        else:
            lose(disk, numbered(damaged))
            repaired(disk, data_up_to(kept), (2, 6), 4)


def test_the_last_event_with_more_in_the_ring() -> None:
    """What only the ring has behind a lost event is told, and goes to quarantine."""
    disk = home()
    log = opened_log(disk)
    log.commit(numbered(1))
    log.commit(numbered(2))
    log.append(numbered(3))
    log.append(numbered(4))
    log.kill()
    disk = disk.copy()
    lose(disk, numbered(2))
    repaired(disk, data_up_to(1), (2, 4), 2)


def test_batches_are_kept_whole_or_not_at_all() -> None:
    units = [
        (numbered(1),),
        (numbered(2), numbered(3), numbered(4)),
        (numbered(5), numbered(6)),
        (numbered(7),),
    ]
    whole = [0, 1, 1, 1, 4, 4, 6]
    for number in range(1, 8):
        disk = log_of(*units)
        lose(disk, numbered(number))
        kept = whole[number - 1]
        repaired(disk, data_up_to(kept), (kept + 1, 7), 7 - kept - 1)


def test_flags_that_contradict_each_other() -> None:
    """Records that verify and can't stand where they do."""
    disk = log_of(*singles(4))
    path = segment_paths(disk)[0]
    header, records = header_of(disk, path), records_of(disk, path)
    for flags in (model.OPEN, model.END):
        image = disk.copy()
        put(image, RING, model.RING_DATA, bytes(65536))
        third = records[2]
        lag = third.sequence - third.watermark
        data = model.record_bytes(
            header, third.position, third.ordinal, third.kind, third.payload, lag=lag, flags=flags
        )
        put(image, path, third.position, data)
        repaired(image, data_up_to(2), (3, 4), 2, "batch")


def test_an_event_that_the_projection_refuses() -> None:
    """It verifies; so it is readable, and so is what follows."""
    disk = log_of(*singles(4))
    path = segment_paths(disk)[0]
    header, record = header_of(disk, path), records_of(disk, path)[2]
    lag = record.sequence - record.watermark
    for kind, payload in ((12, b"\xff"), (13, b"\5")):
        image = disk.copy()
        put(image, RING, model.RING_DATA, bytes(65536))
        data = model.record_bytes(header, record.position, record.ordinal, kind, payload, lag=lag)
        put(image, path, record.position, data.ljust(record.size, b"\0"))
        report = repair(MemoryIo(image))
        assert report.damage.reason in ("payload", "refused_event", "record_invalid")
        assert (report.kept, report.lost) == (2, (3, 4))
        assert report.readable == 2
        check_works(image, data_up_to(2))


def test_bytes_that_look_like_records_everywhere() -> None:
    """They cost one pass and are nothing; what lies before them is kept, and the ring still has the
    damaged one.
    """
    disk = log_of(*singles(3))
    path = segment_paths(disk)[0]
    damaged = [record for record in records_of(disk, path) if record.kind < 240][-1]
    end = damaged.position + damaged.size
    put(disk, path, damaged.position, bytes(4))
    for at in range(end, 65536 - 16, 16):
        put(
            disk,
            path,
            at,
            b"\1\2\3\4"
            + (65536 - at - 16).to_bytes(3, "little")
            + b"\x1f"
            + (9).to_bytes(4, "little")
            + bytes(4),
        )
    repaired(disk, data_up_to(3), (0, 0), 0, "record_invalid")


# --- Damaged files --------------------------------------------------------------------------------


def test_the_ring() -> None:
    """Missing, cut, of another log, with another header: what only it had is gone, all else is
    kept.
    """
    other = log_of(*singles(1)).bytes_of(RING)
    foreign = model.ring_bytes(bytes(16), bytes(65536))
    assert other != foreign

    def changed(disk: Disk, data: bytes | None) -> Disk:
        if data is None:
            remove(disk, RING)
        else:
            replace_file(disk, RING, data)
        return disk

    mine = log_of(*singles(3)).bytes_of(RING)
    for data, reason in (
        (None, "ring_missing"),
        (mine[:-1], "file_size"),
        (b"", "file_size"),
        (b"X" + mine[1:], "header_invalid"),
        (foreign, "other_log"),
    ):
        repaired(changed(log_of(*singles(3)), data), data_up_to(3), (0, 0), 0, reason)


def test_headers_of_segments() -> None:
    """One copy is enough; both gone, so is the segment."""
    whole = log_of(*singles(7, SIZE))
    firsts = [first for _, first in segments_of(whole)]
    for index in range(len(firsts)):
        disk = whole.copy()
        path = segment_paths(disk)[index]
        flip(disk, path, 40)
        assert reopened(disk.copy()).recovered == data_up_to(7, SIZE)
        flip(disk, path, 4096 + 40)
        kept = firsts[index] - 1
        following = firsts[index + 1] if index + 1 < len(firsts) else 8
        repaired(disk, data_up_to(kept, SIZE), (kept + 1, 7), 7 - following + 1, "header_invalid")


def test_a_damaged_version_in_both_copies_is_damage() -> None:
    """And not a newer format, which a repair would leave alone."""
    whole = log_of(*singles(7, SIZE))
    path = segment_paths(whole)[1]
    flip(whole, path, 9)
    flip(whole, path, 4096 + 9)
    firsts = [first for _, first in segments_of(whole)]
    repaired(
        whole, data_up_to(firsts[1] - 1, SIZE), (firsts[1], 7), 7 - firsts[2] + 1, "header_invalid"
    )


def test_copies_of_a_header_that_differ() -> None:
    disk = log_of(*singles(2))
    path = segment_paths(disk)[0]
    header = header_of(disk, path)
    put(disk, path, 4096, replace(header, salt=header.salt ^ 1).to_bytes())
    repaired(disk, [], (1, 2), 0, "header_copies_differ")


def test_a_missing_segment() -> None:
    whole = log_of(*singles(9, SIZE))
    firsts = [first for _, first in segments_of(whole)]
    assert len(firsts) > 3
    for index in range(len(firsts)):
        disk = whole.copy()
        remove(disk, segment_paths(disk)[index])
        kept = firsts[index] - 1
        following = firsts[index + 1] if index + 1 < len(firsts) else 10
        repaired(disk, data_up_to(kept, SIZE), (kept + 1, 9), 9 - following + 1)


def test_all_segments_missing() -> None:
    disk = log_of(*singles(3))
    remove(disk, segment_paths(disk)[0])
    before = disk.copy()
    report = repair(MemoryIo(disk))
    assert (report.kept, report.lost, report.readable) == (0, (1, 3), 0)
    check_nothing_destroyed(before, disk)
    check_works_anew(disk)


def check_works_anew(disk: Disk) -> None:
    with opened_log(disk, seed=41) as log:
        assert log.report.is_created
        log.commit(b"anew")
    assert reopened(disk).recovered == [b"anew"]


def test_a_segment_that_was_cut_or_grew() -> None:
    """Its records that are there count."""
    for cut in (1, 30_000, 50_000, 65536 - model.DATA, 65536 - 100, 65536):
        disk = log_of(*singles(6, SIZE))
        path = segment_paths(disk)[1]
        replace_file(disk, path, disk.bytes_of(path)[:-cut])
        end = 65536 - cut
        there = [
            number for number in (3, 4) if disk.bytes_of(path).find(numbered(number, SIZE)) >= 0
        ]
        assert (len(there) == 2) == (cut == 1), end
        repaired(
            disk,
            data_up_to(2 + len(there), SIZE) if len(there) < 2 else data_up_to(6, SIZE),
            *lost_behind(there),
        )
    disk = log_of(*singles(6, SIZE))
    replace_file(
        disk, segment_paths(disk)[-1], disk.bytes_of(segment_paths(disk)[-1]) + bytes(4096)
    )
    repaired(disk, data_up_to(6, SIZE), (0, 0), 0, "file_size")


def lost_behind(there: list[int]) -> tuple[tuple[int, int], int]:
    return ((0, 0), 0) if len(there) == 2 else ((3 + len(there), 6), 2)


def test_the_same_number_twice() -> None:
    disk = log_of(*singles(6, SIZE))
    path = segment_paths(disk)[1]
    replace_file(disk, path.replace("3.log", "4.log"), disk.bytes_of(path))
    repaired(disk, data_up_to(6, SIZE), (0, 0), 0, "segment_duplicate")


def test_a_file_of_another_log() -> None:
    """In the place of one of ours, or one too many."""
    other = home()
    log = opened_log(other, seed=50)
    for one in data_up_to(9, SIZE):
        log.commit(one)
    log.kill()
    disk = log_of(*singles(6, SIZE))
    for index, kept in ((0, 0), (1, 2), (2, 4)):
        image = disk.copy()
        replace_file(image, segment_paths(disk)[index], other.bytes_of(segment_paths(other)[index]))
        if kept:
            repaired(image, data_up_to(kept, SIZE), (kept + 1, 6), 4 - kept, "other_log")
        else:
            report = repair(MemoryIo(image))
            assert (report.kept, report.lost, report.readable) == (0, (1, 6), 4)
    image = disk.copy()
    replace_file(image, segment_paths(other)[3], other.bytes_of(segment_paths(other)[3]))
    repaired(image, data_up_to(6, SIZE), (0, 0), 0, "other_log")


def test_an_absurd_name() -> None:
    disk = log_of(*singles(2))
    replace_file(disk, f"{DIRECTORY}/wal/{2**64 - 1:020d}-{1:020d}.log", b"junk")
    repaired(disk, data_up_to(2), (0, 0))


def test_what_the_medium_can_not_read() -> None:
    """Its sectors are passed over; what else the segment holds is kept."""
    disk = log_of(*singles(6, SIZE))
    for number, path in (
        (2, segment_paths(disk)[0]),
        (4, segment_paths(disk)[1]),
        (6, segment_paths(disk)[2]),
    ):
        image = disk.copy()
        put(image, RING, model.RING_DATA, bytes(65536))
        at = image.bytes_of(path).index(numbered(number, SIZE)) + 12_000
        io = BadMedium(image, path, at)
        assert refusal(lambda io=io: Log(io)).status == "io_error"
        io = BadMedium(image, path, at)
        report = repair(io)
        assert (report.damage.reason, report.damage.system_error, report.damage.path) == (
            "unreadable",
            errno.EIO,
            path,
        )
        assert (report.kept, report.lost, report.readable) == (number - 1, (number, 6), 6 - number)
        check_works(image, data_up_to(number - 1, SIZE))


def test_a_read_that_fails_once_is_no_damage() -> None:
    disk = log_of(*singles(6, SIZE))
    io = MemoryIo(disk.copy())
    assert not repair(io).is_damaged
    for call in io.calls:
        if call.operation == "read" and not call.path.endswith("LOCK"):
            image = disk.copy()
            assert not repair(MemoryIo(image, fault=Fault(call.index, errno.EIO))).is_damaged
            assert {**image.image(DIRECTORY), "LOCK": b""} == {**disk.image(DIRECTORY), "LOCK": b""}


class BadMedium(MemoryIo):
    """One byte of a file that can't be read."""

    def __init__(self, disk: Disk, path: str, offset: int) -> None:
        super().__init__(disk)
        self.bad = (disk.files[path], offset)

    def _read(self, handle: int, offset: int, to: Any, size: int, done: Any) -> int:
        file, at = self.bad
        if self._file(handle) is file and offset <= at < offset + size:
            return errno.EIO
        return super()._read(handle, offset, to, size, done)


# --- Snapshots ------------------------------------------------------------------------------------


def test_damage_below_a_snapshot_costs_nothing() -> None:
    """In the segment that a recovery still reads; in others nobody looks."""
    for number in range(1, 7):
        for size in (8, SIZE):
            disk = log_of(*singles(6, size), compactions=(5,))
            lose(disk, numbered(number, size))
            try:
                log = reopened(disk.copy())
            except CoreError:
                lost = (6, 6) if number == 6 else (0, 0)
                report = repaired(
                    disk, data_up_to(5 if number == 6 else 6, size), lost, 0, "record_invalid"
                )
                assert snapshots_of(disk)
                assert report.files
            else:
                assert (size, log.recovered) == (SIZE, data_up_to(6, size))


def test_events_in_front_of_a_snapshot_are_not_needed() -> None:
    """Half of the log is gone, but the snapshot has it."""
    disk = log_of(*singles(9, SIZE), compactions=(5,))
    for path in segment_paths(disk)[:2]:
        remove(disk, path)
    assert reopened(disk.copy()).recovered == data_up_to(9, SIZE)
    lose(disk, numbered(8, SIZE))
    repaired(disk, data_up_to(7, SIZE), (8, 9), 1)


def test_a_damaged_snapshot_and_a_damaged_log() -> None:
    """The snapshot that is written may have the damaged one's name; that one is kept, too."""
    for number, kept in ((6, 5), (5, 4), (2, 1)):
        disk = log_of(*singles(6), compactions=(5,))
        flip(disk, snapshot_path(5), 70)
        damaged = disk.bytes_of(snapshot_path(5))
        lose(disk, numbered(number))
        repaired(disk, data_up_to(kept), (kept + 1, 6), 6 - number)
        assert damaged in contents(disk)


def test_both_snapshots_damaged_and_the_history_gone() -> None:
    disk = home()
    log = opened_log(disk)
    for number in range(1, 10):
        log.commit(numbered(number, SIZE))
        if number in (5, 8):
            compact(log.io)
    log.kill()
    disk = disk.copy()
    first = segments_of(disk)[0][1]
    assert first > 1
    for sequence in (5, 8):
        flip(disk, snapshot_path(sequence), 100)
    before = disk.copy()
    report = repair(MemoryIo(disk))
    assert (report.kept, report.lost, report.readable) == (0, (1, 9), 9 - first + 1)
    assert report.damage.reason == "history_missing"
    check_nothing_destroyed(before, disk)
    check_works_anew(disk)


def test_only_a_damaged_snapshot_is_left() -> None:
    disk = log_of(*singles(5), compactions=(5,))
    for path in [*segment_paths(disk), RING]:
        remove(disk, path)
    flip(disk, snapshot_path(5), 70)
    before = disk.copy()
    report = repair(MemoryIo(disk))
    assert (report.is_damaged, report.kept, report.damage.reason) == (True, 0, "segment_missing")
    check_nothing_destroyed(before, disk)
    check_works_anew(disk)


def test_only_a_snapshot_is_left() -> None:
    for has_directory in (True, False):
        disk = log_of(*singles(5), compactions=(5,))
        for path in [*segment_paths(disk), RING]:
            remove(disk, path)
        if not has_directory:
            disk = Disk({path: disk.bytes_of(path) for path in disk.files})
        repaired(disk, data_up_to(5), (0, 0), 0, "segment_missing")


def test_a_snapshot_ahead_of_the_log() -> None:
    ahead, behind = log_of(*singles(6), compactions=(6,)), log_of(*singles(4))
    replace_file(behind, snapshot_path(6), ahead.bytes_of(snapshot_path(6)))
    behind.directories.add(f"{DIRECTORY}/snapshots")
    behind.stable_directories.add(f"{DIRECTORY}/snapshots")
    repaired(behind, data_up_to(6), (0, 0), 0, "snapshot_ahead")


def test_a_newer_format_is_left_alone() -> None:
    disk = log_of(*singles(5), compactions=(5,))
    lose(disk, numbered(3))
    newer = replace(parse_snapshot(disk.bytes_of(snapshot_path(5))), version=9)
    replace_file(disk, snapshot_path(5), newer.to_bytes())
    before = disk.image(DIRECTORY)
    assert refusal(lambda: repair(MemoryIo(disk))).status == "unsupported_format"
    assert disk.image(DIRECTORY) == before


# --- Nothing to do, and somebody else -------------------------------------------------------------


def test_without_damage_nothing_changes() -> None:
    torn = log_of(*singles(3))
    put(torn, segment_paths(torn)[0], 30_000, b"\xff" * 50)
    for disk in (
        log_of(*singles(3)),
        log_of(*singles(3), kill=False),
        log_of(*singles(9, SIZE), compactions=(3, 6)),
        torn,
    ):
        before = disk.image(DIRECTORY)
        io = MemoryIo(disk)
        report = repair(io)
        assert not report.is_damaged
        assert (report.kept, report.lost, report.files) == (0, (0, 0), 0)
        assert {**disk.image(DIRECTORY), "LOCK": b""} == {**before, "LOCK": b""}
        assert {
            call.path
            for call in io.calls
            if call.operation in ("write", "truncate", "rename", "unlink")
        } <= {f"{DIRECTORY}/LOCK"}


def test_no_queue_and_a_locked_one() -> None:
    disk = home()
    assert refusal(lambda: repair(MemoryIo(disk))).status == "not_a_queue"
    assert not disk.files
    log = opened_log(disk)
    log.commit(b"1")
    assert refusal(lambda: repair(MemoryIo(disk))).status == "locked"
    log.close()
    assert not repair(MemoryIo(disk)).is_damaged


def test_canceled() -> None:
    disk = log_of(*singles(9, SIZE))
    lose(disk, numbered(5, SIZE))
    before = disk.copy()
    progress = Progress()
    progress.cancel()
    assert refusal(lambda: repair(MemoryIo(disk), progress=progress)).status == "stopped"
    assert {**disk.image(DIRECTORY), "LOCK": b""} == {**before.image(DIRECTORY), "LOCK": b""}


def test_a_file_in_the_place_of_a_directory() -> None:
    for name in ("quarantine", "snapshots", "wal"):
        disk = log_of(*singles(3))
        lose(disk, numbered(2))
        files = {path: disk.bytes_of(path) for path in disk.files if f"/{name}/" not in path} | {
            f"{DIRECTORY}/{name}": b""
        }
        image = Disk(files, disk.directories - {f"{DIRECTORY}/{name}"})
        before = image.image(DIRECTORY)
        assert refusal(lambda image=image: repair(MemoryIo(image))).reason == "directory"
        assert {**image.image(DIRECTORY), "LOCK": b""} == {**before, "LOCK": b""}
