"""Retention: what was purged is as if it had never been, and what may be purged is found."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import actionqueue as aq
from _wal_native.table import StateTable
from actionqueue import (
    ActorId,
    BudgetDimension,
    Capability,
    EventFilter,
    LedgerEntryId,
    Repeat,
    Role,
    RunId,
    RunInstance,
    SubscriptionId,
    TaskId,
    TaskSpec,
    TenantId,
)
from actionqueue.errors import RefusedEventError
from actionqueue.projection import Projection
from tests.support.core.door import ffi, lib
from tests.support.core.finished import PURGED, find, find_all
from tests.support.core.log_driver import status_name
from tests.support.core.purges import (
    PATIENT,
    S,
    found_event,
    purge,
    purge_over,
    randoms,
    refusal,
    registered,
    task_with_run,
    without_sequence,
)
from tests.support.core.table_driver import EventSource, Memory, Table, as_c, dump_of
from tests.support.core.table_events import apply_to, numbered, path_to
from tests.support.core.table_image import loaded, save
from tests.support.model import Model

# --- As if it had never been ----------------------------------------------------------------------


@PATIENT
@given(randoms, st.integers(1, 150))
def test_a_purged_table_is_the_models_and_its_image_has_nothing_of_what_is_gone(
    random: Random, length: int
) -> None:
    model, source = Model(), EventSource(random)
    with Table() as table:
        for _ in range(length):
            event = (
                source.next(model)
                if random.random() < 0.85 or not model.tasks
                else source._purge(model, model.latest_sequence + 1)
            )
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
        aq.DependencyDeclared(0, task.id, (other.id, task.id), 3),
        *(aq.BudgetAllocated(0, task.id, each, 5, 4) for each in BudgetDimension),
        aq.SubscriptionCreated(0, subscription, task.id, EventFilter.custom("k"), 5),
        aq.SubscriptionCreated(0, SubscriptionId(), task.id, EventFilter.custom("k"), 5),
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
    table.must_apply(
        *numbered(aq.TaskCreated(0, task, 1), *(aq.RunCreated(0, run) for run in runs))
    )
    table.must_apply(*numbered(*(aq.RunCanceled(0, run.id, 5) for run in runs), first=100))

    def left() -> list[Any]:
        view = table.view("task", 1)
        chain = [
            RunId.from_bytes(bytes(run.run_id))
            for run in table.chain("run", view.first_run, "next_in_task")
        ]
        assert len(chain) == view.run_count == table.counts.runs
        return chain

    for sequence, gone in enumerate([[1], [0], [4], [2, 3]], PURGED):
        table.must_apply(purge([runs[i] for i in gone], [], sequence))
        gone_ids = {
            runs[i].id for group in [[1], [0], [4], [2, 3]][: sequence - PURGED + 1] for i in group
        }
        assert left() == [run.id for run in runs if run.id not in gone_ids]
    again = RunInstance.scheduled(task.id, id=runs[1].id, scheduled_at=2, created_at=2)
    table.must_apply(aq.RunCreated(2 * PURGED, again))
    assert left() == [again.id]


def test_parents_are_in_the_order_of_the_children_that_are_left(table: Table) -> None:
    first, second = TaskId(), TaskId()
    tasks = [
        TaskSpec(payload=b"x", parent_task_id=parent) for parent in (first, second, first, second)
    ]
    table.must_apply(*numbered(*(aq.TaskCreated(0, task, 1) for task in tasks)))

    def parents() -> list[Any]:
        return [[parent, children] for parent, children in table.dump()["parents"]]

    table.must_apply(purge([], [tasks[0]]))
    assert parents() == [[second, [tasks[1].id, tasks[3].id]], [first, [tasks[2].id]]]
    table.must_apply(purge([], [tasks[2]], PURGED + 1))
    assert parents() == [[second, [tasks[1].id, tasks[3].id]]]
    assert not table.find("parent", first.bytes)
    again = TaskSpec(payload=b"x", parent_task_id=first)
    table.must_apply(aq.TaskCreated(PURGED + 2, again, 1), purge([], [tasks[1]], PURGED + 3))
    assert parents() == [[second, [tasks[3].id]], [first, [again.id]]]
    with loaded(save(table)) as other:
        assert other.dump() == table.dump()


def test_an_actor_goes_with_all_that_it_was_given_and_may_register_again(table: Table) -> None:
    actor, other, tenants = ActorId(), ActorId(), [TenantId() for _ in range(3)]
    for_both = [
        given
        for tenant in tenants
        for each in (actor, other)
        for given in (
            aq.RoleAssigned(0, each, Role.custom("r"), tenant, 2),
            aq.CapabilityGranted(0, each, Capability.CAN_SUBMIT, tenant, 2),
            aq.CapabilityGranted(0, each, Capability.custom("c"), tenant, 2),
        )
    ]
    of_actor = [registered(actor), *(given for given in for_both if given.actor_id == actor)]
    of_other = [registered(other), *(given for given in for_both if given.actor_id == other)]
    mixed = [registered(actor), registered(other), *for_both]
    table.must_apply(
        *numbered(*mixed), aq.CapabilityRevoked(90, actor, Capability.CAN_SUBMIT, tenants[0], 3)
    )
    assert refusal(table, purge_over([], [actor])) == "refused_not_finished"
    table.must_apply(aq.ActorDeregistered(100, actor, 5))
    table.must_apply(purge_over([], [actor]))
    with Table() as fresh:
        fresh.must_apply(*numbered(*of_other))
        assert without_sequence(table.dump()) == without_sequence(fresh.dump())
        table.must_apply(*numbered(*of_actor, first=2 * PURGED))
        fresh.must_apply(*numbered(*of_actor, first=2 * PURGED))
        assert save(table) == save(fresh)
    table.must_apply(
        aq.ActorDeregistered(3 * PURGED, actor, 5), purge_over([], [actor], 3 * PURGED + 1)
    )
    assert (table.counts.actors, table.counts.roles, table.counts.capabilities) == (1, 3, 6)


def test_what_names_a_purged_actor_goes_on_without_it(table: Table) -> None:
    """A lease's owner and a ledger's actor are names: no rule looks them up. So the lease that it
    held is renewed and closed as before.
    """
    actor, task = ActorId(), TaskSpec(payload=b"x")
    run = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    table.must_apply(
        *numbered(
            registered(actor),
            aq.TaskCreated(0, task, 1),
            aq.RunCreated(0, run),
            *path_to(run, S.READY),
            aq.LeaseAcquired(0, run.id, str(actor), 50, 2),
            aq.LedgerEntryAppended(0, LedgerEntryId(), TenantId(), "k", actor, b"", 2),
            aq.ActorDeregistered(0, actor, 3),
        )
    )
    table.must_apply(purge_over([], [actor]))
    assert table.dump()["runs"][0][9][0] == str(actor).encode()
    assert table.dump()["ledger"][0][3] == actor
    # as of any unknown actor: nothing
    table.must_apply(
        aq.ActorHeartbeat(PURGED + 1, actor, 4), aq.ActorDeregistered(PURGED + 2, actor, 4)
    )
    table.must_apply(aq.RoleAssigned(PURGED + 3, actor, Role.OPERATOR, TenantId(), 4))
    assert (table.counts.actors, table.counts.roles) == (0, 1)
    table.must_apply(aq.RunStateChanged(PURGED + 4, run.id, S.READY, S.LEASED, 5))
    table.must_apply(
        aq.LeaseHeartbeat(PURGED + 5, run.id, str(actor), 60, 5),
        aq.LeaseReleased(PURGED + 6, run.id, str(actor), 60, 6),
    )


def test_canceled_subscriptions_go_by_themselves_or_with_their_task(table: Table) -> None:
    task, run, events = task_with_run()
    first, second, third = (SubscriptionId() for _ in range(3))
    created = [
        aq.SubscriptionCreated(0, each, task.id, EventFilter.custom("k"), 5)
        for each in (first, second, third)
    ]
    table.must_apply(*numbered(*events, *created))
    assert refusal(table, purge_over([first], [])) == "refused_not_finished"
    table.must_apply(
        aq.SubscriptionCanceled(100, first, 6), aq.SubscriptionCanceled(101, second, 6)
    )
    assert refusal(table, purge_over([first, second, third], [])) == "refused_not_finished"
    assert refusal(table, purge_over([first, first], [])) == "refused_unknown_subscription"
    table.must_apply(purge_over([first], []))
    assert refusal(table, purge_over([first], [], PURGED + 1)) == "refused_unknown_subscription"
    assert [row[0] for row in table.dump()["subscriptions"]] == [second, third]
    again = aq.SubscriptionCreated(PURGED + 1, first, task.id, EventFilter.custom("again"), 7)
    table.must_apply(again)
    assert [row[0] for row in table.dump()["subscriptions"]] == [second, third, first]
    with loaded(save(table)) as other:
        assert other.dump() == table.dump()
    together = aq.RunsPurged(PURGED + 2, (run.id,), (task.id,), 20, (second,))
    assert (
        refusal(table, aq.RunsPurged(PURGED + 2, (run.id,), (task.id, task.id), 20, (second,)))
        == "refused_unknown_task"
    )
    table.must_apply(together)
    with Table() as empty:
        assert without_sequence(table.dump()) == without_sequence(empty.dump())


# --- What is still needed -------------------------------------------------------------------------


def test_what_is_still_needed_is_refused_and_leaves_no_trace(table: Table) -> None:
    task, run, events = task_with_run()
    dependent, dependent_run, more = task_with_run()
    live = RunInstance.scheduled(dependent.id, scheduled_at=1, created_at=1)
    table.must_apply(
        *numbered(
            *events,
            *more,
            aq.RunCreated(0, live),
            aq.DependencyDeclared(0, dependent.id, (task.id,), 1),
        )
    )
    assert refusal(table, purge([live], [])) == "refused_not_finished"
    assert refusal(table, purge([run, dependent_run, live], [task])) == "refused_not_finished"
    assert refusal(table, purge([], [dependent])) == "refused_not_finished"
    assert refusal(table, purge([dependent_run], [dependent])) == "refused_not_finished"
    # The other one waits for it.
    assert refusal(table, purge([run], [task])) == "refused_not_finished"
    assert refusal(table, purge([run, run], [])) == "refused_unknown_run"
    unknown = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    assert refusal(table, purge([run, dependent_run, unknown], [])) == "refused_unknown_run"
    assert refusal(table, purge([], [TaskSpec(payload=b"")])) == "refused_unknown_task"
    assert refusal(table, purge([run], [task, task])) == "refused_unknown_task"
    assert refusal(table, purge_over([SubscriptionId()], [])) == "refused_unknown_subscription"
    assert refusal(table, purge_over([], [ActorId()])) == "refused_unknown_actor"
    assert refusal(table, purge([run], [], sequence=1)) == "refused_sequence"
    table.must_apply(aq.RunCanceled(500, live.id, 5))
    # Both go at once, the prerequisite first.
    table.must_apply(purge([run, dependent_run, live], [task, dependent]))
    assert table.counts.tasks == 0


def test_a_circle_of_tasks_that_are_over_keeps_none_of_them(table: Table) -> None:
    """Together or one after the other, and what a task depended on is gone from its
    prerequisites.
    """
    (one, run, events), (two, other_run, more), (three, third_run, others) = (
        task_with_run() for _ in range(3)
    )
    circle = [
        aq.DependencyDeclared(0, one.id, (two.id, one.id, three.id), 1),
        aq.DependencyDeclared(0, two.id, (one.id, three.id), 1),
        aq.DependencyDeclared(0, three.id, (one.id,), 1),
    ]
    last = others.pop()
    table.must_apply(*numbered(*events, *more, *others, *circle))
    finished = ffi.new("aqw_finished *")
    # The third one waits for the first.
    assert find(table, 10, 100, finished) == ([other_run.id], [two.id])
    assert refusal(table, purge([run], [one])) == "refused_not_finished"
    table.must_apply(*numbered(last, first=100))
    with loaded(save(table)) as reloaded, Table() as empty:
        for each in (table, reloaded):
            before = each.dump()
            assert find(each, 9, 100, finished) == ([], [])
            assert find(each, 10, 100, finished) == (
                [run.id, other_run.id, third_run.id],
                [one.id, two.id, three.id],
            )
            each.begin()
            each.must_apply(purge([run, other_run, third_run], [one, two, three]))
            assert each.counts.dependencies == 0
            each.rollback()
            each.begin()
            each.must_apply(purge([other_run], [two]))
            assert [task[5] for task in each.dump()["tasks"]] == [
                sorted([one.id, three.id], key=str),
                [one.id],
            ]
            each.rollback()
            for its_run, task in ((run, one), (other_run, two), (third_run, three)):
                each.begin()
                each.must_apply(purge([its_run], [task]))
                each.rollback()
                assert each.dump() == before
            each.must_apply(purge([run], [one]))
            assert [task[5] for task in each.dump()["tasks"]] == [[three.id], []]
            assert each.counts.dependencies == 1
            with loaded(save(each)) as again:
                assert again.dump() == each.dump()
            each.must_apply(
                aq.DependencyDeclared(PURGED + 1, three.id, (two.id,), 1),
                purge([other_run], [two], PURGED + 2),
            )
            each.must_apply(purge([third_run], [three], PURGED + 3))
            assert without_sequence(each.dump()) == without_sequence(empty.dump())


def test_a_circle_of_tasks_with_many_runs_keeps_none_of_them(table: Table) -> None:
    """However many runs there are, also where the last of them ends late, in a batch that is undone
    first.
    """
    count = 5000
    tasks = [TaskSpec(payload=b"x", run_policy=Repeat(count, 60)) for _ in range(2)]
    runs = [
        RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
        for task in tasks
        for _ in range(count)
    ]
    last = runs.pop()
    table.must_apply(
        *numbered(
            *(aq.TaskCreated(0, task, 1) for task in tasks),
            aq.DependencyDeclared(0, tasks[0].id, (tasks[1].id,), 1),
            aq.DependencyDeclared(0, tasks[1].id, (tasks[0].id,), 1),
            *(aq.RunCreated(0, run) for run in [*runs, last]),
            *(aq.RunCanceled(0, run.id, 5) for run in runs),
        )
    )
    ended, rows_max = 7, 10 * count
    finished = ffi.new("aqw_finished *")
    # The second task, whose run is left, waits for nothing; the first one stays for it.
    table.begin()
    table.must_apply(aq.RunCanceled(PURGED, last.id, ended))
    table.rollback()
    assert not set(find(table, ended, rows_max, finished)[0]) & {run.id for run in runs[:count]}
    table.must_apply(aq.RunCanceled(PURGED, last.id, ended))
    with loaded(save(table)) as again:
        for each in (table, again):
            ffi.memmove(finished, bytes(12), 12)
            assert not set(find(each, ended - 1, rows_max, finished)[0]) & {
                run.id for run in runs[:count]
            }
            ffi.memmove(finished, bytes(12), 12)
            sequence = PURGED
            while any((found := find_all(each, ended, rows_max, finished)).values()):
                each.must_apply(found_event(found, sequence := sequence + 1))
            assert (each.counts.tasks, each.counts.runs, each.counts.dependencies) == (0, 0, 0)


def test_of_purged_runs_only_the_others_ends_count(table: Table) -> None:
    """What ended last was purged out of turn: what it leaves is over as soon as it ended itself."""
    (one, _run, events), (two, *_, more) = task_with_run(policy=Repeat(2, 60)), task_with_run()
    late = RunInstance.scheduled(one.id, scheduled_at=1, created_at=1)
    circle = [
        aq.DependencyDeclared(0, one.id, (two.id,), 1),
        aq.DependencyDeclared(0, two.id, (one.id,), 1),
    ]
    table.must_apply(
        *numbered(*events, *more, *circle, aq.RunCreated(0, late), aq.RunCanceled(0, late.id, 99))
    )
    finished = ffi.new("aqw_finished *")
    assert two.id not in find(table, 10, 100, finished)[1]
    table.must_apply(purge([late], []))
    assert find(table, 10, 100, finished)[1] == [one.id, two.id]


def test_the_newest_change_of_a_run(table: Table) -> None:
    newest = lib.aqw_table_newest_change
    assert newest(table.table) == 0
    task, run, events = task_with_run()
    table.must_apply(*numbered(*events))
    assert newest(table.table) == 10
    other = RunInstance.scheduled(task.id, scheduled_at=1, created_at=30)
    table.begin()
    table.must_apply(aq.RunCreated(100, other))
    assert newest(table.table) == 30
    table.rollback()
    assert newest(table.table) == 10
    # Its clock was set right.
    table.must_apply(aq.RunCreated(100, other), aq.RunCanceled(101, other.id, 20))
    with loaded(save(table)) as again:
        assert newest(again.table) == newest(table.table) == 30
        again.must_apply(purge([run, other], [task]))
        assert newest(again.table) == 30
        with loaded(save(again)) as empty:
            assert newest(empty.table) == 0


def test_a_rollback_brings_back_also_what_no_query_shows(table: Table) -> None:
    """Who depends on a task, how many subscriptions it has, which child is a parent's first."""
    parent = TaskId()
    (task, run, events), (dependent, other_run, more) = (
        task_with_run(parent=parent),
        task_with_run(parent=parent),
    )
    declared, subscription = (
        aq.DependencyDeclared(500, dependent.id, (task.id,), 1),
        SubscriptionId(),
    )
    table.must_apply(
        *numbered(
            *events,
            *more,
            aq.SubscriptionCreated(0, SubscriptionId(), task.id, EventFilter.custom("k"), 1),
        )
    )
    before = table.dump()
    table.begin()
    table.must_apply(
        declared, aq.SubscriptionCreated(501, subscription, task.id, EventFilter.custom("k"), 1)
    )
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
    with loaded(save(table)) as other:
        assert other.dump() == before
    table.must_apply(purge([run], [task]))
    assert (table.counts.dependencies, table.dump()["tasks"][0][5]) == (0, [])


def test_statuses_of_c_events_that_no_decoder_yields(table: Table) -> None:
    event, _payload = as_c(aq.RunsPurged(1, (RunId(),), (), 1))
    purged = getattr(event, "as").runs_purged
    purged.ledger_count = 1
    assert status_name(lib.aqw_table_apply(table.table, event)) == "refused_unknown_run"
    purged.run_count, purged.tombstone_count = 0, 1
    assert status_name(lib.aqw_table_apply(table.table, event)) == "refused_unknown_ledger_entry"
    purged.ledger_count = 0
    assert status_name(lib.aqw_table_apply(table.table, event)) == "refused_unknown_tombstone"
    purged.tombstone_count = 0
    for counts in (
        (0, 0, 0, 0),
        (4097, 0, 0, 0),
        (1, 4096, 0, 0),
        (2**32 - 1, 2**32 - 1, 0, 0),
        (0, 1, 4095, 1),
        (1, 0, 0, 2**32 - 1),
    ):
        purged.run_count, purged.task_count, purged.subscription_count, purged.actor_count = counts
        assert status_name(lib.aqw_table_apply(table.table, event)) == "invalid_argument"


def test_as_many_as_fit_into_one_event() -> None:
    memory = Memory()
    tasks = [TaskSpec(payload=b"x") for _ in range(lib.AQW_PURGE_COUNT_MAX)]
    with Table(memory) as table:
        table.must_apply(*numbered(*(aq.TaskCreated(0, task, 1) for task in tasks)))
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


# --- From Python ----------------------------------------------------------------------------------


def test_the_projection_finds_and_forgets() -> None:
    projection = Projection()
    task, run, events = task_with_run(parent=TaskId())
    kept, _kept_run, others = task_with_run(policy=Repeat(2, 60))
    for event in numbered(
        *others, *events, aq.BudgetAllocated(0, task.id, BudgetDimension.TOKEN, 1, 1)
    ):
        projection.apply_event(event)
    first, latest = (0, 0, 0), projection.latest_sequence
    assert projection.find_finished(9, 100) == (None, first, False)
    event, place, _ = projection.find_finished(10, 2)
    assert (event, place[:2]) == (aq.RunsPurged(latest + 1, (_kept_run.id,), (), 0), (0, 2))
    assert (
        projection.find_finished(None, 100)
        == projection.find_finished(None, 100, ledger_cutoff=10)
        == (None, first, False)
    )
    event, place, _ = projection.find_finished(10, 100, place, timestamp=7)
    assert (event, place) == (aq.RunsPurged(latest + 1, (run.id,), (task.id,), 7), first)
    with pytest.raises(RefusedEventError) as refused:
        projection.apply_event(aq.RunsPurged(PURGED, (), (task.id,), 5))
    assert refused.value.rule == "not_finished"
    projection.apply_event(aq.RunsPurged(PURGED, (run.id,), (task.id,), 5))
    assert projection.task_ids() == [kept.id] == [record.task_id for record in projection.tasks()]
    assert projection.run_ids() == projection.run_ids(S.COMPLETED) == [_kept_run.id]
    assert (projection.task(task.id), projection.run(run.id), projection.history(run.id)) == (
        None,
        None,
        None,
    )
    assert (
        projection.budgets()
        == projection.parent_pairs()
        == projection.dependency_pairs()
        == projection.subscriptions()
        == []
    )
    assert (
        projection.counts().tasks,
        projection.counts().runs,
        projection.counts_by_state()[S.COMPLETED],
    ) == (1, 1, 1)
    assert projection.counts().history == 1 + 4


def test_a_search_over_too_few_rows_is_refused() -> None:
    for rows_max in (0, 1):
        with pytest.raises(ValueError, match="rows_max"):
            StateTable().find_finished(1, rows_max)
    with pytest.raises(OverflowError):
        StateTable().find_finished(-1, 10)
