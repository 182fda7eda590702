"""Prerequisites: when one is met, what becomes of tasks that wait for one that never will be.

A prerequisite is met when it has a completed run, which retention may have forgotten, and none that
is still to end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum

from _wal_native.events import task_spec_from_bytes
from actionqueue.errors import DependencyCycle, InvalidFieldError
from actionqueue.model import (
    MutationCommand,
    Once,
    RunId,
    RunInstance,
    RunState,
    RunStateTransitionCommand,
    TaskCancelCommand,
    TaskId,
)
from actionqueue.projection import Projection
from actionqueue.scheduler.recurrence import count_max, next_time
from actionqueue.vocabulary import vocabulary

__all__ = ["PrerequisiteFailure"]

CANCELED = RunState.CANCELED
COMPLETED = RunState.COMPLETED
CASCADE_MAX = 250_000
"""The commands of a cascade that one batch takes: the others of a batch, and what subscriptions
add, have room beside them."""
TERMINAL = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELED})


@vocabulary("on_prerequisite_failed")
class PrerequisiteFailure(StrEnum):
    """What becomes of the tasks that wait for a task which failed or was canceled for good."""

    CANCEL = "cancel"
    """They are canceled with their runs, and those that wait for them."""
    HOLD = "hold"
    """They go on waiting: for a person to look at them, or for another run of the task."""


class Cancellation:
    """What a batch cancels besides its other commands, none of which is applied yet."""

    def __init__(
        self,
        projection: Projection,
        dependents: Callable[[TaskId], list[TaskId]],
        now: int,
        states: Mapping[RunId, RunState] | None = None,
    ) -> None:
        """Begin with the states to which the batch's other commands take runs."""
        self._projection = projection
        self._dependents = dependents
        self._now = now
        self._states: dict[RunId, RunState] = dict(states or {})
        self.commands: list[MutationCommand] = []
        self._canceled: dict[TaskId, None] = {}
        self.run_ids: list[RunId] = []
        """Their runs that are canceled."""

    @property
    def task_ids(self) -> list[TaskId]:
        """The tasks that are canceled."""
        return list(self._canceled)

    @property
    def is_too_large(self) -> bool:
        """Whether one batch does not take all of it. Then :func:`part_of` its commands is next."""
        return len(self.commands) > CASCADE_MAX

    def has_canceled(self, task_id: TaskId) -> bool:
        """Whether this cancels a task."""
        return task_id in self._canceled

    def cancel(self, task_id: TaskId) -> None:
        """Cancel a task, if it is not, and its runs that have not ended."""
        if task_id not in self._canceled and not self._projection.is_task_canceled(task_id):
            self.commands.append(TaskCancelCommand(None, task_id, self._now))
            self._canceled[task_id] = None
        for run in self._projection.read_runs_of_task(task_id):
            self.cancel_run(run)

    def cancel_run(self, run: RunInstance) -> None:
        """Cancel a run, if it has not ended. Its lease goes, its attempt stays unfinished."""
        state = self._state_of(run)
        if state not in TERMINAL:
            self._states[run.id] = CANCELED
            self.run_ids.append(run.id)
            self.commands.append(
                RunStateTransitionCommand(None, run.id, state, CANCELED, self._now)
            )

    def cancel_dependents(self, task_ids: Iterable[TaskId]) -> None:
        """Cancel what waits for tasks that can no longer be met, and so on from there."""
        waiting = list(dict.fromkeys(task_ids))
        for task_id in waiting:  # it grows meanwhile
            dependents = self._dependents(task_id)
            if dependents and self.is_lost(task_id):
                for dependent in dependents:
                    if not self.has_canceled(dependent) and not self.is_over(dependent):
                        self.cancel(dependent)
                        waiting.append(dependent)

    def is_lost(self, task_id: TaskId) -> bool:
        """Whether the task can no longer be met.

        It is so where each of its runs, those that retention has forgotten too, failed or was
        canceled, and none is to come. ``core/table/blockers.c`` has the same rule.
        """
        states = [self._state_of(run) for run in self._projection.read_runs_of_task(task_id)]
        if COMPLETED in states or any(state not in TERMINAL for state in states):
            return False
        if self._projection.has_forgotten_completed_run(task_id):
            return False
        if task_id in self._canceled or self._projection.is_task_canceled(task_id):
            return True
        return self._has_had_all_runs(task_id)

    def is_over(self, task_id: TaskId) -> bool:
        """Whether nothing of the task is left to cancel."""
        if self._projection.is_task_canceled(task_id):
            return True
        runs = self._projection.read_runs_of_task(task_id)
        if any(self._state_of(run) not in TERMINAL for run in runs):
            return False
        return self._has_had_all_runs(task_id)

    def _has_had_all_runs(self, task_id: TaskId) -> bool:
        """Whether the task has had a run, which may be forgotten, and is to get no more."""
        fields = self._projection.read_task(task_id)
        if fields is None:
            return False
        *_, encoded, runs_created, last_run_at = fields
        policy = task_spec_from_bytes(task_id, encoded).run_policy
        if not runs_created or runs_created >= count_max(policy):
            return bool(runs_created)
        last = last_run_at or 0
        try:
            return type(policy) is not Once and next_time(policy, last, last) is None
        except InvalidFieldError:  # a time zone that this machine lacks, as long as it does
            return False

    def _state_of(self, run: RunInstance) -> RunState:
        return self._states.get(run.id, run.state)


def part_of(commands: list[MutationCommand]) -> list[MutationCommand]:
    """Return the part of a large cascade that is to be done first: its last commands, backwards.

    So what is left hangs together. A look from the same tasks finds all of it: a task is canceled
    after those that wait for it, and after its own runs, but in one batch with the first of them.
    """
    begin = len(commands) - CASCADE_MAX
    if begin > 0 and type(commands[begin - 1]) is TaskCancelCommand:
        begin -= 1
    return commands[max(begin, 0) :][::-1]


def ensure_no_cycle(
    projection: Projection, task_id: TaskId, prerequisites: Iterable[TaskId]
) -> None:
    """Raise DependencyCycle where a task would wait for itself, by way of its prerequisites."""
    came_from: dict[TaskId, TaskId] = {}
    waiting: list[TaskId] = []
    for prerequisite in prerequisites:
        if prerequisite not in came_from:
            came_from[prerequisite] = task_id
            waiting.append(prerequisite)
    while waiting:
        current = waiting.pop()
        if current == task_id:
            raise DependencyCycle(_circle(task_id, came_from))
        for prerequisite in projection.read_dependencies(current):
            if prerequisite not in came_from:
                came_from[prerequisite] = current
                waiting.append(prerequisite)


def _circle(task_id: TaskId, came_from: Mapping[TaskId, TaskId]) -> tuple[TaskId, ...]:
    circle = [task_id, came_from[task_id]]
    while circle[-1] != task_id:
        circle.append(came_from[circle[-1]])
    return tuple(reversed(circle))
