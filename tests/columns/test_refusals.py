"""Each reason for which a row is refused: the code in the report, and the very error that the
single command gets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import actionqueue as aq
from _wal_native.status import status_name
from actionqueue.columns import _error_of, _Refused
from actionqueue.limits import PAYLOAD_SIZE_MAX
from tests.support.columns import add_run, small_queue, submit_columns
from tests.support.queues import state_of

ATTEMPT = aq.AttemptId(bytes(15) + b"\1")
OTHER = aq.AttemptId(bytes(16))  # ends with zero bytes
RUN = aq.RunId(b"r" * 8 + bytes(8))


def transition(previous: str, new: str) -> aq.RunStateTransitionCommand:
    return aq.RunStateTransitionCommand(None, RUN, previous, new, 5)


def finish(
    attempt_id: aq.AttemptId = ATTEMPT, output: bytes | None = None
) -> aq.AttemptFinishCommand:
    return aq.AttemptFinishCommand(None, RUN, attempt_id, aq.AttemptOutcome.success(output), 5)


def start(attempt_id: aq.AttemptId = ATTEMPT) -> aq.AttemptStartCommand:
    return aq.AttemptStartCommand(None, RUN, attempt_id, 5)


def heartbeat(owner: str = "wörker", expiry: int = 20) -> aq.LeaseHeartbeatCommand:
    return aq.LeaseHeartbeatCommand(None, RUN, owner, expiry, 5)


LEASE = aq.LeaseAcquireCommand(None, RUN, "wörker", 10, 1)
LARGE = b"x" * (PAYLOAD_SIZE_MAX - 30)

REFUSALS: dict[str, tuple[str | None, list[Any], Any, str, type[aq.ValidationError]]] = {
    # the run's state (None: there is no run), what happened before, the row, the code's name, the
    # error
    "no run to change": (None, [], transition("ready", "leased"), "unknown_run", aq.UnknownRun),
    "another state": (
        "ready",
        [],
        transition("leased", "running"),
        "previous_state",
        aq.PreviousStateMismatch,
    ),
    "no such transition": (
        "ready",
        [],
        transition("ready", "running"),
        "transition",
        aq.InvalidTransition,
    ),
    "a terminal state": (
        "completed",
        [],
        transition("completed", "ready"),
        "transition",
        aq.InvalidTransition,
    ),
    "an active attempt": (
        "running",
        [start()],
        transition("running", "completed"),
        "attempt_active",
        aq.ActiveAttemptBlocksTransition,
    ),
    "no run to start on": (None, [], start(), "unknown_run", aq.AttemptStartUnknownRun),
    "a start outside running": (
        "leased",
        [],
        start(),
        "attempt_state",
        aq.AttemptStartRequiresRunning,
    ),
    "a second start": (
        "running",
        [start()],
        start(OTHER),
        "attempt_already_active",
        aq.AttemptStartAlreadyActive,
    ),
    "a used attempt": (
        "running",
        [start(), finish()],
        start(),
        "attempt_reused",
        aq.AttemptIdReused,
    ),
    "no run to finish on": (None, [], finish(), "unknown_run", aq.AttemptFinishUnknownRun),
    "a finish outside running": (
        "leased",
        [],
        finish(),
        "attempt_state",
        aq.AttemptFinishRequiresRunning,
    ),
    "nothing to finish": (
        "running",
        [],
        finish(),
        "attempt_missing",
        aq.AttemptFinishMissingActive,
    ),
    "another attempt": (
        "running",
        [start()],
        finish(OTHER),
        "attempt_mismatch",
        aq.AttemptFinishAttemptMismatch,
    ),
    "too large an output": (
        "running",
        [start()],
        finish(output=LARGE),
        "too_large",
        aq.RecordTooLarge,
    ),
    "too large for another attempt": (
        "running",
        [start()],
        finish(OTHER, LARGE),
        "attempt_mismatch",
        aq.AttemptFinishAttemptMismatch,
    ),
    "no run to keep": (None, [], heartbeat(), "unknown_run", aq.LeaseUnknownRun),
    "a heartbeat in ready": ("ready", [LEASE], heartbeat(), "lease_state", aq.LeaseInvalidRunState),
    "no lease": ("leased", [], heartbeat(), "lease_missing", aq.LeaseMissingActive),
    "another owner": ("leased", [LEASE], heartbeat("worker"), "lease_owner", aq.LeaseOwnerMismatch),
    "no owner": ("leased", [LEASE], heartbeat(""), "lease_owner", aq.LeaseOwnerMismatch),
    "an earlier expiry": (
        "leased",
        [LEASE],
        heartbeat(expiry=9),
        "lease_regression",
        aq.LeaseHeartbeatExpiryRegression,
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_row(name: str) -> None:
    state, before, command, code, error_type = REFUSALS[name]
    with small_queue() as queue:
        bystander = add_run(queue)
        if state is not None:
            add_run(queue, state, run_id=RUN)
        queue.submit_many(before)
        with pytest.raises(error_type) as expected:
            queue.submit(command)
        state_before, appended = state_of(queue), queue.stats()["appended_records"]

        outcome = submit_columns(queue, [command], on_refusal="report")
        assert (
            outcome.count,
            outcome.refused_count,
            outcome.first_sequence,
            outcome.last_sequence,
        ) == (0, 1, 0, 0)
        assert outcome.refused is not None
        assert [aq.columns.refusal_name(refused) for refused in outcome.refused] == [code]
        assert outcome.sequences.tolist() == [0]
        error = outcome.error(0)
        assert error == expected.value
        assert type(error) is error_type
        assert error.batch_index == 0
        assert str(error) == f"command {error.batch_index} of the batch (from 0): {expected.value}"

        with pytest.raises(error_type) as raised:
            submit_columns(queue, [command])
        assert raised.value == expected.value
        assert raised.value.batch_index == 0
        assert state_of(queue) == state_before
        assert queue.stats()["appended_records"] == appended
        queue.submit(aq.RunStateTransitionCommand(None, bystander, "scheduled", "ready", 1))


def test_every_refusal_of_the_four_kinds_is_tested() -> None:
    """attempt_count needs 2**32 attempts and sequence 2**64 events: the tests of the core have
    them.
    """
    assert {code for _, _, _, code, _ in REFUSALS.values()} == {
        "unknown_run",
        "previous_state",
        "transition",
        "attempt_active",
        "attempt_state",
        "attempt_already_active",
        "attempt_reused",
        "attempt_missing",
        "attempt_mismatch",
        "lease_state",
        "lease_missing",
        "lease_owner",
        "lease_regression",
        "too_large",
    }


def test_the_error_is_of_the_moment_of_the_row_and_not_of_now() -> None:
    with small_queue() as queue:
        run_id = add_run(queue, "ready")
        rows = [
            ("leased", "running"),
            ("ready", "leased"),
            ("ready", "leased"),
            ("leased", "running"),
        ]
        outcome = submit_columns(
            queue,
            [aq.RunStateTransitionCommand(None, run_id, *row, 1) for row in rows],
            on_refusal="report",
        )
        queue.submit(aq.RunStateTransitionCommand(None, run_id, "running", "canceled", 1))
        assert [outcome.error(row) for row in range(4)] == [
            aq.PreviousStateMismatch(
                run_id=run_id, expected=aq.RunState.LEASED, actual=aq.RunState.READY
            ),
            None,
            aq.PreviousStateMismatch(
                run_id=run_id, expected=aq.RunState.READY, actual=aq.RunState.LEASED
            ),
            None,
        ]
        for row in (-1, 4):
            with pytest.raises(IndexError):
                outcome.error(row)


def test_the_error_does_not_depend_on_what_becomes_of_the_arrays() -> None:
    with small_queue() as queue:
        run_id = add_run(queue)
        run_ids = aq.columns.id_array([run_id])
        new_states = aq.columns.state_codes(["leased"])
        outcome = queue.submit_transitions(run_ids, "scheduled", new_states, 1, on_refusal="report")
        run_ids[:] = aq.columns.new_ids(aq.RunId, 1)
        new_states[:] = 200
        assert outcome.error(0) == aq.InvalidTransition(
            run_id=run_id, from_=aq.RunState.SCHEDULED, to=aq.RunState.LEASED
        )


@pytest.mark.parametrize(
    "refused_rows", [[0], [499], [3, 4, 250, 499], list(range(0, 500, 2)), list(range(500))]
)
def test_refused_rows_among_many(refused_rows: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actionqueue.columns.ROWS_AT_ONCE", 64)
    with small_queue() as queue:
        for _ in range(500):
            add_run(queue)
        run_ids = queue.projection.run_id_array()
        previous = aq.columns.state_codes(["scheduled"] * 500)
        previous[refused_rows] = 3
        with pytest.raises(aq.PreviousStateMismatch) as refusal:
            queue.submit_transitions(run_ids, previous, 1, 1)
        assert refusal.value.batch_index == refused_rows[0]
        assert queue.projection.counts_by_state()[aq.RunState.SCHEDULED] == 500
        outcome = queue.submit_transitions(run_ids, previous, 1, 1, on_refusal="report")
        assert outcome.refused is not None
        assert outcome.refused.nonzero()[0].tolist() == refused_rows
        assert outcome.count == 500 - len(refused_rows)
        assert queue.projection.counts_by_state()[aq.RunState.READY] == outcome.count
        assert [row for row in range(500) if outcome.error(row)] == refused_rows
        assert f"count={outcome.count}, refused_count={len(refused_rows)}" in repr(outcome)


def test_what_to_do_with_refusals_is_one_of_two() -> None:
    with small_queue() as queue:
        run_ids = aq.columns.id_array([add_run(queue)])
        before = queue.sequence
        with pytest.raises(aq.InvalidFieldError, match="on_refusal"):
            queue.submit_transitions(run_ids, 0, 1, 1, on_refusal="ignore")  # type: ignore[arg-type]
        assert queue.sequence == before


CALLS: dict[str, Callable[[aq.ActionQueue, Any], Any]] = {
    "submit_transitions": lambda queue, ids: queue.submit_transitions(ids, 0, 1, 1),
    "submit_reschedules": lambda queue, ids: queue.submit_reschedules(ids, 1, 1, 1),
    "submit_lease_heartbeats": lambda queue, ids: queue.submit_lease_heartbeats(ids, "", 1, 1),
    "submit_attempt_starts": lambda queue, ids: queue.submit_attempt_starts(ids, ids, 1),
    "submit_attempt_finishes": lambda queue, ids: queue.submit_attempt_finishes(ids, ids, 0, 1),
}


@pytest.mark.parametrize("call", CALLS)
def test_no_rows_are_no_event(call: str) -> None:
    with small_queue() as queue:
        add_run(queue)
        before = queue.stats()["appended_records"]
        outcome = CALLS[call](queue, aq.columns.id_array([]))
        assert (outcome.count, outcome.first_sequence, outcome.last_sequence, outcome.refused) == (
            0,
            0,
            0,
            None,
        )
        assert outcome.sequences.tolist() == []
        assert queue.stats()["appended_records"] == before


@pytest.mark.parametrize("call", CALLS)
def test_a_closed_queue_takes_no_rows(call: str) -> None:
    with small_queue() as queue:
        run_ids = aq.columns.id_array([add_run(queue)])
        queue.close()
        with pytest.raises(aq.ClosedError):
            CALLS[call](queue, run_ids)


@pytest.mark.parametrize(
    ("owner", "code", "error"),
    [
        ("submit_transitions", "refused_sequence", aq.SequenceOverflow()),
        ("submit_attempt_finishes", "refused_sequence", aq.SequenceOverflow()),
        ("submit_attempt_starts", "refused_attempt_count", aq.AttemptCountOverflow(run_id=RUN)),
    ],
)
def test_the_error_of_a_refusal_that_no_test_reaches(
    owner: str, code: str, error: aq.ValidationError
) -> None:
    status = next(number for number in range(256) if status_name(number) == code)
    row = _Refused(
        status,
        RUN,
        aq.RunState.RUNNING,
        aq.RunState.RUNNING,
        aq.RunState.READY,
        ATTEMPT,
        None,
        0,
        None,
        0,
    )
    assert _error_of(owner, row) == error
