"""What is large goes other ways than what is small: snapshots and units of a recovery above the
size of a piece.
"""

from __future__ import annotations

import pytest

from tests.support.core.crash_images import numbered
from tests.support.core.log_driver import Log
from tests.support.core.memory_io import MemoryIo, home

pytestmark = pytest.mark.usefixtures("segment_held")


def test_a_snapshot_of_five_megabytes_is_synced_before_it_gets_its_name() -> None:
    io = MemoryIo(home())
    with Log(io, segment_size=2**23) as log:
        for number in range(1, 6):
            log.commit(numbered(number, 1_000_000))
        log.compact(drops_segments=False)
    assert any(
        path.endswith(".snap") and len(file.stable) > 5_000_000
        for path, file in io.disk.files.items()
    )
    assert not io.mistakes


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("size", [1_000_000, 1_048_400, 1_048_576, 1_100_000])
def test_small_events_that_are_not_durable_come_before_a_large_one(size: int, count: int) -> None:
    disk = home()
    entries = [numbered(1, 1_000_000), numbered(2, 300_000)]
    log = Log(MemoryIo(disk), segment_size=2**23)
    for entry in entries:
        log.commit(entry)
    later = [numbered(number, 300) for number in range(3, 3 + count)]
    later += [numbered(100, size), numbered(101, 300), numbered(102, 300)]
    segment = log.stats.segment_number
    for entry in later:
        log.append(entry)
    assert log.stats.segment_number == segment  # a rotation would have synced them
    log.kill()
    # The first one reads what the killed one left, and copies what is not durable of it; the others
    # read the copy.
    for _ in range(2):
        again = Log(MemoryIo(disk), segment_size=2**23)
        assert again.recovered == [*entries, *later]
        again.kill()
    with Log(MemoryIo(disk), segment_size=2**23) as again:
        assert again.recovered == [*entries, *later]
