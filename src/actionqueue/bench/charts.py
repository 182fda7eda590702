"""The page's charts, as SVG that fits any width.

Positions are percentages; a width stretches lines, but never text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

import msgspec

from actionqueue.bench.spread import Latency, Spread

__all__ = [
    "Bar",
    "Curve",
    "LogAxis",
    "bars",
    "curves",
    "duration",
    "percentile_texts",
    "rate_text",
    "swatch",
]

BAR_HEIGHT = 16
CURVES_HEIGHT = 300
NINES_TEXT = ("0", "90", "99", "99.9", "99.99", "99.999")
UNITS_NS = (("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0))
UNITS_RATE = (("M", 1e6), ("k", 1e3))
TWO_DIGITS_BELOW = 10
ONE_DIGIT_BELOW = 100


def _short(value: float) -> str:
    """Return a number with three digits, or with all digits before its point if these are more."""
    digits = 2 if value < TWO_DIGITS_BELOW else 1 if value < ONE_DIGIT_BELOW else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(nanoseconds: float) -> str:
    """Return a time in the unit that suits it."""
    unit, size = next(
        ((unit, size) for unit, size in UNITS_NS if nanoseconds >= size), UNITS_NS[-1]
    )
    return f"{_short(nanoseconds / size)} {unit}"


def percentile_texts(latency: Latency) -> list[str]:
    """Return p50, p99 and p99.9; a dash for p99.9 if there are too few times for it."""
    return [
        duration(latency.p50_ns),
        duration(latency.p99_ns),
        duration(latency.p999_ns) if latency.has_p999 else "\N{EN DASH}",
    ]


def rate_text(rate: float) -> str:
    """Return a rate with a suffix for thousands or millions."""
    unit, size = next(((unit, size) for unit, size in UNITS_RATE if rate >= size), ("", 1.0))
    return f"{_short(rate / size)}{unit}"


class LogAxis(msgspec.Struct, frozen=True):
    """A logarithmic axis over whole decades."""

    first: int
    last: int

    @classmethod
    def over(cls, values: Iterable[float]) -> LogAxis:
        """Return the axis that has room for all the values, which are above 0."""
        logarithms = [math.log10(value) for value in values]
        first = math.floor(min(logarithms))
        return cls(first, max(first + 1, math.ceil(max(logarithms))))

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the beginning and 100 at the end."""
        return (
            100 * (math.log10(max(value, 10.0**self.first)) - self.first) / (self.last - self.first)
        )

    def decades(self) -> list[float]:
        """Return the powers of ten on it."""
        return [10.0**power for power in range(self.first, self.last + 1)]


class Bar(msgspec.Struct, frozen=True):
    """A row of a bar chart."""

    title: str
    style: str
    """CSS class of its colour."""
    rate: Spread


def bars(rows: Sequence[Bar]) -> str:
    """Return bars to the medians, and lines from the smallest to the largest value.

    They have one logarithmic axis.
    """
    axis = LogAxis.over(value for row in rows for value in (row.rate.minimum, row.rate.maximum))
    axis = LogAxis(axis.first - 1, axis.last)  # so that the smallest one has a bar too
    grid = "".join(
        f'<line class="grid" x1="{axis.place(at):.2f}%" x2="{axis.place(at):.2f}%" y1="0" '
        'y2="100%"/>'
        for at in axis.decades()
    )
    return (
        f'<div class="bars">{"".join(_bar(row, axis, grid) for row in rows)}{_bar_axis(axis)}</div>'
    )


def _bar(row: Bar, axis: LogAxis, grid: str) -> str:
    middle, least, most = (
        axis.place(value) for value in (row.rate.median, row.rate.minimum, row.rate.maximum)
    )
    spread = f"{rate_text(row.rate.minimum)} to {rate_text(row.rate.maximum)}"
    return (
        f'<div class="bar"><span class="name">{escape(row.title)}</span>'
        f'<span class="value"><b>{rate_text(row.rate.median)}</b> <small>{spread}</small></span>'
        f'<svg width="100%" height="{BAR_HEIGHT}" role="img" aria-label="{escape(row.title)}: '
        f'{rate_text(row.rate.median)}">{grid}'
        f'<rect class="fill {row.style}" x="0" y="2" width="{middle:.2f}%" '
        f'height="{BAR_HEIGHT - 4}"/>'
        f'<line class="whisker" x1="{least:.2f}%" x2="{most:.2f}%" y1="50%" y2="50%"/>'
        f'<line class="whisker" x1="{least:.2f}%" x2="{least:.2f}%" y1="4" y2="{BAR_HEIGHT - 4}"/>'
        f'<line class="whisker" x1="{most:.2f}%" x2="{most:.2f}%" y1="4" '
        f'y2="{BAR_HEIGHT - 4}"/></svg></div>'
    )


def _bar_axis(axis: LogAxis) -> str:
    labels = "".join(_tick(rate_text(at), axis.place(at)) for at in axis.decades())
    return (
        '<div class="bar axis"><svg width="100%" height="18" '
        f'aria-hidden="true">{labels}</svg></div>'
    )


def _tick(text: str, place: float, y: str = "13") -> str:
    # The edges of 0 to 100.
    anchor = "start" if place < 1 else "end" if place > 99 else "middle"  # noqa: PLR2004
    return f'<text x="{place:.2f}%" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


class Curve(msgspec.Struct, frozen=True):
    """A line of a chart of percentiles."""

    title: str
    style: str
    points: list[tuple[float, int]]
    """Fractions of the calls, and the nanoseconds that each fraction did not exceed."""


def curves(lines: Sequence[Curve], axis: LogAxis, nines: int) -> str:
    """Return time over percentile, up to the number of nines.

    The time is logarithmic, and so is the rest up to 100 %.
    """
    grid = [
        f'<line class="grid" x1="0" x2="100%" y1="{_height(axis, at):.1f}" '
        f'y2="{_height(axis, at):.1f}"/>'
        f'<text x="-6" y="{_height(axis, at) + 4:.1f}" text-anchor="end">{duration(at)}</text>'
        for at in axis.decades()
    ]
    shares = [
        (text, 100 * number / nines) for number, text in enumerate(NINES_TEXT[: nines + 1])
    ] + [("50", 100 * math.log10(2) / nines)]
    grid += [
        f'<line class="grid" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="{CURVES_HEIGHT}"/>'
        + _tick(text, place, str(CURVES_HEIGHT + 16))
        for text, place in shares
        if text != "0"
    ]
    drawn = "".join(_curve(line, axis, nines) for line in lines)
    return (
        f'<svg width="100%" height="{CURVES_HEIGHT + 22}" role="img" aria-label="Latency by '
        f'percentile">{"".join(grid)}<svg x="0" y="0" '
        f'width="100%" height="{CURVES_HEIGHT}" viewBox="0 0 100 {CURVES_HEIGHT}" '
        f'preserveAspectRatio="none">{drawn}</svg></svg>'
    )


def _height(axis: LogAxis, value: float) -> float:
    return CURVES_HEIGHT * (1 - axis.place(value) / 100)


def _curve(line: Curve, axis: LogAxis, nines: int) -> str:
    points = [
        (-100 * math.log10(1 - fraction) / nines, _height(axis, max(1, time)))
        for fraction, time in line.points
    ]
    path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return (
        f'<polyline class="curve {line.style}" '
        f'points="{path}"><title>{escape(line.title)}</title></polyline>'
    )


def swatch(style: str) -> str:
    """Return a piece of a curve, for a legend."""
    return (
        f'<svg width="28" height="10" aria-hidden="true"><line class="curve {style}" x1="0" '
        'x2="28" y1="5" y2="5"/></svg>'
    )
