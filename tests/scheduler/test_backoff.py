"""How long a run waits before it is tried again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import CALENDAR_SECONDS_MAX, U32_MAX

RUN = aq.RunId(bytes(15) + b"\1")


def test_each_delay_is_a_multiple_of_the_one_before_up_to_the_longest() -> None:
    backoff = aq.Backoff(first=2, factor=3, most=50, jitter=0)
    assert [backoff.seconds_after(RUN, number) for number in range(1, 6)] == [2, 6, 18, 50, 50]
    assert aq.Backoff(first=5, factor=1, jitter=0).seconds_after(RUN, U32_MAX) == 5
    assert aq.Backoff(first=0, factor=9).seconds_after(RUN, U32_MAX) == 0
    assert aq.Backoff(first=0.2, jitter=0).seconds_after(RUN, 1) == 1


def test_jitter_spreads_runs_and_is_the_same_each_time() -> None:
    backoff = aq.Backoff(first=1000, most=1000, jitter=0.5)
    runs = [aq.RunId(number.to_bytes(16, "big")) for number in range(200)]
    delays = [backoff.seconds_after(run, 1) for run in runs]
    assert all(500 <= delay <= 1000 for delay in delays)
    assert len(set(delays)) > 100
    assert delays == [backoff.seconds_after(run, 1) for run in runs]
    assert delays != [backoff.seconds_after(run, 2) for run in runs]
    assert backoff.seconds_after(RUN, 1) == 801  # on every machine, after every restart


@given(
    first=st.floats(0, 1e6),
    factor=st.floats(1, 1e300),
    jitter=st.floats(0, 1),
    attempt=st.integers(1, U32_MAX),
)
def test_no_delay_is_longer_than_the_longest(first, factor, jitter, attempt) -> None:
    backoff = aq.Backoff(first, factor, 1e6, jitter)
    assert 0 <= backoff.seconds_after(RUN, attempt) <= 1e6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("first", -1),
        ("first", math.nan),
        ("first", 3601),
        ("first", True),
        ("first", "1"),
        ("factor", 0.5),
        ("factor", math.inf),
        ("factor", math.nan),
        ("factor", 10**400),
        ("factor", None),
        ("most", math.inf),
        ("most", CALENDAR_SECONDS_MAX + 1),
        ("most", -1),
        ("jitter", math.nan),
        ("jitter", 1.5),
        ("jitter", -0.1),
        ("jitter", False),
    ],
)
def test_what_is_no_backoff_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidFieldError) as caught:
        aq.Backoff(**{field: value})
    assert caught.value.type_name == "Backoff"
    assert caught.value.field == field
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    assert isinstance(caught.value, InvalidFieldTypeError) is not is_number


@pytest.mark.parametrize("attempt", [0, -1, U32_MAX + 1, True, 1.0, "1"])
def test_what_is_no_attempt_is_named(attempt: object) -> None:
    with pytest.raises(InvalidFieldError, match=r"seconds_after\.attempt"):
        aq.Backoff().seconds_after(RUN, attempt)
    with pytest.raises(InvalidFieldTypeError, match=r"seconds_after\.run_id"):
        aq.Backoff().seconds_after("run", 1)
