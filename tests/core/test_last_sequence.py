"""A log that comes to the last sequence that 64 bits hold: it takes that one, refuses more, and is
read and recovered as any other.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import DIRECTORY, KIND, Log, entry, varint
from tests.support.core.memory_io import Disk, MemoryIo
from tests.support.core.snapshot_driver import (
    Follower,
    compact,
    opened_log,
    repair,
    salvage,
    snapshots_of,
    table_with,
    write_snapshot,
)

LAST = 2**64 - 1
PAUSED = 12


def near_the_end(before: int) -> Disk:
    """Return a queue whose last event is this many before the last one there is: a repair's, from a
    snapshot that says so.
    """
    disk = Disk(directories=[DIRECTORY, f"{DIRECTORY}/snapshots", f"{DIRECTORY}/wal"])
    io = MemoryIo(disk)
    table, event = table_with([entry(b"old")], KIND), ffi.new("aqw_event *")
    payload = varint(1)
    assert lib.aqw_event_decode(PAUSED, LAST - before, payload, len(payload), event) == lib.AQW_OK
    assert lib.aqw_table_apply(table.table, event) == lib.AQW_OK
    write_snapshot(io, table, bytes(range(16)))
    assert repair(io).kept == LAST - before
    return disk


def check_full(log: Log, data: list[bytes]) -> None:
    assert log.recovered == [b"old", *data]
    assert log.last_sequence == log.durable_sequence == LAST
    for sequence in (LAST, 0, 1):
        batch = log.batch.fill(sequence, [entry(b"x")])
        assert lib.aqw_log_append(log.log, batch, log.fault) == lib.AQW_REFUSED_SEQUENCE


ENDS: dict[str, Callable[[Log], None]] = {"closed": Log.close, "killed": Log.kill}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_it_is_recovered_after_any_end_again_and_again(end: str, count: int) -> None:
    disk, data = near_the_end(count), [b"%d" % number for number in range(count)]
    log = opened_log(disk)
    assert log.last_sequence == LAST - count
    for each in data:
        log.append(each)
    batch = log.batch.fill(LAST, [entry(b"x")])
    assert lib.aqw_log_append(log.log, batch, log.fault) == lib.AQW_REFUSED_SEQUENCE
    log.sync()
    ENDS[end](log)
    for seed in range(2, 6):
        log = opened_log(disk, seed)
        check_full(log, data)
        with Follower(log.io, LAST - count) as follower:
            assert follower.rest() == list(enumerate(data, LAST - count + 1))
        ENDS["killed" if seed % 2 else end](log)
    assert [event for event in salvage(MemoryIo(disk)) if event[0] > LAST - count] == list(
        enumerate(data, LAST - count + 1)
    )


@pytest.mark.parametrize("end", ENDS)
def test_it_is_compacted_and_repaired_at_its_end(end: str) -> None:
    disk = near_the_end(3)
    log = opened_log(disk)
    log.commit(b"a", b"b", b"c")
    ENDS[end](log)
    log = opened_log(disk, 2)
    for _ in range(2):
        log.compact()
    with Follower(log.io, LAST) as follower:
        assert follower.rest() == []
    ENDS[end](log)
    assert snapshots_of(disk)[-1] == LAST
    log = opened_log(disk, 3)
    check_full(log, [b"a", b"b", b"c"])
    ENDS[end](log)
    compact(MemoryIo(disk))
    for path in [path for path in disk.files if "/wal/" in path]:
        del disk.files[path]
    assert repair(MemoryIo(disk)).kept == LAST
    log = opened_log(disk, 4)
    check_full(log, [b"a", b"b", b"c"])
    log.close()


def test_a_batch_may_end_with_it() -> None:
    """One that would go past it can't be made: its sequences do not wrap around."""
    disk = near_the_end(2)
    log = opened_log(disk)
    assert log.append(b"a", b"b") == LAST
    log.kill()
    check_full(opened_log(disk, 2), [b"a", b"b"])
