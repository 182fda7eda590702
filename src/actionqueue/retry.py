"""When to try again what has failed in the background."""

from __future__ import annotations

import time

from actionqueue.growth import CHECK_SECONDS

RETRY_SECONDS_MAX = 3600.0


class Retry:
    """When to try again after a failure in the background: after a while that grows."""

    def __init__(self) -> None:
        self._at = self._seconds = 0.0

    @property
    def is_put_off(self) -> bool:
        """Whether it is too early."""
        return time.monotonic() < self._at

    def put_off(self) -> float:
        """Note a failure, and return the seconds until the next try."""
        self._seconds = min(max(CHECK_SECONDS, 2 * self._seconds), RETRY_SECONDS_MAX)
        self._at = time.monotonic() + self._seconds
        return self._seconds

    def succeed(self) -> None:
        """Begin with short whiles again."""
        self._seconds = 0.0
