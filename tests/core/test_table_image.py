"""A table's image: a loaded table is the saved one, for ever after."""

from __future__ import annotations

import json
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
    LedgerEntryId,
    RunInstance,
    RunState,
    TaskSpec,
    TenantId,
)
from tests.support import places
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import status_name
from tests.support.core.table_driver import EventSource, Memory, Table, dump_of
from tests.support.core.table_events import apply_to, every_kind, numbered, path_to
from tests.support.core.table_image import (
    events_of_every_item,
    every_item,
    image_of,
    load_into,
    loaded,
    save,
)
from tests.support.model import Model

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
randoms = st.randoms(use_true_random=False)
S = RunState
GOLDEN = places.DATA / "golden-image.json"

MALFORMED = "malformed_snapshot"


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
