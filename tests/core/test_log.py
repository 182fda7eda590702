"""An open log: limits, room, rotation, padding, the ring's verification, and what a refused append
leaves.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.core import log_model as model
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import (
    DIRECTORY,
    NOW,
    Batch,
    CoreError,
    Log,
    check,
    entry,
    entry_of_size,
    fault_text,
    new_log,
    options,
    status_name,
)
from tests.support.core.memory_io import OPERATIONS, Call, Disk, Loss, MemoryIo, home

RING = 65536


def closed(log: Log) -> list[bytes]:
    """Close the log; return what comes back from its disk."""
    assert log.io is not None
    log.close()
    assert not log.io.mistakes
    assert not log.io.handles
    with Log(MemoryIo(log.io.disk)) as again:
        assert again.report.is_clean
        return again.recovered


# --- Options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "wrong"),
    [
        ({"segment_size": 32768}, "segment_size"),
        ({"segment_size": 65536 + 4096}, "segment_size"),
        ({"segment_size": 3 * 65536}, "segment_size"),
        ({"segment_size": 2**31}, "segment_size"),
        ({"segment_size": 0}, "segment_size"),
        ({"ring_size": 0}, "ring_size"),
        ({"ring_size": 65536 + 4096}, "ring_size"),
        ({"ring_size": 2**28 + 65536}, "ring_size"),
        ({"sector_size": 1}, "sector_size"),
        ({"sector_size": 1024}, "sector_size"),
    ],
)
def test_options_out_of_range(chosen: dict[str, Any], wrong: str) -> None:
    io = MemoryIo(home())
    with pytest.raises(CoreError) as caught:
        Log(io, **chosen)
    assert caught.value.status == "invalid_argument"
    assert caught.value.fault.operation == wrong
    assert not io.calls


def test_options_at_their_limits() -> None:
    fault = ffi.new("aqw_fault *")
    limits: list[dict[str, Any]] = [
        {"segment_size": 65536},
        {"segment_size": 2**30},
        {"ring_size": 65536},
        {"ring_size": 2**28},
        {"sector_size": 512},
        {"sector_size": 4096},
    ]
    for chosen in limits:
        made = options(**chosen)  # addressof keeps nothing alive
        assert lib.aqw_log_options_check(ffi.addressof(made, "log"), fault) == lib.AQW_OK


# --- Room -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sector", [0, 512, 4096])
@pytest.mark.parametrize("beyond", [-4, 0, 4])
def test_a_record_that_just_fits_its_segment(sector: int, beyond: int) -> None:
    """At the limit it goes into the segment, past it into the next; a marker always has room."""
    reserve = 16 + (sector + 16 if sector else 0)
    log = new_log(sector_size=sector, segment_size=65536)
    size = 65536 - model.DATA - reserve + beyond
    log.append(entry_of_size(size - 16))
    stats = log.stats
    assert stats.segment_number == (2 if beyond > 0 else 1)
    assert stats.rotations == stats.segment_number - 1
    assert stats.segment_used == model.DATA + size
    log.sync()
    log.append(b"next")
    assert log.stats.segment_number == 2
    assert len(closed(log)) == 2


@pytest.mark.parametrize("beyond", [-4, 0, 4])
def test_a_record_that_just_fits_the_ring(beyond: int) -> None:
    """At the limit it waits in the ring; past it, it is written to the segment at once."""
    log = new_log(segment_size=2**20)
    data = entry_of_size(RING + beyond - 16)
    assert lib.aqw_log_is_direct(log.log, RING + beyond) == (beyond > 0)
    log.append(data)
    assert log.stats.ring_used == (0 if beyond > 0 else RING + beyond)
    log.append(b"next")
    assert closed(log) == [data, b"next"]


@pytest.mark.parametrize("beyond", [-1, 0])
def test_the_ring_is_drained_when_it_is_full(beyond: int) -> None:
    log = new_log(segment_size=2**20)
    first, rest = entry_of_size(30_000), entry_of_size(RING - 30_016 - 16 + 4 * beyond)
    log.append(first)
    log.append(rest)
    assert log.stats.ring_used == RING + 4 * beyond
    assert log.stats.drains == 0
    log.append(b"more")
    assert log.stats.drains == 1
    assert log.durable_sequence == 0
    assert closed(log) == [first, rest, b"more"]


def test_a_batch_larger_than_any_segment_gets_its_own() -> None:
    log = new_log(segment_size=65536)
    log.append(b"first")
    log.append(*(bytes([number]) * 50_000 for number in range(6)))
    assert log.stats.segment_number == 2
    assert log.stats.segment_size > 300_000
    log.append(b"y" * 60_000)
    assert log.stats.segment_number == 3
    assert log.stats.segment_size > 65_536
    assert len(closed(log)) == 8


def test_the_greatest_record() -> None:
    """A payload at the limit is appended and read back."""
    data = entry_of_size(lib.AQW_PAYLOAD_SIZE_MAX)
    log = new_log()
    log.commit(data)
    log.commit(b"small")
    assert closed(log) == [data, b"small"]


def test_segments_double_up_to_their_greatest_size() -> None:
    log = new_log(segment_size=2**20)
    sizes = [log.stats.segment_size]
    for _ in range(80):
        log.append(bytes(50_000))
        if log.stats.segment_size != sizes[-1] or log.stats.segment_number != len(sizes):
            sizes.append(log.stats.segment_size)
    assert sizes[:4] == [2**18, 2**19, 2**20, 2**20]
    assert set(sizes[4:]) <= {2**20}
    assert len(closed(log)) == 80


def test_segments_are_prepared_in_the_background() -> None:
    """Whoever makes the next segment, the log is the same."""
    log = new_log(segment_size=65536, background=True)
    entries = [bytes([number]) * 9_000 for number in range(40)]
    for data in entries:
        log.append(data)
    assert log.stats.rotations > 5
    assert log.io is not None
    assert closed(log) == entries
    assert not [path for path in log.io.disk.files if path.endswith(".tmp")]


def test_without_space_the_log_waits_for_some() -> None:
    """No room for a segment: nothing changes, smaller appends go on, and with space so does the
    larger one.
    """
    log = new_log(segment_size=65536)
    log.commit(b"a" * 40_000)
    io = log.io
    assert io is not None
    write = io.table.write

    def without_space(context: Any, handle: int, *arguments: Any) -> int:
        return (
            errno.ENOSPC
            if io.handles[handle][0].endswith(".tmp")
            else write(context, handle, *arguments)
        )

    full = ffi.callback(OPERATIONS["write"], without_space)
    log_io = ffi.cast("aqw_io *", log.log)  # the log's copy of the table is its first member
    log_io.write = full
    before = io.disk.image(DIRECTORY)
    for _ in range(3):
        with pytest.raises(CoreError) as caught:
            log.append(b"b" * 30_000)
        assert caught.value.status == "no_space"
        assert caught.value.fault.system_error == errno.ENOSPC
        assert caught.value.fault.operation == "write"
    assert io.disk.image(DIRECTORY) == before
    assert (log.state, log.last_sequence) == ("ok", 1)
    log.commit(b"small")
    log_io.write = write
    log.commit(b"b" * 30_000)
    assert closed(log) == [b"a" * 40_000, b"small", b"b" * 30_000]


# --- Appending ------------------------------------------------------------------------------------


def try_append(log: Log, batch: Any, before: Any = ffi.NULL) -> str:
    return status_name(lib.aqw_log_try_append(log.log, batch, before, ffi.NULL, log.fault))


def test_the_callback_decides_before_anything_is_copied() -> None:
    log, batch = new_log(), Batch()
    answers: list[int] = []

    def answering(status: int) -> Any:
        def before(_context: Any) -> int:
            answers.append(status)
            return status

        return ffi.callback("aqw_status(void *)", before)

    assert log.io is not None
    image = log.io.disk.image(DIRECTORY)
    filled = batch.fill(1, [entry(b"x")])
    for refusal in (lib.AQW_REFUSED_UNKNOWN_RUN, lib.AQW_NO_MEMORY):
        assert try_append(log, filled, answering(refusal)) == status_name(refusal)
        assert fault_text(log.fault).status == status_name(refusal)
        assert log.io.disk.image(DIRECTORY) == image
        assert log.last_sequence == 0
    assert try_append(log, filled, answering(lib.AQW_OK)) == "ok"
    assert log.last_sequence == 1
    assert try_append(log, filled, answering(lib.AQW_OK)) == "refused_sequence"
    assert answers == [lib.AQW_REFUSED_UNKNOWN_RUN, lib.AQW_NO_MEMORY, lib.AQW_OK]
    assert closed(log) == [b"x"]


@pytest.mark.skipif(os.name != "posix", reason="Windows cuts no file that is mapped")
def test_a_store_into_a_ring_that_is_cut_in_that_moment_is_not_acknowledged(tmp_path: Path) -> None:
    """So it is on a full disk, where a page of the ring's file is given a block of its own with the
    first store.
    """
    log, batch = Log(directory=str(tmp_path / "queue")), Batch()
    log.commit(b"kept")

    @ffi.callback("aqw_status(void *)")
    def cut(_context: Any) -> int:
        os.truncate(tmp_path / "queue" / "ring", 0)
        return int(lib.AQW_OK)

    assert try_append(log, batch.fill(2, [entry(b"lost")]), cut) == "poisoned"
    assert fault_text(log.fault).operation == "verify the ring"
    assert (log.state, log.last_sequence) == ("poisoned", 1)
    assert try_append(log, batch.fill(2, [entry(b"later")])) == "poisoned"
    lib.aqw_log_close(log.log, log.fault)


def test_an_append_that_needs_io_says_so_first() -> None:
    log, batch = new_log(), Batch()
    log.append(entry_of_size(40_000))
    filled = batch.fill(2, [entry(bytes(30_000))])
    assert log.io is not None
    calls = len(log.io.calls)
    assert try_append(log, filled) == "needs_room"
    assert len(log.io.calls) == calls
    assert lib.aqw_log_make_room(log.log, filled.size, log.fault) == lib.AQW_OK
    assert try_append(log, filled) == "ok"
    assert len(closed(log)) == 2


def test_what_is_appended_while_a_sync_writes_is_not_called_durable() -> None:
    """By another thread, for which the append lock is free then."""
    log, other = new_log(), Batch()
    io = log.io
    assert io is not None
    log.append(b"synced")
    later: list[str] = []

    def append(call: Call) -> None:
        if call.operation == "write" and call.path.endswith(".log") and not later:
            later.append("asked")
            later.append(
                status_name(
                    lib.aqw_log_append(
                        log.log, other.fill(2, [entry(b"later")]), ffi.new("aqw_fault *")
                    )
                )
            )

    io.before_call = append
    log.sync(1)
    io.before_call = None
    assert later == ["asked", "ok"]
    assert log.last_sequence == 2
    assert lib.aqw_log_durable_sequence(log.log) == 1
    assert closed(log) == [b"synced", b"later"]


def test_a_rotation_syncs_what_was_written_while_it_synced() -> None:
    """By another thread, that writes it out too: the next segment's header will call it durable,
    and no later sync is of this file.
    """
    log, other = new_log(), Batch()
    io = log.io
    assert io is not None
    log.append(entry_of_size(40_000))
    between: list[str] = []

    def append(call: Call) -> None:
        if call.operation == "sync" and call.path.endswith(".log") and not between:
            between.append("asked")
            status = lib.aqw_log_append(
                log.log, other.fill(2, [entry(b"between")]), ffi.new("aqw_fault *")
            )
            between.append(status_name(status))
            log.write_out()

    io.after_call = append
    assert lib.aqw_log_make_room(log.log, 30_000, log.fault) == lib.AQW_OK
    io.after_call = None
    assert between == ["asked", "ok"]
    assert log.stats.rotations == 1
    after = Log(MemoryIo(io.disk.after_power_loss(Loss())))
    assert after.recovered[:2] == [entry_of_size(40_000), b"between"]
    after.kill()
    log.kill()


def test_an_empty_batch_is_refused() -> None:
    log, batch = new_log(), Batch()
    assert try_append(log, batch.batch) == "invalid_argument"
    assert lib.aqw_log_append(log.log, batch.batch, log.fault) == lib.AQW_INVALID_ARGUMENT
    assert closed(log) == []


def test_what_the_ring_lost_is_never_written() -> None:
    """A page of the mapping that comes back as zeros poisons the log; the durable part stays as it
    was.
    """
    log = new_log()
    log.commit(b"durable")
    log.append(b"lost")
    io = log.io
    assert io is not None
    ((mapping, _),) = io.mappings.values()
    at = 65536 + log.stats.segment_used
    ffi.buffer(mapping)[at - 40 : at - 20] = bytes(20)
    image = io.disk.image(DIRECTORY)
    with pytest.raises(CoreError) as caught:
        log.sync()
    assert caught.value.status == "poisoned"
    assert caught.value.fault.reason == "record_invalid"
    assert log.state == "poisoned"
    assert {name: data for name, data in io.disk.image(DIRECTORY).items() if name != "ring"} == {
        name: data for name, data in image.items() if name != "ring"
    }
    log.kill()
    with Log(MemoryIo(io.disk)) as again:
        assert again.recovered == [b"durable"]


def test_the_end_of_all_sequences() -> None:
    log = log_at(2**64 - 3)
    batch = Batch()
    for sequence in (2**64 - 2, 2**64 - 1):
        assert try_append(log, batch.fill(sequence, [entry(b"x")])) == "ok"
    for sequence in (0, 2**64 - 1):
        assert try_append(log, batch.fill(sequence, [entry(b"x")])) == "refused_sequence"
    assert log.last_sequence == 2**64 - 1
    log.sync()
    assert log.durable_sequence == 2**64 - 1
    log.close()
    log = log_at(2**64 - 3)
    assert try_append(log, batch.fill(2**64 - 2, [entry(b"x")] * 2)) == "ok"
    log.close()


def log_at(last_sequence: int) -> Log:
    """Return a log whose last event has this sequence: opened by hand, for no recovery comes so
    far.
    """
    io = MemoryIo(Disk(directories=[f"{DIRECTORY}/wal"]))
    fault, prepared = ffi.new("aqw_fault *"), ffi.new("aqw_prepared *")
    directory = ffi.new("char[]", DIRECTORY.encode())
    check(lib.aqw_segment_prepare(io.table, directory, 65536, prepared, fault), fault)
    start, named = ffi.new("aqw_log_start *"), ffi.new("int *")
    start.directory = directory
    start.segment.format_version = 1
    start.segment.place.segment_number = 9
    start.segment.place.first_sequence = last_sequence + 1
    start.segment.file_size = 65536
    lib.aqw_place_seed(ffi.addressof(start.segment.place))
    check(
        lib.aqw_segment_publish(
            io.table, directory, prepared, ffi.addressof(start, "segment"), named, fault
        ),
        fault,
    )
    start.segment_handle = prepared.handle
    start.tail, start.last_sequence = model.DATA, last_sequence
    handle = ffi.new("int64_t *")
    assert (
        lib.aqw_io_open(
            io.table, f"{DIRECTORY}/LOCK".encode(), lib.AQW_OPEN_WRITE | lib.AQW_OPEN_EITHER, handle
        )
        == 0
    )
    start.lock.file, start.lock.folder = handle[0], -1
    uuid = ffi.new("uint8_t[16]")
    check(
        lib.aqw_ring_create(
            io.table, directory, uuid, RING, last_sequence, ffi.addressof(start, "ring"), fault
        ),
        fault,
    )
    log = Log.__new__(Log)
    log.io, log.fault, log.batch, log.options = io, fault, Batch(), options()
    made = ffi.new("aqw_log **")
    check(lib.aqw_log_new(io.table, ffi.addressof(log.options, "log"), start, made, fault), fault)
    log.log = made[0]
    return log


# --- Watermarks, stats, closing -------------------------------------------------------------------


def test_records_carry_the_durable_bound() -> None:
    log = new_log()
    log.append(b"1")
    log.append(b"2")
    log.sync()
    log.append(b"3", b"4")
    assert log.io is not None
    name = f"wal/{1:020d}-{1:020d}.log"
    image = log.io.disk.image(DIRECTORY)
    header = model.header_of(name, image[name])
    ring = model.parse_ring(image["ring"])
    found, at = [], model.DATA
    while (record := ring.record(header, at)) is not None:
        found.append((record.sequence, record.watermark, record.flags))
        at += record.size
    assert found == [(1, 0, 0), (2, 0, 0), (3, 2, model.OPEN), (4, 2, model.END)]
    assert ring.durable_sequence == 2
    assert header.created_at == NOW
    closed(log)


def test_stats_add_up() -> None:
    log = new_log(segment_size=65536)
    log.commit(b"1")
    log.append(b"2", b"3")
    stats = log.stats
    assert (
        stats.last_sequence,
        stats.durable_sequence,
        stats.appended_records,
        stats.syncs,
        stats.drains,
    ) == (
        3,
        1,
        3,
        1,
        1,
    )
    assert (
        stats.segment_used - model.DATA
        == stats.appended_bytes
        == stats.drained_bytes + stats.ring_used
    )
    assert stats.ring_used == 120
    assert stats.ring_size == RING
    assert stats.is_ring_mapped
    log.append(b"4" * 70_000)
    assert (log.stats.segment_number, log.stats.rotations, log.stats.ring_used) == (2, 1, 0)
    log.close()
    unmapped = new_log(maps=False)
    unmapped.append(b"1")
    assert (unmapped.stats.is_ring_mapped, unmapped.stats.ring_used, unmapped.durable_sequence) == (
        0,
        0,
        0,
    )
    unmapped.close()


@pytest.mark.parametrize("sector", [0, 512, 4096])
@pytest.mark.parametrize("size", [40, 33_000])
def test_what_the_segments_grew_by(sector: int, size: int) -> None:
    """Pads count, and the ends of segments that nothing fitted into: the sum is what the files
    have, up to the last record.
    """
    log = new_log(segment_size=65536, sector_size=sector)
    written = 0
    for _ in range(20):
        log.commit(b"x" * size)
        written += size
    assert log.io is not None
    image = log.io.disk.image(DIRECTORY)
    *full, _newest = (
        len(data)
        for name, data in sorted(image.items())
        if name.startswith("wal/") and name.endswith(".log")
    )
    assert len(full) == log.stats.rotations
    assert log.stats.taken_bytes == sum(full) + log.stats.segment_used - model.DATA
    assert log.stats.taken_bytes >= max(20 * sector, written)
    closed(log)


def test_what_is_appended_during_a_sync_is_not_durable_by_it() -> None:
    log, late = new_log(), Batch()
    log.append(b"1")
    io = log.io
    assert io is not None

    def append_late(call: Call) -> None:
        if call.operation == "sync" and log.last_sequence == 1:
            check(lib.aqw_log_append(log.log, late.fill(2, [entry(b"2")]), log.fault), log.fault)

    io.before_call = append_late
    log.sync(1)
    io.before_call = None
    assert (log.last_sequence, log.durable_sequence) == (2, 1)
    assert model.parse_ring(io.disk.bytes_of(f"{DIRECTORY}/ring")).durable_sequence == 1
    log.sync(2)
    assert log.durable_sequence == 2
    assert closed(log) == [b"1", b"2"]


def test_a_sync_of_what_is_durable_does_nothing() -> None:
    log = new_log()
    log.commit(b"1")
    assert log.io is not None
    calls = len(log.io.calls)
    log.sync(0)
    log.sync(1)
    log.sync()
    log.sync(10**9)
    assert len(log.io.calls) == calls
    closed(log)


def test_a_closed_log_says_so() -> None:
    log, batch = new_log(), Batch()
    log.append(b"1")
    assert lib.aqw_log_close(log.log, log.fault) == lib.AQW_OK
    assert lib.aqw_log_close(log.log, log.fault) == lib.AQW_OK
    assert log.state == "closed"
    assert try_append(log, batch.fill(2, [entry(b"x")])) == "closed"
    for act in (lambda: log.append(b"x"), lambda: log.append(bytes(70_000)), log.sync):
        with pytest.raises(CoreError) as caught:
            act()
        assert caught.value.status == "closed"
    assert lib.aqw_log_make_room(log.log, 100, log.fault) == lib.AQW_CLOSED
    log.sync(1)  # that one is durable
    assert log.stats.last_sequence == 1
    assert closed(log) == [b"1"]
