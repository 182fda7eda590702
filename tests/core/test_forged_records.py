"""Payloads that hold records made to verify behind the log's end. A process that can read a
segment's header can make them.
"""

from __future__ import annotations

from random import Random

import pytest

from tests.support.core import log_model as model
from tests.support.core.crash_images import numbered
from tests.support.core.damaged_queues import header_of, segment_paths
from tests.support.core.log_driver import Log, data_of, entry, read_stream
from tests.support.core.memory_io import Disk, MemoryIo, home
from tests.support.core.snapshot_driver import salvage

pytestmark = pytest.mark.usefixtures("segment_held")
RING = 65536
SEGMENT = 2**21


def forged(log: Log, disk: Disk, random: Random) -> bytes:
    """Return data full of records that are valid where they will lie, or at the same offset of the
    ring some laps later.
    """
    header = header_of(disk, segment_paths(disk)[-1])
    data = bytearray(random.randrange(200, 20_000))
    begin = log.stats.segment_used + 16 + len(entry(data)) - len(data)
    events = log.last_sequence + 1 - header.first_sequence
    for at in range(-begin % 16, len(data) - 64, 64):
        position = begin + at + RING * random.randrange(9)
        record = model.record_bytes(
            header, position, events + random.randrange(1, 12), 31, b"x" * 8
        )
        data[at : at + len(record)] = record
    return bytes(data)


@pytest.mark.parametrize("end", ["close", "kill"])
@pytest.mark.parametrize("seed", range(40))
def test_forged_records_are_payload_and_nothing_else(seed: int, end: str) -> None:
    """Some of what is written goes past the ring, which then keeps what was made for a later
    lap.
    """
    random = Random(seed)
    disk = home()
    log = Log(MemoryIo(disk), segment_size=SEGMENT)
    written = [numbered(number, random.choice([50, 300, 20_000, 100_000])) for number in range(3)]
    log.commit(*written)
    for number in range(random.randrange(1, 7)):
        if random.random() < 0.6:
            written.append(forged(log, disk, random))
        else:
            written.append(numbered(number, random.choice([10, 300, 66_000, 70_000, 140_000])))
        log.append(written[-1])
        if random.random() < 0.3:
            log.sync()
    if end == "kill":
        log.kill()
    else:
        log.close()
    events = read_stream(MemoryIo(disk)).events
    assert [data_of(payload) for _, _, payload in events] == written
    assert [data for _, data in salvage(MemoryIo(disk))] == written
    for _ in range(2):
        again = Log(MemoryIo(disk), segment_size=SEGMENT)
        assert again.recovered == written
        again.kill()
