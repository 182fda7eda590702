"""A store's newest term, and when the engine has heard of it last."""

from __future__ import annotations

import threading

__all__ = ["Heard"]


class Heard:
    """Threads share it: one may keep a term while another gives it back, or has a newer one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.epoch = 0
        """The newest term's; 0 where there is none, or it was given back."""
        self._at = 0.0

    def begin(self, epoch: int, asked_at: float) -> None:
        """Note a new term, which the engine was asked for then."""
        with self._lock:
            self.epoch, self._at = epoch, asked_at

    def hear(self, epoch: int, asked_at: float) -> None:
        """Note that the engine heard of a term then, or later, if it is the newest."""
        with self._lock:
            if self.epoch == epoch:
                self._at = max(self._at, asked_at)

    def end(self, epoch: int) -> bool:
        """Forget a term; return whether it was the newest."""
        with self._lock:
            is_newest = self.epoch == epoch
            if is_newest:
                self.epoch, self._at = 0, 0.0
            return is_newest

    def until(self, epoch: int, seconds: float) -> float:
        """Return when the seconds are over in which the engine keeps others from the newest term.

        It is a time long ago for any other.
        """
        with self._lock:
            return self._at + seconds if self.epoch == epoch and epoch else 0.0
