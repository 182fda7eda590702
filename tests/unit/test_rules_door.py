"""The rules as Python functions, and statuses as exceptions."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from _wal_native import rules, status
from actionqueue import EventKind
from actionqueue import RunState as S
from actionqueue.errors import ActionQueueError, PoisonedError, RefusedEventError


def test_the_states_that_allow_an_event() -> None:
    legal = {EventKind.ATTEMPT_STARTED: {S.RUNNING}, EventKind.LEASE_ACQUIRED: {S.READY, S.LEASED}}
    for kind, states in legal.items():
        assert {state for state in S if rules.state_allows(kind, state)} == states
    assert {rules.state_allows(EventKind.ATTEMPT_STARTED, state) for state in S} == {True, False}
    assert not any(rules.state_allows(kind, S.RUNNING) for kind in (0, len(EventKind) + 1, 255))


def test_the_states_at_the_end() -> None:
    assert {state for state in S if rules.state_is_terminal(state)} == {
        S.COMPLETED,
        S.FAILED,
        S.CANCELED,
    }


def test_members_and_codes_agree() -> None:
    valid = {
        (before.value, after.value)
        for before, after in product(S, S)
        if rules.transition_is_valid(before, after)
    }
    assert len(valid) == 17
    assert {after for before, after in valid if before == "retry_wait"} == {
        "ready",
        "failed",
        "canceled",
    }
    assert [state.is_terminal for state in S] == [rules.state_is_terminal(state) for state in S]


def test_rules_on_attempts_numbers_and_times() -> None:
    assert rules.attempt_blocks_change(S.RUNNING, S.COMPLETED, True) is True
    assert rules.attempt_blocks_change(S.RUNNING, S.CANCELED, True) is False
    assert rules.attempt_blocks_change(S.RUNNING, S.COMPLETED, False) is False
    assert [rules.attempt_count_is_full(count) for count in (0, 2**32 - 1)] == [False, True]
    assert [rules.lease_expiry_regresses(5, proposed) for proposed in (4, 5, 6)] == [
        True,
        False,
        False,
    ]
    assert [rules.resume_precedes_pause(5, resumed) for resumed in (4, 5, 6)] == [
        True,
        False,
        False,
    ]
    assert rules.run_is_fresh(S.SCHEDULED, False, 0, 7, 7) is True
    assert rules.run_is_fresh(S.SCHEDULED, False, 0, 7, 8) is False
    assert rules.run_is_fresh(S.READY, False, 0, 7, 7) is False


@pytest.mark.parametrize("state", ["running", 3, None, "nonsense"])
def test_a_state_must_be_a_member(state: Any) -> None:
    with pytest.raises(TypeError, match="RunState"):
        rules.state_allows(EventKind.ATTEMPT_STARTED, state)
    with pytest.raises(TypeError, match="RunState"):
        rules.transition_is_valid(S.RUNNING, state)


@pytest.mark.parametrize("number", [-1, 2**64])
def test_numbers_out_of_range(number: int) -> None:
    with pytest.raises(OverflowError):
        rules.lease_expiry_regresses(0, number)


def test_every_failure_has_an_exception() -> None:
    for code, exception in status.EXCEPTIONS.items():
        assert status.status_name(code) != "unknown"
        assert issubclass(exception, (ActionQueueError, ValueError, MemoryError))
        if status.status_name(code).startswith("refused_"):
            assert exception is RefusedEventError
    assert status.EXCEPTIONS[21] is PoisonedError
    assert [status.status_name(code) for code in (0, 1, 21, 66, 9999, -1)] == [
        "ok",
        "end",
        "poisoned",
        "refused_previous_state",
        "unknown",
        "unknown",
    ]


def test_the_table_of_exceptions_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        status.EXCEPTIONS[21] = ValueError  # type: ignore[index]
