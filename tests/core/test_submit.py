"""One event into log and table: both or neither."""

from __future__ import annotations

from typing import Any

import actionqueue as aq
from actionqueue import TaskId, TaskSpec
from tests.support.core.door import lib
from tests.support.core.log_driver import DIRECTORY, Batch, Log, new_log, status_name
from tests.support.core.memory_io import MemoryIo, home
from tests.support.core.table_driver import Table, as_c


def submit(log: Log, table: Table, batch: Batch, event: aq.Event) -> str:
    encoded, _kept = as_c(event)
    status = status_name(lib.aqw_submit(log.log, table.table, batch.batch, encoded, log.fault))
    assert (batch.batch.count, batch.batch.size) == (0, 0)
    return str(status)


def created(sequence: int, payload: bytes = b"x") -> aq.TaskCreated:
    return aq.TaskCreated(sequence, TaskSpec(payload=payload), 1)


def states(log: Log, table: Table) -> Any:
    assert log.io is not None
    return table.dump(), log.last_sequence, log.io.disk.image(DIRECTORY)


def test_an_event_is_in_both_or_in_neither() -> None:
    log, batch = new_log(), Batch()
    with Table() as table:
        assert submit(log, table, batch, created(1)) == "ok"
        assert (log.last_sequence, table.counts.tasks) == (1, 1)
        before = states(log, table)
        for event in (created(1), created(3), aq.TaskCanceled(2, TaskId(), 1)):
            assert submit(log, table, batch, event).startswith("refused_")
            assert states(log, table) == before
    log.close()


def test_what_takes_the_disk_is_left_to_the_caller() -> None:
    """Where ring or segment is full, where the event is larger than the ring, and where there is no
    mapped ring.
    """
    log, batch = Log(MemoryIo(home()), ring_size=65536), Batch()
    with Table() as table:
        for sequence in (1, 2, 3):
            assert submit(log, table, batch, created(sequence, b"x" * 15_000)) == "ok"
        before = states(log, table)
        assert submit(log, table, batch, created(4, b"x" * 15_000)) == "needs_room"
        assert submit(log, table, batch, created(4, b"x" * 100_000)) == "needs_room"
        assert states(log, table) == before
    log.close()
    log = Log(MemoryIo(home(), maps=False))
    with Table() as table:
        assert submit(log, table, batch, created(1)) == "needs_room"
        assert (table.counts.tasks, log.last_sequence) == (0, 0)
    log.close()
