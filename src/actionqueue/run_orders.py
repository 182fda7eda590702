"""What to run next: ready runs that nothing blocks, due runs, leases and attempts at their end.

The native table keeps these orders from the first question on. A question then costs its answer,
whether the queue has ten thousand runs or ten million.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from _wal_native.table import ORDER_DEADLINES, ORDER_DUE, ORDER_LEASES, StateTable
from actionqueue.arrays import state_of
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import ROW_COUNT_MAX, U64_MAX
from actionqueue.model import RunId, RunState
from actionqueue.policy_fields import number_up_to, texts, whole_number
from actionqueue.wait_reasons import WaitReason, reason_of, reasons_of_state

__all__ = ["ReadyRun", "RunOrders", "TimedRun"]

ReadyRun: TypeAlias = tuple[int, int, RunId]
"""A run's effective priority, since when it waits in Unix seconds, and its identifier."""
TimedRun: TypeAlias = tuple[int, RunId]
"""A time, in Unix seconds, and the run that it is of."""


class RunOrders(StateTable):
    """The queries of a projection that answer in the order of time.

    A ``limit`` is from 1 to ``actionqueue.limits.ROW_COUNT_MAX``. ``after`` is the last pair of an
    answer, behind which the next one goes on: of a run that the queue still knows, whatever became
    of it since. They raise InvalidFieldError for anything else.
    """

    def due(self, now: int, limit: int, after: TimedRun | None = None) -> list[TimedRun]:
        """Return the runs that wait for a time up to ``now``, each with its ``scheduled_at``.

        They are scheduled, or wait for a retry. The earliest comes first; of several for the same
        second, the one that was created first.
        """
        return self._in_order("due", ORDER_DUE, "now", now, limit, after)

    def next_due(self) -> int | None:
        """Return the earliest time that :meth:`due` has a run for; None without such a run."""
        return self._first_time("next_due", ORDER_DUE)

    def expiring_leases(
        self, until: int, limit: int, after: TimedRun | None = None
    ) -> list[TimedRun]:
        """Return the runs whose lease expires up to ``until``, each with the expiry.

        The earliest comes first. A lease stays beyond its expiry until a command drops it. Left out
        are leases that no command may drop now: those of runs in suspended or retry_wait, which
        have theirs again once they are ready.
        """
        return self._in_order("expiring_leases", ORDER_LEASES, "until", until, limit, after)

    def next_lease_expiry(self) -> int | None:
        """Return the earliest time that :meth:`expiring_leases` has a run for; None without one."""
        return self._first_time("next_lease_expiry", ORDER_LEASES)

    def overdue_attempts(
        self, now: int, limit: int, after: TimedRun | None = None
    ) -> list[TimedRun]:
        """Return the runs whose active attempt has its deadline up to ``now``, each with that.

        The deadline is the attempt's start and its task's ``timeout_secs`` together; attempts of
        tasks without that limit have no deadline. The earliest comes first.
        """
        return self._in_order("overdue_attempts", ORDER_DEADLINES, "now", now, limit, after)

    def next_deadline(self) -> int | None:
        """Return the earliest deadline of an active attempt; None without one."""
        return self._first_time("next_deadline", ORDER_DEADLINES)

    def ready(
        self,
        limit: int,
        capabilities: Iterable[str] | None = None,
        after: ReadyRun | None = None,
    ) -> list[ReadyRun]:
        """Return the ready runs that may be started now, in the order to start them in.

        The highest ``effective_priority`` comes first; of these the run that waits longest, by its
        ``last_state_change_at``; of these the one that was created first. Left out is what
        :meth:`why_waiting` has a reason for. Of several runs with the same concurrency key, and the
        same required capabilities, only the first one comes: the others would wait for it. That
        the engine is paused counts for nothing here.

        A call costs its answer, and once for each run that has become blocked since.

        Args:
            limit: At most this many runs.
            capabilities: What the caller can do. Only runs come whose task requires nothing else.
                None is for all runs, whatever they require.
            after: Begin behind this one, from an earlier answer.
        """
        able = None if capabilities is None else texts("ready", "capabilities", capabilities)
        return self.read_ready(_limit("ready", limit), "ready", able, _ready_run("ready", after))

    def why_waiting(self, run_id: RunId) -> list[WaitReason] | None:
        """Return everything that keeps a run from being started; None for an unknown run.

        The list is empty for a ready run that :meth:`ready` may return, and for runs that wait for
        nothing: those that are leased, running or at their end.
        """
        run = self.run(run_id)
        if run is None:
            return None
        reasons = reasons_of_state(run)
        if reasons is None:
            return []
        if self.is_engine_paused():
            reasons.append(WaitReason("paused"))
        found = self.read_blockers(run_id) or []
        return reasons + [reason_of(*blocker) for blocker in dict.fromkeys(found)]

    def run_ids(
        self,
        state: RunState | str | int | None = None,
        limit: int | None = None,
        after: RunId | None = None,
    ) -> list[RunId]:
        """Return the identifiers of the runs in a state, or of all runs, oldest first.

        For a state that is not terminal a call costs its answer, from the second on: the first one
        makes the orders. For the others, and for all runs, it looks at every run.

        Args:
            state: A member of RunState, its name or its code.
            limit: At most this many; None for all.
            after: Begin behind this run, which may be in another state.
        """
        state = None if state is None else state_of("run_ids", state)
        count = ROW_COUNT_MAX if limit is None else _limit("run_ids", limit)
        if after is not None and not isinstance(after, RunId):
            raise InvalidFieldTypeError("run_ids", "after", after, "must be a RunId or None")
        return self.read_run_ids(state, count, after)

    def _in_order(
        self, owner: str, order: int, field: str, until: int, limit: int, after: Any
    ) -> list[TimedRun]:
        time = _time(owner, field, until)
        return self.read_order(order, time, _limit(owner, limit), owner, _pair(owner, after))

    def _first_time(self, owner: str, order: int) -> int | None:
        first = self.read_order(order, U64_MAX, 1, owner)
        return first[0][0] if first else None


def _time(owner: str, field: str, value: Any) -> int:
    reason = f"must be a time in Unix seconds, from 0 to {U64_MAX}"
    return number_up_to(owner, field, value, U64_MAX, reason)


def _limit(owner: str, value: Any) -> int:
    reason = f"must be a whole number from 1 to {ROW_COUNT_MAX}"
    number = number_up_to(owner, "limit", value, ROW_COUNT_MAX, reason)
    if number == 0:
        raise InvalidFieldError(owner, "limit", value, reason)
    return number


def _priority(owner: str, value: Any) -> int:
    reason = "must have a priority from -2**31 to 2**31 - 1"
    number = whole_number(owner, "after", value, reason)
    if not -(2**31) <= number < 2**31:
        raise InvalidFieldError(owner, "after", value, reason)
    return number


def _ready_run(owner: str, value: Any) -> ReadyRun | None:
    if value is None:
        return None
    match value:
        case (priority, since, RunId() as run_id) if isinstance(value, tuple):
            return _priority(owner, priority), _time(owner, "after", since), run_id
        case _:
            reason = "must be a priority, a time and a RunId, from an answer of this query, or None"
            raise InvalidFieldTypeError(owner, "after", value, reason)


def _pair(owner: str, value: Any) -> TimedRun | None:
    if value is None:
        return None
    reason = "must be a pair of a time and a RunId, from an answer of this query, or None"
    match value:
        case (time, RunId() as run_id) if isinstance(value, tuple):
            return _time(owner, "after", time), run_id
        case _:
            raise InvalidFieldTypeError(owner, "after", value, reason)
