"""The orders of runs against a sort over all runs, after every step of random histories."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue import AttemptId, RunId, RunInstance, RunState, TaskConstraints, TaskSpec
from tests.support.core.door import ffi, lib
from tests.support.core.table_driver import EventSource, Memory, Table, id_of
from tests.support.core.table_events import apply_to, numbered, path_to
from tests.support.core.table_image import load_into, save
from tests.support.model import Model

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=100)
randoms = st.integers(0, 2**32).map(Random)

S = RunState
FOREVER = 2**64 - 1
DUE, LEASES, DEADLINES = lib.AQW_ORDER_DUE, lib.AQW_ORDER_LEASES, lib.AQW_ORDER_DEADLINES
CLOSING = {"ready", "leased", "running"}
"""Where a command may close a lease."""
LIVE = [state for state in RunState if not state.is_terminal]

Order = list[tuple[int, RunId]]


def expected_order(model: Model, order: int) -> Order:
    """Sort all runs. Python's sort keeps those of the same time in the order of their creation."""
    found: Order = []
    for run_id, run in model.runs.items():
        if order == DUE and run["state"] in {"scheduled", "retry_wait"}:
            found.append((run["scheduled_at"], run_id))
        elif order == LEASES and run["lease"] is not None and run["state"] in CLOSING:
            found.append((run["lease"]["expiry"], run_id))
        elif order == DEADLINES and run["current_attempt_id"] is not None:
            timeout = model.tasks[run["task_id"]]["spec"].constraints.timeout_secs
            if timeout is not None:
                found.append((min(run["attempts"][-1]["started_at"] + timeout, FOREVER), run_id))
    return sorted(found, key=lambda pair: pair[0])


def read_order(table: Table, order: int, pages: int = 1000) -> Order:
    """Read a whole order, in pages."""
    found: Order = []
    to = ffi.new("aqw_ordered_entry[]", pages)
    after = ffi.NULL
    while True:
        count = lib.aqw_table_read_order(table.table, order, after, FOREVER, to, pages)
        for entry in to[0:count]:
            found.append((entry.time, id_of(RunId, table.view("run", entry.row).run_id)))
        if count < pages:
            return found
        after = ffi.new("aqw_ordered_entry *", (to[count - 1].time, to[count - 1].row))


def read_state(table: Table, state: RunState) -> list[RunId]:
    found, row = [], 0
    while row := lib.aqw_table_next_in_state(table.table, list(RunState).index(state), row):
        found.append(id_of(RunId, table.view("run", row).run_id))
    return found


def bring_up_to_date(table: Table, runs_max: int = 1000) -> int:
    is_done = ffi.new("uint8_t *")
    while not is_done[0]:
        status: int = lib.aqw_table_order(table.table, runs_max, is_done)
        if status != lib.AQW_OK:
            return status
    return status


def check(table: Table, model: Model, pages: int = 1000) -> None:
    assert bring_up_to_date(table) == lib.AQW_OK
    for order in (DUE, LEASES, DEADLINES):
        assert read_order(table, order, pages) == expected_order(model, order)
    for state in LIVE:
        expected = [run_id for run_id, run in model.runs.items() if run["state"] == state.value]
        assert read_state(table, state) == expected


@PATIENT
@given(randoms, st.integers(1, 400), st.integers(1, 20))
def test_agree_with_a_sort_after_every_step(random: Random, length: int, pages: int) -> None:
    model, source = Model(), EventSource(random)
    with Table() as table:
        for _ in range(length):
            event = source.next(model)
            assert table.apply(event) == apply_to(model, event)
            if random.random() < 0.1:  # some of it, as far as it goes
                lib.aqw_table_order(table.table, random.randint(1, 4), ffi.new("uint8_t *"))
            if random.random() < 0.3:  # otherwise the run is noted, and changes again
                check(table, model, pages)
        check(table, model, pages)


@PATIENT
@given(randoms, st.integers(1, 300))
def test_agree_with_a_sort_where_they_are_made_in_steps(random: Random, length: int) -> None:
    """Runs change before their turn has come, after it, and while they are noted."""
    model, source = Model(), EventSource(random)
    is_done = ffi.new("uint8_t *")
    with Table() as table:
        for _ in range(length):
            event = source.next(model)
            assert table.apply(event) == apply_to(model, event)
        for _ in range(length):
            if random.random() < 0.3:
                assert lib.aqw_table_order(table.table, 1, is_done) == lib.AQW_OK
            event = source.next(model)
            assert table.apply(event) == apply_to(model, event)
        check(table, model)


@PATIENT
@given(randoms, st.integers(1, 30))
def test_agree_with_a_sort_where_batches_are_undone(random: Random, batches: int) -> None:
    model, source = Model(), EventSource(random)
    with Table() as table:
        for _ in range(batches):
            before = model.copy()
            if has_batch := random.random() < 0.8:
                assert table.begin() == "ok"
            for _ in range(random.randint(1, 25)):
                event = source.next(model)
                assert table.apply(event) == apply_to(model, event)
                if random.random() < 0.1:
                    check(table, model)
            if has_batch and random.random() < 0.5:
                table.rollback()
                model = before
            else:
                table.commit()
            if random.random() < 0.7:
                check(table, model)
        check(table, model)


@PATIENT
@given(randoms, st.integers(0, 12))
def test_without_memory_the_orders_come_back_later(random: Random, allocations: int) -> None:
    """No event fails for an order's sake, and a question that fails changes nothing."""
    model, source, memory = Model(), EventSource(random), Memory()
    with Table(memory) as table:
        for _ in range(150):
            event = source.next(model)
            answer = apply_to(model.copy(), event)
            memory.fail_after(allocations if random.random() < 0.3 else None)
            got = table.apply(event)
            memory.fail_after(None)
            if got == "no_memory":
                got = table.apply(event)
            assert got == answer
            apply_to(model, event)
            memory.fail_after(allocations if random.random() < 0.5 else None)
            status = bring_up_to_date(table)
            memory.fail_after(None)
            assert status in {lib.AQW_OK, lib.AQW_NO_MEMORY}
            if status == lib.AQW_OK:
                check(table, model)
        check(table, model)
    assert not memory.live


def test_many_changes_are_entered_before_they_are_asked_for(table: Table) -> None:
    model = Model()
    task = TaskSpec(payload=b"payload")
    runs = [
        RunInstance.scheduled(task.id, scheduled_at=number * 7919 % 1000, created_at=5)
        for number in range(6000)
    ]
    check(table, model)
    events: list[aq.Event] = [aq.TaskCreated(0, task, 1)]
    events += [aq.RunCreated(0, run) for run in runs]
    events += [event for run in runs[::2] for event in path_to(run, S.READY)]
    events = numbered(*events)
    assert table.begin() == "ok"
    for number, event in enumerate(events):
        table.must_apply(event)
        model.apply_event(event)
        if number == 3000:
            table.commit()
    check(table, model)
    assert table.counts.memory_bytes < 2**22


def test_a_deadline_beyond_all_time_is_the_last_moment(table: Table) -> None:
    task = TaskSpec(payload=b"", constraints=TaskConstraints(timeout_secs=FOREVER))
    run = RunInstance.scheduled(task.id, scheduled_at=5, created_at=5)
    attempt = AttemptId()
    model = Model()
    for event in numbered(
        aq.TaskCreated(0, task, 1),
        aq.RunCreated(0, run),
        *path_to(run, S.READY, S.LEASED, S.RUNNING),
        aq.AttemptStarted(0, run.id, attempt, 77),
    ):
        table.must_apply(event)
        model.apply_event(event)
    check(table, model)
    assert read_order(table, DEADLINES) == [(FOREVER, run.id)]


@pytest.mark.parametrize("until", [0, 9, 10, 11, FOREVER])
def test_a_question_has_a_last_time_and_a_limit(table: Table, until: int) -> None:
    task = TaskSpec(payload=b"")
    runs = [
        RunInstance.scheduled(task.id, scheduled_at=number, created_at=5) for number in range(20)
    ]
    table.must_apply(
        *numbered(aq.TaskCreated(0, task, 1), *(aq.RunCreated(0, run) for run in runs))
    )
    assert bring_up_to_date(table) == lib.AQW_OK
    to = ffi.new("aqw_ordered_entry[]", 15)
    count: Any = lib.aqw_table_read_order(table.table, DUE, ffi.NULL, until, to, 15)
    assert [entry.time for entry in to[0:count]] == list(range(20))[: min(until + 1, 15)]


def test_a_table_that_was_asked_while_it_was_empty_may_be_loaded(table: Table) -> None:
    """It makes its orders again, of what was loaded."""
    task = TaskSpec(payload=b"payload")
    run = RunInstance.scheduled(task.id, scheduled_at=5, created_at=5)
    model = Model()
    for event in numbered(aq.TaskCreated(0, task, 1), aq.RunCreated(0, run)):
        table.must_apply(event)
        model.apply_event(event)
    with Table() as other:
        check(other, Model())
        assert load_into(other, save(table)) == "ok"
        check(other, model)


def test_notes_of_a_large_batch_give_their_memory_back(table: Table) -> None:
    task = TaskSpec(payload=b"payload")
    runs = [
        RunInstance.scheduled(task.id, scheduled_at=number, created_at=5) for number in range(9000)
    ]
    events: list[aq.Event] = [aq.TaskCreated(0, task, 1), *(aq.RunCreated(0, run) for run in runs)]
    events += [aq.RunCanceled(0, run.id, 9) for run in runs]
    events = numbered(*events)
    table.must_apply(*events[:9001])
    assert bring_up_to_date(table) == lib.AQW_OK
    assert table.begin() == "ok"
    table.must_apply(*events[9001:])
    table.commit()
    assert bring_up_to_date(table) == lib.AQW_OK
    with Table() as never_asked:
        never_asked.must_apply(*events[:9001])
        assert never_asked.begin() == "ok"  # the record of a batch keeps some memory, too
        never_asked.must_apply(*events[9001:])
        never_asked.commit()
        more = table.counts.memory_bytes - never_asked.counts.memory_bytes
    assert more < 16 * 1024
