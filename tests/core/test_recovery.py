"""Recovery against the model: torn tails, damage, lost and stale files, and what is set aside."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from random import Random

import pytest

from tests.support.core import log_model as model
from tests.support.core.crash_images import Session, numbered
from tests.support.core.log_driver import DIRECTORY, CoreError, Log, Seen, data_of, entry
from tests.support.core.log_images import (
    FIRST,
    LOGS,
    Image,
    chained_log,
    changed,
    closed_log,
    core_reads,
    deferred_log,
    disk_of,
    image_of,
    immediate_log,
    newest,
    opened,
    quarantined,
    records,
    ring_log,
    same_as_model,
    session,
)
from tests.support.core.memory_io import Call, Disk, Fault, File, Loss, MemoryIo, NoLoss, home

pytestmark = pytest.mark.usefixtures("segment_held")

# --- Undamaged logs -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOGS)
def test_undamaged_logs(name: str) -> None:
    image = LOGS[name]()
    seen = same_as_model(image)
    assert seen is not None
    recovered, log, disk = opened(image)
    assert [data_of(payload) for _, _, payload in seen.events] == recovered
    assert [sequence for sequence, _, _ in seen.events] == list(range(1, len(recovered) + 1))
    assert log.report.is_clean == seen.is_clean == (name == "closed")
    assert log.report.events == log.report.last_sequence == len(recovered)
    assert not quarantined(disk)
    for path, data in image.items():
        if path.startswith("wal/") and not seen.is_clean:
            # One that is known to be stable as a whole is continued; up to its end nothing changes.
            end = None if log.report.rewritten_events else seen.end
            assert disk.image(DIRECTORY)[path][:end] == data[:end], "an old segment was changed"


def test_reports() -> None:
    _, log, _ = opened(ring_log())
    report = log.report
    assert (report.is_created, report.is_clean, report.segments, report.records, report.events) == (
        0,
        0,
        1,
        5,
        5,
    )
    assert (report.durable_sequence, report.ring_events, report.rewritten_events) == (1, 4, 4)
    assert (report.dropped_bytes, report.dropped_events, report.drop_reason) == (0, 0, 0)
    _, log, _ = opened(closed_log())
    assert (log.report.records, log.report.events, log.report.rewritten_events) == (4, 3, 0)


# --- Torn tails -----------------------------------------------------------------------------------


def fillings(image: Image, size: int) -> Iterator[bytes]:
    """Yield what may stand behind a cut: nothing, garbage, and bytes that were valid elsewhere."""
    yield bytes(size)
    yield Random(size).randbytes(size)
    valid = image[newest(image)][model.DATA : model.DATA + 60]
    yield (valid * (size // 60 + 1))[:size]


@pytest.mark.parametrize("name", ["immediate", "deferred"])
def test_cut_at_every_offset(name: str) -> None:
    """What was synced is damage when it is missing; the rest is a torn tail, dropped by whole
    batches and set aside.
    """
    image = LOGS[name]()
    segment, end = newest(image), len(image[newest(image)].rstrip(b"\0"))
    whole = {60: 1, 180: 3, 240: 4}  # where batches of the deferred log end
    for offset in range(model.DATA, end):
        for filling in fillings(image, end - offset):
            if filling == image[segment][offset:end]:
                continue
            cut = changed(image, segment, offset, filling)
            seen = same_as_model(cut)
            if name == "immediate":
                assert seen is None
                continue
            assert seen is not None
            left = max(
                (count for size, count in whole.items() if size <= offset - model.DATA), default=0
            )
            assert len(seen.events) >= left  # some cuts fall into zeros and take nothing
            assert len(seen.events) in (0, 1, 3, 4)
            if offset % 7 == 0:
                check_set_aside(cut, seen)


def check_set_aside(image: Image, seen: Seen) -> None:
    """Opening keeps exactly the dropped bytes, and changes nothing of the old segment."""
    recovered, log, disk = opened(image)
    assert recovered == [data_of(payload) for _, _, payload in seen.events]
    files = quarantined(disk)
    dropped = image[newest(image)][seen.end : seen.end + seen.dropped_bytes]
    kept = [data for name, data in files.items() if name.startswith("quarantine/segment-")]
    assert kept == ([dropped] if dropped else [])
    assert len(files) == bool(dropped) + seen.ring_has_dropped
    for name, data in files.items():
        kind, number, offset, checksum = (
            name.removeprefix("quarantine/").removesuffix(".bin").split("-")
        )
        assert (int(number), int(offset), int(checksum, 16)) == (
            model.header_of(newest(image), image[newest(image)]).number,
            seen.end,
            model.crc(data),
        )
        assert data == (dropped if kind == "segment" else image["ring"][model.RING_DATA :])
    report = log.report
    end = None if dropped or files or report.rewritten_events else seen.end
    assert disk.image(DIRECTORY)[newest(image)][:end] == image[newest(image)][:end]
    assert (report.dropped_bytes, report.dropped_offset if dropped else seen.end) == (
        len(dropped),
        seen.end,
    )
    if files:
        assert report.drop_reason
        assert report.dropped_segment == 1


def test_torn_records_in_the_ring() -> None:
    """A record that was being copied when the process died; the ring is set aside where it held
    events behind it.
    """
    image = ring_log()
    ring = image["ring"]
    end = model.DATA + sum(
        16 + len(entry(numbered(n, n))) + -len(entry(numbered(n, n))) % 4 for n in range(1, 6)
    )
    for offset in range(model.DATA + 60, end):
        for filling in (bytes(end - offset), b"\xa5" * (end - offset), b"\xa5"):
            if ring[65536 + offset :][: len(filling)] == filling:
                continue
            cut = changed(image, "ring", 65536 + offset, filling)
            seen = same_as_model(cut)
            assert seen is not None
            assert len(seen.events) in (1, 2, 4, 5)
            if offset % 11 == 0:
                check_set_aside(cut, seen)


def test_an_unfinished_batch_is_dropped_whole() -> None:
    image = deferred_log()
    segment = newest(image)
    batch = records(image)[1:3]
    for end in (batch[0].position + batch[0].size, batch[1].position + 20):
        cut = {**image, segment: image[segment][:end] + bytes(len(image[segment]) - end)}
        seen = same_as_model(cut)
        assert seen is not None
        assert len(seen.events) == 1
        assert seen.drop_reason == "batch" if end % 4 == 0 else True
        check_set_aside(cut, seen)


def test_events_of_the_ring_only() -> None:
    seen = same_as_model(ring_log())
    assert seen is not None
    assert (seen.last_sequence, seen.durable_sequence, seen.durable_last_sequence) == (5, 1, 1)


def test_the_ring_serves_where_the_segment_is_torn() -> None:
    """A drain that was cut short: the segment's bytes are garbage, the ring's are whole."""
    image = ring_log()
    torn = changed(image, newest(image), model.DATA + 60, b"\x5a" * 100)
    seen = same_as_model(torn)
    assert seen is not None
    assert seen.last_sequence == 5
    recovered, _, _ = opened(torn)
    assert len(recovered) == 5


def test_the_ring_does_not_heal_what_was_durable() -> None:
    """Below the durable bound the segment alone counts, although the ring may still hold the same
    record.
    """
    image = immediate_log()
    for record in records(image):
        ring_at = 65536 + record.position % 65536
        assert (
            image["ring"][ring_at : ring_at + record.size]
            == image[FIRST][record.position : record.position + record.size]
        )
        assert same_as_model(changed(image, FIRST, record.position + 20, b"\xee\xee")) is None


# --- Damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["immediate", "closed"])
def test_every_flipped_bit_is_refused_or_takes_nothing(name: str) -> None:
    """No event that was acknowledged as durable is ever dropped as a torn tail."""
    image = LOGS[name]()
    good = core_reads(image)
    assert not isinstance(good, str)
    end = len(image[FIRST].rstrip(b"\0"))
    places = [
        (FIRST, at)
        for at in [
            *range(128),
            *range(4096, 4224),
            *range(model.DATA, end + 40),
            *range(end, 65536, 997),
        ]
    ]
    places += [
        ("ring", at)
        for at in [
            *range(64),
            *range(4096, 4112),
            *range(8192, 8208),
            *range(65536 + 8192, 65536 + end),
        ]
    ]
    places += [("ring", at) for at in range(64, 131072, 997)]
    for number, (file, at) in enumerate(places):
        for bit in range(8):
            flipped = changed(image, file, at, bytes([image[file][at] ^ 1 << bit]))
            seen = same_as_model(flipped) if number % 41 == bit else core_reads(flipped)
            assert seen is None or isinstance(seen, str) or seen.events == good.events, (
                file,
                at,
                bit,
            )


def test_flipped_bits_of_an_older_segment() -> None:
    image = chained_log()
    good = core_reads(image)
    assert not isinstance(good, str)
    random = Random(3)
    for name in sorted(image):
        if name.startswith("wal/"):
            used = len(image[name].rstrip(b"\0"))
            for at in [
                *random.sample(range(model.DATA, used), 40),
                *random.sample(range(128), 20),
                *random.sample(range(4096, 4224), 20),
            ]:
                seen = core_reads(
                    changed(image, name, at, bytes([image[name][at] ^ 1 << random.randrange(8)]))
                )
                assert isinstance(seen, str) or seen.events == good.events


def test_header_copies_damaged_in_turn() -> None:
    image = immediate_log()
    for at in (0, 8, 12, 40, 124, 4096, 4104, 4220):
        recovered, _, _ = opened(changed(image, FIRST, at, b"\xff"))
        assert len(recovered) == 6
    both = changed(changed(image, FIRST, 40, b"\xff"), FIRST, 4136, b"\xff")
    assert core_reads(both) == "header_invalid"


def test_no_record_counts_in_another_place() -> None:
    """Every pair of records of the same size, copied and swapped; the same places of another
    segment and another log.
    """
    made = session()
    for number in range(1, 7):
        made.commit(numbered(number))
    image = image_of(made)
    data, found = image[FIRST], records(image)
    for left in found:
        for right in found:
            if left is right:
                continue
            pieces = [
                data[record.position : record.position + record.size] for record in (left, right)
            ]
            copied = changed(image, FIRST, right.position, pieces[0])
            assert same_as_model(copied) is None
            assert same_as_model(changed(copied, FIRST, left.position, pieces[1])) is None
    other = immediate_log()
    for stranger in (other, {FIRST: chained_log()[newest(chained_log())]}):
        piece = stranger[FIRST][found[0].position : found[0].position + 60]
        assert same_as_model(changed(image, FIRST, found[0].position, piece)) is None


def test_a_broken_batch_is_damage_and_no_tear() -> None:
    """Verified records whose flags contradict each other are no remains of a crash, wherever they
    stand.
    """
    image = deferred_log()
    header = model.header_of(FIRST, image[FIRST])
    end = records(image)[-1].position + records(image)[-1].size
    for flags in ((model.END,), (model.OPEN, 0), (model.OPEN, model.OPEN, 0)):
        data, at = b"", end
        for number, flag in enumerate(flags):
            data += model.record_bytes(
                header, at + len(data), 4 + number, 31, entry(b"x"), lag=5 + number, flags=flag
            )
        for file, offset in ((FIRST, end), ("ring", 65536 + end)):
            broken = changed(image, file, offset, data)
            assert same_as_model(broken) is None
            assert core_reads(broken) == "batch"


def test_an_absurd_number_of_headers_is_a_torn_tail() -> None:
    """Bytes made to look like overlapping records everywhere cost one pass, and are no evidence of
    anything.
    """
    image = deferred_log()
    end = len(image[FIRST].rstrip(b"\0")) + 8 & ~3
    count = (65536 - end) // 16
    lookalike = b"".join(
        b"\1\2\3\4"
        + (max(65536 - end - 16 * n - 16, 0)).to_bytes(3, "little")
        + b"\x1f"
        + (9).to_bytes(4, "little")
        + bytes(4)
        for n in range(count)
    )
    seen = core_reads(changed(image, FIRST, end, lookalike))
    assert not isinstance(seen, str)
    assert seen.events == core_reads(image).events


# --- Files ----------------------------------------------------------------------------------------


def test_lost_rings() -> None:
    for name, make in LOGS.items():
        image = make()
        del image["ring"]
        assert core_reads(image) == "ring_missing" if name != "closed" else same_as_model(image)
    recovered, _, _ = opened({name: data for name, data in closed_log().items() if name != "ring"})
    assert len(recovered) == 3


def test_foreign_and_stale_files() -> None:
    image, closed, chained = immediate_log(), closed_log(), chained_log()
    foreign = Session(home())
    foreign.next_seed = 77
    foreign.open()
    foreign.commit(numbered(1), numbered(2))
    other = image_of(foreign)
    assert core_reads({**image, "ring": other["ring"]}) == "other_log"
    assert core_reads({**image, FIRST: other[FIRST]}) == "other_log"
    assert core_reads({**chained, FIRST: other[FIRST]}) in ("other_log", "link")
    # An older copy of the same segment, beside the ring of today.
    assert (
        same_as_model({**image, FIRST: image[FIRST][: model.DATA] + bytes(65536 - model.DATA)})
        is None
    )
    assert (
        same_as_model(
            {
                **closed,
                FIRST: changed(closed, FIRST, records(closed)[1].position, bytes(500))[FIRST],
            }
        )
        is None
    )


def test_segments_missing_doubled_and_renamed() -> None:
    image = chained_log()
    names = sorted(name for name in image if name.startswith("wal/"))
    assert len(names) >= 4
    for number, name in enumerate(names):
        without = {path: data for path, data in image.items() if path != name}
        assert same_as_model(without) is None
        assert core_reads(without) == ("history_missing" if number == 0 else "segment_missing")
        doubled = {**image, f"{name[:25]}{99:020d}.log": image[name]}
        assert core_reads(doubled) == "segment_duplicate"
        assert same_as_model(doubled) is None
        renamed = {**without, f"wal/{50:020d}-{name[25:45]}.log": image[name]}
        assert same_as_model(renamed) is None
    swapped = {**image, names[1]: image[names[2]], names[2]: image[names[1]]}
    assert same_as_model(swapped) is None
    assert core_reads({"ring": image["ring"]}) == "segment_missing"
    assert core_reads({"wal/other": b""}) == "not_a_queue"


def test_other_files_are_left_alone() -> None:
    image = {
        **immediate_log(),
        "wal/notes.txt": b"mine",
        "wal/00000000000000000002-00000000000000000007.log.bak": b"old",
    }
    recovered, _, disk = opened(
        {**image, "wal/prepare-0011223344556677.tmp": b"left over", "ring.tmp": b"left over"}
    )
    assert len(recovered) == 6
    after = disk.image(DIRECTORY)
    assert {
        name: after[name] for name in image if name.startswith("wal/") and not name.endswith(".log")
    } == {
        name: data
        for name, data in image.items()
        if name.startswith("wal/") and not name.endswith(".log")
    }
    assert not [name for name in after if name.endswith(".tmp")]


@pytest.mark.parametrize("kind", ["directory", "symlink"])
@pytest.mark.parametrize("name", ["LOCK", "ring", FIRST, "wal", "quarantine", ""])
def test_no_file_where_one_should_be(name: str, kind: str) -> None:
    image = deferred_log()
    image[FIRST] = image[FIRST][:-1] + b"\1"  # something to set aside
    path = f"{DIRECTORY}/{name}".rstrip("/")
    disk = disk_of(
        {file: data for file, data in image.items() if not file.startswith(name or "/")}
        if name
        else image
    )
    if kind == "symlink":
        disk.symlinks.add(path)
    elif name in ("wal", "quarantine", ""):
        disk.directories.discard(path)
        disk.files[path] = File(bytearray(b"a file"))
    else:
        disk.directories.add(path)
    io = MemoryIo(disk)
    with pytest.raises(CoreError) as caught:
        Log(io)
    assert caught.value.status in ("io_error", "corrupt")
    if caught.value.status == "corrupt":
        assert caught.value.fault.reason == "directory"
    assert not io.handles


def test_a_second_writer_is_refused() -> None:
    disk = home()
    io = MemoryIo(disk)
    with Log(io) as log:
        before = disk.image(DIRECTORY)
        with pytest.raises(CoreError) as caught:
            Log(io)
        assert caught.value.status == "locked"
        assert disk.image(DIRECTORY) == before
        log.append(b"still mine")
    with Log(MemoryIo(disk)) as again:
        assert again.recovered == [b"still mine"]


def test_only_an_opening_that_may_create_does() -> None:
    disk = home()
    with pytest.raises(CoreError) as caught:
        Log(MemoryIo(disk), may_create=False)
    assert caught.value.status == "not_a_queue"
    assert not disk.files
    assert disk.directories == {"/", "/home"}
    snapshot = Disk({f"{DIRECTORY}/snapshots/00000000000000000009.snap": b"x"})
    with pytest.raises(CoreError) as caught:
        Log(MemoryIo(snapshot))
    assert caught.value.status == "corrupt"
    assert not [path for path in snapshot.files if "/wal/" in path]


# --- Room on the disk -----------------------------------------------------------------------------


def test_kills_that_leave_nothing_open_take_no_room() -> None:
    """A process that is killed and started again and again, with a durable event each time or
    without one.
    """
    disk = home()
    for number in range(20):
        log = Log(MemoryIo(disk, seed=number))
        assert len(log.recovered) == (number + 1) // 2
        if number % 2 == 0:
            log.commit(numbered(number))
        log.kill()
        assert sum(path.endswith(".log") for path in disk.files) == 1
    for loss in (Loss(), NoLoss()):
        assert len(Log(MemoryIo(disk.after_power_loss(loss))).recovered) == 10


def test_what_was_cut_short_is_removed() -> None:
    image = {**immediate_log(), "snapshots/snapshot.tmp": b"half", "quarantine/copy.tmp": b"half"}
    _, _, disk = opened(image)
    assert not [name for name in disk.image(DIRECTORY) if name.endswith(".tmp")]


@pytest.mark.parametrize("end", ["closed", "killed", "deferred"])
def test_a_full_disk_opens_in_the_room_of_its_ring(end: str) -> None:
    """There is no room for a second ring: the first gives up its own, and a kill or a power loss in
    between costs nothing.
    """
    start = home()
    log = Log(MemoryIo(start))
    log.commit(numbered(1), numbered(2))
    if end == "deferred":
        log.append(numbered(3))
    if end == "closed":
        log.close()
    else:
        log.kill()
    dry = MemoryIo(start.copy())
    with Log(dry) as log:
        before = log.recovered
    at = next(
        call.index
        for call in dry.calls
        if (call.operation, call.path) == ("write", f"{DIRECTORY}/ring.tmp")
    )
    images: list[tuple[Call, Disk]] = []
    disk = start.copy()
    io = MemoryIo(disk, fault=Fault(at, errno.ENOSPC))
    io.after_call = lambda call: images.append((call, disk.copy()))
    log = Log(io)
    assert io.failed
    assert not io.mistakes
    assert log.recovered == before
    log.commit(numbered(4))
    log.close()
    for call, image in images:
        for left in (image.copy(), image.after_power_loss(NoLoss())):
            assert Log(MemoryIo(left)).recovered[: len(before)] == before, call
        assert Log(MemoryIo(image.after_power_loss(Loss()))).recovered[:2] == before[:2], call
