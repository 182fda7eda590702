"""Lines of a crontab, of five fields, and the expressions that they become.

A line has minute, hour, day of the month, month and weekday; or is one of the macros below. Cron's
own rules hold for it. Weekdays are 0 to 7, where both 0 and 7 are Sunday, or names. Where both
kinds of days are restricted, a day matches where either does; a field is not restricted where it
begins with ``*`` or ``?`` (so ``*/2`` is not, as with Vixie's cron and cronie, and both must match
then). The expression has weekdays by name, and ``|`` before them where either kind of day matches:
``0 12 13 * 5`` becomes ``0 0 12 13 * |FRI``.
"""

from __future__ import annotations

import re
from itertools import groupby

from actionqueue.model.cron.expressions import ZONE_PREFIX, split_zone
from actionqueue.model.cron.fields import (
    CRONTAB_WEEKDAY,
    SPACE,
    UNITS,
    CronSyntaxError,
    Field,
    Unit,
    parse_field,
    shown,
)

__all__ = ["expression_of"]

_MACROS = {
    "@yearly": "@yearly",
    "@annually": "@yearly",
    "@monthly": "@monthly",
    "@weekly": "@weekly",
    "@daily": "@daily",
    "@midnight": "@daily",
    "@hourly": "@hourly",
}
_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_UNITS = (*UNITS[1:5], CRONTAB_WEEKDAY)
_FIELDS = "minute, hour, day of the month, month and weekday, without a command"


def expression_of(line: str, zone: str | None) -> str:
    """Return the expression that means what a line of a crontab means in a time zone.

    The line itself may name the zone, as in ``CRON_TZ=Asia/Tokyo 30 4 * * *``, where ``zone`` is
    None. The machine need not know the zone; the caller has checked its name.

    Raises CronSyntaxError.
    """
    zone_of_line, text = split_zone(line.strip(SPACE))
    if zone is not None and zone_of_line is not None:
        raise CronSyntaxError("the line names a time zone, so none may be given besides")
    of_zone = zone if zone is not None else zone_of_line
    prefix = "" if of_zone is None else f"{ZONE_PREFIX}{of_zone} "
    if text.startswith("@"):
        if text not in _MACROS:
            raise CronSyntaxError(f"{shown(text)!r} is not one of {' '.join(_MACROS)}")
        return prefix + _MACROS[text]
    return prefix + _with_seconds(text)


def _with_seconds(text: str) -> str:
    """Return the six fields that mean what five mean in a crontab."""
    fields = re.split(f"[{SPACE}]+", text) if text else []
    if len(fields) != len(_UNITS):
        raise CronSyntaxError(f"there are {len(fields)} fields, not 5 ({_FIELDS})")
    parsed = [_parsed(unit, field) for unit, field in zip(_UNITS, fields, strict=True)]
    day, weekday = fields[2], fields[4]
    either = not day.startswith(("*", "?")) and not weekday.startswith(("*", "?"))
    weekdays = _weekdays({value % 7 for value in parsed[-1].values})
    if not either and weekdays == "SUN-SAT":
        weekdays = "*"
    return " ".join(("0", *fields[:4], "|" + weekdays if either else weekdays))


def _parsed(unit: Unit, text: str) -> Field:
    """Return what one field matches, which is the whole text."""
    field, end = parse_field(unit, text, 0)
    if end != len(text):
        raise CronSyntaxError(
            f"the field of the {unit.name}: {shown(text[end:])!r} is too much after"
            f" {shown(text[:end])!r}"
        )
    return field


def _weekdays(numbers: set[int]) -> str:
    """Return weekdays, which count from Sunday, 0, as a list of names and ranges of names."""
    items = []
    # Numbers in a row are as far from their places in the list as each other.
    for _, group in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        names = [_NAMES[number] for _, number in group]
        items += names if len(names) <= 2 else [f"{names[0]}-{names[-1]}"]
    return ",".join(items)
