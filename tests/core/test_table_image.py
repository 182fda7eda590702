"""A table's image: a loaded table is the saved one, for ever after; and no bytes make a table that
is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from tests.support import places
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import status_name
from tests.support.core.table_driver import EventSource, Memory, Table, dump_of
from tests.support.core.table_events import apply_to, every_kind, numbered, path_to
from tests.support.core.table_image import Item, load_into, loaded, save
from tests.support.model import Model

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
randoms = st.randoms(use_true_random=False)
S = RunState
GOLDEN = places.DATA / "golden-image.json"

MALFORMED = "malformed_snapshot"


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


# --- What was saved is what is loaded -------------------------------------------------------------


@PATIENT
@given(randoms, st.integers(0, 150), st.integers(0, 40))
def test_a_loaded_table_is_the_saved_one_for_ever_after(
    random: Random, length: int, more: int
) -> None:
    model, source = Model(), EventSource(random)
    with Table() as table:
        for _ in range(length):
            event = source.next(model)
            assert table.apply(event) == apply_to(model, event)
        items = save(table)
        with loaded(items) as other:
            assert save(other) == items
            assert other.dump() == table.dump() == dump_of(model)
            for _ in range(more):
                event = source.next(model)
                assert table.apply(event) == other.apply(event) == apply_to(model, event), event
            assert other.dump() == dump_of(model)
            assert save(other) == save(table)


def test_a_long_stream_saved_and_loaded_on_the_way() -> None:
    model, source = Model(), EventSource(Random(5))
    table = Table()
    for turn in range(4000):
        event = source.next(model)
        assert table.apply(event) == apply_to(model, event), event
        if turn % 500 == 499:
            items = save(table)
            table.close()
            table = loaded(items)
            assert table.dump() == dump_of(model)
            assert save(table) == items
    table.close()


def test_every_kind_saved_after_each_event() -> None:
    events = every_kind()
    for split in range(len(events) + 1):
        with Table() as table:
            table.must_apply(*events[:split])
            with loaded(save(table)) as other:
                assert other.dump() == table.dump()
                table.must_apply(*events[split:])
                other.must_apply(*events[split:])
                assert save(other) == save(table)


def test_a_loaded_table_rolls_back_exactly() -> None:
    events = every_kind()
    with loaded(image_of(events[:30])) as table:
        before, items = table.dump(), save(table)
        table.begin()
        table.must_apply(*events[30:])
        table.rollback()
        assert table.dump() == before
        assert save(table) == items


def test_many_steps_attempts_and_dependencies_are_many_items() -> None:
    tasks = [TaskSpec(payload=b"x") for _ in range(200)]
    run = RunInstance.scheduled(tasks[0].id, scheduled_at=1, created_at=1)
    events: list[aq.Event] = [
        *(aq.TaskCreated(0, task, 1) for task in tasks),
        aq.RunCreated(0, run),
        *path_to(run, S.READY),
    ]
    for turn in range(100):
        events += [
            aq.RunStateChanged(0, run.id, S.READY, S.LEASED, turn),
            aq.RunStateChanged(0, run.id, S.LEASED, S.RUNNING, 2**64 - 1 - turn),
            aq.AttemptStarted(0, run.id, AttemptId(), turn),
            aq.AttemptFinished(0, run.id, AttemptId(), AttemptResultKind.FAILURE, "e", None, turn),
            aq.RunStateChanged(0, run.id, S.RUNNING, S.RETRY_WAIT, turn),
            aq.RunStateChanged(0, run.id, S.RETRY_WAIT, S.READY, turn),
        ]
        events[-3] = aq.AttemptFinished(
            0, run.id, events[-4].attempt_id, AttemptResultKind.FAILURE, "e", None, turn
        )  # type: ignore[attr-defined]
    events += [
        aq.DependencyDeclared(0, tasks[i].id, (tasks[i - 1].id, tasks[0].id), 1)
        for i in range(1, 200)
    ]
    with Table() as table:
        table.must_apply(*numbered(*events))
        items = save(table)
        types = [item_type for item_type, _payload in items]
        assert types.count(lib.AQW_IMAGE_HISTORY) == 401 // 64
        assert types.count(lib.AQW_IMAGE_ATTEMPT) == 100
        assert types.count(lib.AQW_IMAGE_DEPENDENCIES) == -(-397 // 64)
        with loaded(items) as other:
            assert other.dump() == table.dump()
            assert save(other) == items


@pytest.mark.parametrize("steps", [63, 64, 65, 127, 128, 129])
@pytest.mark.parametrize("ends_closed", [False, True])
def test_groups_at_their_bounds(steps: int, ends_closed: bool) -> None:
    task = TaskSpec(payload=b"x")
    run = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    path = [S.READY, *[S.LEASED, S.READY] * steps][:steps]
    events: list[aq.Event] = [
        aq.TaskCreated(0, task, 1),
        aq.RunCreated(0, run),
        *path_to(run, *path),
    ]
    if ends_closed:
        events.insert(3, aq.LeaseAcquired(0, run.id, "w", 5, 5))
        if path[-1] is S.LEASED:
            events.append(aq.LeaseExpired(0, run.id, "w", 5, 5))
    items = image_of(numbered(*events))
    with loaded(items) as table:
        assert save(table) == items


def test_an_item_of_the_largest_size() -> None:
    task, tenant = TaskSpec(payload=b"x" * (lib.AQW_PAYLOAD_SIZE_MAX - 64)), TenantId()
    items = image_of(
        numbered(
            aq.TaskCreated(0, task, 1),
            aq.LedgerEntryAppended(
                0,
                LedgerEntryId(),
                tenant,
                "k" * 2**20,
                ActorId(),
                b"x" * (lib.AQW_PAYLOAD_SIZE_MAX - 2**20 - 80),
                1,
            ),
        )
    )
    assert max(len(payload) for _type, payload in items) <= lib.AQW_IMAGE_ITEM_SIZE_MAX
    with loaded(items) as table:
        assert save(table) == items
        head, *rest = items
        for large in (1, lib.AQW_IMAGE_ITEM_SIZE_MAX + 1 - len(items[1][1])):
            with Table() as other:
                assert (
                    load_into(other, [head, (rest[0][0], rest[0][1] + bytes(large)), *rest[1:]])
                    == MALFORMED
                )


# --- Limits of the calls --------------------------------------------------------------------------


def test_the_sinks_first_failure_ends_the_saving() -> None:
    items = every_item()
    taken: list[int] = []
    successes = 0

    @ffi.callback("aqw_status(void *, uint8_t, aqw_bytes, aqw_bytes)")
    def sink(_to: Any, item_type: int, _fields: Any, _bytes: Any) -> int:
        if len(taken) == successes:
            return int(lib.AQW_IO_ERROR)
        taken.append(item_type)
        return int(lib.AQW_OK)

    with loaded(items) as table:
        for successes in range(len(items) + 1):
            taken.clear()
            status = status_name(lib.aqw_table_save(table.table, sink, ffi.NULL))
            assert status == ("ok" if successes == len(items) else "io_error")
            assert taken == [item_type for item_type, _payload in items[:successes]]


def test_a_table_with_an_open_batch_is_neither_saved_nor_loaded_into() -> None:
    with Table() as table:
        table.begin()
        assert (
            status_name(lib.aqw_table_save(table.table, ffi.NULL, ffi.NULL)) == "invalid_argument"
        )
        loader = ffi.new("aqw_table_loader *")
        assert status_name(lib.aqw_table_load_begin(loader, table.table, 100)) == "invalid_argument"
        assert status_name(lib.aqw_table_load_item(loader, 1, b"", 0)) == "invalid_argument"


def test_only_a_new_table_is_loaded_into() -> None:
    loader = ffi.new("aqw_table_loader *")
    for events in (numbered(aq.EnginePaused(0, 1)), every_kind()[:1]):
        with Table() as table:
            table.must_apply(*events)
            assert (
                status_name(lib.aqw_table_load_begin(loader, table.table, 100))
                == "invalid_argument"
            )
            assert status_name(lib.aqw_table_load_end(loader)) == "invalid_argument"


def test_without_memory_loading_says_so_and_loses_none() -> None:
    items = every_item()
    for successes in range(200):
        memory = Memory()
        table = Table(memory)
        memory.fail_after(successes)
        status = load_into(table, items)
        memory.fail_after(None)
        table.close()
        assert not memory.live
        if status == "ok":
            break
        assert status == "no_memory"
    assert status == "ok"
    assert successes > 30


def test_saving_takes_no_memory_but_for_purged_tasks() -> None:
    memory = Memory()
    with Table(memory) as table:
        *events, purge = events_of_every_item()
        table.must_apply(*events)
        memory.fail_after(0)
        save(table)
        memory.fail_after(None)
        table.must_apply(purge)
        memory.fail_after(0)
        assert status_name(lib.aqw_table_save(table.table, ffi.NULL, ffi.NULL)) == "no_memory"
        memory.fail_after(None)
        save(table)
    assert not memory.live


# --- Hostile items --------------------------------------------------------------------------------


def refused_or_canonical(items: list[Item]) -> str:
    """Load what may be anything: it is refused, or it is the image of a table that works."""
    memory = Memory()
    with Table(memory) as table:
        status = load_into(table, items)
        if status == "ok":
            assert save(table) == items
            table.dump()
            with loaded(items) as other:
                assert other.dump() == table.dump()
        else:
            assert status == MALFORMED
    assert not memory.live
    return status


def changed(items: list[Item], at: int, payload: bytes) -> list[Item]:
    return [*items[:at], (items[at][0], payload), *items[at + 1 :]]


def test_every_byte_changed() -> None:
    items = every_item()
    statuses = set()
    for at, (_type, payload) in enumerate(items):
        for offset, byte in enumerate(payload):
            for flip in (1, 16, 128, 255):
                damaged = payload[:offset] + bytes([byte ^ flip]) + payload[offset + 1 :]
                statuses.add(refused_or_canonical(changed(items, at, damaged)))
    assert statuses == {"ok", MALFORMED}


def test_every_truncation_and_extension() -> None:
    items = every_item()
    for at, (_type, payload) in enumerate(items):
        for size in range(len(payload)):
            refused_or_canonical(changed(items, at, payload[:size]))
        refused_or_canonical(changed(items, at, payload + b"\0"))
        assert refused_or_canonical(items[:at]) == MALFORMED
        assert refused_or_canonical(items[:at] + items[at + 1 :]) == MALFORMED
        assert refused_or_canonical([*items[: at + 1], *items[at:]]) == MALFORMED
    assert refused_or_canonical([*items, (15, b"")]) == MALFORMED


def test_items_exchanged_and_of_another_type() -> None:
    items = every_item()
    for at in range(len(items) - 1):
        refused_or_canonical([*items[:at], items[at + 1], items[at], *items[at + 2 :]])
    for at, (item_type, payload) in enumerate(items):
        for other in range(17):
            if other != item_type:
                assert (
                    refused_or_canonical([*items[:at], (other, payload), *items[at + 1 :]])
                    == MALFORMED
                )


@PATIENT
@given(
    st.lists(st.tuples(st.integers(0, 16), st.binary(max_size=40)), max_size=8),
    st.binary(max_size=20),
)
def test_arbitrary_items(items: list[Item], tail: bytes) -> None:
    refused_or_canonical(items)
    refused_or_canonical([*every_item()[:8], *items])
    refused_or_canonical([(1, bytes(15) + tail), *items])


def counts(*numbers: int) -> bytes:
    """Return a head with these numbers of things, and zero of what comes after them."""
    return b"\1\0" + b"".join(number(value) for value in (*numbers, *[0] * (14 - len(numbers))))


@pytest.mark.parametrize("kind", range(14))
@pytest.mark.parametrize("value", [1, 10**6, 2**32 - 2, 2**32 - 1, 2**32, 2**64 - 1])
def test_a_head_that_promises_more_than_is_there_takes_no_memory(kind: int, value: int) -> None:
    memory = Memory()
    with Table(memory) as table:
        before = memory.allocations
        assert (
            load_into(table, [(lib.AQW_IMAGE_HEAD, counts(*[0] * kind, value))], size_max=1)
            == MALFORMED
        )
        assert memory.allocations == before


@pytest.mark.parametrize("kind", range(14))
def test_a_head_takes_a_small_multiple_of_the_bytes_that_may_be_there(kind: int) -> None:
    size_max, least = 10**7, (21, 20, 2, 18, 3, 2, 5, 21, 25, 18, 34, 35, 36, 17)[kind]
    for value, expected in ((size_max // least, "ok"), (size_max // least + 1, MALFORMED)):
        with Table() as table:
            loader = ffi.new("aqw_table_loader *")
            assert lib.aqw_table_load_begin(loader, table.table, size_max) == lib.AQW_OK
            head = counts(*[0] * kind, value)
            assert (
                status_name(lib.aqw_table_load_item(loader, lib.AQW_IMAGE_HEAD, head, len(head)))
                == expected
            )
            assert table.counts.memory_bytes < 16 * size_max + 2**20


TASK = b"t" * 16 + bytes(2) + bytes(3)
TASK_WITH_RUNS = b"t" * 16 + b"\0\2\0" + bytes(3)


def run_image(
    fields: bytes, *more: Item, history: int = 0, attempts: int = 0, leases: int = 0
) -> list[Item]:
    """Return an image of one task with one run, whose item ends with the given fields."""
    return [
        (lib.AQW_IMAGE_HEAD, counts(1, 1, history, attempts, leases)),
        (lib.AQW_IMAGE_TASK, TASK_WITH_RUNS),
        (lib.AQW_IMAGE_RUN, b"r" * 16 + number(1) + bytes(3) + fields),
        *more,
    ]


READY, LEASED, RUNNING, WAIT, CLOSED = (
    bytes([1, 0]),
    bytes([2, 0]),
    bytes([3, 0]),
    bytes([4, 0]),
    bytes([16]),
)
TO_RUNNING = READY + LEASED + RUNNING
UNFINISHED = (lib.AQW_IMAGE_ATTEMPT, b"a" * 16 + bytes([0, 16]))
FINISHED = (lib.AQW_IMAGE_ATTEMPT, b"b" * 16 + bytes([0, 0, 0]))
LEASE = (lib.AQW_IMAGE_LEASE, bytes(3) + b"owner")


@pytest.mark.parametrize(
    "items",
    [
        run_image(b""),
        run_image(TO_RUNNING, history=3),
        run_image(READY + LEASED + CLOSED, history=2),
        run_image(READY + LEASED + CLOSED + LEASED, history=3),
        run_image(TO_RUNNING, UNFINISHED, history=3, attempts=1),
        run_image(TO_RUNNING, FINISHED, UNFINISHED, history=3, attempts=2),
        run_image(TO_RUNNING + WAIT, FINISHED, history=4, attempts=1),
        run_image(TO_RUNNING + bytes([8, 0]), UNFINISHED, history=4, attempts=1),
        run_image(TO_RUNNING, LEASE, history=3, leases=1),
        run_image(TO_RUNNING + WAIT, FINISHED, LEASE, history=4, attempts=1, leases=1),
    ],
)
def test_runs_that_can_be(items: list[Item]) -> None:
    assert refused_or_canonical(items) == "ok"


@pytest.mark.parametrize(
    "items",
    [
        run_image(RUNNING, history=1),
        run_image(bytes([0, 0]), history=1),
        run_image(bytes([9, 0]), history=1),
        run_image(READY, history=2),
        run_image(READY + LEASED, history=1),
        run_image(CLOSED),
        run_image(READY + CLOSED, history=1),
        run_image(READY, (lib.AQW_IMAGE_HISTORY, LEASED), history=2),
        run_image(
            (READY + LEASED) + (READY + LEASED) * 31, (lib.AQW_IMAGE_HISTORY, b""), history=64
        ),
        run_image((READY + LEASED) * 32 + READY, history=65),
        run_image(READY, FINISHED, history=1, attempts=1),
        run_image(b"", UNFINISHED, attempts=1),
        run_image(TO_RUNNING + WAIT, UNFINISHED, history=4, attempts=1),
        run_image(TO_RUNNING + WAIT + bytes([8, 0]), UNFINISHED, history=5, attempts=1),
        run_image(TO_RUNNING, UNFINISHED, FINISHED, history=3, attempts=2),
        run_image(TO_RUNNING, FINISHED, FINISHED, history=3, attempts=2),
        run_image(TO_RUNNING, FINISHED, history=3, attempts=2),
        run_image(
            TO_RUNNING, (lib.AQW_IMAGE_ATTEMPT, b"b" * 16 + bytes([0, 4, 0])), history=3, attempts=1
        ),
        run_image(
            TO_RUNNING,
            (lib.AQW_IMAGE_ATTEMPT, b"b" * 16 + bytes([0, 1, 0]) + b"\xff"),
            history=3,
            attempts=1,
        ),
        run_image(b"", LEASE, leases=1),
        run_image(READY + bytes([8, 0]), LEASE, history=2, leases=1),
        run_image(READY, LEASE, LEASE, history=1, leases=2),
        run_image(READY, LEASE, (lib.AQW_IMAGE_HISTORY, LEASED), history=2, leases=1),
        run_image(TO_RUNNING, LEASE, FINISHED, history=3, attempts=1, leases=1),
        run_image(READY, (lib.AQW_IMAGE_LEASE, bytes(3) + b"\xff"), history=1, leases=1),
    ],
)
def test_runs_that_cannot_be(items: list[Item]) -> None:
    assert refused_or_canonical(items) == MALFORMED


@pytest.mark.parametrize("number_of_a_task", [0, 2])
@pytest.mark.parametrize(
    ("kind", "item"),
    [
        (1, lambda task: (lib.AQW_IMAGE_RUN, b"r" * 16 + task + bytes(3))),
        (5, lambda task: (lib.AQW_IMAGE_DEPENDENCIES, b"\1" + task)),
        (5, lambda task: (lib.AQW_IMAGE_DEPENDENCIES, task + b"\1")),
        (6, lambda task: (lib.AQW_IMAGE_BUDGET, task + bytes(4))),
        (7, lambda task: (lib.AQW_IMAGE_SUBSCRIPTION, b"s" * 16 + task + b"\0\0\3\0")),
    ],
)
def test_a_number_names_a_task_that_is_there(number_of_a_task: int, kind: int, item: Any) -> None:
    head = (lib.AQW_IMAGE_HEAD, counts(*[1 if at in (0, kind) else 0 for at in range(13)]))
    task = (lib.AQW_IMAGE_TASK, TASK_WITH_RUNS if kind == 1 else TASK)
    assert refused_or_canonical([head, task, item(b"\1")]) == "ok"
    assert refused_or_canonical([head, task, item(bytes([number_of_a_task]))]) == MALFORMED


@pytest.mark.parametrize(
    ("limit", "consumed", "exhausted", "status"),
    [
        (5, 4, 0, "ok"),
        (5, 5, 0, MALFORMED),
        (0, 0, 0, "ok"),
        (0, 1, 0, MALFORMED),
        (5, 4, 16, "ok"),
        (5, 5, 16, "ok"),
    ],
)
def test_a_budget_is_exhausted_where_nothing_is_left(
    limit: int, consumed: int, exhausted: int, status: str
) -> None:
    budget = (lib.AQW_IMAGE_BUDGET, bytes([1, exhausted, limit, consumed, 0]))
    head = (lib.AQW_IMAGE_HEAD, counts(1, 0, 0, 0, 0, 0, 1))
    assert refused_or_canonical([head, (lib.AQW_IMAGE_TASK, TASK), budget]) == status


@pytest.mark.parametrize(
    ("flags", "fields", "with_run", "without_run"),
    [
        (0, b"", MALFORMED, "ok"),
        (2, b"\5", "ok", MALFORMED),
        (6, b"\5\1", "ok", "ok"),
        (6, b"\5\0", MALFORMED, MALFORMED),
        (4, b"\1", MALFORMED, MALFORMED),
        (8, b"", MALFORMED, MALFORMED),
    ],
)
def test_a_task_says_whether_it_ever_had_runs(
    flags: int, fields: bytes, with_run: str, without_run: str
) -> None:
    head, _task, run = run_image(b"")
    task = (lib.AQW_IMAGE_TASK, b"t" * 16 + b"\0" + bytes([flags]) + fields + bytes(3))
    assert refused_or_canonical([head, task, run]) == with_run
    assert refused_or_canonical([(head[0], counts(1)), task]) == without_run


def test_a_tombstone_names_no_task_that_is_there() -> None:
    head = (lib.AQW_IMAGE_HEAD, counts(1, *[0] * 12, 1))
    task, tombstone = (lib.AQW_IMAGE_TASK, TASK), (lib.AQW_IMAGE_TOMBSTONE, b"u" * 16 + b"\5")
    assert refused_or_canonical([head, task, tombstone]) == "ok"
    assert (
        refused_or_canonical([head, task, (lib.AQW_IMAGE_TOMBSTONE, b"t" * 16 + b"\5")])
        == MALFORMED
    )
    assert (
        refused_or_canonical([head, task, (lib.AQW_IMAGE_TOMBSTONE, bytes(16) + b"\5")])
        == MALFORMED
    )
    many = counts(*[0] * 13, lib.AQW_TOMBSTONE_COUNT_MAX + 1)
    with Table() as table:
        assert load_into(table, [(lib.AQW_IMAGE_HEAD, many)], size_max=2**40) == MALFORMED


def test_nothing_occurs_twice() -> None:
    items = every_item()
    head = counts(*[200] * 14)
    for at, (item_type, payload) in enumerate(items):
        if item_type in (lib.AQW_IMAGE_HEAD, lib.AQW_IMAGE_HISTORY, lib.AQW_IMAGE_LEDGER_ENTRY):
            continue
        with Table() as table:
            loader = ffi.new("aqw_table_loader *")
            lib.aqw_table_load_begin(loader, table.table, 2**20)
            statuses = [
                status_name(lib.aqw_table_load_item(loader, one_type, one, len(one)))
                for one_type, one in [
                    (lib.AQW_IMAGE_HEAD, head),
                    *items[1 : at + 1],
                    (item_type, payload),
                ]
            ]
            assert statuses == ["ok"] * (at + 1) + [MALFORMED]


# --- Golden bytes ---------------------------------------------------------------------------------


def test_golden_bytes() -> None:
    items = every_item()
    assert {item_type for item_type, _payload in items} == set(range(1, lib.AQW_IMAGE_TYPE_COUNT))
    assert [[item_type, payload.hex()] for item_type, payload in items] == json.loads(
        GOLDEN.read_text("utf-8")
    )


def test_golden_bytes_are_still_read() -> None:
    items = [
        (item_type, bytes.fromhex(payload))
        for item_type, payload in json.loads(GOLDEN.read_text("utf-8"))
    ]
    with loaded(items) as table, Table() as expected:
        expected.must_apply(*events_of_every_item())
        assert table.dump() == expected.dump()


if __name__ == "__main__":
    lines = ",\n ".join(
        json.dumps([item_type, payload.hex()]) for item_type, payload in every_item()
    )
    GOLDEN.write_text(f"[{lines}]\n", "utf-8")
