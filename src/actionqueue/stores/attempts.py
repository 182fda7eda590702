"""By what a campaign knows what it has done itself, where the answer to that was lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

__all__ = ["Attempts"]

Mark = TypeVar("Mark")


class Attempts(Generic[Mark]):
    """Gives each campaign a mark of its own, which goes into the engine with the epoch.

    A campaign that resumes a term and fails may still be carried out later. So the next one that
    resumes the term goes on with its mark, and does not take it for another writer.
    """

    def __init__(self, make: Callable[[], Mark]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._failed: dict[int, Mark] = {}
        """The mark of the last campaign that failed, by the epoch that it resumed."""

    @contextmanager
    def resuming(self, epoch: int | None) -> Iterator[Mark]:
        """Give the mark for a campaign that resumes an epoch, or none; of two at once two."""
        with self._lock:
            mark = None if epoch is None else self._failed.pop(epoch, None)
        if mark is None:
            mark = self._make()
        try:
            yield mark
        except BaseException:
            if epoch is not None:
                with self._lock:
                    self._failed = {epoch: mark}
            raise
