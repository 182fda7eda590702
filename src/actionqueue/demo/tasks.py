"""The demo's tasks: one for each file, under a parent whose budget they all use.

A task's identifier follows from its path. So a scheduler that plans the same files again, after a
crash, finds the tasks that are there.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence

import actionqueue as aq
from actionqueue.demo.record import Fact, fact
from actionqueue.model import BudgetDimension
from actionqueue.projection import Projection

__all__ = [
    "ATTEMPTS_MAX",
    "SWEEP",
    "is_out_of_budget",
    "path_of",
    "plan",
    "replenish",
    "task_id_of",
]

ATTEMPTS_MAX = 4
"""For each file. An attempt whose worker or scheduler was killed counts."""
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "actionqueue:demo")
SWEEP = aq.TaskId(uuid.uuid5(NAMESPACE, "the sweep"))
"""The parent of all other tasks, which use its budget: bytes of source. It has no run."""
BYTES = BudgetDimension.TOKEN


def task_id_of(path: str) -> aq.TaskId:
    """Return the identifier of a file's task, the same one every time."""
    return aq.TaskId(uuid.uuid5(NAMESPACE, path))


def path_of(projection: Projection, run_id: aq.RunId) -> str:
    """Return the path of the file that a run is for."""
    run = projection.run(run_id)
    task = None if run is None else projection.task(run.task_id)
    if task is None:
        raise LookupError(f"there is no task of run {run_id}")
    return os.fsdecode(task.spec.payload.data)


def plan(scheduler: aq.Scheduler, paths: Sequence[str], budget: int) -> Iterator[Fact]:
    """Add a task for each file that has none; yield the facts of it."""
    queue, time = scheduler.queue, aq.now()
    if queue.projection.task(SWEEP) is None:
        sweep = aq.TaskSpec(SWEEP, b"", metadata=aq.TaskMetadata(description="all files together"))
        queue.submit_many(
            [
                aq.TaskCreateCommand(None, sweep, time),
                aq.BudgetAllocateCommand(None, SWEEP, BYTES, budget, time),
            ]
        )
        yield fact("task_created", sweep)
        yield fact("budget_allocated", budget)
    for path in paths:
        if queue.projection.task(task_id_of(path)) is None:
            task = aq.TaskSpec(
                task_id_of(path),
                aq.TaskPayload(os.fsencode(path), "text/x-path"),
                constraints=aq.TaskConstraints(max_attempts=ATTEMPTS_MAX),
                parent_task_id=SWEEP,
            )
            scheduler.add(task)
            yield fact("task_created", task)


def is_out_of_budget(projection: Projection) -> bool:
    """Return whether the budget is used up."""
    budget = projection.budget(SWEEP, BYTES)
    return budget is not None and budget.is_exhausted


def replenish(queue: aq.ActionQueue, budget: int) -> Fact:
    """Set a new budget, and return the fact of it."""
    queue.submit(aq.BudgetReplenishCommand(None, SWEEP, BYTES, budget, aq.now()))
    return fact("budget_replenished", budget)
