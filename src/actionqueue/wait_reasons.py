"""Why a run waits: the reasons that :meth:`Projection.why_waiting` has."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from _wal_native.table import (
    BLOCKED_BY_ATTEMPTS,
    BLOCKED_BY_BUDGET,
    BLOCKED_BY_CANCEL,
    BLOCKED_BY_KEY,
    BLOCKED_BY_LEASE,
    BLOCKED_BY_PREREQUISITE,
)
from actionqueue.model import BudgetDimension, RunId, RunInstance, RunState, TaskId

__all__ = ["WaitKind", "WaitReason"]

WaitKind: TypeAlias = Literal[
    "scheduled",
    "retry_wait",
    "suspended",
    "paused",
    "canceled",
    "attempts",
    "lease",
    "prerequisite",
    "budget",
    "concurrency_key",
]


class WaitReason(msgspec.Struct, frozen=True):
    """One thing that keeps a run from being started. Its text is a sentence about it."""

    kind: WaitKind
    """What it is: the run's own state (scheduled, retry_wait, suspended); the engine is paused; its
    task is canceled; it has had all its attempts; there is a lease on it; a prerequisite is not
    met; a budget is exhausted; another run holds its concurrency key."""
    until: int | None = None
    """Until when it waits in its state, in Unix seconds; only of scheduled and retry_wait."""
    task_id: TaskId | None = None
    """The task that is canceled, that gives the attempts, that is not met, or whose budget it is,
    which may be one above the run's own."""
    dimension: BudgetDimension | None = None
    """Which budget of that task."""
    run_id: RunId | None = None
    """The run that holds the concurrency key, or on which there is a lease."""

    def __str__(self) -> str:
        return _SENTENCES[self.kind].format(self)


_SENTENCES: dict[str, str] = {
    "scheduled": "it is scheduled for {0.until}",
    "retry_wait": "it is to be tried again at {0.until}",
    "suspended": "it is suspended until a command resumes it",
    "paused": "the engine is paused",
    "canceled": "its task {0.task_id} is canceled",
    "attempts": "it has had all attempts that its task {0.task_id} gives it",
    "lease": "there is a lease on it, which a command must drop first",
    "prerequisite": "the prerequisite {0.task_id} is not met",
    "budget": "the {0.dimension} budget of the task {0.task_id} is exhausted",
    "concurrency_key": "the run {0.run_id} holds its concurrency key",
}
_KINDS: dict[int, WaitKind] = {
    BLOCKED_BY_CANCEL: "canceled",
    BLOCKED_BY_ATTEMPTS: "attempts",
    BLOCKED_BY_LEASE: "lease",
    BLOCKED_BY_PREREQUISITE: "prerequisite",
    BLOCKED_BY_BUDGET: "budget",
    BLOCKED_BY_KEY: "concurrency_key",
}


def reasons_of_state(run: RunInstance) -> list[WaitReason] | None:
    """Return why a run waits by its state; None where it waits for nothing."""
    if run.state is RunState.READY:
        return []
    if run.state is RunState.SUSPENDED:
        return [WaitReason("suspended")]
    if run.state is RunState.SCHEDULED:
        return [WaitReason("scheduled", run.scheduled_at)]
    if run.state is RunState.RETRY_WAIT:
        return [WaitReason("retry_wait", run.scheduled_at)]
    return None


def reason_of(
    code: int, identifier: TaskId | RunId, dimension: BudgetDimension | None
) -> WaitReason:
    """Return the reason that the table has: one of its codes, and what it is about."""
    kind = _KINDS[code]
    if isinstance(identifier, RunId):
        return WaitReason(kind, run_id=identifier)
    return WaitReason(kind, task_id=identifier, dimension=dimension)
