"""What a tick does with the runs whose time has come: which commands each of them takes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

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
from actionqueue.run_orders import TimedRun
from actionqueue.scheduler.attempts import retry_or_fail
from actionqueue.scheduler.core import Plan
from actionqueue.scheduler.ending import Ending
from actionqueue.scheduler.recurrence import Recurrence, is_newest

SCHEDULED = RunState.SCHEDULED
READY = RunState.READY
RUNNING = RunState.RUNNING
RETRY_WAIT = RunState.RETRY_WAIT
FAILED = RunState.FAILED
CANCELED = RunState.CANCELED
LATER_SECONDS = 60
OWNER_SHOWN = 1000
"""The characters of an owner's name that an attempt's error has at most."""
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


class Batch:
    """One batch of a tick under construction."""

    def __init__(self) -> None:
        self.commands: list[MutationCommand] = []
        self.report = TickReport()
        self.states: dict[RunId, RunState] = {}
        self.created: dict[RunId, TaskId] = {}
        self.ended: list[RunInstance] = []
        """Runs that fail or are canceled, in the states that they are in before the batch."""
        self.left: list[RunId] = []
        """Runs whose end takes batches of its own."""

    def end(self, run: RunInstance, state: RunState) -> None:
        """Note that a run fails or is canceled."""
        self.states[run.id] = state
        self.ended.append(run)
        (self.report.failed if state is FAILED else self.report.canceled).append(run.id)


class Kind(NamedTuple):
    """A kind of what time brings about."""

    find: Callable[[int, int], list[TimedRun]]
    """Finds the first runs whose time has come by a time, up to a number of them."""
    add: Callable[[Batch, RunId, int], None]
    """Adds to a batch what becomes of one of them then."""


class Due(Ending):
    """Plans batches of what is due."""

    def _find(self, kind: Kind, now: int, left_out: Collection[RunId]) -> list[RunId]:
        """Return the runs that the next batch of a kind is about."""
        found = kind.find(now, AT_ONCE + len(left_out))
        return [run_id for _, run_id in found if run_id not in left_out][:AT_ONCE]

    def _plan_runs(
        self, now: int, kind: Kind, left_out: Collection[RunId], only: RunId | None
    ) -> Plan[Batch]:
        batch = Batch()
        for run_id in self._find(kind, now, left_out):
            if only is None or run_id == only:
                kind.add(batch, run_id, now)
        if batch.ended and self._cancels_dependents:
            self._cancel_dependents(batch, now)
        return batch.commands, batch

    # --- Leases and attempts ----------------------------------------------------------------------

    def _expire(self, batch: Batch, run_id: RunId, now: int) -> None:
        run = self._projection.run(run_id)
        lease = self._projection.active_lease(run_id)
        if run is None or lease is None:
            return
        batch.report.expired.append(run_id)
        if run.current_attempt_id is not None:
            outcome = AttemptOutcome.timeout(f"the lease of {lease[0][:OWNER_SHOWN]} expired")
            batch.commands.append(
                AttemptFinishCommand(None, run_id, run.current_attempt_id, outcome, now)
            )
        batch.commands.append(LeaseExpireCommand(None, run_id, *lease, now))
        if run.state is RUNNING:
            self._go_on(batch, run, now)
        else:  # a leased run becomes ready with the end of its lease
            batch.states[run_id] = READY

    def _time_out(self, batch: Batch, run_id: RunId, now: int) -> None:
        run = self._projection.run(run_id)
        if run is None or run.current_attempt_id is None:
            return
        batch.report.overdue.append(run_id)
        outcome = AttemptOutcome.timeout("the attempt took longer than its task allows")
        batch.commands.append(
            AttemptFinishCommand(None, run_id, run.current_attempt_id, outcome, now)
        )
        lease = self._projection.active_lease(run_id)
        if lease is not None:
            batch.commands.append(LeaseReleaseCommand(None, run_id, *lease, now))
        self._go_on(batch, run, now)

    def _go_on(self, batch: Batch, run: RunInstance, now: int) -> None:
        max_attempts = self._task(run.task_id)[0].constraints.max_attempts
        commands, state = retry_or_fail(self._projection, run, max_attempts, self._retry, now)
        batch.commands += commands
        if state is FAILED:
            batch.end(run, FAILED)
        else:
            batch.states[run.id] = RETRY_WAIT
            batch.report.retried.append(run.id)

    # --- Runs whose time has come -----------------------------------------------------------------

    def _begin(self, batch: Batch, run_id: RunId, now: int) -> None:
        run = self._projection.run(run_id)
        if run is None:
            return
        spec, runs_created, last, is_canceled = self._task(run.task_id)
        if is_canceled:
            self._end(batch, run, CANCELED, now)
        elif run.state is not RETRY_WAIT:
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
                return
            batch.commands += commands
            batch.states.update(dict.fromkeys(ready, READY))
            batch.created.update(dict.fromkeys(created, run.task_id))
            batch.report.ready.extend(ready)
            if not ready:
                batch.report.skipped.append(run_id)
            batch.report.created.extend(created)
        elif self._has_attempt_left(run):
            batch.commands.append(RunStateTransitionCommand(None, run_id, RETRY_WAIT, READY, now))
            batch.states[run_id] = READY
            batch.report.ready.append(run_id)
        else:  # its end was left to later batches, or a raw command has taken it here
            self._end(batch, run, FAILED, now)

    def _end(self, batch: Batch, run: RunInstance, state: RunState, now: int) -> None:
        batch.commands.append(RunStateTransitionCommand(None, run.id, run.state, state, now))
        batch.end(run, state)

    def _postpone(self, batch: Batch, run: RunInstance, now: int) -> None:
        """Look at a run a minute later, whose task's time zone this machine does not know.

        Without the zone there is no time for the next run, and the recurrence would end.
        """
        later = min(now + LATER_SECONDS, CALENDAR_SECONDS_MAX)
        batch.commands.append(
            RunRescheduleCommand(None, run.id, later, run.effective_priority, now)
        )
        batch.report.postponed.append(run.id)

    # --- What waits in vain -----------------------------------------------------------------------

    def _cancel_dependents(self, batch: Batch, now: int) -> None:
        """Add what the ends of a batch cancel, or leave them to batches of their own."""
        task_ids = [run.task_id for run in batch.ended]
        cascade = self._cascade(task_ids, batch.states, now)
        if cascade.is_too_large:
            self._end_in_parts(batch, now)
            return
        batch.commands += cascade.commands
        batch.report.canceled.extend(cascade.run_ids)
        for run_id, task_id in batch.created.items():
            if cascade.has_canceled(task_id):
                state = batch.states.get(run_id, SCHEDULED)
                batch.commands.append(RunStateTransitionCommand(None, run_id, state, CANCELED, now))
                batch.report.canceled.append(run_id)

    def _end_in_parts(self, batch: Batch, now: int) -> None:
        """Have the batch end its runs later, or, where they wait for it, only begin with that."""
        running = {run.id: run for run in batch.ended if run.state is RUNNING}
        if running:
            commands, batch.commands = batch.commands, []
            for command in commands:
                if (
                    type(command) is RunStateTransitionCommand
                    and command.run_id in running
                    and command.new_state is FAILED
                ):
                    batch.commands += self._end_later(running[command.run_id], now)
                else:
                    batch.commands.append(command)
            batch.report.failed.clear()
            batch.left.extend(running)
            return
        ends = [(run, batch.states[run.id]) for run in batch.ended]
        batch.report = TickReport()
        batch.commands, canceled, is_all = self._plan_ends(ends, now)
        batch.report.canceled.extend(canceled)
        if is_all:
            for run, state in ends:
                (batch.report.failed if state is FAILED else batch.report.canceled).append(run.id)
