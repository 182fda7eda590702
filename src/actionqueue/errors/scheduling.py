"""Refusals of a scheduler: what was asked for does not fit what the queue holds now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actionqueue.errors.refusals import ValidationError

if TYPE_CHECKING:
    from actionqueue.model import AttemptId, RunId, RunState, TaskId


class SchedulingError(ValidationError):
    """Base of the refusals of a scheduler. The log and the projection are untouched."""


class AttemptsExhausted(SchedulingError):
    """The run has had all attempts that its task gives it, so no worker would get it again."""

    run_id: RunId
    task_id: TaskId
    max_attempts: int
    """How many attempts the task gives each run. Suspended and released ones do not count."""
    message = (
        "run {run_id} cannot be tried again: it has had all attempts that its task {task_id} gives "
        "a run (max_attempts: {max_attempts}); the first tick after the time of its retry lets it "
        "fail; add a new task for the work"
    )


class ClaimLost(SchedulingError):
    """The claim's attempt is not the run's current one any more, or another owner has the lease.

    So the result comes too late: the lease expired, the attempt took longer than its task allows,
    the run was canceled, or a result of this attempt was taken already.
    """

    run_id: RunId
    attempt_id: AttemptId
    state: RunState | None
    """What the run is in now; None where the queue does not know it (any more)."""

    def __str__(self) -> str:
        now = "the queue does not know the run" if self.state is None else f"it is {self.state} now"
        return f"attempt {self.attempt_id} of run {self.run_id} no longer holds the run: {now}"


class DependencyCycle(SchedulingError):
    """A task would have to wait for itself."""

    task_ids: tuple[TaskId, ...]
    """The circle: each task waits for the next one, and the last is the first again."""

    def __str__(self) -> str:
        return f"tasks would wait for each other: {' -> '.join(map(str, self.task_ids))}"


class NotWaitingForTime(SchedulingError):
    """The run waits for no time, so it can get no other one."""

    run_id: RunId
    state: RunState
    message = (
        "run {run_id} is {state} and waits for no time, so it can get no other one; only a run "
        "that is scheduled or in retry_wait can; one that is ready or suspended can get another "
        "priority; to have the work done at another time, cancel the run and add its task again"
    )
