"""What an operator or an application asks for: cancel, pause, reschedule, signal, consume."""

from __future__ import annotations

from typing import Any

from actionqueue.errors import (
    AttemptsExhausted,
    InvalidFieldError,
    NotWaitingForTime,
    UnknownRun,
    UnknownTask,
)
from actionqueue.limits import I32_MAX, I32_MIN
from actionqueue.model import (
    BudgetConsumeCommand,
    BudgetDimension,
    CustomFilter,
    EnginePauseCommand,
    EngineResumeCommand,
    MutationCommand,
    RunId,
    RunRescheduleCommand,
    RunResumeCommand,
    RunState,
    RunStateTransitionCommand,
    SubscriptionId,
    TaskCancelCommand,
    TaskId,
)
from actionqueue.policy_fields import whole_number
from actionqueue.scheduler.arguments import identifier, time_or_none
from actionqueue.scheduler.core import Core, Plan
from actionqueue.scheduler.prerequisites import Cancellation, part_of
from actionqueue.scheduler.recurrence import Recurrence, is_newest

SCHEDULED = RunState.SCHEDULED
READY = RunState.READY
RETRY_WAIT = RunState.RETRY_WAIT
CANCELED = RunState.CANCELED


class Controlling(Core):
    """Changes tasks, runs and the engine at an application's wish."""

    # --- Canceling --------------------------------------------------------------------------------

    def cancel(self, task_id: TaskId) -> list[TaskId]:
        """Cancel a task with its runs that have not ended, and return the tasks that this cancels.

        Claims of these runs are lost. What waits for the task is dealt with as the scheduler was
        told. Of a task that is canceled already the remaining runs are canceled, and what waits for
        it. It is one step, or several where more than 250,000 commands are needed: after an error
        or an end of the process between them, call it again.

        Raises:
            UnknownTask: There is no such task.
            InvalidFieldTypeError: It is no identifier of a task.
        """
        identifier("cancel", "task_id", task_id, TaskId)
        canceled: list[TaskId] = []
        is_done = False
        while not is_done:
            task_ids, is_done = self._step(self._plan_cancel, task_id)
            canceled += task_ids
        return canceled

    def _plan_cancel(self, now: int, task_id: TaskId) -> Plan[tuple[list[TaskId], bool]]:
        if not self._projection.task_exists(task_id):
            raise UnknownTask(task_id)
        cancellation = Cancellation(self._projection, self._dependents, now)
        cancellation.cancel(task_id)
        if self._cancels_dependents:
            cancellation.cancel_dependents([task_id])
        commands = cancellation.commands
        if not cancellation.is_too_large:
            return commands, (cancellation.task_ids, True)
        begin = int(not self._projection.is_task_canceled(task_id))  # the task itself comes first
        part = commands[:begin] + part_of(commands[begin:])
        task_ids = [command.task_id for command in part if type(command) is TaskCancelCommand]
        return part, (task_ids, False)

    def cancel_run(self, run_id: RunId) -> None:
        """Cancel one run, and leave its task to go on: a recurring task gets its next run.

        A run that has ended stays as it is. What waits in vain then is canceled before the run, in
        several steps where more than 250,000 commands are needed.

        Raises:
            UnknownRun: There is no such run.
            InvalidFieldTypeError: It is no identifier of a run.
        """
        identifier("cancel_run", "run_id", run_id, RunId)
        while not self._step(self._plan_cancel_run, run_id):
            pass

    def _plan_cancel_run(self, now: int, run_id: RunId) -> Plan[bool]:
        """Plan it, or the first part of it; return whether that is all."""
        run = self._projection.run(run_id)
        if run is None:
            raise UnknownRun(run_id)
        cancellation = Cancellation(self._projection, self._dependents, now)
        cancellation.cancel_run(run)
        commands = cancellation.commands
        if not commands:
            return commands, True
        spec, runs_created, last, is_canceled = self._task(run.task_id)
        if (
            run.state is SCHEDULED
            and not is_canceled
            and is_newest(self._projection, run.task_id, runs_created, run_id, frozenset())
        ):
            recurrence = Recurrence(self._projection, spec, runs_created, last, self._misfire)
            create = recurrence.create_next(max(last, run.scheduled_at), now)
            if create is not None:
                commands.append(create)
                return commands, True
        if self._cancels_dependents:
            cancellation.cancel_dependents([run.task_id])
        if cancellation.is_too_large:
            return part_of(commands[1:]), False
        return commands, True

    def plan_next(self, task_id: TaskId) -> RunId | None:
        """Create the next run of a recurring task that has none to come, and return its identifier.

        The schedulers plan one run ahead by themselves. It is missing only where a raw command, and
        not :meth:`cancel_run`, canceled the run that waited; nothing tells a scheduler of that. The
        run is for the first time of the policy behind the latest run. Where that has passed, the
        next tick deals with the times that were missed.

        None, and nothing is done, where a run waits for its time already, where the policy has no
        more runs, where the task is canceled, and where it has not had a run yet.

        Raises:
            UnknownTask: There is no such task.
            InvalidFieldTypeError: It is no identifier of a task.
            InvalidFieldError: This machine does not know the policy's time zone.
        """
        return self._step(self._plan_next, identifier("plan_next", "task_id", task_id, TaskId))

    def _plan_next(self, now: int, task_id: TaskId) -> Plan[RunId | None]:
        if not self._projection.task_exists(task_id):
            raise UnknownTask(task_id)
        spec, runs_created, last, is_canceled = self._task(task_id)
        if is_canceled or not runs_created:
            return [], None
        runs = self._projection.read_runs_of_task(task_id)
        if any(run.state is SCHEDULED for run in runs):
            return [], None
        recurrence = Recurrence(self._projection, spec, runs_created, last, self._misfire)
        create = recurrence.create_next(last, now)
        return ([], None) if create is None else ([create], create.run_instance.id)

    # --- The engine -------------------------------------------------------------------------------

    def pause(self) -> None:
        """Hand nothing out from now on, also after a restart. Runs that are claimed go on."""
        self._step(self._plan_pause)

    def _plan_pause(self, now: int) -> Plan[None]:
        is_paused = self._projection.is_engine_paused()
        return [] if is_paused else [EnginePauseCommand(None, now)], None

    def resume(self) -> None:
        """Hand out runs again."""
        self._step(self._plan_resume)

    def _plan_resume(self, now: int) -> Plan[None]:
        if not self._projection.is_engine_paused():
            return [], None
        paused_at = self._projection.engine_paused_at() or 0
        return [EngineResumeCommand(None, max(now, paused_at))], None

    # --- Runs -------------------------------------------------------------------------------------

    def reschedule(
        self, run_id: RunId, *, at: int | None = None, priority: int | None = None
    ) -> None:
        """Give a run another time, another priority, or both.

        A recurring task's later runs keep their times.

        Args:
            run_id: The run.
            at: The time, in Unix seconds, of a run that is scheduled or waits for its retry; None
                leaves it.
            priority: The priority of a run that is neither claimed nor over; None leaves it.

        Raises:
            UnknownRun: There is no such run.
            NotWaitingForTime: There is a time, and the run waits for none.
            InvalidTransition: There is only a priority, and the run is claimed or over.
            InvalidFieldError: An argument does not fit.
        """
        identifier("reschedule", "run_id", run_id, RunId)
        time = time_or_none("reschedule", "at", at)
        if priority is not None:
            priority = _priority(priority)
        elif time is None:
            raise InvalidFieldError("reschedule", "at", at, "must be given, or a priority")
        self._step(self._plan_reschedule, run_id, time, priority)

    def _plan_reschedule(
        self, now: int, run_id: RunId, at: int | None, priority: int | None
    ) -> Plan[None]:
        run = self._projection.run(run_id)
        if run is None:
            raise UnknownRun(run_id)
        if at is not None and run.state not in {SCHEDULED, RETRY_WAIT}:
            raise NotWaitingForTime(run_id, run.state)
        time = run.scheduled_at if at is None else at
        priority = run.effective_priority if priority is None else priority
        return [RunRescheduleCommand(None, run_id, time, priority, now)], None

    def resume_run(self, run_id: RunId) -> None:
        """Make a suspended run ready.

        Raises:
            UnknownRun, RunResumeRequiresSuspended: There is no such run, or it is not suspended.
            InvalidFieldTypeError: It is no identifier of a run.
        """
        self._step(self._plan_resume_run, identifier("resume_run", "run_id", run_id, RunId))

    def _plan_resume_run(self, now: int, run_id: RunId) -> Plan[None]:
        return [RunResumeCommand(None, run_id, now)], None

    def retry(self, run_id: RunId) -> None:
        """Make a run that waits for its retry ready now.

        Raises:
            UnknownRun, PreviousStateMismatch: There is no such run, or it does not wait for one.
            AttemptsExhausted: It has had all attempts that its task gives it: a raw command has
                taken it to where it waits.
            InvalidFieldTypeError: It is no identifier of a run.
        """
        self._step(self._plan_retry, identifier("retry", "run_id", run_id, RunId))

    def _plan_retry(self, now: int, run_id: RunId) -> Plan[None]:
        run = self._projection.run(run_id)
        if run is not None and run.state is RETRY_WAIT:
            max_attempts = self._task(run.task_id)[0].constraints.max_attempts
            if self._projection.counted_attempts(run_id) >= max_attempts:
                raise AttemptsExhausted(run_id, run.task_id, max_attempts)
        return [RunStateTransitionCommand(None, run_id, RETRY_WAIT, READY, now)], None

    # --- What subscriptions wait for --------------------------------------------------------------

    def signal(self, key: str) -> list[SubscriptionId]:
        """Trigger the subscriptions with a custom filter of this key, and return them.

        The suspended runs of their tasks become ready. A signal that nothing waits for leaves no
        trace. Raises InvalidFieldError for what is no key.
        """
        return self._step(self._plan_signal, CustomFilter(key).key)

    def _plan_signal(self, now: int, key: str) -> Plan[list[SubscriptionId]]:
        commands: list[MutationCommand] = []
        triggered = self._shared.subscriptions.signal(key, commands, now)
        return commands, triggered

    def consume(self, task_id: TaskId, dimension: BudgetDimension | str, amount: int) -> None:
        """Record that a task has used some of its budget, and trigger what waits for that.

        A task whose budget, or whose ancestor's, is exhausted has no more runs claimed. Without a
        budget in this dimension only the log keeps the amount.

        Raises:
            UnknownTask: There is no such task.
            InvalidFieldError: An argument does not fit.
        """
        identifier("consume", "task_id", task_id, TaskId)
        command = BudgetConsumeCommand(None, task_id, dimension, amount, 0)
        self._step(self._plan_consume, task_id, command.dimension, command.amount)

    def _plan_consume(
        self, now: int, task_id: TaskId, dimension: BudgetDimension, amount: int
    ) -> Plan[None]:
        return [BudgetConsumeCommand(None, task_id, dimension, amount, now)], None


def _priority(value: Any) -> int:
    reason = f"must be a whole number from {I32_MIN} to {I32_MAX}"
    number = whole_number("reschedule", "priority", value, reason)
    if not I32_MIN <= number <= I32_MAX:
        raise InvalidFieldError("reschedule", "priority", value, reason)
    return number
