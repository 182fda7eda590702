"""What a table finds to be over, slice by slice."""

from __future__ import annotations

from typing import Any

from actionqueue import ActorId, RunId, SubscriptionId, TaskId
from actionqueue.model.cron import has_ended
from tests.support.core.door import ffi, lib
from tests.support.core.table_driver import Table, data_of

PURGED = 10**6
"""A sequence after all others."""


@ffi.callback("int(void *, aqw_bytes, uint64_t)")
def schedule_ended(_context: Any, expression: Any, time: int) -> int:
    return has_ended(data_of(expression).decode(), time)


def find_all(table: Table, cutoff: int, rows_max: int, finished: Any) -> dict[str, list[Any]]:
    fields = {
        "cutoff": cutoff,
        "ledger_cutoff": cutoff,
        "has_cutoff": 1,
        "has_ledger_cutoff": 1,
        "schedule_ended": schedule_ended,
    }
    fields["today"] = cutoff
    lib.aqw_table_find_finished(table.table, ffi.new("aqw_retention *", fields), rows_max, finished)
    types = {"run": RunId, "task": TaskId, "subscription": SubscriptionId, "actor": ActorId}
    return {
        name: [
            id_type.from_bytes(bytes(getattr(finished, f"{name}_ids")[i]))
            for i in range(getattr(finished, f"{name}_count"))
        ]
        for name, id_type in types.items()
    } | {"line": [None] * finished.ledger_count, "tombstone": [None] * finished.tombstone_count}


def find(
    table: Table, cutoff: int, rows_max: int, finished: Any
) -> tuple[list[RunId], list[TaskId]]:
    found = find_all(table, cutoff, rows_max, finished)
    assert found["subscription"] == found["actor"] == found["line"] == found["tombstone"] == []
    return found["run"], found["task"]


def place_of(finished: Any) -> tuple[int, int, int]:
    return finished.next_part, finished.next_row, finished.next_run
