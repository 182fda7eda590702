"""Retention: what a queue forgets of what has ended, and when."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Self, TypeAlias

from actionqueue import clock
from actionqueue.compaction import CompactionPolicy
from actionqueue.limits import U64_MAX
from actionqueue.model import RunsPurged

PURGED = ("run_ids", "task_ids", "subscription_ids", "actor_ids")
Place: TypeAlias = tuple[int, int, int]
PLACE_FIRST: Place = (0, 0, 0)
"""Where a search for what retention may forget begins, and where it stands at its end."""
Forgotten: TypeAlias = tuple[RunsPurged | None, Place, bool]
"""What a slice of a search has forgotten, where to go on, and whether it has put off a task for its
many dependents."""
SEARCHES_MAX = 16
"""How often in a row retention searches everything. It searches again where it put off tasks and
forgot others that may have depended on them."""
TURN_SECONDS = 0.0005
"""How long retention keeps out of the lane between two slices. Without that it would take the lane
again before a waiting submitter is awake."""

CATCH_UP = 24
"""The clock of the policy's retention runs at most this many times as fast as time passes;
:class:`RetentionClock` says why."""
CENTURY_SECONDS = 100 * 365 * 86400


class Retention(NamedTuple):
    """What to forget: what ended, and lines of the ledger, up to these times in Unix seconds.

    None forgets nothing of it.
    """

    cutoff: int | None
    ledger_cutoff: int | None
    today: int
    """Tombstones that end by then are dropped."""
    kept_until: int | None
    """When the tombstones made now end; None makes no tombstones."""

    @classmethod
    def at(
        cls,
        today: int,
        wall: int,
        retention_seconds: int | None,
        ledger_retention_seconds: int | None,
        tombstone_seconds: int | None,
    ) -> Self | None:
        """Return what to forget by these ages on a day; None where that is nothing.

        The wall clock may be ahead of that day: the times of tombstones go by it.
        """
        cutoff, ledger_cutoff = (
            None if age is None or age > today else today - age
            for age in (retention_seconds, ledger_retention_seconds)
        )
        if cutoff is None and ledger_cutoff is None:
            return None
        kept_until = (
            min(max(today, wall) + tombstone_seconds, U64_MAX) if tombstone_seconds else None
        )
        return cls(cutoff, ledger_cutoff, today, kept_until)


class RetentionClock:
    """What time it is for the policy's retention.

    A machine may start, or go on, with a clock that is far ahead, and retention would forget what
    ended a moment ago. So this clock begins at the latest change of a run in the log or, without
    any, at the wall clock. It follows the wall clock, ahead at most ``CATCH_UP`` times as fast as
    time passes, and back at once. After the queue was closed for long it lags for a while.
    """

    def __init__(self, newest_change: int) -> None:
        wall = clock.now()
        self._time = float(min(wall, newest_change) if newest_change else wall)
        self._looked_at = time.monotonic()

    def now(self) -> int:
        """Return Unix seconds."""
        instant = time.monotonic()
        self._time = min(float(clock.now()), self._time + CATCH_UP * (instant - self._looked_at))
        self._looked_at = instant
        return int(self._time)


def ages(policy: CompactionPolicy) -> list[int]:
    """Return after how many seconds the policy forgets; an empty list where it never does."""
    return [
        age
        for age in (policy.retention_seconds, policy.ledger_retention_seconds)
        if age is not None
    ]


def forget(
    purge: Callable[[Retention, Place], Forgotten],
    what: Retention,
    ensure_running: Callable[[], None],
) -> Counter[str]:
    """Forget what ended by the cutoff; return how many rows of each kind.

    It does so a slice at a time, so that submitters get their turns. It puts off a task with
    very many dependents until it has forgotten the finished ones, so the task may take another
    search.
    """
    purged = Counter[str]()
    for _ in range(SEARCHES_MAX):
        found, has_put_off = _search(purge, what, ensure_running)
        purged += found
        if not (has_put_off and found["task_ids"]):
            break
    return purged


def _search(
    purge: Callable[[Retention, Place], Forgotten],
    what: Retention,
    ensure_running: Callable[[], None],
) -> tuple[Counter[str], bool]:
    """Search everything once; return what was forgotten, and whether a task was put off."""
    purged, place, has_put_off = Counter[str](), PLACE_FIRST, False
    while True:
        event, place, puts_off = purge(what, place)
        has_put_off |= puts_off
        if event is not None:
            purged += Counter(
                {name: len(getattr(event, name)) for name in PURGED}
                | {"ledger_entries": event.ledger_entries}
            )
        if place == PLACE_FIRST:
            return purged, has_put_off
        ensure_running()
        time.sleep(TURN_SECONDS)


def odd_timestamps(directory: str, newest: int, today: int) -> str | None:
    """Return a warning where runs ended in a far future: retention never gets there."""
    if newest <= today + CENTURY_SECONDS:
        return None
    return (
        f"runs of {directory} changed their state at {newest}, which is no time in Unix seconds "
        f"near the clock's {today}; retention does not forget what ends in the future"
    )
