"""Queries that the native table is going to answer, written down plainly over those it has.

They are slow: each looks at every run. A projection's own ``ready`` and ``dependents`` take their
place where it has them.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Protocol

from _wal_native.events import task_spec_from_bytes
from actionqueue.model import (
    AttemptResultKind,
    ConcurrencyKeyHoldPolicy,
    RunId,
    RunState,
    TaskId,
    TaskSpec,
)
from actionqueue.projection import Projection

HOLD = ConcurrencyKeyHoldPolicy.HOLD_DURING_RETRY


class ReadyQuery(Protocol):
    """The ready runs that nothing blocks, the one to run first at the beginning."""

    def __call__(
        self,
        limit: int,
        capabilities: AbstractSet[str] | None = None,
        after: RunId | None = None,
        /,
    ) -> list[RunId]:
        """Return up to ``limit`` of them, those behind ``after``."""


def ready_query(projection: Projection) -> ReadyQuery:
    """Return the projection's own query, or the one below."""
    own: ReadyQuery | None = getattr(projection, "ready", None)
    return partial(ready, projection) if own is None else own


def dependents_query(projection: Projection) -> Callable[[TaskId], list[TaskId]]:
    """Return the projection's own query, or the one below."""
    own: Callable[[TaskId], list[TaskId]] | None = getattr(projection, "dependents", None)
    return partial(dependents, projection) if own is None else own


def dependents(projection: Projection, task_id: TaskId) -> list[TaskId]:
    """Return the tasks that wait for this one, in the order of their declaration."""
    pairs = projection.dependency_pairs()
    return list(dict.fromkeys(task for task, prerequisite in pairs if prerequisite == task_id))


def ready(
    projection: Projection,
    limit: int,
    capabilities: AbstractSet[str] | None = None,
    after: RunId | None = None,
) -> list[RunId]:
    """Return the ready runs that nothing blocks.

    The highest effective priority comes first, then the run that has been ready for longest, then
    the one that was created first. There is at most one run of each concurrency key and set of
    required capabilities.
    """
    found: list[RunId] = []
    keys: set[Any] = set()
    holders = _holders(projection)
    for run_id in _in_order(projection):
        run = projection.run(run_id)
        if run is None:
            continue
        spec = _spec(projection, run.task_id)
        constraints = spec.constraints
        required = frozenset(constraints.required_capabilities or ())
        key = constraints.concurrency_key
        if (
            projection.is_task_canceled(run.task_id)
            or projection.active_lease(run_id) is not None
            or not all(is_met(projection, task) for task in projection.dependencies(run.task_id))
            or _is_out_of_budget(projection, run.task_id, spec)
            or counted_attempts(projection, run_id) >= constraints.max_attempts
            or (capabilities is not None and not required <= capabilities)
            or (key is not None and holders.get(key, run_id) != run_id)
        ):
            continue
        if key is not None:
            if (key, required) in keys:
                continue
            keys.add((key, required))
        found.append(run_id)
    begin = 0 if after is None else found.index(after) + 1
    return found[begin : begin + limit]


def is_met(projection: Projection, task_id: TaskId) -> bool:
    """Whether the task has a completed run, and none that is still to end."""
    states = [run.state for run in projection.read_runs_of_task(task_id)]
    return RunState.COMPLETED in states and all(state.is_terminal for state in states)


def counted_attempts(projection: Projection, run_id: RunId) -> int:
    """Return the number of the run's attempts that did not end as suspended."""
    attempts = projection.read_attempts(run_id) or []
    return sum(attempt[3] is not AttemptResultKind.SUSPENDED for attempt in attempts)


def _in_order(projection: Projection) -> list[RunId]:
    runs = [projection.run(run_id) for run_id in projection.run_ids(RunState.READY)]
    there = [run for run in runs if run is not None]
    there.sort(key=lambda run: (-run.effective_priority, run.last_state_change_at))
    return [run.id for run in there]


def _holders(projection: Projection) -> dict[str, RunId]:
    """Return the run that holds each concurrency key."""
    holders: dict[str, RunId] = {}
    for state in (RunState.READY, RunState.RETRY_WAIT, RunState.LEASED, RunState.RUNNING):
        for run_id in projection.run_ids(state):
            run = projection.run(run_id)
            if run is None:
                continue
            constraints = _spec(projection, run.task_id).constraints
            if constraints.concurrency_key is None:
                continue
            if state in {RunState.READY, RunState.RETRY_WAIT}:
                if constraints.concurrency_key_hold_policy is not HOLD:
                    continue
                last = [entry[:2] for entry in projection.read_history(run_id) or ()][-1:]
                if state is RunState.READY and last != [(RunState.RETRY_WAIT, RunState.READY)]:
                    continue
            holders[constraints.concurrency_key] = run_id
    return holders


def _is_out_of_budget(projection: Projection, task_id: TaskId, spec: TaskSpec) -> bool:
    """Whether a budget of the task or of one of its ancestors is exhausted."""
    lineage = {task_id}
    while (parent := spec.parent_task_id) is not None and parent not in lineage:
        lineage.add(parent)
        if projection.task(parent) is None:
            break
        spec = _spec(projection, parent)
    return any(budget.is_exhausted for budget in projection.budgets() if budget.task_id in lineage)


def _spec(projection: Projection, task_id: TaskId) -> TaskSpec:
    fields = projection.read_task(task_id)
    if fields is None:
        raise LookupError(f"there is no task {task_id}")
    return task_spec_from_bytes(task_id, fields[3])
