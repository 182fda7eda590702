"""What a cron expression means, and whether it has ended."""

from __future__ import annotations

import re
from functools import lru_cache

from actionqueue.model.cron.fields import SPACE, UNITS, WEEKDAY, CronSyntaxError, parse_field, shown
from actionqueue.model.cron.schedules import SECONDS_A_DAY, Schedule, start_of
from actionqueue.model.cron.zones import is_zone_name

__all__ = ["MACROS", "ZONE_PREFIX", "has_ended", "parse", "split_zone"]

MACROS = {
    "@yearly": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 1",
    "@daily": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
ZONE_PREFIX = "CRON_TZ="
# What leaves out the last year names others, which have four digits, or ends with a step.
_YEAR_HINT = re.compile(r"[0-9]{4}|/[ \t\r\n]*+[0-9]++[ \t\r\n]*+\Z")
_CACHED_LENGTH = 256


def parse(expression: str) -> Schedule:
    """Return what the expression means.

    Raises CronSyntaxError; expressions parsed lately are remembered. The machine need not know the
    time zone.
    """
    return _parse_cached(expression) if len(expression) <= _CACHED_LENGTH else _parse(expression)


def has_ended(expression: str, time: int) -> bool:
    """Tell whether the last year that the expression names was over a day before this time.

    The time is in Unix seconds. The day is for a scheduler that makes the last run a little late.
    With a time zone it is two days, because the zone's year may end up to a day after that of UTC:
    so it needs no data of the zone, which this machine may lack.

    What is no expression never ends, nor does one of more than 256 characters: retention asks about
    every expression again and again while submitters wait, and longer ones are not remembered.
    """
    if len(expression) > _CACHED_LENGTH:
        return False
    if _YEAR_HINT.search(expression) is None:
        return False  # most expressions, which then need not be parsed
    try:
        schedule = parse(expression)
    except CronSyntaxError:
        return False
    days = 1 if schedule.zone is None else 2
    return time >= start_of(max(schedule.year) + 1) + days * SECONDS_A_DAY


def split_zone(text: str) -> tuple[str | None, str]:
    """Return the name of the time zone that a text begins with, or None; and the rest of the text.

    Raises CronSyntaxError for what is no name of a zone.
    """
    if not text.startswith(ZONE_PREFIX):
        return None, text
    words = re.split(f"[{SPACE}]", text, maxsplit=1)
    zone = words[0].removeprefix(ZONE_PREFIX)
    if not is_zone_name(zone):
        raise CronSyntaxError(
            f"{shown(zone)!r} is not the name of a time zone, as Europe/Zurich is"
        )
    return zone, words[1].lstrip(SPACE) if len(words) > 1 else ""


def _parse(expression: str) -> Schedule:
    zone, text = split_zone(expression.strip(SPACE))
    if text.startswith("@"):
        if text not in MACROS:
            raise CronSyntaxError(f"{shown(text)!r} is not one of {' '.join(MACROS)}")
        text = MACROS[text]
    fields: list[frozenset[int]] = []
    steps: list[bool] = []
    either_day = False
    position = 0
    while position < len(text):
        if len(fields) == len(UNITS):
            raise CronSyntaxError(
                f"there is more after the field of the year: {shown(text[position:])!r}"
            )
        unit = UNITS[len(fields)]
        if unit is WEEKDAY and text[position] == "|":
            either_day = True
            position += 1
        field, position = parse_field(unit, text, position)
        fields.append(field.values)
        steps.append(field.has_step)
    if len(fields) == len(UNITS) - 1:
        year = UNITS[-1]
        fields.append(frozenset(range(year.minimum, year.maximum + 1)))
    if len(fields) != len(UNITS):
        raise CronSyntaxError(
            f"there are {len(fields)} fields, not 6 or 7 (the first is the second)"
            + ("; Cron.from_crontab takes the 5 of a crontab" if len(fields) == 5 else "")
        )
    second, minute, hour, day, month, weekday, year_values = fields
    return Schedule(
        second,
        minute,
        hour,
        day,
        month,
        weekday,
        year_values,
        either_day=either_day,
        repeats=steps[0] or steps[1] or len(hour) == 24,
        zone=zone,
    )


_parse_cached = lru_cache(maxsize=1024)(_parse)
