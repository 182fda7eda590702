"""What the tests of columns share: commands as arrays, plausible commands for known runs, and small
queues full of runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np

import actionqueue as aq
from actionqueue.columns import ColumnOutcome
from tests.support.model import TRANSITIONS
from tests.support.queues import SMALL, in_memory


class OldBoolean:
    """A boolean as it is in NumPy before 2.3: a number, too."""

    dtype = np.dtype(bool)
    ndim = 0

    def __index__(self) -> int:
        return 1


STATES = tuple(aq.RunState)
RESULTS = tuple(aq.AttemptResultKind)
OPTIONS: dict[str, Any] = {**SMALL, "durability": "deferred", "compaction": None}
PATHS: dict[str, list[str]] = {
    "scheduled": [],
    "ready": ["ready"],
    "leased": ["ready", "leased"],
    "running": ["ready", "leased", "running"],
    "retry_wait": ["ready", "leased", "running", "retry_wait"],
    "suspended": ["ready", "leased", "running", "suspended"],
    "completed": ["ready", "leased", "running", "completed"],
    "failed": ["ready", "leased", "running", "failed"],
    "canceled": ["canceled"],
}
"""How a new run gets into each state."""


@contextmanager
def small_queue(**options: Any) -> Iterator[aq.ActionQueue]:
    with in_memory() as made, aq.open(made / "queue", **{**OPTIONS, **options}) as queue:
        yield queue


def add_run(
    queue: aq.ActionQueue, state: str = "scheduled", *, run_id: aq.RunId | None = None
) -> aq.RunId:
    """Create a run, of a task of its own, and take it to the state."""
    task = aq.TaskSpec(payload=b"")
    run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1, id=run_id or aq.RunId())
    queue.submit_many([aq.TaskCreateCommand(None, task, 1), aq.RunCreateCommand(None, run)])
    queue.submit_many(way_to(run.id, state))
    return run.id


def way_to(run_id: aq.RunId, state: str) -> list[aq.RunStateTransitionCommand]:
    """Return the commands that take a new run to the state."""
    path = ["scheduled", *PATHS[state]]
    return [
        aq.RunStateTransitionCommand(None, run_id, previous, new, 1)
        for previous, new in pairwise(path)
    ]


def add_runs(queue: aq.ActionQueue, count: int) -> Any:
    """Create scheduled runs; return their identifiers as an array."""
    commands: list[aq.MutationCommand] = []
    for _ in range(count):
        task = aq.TaskSpec(payload=b"")
        commands += [
            aq.TaskCreateCommand(None, task, 1),
            aq.RunCreateCommand(
                None, aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
            ),
        ]
    queue.submit_many(commands)
    return queue.projection.run_id_array()[-count:] if count else np.zeros(0, "V16")


def times(commands: Sequence[Any], field: str = "timestamp") -> Any:
    return np.array([getattr(command, field) for command in commands], np.uint64)


def submit_columns(queue: aq.ActionQueue, commands: Sequence[Any], **options: Any) -> ColumnOutcome:
    """Submit commands of one kind as arrays."""
    run_ids = aq.columns.id_array([command.run_id for command in commands])
    match commands[0]:
        case aq.RunStateTransitionCommand():
            previous = aq.columns.state_codes([command.previous_state for command in commands])
            new = aq.columns.state_codes([command.new_state for command in commands])
            return queue.submit_transitions(run_ids, previous, new, times(commands), **options)
        case aq.RunRescheduleCommand():
            priorities = np.array([command.effective_priority for command in commands], np.int32)
            return queue.submit_reschedules(
                run_ids, times(commands, "scheduled_at"), priorities, times(commands), **options
            )
        case aq.LeaseHeartbeatCommand():
            owners = aq.columns.offsets_and_data([command.owner for command in commands])
            return queue.submit_lease_heartbeats(
                run_ids, owners, times(commands, "expiry"), times(commands), **options
            )
        case aq.AttemptStartCommand():
            attempt_ids = aq.columns.id_array([command.attempt_id for command in commands])
            return queue.submit_attempt_starts(run_ids, attempt_ids, times(commands), **options)
        case aq.AttemptFinishCommand():
            attempt_ids = aq.columns.id_array([command.attempt_id for command in commands])
            results = aq.columns.result_codes([command.result for command in commands])
            outputs = aq.columns.offsets_and_data([command.output for command in commands])
            errors = aq.columns.offsets_and_data([command.error for command in commands])
            return queue.submit_attempt_finishes(
                run_ids,
                attempt_ids,
                results,
                times(commands),
                outputs=outputs,
                errors=errors,
                **options,
            )
        case other:
            raise TypeError(other)


class RowSource:
    """Plausible commands of the five kinds for a queue's runs; most are acceptable where they stand
    first.
    """

    def __init__(self, random: Random, projection: aq.Projection) -> None:
        self.random = random
        self.projection = projection
        self.run_ids = projection.run_ids()
        self.attempt_ids = [aq.AttemptId(bytes([number]) * 15 + b"\0") for number in range(4)]

    def commands(self, count: int) -> list[Any]:
        make = self.random.choice(
            [
                self._transition,
                self._transition,
                self._reschedule,
                self._heartbeat,
                self._start,
                self._finish,
            ]
        )
        return [make(self._run_id()) for _ in range(count)]

    def _run_id(self) -> aq.RunId:
        return self.random.choice(self.run_ids) if self.random.random() < 0.95 else aq.RunId()

    def _time(self) -> int:
        return self.random.choice([0, 1, 127, 128, 2**32, 2**64 - 1, self.random.randrange(2000)])

    def _transition(self, run_id: aq.RunId) -> aq.RunStateTransitionCommand:
        state = self.projection.run_state(run_id)
        previous = (
            state
            if state is not None and self.random.random() < 0.9
            else self.random.choice(STATES)
        )
        targets = TRANSITIONS[previous]
        new = (
            self.random.choice(targets)
            if targets and self.random.random() < 0.9
            else self.random.choice(STATES)
        )
        return aq.RunStateTransitionCommand(None, run_id, previous, new, self._time())

    def _reschedule(self, run_id: aq.RunId) -> aq.RunRescheduleCommand:
        priority = self.random.choice([0, -1, 5, -(2**31), 2**31 - 1])
        return aq.RunRescheduleCommand(None, run_id, self._time(), priority, self._time())

    def _heartbeat(self, run_id: aq.RunId) -> aq.LeaseHeartbeatCommand:
        lease = self.projection.lease(run_id)
        owner = (
            lease.owner
            if lease is not None and self.random.random() < 0.9
            else self.random.choice(["", "w", "wörker"])
        )
        expiry = lease.expiry + self.random.randrange(-1, 5) if lease is not None else self._time()
        return aq.LeaseHeartbeatCommand(None, run_id, owner, max(0, expiry), self._time())

    def _start(self, run_id: aq.RunId) -> aq.AttemptStartCommand:
        attempt_id = (
            self.random.choice(self.attempt_ids) if self.random.random() < 0.3 else aq.AttemptId()
        )
        return aq.AttemptStartCommand(None, run_id, attempt_id, self._time())

    def _finish(self, run_id: aq.RunId) -> aq.AttemptFinishCommand:
        active = self.projection.active_attempt_id(run_id)
        attempt_id = (
            active
            if active is not None and self.random.random() < 0.9
            else self.random.choice(self.attempt_ids)
        )
        outcome = self.random.choice(
            [
                aq.AttemptOutcome.success(),
                aq.AttemptOutcome.success(self.random.randbytes(self.random.randrange(40))),
                aq.AttemptOutcome.suspended(b"\0"),
                aq.AttemptOutcome.failure(""),
                aq.AttemptOutcome.failure("bröken"),
                aq.AttemptOutcome.timeout("late"),
            ]
        )
        return aq.AttemptFinishCommand(None, run_id, attempt_id, outcome, self._time())
