"""A copy of the core that is wrong in one place for each kind of assertion, and a short program for
each place.

``python -m tests.support.core.broken_core NAME`` runs a program over the core that the door builds.
The programs are right: over the core itself each of them ends well. Over the copy an assertion ends
each (``test_assertions.py``).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import actionqueue as aq
from actionqueue import EventFilter, RunInstance, SubscriptionId, TaskSpec
from tests.support.core.door import CORE
from tests.support.core.log_driver import Log
from tests.support.core.memory_io import Disk, MemoryIo
from tests.support.core.table_driver import Table


def write_out() -> None:
    log = Log(MemoryIo(Disk()))
    log.append(b"one")
    log.write_out()
    log.close()


def fill_the_ring() -> None:
    log = Log(MemoryIo(Disk()), ring_size=65_536, segment_size=1 << 20)
    for _ in range(3):
        log.append(bytes(40_000))
    log.close()


def rotate() -> None:
    log = Log(MemoryIo(Disk()))
    for _ in range(10):
        log.append(bytes(40_000))
    log.close()


def sync_twice() -> None:
    log = Log(MemoryIo(Disk()))
    log.commit(b"one")
    log.commit(b"two")
    log.close()


def cancel_a_run() -> None:
    task = TaskSpec(payload=b"")
    run = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    with Table() as table:
        table.must_apply(
            aq.TaskCreated(1, task, 1), aq.RunCreated(2, run), aq.RunCanceled(3, run.id, 3)
        )


def subscribe() -> None:
    task = TaskSpec(payload=b"")
    created = aq.SubscriptionCreated(2, SubscriptionId(), task.id, EventFilter.custom("key"), 2)
    with Table() as table:
        table.must_apply(aq.TaskCreated(1, task, 1), created)


def roll_back() -> None:
    task = TaskSpec(payload=b"")
    with Table() as table:
        table.must_apply(aq.TaskCreated(1, task, 1))
        assert table.begin() == "ok"
        table.must_apply(aq.TaskCanceled(2, task.id, 2))
        table.rollback()


@dataclass(frozen=True)
class Fault:
    """What is wrong in the copy, and the assertion that must say so."""

    program: Callable[[], None]
    path: str
    old: str
    new: str
    asserted: str


FAULTS = {
    "a lock is not taken": Fault(
        write_out,
        "write/log.c",
        "uint64_t *sequence, aqw_fault *fault) {\n    aqw_mutex_lock(&log->drain_mutex);\n",
        "uint64_t *sequence, aqw_fault *fault) {\n",
        "aqw_mutex_is_held(&log->drain_mutex)",
    ),
    "the right to sync is not taken": Fault(
        rotate,
        "write/log_rotate.c",
        "    aqw_log_sync_acquire(log);\n    status = aqw_log_state",
        "    status = aqw_log_state",
        "aqw_log_may_sync(log)",
    ),
    "the ring has no room": Fault(
        fill_the_ring,
        "write/log.c",
        " || !fits_ring(log, batch->size)))",
        "))",
        "fits_ring(log, batch->size)",
    ),
    "more is durable than was appended": Fault(
        sync_twice,
        "write/log_sync.c",
        "atomic_store(&log->durable, sequence);",
        "atomic_store(&log->durable, sequence + 2);",
        "atomic_load(&log->durable) <= log->last_sequence",
    ),
    "a row was not reserved": Fault(
        subscribe,
        "table/subscriptions.c",
        "    if (aqw_index_reserve(table, AQW_ROW_SUBSCRIPTION, 1) != AQW_OK)"
        " return AQW_NO_MEMORY;\n",
        "",
        "table->rows[kind].count < table->reserved[kind]",
    ),
    "a count is not kept": Fault(
        cancel_a_run,
        "table/add.c",
        "    task->open_runs--;\n",
        "",
        "open == task->open_runs",
    ),
    "a row was not kept for the rollback": Fault(
        roll_back,
        "table/apply.c",
        "    if (aqw_undo_keep_row(table, AQW_ROW_TASK, row) != AQW_OK) return AQW_NO_MEMORY;\n\n",
        "\n",
        "!table->undo.has_digest || table->undo.digest == digest_of(table)",
    ),
}


def broken_copy(to: Path) -> Path:
    """Copy the core and put every fault into the copy; return the copy."""
    copy = to / "core"
    shutil.copytree(CORE, copy)
    for name, fault in FAULTS.items():
        path = copy / fault.path
        text = path.read_text(encoding="utf-8")
        assert text.count(fault.old) == 1, (
            f"{name}: {fault.path} has changed; bring the fault in step with it"
        )
        path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    return copy


if __name__ == "__main__":
    FAULTS[sys.argv[1]].program()
