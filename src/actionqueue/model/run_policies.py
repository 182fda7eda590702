"""How often a task runs: once, a number of times at an interval, or by a cron expression."""

from typing import Any, Self

from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import CALENDAR_SECONDS_MAX, U32_MAX
from actionqueue.model import cron
from actionqueue.model.fields import Abstract, NonEmptyText, PositiveU32, PositiveU64
from actionqueue.model.forms import Keys
from actionqueue.policy_fields import number_up_to

__all__ = [
    "Cron",
    "Once",
    "Repeat",
    "RunPolicy",
]


_TIMES = (
    f"must be Unix seconds, a whole number from 0 to {CALENDAR_SECONDS_MAX}"
    " (the end of the year 9999)"
)


class RunPolicy(Abstract, frozen=True, gc=False):
    """Base of the three policies.

    The scheduler acts on them, the queue does not:
    docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    @classmethod
    def _from_keys(cls, keys: Keys) -> "RunPolicy":
        repeat = keys.take("repeat", None)
        cron = keys.take("cron", None)
        if repeat is not None and cron is not None:
            reason = "must not be given together with repeat"
            raise InvalidFieldError(keys.where, "cron", cron, reason)
        if repeat is not None:
            return Repeat(*_pair(keys, "repeat", repeat, "[count, interval_secs]"))
        if cron is not None:
            return Cron(*_pair(keys, "cron", cron, "[expression, max_occurrences]"))
        return Once()

    def _to_keys(self) -> dict[str, Any]:
        return {"repeat": None}


def _pair(keys: Keys, key: str, value: Any, form: str) -> tuple[Any, Any]:
    if not isinstance(value, list | tuple):
        raise InvalidFieldTypeError(keys.where, key, value, f"must be {form}")
    try:
        first, second = value
    except ValueError:
        raise InvalidFieldError(keys.where, key, value, f"must be {form}") from None
    return first, second


class Once(RunPolicy, frozen=True, gc=False):
    """One run: docs/guide.md#what-the-queue-refuses-what-is-yours."""


class Repeat(RunPolicy, frozen=True, gc=False):
    """A number of runs at a fixed interval: docs/guide.md#what-the-queue-refuses-what-is-yours."""

    count: PositiveU32
    """Runs that the scheduler is to create in all, at least 1:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    interval_secs: PositiveU64
    """Seconds from one run to the next, at least 1, for the scheduler to keep:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""

    def _to_keys(self) -> dict[str, Any]:
        return {"repeat": [self.count, self.interval_secs]}


class Cron(RunPolicy, frozen=True, gc=False):
    """Runs at the times of a cron expression, in UTC or a time zone.

    The expression has seven fields (second, minute, hour, day of the month, month, weekday, year),
    or six with the year left out, or is one of ``@yearly @monthly @weekly @daily @hourly``.
    Weekdays are 1 (Sunday) to 7 (Saturday) or names. A time must match every field, day of the
    month and weekday both. Before it may stand a time zone: ``CRON_TZ=Europe/Zurich 0 30 2 * * *``.
    The grammar is that of :mod:`actionqueue.model.cron`. What is no such expression is refused; the
    runs are the scheduler's to create: docs/guide.md#what-the-queue-refuses-what-is-yours.

    :meth:`from_crontab` makes one of the five fields of a crontab, which has other weekdays and
    another rule of days.

    Two nights a year a zone's clock is put forward or back. An expression that repeats (its second
    or minute has a ``*`` or a step, or its hour matches all 24) goes by that clock: it matches
    nothing in the hour that the clock leaves out, and matches in both of the hours that it shows
    twice, because work for every few minutes must not stop for an hour. Every other expression
    names times of the day, and matches once for each: for the times that the clock leaves out
    together, at the first second after them (02:30 at 03:00); for a time that comes twice, at the
    first. So a job of each night is neither left out nor done twice.

    This machine need not know the time zone, so that what another one wrote can be read.
    :class:`~actionqueue.TaskCreateCommand`, which has it written, refuses a zone that is not known.
    """

    expression: NonEmptyText
    max_occurrences: PositiveU32 | None = None
    """Runs that the scheduler is to create in all, at least 1; None for no bound:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""

    @classmethod
    def from_crontab(
        cls, line: str, timezone: str | None = None, max_occurrences: int | None = None
    ) -> Self:
        """Return the policy that runs when a line of a crontab says, as cron reads it.

        ``Cron.from_crontab("*/5 8-18 * * 1-5", "Europe/Zurich")`` has the expression
        ``CRON_TZ=Europe/Zurich 0 */5 8-18 * * MON-FRI``, which the log keeps.

        Args:
            line: The five fields without the command: minute, hour, day of the month, month,
                weekday. Weekdays are 0 to 7, where 0 and 7 are Sunday, or names. Where neither the
                day of the month nor the weekday begins with ``*``, a day matches where either does:
                ``0 12 13 * 5`` is every 13th and every Friday, and becomes ``0 0 12 13 * |FRI``.
                Or one of ``@yearly @annually @monthly @weekly @daily @midnight @hourly``. The time
                zone may stand before either, as ``CRON_TZ=Europe/Zurich``.
            timezone: A name of the IANA time zone database. None: what the line says, or UTC.
            max_occurrences: Runs that the scheduler is to create in all; None for no bound.

        Raises:
            InvalidFieldError: It is no such line, this machine does not know the time zone, or a
                number is out of range.
            InvalidFieldTypeError: An argument is of another type.
        """
        if not isinstance(line, str):
            raise InvalidFieldTypeError("from_crontab", "line", line, "must be a str")
        if timezone is not None and not isinstance(timezone, str):
            reason = "must be the name of a time zone, or None"
            raise InvalidFieldTypeError("from_crontab", "timezone", timezone, reason)
        try:
            cron.zone_named(timezone)
        except cron.TimeZoneError as error:
            raise InvalidFieldError("from_crontab", "timezone", timezone, str(error)) from None
        try:
            expression = cron.expression_of(line, timezone)
            cron.zone_named(cron.parse(expression).zone)
        except (cron.CronSyntaxError, cron.TimeZoneError) as error:
            raise InvalidFieldError("from_crontab", "line", line, str(error)) from None
        return cls(expression, max_occurrences)

    def _check_together(self) -> None:
        try:
            cron.parse(self.expression)
        except cron.CronSyntaxError as error:
            raise InvalidFieldError("Cron", "expression", self.expression, str(error)) from None

    def check_time_zone(self) -> None:
        """Raise InvalidFieldError where this machine does not know the expression's time zone."""
        try:
            cron.zone_named(cron.parse(self.expression).zone)
        except cron.TimeZoneError as error:
            raise InvalidFieldError("Cron", "expression", self.expression, str(error)) from None

    def next_occurrences_after(self, timestamp: int, count: int) -> list[int]:
        """Return the next times strictly after one, in Unix seconds, oldest first.

        At most ``count``, and fewer where the expression has no more of them: it may name years,
        and ends with 2100. ``max_occurrences`` bounds the runs of a task in all, so it does not
        count here.

        Args:
            timestamp: Unix seconds, a whole number from 0 to
                ``actionqueue.limits.CALENDAR_SECONDS_MAX``, which is the end of the year 9999: what
                is beyond is a time in another unit, such as milliseconds.
            count: A whole number from 0 to 2**32 - 1.

        Raises:
            InvalidFieldError: A number is out of range, or this machine does not know the
                expression's time zone.
            InvalidFieldTypeError: A number is no whole number.
        """
        after = number_up_to(
            "next_occurrences_after", "timestamp", timestamp, CALENDAR_SECONDS_MAX, _TIMES
        )
        most = number_up_to(
            "next_occurrences_after",
            "count",
            count,
            U32_MAX,
            f"must be a whole number from 0 to {U32_MAX}",
        )
        try:
            return cron.parse(self.expression).next_after(after, most)
        except cron.TimeZoneError as error:
            raise InvalidFieldError("Cron", "expression", self.expression, str(error)) from None

    def _to_keys(self) -> dict[str, Any]:
        return {"repeat": None, "cron": [self.expression, self.max_occurrences]}
