"""The newest segment held in part: how much memory reading takes, and what becomes of bytes that
change or fail between two readings.
"""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.core.crash_images import numbered
from tests.support.core.damaged_queues import put, segment_paths
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import (
    DIRECTORY,
    OK,
    CoreError,
    Log,
    Seen,
    check,
    data_of,
    read_stream,
)
from tests.support.core.memory_io import Disk, Fault, MemoryIo, home
from tests.support.core.snapshot_driver import salvage

HELD = 2**16
SEGMENT = 2**23


@pytest.fixture(autouse=True)
def held_in_part() -> Iterator[None]:
    lib.aqw_window_limit(HELD)
    yield
    lib.aqw_window_limit(0)


def large_log(count: int = 3000, size: int = 2000) -> tuple[Disk, list[bytes]]:
    disk = home()
    log = Log(MemoryIo(disk), segment_size=SEGMENT)
    written = [numbered(number, size) for number in range(count)]
    for at in range(0, count, 500):
        log.commit(*written[at : at + 500])
    log.kill()
    return disk, written


def payloads(seen: Seen) -> list[bytes]:
    return [data_of(payload) for _, _, payload in seen.events]


@pytest.fixture
def stream() -> Iterator[object]:
    """A stream on a large log, behind its opening: ``stream.made`` and ``stream.io``."""

    class Opened:
        disk, written = large_log()
        io = MemoryIo(disk)
        fault = ffi.new("aqw_fault *")
        made = ffi.new("aqw_stream **")
        record = ffi.new("aqw_record *")

        def next(self) -> int:
            status: int = lib.aqw_stream_next(self.made[0], self.record, self.fault)
            return status

    opened = Opened()
    check(
        lib.aqw_stream_open(
            opened.io.table, DIRECTORY.encode(), ffi.NULL, ffi.NULL, opened.made, opened.fault
        ),
        opened.fault,
    )
    yield opened
    lib.aqw_stream_free(opened.made[0])
    assert not opened.io.handles


def test_reading_takes_the_memory_of_a_part() -> None:
    disk, written = large_log()
    newest = disk.bytes_of(segment_paths(disk)[-1])
    lib.aqw_test_memory_largest(1)
    seen = read_stream(MemoryIo(disk))
    assert payloads(seen)[-1] == written[-1]
    assert len(newest) > 20 * HELD
    assert lib.aqw_test_memory_largest(1) <= HELD + 8192


def test_a_record_larger_than_a_part_is_held_whole() -> None:
    disk, written = large_log(count=3)
    with Log(MemoryIo(disk), segment_size=SEGMENT) as log:
        for size in (5 * HELD, HELD - 50, HELD, 3 * HELD):
            written.append(numbered(len(written), size))
            log.commit(written[-1])
    assert payloads(read_stream(MemoryIo(disk))) == written


def test_what_was_dropped_is_copied_aside_whole() -> None:
    disk, written = large_log(count=1000)
    path, torn = segment_paths(disk)[-1], bytes(range(1, 251)) * 800
    end = read_stream(MemoryIo(disk)).end
    assert end + 8000 + len(torn) < len(disk.bytes_of(path))
    put(disk, path, end + 8000, torn)
    with Log(MemoryIo(disk), segment_size=SEGMENT) as log:
        assert log.recovered == written
    copies = [disk.bytes_of(name) for name in disk.files if "/quarantine/" in name]
    assert copies == [bytes(8000) + torn]


def test_a_record_that_changes_behind_the_first_reading_is_damage(stream) -> None:  # type: ignore[no-untyped-def]
    """It is not taken for the end: what follows it was promised."""
    put(stream.disk, segment_paths(stream.disk)[-1], HELD + 20_000, b"changed!")
    read = 0
    while (status := stream.next()) == OK:
        read += 1
    assert CoreError(status, stream.fault).fault.reason == "record_invalid"
    assert 0 < read < len(stream.written)


def test_a_failure_of_the_second_reading_is_told(stream) -> None:  # type: ignore[no-untyped-def]
    for _ in range(len(stream.written) - 1000):  # into the newest segment
        assert stream.next() == OK
    stream.io.fault = Fault(len(stream.io.calls), errno.EIO, once=False)
    while (status := stream.next()) == OK:
        pass
    fault = CoreError(status, stream.fault).fault
    assert (fault.status, fault.operation, fault.system_error) == ("io_error", "read", errno.EIO)
    assert stream.next() == status  # for good


def test_each_call_of_reading_fails_once() -> None:
    disk, written = large_log(count=300)
    io = MemoryIo(disk)
    assert payloads(read_stream(io)) == written
    for index in range(len(io.calls)):
        if io.calls[index].operation == "close":
            continue
        failing = MemoryIo(disk)
        failing.fault = Fault(index, errno.EIO)
        with pytest.raises(CoreError) as failure:
            read_stream(failing)
        assert failure.value.fault.system_error == errno.EIO
        assert not failing.handles


def test_a_hole_is_passed_once() -> None:
    """Each record that the ring still holds is compared with what is in the segment once, not once
    for each lap of the ring in the hole.
    """
    disk = home()
    log = Log(MemoryIo(disk), segment_size=SEGMENT)
    written = [numbered(number, 2000) for number in range(2500)]
    for at in range(0, len(written), 500):
        log.commit(*written[at : at + 500])
    later = [numbered(number, 24) for number in range(2500, 3000)]
    log.commit(*later)
    log.kill()
    path = segment_paths(disk)[-1]
    size = len(disk.bytes_of(path))
    assert disk.bytes_of(path).index(later[0]) > size // 4 + size // 8
    put(disk, path, size // 8, bytes(size // 4))
    io = MemoryIo(disk)
    found = [data for _, data in salvage(io)]
    assert found[-len(later) :] == later
    assert len(found) < len(written) + len(later)
    reads = sum(call.operation == "read" for call in io.calls)
    assert reads < 40 * (size // HELD)


def test_remains_of_a_ring_that_has_lost_a_page_take_one_pass() -> None:
    """Each of them may be what an earlier lap has left; the segment has as many laps as it is
    larger than the ring.
    """
    disk = home()
    log = Log(MemoryIo(disk), segment_size=SEGMENT)
    written = [numbered(number, 2000) for number in range(2500)]
    for at in range(0, len(written), 500):
        log.commit(*written[at : at + 500])
    begin = log.stats.segment_used
    for number in range(2500, 2900):
        log.append(numbered(number, 24))
    log.kill()
    ring = f"{DIRECTORY}/ring"
    lost = 65536 + begin % 65536
    assert disk.bytes_of(ring)[lost : lost + 16] != bytes(16)
    put(disk, ring, lost, bytes(16))
    io = MemoryIo(disk)
    seen = read_stream(io)
    assert payloads(seen) == written
    assert seen.ring_has_dropped
    # Each takes 24 bytes and its entry's, at places of any multiple of four.
    assert seen.dropped_events == 399
    reads = sum(call.operation == "read" for call in io.calls)
    assert reads < 8 * (len(disk.bytes_of(segment_paths(disk)[-1])) // HELD)


def test_a_canceled_reading_ends() -> None:
    disk, _ = large_log()
    progress = ffi.gc(lib.aqw_progress_new(), lib.aqw_progress_free)
    io, fault, made = MemoryIo(disk), ffi.new("aqw_fault *"), ffi.new("aqw_stream **")
    io.before_call = lambda call: (
        lib.aqw_progress_cancel(progress) if call.operation == "read" and call.index > 60 else None
    )
    status = lib.aqw_stream_open(io.table, DIRECTORY.encode(), ffi.NULL, progress, made, fault)
    assert CoreError(status, fault).status == "stopped"
    assert len(io.calls) < 65
    assert not io.handles


def test_a_progress_asks_the_thread_that_watches_and_no_other() -> None:
    """Two calls may have been given the same one."""
    progress, asked = ffi.gc(lib.aqw_progress_new(), lib.aqw_progress_free), list[int]()

    @ffi.callback("int(void *)")
    def must_stop(_context: object) -> int:
        asked.append(threading.get_ident())
        return 1

    def of_another_thread() -> None:
        assert lib.aqw_progress_must_stop(progress) == 0
        lib.aqw_progress_ask(progress, ffi.NULL, ffi.NULL)  # the end of its own call

    lib.aqw_progress_ask(progress, must_stop, ffi.NULL)
    other = threading.Thread(target=of_another_thread)
    time.sleep(2 * lib.AQW_PROGRESS_ASK_NS / 1e9)  # it asks that seldom
    other.start()
    other.join()
    assert not asked
    assert lib.aqw_progress_must_stop(progress) == 1
    assert asked == [threading.get_ident()]
    assert lib.aqw_progress_is_canceled(progress)
