"""How often a task runs: once, a number of times at an interval, or by a cron expression."""

from typing import Any

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
    """Runs at the times of a cron expression, in UTC.

    The expression has seven fields (second, minute, hour, day of the month, month, weekday, year),
    or six with the year left out, or is one of ``@yearly @monthly @weekly @daily @hourly``.
    Weekdays are 1 (Sunday) to 7 (Saturday) or names. A time must match every field, day of the
    month and weekday both. The grammar is that of :mod:`actionqueue.model.cron`. What is no such
    expression is refused; the runs are the scheduler's to create:
    docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    expression: NonEmptyText
    max_occurrences: PositiveU32 | None = None
    """Runs that the scheduler is to create in all, at least 1; None for no bound:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""

    def _check_together(self) -> None:
        try:
            cron.parse(self.expression)
        except cron.CronSyntaxError as error:
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
            InvalidFieldError: A number is out of range.
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
        return cron.parse(self.expression).next_after(after, most)

    def _to_keys(self) -> dict[str, Any]:
        return {"repeat": None, "cron": [self.expression, self.max_occurrences]}
