"""The values that one field of a cron expression matches."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

__all__ = [
    "CRONTAB_WEEKDAY",
    "SPACE",
    "UNITS",
    "WEEKDAY",
    "CronSyntaxError",
    "Field",
    "Unit",
    "parse_field",
    "shown",
]


class CronSyntaxError(ValueError):
    """The text is no cron expression; the message says why."""


class Unit(NamedTuple):
    """What one field counts."""

    name: str
    minimum: int
    maximum: int
    names: dict[str, int]
    question_mark: bool = False
    sunday_again: bool = False
    """Whether the maximum is Sunday a second time, so that open ranges end before it."""

    @property
    def last(self) -> int:
        """The end of what ``*`` and a number with a step match."""
        return self.maximum - 1 if self.sunday_again else self.maximum


class Field(NamedTuple):
    """What one field matches."""

    values: frozenset[int]
    has_step: bool
    """Whether an item has a ``*``, a ``?`` or a step."""


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
WEEKDAY = Unit("weekday", 1, 7, _WEEKDAY_NAMES, question_mark=True)
CRONTAB_WEEKDAY = Unit(
    "weekday",
    0,
    7,
    {name: number - 1 for name, number in _WEEKDAY_NAMES.items()},
    question_mark=True,
    sunday_again=True,
)
"""Crontab lines count weekdays from 0, Sunday, and 7 is Sunday, too."""
UNITS = (
    Unit("second", 0, 59, {}),
    Unit("minute", 0, 59, {}),
    Unit("hour", 0, 23, {}),
    Unit("day of the month", 1, 31, {}, question_mark=True),
    Unit("month", 1, 12, _MONTH_NAMES),
    WEEKDAY,
    Unit("year", 1970, 2100, {}),
)
SPACE = " \t\r\n"
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
_LARGEST_STEP = 2**32 - 1


def parse_field(unit: Unit, text: str, position: int) -> tuple[Field, int]:
    """Read one field; return what it matches, and where the next one starts.

    Raises CronSyntaxError.
    """
    values: set[int] = set()
    has_step = False
    while True:
        item = _ITEM.match(text, position)
        if item is None:
            _refuse(unit, text[position:], "is not a number, name, range or *")
        values.update(_item_values(unit, item))
        has_step = has_step or bool(item["all"] or item["slash"])
        position = item.end()
        if position == len(text) or text[position] != ",":
            break
        position += 1
    while position < len(text) and text[position] in SPACE:
        position += 1
    return Field(frozenset(values), has_step), position


def _item_values(unit: Unit, item: re.Match[str]) -> range:
    """Return the values of one item of a list."""
    if item["all"]:
        if item["all"] == "?" and not unit.question_mark:
            _refuse(unit, "?", "is for days of the month and weekdays only")
        first, last = unit.minimum, unit.last
    elif item["first"]:
        first = _number(unit, item["first"])
        # A number before a step starts a range that goes to the end.
        otherwise = max(first, unit.last) if item["slash"] else first
        last = _number(unit, item["last"]) if item["last"] else otherwise
    else:
        if item["slash"] and not item["last_name"]:
            _refuse(unit, item[0], "has a step after a name; steps go with numbers and ranges")
        first = _named(unit, item["first_name"])
        last = _named(unit, item["last_name"]) if item["last_name"] else first
        if unit.sunday_again and last == unit.minimum < first:
            last = unit.maximum  # as in FRI-SUN
    if first > last:
        _refuse(unit, item[0], "is a range that goes backwards")
    return range(first, last + 1, _step(unit, item["step"]) if item["slash"] else 1)


def _number(unit: Unit, digits: str) -> int:
    """Return a value of the field."""
    significant = digits.lstrip("0") or "0"
    value = int(significant) if len(significant) <= 4 else unit.maximum + 1
    if not unit.minimum <= value <= unit.maximum:
        _refuse(unit, digits, f"is not from {unit.minimum} to {unit.maximum}")
    return value


def _named(unit: Unit, name: str) -> int:
    """Return the value that a name stands for."""
    value = unit.names.get(name.lower())
    if value is None:
        _refuse(unit, name, "is not a name of this field")
    return value


def _step(unit: Unit, digits: str) -> int:
    """Return the step of a range."""
    significant = digits.lstrip("0") or "0"
    step = int(significant) if len(significant) <= 10 else _LARGEST_STEP + 1
    if not 1 <= step <= _LARGEST_STEP:
        _refuse(unit, digits, f"is no step from 1 to {_LARGEST_STEP}")
    return step


def _refuse(unit: Unit, text: str, reason: str) -> NoReturn:
    raise CronSyntaxError(f"the field of the {unit.name}: {shown(text)!r} {reason}")


def shown(text: str) -> str:
    """Return as much of a refused text as a message shows."""
    return text if len(text) <= 40 else text[:40] + "..."
