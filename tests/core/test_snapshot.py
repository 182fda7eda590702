"""Snapshot files: what is written is read, and nothing else is; a damaged one costs nothing."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from tests.support.core.crash_images import numbered
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import (
    DIRECTORY,
    KIND,
    CoreError,
    check,
    entry,
    reason_name,
    refusal,
)
from tests.support.core.log_model import RING_SLOTS
from tests.support.core.memory_io import Disk, MemoryIo, home
from tests.support.core.snapshot_driver import (
    BLOCK_TARGET,
    UUID,
    SnapshotFile,
    compact,
    data_up_to,
    load_newest,
    opened_log,
    parse_snapshot,
    queue,
    read_snapshot,
    reopened,
    snapshot_path,
    snapshots_of,
    table_with,
    with_bytes,
    write_snapshot,
)

# --- Writing and reading --------------------------------------------------------------------------


def test_what_was_written_is_read() -> None:
    disk = queue(3, 5)
    for sequence in (3, 5):
        info, table = read_snapshot(MemoryIo(disk), sequence)
        assert table.entries() == data_up_to(sequence)
        assert info.sequence == sequence
        assert info.file_size == len(disk.bytes_of(snapshot_path(sequence)))
        assert info.items == sequence + 1
    choice, table = load_newest(MemoryIo(disk))
    assert (choice.is_found, choice.info.sequence, choice.damaged) == (1, 5, 0)
    assert table.entries() == data_up_to(5)


def test_the_bytes_are_those_of_the_specification() -> None:
    disk = queue(6)
    data = disk.bytes_of(snapshot_path(6))
    file = parse_snapshot(data)
    assert file.to_bytes() == data
    assert file.sequence == 6
    assert [kind for block in file.blocks for kind, _ in block] == [1] + 6 * [14]
    segment = next(disk.bytes_of(path) for path in disk.files if path.endswith(".log"))
    assert file.log_uuid == segment[16:32]


def test_the_same_table_is_the_same_file_but_for_its_salt() -> None:
    files = [parse_snapshot(queue(6).bytes_of(snapshot_path(6))) for _ in range(2)]
    assert files[0].blocks == files[1].blocks


def test_no_snapshot_without_a_directory() -> None:
    choice, table = load_newest(MemoryIo(queue()))
    assert (choice.is_found, choice.damaged) == (0, 0)
    assert table.entries() == []


@pytest.mark.parametrize(
    "size", [1, BLOCK_TARGET - 64, BLOCK_TARGET, BLOCK_TARGET + 1, 3 * BLOCK_TARGET, 2**24 - 64]
)
def test_items_of_any_size(size: int) -> None:
    """One larger than a block has a block of its own; small ones share blocks."""
    data = [b"before", bytes(size), b"after", *(bytes(60_000) for _ in range(9))]
    disk = Disk(directories=["/home", DIRECTORY])
    info = write_snapshot(MemoryIo(disk), table_with(map(entry, data), KIND), UUID)
    _, table = read_snapshot(MemoryIo(disk), len(data))
    assert table.entries() == data
    written = disk.bytes_of(snapshot_path(len(data)))
    assert info.file_size == len(written)
    at, sizes = 64, []
    while at < len(written):
        sizes.append(int.from_bytes(written[at + 4 : at + 8], "little"))
        at += 12 + sizes[-1]
    assert all(block <= max(BLOCK_TARGET, size + 200) for block in sizes)
    assert sizes[-1] == 8


def test_an_empty_table_has_an_image_too() -> None:
    file = SnapshotFile(UUID, 5, 1, 0, (((1, bytes(15)),),))
    disk = Disk({snapshot_path(5): file.to_bytes()})
    # Its head says sequence 0.
    assert refusal(lambda: read_snapshot(MemoryIo(disk), 5)).reason == "snapshot_invalid"


# --- Damage ---------------------------------------------------------------------------------------


def flips(data: bytes, random: Random, bits: int) -> list[bytes]:
    """Return the data with bits of each byte flipped, one at a time."""
    found = []
    for at in range(len(data)):
        for bit in random.sample(range(8), bits):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            found.append(bytes(changed))
    return found


def cuts(data: bytes) -> list[bytes]:
    return [data[:size] for size in range(len(data))] + [data + b"\0", data + data[-20:]]


def test_every_bit_and_every_length(long_form: bool) -> None:
    """Whatever is wrong with it, a snapshot is refused, and the older one takes its place."""
    disk = queue(3, 5)
    data = disk.bytes_of(snapshot_path(5))
    wrong = flips(data, Random(1), 8 if long_form else 1) + cuts(data)
    for changed in wrong:
        image = with_bytes(disk, snapshot_path(5), changed)
        fault = refusal(lambda image=image: read_snapshot(MemoryIo(image), 5))
        assert (fault.status, fault.reason) == ("corrupt", "snapshot_invalid")
        choice, table = load_newest(MemoryIo(image))
        assert (choice.is_found, choice.info.sequence, choice.damaged) == (1, 3, 1)
        assert reason_name(choice.damage.reason) == "snapshot_invalid"
        assert table.entries() == data_up_to(3)


def check_fallback(disk: Disk, changed: bytes | None, expected: list[bytes], snapshot: int) -> None:
    log = reopened(with_bytes(disk, snapshot_path(5), changed))
    assert log.recovered == expected
    assert log.report.snapshot_sequence == snapshot
    assert log.report.snapshots_damaged == (changed is not None)
    assert log.report.events == len(expected) - snapshot
    if changed is not None:
        assert reason_name(log.report.snapshot_damage.reason) == "snapshot_invalid"


def test_recovery_falls_back_and_says_so(long_form: bool) -> None:
    """To the older snapshot, or to the whole log: the state is the same."""
    for others in ((3,), ()):
        disk = queue(*others, 5)
        data = disk.bytes_of(snapshot_path(5))
        wrong = [*flips(data, Random(2), 1), *cuts(data)]
        for changed in wrong if long_form else Random(3).sample(wrong, 60):
            check_fallback(disk, changed, data_up_to(6), others[0] if others else 0)
        check_fallback(disk, None, data_up_to(6), others[0] if others else 0)
    assert reopened(queue(3, 5)).report.snapshot_sequence == 5


def test_a_whole_history_in_the_log_makes_up_for_every_snapshot() -> None:
    disk = queue(3, 5)
    for sequence in (3, 5):
        disk = with_bytes(
            disk, snapshot_path(sequence), disk.bytes_of(snapshot_path(sequence))[:-1]
        )
    log = reopened(disk)
    assert (log.recovered, log.report.snapshot_sequence, log.report.snapshots_damaged) == (
        data_up_to(6),
        0,
        2,
    )


def dropped_history() -> tuple[Disk, list[bytes]]:
    """Return the disk of a closed queue whose log no longer begins at 1, with two snapshots; and
    its events.
    """
    disk = home()
    data = data_up_to(9, 24_000)
    log = opened_log(disk)
    for number, one in enumerate(data, 1):
        log.commit(one)
        if number in (5, 8):
            compact(log.io)
    log.close()
    assert snapshots_of(disk) == [5, 8]
    return disk, data


def test_both_snapshots_damaged_with_the_history_gone() -> None:
    disk, data = dropped_history()
    broken = with_bytes(disk, snapshot_path(8), b"")
    log = reopened(broken.copy())
    assert (log.recovered, log.report.snapshot_sequence) == (data, 5)
    broken = with_bytes(broken, snapshot_path(5), disk.bytes_of(snapshot_path(5))[:-1])
    before = broken.image(DIRECTORY)
    fault = refusal(lambda: reopened(broken))
    assert (fault.status, fault.reason, fault.first_sequence) == ("corrupt", "history_missing", 1)
    assert {name: data for name, data in broken.image(DIRECTORY).items() if name != "LOCK"} == {
        name: data for name, data in before.items() if name != "LOCK"
    }


def test_a_snapshot_without_a_log_is_refused() -> None:
    for ring in (True, False):
        disk = queue(5)
        files = {
            path: disk.bytes_of(path)
            for path in disk.files
            if not path.endswith(".log") and (ring or "ring" not in path)
        }
        for changed in (files[snapshot_path(5)], b"damaged"):
            image = Disk({**files, snapshot_path(5): changed}, disk.directories)
            fault = refusal(lambda image=image: reopened(image))
            assert (fault.status, fault.reason) == ("corrupt", "segment_missing")
            assert fault.last_sequence == (6 if ring else 5)


# --- A snapshot that does not belong there --------------------------------------------------------


def test_a_snapshot_ahead_of_the_log_is_refused() -> None:
    """The log lost its end, which was durable; only the snapshot knows."""
    ahead = queue(6)
    behind = queue(2, events=4)
    segment = next(path for path in ahead.files if path.endswith(".log"))
    short = {path: behind.bytes_of(path) for path in behind.files}
    disk = Disk({**short, snapshot_path(6): ahead.bytes_of(snapshot_path(6))}, behind.directories)
    fault = refusal(lambda: reopened(disk))
    assert fault.reason == "snapshot_ahead"
    assert (fault.first_sequence, fault.last_sequence) == (5, 6)
    assert fault.path == segment


def test_what_a_snapshot_holds_was_durable() -> None:
    """Also where the ring's header no longer says so; and what was durable is not taken from the
    ring.
    """
    disk = home()
    log = opened_log(disk)
    log.commit(*data_up_to(4))
    log.commit(numbered(5))
    compact(log.io)
    log.kill()
    ring = bytearray(disk.bytes_of(f"{DIRECTORY}/ring"))
    for at in RING_SLOTS:
        ring[at : at + 16] = bytes(16)
    disk = with_bytes(disk, f"{DIRECTORY}/ring", bytes(ring))
    log = reopened(disk.copy())
    assert (log.recovered, log.report.durable_sequence, log.report.rewritten_events) == (
        data_up_to(5),
        5,
        0,
    )
    segment = next(path for path in disk.files if path.endswith(".log"))
    data = disk.bytes_of(segment)
    assert (
        refusal(
            lambda: reopened(with_bytes(disk, segment, data.replace(numbered(5), b"damaged5")))
        ).reason
        == "snapshot_ahead"
    )


def test_damage_below_a_snapshot_is_told_as_what_it_is() -> None:
    """It does not look like a snapshot that is ahead of the log."""
    disk = queue(5, events=6)
    segment = next(path for path in disk.files if path.endswith(".log"))
    data = bytearray(disk.bytes_of(segment))
    data[8192 + 60] ^= 1
    assert (
        refusal(lambda: reopened(with_bytes(disk, segment, bytes(data)))).reason == "record_invalid"
    )


def test_a_snapshot_of_another_log_is_refused() -> None:
    disk = queue(5)
    file = replace(parse_snapshot(disk.bytes_of(snapshot_path(5))), log_uuid=UUID)
    assert (
        refusal(lambda: reopened(with_bytes(disk, snapshot_path(5), file.to_bytes()))).reason
        == "other_log"
    )
    foreign = with_bytes(disk, snapshot_path(5), file.to_bytes())
    assert refusal(lambda: compact(MemoryIo(foreign))).reason == "other_log"


def test_a_renamed_snapshot_is_passed_over() -> None:
    disk = queue(3)
    disk = with_bytes(disk, snapshot_path(4), disk.bytes_of(snapshot_path(3)))
    log = reopened(disk)
    assert (log.recovered, log.report.snapshot_sequence, log.report.snapshots_damaged) == (
        data_up_to(6),
        3,
        1,
    )


def test_names_that_are_no_snapshots() -> None:
    disk = queue(3)
    data = disk.bytes_of(snapshot_path(3))
    names = [
        "5.snap",
        f"{5:020d}.snap.tmp",
        f"{0:020d}.snap",
        f"{5:019d}.snap",
        f"{2**64}.snap",
        "snapshot.tmp",
        f"{5:020d}_snap",
    ]
    files = {path: disk.bytes_of(path) for path in disk.files} | {
        f"{DIRECTORY}/snapshots/{name}": data for name in names
    }
    choice, _ = load_newest(MemoryIo(Disk(files, disk.directories)))
    assert (choice.info.sequence, choice.damaged) == (3, 0)


def test_a_newer_format_is_refused_and_a_damaged_version_is_damage() -> None:
    disk = queue(5)
    file = parse_snapshot(disk.bytes_of(snapshot_path(5)))
    newer = with_bytes(disk, snapshot_path(5), replace(file, version=7).to_bytes())
    fault = refusal(lambda: reopened(newer))
    assert (fault.status, fault.format_version) == ("unsupported_format", 7)
    assert refusal(lambda: compact(MemoryIo(newer))).status == "unsupported_format"
    data = bytearray(file.to_bytes())
    data[8] = 7
    log = reopened(with_bytes(disk, snapshot_path(5), bytes(data)))
    assert (log.recovered, log.report.snapshots_damaged) == (data_up_to(6), 1)


def hostile_files(file: SnapshotFile) -> dict[str, bytes]:
    """Return files whose checksums are right, and that no writer makes."""
    whole = file.to_bytes()
    body = whole[64 + 12 : -20]
    count = sum(map(len, file.blocks))
    header = whole[:64]

    def one(count: int, body: bytes) -> bytes:
        return header + file.block_bytes(64, count, body)

    def end(offset: int, count: int) -> bytes:
        return file.block_bytes(offset, 0, count.to_bytes(8, "little"))

    sized = bytearray(one(count, body))
    sized[68:72] = (2**32 - 1).to_bytes(4, "little")
    return {
        "more items than the end says": replace(file, item_count=count - 1).to_bytes(),
        "fewer items than the end says": replace(file, item_count=count + 1).to_bytes(),
        "no blocks": replace(file, blocks=()).to_bytes(),
        "a count that is too large": one(count + 1, body) + end(76 + len(body), count + 1),
        "a count that is too small": one(count - 1, body) + end(76 + len(body), count - 1),
        "an item past its block": one(1, b"\xff\xff\xff\x01") + end(80, 1),
        "half an item header": one(1, b"\x01\0") + end(78, 1),
        "a size past everything": bytes(sized),
        "no end": whole[:-20],
        "two ends": whole + end(len(whole), count),
        "an end that is too long": whole[:-20] + file.block_bytes(len(whole) - 20, 0, bytes(16)),
        "a block out of place": header
        + file.block_bytes(65, count, body)
        + end(76 + len(body), count),
        "blocks swapped": replace(
            file, blocks=tuple((item,) for block in file.blocks for item in reversed(block))
        ).to_bytes(),
        "an unknown type": replace(file, blocks=(*file.blocks, ((99, b""),))).to_bytes(),
        "an empty head": replace(file, blocks=(((1, b""),), *file.blocks)).to_bytes(),
        "a count of everything": one(2**32 - 1, b"") + end(76, 2**32 - 1),
        "a header of another size": replace(file, header_size=128).to_bytes(),
        "version 0": replace(file, version=0).to_bytes(),
    }


def test_hostile_files_are_refused() -> None:
    disk = queue(5)
    file = parse_snapshot(disk.bytes_of(snapshot_path(5)))
    for name, data in hostile_files(file).items():
        image = with_bytes(disk, snapshot_path(5), data)
        fault = refusal(lambda image=image: read_snapshot(MemoryIo(image), 5))
        assert (fault.status, fault.reason) == ("corrupt", "snapshot_invalid"), name
        assert reopened(image).recovered == data_up_to(6), name


def test_blocks_may_be_cut_anywhere_between_items() -> None:
    disk = queue(5)
    file = parse_snapshot(disk.bytes_of(snapshot_path(5)))
    single = replace(file, blocks=tuple((item,) for block in file.blocks for item in block))
    _, table = read_snapshot(MemoryIo(with_bytes(disk, snapshot_path(5), single.to_bytes())), 5)
    assert table.entries() == data_up_to(5)


def test_a_table_that_is_not_empty_is_the_callers_mistake() -> None:
    disk = queue(5)
    with pytest.raises(CoreError) as raised:
        load_into_used(MemoryIo(disk))
    assert raised.value.status == "invalid_argument"


def load_into_used(io: MemoryIo) -> None:
    fault, info = ffi.new("aqw_fault *"), ffi.new("aqw_snapshot_info *")
    table = table_with([entry(b"1")], KIND)
    check(
        lib.aqw_snapshot_read(io.table, DIRECTORY.encode(), 5, table.table, ffi.NULL, info, fault),
        fault,
    )


# --- Many snapshots -------------------------------------------------------------------------------


def test_the_newest_of_many_that_verifies() -> None:
    disk = queue(*range(1, 7))
    assert snapshots_of(disk) == [5, 6]
    files = {path: disk.bytes_of(path) for path in disk.files}
    junk = {
        snapshot_path(100 + number): b"junk" for number in range(lib.AQW_SNAPSHOT_COUNT_MAX - 2)
    }
    choice, table = load_newest(MemoryIo(Disk(files | junk, disk.directories)))
    assert (choice.info.sequence, choice.damaged) == (6, len(junk))
    assert table.entries() == data_up_to(6)
