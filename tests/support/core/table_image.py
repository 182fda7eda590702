"""A table's image as tests use it: saved to a list of items, loaded from one, one of every item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import actionqueue as aq
from actionqueue import (
    ActorId,
    AttemptId,
    AttemptResultKind,
    BudgetDimension,
    Capability,
    EventFilter,
    LedgerEntryId,
    Role,
    RunId,
    RunInstance,
    RunState,
    SubscriptionId,
    TaskId,
    TaskSpec,
    TenantId,
)
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import status_name
from tests.support.core.table_driver import Memory, Table, data_of
from tests.support.core.table_events import numbered, path_to

S = RunState
Item = tuple[int, bytes]


def save(table: Table) -> list[Item]:
    items: list[Item] = []

    @ffi.callback("aqw_status(void *, uint8_t, aqw_bytes, aqw_bytes)")
    def sink(_to: Any, item_type: int, fields: Any, data: Any) -> int:
        assert fields.size <= lib.AQW_IMAGE_FIELDS_SIZE_MAX
        items.append((item_type, data_of(fields) + data_of(data)))
        return int(lib.AQW_OK)

    assert status_name(lib.aqw_table_save(table.table, sink, ffi.NULL)) == "ok"
    return items


def load_into(table: Table, items: Sequence[Item], size_max: int | None = None) -> str:
    """Return the status's name: of the first item that failed, or of the end."""
    loader = ffi.new("aqw_table_loader *")
    bound = sum(len(payload) for _type, payload in items) if size_max is None else size_max
    assert status_name(lib.aqw_table_load_begin(loader, table.table, bound)) == "ok"
    for item_type, payload in items:
        # No spare byte: a read past it is seen.
        data = ffi.new("uint8_t[]", payload) if payload else ffi.new("uint8_t[]", 1)
        status = lib.aqw_table_load_item(loader, item_type, data, len(payload))
        if status != lib.AQW_OK:
            assert lib.aqw_table_load_item(loader, item_type, data, len(payload)) == status
            assert lib.aqw_table_load_end(loader) == status
            return status_name(status)
    return status_name(lib.aqw_table_load_end(loader))


def loaded(items: Sequence[Item], memory: Memory | None = None) -> Table:
    """Return a new table that the items were loaded into. The caller closes it."""
    table = Table(memory)
    assert load_into(table, items) == "ok"
    return table


def number(value: int) -> bytes:
    """Return a varint."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def fixed(id_type: Any, value: int) -> Any:
    return id_type.from_bytes(bytes([value]) * 16)


def events_of_every_item() -> list[aq.Event]:
    """Return events, with fixed identifiers, that leave a table with every type of item and every
    flag.
    """
    tasks = [
        TaskSpec(
            fixed(TaskId, n), payload=b"p" * n, parent_task_id=None if n == 1 else fixed(TaskId, 1)
        )
        for n in (1, 2, 3, 4)
    ]
    purged_task = TaskSpec(fixed(TaskId, 9), payload=b"purged", parent_task_id=fixed(TaskId, 9))
    purged_run = RunInstance.scheduled(
        tasks[3].id, id=fixed(RunId, 9), scheduled_at=1, created_at=1
    )
    runs = [
        RunInstance.scheduled(
            fixed(TaskId, 1), id=fixed(RunId, n), scheduled_at=90 + n, created_at=100
        )
        for n in (1, 2, 3, 4, 5)
    ]
    lease = (runs[0].id, "owner")
    actor, other, tenant, token = (
        fixed(ActorId, 1),
        fixed(ActorId, 2),
        fixed(TenantId, 1),
        BudgetDimension.TOKEN,
    )
    turns: list[aq.Event] = []
    for _ in range(33):  # more steps than one item takes; each closed lease is a step of its own
        turns += [
            aq.LeaseAcquired(0, runs[4].id, "w", 5, 5),
            aq.RunStateChanged(0, runs[4].id, S.READY, S.LEASED, 300),
            aq.LeaseReleased(0, runs[4].id, "w", 5, 5),
        ]
    return numbered(
        aq.TaskCreated(0, purged_task, 99),
        *(aq.TaskCreated(0, task, 99) for task in tasks),
        aq.TaskCanceled(0, tasks[1].id, 98),
        aq.RunCreated(0, purged_run),
        aq.RunCanceled(0, purged_run.id, 99),
        *(aq.RunCreated(0, run) for run in runs),
        *path_to(runs[0], S.READY),
        aq.LeaseAcquired(0, *lease, 500, 101),
        aq.RunStateChanged(0, runs[0].id, S.READY, S.LEASED, 102),
        aq.RunStateChanged(0, runs[0].id, S.LEASED, S.RUNNING, 103),
        aq.LeaseHeartbeat(0, *lease, 600, 104),
        aq.AttemptStarted(0, runs[0].id, fixed(AttemptId, 1), 105),
        aq.AttemptFinished(
            0, runs[0].id, fixed(AttemptId, 1), AttemptResultKind.FAILURE, "why", None, 106
        ),
        aq.AttemptStarted(0, runs[0].id, fixed(AttemptId, 2), 107),
        aq.AttemptFinished(
            0, runs[0].id, fixed(AttemptId, 2), AttemptResultKind.SUCCESS, None, b"output", 106
        ),
        aq.AttemptStarted(0, runs[0].id, fixed(AttemptId, 3), 108),
        *path_to(runs[1], S.READY, S.LEASED, S.RUNNING),
        aq.AttemptStarted(0, runs[1].id, fixed(AttemptId, 1), 105),
        aq.RunCanceled(0, runs[1].id, 109),
        *path_to(runs[2], S.READY, S.LEASED, S.READY, S.CANCELED),
        *path_to(runs[4], S.READY),
        *turns,
        aq.DependencyDeclared(0, tasks[1].id, (tasks[0].id, tasks[1].id), 110),
        aq.DependencyDeclared(0, tasks[0].id, (tasks[2].id,), 110),
        aq.BudgetAllocated(0, tasks[2].id, token, 2**64 - 1, 111),
        aq.BudgetConsumed(0, tasks[2].id, token, 300, 111),
        aq.BudgetAllocated(0, tasks[0].id, BudgetDimension.TIME_SECS, 0, 111),
        aq.BudgetConsumed(0, tasks[0].id, BudgetDimension.TIME_SECS, 0, 111),
        aq.SubscriptionCreated(
            0, fixed(SubscriptionId, 1), tasks[0].id, EventFilter.custom("key"), 112
        ),
        aq.SubscriptionCreated(
            0, fixed(SubscriptionId, 2), tasks[2].id, EventFilter.task_completed(tasks[0].id), 112
        ),
        aq.SubscriptionTriggered(0, fixed(SubscriptionId, 2), 111),
        aq.SubscriptionCanceled(0, fixed(SubscriptionId, 2), 2**64 - 1),
        aq.ActorRegistered(0, actor, "one", ("a", "b"), "department", 2, tenant, 113),
        aq.ActorRegistered(0, other, "two", ("a",), None, 2, None, 113),
        aq.ActorHeartbeat(0, other, 114),
        aq.ActorDeregistered(0, other, 115),
        aq.TenantCreated(0, tenant, "name", 116),
        aq.RoleAssigned(0, actor, Role.OPERATOR, tenant, 117),
        aq.RoleAssigned(0, other, Role.custom("captain"), tenant, 117),
        aq.CapabilityGranted(0, actor, Capability.CAN_SUBMIT, tenant, 118),
        aq.CapabilityGranted(0, actor, Capability.custom("deploy"), tenant, 118),
        aq.CapabilityRevoked(0, actor, Capability.custom("deploy"), tenant, 119),
        aq.LedgerEntryAppended(
            0, fixed(LedgerEntryId, 9), tenant, "purged", actor, b"payload", 120
        ),
        aq.LedgerEntryAppended(0, fixed(LedgerEntryId, 1), tenant, "key", actor, b"payload", 120),
        aq.LedgerEntryAppended(0, fixed(LedgerEntryId, 1), tenant, "key", None, b"", 120),
        aq.EnginePaused(0, 121),
        aq.EngineResumed(0, 122),
        aq.SubscriptionCreated(
            0, fixed(SubscriptionId, 9), tasks[0].id, EventFilter.custom("key"), 112
        ),
        aq.SubscriptionCanceled(0, fixed(SubscriptionId, 9), 113),
        aq.ActorRegistered(0, fixed(ActorId, 9), "purged", ("a",), None, 2, None, 113),
        aq.RoleAssigned(0, fixed(ActorId, 9), Role.OPERATOR, tenant, 113),
        aq.CapabilityGranted(0, fixed(ActorId, 9), Capability.CAN_SUBMIT, tenant, 113),
        aq.ActorDeregistered(0, fixed(ActorId, 9), 114),
        aq.RunsPurged(
            0,
            (purged_run.id,),
            (purged_task.id,),
            123,
            (fixed(SubscriptionId, 9),),
            (fixed(ActorId, 9),),
            1,
            0,
            500,
        ),
    )


def image_of(events: Iterable[aq.Event]) -> list[Item]:
    with Table() as table:
        table.must_apply(*events)
        return save(table)


def every_item() -> list[Item]:
    return image_of(events_of_every_item())
