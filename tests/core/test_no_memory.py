"""Every allocation of the core fails in turn, once and from then on: the call says so, nothing has
changed, and it works when tried again.

Refused memory must not damage what is there, must not leak what was taken, and must leave no file
open.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support.core.crash_images import numbered
from tests.support.core.damaged_queues import (
    RING,
    SIZE,
    check_nothing_destroyed,
    flip,
    lose,
    replace_file,
    segment_paths,
)
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import (
    DIRECTORY,
    CoreError,
    Log,
    Table,
    check,
    entry_of_size,
    read_stream,
)
from tests.support.core.memory_io import Disk, MemoryIo, home
from tests.support.core.snapshot_driver import (
    compact,
    data_up_to,
    opened_log,
    reopened,
    repair,
    salvage,
    snapshot_path,
)
from tests.support.crash import ledger

ROW = "memory exhaustion"
LARGE = entry_of_size(70_000)


def followed(io: MemoryIo) -> int:
    """Follow the log to its durable end; return how many events that were."""
    fault, made, record = (
        ffi.new("aqw_fault *"),
        ffi.new("aqw_follower **"),
        ffi.new("aqw_record *"),
    )
    check(lib.aqw_follower_open(io.table, DIRECTORY.encode(), 0, made, fault), fault)
    count = 0
    try:
        while (status := lib.aqw_follower_next(made[0], record, fault)) == lib.AQW_OK:
            count += 1
        if status != lib.AQW_END:
            raise CoreError(status, fault)
    finally:
        lib.aqw_follower_free(made[0])
    return count


class Session:
    """The life of a queue in steps, each of which may be tried again after it failed."""

    def __init__(self, *, maps: bool) -> None:
        self.disk, self.maps = Disk(), maps
        self.io = self.process()
        self.log: Log | None = None
        self.acknowledged: list[bytes] = []

    def process(self) -> MemoryIo:
        return MemoryIo(self.disk, maps=self.maps)

    def steps(self) -> list[Callable[[], None]]:
        mapped_only = [self.kill, self.open] if self.maps else []
        return [
            self.open,
            lambda: self.append(b"first"),
            lambda: self.append(b"a", b"batch", b"of", b"four"),
            lambda: self.append(LARGE),  # written directly
            *[lambda: self.append(bytes(20_000))] * 5,  # rotates
            self.sync,
            self.follow,
            self.read,
            self.compact,
            lambda: self.append(b"not synced"),
            *mapped_only,
            lambda: self.append(*[bytes(3000)] * 40),
            self.compact,
            lambda: self.append(b"and more"),
            self.close,
            self.open,
            lambda: self.append(b"last"),
            self.kill,
            self.open,
            self.close,
        ]

    def open(self) -> None:
        self.log = Log(self.io)

    def append(self, *data: bytes) -> None:
        log = self.log
        assert log is not None
        before = (log.last_sequence, log.stats.appended_bytes, log.state)
        try:
            log.append(*data)
        except (CoreError, MemoryError):
            assert (log.last_sequence, log.stats.appended_bytes, log.state) == before
            raise
        self.acknowledged.extend(data)

    def sync(self) -> None:
        assert self.log is not None
        self.log.sync()

    def compact(self) -> None:
        compact(self.io)

    def follow(self) -> None:
        assert self.log is not None
        assert followed(self.io) == self.log.durable_sequence

    def read(self) -> None:
        assert read_stream(self.io).last_sequence == len(self.acknowledged)

    def close(self) -> None:
        assert self.log is not None
        self.log.close()
        self.log = None

    def kill(self) -> None:
        assert self.log is not None
        self.log.kill()
        self.log = None
        self.io = self.process()

    def run(self, number: int, *, for_good: bool) -> bool:
        """Go through the steps while allocation `number` fails. Return whether there was one."""
        lib.aqw_test_memory_fail(number, for_good)
        has_failed = False
        for step in self.steps():
            try:
                step()
            except (CoreError, MemoryError) as error:
                assert isinstance(error, MemoryError) or error.status == "no_memory", error
                assert not has_failed or for_good
                has_failed = True
                assert not self.io.handles or self.log is not None
                lib.aqw_test_memory_fail(-1, 0)
                step()
        failed = lib.aqw_test_memory_failures()
        lib.aqw_test_memory_fail(-1, 0)
        assert not self.io.mistakes
        assert not self.io.handles
        with Log(self.process()) as log:
            assert log.last_sequence == len(self.acknowledged)
        return has_failed or failed > 0


@pytest.mark.parametrize("maps", [True, False], ids=["mapped", "unmapped"])
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
def test_every_allocation_fails(for_good: bool, maps: bool, long_form: bool) -> None:
    """The short form fails every seventh, of which it begins with another one each time that it is
    run in another way.
    """
    gc.collect()  # what other tests have left is not to go in the middle
    blocks = lib.aqw_test_memory_blocks()
    number = 1 if long_form else 1 + for_good + 2 * maps
    tried = 0
    while Session(maps=maps).run(number, for_good=for_good):
        assert lib.aqw_test_memory_blocks() == blocks, number
        number += 1 if long_form else 7
        tried += 1
    assert number > 50
    assert lib.aqw_test_memory_blocks() == blocks
    ledger.record(
        ROW,
        tried,
        0,
        "allocations of open, append, batch, rotation, sync, snapshot, follow, read, close",
    )


# --- Damaged directories --------------------------------------------------------------------------


def log_to_damage() -> Disk:
    """Return the disk of a log that needs all of its parts: two snapshots and no segment behind the
    older, segments, and a ring.

    The seventh and last event is in the ring only.
    """
    disk = home()
    log = opened_log(disk)
    for number in range(1, 7):
        log.commit(numbered(number, SIZE))
        if number in {2, 3}:
            compact(log.io)
    log.append(numbered(7, SIZE))
    log.kill()
    return disk.copy()


def without_an_event() -> Disk:
    disk = log_to_damage()
    lose(disk, numbered(5, SIZE))
    return disk


def without_a_snapshot() -> Disk:
    """Return the disk of the log without an event, where only the older snapshot can be read."""
    disk = without_an_event()
    flip(disk, snapshot_path(3), 100)
    return disk


def with_another_segment() -> Disk:
    """Return the disk of the log and a file that is no segment of its chain: all events can be
    kept.
    """
    disk = log_to_damage()
    replace_file(disk, segment_paths(disk)[-1].replace("/wal/0", "/wal/1"), b"junk")
    return disk


def without_headers() -> Disk:
    """Return the disk of the log in which neither the last segment nor the ring can be told."""
    disk = log_to_damage()
    for offset in (16, 4096 + 16):
        flip(disk, segment_paths(disk)[-1], offset)
    flip(disk, RING, 16)
    return disk


DAMAGED: dict[str, tuple[Callable[[], Disk], int]] = {
    "an event": (without_an_event, 4),
    "an event and a snapshot": (without_a_snapshot, 4),
    "another segment": (with_another_segment, 7),
    "headers": (without_headers, 6),
}
"""Damaged logs, and how many events of them a repair keeps."""


def files_of(disk: Disk) -> dict[str, bytes]:
    """Return all files but the lock, whose text a repair may write, and what a broken-off writing
    left for the next to remove.
    """
    return {
        name: data
        for name, data in disk.image(DIRECTORY).items()
        if name != "LOCK" and not name.endswith(".tmp")
    }


def fails(
    io: MemoryIo, number: int, act: Callable[[MemoryIo], object], *, for_good: bool
) -> tuple[bool, object]:
    """Make the call while allocation `number` fails. Return whether there was one, and what the
    call returned, None where it failed.
    """
    blocks = lib.aqw_test_memory_blocks()
    lib.aqw_test_memory_fail(number, for_good)
    result = None
    try:
        result = act(io)
    except CoreError as error:
        assert error.status == "no_memory", error
        assert lib.aqw_test_memory_failures() > 0
    failed = lib.aqw_test_memory_failures() > 0
    lib.aqw_test_memory_fail(-1, 0)
    assert not io.handles
    assert not io.mistakes
    assert lib.aqw_test_memory_blocks() == blocks, number
    return failed, result


def salvage_moved(io: MemoryIo) -> list[tuple[int, bytes]]:
    """Return the events in what a repair has moved away."""
    prefix = next(
        name[11:35] for name in io.disk.image(DIRECTORY) if name.startswith("quarantine/repair-")
    )
    return salvage(io, prefix)


READERS: dict[str, Callable[[MemoryIo], object]] = {
    "repair, only looking": partial(repair, accepts_data_loss=False, only_looks=True),
    "repair, planned": partial(repair, accepts_data_loss=False),
    "salvage": salvage,
    "salvage of what was moved": salvage_moved,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("damaged", DAMAGED)
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
def test_every_allocation_of_a_look_at_damage_fails(
    for_good: bool, damaged: str, reader: str
) -> None:
    """The call tells nothing else than with all the memory, and changes nothing."""
    gc.collect()
    (make, _), act = DAMAGED[damaged], READERS[reader]
    disk = make()
    if act is salvage_moved:
        repair(MemoryIo(disk))
    expected = act(MemoryIo(disk.copy()))
    before = files_of(disk)
    number = 1
    while True:
        failed, seen = fails(MemoryIo(disk), number, act, for_good=for_good)
        assert seen in (None, expected)
        assert files_of(disk) == before
        assert act(MemoryIo(disk)) == expected
        if not failed:
            break
        number += 1
    assert seen == expected
    assert number > 5
    ledger.record(ROW, number - 1, 0, "allocations of repairs and salvages of damaged logs")


@pytest.mark.parametrize("maps", [True, False], ids=["mapped", "unmapped"])
@pytest.mark.parametrize("damaged", DAMAGED)
@pytest.mark.parametrize("for_good", [False, True], ids=["once", "from then on"])
def test_every_allocation_of_a_repair_fails(for_good: bool, damaged: str, maps: bool) -> None:
    """It is done, or says that it is not and can be run again: then as much is kept as with all the
    memory. Nothing is destroyed.

    One that had moved files when it failed finds the same events, but other damage than there was.
    """
    gc.collect()
    make, kept = DAMAGED[damaged]
    whole = make()
    expected = repair(MemoryIo(whole.copy(), maps=maps))
    assert expected.kept == kept
    number, half_done = 1, 0
    while True:
        disk = whole.copy()
        failed, report = fails(MemoryIo(disk, maps=maps), number, repair, for_good=for_good)
        check_nothing_destroyed(whole, disk)
        if report is None:
            is_half_done = files_of(disk) != files_of(whole)
            half_done += is_half_done
            again = repair(MemoryIo(disk, maps=maps))
            assert (again.is_damaged, again.kept) == (True, kept)
            assert again == expected or is_half_done
            check_nothing_destroyed(whole, disk)
        else:
            assert report == expected
        assert reopened(disk).recovered == data_up_to(kept, SIZE)
        if not failed:
            break
        number += 1
    assert number > 10
    # The new ring, where it is not mapped, takes memory when all else is done.
    assert maps or half_done > 0
    ledger.record(ROW, number - 1, 0, "allocations of repairs and salvages of damaged logs")


def test_a_table_that_finds_no_memory_while_events_are_applied() -> None:
    """What the table refuses for want of memory was not appended, because it comes first."""
    log, table = Log(MemoryIo(Disk())), Table()
    event, payload = (
        ffi.new("aqw_event *"),
        bytes.fromhex("11" * 16 + "22" * 16) + b"\1\0\1k" + b"\1x",
    )
    assert (
        lib.aqw_event_decode(lib.AQW_LEDGER_ENTRY_APPENDED, 1, payload, len(payload), event)
        == lib.AQW_OK
    )
    refused = 0

    @ffi.callback("aqw_status(void *)")
    def before(_context: Any) -> int:
        return int(lib.aqw_table_apply(table.table, event))

    for sequence in range(1, 2001):
        event.sequence = sequence
        lib.aqw_batch_reset(log.batch.batch)
        assert lib.aqw_batch_add(log.batch.batch, event) == lib.AQW_OK
        lib.aqw_test_memory_fail(1, 0)
        status = lib.aqw_log_try_append(log.log, log.batch.batch, before, ffi.NULL, log.fault)
        lib.aqw_test_memory_fail(-1, 0)
        if status == lib.AQW_NO_MEMORY:
            refused += 1
            assert log.last_sequence == sequence - 1 == lib.aqw_table_latest_sequence(table.table)
            status = lib.aqw_log_try_append(log.log, log.batch.batch, before, ffi.NULL, log.fault)
        if status == lib.AQW_NEEDS_ROOM:
            assert lib.aqw_log_make_room(log.log, log.batch.batch.size, log.fault) == lib.AQW_OK
            status = lib.aqw_log_try_append(log.log, log.batch.batch, before, ffi.NULL, log.fault)
        assert status == lib.AQW_OK
        assert log.last_sequence == sequence == lib.aqw_table_latest_sequence(table.table)
    log.close()
    assert refused > 0
    ledger.record(ROW, refused, 0, "the table's, under an append")


def test_threads_that_find_no_memory_now_and_then() -> None:
    """The core takes memory on the caller's thread only; failing there leaves the others alone."""
    log = Log(MemoryIo(Disk(), background=True))
    failures: list[str] = []

    def sync() -> None:
        fault = ffi.new("aqw_fault *")
        for _ in range(50):
            status = lib.aqw_log_sync(log.log, 2**64 - 1, fault)
            if status != lib.AQW_OK:
                failures.append(str(status))

    threads = [threading.Thread(target=sync) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(40):
        lib.aqw_test_memory_fail(1 + number % 3, 0)
        try:
            log.append(bytes(5000 * (number % 7)))
        except (CoreError, MemoryError) as error:
            assert isinstance(error, MemoryError) or error.status == "no_memory"
    lib.aqw_test_memory_fail(-1, 0)
    for thread in threads:
        thread.join()
    assert failures == []
    log.close()
