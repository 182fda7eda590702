"""Recurring tasks: which run comes next, and for which time.

The log keeps one run ahead: the batch that makes a run ready creates the next one. Everything
follows from the task's record, which retention keeps, so nothing else has to be remembered.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import StrEnum
from uuid import uuid5

from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import CALENDAR_SECONDS_MAX, U32_MAX
from actionqueue.model import (
    Cron,
    MutationCommand,
    Once,
    Repeat,
    RunCreateCommand,
    RunId,
    RunInstance,
    RunPolicy,
    RunRescheduleCommand,
    RunState,
    RunStateTransitionCommand,
    TaskId,
    TaskSpec,
)
from actionqueue.policy_fields import number_up_to
from actionqueue.projection import Projection
from actionqueue.vocabulary import vocabulary

__all__ = ["Misfire", "run_id_of"]

SCHEDULED = RunState.SCHEDULED
READY = RunState.READY
AT_ONCE = 500
"""The runs of one task that one batch creates for times that were missed."""


@vocabulary("misfire")
class Misfire(StrEnum):
    """What becomes of a recurring task's times that passed while nothing made their runs ready.

    A time is missed when the one after it has come, too.
    """

    COALESCE = "coalesce"
    """One run stands for all of them."""
    ALL = "all"
    """Each has its run."""
    SKIP = "skip"
    """They have no run: the run that waits goes to the next time that is still to come."""


def run_id_of(task_id: TaskId, number: int) -> RunId:
    """Return the identifier of a task's run: the first run has number 0.

    The first run has the task's own 16 bytes. Each later one has the UUID of version 5 with the
    task's as its namespace and the decimal number as its name. So a run that is planned twice
    exists once.

    Raises:
        InvalidFieldError: The number is not from 0 to 2**32 - 1.
        InvalidFieldTypeError: ``task_id`` is no TaskId, or the number is no whole number.
    """
    if type(task_id) is not TaskId:
        raise InvalidFieldTypeError("run_id_of", "task_id", task_id, "must be a TaskId")
    reason = f"must be a whole number from 0 to {U32_MAX}"
    number = number_up_to("run_id_of", "number", number, U32_MAX, reason)
    return RunId(uuid5(task_id.uuid, str(number)) if number else task_id.bytes)


def first_time(policy: RunPolicy, begin: int) -> int:
    """Return the time of a task's first run, at or after ``begin``.

    Raises InvalidFieldError where the policy has no such time.
    """
    if not isinstance(policy, Cron):
        return begin
    times = policy.next_occurrences_after(max(begin - 1, 0), 1)
    if not times:
        reason = f"must have a time at or after {begin}"
        raise InvalidFieldError("add", "run_policy", policy, reason)
    return times[0]


def next_time(policy: RunPolicy, last: int, after: int) -> int | None:
    """Return the first time of a policy after ``after``, counted on from its time ``last``.

    None where it has no more of them before the calendar ends.
    """
    if isinstance(policy, Repeat):
        steps = max(after - last, 0) // policy.interval_secs + 1
        time = last + steps * policy.interval_secs
        return time if time <= CALENDAR_SECONDS_MAX else None
    begin = max(after, last)
    if isinstance(policy, Cron) and begin <= CALENDAR_SECONDS_MAX:
        times = policy.next_occurrences_after(begin, 1)
        return times[0] if times else None
    return None


def count_max(policy: RunPolicy) -> int:
    """Return how many runs a policy has in all."""
    if isinstance(policy, Repeat):
        return policy.count
    if isinstance(policy, Cron):
        return U32_MAX if policy.max_occurrences is None else policy.max_occurrences
    return 1


class Recurrence:
    """One task's runs as a batch of commands creates them and makes them ready."""

    def __init__(
        self, projection: Projection, spec: TaskSpec, runs_created: int, last: int, misfire: Misfire
    ) -> None:
        """Begin where the task's record stands: its ``runs_created`` and ``last_run_at``."""
        self._projection = projection
        self._spec = spec
        self._count = runs_created
        self._last = last
        self._misfire = misfire

    def when_due(
        self, run_id: RunId, scheduled_at: int, priority: int, now: int, *, is_newest: bool
    ) -> tuple[list[MutationCommand], list[RunId], list[RunId]]:
        """Return the commands for a scheduled run whose time has come.

        Returns the runs that become ready, and those that are created, too. ``is_newest`` says that
        no other run of the task is scheduled, so that the next one is to be created.
        """
        ready = RunStateTransitionCommand(None, run_id, SCHEDULED, READY, now)
        if not is_newest or type(self._spec.run_policy) is Once:
            return [ready], [run_id], []
        policy = self._spec.run_policy
        # A run that was put off keeps its task's times; those in between are not missed.
        anchor = max(self._last, scheduled_at)
        if self._misfire is Misfire.SKIP:
            following = next_time(policy, self._last, anchor)
            if following is not None and following <= now:
                later = next_time(policy, self._last, now)
                if later is not None:
                    return [RunRescheduleCommand(None, run_id, later, priority, now)], [], []
        commands: list[MutationCommand] = [ready]
        made_ready, created = [run_id], []
        after = self._last if self._misfire is Misfire.ALL else max(anchor, now)
        for _ in range(AT_ONCE):
            create = self.create_next(after, now)
            if create is None:
                break
            commands.append(create)
            run = create.run_instance
            created.append(run.id)
            if (
                self._misfire is not Misfire.ALL
                or run.scheduled_at > now
                or len(created) == AT_ONCE
            ):
                break
            commands.append(RunStateTransitionCommand(None, run.id, SCHEDULED, READY, now))
            made_ready.append(run.id)
            after = run.scheduled_at
        return commands, made_ready, created

    def create_next(self, after: int, now: int) -> RunCreateCommand | None:
        """Return the command that creates the next run, for the policy's first time after one.

        None where the policy has no more runs.
        """
        policy = self._spec.run_policy
        if self._count >= count_max(policy):
            return None
        time = next_time(policy, self._last, after)
        if time is None:
            return None
        run_id = run_id_of(self._spec.id, self._count)
        number = self._count
        while self._projection.run_state(run_id) is not None:  # a caller's own run has taken it
            number += 1
            run_id = run_id_of(self._spec.id, number)
        self._count, self._last = self._count + 1, time
        return RunCreateCommand(None, new_run(run_id, self._spec, time, now))


def new_run(run_id: RunId, spec: TaskSpec, scheduled_at: int, now: int) -> RunInstance:
    """Return a new run with its task's priority."""
    priority = spec.metadata.priority
    return RunInstance(run_id, spec.id, SCHEDULED, None, 0, now, scheduled_at, priority, now)


def is_newest(
    projection: Projection,
    task_id: TaskId,
    runs_created: int,
    run_id: RunId,
    done: AbstractSet[RunId],
) -> bool:
    """Whether no other run of the task is scheduled, leaving out those that a batch makes ready."""
    if runs_created and run_id == run_id_of(task_id, runs_created - 1):
        return True
    return not any(
        run.state is SCHEDULED and run.id != run_id and run.id not in done
        for run in projection.read_runs_of_task(task_id)
    )
