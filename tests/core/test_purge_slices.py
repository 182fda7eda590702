"""How much one search for what is over takes on: a slice takes about as long whatever depends on
what.
"""

from __future__ import annotations

from itertools import count as count_from

import actionqueue as aq
from actionqueue import Repeat, RunInstance, RunState, TaskSpec
from tests.support.core.door import ffi
from tests.support.core.finished import PURGED, find, place_of
from tests.support.core.table_driver import Table
from tests.support.core.table_events import numbered

DEPENDENTS = 4096
"""This number of them is looked at in one go."""


def test_a_slice_ends_behind_a_task_that_depends_on_very_many() -> None:
    """They go with it, and that takes its time."""
    needed, *over = (TaskSpec(payload=b"x") for _ in range(6))
    others = [TaskSpec(payload=b"x") for _ in range(500)]
    with Table() as table:
        table.must_apply(
            *numbered(
                *(aq.TaskCreated(0, spec, 1) for spec in (needed, *others, *over)),
                *(
                    aq.DependencyDeclared(0, spec.id, tuple(other.id for other in others), 1)
                    for spec in over
                ),
                *(aq.TaskCanceled(0, spec.id, 1) for spec in over),
            )
        )
        finished, found = ffi.new("aqw_finished *"), []
        while True:
            found.append(find(table, 10, 600, finished)[1])
            if place_of(finished) == (0, 0, 0):
                break
        assert [task for slice_ in found for task in slice_] == [spec.id for spec in over]
        assert max(map(len, found)) <= 2


def test_the_runs_of_a_task_with_many_dependents_go_many_at_a_time() -> None:
    count = 2000
    task = TaskSpec(payload=b"x", run_policy=Repeat(count, 60))
    runs = [RunInstance.scheduled(task.id, scheduled_at=1, created_at=1) for _ in range(count)]
    dependents = [TaskSpec(payload=b"x") for _ in range(DEPENDENTS)]
    with Table() as table:
        table.must_apply(
            *numbered(
                *(aq.TaskCreated(0, spec, 1) for spec in (task, *dependents)),
                *(aq.DependencyDeclared(0, spec.id, (task.id,), 1) for spec in dependents),
                *(aq.TaskCanceled(0, spec.id, 1) for spec in dependents),
                *(aq.RunCreated(0, run) for run in runs),
                *(
                    aq.RunStateChanged(0, run.id, RunState.SCHEDULED, RunState.CANCELED, 2)
                    for run in runs
                ),
            )
        )
        finished, sequences = ffi.new("aqw_finished *"), count_from(PURGED)
        slices = 0
        while table.counts.runs:
            slices += 1
            runs_found, _tasks = find(table, 10, 200, finished)
            table.must_apply(aq.RunsPurged(next(sequences), tuple(runs_found), (), 20))
        assert slices <= 2 * count // 100


def test_a_slice_takes_few_long_cron_expressions() -> None:
    """A long one may take a millisecond to parse, and only parsing tells whether its last year is
    over.
    """
    text = "0 0 0 1 1 * " + ",".join(["1970-1971"] * 24)
    tasks = [aq.TaskSpec(payload=b"x", run_policy=aq.Cron(text)) for _ in range(30)]
    with Table() as table:
        table.must_apply(*numbered(*(aq.TaskCreated(0, spec, 1) for spec in tasks)))
        finished, found = ffi.new("aqw_finished *"), []
        while True:
            found.append(find(table, 10**9, 600, finished)[1])
            if place_of(finished) == (0, 0, 0):
                break
        assert [task for slice_ in found for task in slice_] == [spec.id for spec in tasks]
        assert max(map(len, found)) <= 4
