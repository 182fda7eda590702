"""The wall clock that commands are stamped with."""

from __future__ import annotations

import time

__all__ = ["now"]


def now() -> int:
    """Return the current time in whole Unix seconds; 0 while the clock stands before 1970."""
    return max(int(time.time()), 0)
