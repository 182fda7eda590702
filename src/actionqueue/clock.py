"""The wall clock that commands are stamped with."""

from __future__ import annotations

import time
from datetime import UTC, datetime

__all__ = ["now"]


def now() -> int:
    """Return the current time in whole Unix seconds; 0 while the clock stands before 1970."""
    return max(int(time.time()), 0)


def moment(seconds: int) -> str:
    """Return Unix seconds as text for people."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):  # a number that is no time, from a lock file that was tampered with
        return str(seconds)
