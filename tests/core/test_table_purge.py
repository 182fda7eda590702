"""Retention: what was purged is as if it had never been, and what may be purged is found."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from _wal_native.table import StateTable
from actionqueue import events as e
from actionqueue.budget import BudgetDimension
from actionqueue.errors import RefusedEventError
from actionqueue.ids import AttemptId, RunId, SubscriptionId, TaskId
from actionqueue.projection import Projection
from actionqueue.run import RunInstance
from actionqueue.run_policy import Cron, Once, Repeat, RunPolicy
from actionqueue.states import AttemptResultKind, RunState
from actionqueue.subscription import EventFilter
from actionqueue.task import TaskSpec
from door import ffi, lib
from model import TRANSITIONS, Model
from table_driver import EventSource, Memory, Table, as_c, dump_of, status_name
from table_image import loaded, save
from test_table import apply_to, numbered, path_to

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
randoms = st.randoms(use_true_random=False)
S = RunState
PURGED = 10**6
"""A sequence after all others."""


@pytest.fixture
def table() -> Iterator[Table]:
    with Table() as made:
        yield made


def task_with_run(*, policy: RunPolicy | None = None, parent: TaskId | None = None) -> tuple[TaskSpec, RunInstance, list[e.Event]]:
    """Return a task, a run of it, and the events up to the run's end at time 10."""
    task = TaskSpec(payload=b"x", run_policy=policy or Once(), parent_task_id=parent)
    run = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    attempt = AttemptId()
    events = [
        e.TaskCreated(0, task, 1),
        e.RunCreated(0, run),
        *path_to(run, S.READY, S.LEASED, S.RUNNING),
        e.AttemptStarted(0, run.id, attempt, 2),
        e.AttemptFinished(0, run.id, attempt, AttemptResultKind.SUCCESS, None, b"out", 3),
        e.RunStateChanged(0, run.id, S.RUNNING, S.COMPLETED, 10),
    ]
    return task, run, events


def purge(runs: list[Any], tasks: list[Any], sequence: int = PURGED) -> e.RunsPurged:
    return e.RunsPurged(sequence, tuple(run.id for run in runs), tuple(task.id for task in tasks), 20)


def without_sequence(dump: dict[str, Any]) -> dict[str, Any]:
    return {**dump, "latest_sequence": None}


# --- As if it had never been -----------------------------------------------------------------------------------------


@PATIENT
@given(randoms, st.integers(1, 150))
def test_a_purged_table_is_the_models_and_its_image_has_nothing_of_what_is_gone(random: Random, length: int) -> None:
    model, source = Model(), EventSource(random)
    with Table() as table:
        for _ in range(length):
            event = source.next(model) if random.random() < 0.85 or not model.tasks else source._purge(model, model.latest_sequence + 1)
            assert table.apply(event) == apply_to(model, event), event
        assert table.dump() == dump_of(model)
        items = save(table)
        with loaded(items) as other:
            assert other.dump() == dump_of(model)
            assert save(other) == items


def test_all_of_a_task_goes_and_its_identifiers_may_be_used_again(table: Table) -> None:
    task, run, events = task_with_run()
    other, other_run, others = task_with_run()
    subscription, dimension = SubscriptionId(), BudgetDimension.COST_CENTS
    attached = [
        e.DependencyDeclared(0, task.id, (other.id, task.id), 3),
        *(e.BudgetAllocated(0, task.id, each, 5, 4) for each in BudgetDimension),
        e.SubscriptionCreated(0, subscription, task.id, EventFilter.custom("k"), 5),
        e.SubscriptionCreated(0, SubscriptionId(), task.id, EventFilter.custom("k"), 5),
    ]
    table.must_apply(*numbered(*others))
    before = without_sequence(table.dump())
    history = [*events, *attached]
    table.must_apply(*numbered(*history, first=100))
    full = table.dump()
    table.must_apply(purge([run], [task]))
    assert without_sequence(table.dump()) == before
    assert not table.find("task", task.id.bytes)
    assert not table.find("run", run.id.bytes)
    assert not table.find("budget", task.id.bytes, int(list(BudgetDimension).index(dimension)))
    assert not table.find("subscription", subscription.bytes)
    table.must_apply(*numbered(*history, first=PURGED + 1))
    assert without_sequence(table.dump()) == without_sequence(full)
    table.must_apply(purge([run], [task], 2 * PURGED), purge([other_run], [other], 2 * PURGED + 1))
    with Table() as empty:
        assert without_sequence(table.dump()) == without_sequence(empty.dump())
        table.must_apply(*numbered(*history[:8], first=3 * PURGED))
        empty.must_apply(*numbered(*history[:8], first=3 * PURGED))
        assert save(table) == save(empty)


def test_runs_of_a_task_that_stays(table: Table) -> None:
    task = TaskSpec(payload=b"x", run_policy=Repeat(9, 60))
    runs = [RunInstance.scheduled(task.id, scheduled_at=1, created_at=1) for _ in range(5)]
    table.must_apply(*numbered(e.TaskCreated(0, task, 1), *(e.RunCreated(0, run) for run in runs)))
    table.must_apply(*numbered(*(e.RunCanceled(0, run.id, 5) for run in runs), first=100))

    def left() -> list[Any]:
        view = table.view("task", 1)
        chain = [RunId.from_bytes(bytes(run.run_id)) for run in table.chain("run", view.first_run, "next_in_task")]
        assert len(chain) == view.run_count == table.counts.runs
        return chain

    for sequence, gone in enumerate([[1], [0], [4], [2, 3]], PURGED):
        table.must_apply(purge([runs[i] for i in gone], [], sequence))
        gone_ids = {runs[i].id for group in [[1], [0], [4], [2, 3]][: sequence - PURGED + 1] for i in group}
        assert left() == [run.id for run in runs if run.id not in gone_ids]
    again = RunInstance.scheduled(task.id, id=runs[1].id, scheduled_at=2, created_at=2)
    table.must_apply(e.RunCreated(2 * PURGED, again))
    assert left() == [again.id]


def test_parents_are_in_the_order_of_the_children_that_are_left(table: Table) -> None:
    first, second = TaskId(), TaskId()
    tasks = [TaskSpec(payload=b"x", parent_task_id=parent) for parent in (first, second, first, second)]
    table.must_apply(*numbered(*(e.TaskCreated(0, task, 1) for task in tasks)))

    def parents() -> list[Any]:
        return [[parent, children] for parent, children in table.dump()["parents"]]

    table.must_apply(purge([], [tasks[0]]))
    assert parents() == [[second, [tasks[1].id, tasks[3].id]], [first, [tasks[2].id]]]
    table.must_apply(purge([], [tasks[2]], PURGED + 1))
    assert parents() == [[second, [tasks[1].id, tasks[3].id]]]
    assert not table.find("parent", first.bytes)
    again = TaskSpec(payload=b"x", parent_task_id=first)
    table.must_apply(e.TaskCreated(PURGED + 2, again, 1), purge([], [tasks[1]], PURGED + 3))
    assert parents() == [[second, [tasks[3].id]], [first, [again.id]]]
    with loaded(save(table)) as other:
        assert other.dump() == table.dump()


# --- What is still needed --------------------------------------------------------------------------------------------


def refusal(table: Table, event: e.RunsPurged) -> str:
    before = table.dump()
    status = table.apply(event)
    assert table.dump() == before
    table.begin()
    assert table.apply(event) == status
    assert table.dump() == before
    table.rollback()
    assert table.dump() == before
    return status


def test_what_is_still_needed_is_refused_and_leaves_no_trace(table: Table) -> None:
    task, run, events = task_with_run()
    dependent, dependent_run, more = task_with_run()
    live = RunInstance.scheduled(dependent.id, scheduled_at=1, created_at=1)
    table.must_apply(*numbered(*events, *more, e.RunCreated(0, live), e.DependencyDeclared(0, dependent.id, (task.id,), 1)))
    assert refusal(table, purge([live], [])) == "refused_not_finished"
    assert refusal(table, purge([run, dependent_run, live], [task])) == "refused_not_finished"
    assert refusal(table, purge([], [dependent])) == "refused_not_finished"
    assert refusal(table, purge([dependent_run], [dependent])) == "refused_not_finished"
    assert refusal(table, purge([run], [task])) == "refused_not_finished"
    assert refusal(table, purge([run, run], [])) == "refused_unknown_run"
    unknown = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    assert refusal(table, purge([run, dependent_run, unknown], [])) == "refused_unknown_run"
    assert refusal(table, purge([], [TaskSpec(payload=b"")])) == "refused_unknown_task"
    assert refusal(table, purge([run], [task, task])) == "refused_unknown_task"
    assert refusal(table, purge([run], [], sequence=1)) == "refused_sequence"
    table.must_apply(e.RunCanceled(500, live.id, 5))
    assert refusal(table, purge([run], [task])) == "refused_not_finished"
    table.must_apply(purge([run, dependent_run, live], [task, dependent]))  # both at once, the prerequisite first
    assert table.counts.tasks == 0


def test_tasks_that_depend_on_each_other_go_together(table: Table) -> None:
    (one, run, events), (two, other_run, more) = task_with_run(), task_with_run()
    circle = [e.DependencyDeclared(0, one.id, (two.id, one.id), 1), e.DependencyDeclared(0, two.id, (one.id,), 1)]
    table.must_apply(*numbered(*events, *more, *circle))
    assert refusal(table, purge([run], [one])) == "refused_not_finished"
    table.must_apply(purge([run, other_run], [one, two]))
    assert table.counts.dependencies == 0


def test_a_rollback_brings_back_also_what_no_query_shows(table: Table) -> None:
    """Who depends on a task, how many subscriptions it has, which child is a parent's first."""
    parent = TaskId()
    (task, run, events), (dependent, other_run, more) = task_with_run(parent=parent), task_with_run(parent=parent)
    declared, subscription = e.DependencyDeclared(500, dependent.id, (task.id,), 1), SubscriptionId()
    table.must_apply(*numbered(*events, *more, e.SubscriptionCreated(0, SubscriptionId(), task.id, EventFilter.custom("k"), 1)))
    before = table.dump()
    table.begin()
    table.must_apply(declared, e.SubscriptionCreated(501, subscription, task.id, EventFilter.custom("k"), 1))
    table.rollback()
    table.begin()
    table.must_apply(purge([run], [task]))  # nothing depends on it any more
    assert table.counts.subscriptions == 0
    table.rollback()
    assert table.dump() == before
    table.must_apply(declared)
    before = table.dump()
    table.begin()
    table.must_apply(purge([other_run], [dependent]), purge([run], [task], PURGED + 1))
    table.rollback()
    assert table.dump() == before
    assert refusal(table, purge([run], [task])) == "refused_not_finished"
    with loaded(save(table)) as other:
        assert other.dump() == before


def test_statuses_of_c_events_that_no_decoder_yields(table: Table) -> None:
    event, _payload = as_c(e.RunsPurged(1, (RunId(),), (), 1))
    purged = getattr(event, "as").runs_purged
    for runs, tasks in ((0, 0), (4097, 0), (1, 4096), (2**32 - 1, 2**32 - 1)):
        purged.run_count, purged.task_count = runs, tasks
        assert status_name(lib.aqw_table_apply(table.table, event)) == "invalid_argument"


def test_as_many_as_fit_into_one_event() -> None:
    memory = Memory()
    tasks = [TaskSpec(payload=b"x") for _ in range(lib.AQW_PURGE_COUNT_MAX)]
    with Table(memory) as table:
        table.must_apply(*numbered(*(e.TaskCreated(0, task, 1) for task in tasks)))
        before = table.dump()
        table.begin()
        table.must_apply(purge([], tasks))
        assert table.counts.tasks == 0
        table.rollback()
        assert table.dump() == before
        table.must_apply(purge([], tasks))
        assert table.counts.tasks == 0
        with loaded(save(table)) as other:  # memory is given back
            assert other.counts.memory_bytes < table.counts.memory_bytes / 10
    assert not memory.live


# --- Finding what may be purged --------------------------------------------------------------------------------------


def find(table: Table, cutoff: int, rows_max: int, finished: Any) -> tuple[list[RunId], list[TaskId]]:
    lib.aqw_table_find_finished(table.table, cutoff, rows_max, finished)
    return (
        [RunId.from_bytes(bytes(finished.run_ids[i])) for i in range(finished.run_count)],
        [TaskId.from_bytes(bytes(finished.task_ids[i])) for i in range(finished.task_count)],
    )


def purge_all(table: Table, model: Model, cutoff: int, rows_max: int) -> None:
    """Purge, slice by slice, until a whole pass finds nothing."""
    finished, found_in_pass, slices = ffi.new("aqw_finished *"), 0, 0
    while True:
        runs, tasks = find(table, cutoff, rows_max, finished)
        if runs or tasks:
            event = e.RunsPurged(model.latest_sequence + 1, tuple(runs), tuple(tasks), 1)
            assert table.apply(event) == apply_to(model, event) == "ok"
        found_in_pass += len(runs) + len(tasks)
        slices += 1
        assert slices < 10_000
        if (finished.next_task, finished.next_run) == (0, 0):
            if not found_in_pass:
                return
            found_in_pass = 0


def what_may_go(model: Model, had_runs: set[TaskId], cutoff: int) -> tuple[set[RunId], set[TaskId]]:
    """Return what retention leaves nothing of, from the model."""
    ended = {run_id for run_id, run in model.runs.items() if not TRANSITIONS[run["state"]] and run["last_state_change_at"] <= cutoff}
    tasks: set[TaskId] = set()
    while True:
        needed = {known for task_id, ids in model.dependencies.items() if task_id not in tasks for known in ids if known != task_id}
        runs = {run_id for run_id in ended if model.runs[run_id]["task_id"] not in needed}
        needed |= {run["task_id"] for run_id, run in model.runs.items() if run_id not in runs}
        more = set()
        for task_id, task in model.tasks.items():
            is_once = isinstance(task["spec"].run_policy, Once)
            is_over = is_once and task_id in had_runs if task["canceled_at"] is None else task["canceled_at"] <= cutoff
            if is_over and task_id not in needed:
                more.add(task_id)
        if more == tasks:
            return runs, tasks
        tasks = more


@PATIENT
@given(randoms, st.integers(1, 200), st.integers(2, 12), st.booleans())
def test_finds_all_that_may_go_and_nothing_else(random: Random, length: int, rows_max: int, is_reloaded: bool) -> None:
    model, source = Model(), EventSource(random)
    had_runs: set[TaskId] = set()
    table = Table()
    for _ in range(length):
        event = source.next(model)
        answer = apply_to(model, event)
        assert table.apply(event) == answer
        if answer == "ok" and isinstance(event, e.RunCreated):
            had_runs.add(event.run_instance.task_id)
        if answer == "ok" and isinstance(event, e.RunsPurged):
            had_runs.difference_update(event.task_ids)
    if is_reloaded:  # that a task had runs is still known
        items = save(table)
        table.close()
        table = loaded(items)
    cutoff = random.choice((0, source.commands.clock // 2 + 50, 2**64 - 1))
    runs, tasks = what_may_go(model, had_runs, cutoff)
    expected = (model.runs.keys() - runs, model.tasks.keys() - tasks)
    purge_all(table, model, cutoff, rows_max)
    assert (model.runs.keys(), model.tasks.keys()) == expected
    assert table.dump() == dump_of(model)
    table.close()


def test_a_slice_is_full_at_the_limit_of_an_event(table: Table) -> None:
    limit = lib.AQW_PURGE_COUNT_MAX
    task = TaskSpec(payload=b"x")
    runs = [RunInstance.scheduled(task.id, scheduled_at=1, created_at=1) for _ in range(limit)]
    table.must_apply(*numbered(e.TaskCreated(0, task, 1), *(e.RunCreated(0, run) for run in runs)))
    table.must_apply(*numbered(*(e.RunCanceled(0, run.id, 5) for run in runs), first=limit + 2))
    finished = ffi.new("aqw_finished *")
    found, tasks = find(table, 5, 10 * limit, finished)
    assert (found, tasks) == ([run.id for run in runs], [])
    assert finished.next_task == 1
    event = e.RunsPurged(PURGED, tuple(found), (), 1)
    table.must_apply(event)
    assert find(table, 5, 10 * limit, finished) == ([], [task.id])
    assert (finished.next_task, finished.next_run) == (0, 0)


@pytest.mark.parametrize("policy", [Repeat(3, 60), Cron("@hourly", None)])
def test_a_recurring_task_goes_only_once_it_is_canceled(table: Table, policy: RunPolicy) -> None:
    task, run, events = task_with_run(policy=policy)
    table.must_apply(*numbered(*events))
    finished = ffi.new("aqw_finished *")
    assert find(table, 9, 100, finished) == ([], [])
    assert find(table, 10, 100, finished) == ([run.id], [])
    table.must_apply(e.TaskCanceled(100, task.id, 11))
    assert find(table, 10, 100, finished) == ([run.id], [])
    assert find(table, 11, 100, finished) == ([run.id], [task.id])


def test_a_task_stays_for_those_that_depend_on_it(table: Table) -> None:
    (task, run, events), (dependent, other_run, more) = task_with_run(), task_with_run()
    last = more.pop()
    needs = e.DependencyDeclared(0, dependent.id, (task.id,), 1)
    table.must_apply(*numbered(*events, *more, needs, e.DependencyDeclared(0, task.id, (task.id,), 1)))
    finished = ffi.new("aqw_finished *")
    assert find(table, 10, 100, finished) == ([], [])  # its run too: how it ended is what they wait for
    table.must_apply(*numbered(last, first=100))
    assert find(table, 10, 100, finished) == ([other_run.id], [dependent.id])
    table.must_apply(purge([other_run], [dependent]))
    assert find(table, 10, 100, finished) == ([run.id], [task.id])
    table.must_apply(purge([run], [task], PURGED + 1))


def test_a_place_that_a_rollback_took_away_is_no_place(table: Table) -> None:
    finished = ffi.new("aqw_finished *")
    task, run, events = task_with_run()
    for next_task, next_run in ((2**32 - 1, 2**32 - 1), (1, 1), (1, 9), (0, 5)):
        finished.next_task, finished.next_run = next_task, next_run
        assert find(table, 10, 100, finished) == ([], [])
    table.must_apply(*numbered(*events))
    for next_task, next_run in ((1, 1), (1, 9), (0, 5), (0, 0)):
        finished.next_task, finished.next_run = next_task, next_run
        assert find(table, 10, 100, finished) == ([run.id], [task.id])


# --- From Python -----------------------------------------------------------------------------------------------------


def test_the_projection_finds_and_forgets() -> None:
    projection = Projection()
    task, run, events = task_with_run(parent=TaskId())
    kept, _kept_run, others = task_with_run(policy=Repeat(2, 60))
    for event in numbered(*others, *events, e.BudgetAllocated(0, task.id, BudgetDimension.TOKEN, 1, 1)):
        projection.apply_event(event)
    assert projection.find_finished(9, 100) == ([], [], 0)
    runs, tasks, place = projection.find_finished(10, 2)
    assert (runs, tasks, place >> 32) == ([_kept_run.id], [], 2)
    runs, tasks, place = projection.find_finished(10, 100, place)
    assert (runs, tasks, place) == ([run.id], [task.id], 0)
    with pytest.raises(RefusedEventError) as refused:
        projection.apply_event(e.RunsPurged(PURGED, (), (task.id,), 5))
    assert refused.value.rule == "not_finished"
    projection.apply_event(e.RunsPurged(PURGED, (run.id,), (task.id,), 5))
    assert projection.task_ids() == [kept.id] == [record.task_id for record in projection.tasks()]
    assert projection.run_ids() == projection.run_ids(S.COMPLETED) == [_kept_run.id]
    assert (projection.task(task.id), projection.run(run.id), projection.history(run.id)) == (None, None, None)
    assert projection.budgets() == projection.parent_pairs() == projection.dependency_pairs() == projection.subscriptions() == []
    assert (projection.counts().tasks, projection.counts().runs, projection.counts_by_state()[S.COMPLETED]) == (1, 1, 1)
    assert projection.counts().history == 1 + 4


def test_a_search_over_too_few_rows_is_refused() -> None:
    for rows_max in (0, 1):
        with pytest.raises(ValueError, match="rows_max"):
            StateTable().find_finished(1, rows_max)
    with pytest.raises(OverflowError):
        StateTable().find_finished(-1, 10)
