"""Statistics of measurements: a median with its spread, and the percentiles of times."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

__all__ = ["Latency", "Spread", "percentile"]

P999_COUNT_MIN = 1000
"""Of fewer times the 99.9th percentile is only the longest."""

NINES = 5
"""A curve of percentiles goes up to five nines, if there are enough measurements."""

POINTS_A_NINE = 9


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """Return the smallest of some sorted values that at least this fraction does not exceed."""
    if not ordered:
        raise ValueError("there is no percentile of nothing")
    return ordered[min(len(ordered) - 1, max(0, -int(-fraction * len(ordered) // 1) - 1))]


class Spread(msgspec.Struct, frozen=True):
    """The middle and the edges of several rounds' values, in their unit."""

    median: float
    lower_quartile: float
    upper_quartile: float
    minimum: float
    maximum: float
    rounds: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the spread of at least one value, with interpolation between two values."""
        ordered = sorted(values)
        if not ordered:
            raise ValueError("there is no spread of nothing")

        def at(fraction: float) -> float:
            place = fraction * (len(ordered) - 1)
            below = int(place)
            above = min(below + 1, len(ordered) - 1)
            return ordered[below] + (ordered[above] - ordered[below]) * (place - below)

        return cls(at(0.5), at(0.25), at(0.75), ordered[0], ordered[-1], len(ordered))


class Latency(msgspec.Struct, frozen=True):
    """The percentiles of a number of times, in nanoseconds."""

    count: int
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int
    curve: list[tuple[float, int]]
    """Fractions of the times, rising towards 1, and the time that each fraction did not exceed."""

    @property
    def has_p999(self) -> bool:
        """Whether the times are enough for a 99.9th percentile that is not just the longest."""
        return self.count >= P999_COUNT_MIN

    @classmethod
    def of(cls, times: Iterable[int]) -> Self:
        """Return the percentiles of at least one time."""
        ordered = array("Q", sorted(times))
        if not ordered:
            raise ValueError("there is no latency without a time")
        p50, p90, p99, p999 = (
            int(percentile(ordered, fraction)) for fraction in (0.5, 0.9, 0.99, 0.999)
        )
        curve = [
            (fraction, int(percentile(ordered, fraction)))
            for fraction in curve_fractions(len(ordered))
        ]
        return cls(len(ordered), p50, p90, p99, p999, ordered[-1], curve)


def curve_fractions(count: int) -> list[float]:
    """Return the fractions for a curve of ``count`` times, equally apart within each nine."""
    fractions = [0.0]
    for nine in range(NINES):
        base, width = 1 - 10.0**-nine, 0.9 * 10.0**-nine
        for step in range(1, POINTS_A_NINE + 1):
            fraction = round(base + width * step / POINTS_A_NINE, nine + 4)
            if (1 - fraction) * count < 1:
                return fractions
            fractions.append(fraction)
    return fractions
