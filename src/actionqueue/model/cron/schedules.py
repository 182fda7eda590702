"""The times that a cron expression matches.

A *wall time* is what a zone's clock shows, in seconds since its own 1970-01-01 00:00:00, so without
the zone's offset from UTC. The search goes from one matching day to the next, and looks at the
zone's offsets around matching days only: so it costs about its answer, however rare the days are.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator
from datetime import date, datetime, timedelta, tzinfo
from itertools import islice
from typing import NamedTuple

from actionqueue.model.cron.zones import zone_named

__all__ = ["SECONDS_A_DAY", "Schedule", "start_of"]

SECONDS_A_DAY = 86400
_FIRST_DAY = date(1970, 1, 1).toordinal()
_FIRST_MOMENT = datetime(1970, 1, 1)  # noqa: DTZ001 -- wall times and UTC, without a zone
_SECOND = timedelta(seconds=1)


class Schedule(NamedTuple):
    """A parsed expression: the values of each field that match, and how they go together."""

    second: frozenset[int]
    minute: frozenset[int]
    hour: frozenset[int]
    day: frozenset[int]
    month: frozenset[int]
    weekday: frozenset[int]
    """1 is Sunday, 7 is Saturday."""
    year: frozenset[int]
    either_day: bool
    """Whether a day matches where the day of the month or the weekday does, not only where both
    do."""
    repeats: bool
    """Whether it matches whenever the clock shows a time that fits, or once for each time."""
    zone: str | None
    """The name of the time zone; None for UTC."""

    def next_after(self, timestamp: int, count: int) -> list[int]:
        """Return the next times strictly after one, in Unix seconds.

        There are ``count`` of them, or fewer where there are no more.

        Raises TimeZoneError where this machine does not know the zone.
        """
        zone = zone_named(self.zone)
        # No zone is a day or more away from UTC.
        if count < 1 or timestamp >= start_of(max(self.year) + 1) + SECONDS_A_DAY:
            return []
        walls = _WallTimes(self)
        if zone is None:
            times = walls.between(timestamp + 1, start_of(max(self.year) + 1))
        else:
            times = _times_in_zone(walls, zone, timestamp)
        return list(islice(times, count))


def start_of(year: int) -> int:
    """Return the first second of a year, as a timestamp in UTC or a wall time."""
    return (date(year, 1, 1).toordinal() - _FIRST_DAY) * SECONDS_A_DAY


class _WallTimes:
    """The wall times that a schedule matches, in order. Days count from 1970-01-01."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self.repeat = schedule.repeats
        self._seconds = sorted(schedule.second)
        self._minutes = sorted(schedule.minute)
        self._hours = sorted(schedule.hour)
        self._days = list(range(1, 32)) if schedule.either_day else sorted(schedule.day)
        self._months = sorted(schedule.month)
        self._years = sorted(schedule.year)

    def between(self, first: int, end: int) -> Iterator[int]:
        """Return the wall times from the first second on, and before the end."""
        for day in self._days_from(first // SECONDS_A_DAY):
            midnight = day * SECONDS_A_DAY
            if midnight >= end:
                return
            for second in self._seconds_of_day(first - midnight):
                if midnight + second >= end:
                    return
                yield midnight + second

    def any_between(self, first: int, end: int) -> bool:
        """Tell whether a wall time from the first second on, and before the end, matches."""
        return next(self.between(first, end), None) is not None

    def next_day(self, day: int) -> int | None:
        """Return the first matching day from this one on; None where there are no more."""
        return next(self._days_from(day), None)

    def _seconds_of_day(self, first: int) -> Iterator[int]:
        """Return the matching seconds since midnight from the first one on."""
        for hour in self._hours:
            start_of_hour = hour * 3600
            if start_of_hour + 3600 <= first:
                continue
            for minute in self._minutes:
                start_of_minute = start_of_hour + minute * 60
                if start_of_minute + 60 <= first:
                    continue
                for second in self._seconds:
                    if start_of_minute + second >= first:
                        yield start_of_minute + second

    def _days_from(self, first: int) -> Iterator[int]:
        start = date.fromordinal(_FIRST_DAY + first)
        for year in self._years[bisect_left(self._years, start.year) :]:
            for month in self._months:
                if (year, month) < (start.year, start.month):
                    continue
                for day in self._days_of_month(year, month):
                    if day >= first:
                        yield day

    def _days_of_month(self, year: int, month: int) -> Iterator[int]:
        of, either = self._schedule, self._schedule.either_day
        before = date(year, month, 1).toordinal() - _FIRST_DAY - 1
        length = monthrange(year, month)[1]
        for day_of_month in self._days:
            if day_of_month > length:
                return
            day = before + day_of_month
            weekday = (day + 4) % 7 + 1  # 1970-01-01 was a Thursday
            if weekday in of.weekday or (either and day_of_month in of.day):
                yield day


def _times_in_zone(walls: _WallTimes, zone: tzinfo, timestamp: int) -> Iterator[int]:
    """Return the times after one, in Unix seconds, at which the zone's clock shows a wall time.

    The zone is less than a day away from UTC: what its clock shows in a day of UTC lies from the
    day before to the day after. A clock is put forward or back by less than two days.
    """
    day = timestamp // SECONDS_A_DAY - 2
    # The wall time up to which all have had their turn: where nothing repeats, each has one turn.
    passed: int | None = None
    while (upcoming := walls.next_day(day - 1)) is not None:
        if upcoming - 2 > day:
            day, passed = upcoming - 2, None
        for start, end, offset in _spans(zone, day * SECONDS_A_DAY, (day + 1) * SECONDS_A_DAY):
            shown = start + offset
            if passed is None or walls.repeat:
                passed = shown
            if (
                start > timestamp
                and walls.any_between(passed, shown)
                and not walls.any_between(shown, shown + 1)
            ):
                yield start  # for all that the clock left out
            for wall in walls.between(max(shown, passed, timestamp + 1 + offset), end + offset):
                yield wall - offset
            passed = max(passed, end + offset)
        day += 1


def _spans(zone: tzinfo, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Return the parts of a day of UTC in which a zone has one offset: start, end and offset.

    A zone keeps an offset for days at least, so one that a day begins and ends with holds all day.
    """
    offset, last_offset = _offset(zone, start), _offset(zone, end)
    while offset != last_offset:
        low, high = start, end  # the offset holds at the low time, and does not at the high one
        while high - low > 1:
            middle = (low + high) // 2
            if _offset(zone, middle) == offset:
                low = middle
            else:
                high = middle
        yield start, high, offset
        start, offset = high, _offset(zone, high)
    if start < end:
        yield start, end, offset


def _offset(zone: tzinfo, timestamp: int) -> int:
    """Return how far a zone's clock is ahead of UTC, in seconds."""
    moment = _FIRST_MOMENT + timedelta(seconds=timestamp)
    return (zone.fromutc(moment.replace(tzinfo=zone)).replace(tzinfo=None) - moment) // _SECOND
