"""The ends of runs that cancel what waits for them: in several batches where one is too small.

A run that has no attempt left and cannot end at once waits for a retry that it does not have, and
its time has come. So the log says that it is to fail, and every later tick finds it, also after the
end of the process. It fails with the last batch of what that cancels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from actionqueue.model import (
    MutationCommand,
    RunId,
    RunInstance,
    RunRescheduleCommand,
    RunState,
    RunStateTransitionCommand,
    TaskId,
)
from actionqueue.scheduler.core import Core, Plan
from actionqueue.scheduler.prerequisites import Cancellation, part_of

RUNNING = RunState.RUNNING
RETRY_WAIT = RunState.RETRY_WAIT
FAILED = RunState.FAILED
CANCELED = RunState.CANCELED


class Ending(Core):
    """Ends runs, with what waits for their tasks."""

    def _cascade(
        self, task_ids: Iterable[TaskId], states: Mapping[RunId, RunState], now: int
    ) -> Cancellation:
        """Return what the ends of runs of these tasks cancel, as far as the scheduler does that."""
        cancellation = Cancellation(self._projection, self._dependents, now, states)
        if self._cancels_dependents:
            cancellation.cancel_dependents(task_ids)
        return cancellation

    def _plan_ends(
        self, ends: Iterable[tuple[RunInstance, RunState]], now: int
    ) -> tuple[list[MutationCommand], list[RunId], bool]:
        """Plan the ends of runs with what they cancel, or the first part of that.

        Returns the commands, the dependents' runs that these cancel, and whether that is all of it.
        """
        several = list(ends)
        states = {run.id: state for run, state in several}
        cancellation = self._cascade([run.task_id for run, _ in several], states, now)
        if cancellation.is_too_large:
            part = part_of(cancellation.commands)
            return part, canceled_by(part), False
        commands: list[MutationCommand] = [
            RunStateTransitionCommand(None, run.id, run.state, state, now) for run, state in several
        ]
        return commands + cancellation.commands, cancellation.run_ids, True

    def _end_later(self, run: RunInstance, now: int) -> list[MutationCommand]:
        """Return what takes a running run without an attempt left to where it waits for its end."""
        commands: list[MutationCommand] = [
            RunStateTransitionCommand(None, run.id, RUNNING, RETRY_WAIT, now)
        ]
        if run.scheduled_at > now:
            commands.append(RunRescheduleCommand(None, run.id, now, run.effective_priority, now))
        return commands

    def _end_now(self, run_ids: list[RunId], now: int) -> tuple[list[RunId], int]:
        """Do what :meth:`_end_later` has left. Returns what was canceled, and the last sequence."""
        canceled: list[RunId] = []
        last = 0
        while True:
            some, sequence = self._turn.run(self._attempt, self._plan_left, now, (run_ids,))
            if not sequence:
                return canceled, last
            canceled += some
            last = sequence

    def _plan_left(self, now: int, run_ids: list[RunId]) -> Plan[list[RunId]]:
        ends: list[tuple[RunInstance, RunState]] = []
        for run_id in run_ids:
            run = self._projection.run(run_id)
            if run is not None and run.state is RETRY_WAIT and not self._has_attempt_left(run):
                ends.append((run, FAILED))
        commands, canceled, _ = self._plan_ends(ends, now)
        return commands, canceled

    def _has_attempt_left(self, run: RunInstance) -> bool:
        max_attempts = self._task(run.task_id)[0].constraints.max_attempts
        return self._projection.counted_attempts(run.id) < max_attempts


def canceled_by(commands: Iterable[MutationCommand]) -> list[RunId]:
    """Return the runs that commands cancel."""
    return [
        command.run_id
        for command in commands
        if type(command) is RunStateTransitionCommand and command.new_state is CANCELED
    ]
