"""A copy of the core that is wrong in one place for each kind of assertion, and a short program for each place.

``python broken_core.py NAME`` runs a program over the core that the door builds. The programs are right: over the
core itself each of them ends well. Over the copy an assertion ends each (``test_assertions.py``).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actionqueue import events as e
from actionqueue.run import RunInstance
from actionqueue.task import TaskSpec
from door import CORE
from log_driver import Log
from memory_io import MemoryIo
from table_driver import Table


def write_out() -> None:
    log = Log(MemoryIo())
    log.append(b"one")
    log.write_out()


def fill_the_ring() -> None:
    log = Log(MemoryIo(), ring_size=65_536, segment_size=1 << 20)
    for _ in range(3):
        log.append(bytes(40_000))


def sync_twice() -> None:
    log = Log(MemoryIo())
    log.commit(b"one")
    log.commit(b"two")


def cancel_a_run() -> None:
    task = TaskSpec(payload=b"")
    run = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    with Table() as table:
        table.must_apply(e.TaskCreated(1, task, 1), e.RunCreated(2, run), e.RunCanceled(3, run.id, 3))


def create_a_task() -> None:
    with Table() as table:
        table.must_apply(e.TaskCreated(1, TaskSpec(payload=b""), 1))


def roll_back() -> None:
    task = TaskSpec(payload=b"")
    with Table() as table:
        table.must_apply(e.TaskCreated(1, task, 1))
        assert table.begin() == "ok"
        table.must_apply(e.TaskCanceled(2, task.id, 2))
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
        create_a_task,
        "table/apply.c",
        "    if (aqw_index_reserve(table, AQW_ROW_TASK, 1) != AQW_OK) return AQW_NO_MEMORY;\n",
        "    if (table->rows[AQW_ROW_TASK].count == 0 && aqw_rows_reserve(&table->rows[AQW_ROW_TASK], 1) != AQW_OK)\n"
        "        return AQW_NO_MEMORY;\n",
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
        "table->undo.digest == digest_of(table)",
    ),
}


def broken_copy(to: Path) -> Path:
    """Copy the core and put every fault into the copy; return the copy."""
    copy = to / "core"
    shutil.copytree(CORE, copy)
    for name, fault in FAULTS.items():
        path = copy / fault.path
        text = path.read_text(encoding="utf-8")
        assert text.count(fault.old) == 1, f"{name}: {fault.path} has changed; bring the fault in step with it"
        path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    return copy


if __name__ == "__main__":
    FAULTS[sys.argv[1]].program()
