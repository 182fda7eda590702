"""The wall clock that commands are stamped with."""

from __future__ import annotations

import time

__all__ = ["now"]


def now() -> int:
    """Return the current time in whole Unix seconds; 0 while the clock stands before 1970."""
    seconds = int(time.time())
    return seconds if seconds > 0 else 0  # noqa: FURB136 -- max() takes as long as all the rest
