"""The tick: what time alone brings about, batch by batch."""

from __future__ import annotations

from typing import TypeAlias

from actionqueue.errors import ActionQueueError, InvalidFieldError, ValidationError
from actionqueue.model import RunId
from actionqueue.scheduler.due import Due, Kind, TickReport

__all__ = ["TickReport"]

Refusal: TypeAlias = ActionQueueError | LookupError
REFUSALS = (InvalidFieldError, ValidationError, LookupError)
"""What concerns one batch, and leaves the queue as it was."""


class _Tick:
    """What a tick has done so far."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.report = TickReport()
        self.last = 0
        """The last sequence that it appended."""
        self.refused: dict[RunId, Refusal] = {}
        """Runs for which the queue takes no commands, and why."""


class Ticking(Due):
    """Does what is due."""

    def tick(self) -> TickReport:
        """Do what time has brought about, and return what that was.

        - A lease that has expired is dropped. Its attempt ends as a time-out, and the run waits for
          another one or fails, as after any failure.
        - An attempt that has taken longer than its task's ``timeout_secs`` ends likewise.
        - A run becomes ready when its time, or that of its retry, has come. The same batch creates
          the next run of a recurring task.

        There is nothing to do before :meth:`next_wakeup`, and a tick costs little then. It is a
        batch for each 500 runs. What a failure cancels is in the batch of the failure, or, where
        that is more than 250,000 commands, in several; a run fails with the last of them, and every
        later tick goes on with what an end of the process has left.

        Raises what the queue says of a run whose step it refuses, after everything else is done.
        """
        tick = _Tick(self._now())
        try:
            self._do_all(tick)
        finally:
            if tick.last:
                self._settle(tick.last)
        if self._shared.is_watched:
            self._turn.run(self._shared.note_ended_elsewhere)
        if self._shared.ended or self._shared.told:
            self._settle(self._projection.latest_sequence)
        if tick.refused:
            raise next(iter(tick.refused.values()))
        return tick.report

    def _do_all(self, tick: _Tick) -> None:
        for kind in (
            Kind(self._projection.expiring_leases, self._expire),
            Kind(self._projection.overdue_attempts, self._time_out),
            Kind(self._projection.due, self._begin),
        ):
            while self._do_batch(tick, kind):
                pass

    def _do_batch(self, tick: _Tick, kind: Kind) -> bool:
        """Do a batch of a kind, and return whether there may be more to do.

        Where it is refused, each of its runs has a batch of its own. Those that are refused alone
        are left out from then on, so that they stop none of the others.
        """
        try:
            return self._do_runs(tick, kind, None)
        except REFUSALS:
            run_ids = self._find(kind, tick.now, tick.refused)
        for run_id in run_ids:
            try:
                self._do_runs(tick, kind, run_id)
            except REFUSALS as error:
                tick.refused[run_id] = error
        return bool(run_ids)

    def _do_runs(self, tick: _Tick, kind: Kind, only: RunId | None) -> bool:
        batch, sequence = self._turn.run(
            self._attempt, self._plan_runs, tick.now, (kind, tick.refused, only)
        )
        if sequence:
            tick.last = sequence
            tick.report.add(batch.report)
        if batch.left:
            canceled, last = self._end_now(batch.left, tick.now)
            tick.last = last or tick.last
            tick.report.canceled.extend(canceled)
            tick.report.failed.extend(batch.left)
        return bool(sequence)

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
