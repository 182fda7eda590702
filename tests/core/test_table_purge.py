"""Retention: what was purged is as if it had never been, and what may be purged is found."""

from __future__ import annotations

from itertools import count as count_from
from itertools import dropwhile
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

import actionqueue as aq
from _wal_native.table import StateTable
from actionqueue import (
    ActorId,
    AttemptId,
    AttemptResultKind,
    BudgetDimension,
    Capability,
    Cron,
    EventFilter,
    LedgerEntryId,
    Once,
    Repeat,
    Role,
    RunId,
    RunInstance,
    RunPolicy,
    RunState,
    SubscriptionId,
    TaskId,
    TaskSpec,
    TenantId,
)
from actionqueue.errors import RefusedEventError
from actionqueue.model.cron import has_ended
from actionqueue.projection import Projection
from tests.support.core.door import ffi, lib
from tests.support.core.finished import PURGED, find, find_all, place_of
from tests.support.core.log_driver import status_name
from tests.support.core.table_driver import EventSource, Memory, Table, as_c, dump_of
from tests.support.core.table_events import apply_to, numbered, path_to
from tests.support.core.table_image import loaded, save
from tests.support.model import TRANSITIONS, Model

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
randoms = st.randoms(use_true_random=False)
S = RunState
POLICIES = (
    Once(),
    Once(),
    Repeat(1, 60),
    Repeat(2, 60),
    Cron("@hourly", None),
    Cron("@hourly", 2),
    Cron("0 0 0 1 1 * 1970,1971", None),
)


def task_with_run(
    *, policy: RunPolicy | None = None, parent: TaskId | None = None
) -> tuple[TaskSpec, RunInstance, list[aq.Event]]:
    """Return a task, a run of it, and the events up to the run's end at time 10."""
    task = TaskSpec(payload=b"x", run_policy=policy or Once(), parent_task_id=parent)
    run = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    attempt = AttemptId()
    events = [
        aq.TaskCreated(0, task, 1),
        aq.RunCreated(0, run),
        *path_to(run, S.READY, S.LEASED, S.RUNNING),
        aq.AttemptStarted(0, run.id, attempt, 2),
        aq.AttemptFinished(0, run.id, attempt, AttemptResultKind.SUCCESS, None, b"out", 3),
        aq.RunStateChanged(0, run.id, S.RUNNING, S.COMPLETED, 10),
    ]
    return task, run, events


def purge(runs: list[Any], tasks: list[Any], sequence: int = PURGED) -> aq.RunsPurged:
    return aq.RunsPurged(
        sequence, tuple(run.id for run in runs), tuple(task.id for task in tasks), 20
    )


def purge_over(
    subscriptions: list[SubscriptionId], actors: list[ActorId], sequence: int = PURGED
) -> aq.RunsPurged:
    return aq.RunsPurged(sequence, (), (), 20, tuple(subscriptions), tuple(actors))


def registered(actor: ActorId, time: int = 1) -> aq.ActorRegistered:
    return aq.ActorRegistered(0, actor, "one", ("a",), None, 1, None, time)


def without_sequence(dump: dict[str, Any]) -> dict[str, Any]:
    return {**dump, "latest_sequence": None}


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


def refusal(table: Table, event: aq.RunsPurged) -> str:
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


def test_a_task_stays_for_one_that_is_to_get_its_first_run(table: Table) -> None:
    task, run, events = task_with_run()
    pending, recurring = TaskSpec(payload=b"x"), TaskSpec(payload=b"x", run_policy=Repeat(2, 60))
    of_recurring = RunInstance.scheduled(recurring.id, scheduled_at=1, created_at=1)
    table.must_apply(
        *numbered(
            *events,
            aq.TaskCreated(0, pending, 1),
            aq.TaskCreated(0, recurring, 1),
            aq.RunCreated(0, of_recurring),
            aq.RunCanceled(0, of_recurring.id, 2),
            aq.DependencyDeclared(0, pending.id, (task.id,), 1),
            aq.DependencyDeclared(0, recurring.id, (task.id,), 1),
        )
    )
    finished = ffi.new("aqw_finished *")
    assert refusal(table, purge([run], [task])) == "refused_not_finished"
    assert find(table, 10, 100, finished) == ([of_recurring.id], [])
    table.must_apply(aq.TaskCanceled(100, pending.id, 10))
    # The other one has a run to come.
    assert find(table, 10, 100, finished) == ([of_recurring.id], [pending.id])
    table.must_apply(aq.TaskCanceled(101, recurring.id, 11))
    assert find(table, 10, 100, finished) == ([of_recurring.id], [pending.id])
    assert find(table, 11, 100, finished) == (
        [run.id, of_recurring.id],
        [task.id, pending.id, recurring.id],
    )


def test_more_dependents_than_are_looked_at_keep_a_task_until_there_are_fewer(table: Table) -> None:
    """One look must not take as long as a task has dependents, and the search must come to its
    end.
    """
    count = 5000
    task, _run, events = task_with_run()
    dependents = [TaskSpec(payload=b"x") for _ in range(count)]
    declared = [aq.DependencyDeclared(0, dependent.id, (task.id,), 1) for dependent in dependents]
    canceled = [aq.TaskCanceled(0, dependent.id, 1) for dependent in dependents]
    created = [aq.TaskCreated(0, dependent, 1) for dependent in dependents]
    table.must_apply(*numbered(*events, *created, *declared, *canceled))
    finished = ffi.new("aqw_finished *")
    for rows_max in (2, 10):
        assert find(table, 10, rows_max, finished) == (
            [],
            [each.id for each in (dependents[:1] if rows_max == 2 else dependents[1:6])],
        )
        assert place_of(finished) == (0, 3 if rows_max == 2 else 8, 0)
    ffi.memmove(finished, bytes(12), 12)
    for sequence in range(PURGED, PURGED + 3):
        found = find_all(table, 10, 10**6, finished)
        table.must_apply(found_event(found, sequence))
    assert (table.counts.tasks, table.counts.dependencies, table.counts.runs) == (0, 0, 0)


def depended_on(
    table: Table, count: int, *, kept: list[int]
) -> tuple[TaskSpec, list[TaskSpec], TaskSpec]:
    """Make a task that is over, tasks that are over and depend on it, and one that waits for those
    of these that are kept.
    """
    task, waiting = TaskSpec(payload=b"x"), TaskSpec(payload=b"x")
    dependents = [TaskSpec(payload=b"x") for _ in range(count)]
    needed = tuple(dependents[i].id for i in kept)
    table.must_apply(
        *numbered(
            *(aq.TaskCreated(0, spec, 1) for spec in (task, waiting, *dependents)),
            *(aq.DependencyDeclared(0, dependent.id, (task.id,), 1) for dependent in dependents),
            aq.DependencyDeclared(0, waiting.id, needed, 1),
            *(aq.TaskCanceled(0, spec.id, 1) for spec in (task, *dependents)),
        )
    )
    return task, dependents, waiting


@pytest.mark.parametrize("beyond", [0, 1])
def test_as_many_dependents_as_are_looked_at_do_not_keep_a_task(table: Table, beyond: int) -> None:
    """They are over, and another task needs them; the task itself is needed by none."""
    count = 4096 + beyond
    task, _dependents, waiting = depended_on(table, count, kept=list(range(count)))
    finished = ffi.new("aqw_finished *")
    assert find(table, 10, 10**6, finished) == ([], [] if beyond else [task.id])
    assert (finished.has_put_off, place_of(finished)) == (beyond, (0, 0, 0))
    table.must_apply(aq.TaskCanceled(PURGED, waiting.id, 1))
    sequences = count_from(PURGED + 1)
    while any((found := find_all(table, 10, 10**6, finished)).values()):
        table.must_apply(found_event(found, next(sequences)))
    assert (table.counts.tasks, table.counts.dependencies, finished.has_put_off) == (0, 0, 0)


@pytest.mark.parametrize(
    "kept",
    [[5999], [0], [0, 5999], [2999, 3000], []],
    ids=["newest", "oldest", "both", "middle", "none"],
)
@pytest.mark.parametrize("is_reloaded", [False, True])
def test_dependents_that_were_forgotten_keep_no_task(
    table: Table, kept: list[int], is_reloaded: bool
) -> None:
    """Nor do they count among those that are looked at."""
    task, dependents, waiting = depended_on(table, 6000, kept=kept or [0])
    if not kept:
        table.must_apply(aq.TaskCanceled(PURGED - 1, waiting.id, 1))
    left = {dependents[i].id for i in kept}
    gone = [dependent for i, dependent in enumerate(dependents) if i not in kept]
    Random(len(kept)).shuffle(gone)
    table.begin()  # and none of it is left after a rollback
    before = table.dump()
    table.must_apply(purge([], gone[:3000]), purge([], gone[3000:], PURGED + 1))
    table.rollback()
    assert table.dump() == before
    table.must_apply(purge([], gone[:3000]), purge([], gone[3000:], PURGED + 1))
    finished = ffi.new("aqw_finished *")
    with loaded(save(table)) as other:
        found = find(other if is_reloaded else table, 10, 10**6, finished)
    assert found == ([], [task.id] if kept else [task.id, waiting.id])
    assert not finished.has_put_off
    table.must_apply(purge([], [task], PURGED + 2))
    assert {row[0] for row in table.dump()["tasks"]} >= left
    assert table.counts.dependencies == len(left)


def over_dependents(table: Table) -> tuple[TaskSpec, list[TaskSpec]]:
    """Make a task that is over, and three that are over and depend on it, the last one last."""
    task, *dependents = (TaskSpec(payload=b"x") for _ in range(4))
    specs = [task, *dependents]
    table.must_apply(
        *numbered(
            *(aq.TaskCreated(0, spec, 1) for spec in specs),
            *(aq.DependencyDeclared(0, dependent.id, (task.id,), 1) for dependent in dependents),
            *(aq.TaskCanceled(0, spec.id, 1) for spec in specs),
        )
    )
    return task, dependents


def begun(task: TaskSpec, sequence: int) -> aq.Event:
    """Let a task have a run that has not ended, and so wait."""
    return aq.RunCreated(sequence, RunInstance.scheduled(task.id, scheduled_at=1, created_at=1))


@pytest.mark.parametrize("purged", [[0], [1], [2], [0, 1], [1, 2], [0, 2], [2, 1, 0]], ids=str)
@pytest.mark.parametrize("waiting", [0, 1, 2])
def test_a_rollback_brings_back_the_dependents_of_a_task(
    table: Table, purged: list[int], waiting: int
) -> None:
    task, dependents = over_dependents(table)
    table.begin()
    table.must_apply(purge([], [dependents[i] for i in purged]))
    table.rollback()
    gone = [dependent for i, dependent in enumerate(dependents) if i != waiting]
    table.must_apply(
        purge([], gone[1:]), purge([], gone[:1], PURGED + 1), begun(dependents[waiting], PURGED + 2)
    )
    assert refusal(table, purge([], [task], PURGED + 3)) == "refused_not_finished"


def test_a_rollback_of_a_new_dependency_leaves_the_others_alone(table: Table) -> None:
    task, dependents = over_dependents(table)
    other, late = (TaskSpec(payload=b"x") for _ in range(2))
    table.must_apply(
        *(aq.TaskCreated(100 + i, spec, 1) for i, spec in enumerate((other, late))),
        aq.TaskCanceled(102, late.id, 1),
    )
    table.begin()
    table.must_apply(aq.DependencyDeclared(103, late.id, (task.id,), 1))
    table.rollback()
    table.must_apply(
        aq.DependencyDeclared(103, late.id, (other.id,), 1),
        purge([], [dependents[2]]),
        begun(dependents[1], PURGED + 1),
    )
    assert refusal(table, purge([], [task], PURGED + 2)) == "refused_not_finished"
    table.must_apply(purge([], [other], PURGED + 2))


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


# --- Finding what may be purged -------------------------------------------------------------------


def found_event(
    found: dict[str, list[Any]], sequence: int, kept_until: int | None = None
) -> aq.RunsPurged:
    lists = [tuple(found[name]) for name in ("run", "task", "subscription", "actor")]
    return aq.RunsPurged(
        sequence, *lists[:2], 1, *lists[2:], len(found["line"]), len(found["tombstone"]), kept_until
    )


def purge_all(table: Table, model: Model, cutoff: int, rows_max: int) -> None:
    """Purge, slice by slice, until a whole pass finds nothing."""
    finished, found_in_pass, slices = ffi.new("aqw_finished *"), 0, 0
    while True:
        found = find_all(table, cutoff, rows_max, finished)
        count = sum(map(len, found.values()))
        if count:
            event = found_event(found, model.latest_sequence + 1)
            assert table.apply(event) == apply_to(model, event) == "ok"
        found_in_pass += count
        slices += 1
        assert slices < 10_000
        if place_of(finished) == (0, 0, 0):
            if not found_in_pass:
                return
            found_in_pass = 0


def is_finished(task: dict[str, Any], cutoff: int) -> bool:
    if task["canceled_at"] is not None:
        return bool(task["canceled_at"] <= cutoff)
    policy, created = task["spec"].run_policy, task["runs_created"]
    if isinstance(policy, Once):
        return bool(created >= 1)
    if isinstance(policy, Repeat):
        return bool(created >= policy.count)
    if policy.max_occurrences is not None and created >= policy.max_occurrences:
        return True
    return task["created_at"] <= cutoff and has_ended(policy.expression, cutoff)


def what_may_go(model: Model, cutoff: int) -> tuple[set[RunId], set[TaskId]]:
    """Return what retention leaves nothing of, from the model."""
    ended = {
        run_id
        for run_id, run in model.runs.items()
        if not TRANSITIONS[run["state"]] and run["last_state_change_at"] <= cutoff
    }
    going_on = {run["task_id"] for run_id, run in model.runs.items() if run_id not in ended}
    over = {
        task_id
        for task_id, task in model.tasks.items()
        if task_id not in going_on and is_finished(task, cutoff)
    }
    needed = {
        known
        for task_id, ids in model.dependencies.items()
        if task_id not in over
        for known in ids
        if known != task_id
    }
    return {
        run_id for run_id in ended if model.runs[run_id]["task_id"] not in needed
    }, over - needed


@PATIENT
@given(randoms, st.integers(1, 200), st.integers(2, 12), st.booleans())
def test_finds_all_that_may_go_and_nothing_else(
    random: Random, length: int, rows_max: int, is_reloaded: bool
) -> None:
    model, source = Model(), EventSource(random)
    table = Table()
    for _ in range(length):
        event = source.next(model)
        if isinstance(event, aq.TaskCreated):
            event = aq.TaskCreated(
                event.sequence,
                structs.replace(event.task_spec, run_policy=random.choice(POLICIES)),
                event.timestamp,
            )
        assert table.apply(event) == apply_to(model, event)
    if is_reloaded:  # how many runs a task had is still known
        items = save(table)
        table.close()
        table = loaded(items)
    cutoff = random.choice((0, source.commands.clock // 2 + 50, 2**64 - 1))
    runs, tasks = what_may_go(model, cutoff)
    actors = {
        key
        for key, row in model.actors.items()
        if row["deregistered_at"] is not None and row["deregistered_at"] <= cutoff
    }
    over = {
        key
        for key, row in model.subscriptions.items()
        if row["canceled_at"] is not None and row["canceled_at"] <= cutoff
    }
    over |= {key for key, row in model.subscriptions.items() if row["task_id"] in tasks}
    tombstones = list(
        dropwhile(lambda task_id: model.tombstones[task_id] <= cutoff, model.tombstones)
    )
    lines = list(dropwhile(lambda line: line[-1] <= cutoff, model.ledger))
    expected = (
        model.runs.keys() - runs,
        model.tasks.keys() - tasks,
        model.actors.keys() - actors,
        model.subscriptions.keys() - over,
    )
    purge_all(table, model, cutoff, rows_max)
    assert (
        model.runs.keys(),
        model.tasks.keys(),
        model.actors.keys(),
        model.subscriptions.keys(),
    ) == expected
    assert model.ledger == lines
    assert list(model.tombstones) == tombstones
    assert table.dump() == dump_of(model)
    table.close()


def test_a_slice_is_full_at_the_limit_of_an_event(table: Table) -> None:
    limit = lib.AQW_PURGE_COUNT_MAX
    task = TaskSpec(payload=b"x")
    runs = [RunInstance.scheduled(task.id, scheduled_at=1, created_at=1) for _ in range(limit)]
    table.must_apply(
        *numbered(aq.TaskCreated(0, task, 1), *(aq.RunCreated(0, run) for run in runs))
    )
    table.must_apply(*numbered(*(aq.RunCanceled(0, run.id, 5) for run in runs), first=limit + 2))
    finished = ffi.new("aqw_finished *")
    found, tasks = find(table, 5, 10 * limit, finished)
    assert (found, tasks) == ([run.id for run in runs], [])
    assert place_of(finished)[:2] == (0, 1)
    event = aq.RunsPurged(PURGED, tuple(found), (), 1)
    table.must_apply(event)
    assert find(table, 5, 10 * limit, finished) == ([], [task.id])
    assert place_of(finished) == (0, 0, 0)


YEAR_1972 = 2 * 365 * 86400
"""When it began."""


def test_one_look_takes_few_large_expressions(table: Table) -> None:
    """The text alone takes long to go through."""
    expression = "0 0 0 1 1 * " + ",".join(["1970"] * 30_000)
    tasks = [TaskSpec(payload=b"x", run_policy=Cron(expression, None)) for _ in range(3)]
    table.must_apply(*numbered(*(aq.TaskCreated(0, task, 1) for task in tasks)))
    finished = ffi.new("aqw_finished *")
    for row in (2, 3):
        assert find(table, YEAR_1972, 2000, finished) == ([], [])
        assert place_of(finished) == (0, row, 0)


@pytest.mark.parametrize("policy", [Repeat(2, 60), Cron("@hourly", 2), Cron("0 0 0 1 1 * 1971", 2)])
def test_a_recurring_task_goes_once_it_had_all_its_runs(table: Table, policy: RunPolicy) -> None:
    task, run, events = task_with_run(policy=policy)
    finished = ffi.new("aqw_finished *")
    table.must_apply(*numbered(*events), purge([run], [], 100))
    assert find(table, YEAR_1972, 100, finished) == ([], [])
    second = RunInstance.scheduled(task.id, scheduled_at=70, created_at=1)
    table.must_apply(aq.RunCreated(101, second))
    with loaded(save(table)) as other:  # the first one still counts
        for one in (table, other):
            assert one.dump()["tasks"][0][-2:] == [2, 70]
            assert find(one, 100, 100, finished) == ([], [])
            one.must_apply(aq.RunCanceled(102, second.id, 71))
            assert find(one, 70, 100, finished) == ([], [])
            assert find(one, 71, 100, finished) == ([second.id], [task.id])
            one.must_apply(purge([second], [], 103))
            assert one.dump()["tasks"][0][-2:] == [2, 70]
            assert find(one, 0, 100, finished) == ([], [task.id])


def test_a_cron_task_goes_a_day_after_its_last_year(table: Table) -> None:
    task, run, events = task_with_run(policy=Cron("0 0 0 1 1 * 1970-1971", None))
    bare = TaskSpec(payload=b"never had a run", run_policy=Cron("0 0 0 1 1 * 1971", None))
    young = TaskSpec(payload=b"may be about to", run_policy=Cron("0 0 0 1 1 * 1971", None))
    endless, broken = (
        TaskSpec(payload=b"x", run_policy=Cron(text, None)) for text in ("@hourly", "0 0 0 30 2 *")
    )
    created = [aq.TaskCreated(0, each, 1) for each in (bare, endless, broken)]
    table.must_apply(
        *numbered(*events, *created, aq.TaskCreated(0, young, YEAR_1972 + 86401)),
        purge([run], [], 100),
    )
    finished = ffi.new("aqw_finished *")
    assert find(table, YEAR_1972 + 86399, 1000, finished) == ([], [])
    assert find(table, YEAR_1972 + 86400, 1000, finished) == ([], [task.id, bare.id])
    assert find(table, YEAR_1972 + 86401, 1000, finished) == ([], [task.id, bare.id, young.id])
    without_schedules = ffi.new("aqw_retention *", {"has_cutoff": 1, "cutoff": 2**64 - 1})
    lib.aqw_table_find_finished(table.table, without_schedules, 1000, finished)
    assert finished.task_count == 0
    table.must_apply(purge([], [task, bare]))


@pytest.mark.parametrize("policy", [Repeat(3, 60), Cron("@hourly", None)])
def test_a_recurring_task_goes_once_it_is_canceled(table: Table, policy: RunPolicy) -> None:
    task, run, events = task_with_run(policy=policy)
    table.must_apply(*numbered(*events))
    finished = ffi.new("aqw_finished *")
    assert find(table, 9, 100, finished) == ([], [])
    assert find(table, 10, 100, finished) == ([run.id], [])
    table.must_apply(aq.TaskCanceled(100, task.id, 11))
    assert find(table, 10, 100, finished) == ([run.id], [])
    assert find(table, 11, 100, finished) == ([run.id], [task.id])


def test_a_task_stays_for_those_that_depend_on_it(table: Table) -> None:
    (task, run, events), (dependent, other_run, more) = task_with_run(), task_with_run()
    last = more.pop()
    needs = aq.DependencyDeclared(0, dependent.id, (task.id,), 1)
    table.must_apply(
        *numbered(*events, *more, needs, aq.DependencyDeclared(0, task.id, (task.id,), 1))
    )
    finished = ffi.new("aqw_finished *")
    # Its run too: how it ended is what they wait for.
    assert find(table, 10, 100, finished) == ([], [])
    table.must_apply(*numbered(last, first=100))
    assert find(table, 10, 100, finished) == ([run.id, other_run.id], [task.id, dependent.id])
    table.must_apply(purge([run], [task]), purge([other_run], [dependent], PURGED + 1))


def test_a_place_that_a_rollback_took_away_is_no_place(table: Table) -> None:
    finished = ffi.new("aqw_finished *")
    task, run, events = task_with_run()
    for part, row, next_run in (
        (0, 2**32 - 1, 2**32 - 1),
        (0, 1, 1),
        (0, 1, 9),
        (0, 0, 5),
        (1, 9, 0),
        (2, 2**32 - 1, 0),
        (9, 1, 1),
    ):
        finished.next_part, finished.next_row, finished.next_run = part, row, next_run
        assert find(table, 10, 100, finished) == ([], [])
        assert place_of(finished) == (0, 0, 0)
    table.must_apply(*numbered(*events))
    for row, next_run in ((1, 1), (1, 9), (0, 5), (0, 0)):
        finished.next_row, finished.next_run = row, next_run
        assert find(table, 10, 100, finished) == ([run.id], [task.id])


def test_finds_subscriptions_and_actors_in_slices_that_count_what_goes_with_them(
    table: Table,
) -> None:
    task = TaskSpec(payload=b"x")
    subscriptions, actors, tenants = (
        [SubscriptionId() for _ in range(6)],
        [ActorId() for _ in range(6)],
        [TenantId() for _ in range(9)],
    )
    table.must_apply(
        *numbered(
            aq.TaskCreated(0, task, 1),
            *(
                aq.SubscriptionCreated(0, each, task.id, EventFilter.custom("k"), 1)
                for each in subscriptions
            ),
            *(
                aq.SubscriptionCanceled(0, each, time)
                for time, each in enumerate(subscriptions[:5])
            ),
            *(registered(each) for each in actors),
            *(aq.RoleAssigned(0, actors[1], Role.OPERATOR, tenant, 1) for tenant in tenants),
            *(aq.ActorDeregistered(0, each, time) for time, each in enumerate(actors[:5])),
            registered(actors[0]),
        )
    )
    finished = ffi.new("aqw_finished *")
    found = find_all(table, 3, 5, finished)
    assert (found["subscription"], place_of(finished)) == (subscriptions[:4], (1, 5, 0))
    found = find_all(table, 3, 6, finished)
    # Its roles were looked at, too.
    assert (found["subscription"], found["actor"], place_of(finished)) == (
        [],
        actors[1:2],
        (2, 3, 0),
    )
    found = find_all(table, 3, 100, finished)
    assert (found["actor"], place_of(finished)) == (actors[2:4], (0, 0, 0))
    table.must_apply(found_event(find_all(table, 3, 100, finished), PURGED))
    assert (table.counts.subscriptions, table.counts.actors, table.counts.roles) == (2, 3, 0)


def test_the_ledger_goes_from_its_beginning(table: Table) -> None:
    entry, tenant = LedgerEntryId(), TenantId()  # identifiers need not differ: what goes is counted
    times = (5, 3, 6, 1, 9, 2)
    table.must_apply(
        *numbered(
            *(
                aq.LedgerEntryAppended(0, entry, tenant, f"k{time}", None, b"p" * time, time)
                for time in times
            )
        )
    )
    finished = ffi.new("aqw_finished *")

    def found(cutoff: int, rows_max: int = 100) -> int:
        ffi.memmove(finished, bytes(12), 12)
        return len(find_all(table, cutoff, rows_max, finished)["line"])

    assert [found(cutoff) for cutoff in (2, 4, 5, 8, 9)] == [0, 0, 2, 4, 6]
    assert (found(9, 4), finished.next_part) == (4, 3)
    kept = ffi.new("aqw_retention *", {"has_cutoff": 1, "cutoff": 2**64 - 1})
    lib.aqw_table_find_finished(table.table, kept, 100, finished)
    assert finished.ledger_count == 0
    before = table.dump()
    table.begin()
    table.must_apply(aq.RunsPurged(PURGED, (), (), 1, ledger_entries=6))
    assert table.dump()["ledger"] == []
    table.rollback()
    assert table.dump() == before
    table.must_apply(aq.RunsPurged(PURGED, (), (), 1, ledger_entries=2))
    assert [line[-1] for line in table.dump()["ledger"]] == [6, 1, 9, 2]
    assert (
        refusal(table, aq.RunsPurged(PURGED + 1, (), (), 1, ledger_entries=5))
        == "refused_unknown_ledger_entry"
    )
    table.must_apply(aq.LedgerEntryAppended(PURGED + 1, entry, tenant, "k", None, b"", 7))
    with loaded(save(table)) as other:
        assert other.dump() == table.dump()
        assert other.counts.ledger == 5
    assert found(6) == 2
    table.must_apply(aq.RunsPurged(PURGED + 2, (), (), 1, ledger_entries=5))
    with Table() as empty:
        assert without_sequence(table.dump()) == without_sequence(empty.dump())


def test_a_tombstone_refuses_the_identifier_until_it_is_dropped(table: Table) -> None:
    (task, run, events), (other, other_run, others) = task_with_run(), task_with_run()
    table.must_apply(*numbered(*events, *others))
    before = table.dump()
    table.begin()
    table.must_apply(aq.RunsPurged(PURGED, (run.id,), (task.id,), 20, kept_until=25))
    table.rollback()
    assert table.dump() == before
    assert not table.find("tombstone", task.id.bytes)
    table.must_apply(aq.RunsPurged(PURGED, (run.id,), (task.id,), 20, kept_until=25))
    again = aq.TaskCreated(PURGED + 1, task, 21)
    with loaded(save(table)) as reloaded:
        for each in (table, reloaded):
            assert each.apply(again) == "refused_task_forgotten"
            assert each.dump()["tombstones"] == [[task.id, 25]]
            assert (
                refusal(each, aq.RunsPurged(PURGED + 1, (), (), 20, tombstones=2))
                == "refused_unknown_tombstone"
            )
            # Dropped and made in one event; the run's identifier was never refused.
            each.must_apply(
                aq.RunsPurged(
                    PURGED + 1, (other_run.id,), (other.id,), 20, tombstones=1, kept_until=30
                )
            )
            assert each.dump()["tombstones"] == [[other.id, 30]]
            each.must_apply(aq.TaskCreated(PURGED + 2, task, 21), aq.RunCreated(PURGED + 3, run))
            assert each.apply(aq.TaskCreated(PURGED + 4, other, 21)) == "refused_task_forgotten"
            with loaded(save(each)) as copy:
                assert copy.dump() == each.dump()
            each.must_apply(
                aq.RunsPurged(PURGED + 4, (), (), 30, tombstones=1),
                aq.TaskCreated(PURGED + 5, other, 31),
            )


def test_tombstones_are_dropped_in_their_order_once_their_time_has_come(table: Table) -> None:
    tasks = [TaskSpec(payload=b"x") for _ in range(5)]
    table.must_apply(*numbered(*(aq.TaskCreated(0, task, 1) for task in tasks)))
    for sequence, (task, until) in enumerate(zip(tasks, (5, 3, 9, 1, 2), strict=True), PURGED):
        table.must_apply(aq.RunsPurged(sequence, (), (task.id,), 1, kept_until=until))
    finished = ffi.new("aqw_finished *")
    found = [len(find_all(table, cutoff, 100, finished)["tombstone"]) for cutoff in (2, 4, 5, 8, 9)]
    assert found == [0, 0, 2, 2, 5]
    finished.next_part = 4
    found_slice = find_all(table, 9, 3, finished)
    assert (len(found_slice["tombstone"]), place_of(finished)[0]) == (3, 4)


def test_there_are_never_more_tombstones_than_the_limit() -> None:
    count = int(lib.AQW_TOMBSTONE_COUNT_MAX)
    head = b"\1\0" + bytes(13) + b"\x80\x80\x40"
    items = [(lib.AQW_IMAGE_HEAD, head)]
    items += [
        (lib.AQW_IMAGE_TOMBSTONE, number.to_bytes(16, "big") + b"\5")
        for number in range(1, count + 1)
    ]
    tasks = [TaskSpec(payload=b"x") for _ in range(3)]
    with loaded(items) as table:
        table.must_apply(*numbered(*(aq.TaskCreated(0, task, 1) for task in tasks), first=2))
        assert table.counts.tombstones == count
        table.must_apply(
            aq.RunsPurged(PURGED, (), tuple(task.id for task in tasks[:2]), 1, kept_until=9)
        )
        assert table.counts.tombstones == count
        assert [
            bool(table.find("tombstone", number.to_bytes(16, "big"))) for number in (1, 2, 3)
        ] == [False, False, True]
        assert table.find("tombstone", tasks[1].id.bytes)
        table.must_apply(
            aq.RunsPurged(PURGED + 1, (), (tasks[2].id,), 1, tombstones=count, kept_until=9)
        )
        assert table.dump()["tombstones"] == [[tasks[2].id, 9]]


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
