"""What the commands have in common that change a queue as a scheduler does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from actionqueue.cli.progress import open_with_bar
from actionqueue.errors import UnknownRun, UnknownTask
from actionqueue.limits import RING_SIZE_MIN
from actionqueue.model import RunId, TaskId
from actionqueue.scheduler import Scheduler

__all__ = ["scheduler_of"]


@contextmanager
def scheduler_of(directory: Path) -> Iterator[Scheduler]:
    """Open a queue, and return a scheduler over it; what it appends is then on stable storage.

    A run or a task that the queue does not know is then bad usage.
    """
    with open_with_bar(directory, create=False, compaction=None, ring_size=RING_SIZE_MIN) as queue:
        try:
            yield Scheduler(queue)
        except UnknownRun as error:
            raise _unknown("run", error.run_id) from None
        except UnknownTask as error:
            raise _unknown("task", error.task_id) from None


def _unknown(kind: str, identifier: RunId | TaskId) -> click.BadParameter:
    return click.BadParameter(
        f"The queue knows no {kind} {identifier}.", param_hint=f"'{kind.upper()}'"
    )
