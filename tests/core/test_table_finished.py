"""Finding what may be purged: runs, tasks, subscriptions, actors, the ledger and tombstones."""

from __future__ import annotations

from itertools import dropwhile
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

import actionqueue as aq
from actionqueue import (
    ActorId,
    Cron,
    EventFilter,
    LedgerEntryId,
    Once,
    Repeat,
    Role,
    RunId,
    RunInstance,
    RunPolicy,
    SubscriptionId,
    TaskId,
    TaskSpec,
    TenantId,
)
from actionqueue.model.cron import has_ended
from tests.support.core.door import ffi, lib
from tests.support.core.finished import PURGED, find, find_all, place_of
from tests.support.core.purges import (
    PATIENT,
    POLICIES,
    found_event,
    purge,
    randoms,
    refusal,
    registered,
    task_with_run,
    without_sequence,
)
from tests.support.core.table_driver import EventSource, Table, dump_of
from tests.support.core.table_events import apply_to, numbered
from tests.support.core.table_image import loaded, save
from tests.support.model import TRANSITIONS, Model


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
            assert one.dump()["tasks"][0][6:8] == [2, 70]
            assert find(one, 100, 100, finished) == ([], [])
            one.must_apply(aq.RunCanceled(102, second.id, 71))
            assert find(one, 70, 100, finished) == ([], [])
            assert find(one, 71, 100, finished) == ([second.id], [task.id])
            one.must_apply(purge([second], [], 103))
            assert one.dump()["tasks"][0][6:8] == [2, 70]
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
