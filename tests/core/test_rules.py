"""The rules, against plain lists."""

from __future__ import annotations

from itertools import product

import pytest

from tests.support.core.door import lib

STATES = (
    "scheduled",
    "ready",
    "leased",
    "running",
    "retry_wait",
    "suspended",
    "completed",
    "failed",
    "canceled",
)
TRANSITIONS = {
    "scheduled": {"ready", "canceled"},
    "ready": {"leased", "canceled"},
    "leased": {"running", "ready", "canceled"},
    "running": {"retry_wait", "suspended", "completed", "failed", "canceled"},
    "retry_wait": {"ready", "failed", "canceled"},
    "suspended": {"ready", "canceled"},
    "completed": set(),
    "failed": set(),
    "canceled": set(),
}
U32_MAX, U64_MAX = 2**32 - 1, 2**64 - 1


def code(state: str) -> int:
    number: int = getattr(lib, f"AQW_{state.upper()}")
    return number


def states_where(rule: str) -> set[str]:
    return {state for state in STATES if getattr(lib, f"aqw_rule_{rule}")(code(state))}


def test_the_codes_are_in_the_order_of_the_specification() -> None:
    assert [code(state) for state in STATES] == list(range(9))


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_transitions(before: str, after: str) -> None:
    assert lib.aqw_rule_transition_is_valid(code(before), code(after)) == (
        after in TRANSITIONS[before]
    )


def test_there_are_17_transitions() -> None:
    assert sum(lib.aqw_rule_transition_is_valid(a, b) for a in range(256) for b in range(256)) == 17


@pytest.mark.parametrize(
    ("rule", "states"),
    [
        ("state_is_terminal", {"completed", "failed", "canceled"}),
        ("attempt_allowed", {"running"}),
        ("lease_close_makes_ready", {"leased"}),
        ("lease_held_allowed", {"ready", "leased", "running", "retry_wait", "suspended"}),
    ],
)
def test_rules_on_one_state(rule: str, states: set[str]) -> None:
    assert states_where(rule) == states
    assert not any(getattr(lib, f"aqw_rule_{rule}")(number) for number in range(9, 256))


def test_the_states_that_allow_an_event() -> None:
    legal = {
        lib.AQW_ATTEMPT_STARTED: {"running"},
        lib.AQW_ATTEMPT_FINISHED: {"running"},
        lib.AQW_LEASE_ACQUIRED: {"ready", "leased"},
        lib.AQW_LEASE_HEARTBEAT: {"leased", "running"},
        lib.AQW_LEASE_EXPIRED: {"ready", "leased", "running"},
        lib.AQW_LEASE_RELEASED: {"ready", "leased", "running"},
        lib.AQW_RUN_RESCHEDULED: {"scheduled", "ready", "retry_wait", "suspended"},
    }
    for kind, number in product((*legal, 0, lib.AQW_EVENT_KIND_END, 255), range(256)):
        allowed = STATES[number] in legal.get(kind, ()) if number < len(STATES) else False
        assert lib.aqw_rule_state_allows(kind, number) == allowed


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_an_active_attempt_forbids_leaving_running_but_for_canceled(
    before: str, after: str
) -> None:
    assert lib.aqw_rule_attempt_blocks_change(code(before), code(after), 1) == (
        before == "running" and after != "canceled"
    )
    assert not lib.aqw_rule_attempt_blocks_change(code(before), code(after), 0)


def test_rules_on_numbers() -> None:
    assert [lib.aqw_rule_attempt_count_is_full(count) for count in (0, U32_MAX - 1, U32_MAX)] == [
        0,
        0,
        1,
    ]
    for rule, lower_is_true in (
        ("lease_expiry_regresses", 1),
        ("resume_precedes_pause", 1),
        ("sequence_rises", 0),
    ):
        check = getattr(lib, f"aqw_rule_{rule}")
        for number in (1, 5, U64_MAX):
            assert check(number, number - 1) == lower_is_true
            assert check(number - 1, number) == 1 - lower_is_true
            assert check(number, number) == 0


def test_only_one_shape_is_fresh() -> None:
    for state, active, count, times in product(
        STATES, (0, 1), (0, 1, U32_MAX), ((5, 5), (5, 6), (6, 5))
    ):
        is_fresh = state == "scheduled" and not active and count == 0 and times == (5, 5)
        assert lib.aqw_rule_run_is_fresh(code(state), active, count, *times) == is_fresh
