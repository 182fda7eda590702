"""Cron expressions: a strict grammar of our own, with the dates worked out by croniter.

::

    expression = field{6,7} | "@yearly" | "@monthly" | "@weekly" | "@daily" | "@hourly"
    field      = item {"," item}
    item       = base ["/" number] | name
    base       = "*" | "?" | number ["-" number] | name "-" name

The fields are second, minute, hour, day of the month, month, weekday and, if not left out, year
(1970 to 2100). Weekdays are 1 (Sunday) to 7 (Saturday). Months and weekdays have names, in any
case, short or in full; ``?`` is another ``*`` for the two kinds of days. A range never wraps
around; ``5/10`` means from 5 to the end in steps of 10. Spaces may stand around numbers and names,
and separate fields where that is needed. A time matches where all fields do: also where both kinds
of days are given, other than with most cron programs.

croniter has another order of fields, counts weekdays from 0, ends with 2099 and accepts much more.
So it only ever gets lists of numbers, without the year.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from time import gmtime
from typing import NamedTuple, NoReturn

__all__ = ["CronSyntaxError", "Schedule", "has_ended", "parse"]

_EPOCH = date(1970, 1, 1)
_SECONDS_A_DAY = 86400


class CronSyntaxError(ValueError):
    """The text is no cron expression; the message says why."""


class _Unit(NamedTuple):
    """What one field counts."""

    name: str
    minimum: int
    maximum: int
    names: dict[str, int]
    question_mark: bool = False


_MONTH_NAMES = {
    name: number
    for number, names in enumerate(
        (
            ("jan", "january"),
            ("feb", "february"),
            ("mar", "march"),
            ("apr", "april"),
            ("may",),
            ("jun", "june"),
            ("jul", "july"),
            ("aug", "august"),
            ("sep", "september"),
            ("oct", "october"),
            ("nov", "november"),
            ("dec", "december"),
        ),
        start=1,
    )
    for name in names
}
_WEEKDAY_NAMES = {
    name: number
    for number, names in enumerate(
        (
            ("sun", "sunday"),
            ("mon", "monday"),
            ("tue", "tues", "tuesday"),
            ("wed", "wednesday"),
            ("thu", "thurs", "thursday"),
            ("fri", "friday"),
            ("sat", "saturday"),
        ),
        start=1,
    )
    for name in names
}
_UNITS = (
    _Unit("second", 0, 59, {}),
    _Unit("minute", 0, 59, {}),
    _Unit("hour", 0, 23, {}),
    _Unit("day of the month", 1, 31, {}, question_mark=True),
    _Unit("month", 1, 12, _MONTH_NAMES),
    _Unit("weekday", 1, 7, _WEEKDAY_NAMES, question_mark=True),
    _Unit("year", 1970, 2100, {}),
)
_MACROS = {
    "@yearly": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 1",
    "@daily": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_SPACE = " \t\r\n"
# Runs of digits, letters and spaces are possessive, so that a field never gives back what it took:
# "12" is twelve, and not the fields 1 and 2. Groups are not: CPython before 3.11.5 loses track of a
# possessive group with a captured group in it, and accepts "*/" then. They need not be, because
# nothing that could fail follows them.
_ITEM = re.compile(
    r"""(?: (?P<all> [*?] )
          | [ \t\r\n]*+ (?P<first> [0-9]++ ) [ \t\r\n]*+
            (?: - [ \t\r\n]*+ (?P<last> [0-9]++ ) [ \t\r\n]*+ )?
          | [ \t\r\n]*+ (?P<first_name> [A-Za-z]++ ) [ \t\r\n]*+
            (?: - [ \t\r\n]*+ (?P<last_name> [A-Za-z]++ ) [ \t\r\n]*+ )?
        )
        (?: (?P<slash> / ) [ \t\r\n]*+ (?P<step> [0-9]++ ) [ \t\r\n]*+ )?""",
    re.VERBOSE,
)
# What leaves out the last year names others, which have four digits, or ends with a step.
_YEAR_HINT = re.compile(r"[0-9]{4}|/[ \t\r\n]*+[0-9]++[ \t\r\n]*+\Z")
_LARGEST_STEP = 2**32 - 1
_CACHED_LENGTH = 256


class Schedule(NamedTuple):
    """A parsed expression: the values of each field that match."""

    second: frozenset[int]
    minute: frozenset[int]
    hour: frozenset[int]
    day: frozenset[int]
    month: frozenset[int]
    weekday: frozenset[int]
    """1 is Sunday, 7 is Saturday."""
    year: frozenset[int]

    def next_after(self, timestamp: int, count: int) -> list[int]:
        """Return the next times strictly after one, in Unix seconds, UTC.

        There are ``count`` of them, or fewer where there are no more.
        """
        # Late, because it is slow to import and few queues have cron tasks.
        from croniter import (  # type: ignore[import-untyped]  # noqa: PLC0415
            CroniterBadDateError,
            croniter,
        )

        last_year = max(self.year)
        if count < 1 or timestamp >= _start_of(last_year + 1):
            return []
        found: list[int] = []
        expression = " ".join(self._croniter_fields())
        times = croniter(
            expression, timestamp, day_or=False, max_years_between_matches=last_year - 1970 + 1
        )
        while len(found) < count:
            try:
                time = int(times.get_next(float))
            except CroniterBadDateError:  # there is no such day, as with 30 February
                break
            year = gmtime(time).tm_year
            if year in self.year:
                found.append(time)
            elif year > last_year:
                break
            else:
                following = min(candidate for candidate in self.year if candidate > year)
                times.set_current(_start_of(following) - 1, force=True)
        return found

    def _croniter_fields(self) -> list[str]:
        """Return the fields in croniter's order, as numbers only, with Sunday as 0."""
        weekday = frozenset(value - 1 for value in self.weekday)
        ordered = (
            (self.minute, 60),
            (self.hour, 24),
            (self.day, 31),
            (self.month, 12),
            (weekday, 7),
            (self.second, 60),
        )
        return [
            "*" if len(values) == size else ",".join(map(str, sorted(values)))
            for values, size in ordered
        ]


def parse(expression: str) -> Schedule:
    """Return what the expression means.

    Raises CronSyntaxError; expressions parsed lately are remembered.
    """
    return _parse_cached(expression) if len(expression) <= _CACHED_LENGTH else _parse(expression)


def has_ended(expression: str, time: int) -> bool:
    """Tell whether the last year that the expression names was over a day before this time.

    The time is in Unix seconds. The day is for a scheduler that makes the last run a little late.
    What is no expression never ends, nor does one of more than 256 characters: retention asks about
    every expression again and again while submitters wait, and longer ones are not remembered.
    """
    if len(expression) > _CACHED_LENGTH:
        return False
    if _YEAR_HINT.search(expression) is None:
        return False  # most expressions, which then need not be parsed
    try:
        last_year = max(parse(expression).year)
    except CronSyntaxError:
        return False
    return time >= _start_of(last_year + 1) + _SECONDS_A_DAY


def _start_of(year: int) -> int:
    """Return the first second of a year, as a timestamp."""
    return (date(year, 1, 1) - _EPOCH).days * _SECONDS_A_DAY


def _parse(expression: str) -> Schedule:
    text = expression.strip(_SPACE)
    if text.startswith("@"):
        if text not in _MACROS:
            raise CronSyntaxError(f"{_shown(text)!r} is not one of {' '.join(_MACROS)}")
        text = _MACROS[text]
    fields: list[frozenset[int]] = []
    position = 0
    while position < len(text):
        if len(fields) == len(_UNITS):
            raise CronSyntaxError(
                f"there is more after the field of the year: {_shown(text[position:])!r}"
            )
        values, position = _parse_field(_UNITS[len(fields)], text, position)
        fields.append(values)
    if len(fields) == len(_UNITS) - 1:
        year = _UNITS[-1]
        fields.append(frozenset(range(year.minimum, year.maximum + 1)))
    if len(fields) != len(_UNITS):
        raise CronSyntaxError(
            f"there are {len(fields)} fields, not 6 or 7 (the first is the second)"
        )
    return Schedule(*fields)


_parse_cached = lru_cache(maxsize=1024)(_parse)


def _parse_field(unit: _Unit, text: str, position: int) -> tuple[frozenset[int], int]:
    """Read one field; return its values, and where the next one starts."""
    values: set[int] = set()
    while True:
        item = _ITEM.match(text, position)
        if item is None:
            _refuse(unit, text[position:], "is not a number, name, range or *")
        values.update(_item_values(unit, item))
        position = item.end()
        if position == len(text) or text[position] != ",":
            break
        position += 1
    while position < len(text) and text[position] in _SPACE:
        position += 1
    return frozenset(values), position


def _item_values(unit: _Unit, item: re.Match[str]) -> range:
    """Return the values of one item of a list."""
    if item["all"]:
        if item["all"] == "?" and not unit.question_mark:
            _refuse(unit, "?", "is for days of the month and weekdays only")
        first, last = unit.minimum, unit.maximum
    elif item["first"]:
        first = _number(unit, item["first"])
        # A number before a step starts a range that goes to the end.
        otherwise = unit.maximum if item["slash"] else first
        last = _number(unit, item["last"]) if item["last"] else otherwise
    else:
        if item["slash"] and not item["last_name"]:
            _refuse(unit, item[0], "has a step after a name; steps go with numbers and ranges")
        first = _named(unit, item["first_name"])
        last = _named(unit, item["last_name"]) if item["last_name"] else first
    if first > last:
        _refuse(unit, item[0], "is a range that goes backwards")
    return range(first, last + 1, _step(unit, item["step"]) if item["slash"] else 1)


def _number(unit: _Unit, digits: str) -> int:
    """Return a value of the field."""
    significant = digits.lstrip("0") or "0"
    value = int(significant) if len(significant) <= 4 else unit.maximum + 1
    if not unit.minimum <= value <= unit.maximum:
        _refuse(unit, digits, f"is not from {unit.minimum} to {unit.maximum}")
    return value


def _named(unit: _Unit, name: str) -> int:
    """Return the value that a name stands for."""
    value = unit.names.get(name.lower())
    if value is None:
        _refuse(unit, name, "is not a name of this field")
    return value


def _step(unit: _Unit, digits: str) -> int:
    """Return the step of a range."""
    significant = digits.lstrip("0") or "0"
    step = int(significant) if len(significant) <= 10 else _LARGEST_STEP + 1
    if not 1 <= step <= _LARGEST_STEP:
        _refuse(unit, digits, f"is no step from 1 to {_LARGEST_STEP}")
    return step


def _refuse(unit: _Unit, text: str, reason: str) -> NoReturn:
    raise CronSyntaxError(f"the field of the {unit.name}: {_shown(text)!r} {reason}")


def _shown(text: str) -> str:
    """Return as much of a refused text as a message shows."""
    return text if len(text) <= 40 else text[:40] + "..."
