"""The tick: what time alone brings about."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from actionqueue.errors import InvalidFieldError
from actionqueue.limits import CALENDAR_SECONDS_MAX
from actionqueue.model import (
    AttemptFinishCommand,
    AttemptOutcome,
    LeaseExpireCommand,
    LeaseReleaseCommand,
    MutationCommand,
    Once,
    RunId,
    RunInstance,
    RunRescheduleCommand,
    RunState,
    RunStateTransitionCommand,
    TaskId,
)
from actionqueue.scheduler.attempts import retry_or_fail
from actionqueue.scheduler.core import Core, Plan
from actionqueue.scheduler.prerequisites import Cancellation
from actionqueue.scheduler.recurrence import Recurrence, is_newest

SCHEDULED = RunState.SCHEDULED
READY = RunState.READY
RUNNING = RunState.RUNNING
RETRY_WAIT = RunState.RETRY_WAIT
FAILED = RunState.FAILED
CANCELED = RunState.CANCELED
LATER_SECONDS = 60
AT_ONCE = 500
"""The runs that one batch of a tick deals with."""


class TickReport(msgspec.Struct, frozen=True):
    """What a tick did. A run may be in several lists."""

    ready: list[RunId] = msgspec.field(default_factory=list)
    """Runs that became ready, because their time or that of their retry had come."""
    created: list[RunId] = msgspec.field(default_factory=list)
    """The next runs of recurring tasks."""
    skipped: list[RunId] = msgspec.field(default_factory=list)
    """Runs of recurring tasks that went to a time to come, because theirs was missed."""
    postponed: list[RunId] = msgspec.field(default_factory=list)
    """Runs of recurring tasks that go to a minute from now, because this machine does not know
    their time zone, and so not when the next one is due."""
    expired: list[RunId] = msgspec.field(default_factory=list)
    """Runs whose lease had expired."""
    overdue: list[RunId] = msgspec.field(default_factory=list)
    """Runs whose attempt took longer than its task allows."""
    retried: list[RunId] = msgspec.field(default_factory=list)
    """Those of the two that wait for another attempt."""
    failed: list[RunId] = msgspec.field(default_factory=list)
    """Runs that failed, because they have no attempt left."""
    canceled: list[RunId] = msgspec.field(default_factory=list)
    """Runs that were canceled: of canceled tasks, and of tasks that wait for one that failed."""

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__struct_fields__)

    def add(self, other: TickReport) -> None:
        """Add what another batch did."""
        for name in self.__struct_fields__:
            getattr(self, name).extend(getattr(other, name))


class _Batch:
    """One batch of a tick under construction."""

    def __init__(self) -> None:
        self.commands: list[MutationCommand] = []
        self.report = TickReport()
        self.states: dict[RunId, RunState] = {}
        self.created: dict[RunId, TaskId] = {}
        self.ended_tasks: list[TaskId] = []

    def end(self, run: RunInstance, state: RunState) -> None:
        """Note that a run fails or is canceled."""
        self.states[run.id] = state
        self.ended_tasks.append(run.task_id)
        (self.report.failed if state is FAILED else self.report.canceled).append(run.id)


class Ticking(Core):
    """Does what is due."""

    def tick(self) -> TickReport:
        """Do what time has brought about, and return what that was.

        - A lease that has expired is dropped. Its attempt ends as a time-out, and the run waits for
          another one or fails, as after any failure.
        - An attempt that has taken longer than its task's ``timeout_secs`` ends likewise.
        - A run becomes ready when its time, or that of its retry, has come. The same batch creates
          the next run of a recurring task.

        There is nothing to do before :meth:`next_wakeup`, and a tick costs little then.
        """
        now = self._now()
        report = TickReport()
        appended: list[int] = []
        try:
            self._do_all(now, report, appended)
        finally:
            if appended:
                self._settle(appended[-1])
        if self._shared.is_watched:
            self._turn.run(self._shared.note_ended_elsewhere)
            if self._shared.ended:
                self._settle(self._projection.latest_sequence)
        return report

    def _do_all(self, now: int, report: TickReport, appended: list[int]) -> None:
        """Do what is due, batch by batch. Adds to the report, and to the sequences appended."""
        plans: tuple[Callable[[int], Plan[TickReport]], ...] = (
            self._plan_expired,
            self._plan_overdue,
            self._plan_due,
        )
        for plan in plans:
            sequence = 1
            while sequence:
                done, sequence = self._turn.run(self._attempt, plan, now, ())
                if sequence:
                    appended.append(sequence)
                report.add(done)

    def next_wakeup(self) -> int | None:
        """Return when the next tick has something to do, in Unix seconds; None without anything.

        The time may have passed already.
        """
        projection = self._projection
        times = (
            projection.next_due(),
            projection.next_lease_expiry(),
            projection.next_deadline(),
        )
        return min((time for time in times if time is not None), default=None)

    # --- Leases and attempts ----------------------------------------------------------------------

    def _plan_expired(self, now: int) -> Plan[TickReport]:
        batch = _Batch()
        for _, run_id in self._projection.expiring_leases(now, AT_ONCE):
            run = self._projection.run(run_id)
            lease = self._projection.active_lease(run_id)
            if run is None or lease is None:
                continue
            batch.report.expired.append(run_id)
            if run.current_attempt_id is not None:
                outcome = AttemptOutcome.timeout(f"the lease of {lease[0]} expired")
                batch.commands.append(
                    AttemptFinishCommand(None, run_id, run.current_attempt_id, outcome, now)
                )
            batch.commands.append(LeaseExpireCommand(None, run_id, *lease, now))
            if run.state is RUNNING:
                self._go_on(batch, run, now)
            else:  # a leased run becomes ready with the end of its lease
                batch.states[run_id] = READY
        return self._finish(batch, now)

    def _plan_overdue(self, now: int) -> Plan[TickReport]:
        batch = _Batch()
        for _, run_id in self._projection.overdue_attempts(now, AT_ONCE):
            run = self._projection.run(run_id)
            if run is None or run.current_attempt_id is None:
                continue
            batch.report.overdue.append(run_id)
            outcome = AttemptOutcome.timeout("the attempt took longer than its task allows")
            batch.commands.append(
                AttemptFinishCommand(None, run_id, run.current_attempt_id, outcome, now)
            )
            lease = self._projection.active_lease(run_id)
            if lease is not None:
                batch.commands.append(LeaseReleaseCommand(None, run_id, *lease, now))
            self._go_on(batch, run, now)
        return self._finish(batch, now)

    def _go_on(self, batch: _Batch, run: RunInstance, now: int) -> None:
        max_attempts = self._task(run.task_id)[0].constraints.max_attempts
        commands, state = retry_or_fail(self._projection, run, max_attempts, self._retry, now)
        batch.commands += commands
        if state is FAILED:
            batch.end(run, FAILED)
        else:
            batch.states[run.id] = RETRY_WAIT
            batch.report.retried.append(run.id)

    # --- Runs whose time has come -----------------------------------------------------------------

    def _plan_due(self, now: int) -> Plan[TickReport]:
        batch = _Batch()
        for _, run_id in self._projection.due(now, AT_ONCE):
            run = self._projection.run(run_id)
            if run is None:
                continue
            spec, runs_created, last, is_canceled = self._task(run.task_id)
            if is_canceled:
                batch.commands.append(
                    RunStateTransitionCommand(None, run_id, run.state, CANCELED, now)
                )
                batch.end(run, CANCELED)
            elif run.state is RETRY_WAIT:
                self._retry_due(batch, run, spec.constraints.max_attempts, now)
            else:
                newest = type(spec.run_policy) is not Once and is_newest(
                    self._projection, run.task_id, runs_created, run_id, batch.states.keys()
                )
                recurrence = Recurrence(self._projection, spec, runs_created, last, self._misfire)
                try:
                    commands, ready, created = recurrence.when_due(
                        run_id, run.scheduled_at, run.effective_priority, now, is_newest=newest
                    )
                except InvalidFieldError:
                    self._postpone(batch, run, now)
                    continue
                batch.commands += commands
                batch.states.update(dict.fromkeys(ready, READY))
                batch.created.update(dict.fromkeys(created, run.task_id))
                batch.report.ready.extend(ready)
                if not ready:
                    batch.report.skipped.append(run_id)
                batch.report.created.extend(created)
        return self._finish(batch, now)

    def _postpone(self, batch: _Batch, run: RunInstance, now: int) -> None:
        """Look at a run a minute later, whose task's time zone this machine does not know.

        Without the zone there is no time for the next run, and the recurrence would end.
        """
        later = min(now + LATER_SECONDS, CALENDAR_SECONDS_MAX)
        batch.commands.append(
            RunRescheduleCommand(None, run.id, later, run.effective_priority, now)
        )
        batch.report.postponed.append(run.id)

    def _retry_due(self, batch: _Batch, run: RunInstance, max_attempts: int, now: int) -> None:
        if self._projection.counted_attempts(run.id) < max_attempts:
            batch.commands.append(RunStateTransitionCommand(None, run.id, RETRY_WAIT, READY, now))
            batch.states[run.id] = READY
            batch.report.ready.append(run.id)
        else:  # a raw command has taken it here, although it may not be tried again
            batch.commands.append(RunStateTransitionCommand(None, run.id, RETRY_WAIT, FAILED, now))
            batch.end(run, FAILED)

    def _finish(self, batch: _Batch, now: int) -> Plan[TickReport]:
        if batch.ended_tasks and self._cancels_dependents:
            cancellation = Cancellation(self._projection, self._dependents, now, batch.states)
            cancellation.cancel_dependents(batch.ended_tasks)
            batch.commands += cancellation.commands
            batch.report.canceled.extend(cancellation.run_ids)
            for run_id, task_id in batch.created.items():
                if cancellation.has_canceled(task_id):
                    state = batch.states.get(run_id, SCHEDULED)
                    batch.commands.append(
                        RunStateTransitionCommand(None, run_id, state, CANCELED, now)
                    )
                    batch.report.canceled.append(run_id)
        return batch.commands, batch.report
