"""Finds a wrong promotion: an engine that no longer has what it acknowledged to this process."""

from __future__ import annotations

from actionqueue.errors import AcknowledgedLostError

__all__ = ["Canary"]


class Canary:
    """The last sequence that this process knows to be durable."""

    def __init__(self) -> None:
        self.known = 0

    def know(self, sequence: int) -> None:
        """Note that a majority has all events up to a sequence."""
        self.known = max(self.known, sequence)

    def compare(self, last: int, known: int) -> None:
        """Raise AcknowledgedLostError where the engine's last event comes before a known one.

        ``known`` is from before the engine was asked: what another thread has appended since need
        not be in the answer.
        """
        if last < known:
            raise AcknowledgedLostError(last + 1, known)
