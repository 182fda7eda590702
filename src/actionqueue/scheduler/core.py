"""The step: what a scheduler decides is one batch of commands, from a look at the projection.

A step's plan reads the projection and returns commands. The step appends them as one, while no
other scheduler of the queue plans, and waits for their durability after that. Other threads may
submit commands of their own meanwhile; where one of them contradicts the plan, the queue refuses
the batch, and the step plans again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from _wal_native.events import task_spec_from_bytes
from _wal_native.work import Work
from actionqueue.clock import now
from actionqueue.errors import (
    ActionQueueError,
    InvalidFieldTypeError,
    ValidationError,
)
from actionqueue.limits import CALENDAR_SECONDS_MAX
from actionqueue.model import MutationCommand, TaskId, TaskSpec
from actionqueue.policy_fields import function
from actionqueue.queue import ActionQueue
from actionqueue.scheduler.arguments import number_from_1, time_of
from actionqueue.scheduler.backoff import Backoff
from actionqueue.scheduler.claims import Claim
from actionqueue.scheduler.prerequisites import PrerequisiteFailure
from actionqueue.scheduler.recurrence import Misfire
from actionqueue.scheduler.shared import shared_of
from actionqueue.sync_policy import DurabilityPolicy

IMMEDIATE = DurabilityPolicy.IMMEDIATE

P = ParamSpec("P")
R = TypeVar("R")
Plan: TypeAlias = tuple[list[MutationCommand], R]
"""The commands of a step, none where there is nothing to do, and what the call returns."""


class Core:
    """What all parts of a scheduler have in common."""

    def __init__(
        self,
        queue: ActionQueue,
        *,
        lease_seconds: int = 30,
        retry: Backoff = Backoff(),  # noqa: B008 -- it is immutable
        misfire: Misfire | str = Misfire.COALESCE,
        on_prerequisite_failed: PrerequisiteFailure | str = PrerequisiteFailure.CANCEL,
        clock: Callable[[], int] = now,
    ) -> None:
        if not isinstance(queue, ActionQueue):
            reason = "must be an open ActionQueue"
            raise InvalidFieldTypeError("Scheduler", "queue", queue, reason)
        if not isinstance(retry, Backoff):
            raise InvalidFieldTypeError("Scheduler", "retry", retry, "must be a Backoff")
        self._lease_seconds = number_from_1(
            "Scheduler", "lease_seconds", lease_seconds, CALENDAR_SECONDS_MAX
        )
        self._retry = retry
        self._misfire = Misfire(misfire)
        self._cancels_dependents = (
            PrerequisiteFailure(on_prerequisite_failed) is PrerequisiteFailure.CANCEL
        )
        self._clock = function("Scheduler", "clock", clock)
        self._queue = queue
        self._projection = queue.projection
        self._wait_durable = queue._wait_durable  # noqa: SLF001 -- the queue's other half
        self._in_lane = queue._in_lane  # noqa: SLF001 -- as above
        self._append_batch = queue._append_batch  # noqa: SLF001 -- as above
        self._ensure_usable = queue._ensure_usable  # noqa: SLF001 -- as above
        self._ensure_usable()
        self._shared = shared_of(queue)
        self._turn = self._shared.turn
        self._work = Work(queue, self._shared, Claim)
        self._created = self._shared.subscriptions.created
        self._waiting = self._shared.subscriptions.waiting
        self._is_immediate = queue.durability is IMMEDIATE
        self._dependents = self._projection.dependents

    @property
    def queue(self) -> ActionQueue:
        """The queue."""
        return self._queue

    def _now(self) -> int:
        time = self._clock()
        if type(time) is int and 0 <= time <= CALENDAR_SECONDS_MAX:
            return time
        return time_of("Scheduler", "clock", time)

    def _step(
        self, plan: Callable[Concatenate[int, P], Plan[R]], *arguments: P.args, **_no: P.kwargs
    ) -> R:
        """Do what a plan says, and return what it returns once that is durable."""
        value, sequence = self._turn.run(self._attempt, plan, self._now(), arguments)
        if sequence:
            self._settle(sequence)
        returned: R = value
        return returned

    def _attempt(
        self, plan: Callable[..., Plan[R]], time: int, arguments: tuple[Any, ...]
    ) -> tuple[R, int]:
        """Append what a plan says; return its value, and the last sequence, 0 without commands.

        It plans again where the queue refuses the batch because another thread has submitted
        something since the plan read the projection: as long as there is something new to read, and
        the refusal is not the one from before.
        """
        refused: tuple[type[ValidationError], tuple[Any, ...]] | None = None
        while True:
            before = self._projection.latest_sequence
            commands, value = plan(time, *arguments)
            if not commands:
                self._ensure_usable()
                return value, 0
            try:
                return value, self._append(commands, time)
            except ValidationError as error:
                refusal = type(error), error.args
                if refusal == refused or self._projection.latest_sequence == before:
                    error.out_of_batch()
                    raise
                refused = refusal

    def _append(self, commands: list[MutationCommand], time: int) -> int:
        """Append commands with what they trigger, and return the last sequence."""
        if self._created or self._waiting:
            self._shared.subscriptions.extend(commands, time)
        append = partial(self._in_lane, self._append_batch, commands, None)
        if self._shared.is_watched:
            return self._shared.watch(append, (), list, (commands,))
        return append()

    def _settle(self, sequence: int) -> None:
        """Wait as the queue's policy says, and have the futures of ended runs done."""
        if self._is_immediate:
            try:
                self._wait_durable(sequence)
            except ActionQueueError as error:
                self._shared.fail(error)
                raise
        if self._shared.ended or self._shared.told:
            self._shared.resolve(sequence)

    def _task(self, task_id: TaskId) -> tuple[TaskSpec, int, int, bool]:
        """Return a task's specification, ``runs_created``, ``last_run_at``, and if it is canceled.

        Raises LookupError where there is no such task.
        """
        fields = self._projection.read_task(task_id)
        if fields is None:
            raise LookupError(f"there is no task {task_id}")
        _, _, canceled_at, encoded, runs_created, last_run_at = fields
        spec = task_spec_from_bytes(task_id, encoded)
        return spec, runs_created, last_run_at or 0, canceled_at is not None
