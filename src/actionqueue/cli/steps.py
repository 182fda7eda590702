"""What the commands have in common that change a queue as a scheduler does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actionqueue.cli.progress import open_with_bar
from actionqueue.limits import RING_SIZE_MIN
from actionqueue.scheduler import Scheduler

__all__ = ["scheduler_of"]


@contextmanager
def scheduler_of(directory: Path) -> Iterator[Scheduler]:
    """Open a queue, and return a scheduler over it; what it appends is then on stable storage."""
    with open_with_bar(directory, create=False, compaction=None, ring_size=RING_SIZE_MIN) as queue:
        yield Scheduler(queue)
