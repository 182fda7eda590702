"""The end of an attempt that did not succeed: another one, or the run's failure."""

from __future__ import annotations

from actionqueue.limits import CALENDAR_SECONDS_MAX
from actionqueue.model import (
    MutationCommand,
    RunInstance,
    RunRescheduleCommand,
    RunState,
    RunStateTransitionCommand,
)
from actionqueue.projection import Projection
from actionqueue.scheduler.backoff import Backoff

RUNNING = RunState.RUNNING
RETRY_WAIT = RunState.RETRY_WAIT
FAILED = RunState.FAILED


def retry_or_fail(
    projection: Projection,
    run: RunInstance,
    max_attempts: int,
    retry: Backoff,
    now: int,
    retry_at: int | None = None,
) -> tuple[list[MutationCommand], RunState]:
    """Return the commands that take a running run on after a failed attempt, and the new state.

    ``retry_at`` is the time of the next attempt; None leaves it to the backoff.
    """
    run_id = run.id
    count = run.attempt_count
    if count > 1:
        count = projection.counted_attempts(run_id)
    if count >= max_attempts:
        return [RunStateTransitionCommand(None, run_id, RUNNING, FAILED, now)], FAILED
    if retry_at is None:
        retry_at = min(now + retry.seconds_after(run_id, max(count, 1)), CALENDAR_SECONDS_MAX)
    return [
        RunStateTransitionCommand(None, run_id, RUNNING, RETRY_WAIT, now),
        RunRescheduleCommand(None, run_id, retry_at, run.effective_priority, now),
    ], RETRY_WAIT
