"""The lifecycle workload: a task and its run, from its creation to its end, in ten commands.

The workload builds each command with its identifiers just before it submits it, so that the
measurement includes this.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from actionqueue.model import (
    AttemptFinishCommand,
    AttemptId,
    AttemptOutcome,
    AttemptStartCommand,
    LeaseAcquireCommand,
    LeaseHeartbeatCommand,
    MutationCommand,
    RunCreateCommand,
    RunInstance,
    RunState,
    RunStateTransitionCommand,
    TaskCreateCommand,
    TaskSpec,
)

__all__ = ["COMMANDS_A_RUN", "MOMENT", "Stream", "commands_of_a_run", "submit_a_run", "timed"]

COMMANDS_A_RUN = 10
MOMENT = 1_700_000_000
PAYLOAD = bytes(range(100))
OUTPUT = bytes(range(32))
OWNER = "worker-0001"

_SCHEDULED, _READY, _LEASED = RunState.SCHEDULED, RunState.READY, RunState.LEASED
_RUNNING, _COMPLETED = RunState.RUNNING, RunState.COMPLETED


def submit_a_run(submit: Callable[[MutationCommand], Any]) -> Any:
    """Take a new task's run through its life, one command at a time; return the last outcome."""
    task = TaskSpec(payload=PAYLOAD)
    submit(TaskCreateCommand(None, task, MOMENT))
    run = RunInstance.scheduled(task.id, scheduled_at=MOMENT, created_at=MOMENT)
    submit(RunCreateCommand(None, run))
    run_id = run.id
    submit(RunStateTransitionCommand(None, run_id, _SCHEDULED, _READY, MOMENT))
    submit(LeaseAcquireCommand(None, run_id, OWNER, MOMENT + 30, MOMENT))
    submit(RunStateTransitionCommand(None, run_id, _READY, _LEASED, MOMENT))
    submit(RunStateTransitionCommand(None, run_id, _LEASED, _RUNNING, MOMENT))
    attempt_id = AttemptId()
    submit(AttemptStartCommand(None, run_id, attempt_id, MOMENT))
    submit(LeaseHeartbeatCommand(None, run_id, OWNER, MOMENT + 60, MOMENT + 30))
    submit(
        AttemptFinishCommand(None, run_id, attempt_id, AttemptOutcome.success(OUTPUT), MOMENT + 40)
    )
    return submit(RunStateTransitionCommand(None, run_id, _RUNNING, _COMPLETED, MOMENT + 40))


def commands_of_a_run() -> list[MutationCommand]:
    """Return the same ten commands, for a batch."""
    task = TaskSpec(payload=PAYLOAD)
    run = RunInstance.scheduled(task.id, scheduled_at=MOMENT, created_at=MOMENT)
    run_id, attempt_id = run.id, AttemptId()
    return [
        TaskCreateCommand(None, task, MOMENT),
        RunCreateCommand(None, run),
        RunStateTransitionCommand(None, run_id, _SCHEDULED, _READY, MOMENT),
        LeaseAcquireCommand(None, run_id, OWNER, MOMENT + 30, MOMENT),
        RunStateTransitionCommand(None, run_id, _READY, _LEASED, MOMENT),
        RunStateTransitionCommand(None, run_id, _LEASED, _RUNNING, MOMENT),
        AttemptStartCommand(None, run_id, attempt_id, MOMENT),
        LeaseHeartbeatCommand(None, run_id, OWNER, MOMENT + 60, MOMENT + 30),
        AttemptFinishCommand(None, run_id, attempt_id, AttemptOutcome.success(OUTPUT), MOMENT + 40),
        RunStateTransitionCommand(None, run_id, _RUNNING, _COMPLETED, MOMENT + 40),
    ]


class Stream:
    """The commands of one run after the other, cut into groups of any size."""

    def __init__(self) -> None:
        self._commands: list[MutationCommand] = []

    def take(self, count: int) -> list[MutationCommand]:
        """Build and return the next ``count`` commands."""
        commands = self._commands
        while len(commands) < count:
            commands += commands_of_a_run()
        self._commands = commands[count:]
        del commands[count:]
        return commands


def timed(
    submit: Callable[[MutationCommand], Any], times: array[int]
) -> Callable[[MutationCommand], Any]:
    """Return a function that submits, and notes how long each call took, in nanoseconds."""

    def submit_timed(command: MutationCommand) -> Any:
        began = perf_counter_ns()
        outcome = submit(command)
        times.append(perf_counter_ns() - began)
        return outcome

    return submit_timed
