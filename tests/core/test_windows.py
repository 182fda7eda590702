"""Segments that are larger than what is read of them at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.support.core import log_model as model
from tests.support.core.crash_images import numbered
from tests.support.core.log_driver import CoreError, Log, data_of, read_stream
from tests.support.core.memory_io import Call, Disk, MemoryIo, home

WINDOW = 4 << 20
SIZES = (
    300,
    3_000_000,
    2_000_000,
    8,
    1_048_576,
    6_000_000,
    *[40_000] * 60,
    4_194_304,
    9,
    5_000_000,
)


@pytest.fixture(scope="module")
def written() -> tuple[Disk, list[bytes]]:
    """Several segments, most of them larger than a window, with records of all sizes across its
    ends.
    """
    disk = home()
    entries = [numbered(number, size) for number, size in enumerate(SIZES * 2)]
    with Log(MemoryIo(disk), segment_size=2**24) as log:
        for number in range(0, len(entries), 3):
            log.append(*entries[number : number + 3])
            log.sync()
    assert len(large_older_ones(disk)) >= 2
    return disk, entries


def segments(disk: Disk) -> list[str]:
    return sorted(path for path in disk.files if path.endswith(".log"))


def large_older_ones(disk: Disk) -> list[str]:
    return [path for path in segments(disk)[:-1] if len(disk.files[path].content) > 2 * WINDOW]


def test_what_lies_across_windows_is_read_as_it_was_written(
    written: tuple[Disk, list[bytes]],
) -> None:
    disk, entries = written
    seen = read_stream(MemoryIo(disk.copy()))
    assert [data_of(payload) for _, _, payload in seen.events] == entries
    with Log(MemoryIo(disk.copy()), segment_size=2**24) as again:
        assert again.recovered == entries


def test_damage_in_any_window_is_found(written: tuple[Disk, list[bytes]]) -> None:
    disk, _ = written
    random = Random(7)
    for path in large_older_ones(disk):
        end = len(bytes(disk.files[path].content).rstrip(b"\0"))
        for window in range(0, end, WINDOW):
            at = random.randrange(max(window, model.DATA), min(window + WINDOW, end))
            broken = disk.copy()
            broken.files[path].content[at] ^= 1
            with pytest.raises(CoreError) as refused:
                read_stream(MemoryIo(broken))
            assert refused.value.status == "corrupt", (path, at)
            assert refused.value.fault.offset <= at


def test_a_read_that_fails_is_an_error_of_its_segment(written: tuple[Disk, list[bytes]]) -> None:
    disk, _ = written
    reads: list[Call] = []
    io = MemoryIo(disk.copy())
    io.after_call = lambda call: (
        reads.append(call) if call.operation == "read" and call.path.endswith(".log") else None
    )
    read_stream(io)
    assert len(reads) > 2 * len(segments(disk)) + 2  # more than a header and the rest
    for call in reads:
        struck = MemoryIo(disk.copy())
        struck.fail(call.index, 5)
        with pytest.raises(CoreError) as refused:
            read_stream(struck)
        assert (refused.value.status, refused.value.fault.path) == ("io_error", call.path)
        assert not struck.mistakes


MEASURE = """
import resource, sys
import actionqueue
from _wal_native.reader import LogReader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reader = LogReader(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="the peak of a process is told in other units, or not at all"
)
def test_the_unused_space_of_a_segment_takes_no_memory(tmp_path: Path) -> None:
    header = model.Header(bytes(range(16)), 1, 5, 1, 2**28, 0)
    (tmp_path / "wal").mkdir()
    path = tmp_path / header.name
    copy = header.to_bytes()
    path.write_bytes(copy + bytes(4096 - len(copy)) + copy)
    os.truncate(path, header.file_size)
    (tmp_path / "ring").write_bytes(model.ring_bytes(header.log_uuid, bytes(65536)))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) * 1024 < 2**28 // 4
