"""Submitting columns: many commands of one kind as arrays, in one call of an open queue."""

from __future__ import annotations

from typing import Any, Literal

from _wal_native.columns import (
    Rows,
    attempt_finishes,
    attempt_starts,
    lease_heartbeats,
    reschedules,
    transitions,
)
from actionqueue.columns import ColumnOutcome, append_rows, stops_at_refusal
from actionqueue.lane import IMMEDIATE, QueueLane
from actionqueue.sync_policy import DurabilityPolicy


class ColumnLane(QueueLane):
    """What takes columns, too: a batch whose events come from arrays."""

    def submit_transitions(
        self,
        run_ids: Any,
        previous_states: Any,
        new_states: Any,
        timestamps: Any,
        *,
        on_refusal: Literal["raise", "report"] = "raise",
        durability: DurabilityPolicy | str | None = None,
    ) -> ColumnOutcome:
        """Submit a RunStateTransitionCommand for each row of arrays, in one append and one sync.

        The queue validates each row against the state that the rows before it leave, by the rules
        of single commands. The accepted rows are one batch: a crash leaves all of them or none. No
        row becomes a Python object, and no other thread sees a part of the batch.

        Args:
            run_ids: V16, or uint8 of shape (n, 16); at most ``actionqueue.limits.BATCH_COUNT_MAX``
                rows.
            previous_states: uint8 codes in the order of RunState; or one state, its name or its
                code, for all rows.
            new_states: The same.
            timestamps: uint64, Unix seconds; or one number for all rows.
            on_refusal: "raise": all rows or none. "report": a refused row changes nothing, and the
                outcome reports it; the others go on.
            durability: IMMEDIATE or DEFERRED; None means the queue's own.

        Raises:
            InvalidFieldError: An array has the wrong type or shape, or a value that no command
                could have, or changes meanwhile. The queue is as it was.
            ValidationError: The rules refuse a row (``batch_index`` says which), or the rows take
                more than ``BATCH_SIZE_MAX`` bytes in the log. The queue is as it was.
            AppendError, PartialDurabilityError, PoisonedError, ClosedError, ForkedError: As in
                :meth:`submit`.
        """
        return self._submit_rows(
            transitions(run_ids, previous_states, new_states, timestamps), on_refusal, durability
        )

    def submit_reschedules(
        self,
        run_ids: Any,
        scheduled_times: Any,
        effective_priorities: Any,
        timestamps: Any,
        *,
        on_refusal: Literal["raise", "report"] = "raise",
        durability: DurabilityPolicy | str | None = None,
    ) -> ColumnOutcome:
        """Submit a RunRescheduleCommand for each row. See :meth:`submit_transitions`.

        Args:
            run_ids: As there.
            scheduled_times: uint64, Unix seconds; or one number for all rows.
            effective_priorities: int32; or one number for all rows.
            timestamps: As there.
            on_refusal: As there.
            durability: As there.
        """
        return self._submit_rows(
            reschedules(run_ids, scheduled_times, effective_priorities, timestamps),
            on_refusal,
            durability,
        )

    def submit_lease_heartbeats(
        self,
        run_ids: Any,
        owners: Any,
        expiries: Any,
        timestamps: Any,
        *,
        on_refusal: Literal["raise", "report"] = "raise",
        durability: DurabilityPolicy | str | None = None,
    ) -> ColumnOutcome:
        """Submit a LeaseHeartbeatCommand for each row. See :meth:`submit_transitions`.

        Args:
            run_ids: As there.
            owners: One str (or its UTF-8 bytes) for all rows; or a pair of arrays as
                :func:`actionqueue.offsets_and_data` makes them.
            expiries: uint64, Unix seconds; or one number for all rows.
            timestamps: The same.
            on_refusal: As there.
            durability: As there.
        """
        return self._submit_rows(
            lease_heartbeats(run_ids, owners, expiries, timestamps), on_refusal, durability
        )

    def submit_attempt_starts(
        self,
        run_ids: Any,
        attempt_ids: Any,
        timestamps: Any,
        *,
        on_refusal: Literal["raise", "report"] = "raise",
        durability: DurabilityPolicy | str | None = None,
    ) -> ColumnOutcome:
        """Submit an AttemptStartCommand for each row. See :meth:`submit_transitions`.

        ``attempt_ids`` is an array like ``run_ids``.
        """
        return self._submit_rows(
            attempt_starts(run_ids, attempt_ids, timestamps), on_refusal, durability
        )

    def submit_attempt_finishes(
        self,
        run_ids: Any,
        attempt_ids: Any,
        results: Any,
        timestamps: Any,
        *,
        outputs: Any = None,
        errors: Any = None,
        on_refusal: Literal["raise", "report"] = "raise",
        durability: DurabilityPolicy | str | None = None,
    ) -> ColumnOutcome:
        """Submit an AttemptFinishCommand for each row. See :meth:`submit_transitions`.

        Args:
            run_ids: As there.
            attempt_ids: An array like run_ids.
            results: uint8 codes in the order of AttemptResultKind; or one kind, its name or its
                code, for all rows.
            timestamps: As there.
            outputs: The outputs of attempts that succeed or suspend: one bytes for all of these
                rows; or a pair of arrays as :func:`actionqueue.offsets_and_data` makes them, empty
                for the rows without output. None: no row has an output.
            errors: The same for attempts that fail or time out, as str or UTF-8 bytes. Such rows
                need an error, though it may be empty.
            on_refusal: As there.
            durability: As there.
        """
        return self._submit_rows(
            attempt_finishes(run_ids, attempt_ids, results, timestamps, outputs, errors),
            on_refusal,
            durability,
        )

    def _submit_rows(
        self, rows: Rows, on_refusal: str, durability: DurabilityPolicy | str | None
    ) -> ColumnOutcome:
        policy = self._durability if durability is None else DurabilityPolicy(durability)
        stops = stops_at_refusal(on_refusal)
        self._ensure_not_in_query()
        outcome = self._in_lane(self._append_rows, rows, stops)
        if outcome.count and policy is IMMEDIATE:
            self._wait_durable(outcome.last_sequence)
        return outcome

    def _append_rows(self, rows: Rows, stops: bool) -> ColumnOutcome:  # noqa: FBT001
        return append_rows(self._log, rows, stops=stops)
