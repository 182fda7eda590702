"""The orders of runs against a sort over all runs, after every step of random histories."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue import (
    AttemptId,
    RunId,
    RunInstance,
    RunState,
    TaskConstraints,
    TaskId,
    TaskSpec,
)
from tests.support.core.door import ffi, lib
from tests.support.core.ready_source import ReadySource
from tests.support.core.table_driver import EventSource, Memory, Table, id_of
from tests.support.core.table_events import apply_to, numbered, path_to
from tests.support.core.table_image import load_into, save
from tests.support.model import Model
from tests.support.ready_model import Ready, Reason, blockers, ready_runs, required_by

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
            found.append((entry.words[0], id_of(RunId, table.view("run", entry.row).run_id)))
        if count < pages:
            return found
        after = ffi.new("aqw_ordered_entry *", to[count - 1])


def read_state(table: Table, state: RunState) -> list[RunId]:
    found, row = [], 0
    while row := lib.aqw_table_next_in_state(table.table, list(RunState).index(state), row):
        found.append(id_of(RunId, table.view("run", row).run_id))
    return found


KINDS = ("canceled", "attempts", "lease", "prerequisite", "budget", "key")
OF_A_RUN = {"lease", "key"}
DIMENSIONS = ("token", "cost_cents", "time_secs")


def read_groups(table: Table) -> dict[int, int]:
    """Read the groups of ready runs, each with a run's row."""
    groups: dict[int, int] = {}
    group = ffi.new("aqw_ready_group *")
    while lib.aqw_table_next_ready_group(table.table, not groups, group):
        groups[group.id] = group.run
    return groups


def read_ready(
    table: Table, groups: list[int], pages: int = 1000, looks: int = 1000
) -> list[Ready] | None:
    """Read the ready runs of these groups, in pages. Returns None without memory."""
    found: list[Ready] = []
    to, place = ffi.new("aqw_ordered_entry[]", pages), ffi.new("aqw_ordered_entry *")
    copied, left = ffi.new("uint32_t *"), ffi.new("uint32_t *")
    while True:
        left[0] = looks
        if lib.aqw_table_read_ready(
            table.table, groups, len(groups), place, to, pages, left, copied
        ):
            return None
        for entry in to[0 : copied[0]]:
            run_id = id_of(RunId, table.view("run", entry.row).run_id)
            found.append((lib.aqw_ready_priority(entry.words[1]), entry.words[2], run_id))
        if copied[0] < pages and left[0]:
            return found


def read_blockers(table: Table, run_id: RunId) -> set[Reason]:
    blocker, found = ffi.new("aqw_blocker *"), set()
    row = lib.aqw_table_find_run(table.table, run_id.bytes)
    while lib.aqw_table_next_blocker(table.table, row, blocker):
        kind = KINDS[blocker.kind]
        where = "run" if kind in OF_A_RUN else "task"
        view = table.view(where, blocker.row)
        named = id_of(RunId, view.run_id) if where == "run" else id_of(TaskId, view.task_id)
        found.add((kind, (named, DIMENSIONS[blocker.dimension]) if kind == "budget" else named))
    return found


def check_ready(table: Table, model: Model, pages: int) -> None:
    groups = read_groups(table)
    able = {"gpu"}
    open_to_few = [
        group
        for group, row in groups.items()
        if set(required_by(model, model.runs[id_of(RunId, table.view("run", row).run_id)])) <= able
    ]
    assert read_ready(table, open_to_few, pages, pages + 1) == ready_runs(model, able)
    assert read_ready(table, list(groups), pages) == ready_runs(model)
    for run_id, run in model.runs.items():
        if run["state"] == "ready":
            assert read_blockers(table, run_id) == blockers(model, run_id)


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
    check_ready(table, model, pages)


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
@given(randoms, st.integers(1, 250), st.integers(1, 4))
def test_ready_runs_of_a_few_tasks_agree_with_a_sort(
    random: Random, length: int, pages: int
) -> None:
    """Their runs wait for each other all the time."""
    model, source = Model(), ReadySource(random)
    how_often = random.choice((0.1, 0.5, 1))
    with Table() as table:
        for _ in range(length):
            before = model.copy()
            has_batch = random.random() < 0.1
            if has_batch:
                assert table.begin() == "ok"
            for _ in range(random.randint(1, 9) if has_batch else 1):
                event = source.next(model)
                assert table.apply(event) == apply_to(model, event)
            if has_batch and random.random() < 0.3:
                if random.random() < 0.5:
                    check(table, model)
                table.rollback()
                model = before
            else:
                table.commit()
            if random.random() < 0.1:
                lib.aqw_table_order(table.table, random.randint(1, 3), ffi.new("uint8_t *"))
            if random.random() < how_often:
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
    assert [entry.words[0] for entry in to[0:count]] == list(range(20))[: min(until + 1, 15)]


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


def test_a_run_may_be_started_once_the_task_above_it_is_forgotten(table: Table) -> None:
    above = TaskSpec(payload=b"")
    task = TaskSpec(payload=b"", parent_task_id=above.id)
    run = RunInstance.scheduled(task.id, scheduled_at=5, created_at=5)
    events = numbered(
        aq.TaskCreated(0, above, 1),
        aq.BudgetAllocated(0, above.id, aq.BudgetDimension.TOKEN, 1, 2),
        aq.BudgetConsumed(0, above.id, aq.BudgetDimension.TOKEN, 1, 3),
        aq.TaskCreated(0, task, 4),
        aq.RunCreated(0, run),
        *path_to(run, S.READY),
        aq.RunsPurged(0, (), (above.id,), 9, (), (), 0, 0, None),
    )
    model = Model()
    for event in events:
        table.must_apply(event)
        model.apply_event(event)
        check(table, model)
    assert [run_id for *_, run_id in ready_runs(model)] == [run.id]


def test_tasks_above_each_other_in_a_circle(table: Table) -> None:
    """A task may name one as its parent that is created later, with the first as its own."""
    ids = [TaskId() for _ in range(5)]
    parents = [ids[1], ids[2], ids[3], ids[4], ids[2]]
    tasks = [
        TaskSpec(id=task_id, payload=b"", parent_task_id=parent)
        for task_id, parent in zip(ids, parents, strict=True)
    ]
    run = RunInstance.scheduled(ids[0], scheduled_at=5, created_at=5)
    events: list[aq.Event] = [aq.TaskCreated(0, task, 1) for task in tasks]
    events += [aq.RunCreated(0, run), *path_to(run, S.READY)]
    for task_id in (ids[4], ids[0], ids[3]):
        events.append(aq.BudgetAllocated(0, task_id, aq.BudgetDimension.TOKEN, 1, 2))
        events.append(aq.BudgetConsumed(0, task_id, aq.BudgetDimension.TOKEN, 1, 3))
    for task_id in (ids[0], ids[4], ids[3]):
        events.append(aq.BudgetReplenished(0, task_id, aq.BudgetDimension.TOKEN, 1, 4))
    model = Model()
    for event in numbered(*events):
        table.must_apply(event)
        model.apply_event(event)
        check(table, model)
    assert ready_runs(model)


def test_a_thousand_runs_that_wait_for_one_key_cost_a_question_nothing(table: Table) -> None:
    """The first one stands for all of them; the others are looked at when it is their turn."""
    task = TaskSpec(payload=b"", constraints=TaskConstraints(concurrency_key="key"))
    free = TaskSpec(payload=b"")
    runs = [RunInstance.scheduled(task.id, scheduled_at=5, created_at=5) for _ in range(1000)]
    last = RunInstance.scheduled(free.id, scheduled_at=5, created_at=5)
    events: list[aq.Event] = [aq.TaskCreated(0, task, 1), aq.TaskCreated(0, free, 1)]
    events += [
        event for run in [*runs, last] for event in (aq.RunCreated(0, run), *path_to(run, S.READY))
    ]
    events += path_to(runs[0], S.READY, S.LEASED)[1:]
    table.must_apply(*numbered(*events))
    assert bring_up_to_date(table) == lib.AQW_OK
    looks = ffi.new("uint32_t *", 1)
    to, place = ffi.new("aqw_ordered_entry[1]"), ffi.new("aqw_ordered_entry *")
    copied = ffi.new("uint32_t *")
    status = lib.aqw_table_read_ready(table.table, [0], 1, place, to, 1, looks, copied)
    assert (status, copied[0]) == (lib.AQW_OK, 1)
    assert id_of(RunId, table.view("run", to[0].row).run_id) == last.id


def test_a_run_may_be_started_once_a_task_between_it_and_the_budget_is_forgotten(
    table: Table,
) -> None:
    top = TaskSpec(payload=b"")
    between = TaskSpec(payload=b"", parent_task_id=top.id)
    task = TaskSpec(payload=b"", parent_task_id=between.id)
    run = RunInstance.scheduled(task.id, scheduled_at=5, created_at=5)
    events = numbered(
        *(aq.TaskCreated(0, spec, 1) for spec in (top, between, task)),
        aq.BudgetAllocated(0, top.id, aq.BudgetDimension.TOKEN, 0, 2),
        aq.BudgetExhausted(0, top.id, aq.BudgetDimension.TOKEN, 3),
        aq.RunCreated(0, run),
        *path_to(run, S.READY),
        aq.RunsPurged(0, (), (between.id,), 9, (), (), 0, 0, None),
    )
    model = Model()
    for event in events:
        table.must_apply(event)
        model.apply_event(event)
        check(table, model)
    assert [run_id for *_, run_id in ready_runs(model)] == [run.id]


def test_a_parked_run_that_is_forgotten_with_its_task_comes_back_nowhere(table: Table) -> None:
    """Its dependencies go with it, before its place is looked for."""
    first, second, third = tasks = [TaskSpec(payload=b"") for _ in range(3)]
    runs = [RunInstance.scheduled(task.id, scheduled_at=5, created_at=5) for task in tasks]
    model = Model()

    def happen(*events: aq.Event) -> None:
        for event in numbered(*events, first=model.latest_sequence + 1):
            table.must_apply(event)
            model.apply_event(event)

    happen(
        *(aq.TaskCreated(0, task, 1) for task in tasks),
        *(aq.DependencyDeclared(0, task.id, (first.id,), 2) for task in (second, third)),
        *(aq.RunCreated(0, run) for run in runs),
        *(path_to(run, S.READY)[0] for run in (runs[1], runs[2])),
    )
    check(table, model)  # both are parked
    happen(
        aq.RunStateChanged(0, runs[1].id, S.READY, S.CANCELED, 8),
        aq.TaskCanceled(0, second.id, 8),
        aq.RunsPurged(0, (runs[1].id,), (second.id,), 9, (), (), 0, 0, None),
    )
    check(table, model)
    happen(*path_to(runs[0], S.READY, S.LEASED, S.RUNNING, S.COMPLETED))
    check(table, model)
    assert [run_id for *_, run_id in ready_runs(model)] == [runs[2].id]
