"""Retention and dependencies: a task stays as long as one that depends on it may need it."""

from __future__ import annotations

from itertools import count as count_from
from random import Random

import pytest

import actionqueue as aq
from actionqueue import (
    Repeat,
    RunInstance,
    TaskSpec,
)
from tests.support.core.door import ffi
from tests.support.core.finished import PURGED, find, find_all, place_of
from tests.support.core.purges import (
    found_event,
    purge,
    refusal,
    task_with_run,
)
from tests.support.core.table_driver import Table
from tests.support.core.table_events import numbered
from tests.support.core.table_image import loaded, save


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
