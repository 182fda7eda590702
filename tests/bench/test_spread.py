from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionqueue.bench.spread import Latency, Spread, curve_fractions, percentile

times = st.lists(st.integers(0, 2**40), min_size=1, max_size=200)


@given(times, st.floats(0, 1))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[int], fraction: float
) -> None:
    ordered = sorted(values)
    found = percentile(ordered, fraction)
    assert sum(value <= found for value in values) >= fraction * len(values)
    smaller = [value for value in values if value < found]
    assert not smaller or len(smaller) < fraction * len(values)


def test_percentiles_of_a_hundred() -> None:
    found = Latency.of(range(100, 0, -1))
    assert (found.count, found.p50_ns, found.p90_ns, found.p99_ns, found.p999_ns, found.max_ns) == (
        100,
        50,
        90,
        99,
        100,
        100,
    )


def test_the_last_nine_needs_a_thousand_times() -> None:
    assert not Latency.of(range(999)).has_p999
    assert Latency.of(range(1000)).has_p999


@given(times)
def test_a_curve_rises_and_ends_where_one_time_is_left(values: list[int]) -> None:
    curve = Latency.of(values).curve
    assert curve == sorted(curve)
    assert curve[0] == (0.0, min(values))
    assert all((1 - fraction) * len(values) >= 1 for fraction, _ in curve[1:])


def test_a_curve_has_every_nine_that_the_times_carry() -> None:
    assert {0.9, 0.99, 0.999} <= set(curve_fractions(1001))
    assert 0.9999 not in curve_fractions(1001)
    assert curve_fractions(10**9)[-1] == 0.99999


@given(st.lists(st.floats(1, 1e9), min_size=2, max_size=30))
def test_a_spread_is_that_of_the_standard_library(values: list[float]) -> None:
    found = Spread.of(values)
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    assert (found.minimum, found.maximum, found.rounds) == (min(values), max(values), len(values))
    assert (found.lower_quartile, found.median, found.upper_quartile) == pytest.approx(
        (lower, middle, upper)
    )


def test_there_is_nothing_of_nothing() -> None:
    for make in (Spread.of, Latency.of, lambda values: percentile(values, 0.5)):
        with pytest.raises(ValueError, match=r"nothing|without"):
            make([])
