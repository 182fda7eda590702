"""Long calls show a bar on a terminal, and end with Ctrl-C."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

import actionqueue as aq
from _wal_native.progress import Progress

__all__ = ["open_with_bar", "run_with_bar"]

LOOK_SECONDS = 0.1

Result = TypeVar("Result")


def run_with_bar(title: str, work: Callable[[Progress], Result]) -> Result:
    """Run the work in a thread of its own, and return what it returns or raise what it raises.

    The work reports to a Progress. Ctrl-C cancels the work, waits for its end, and then raises
    KeyboardInterrupt.
    """
    progress = Progress()
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(progress))
        except BaseException as error:  # noqa: BLE001 -- the caller's thread raises it again
            errors.append(error)

    worker = threading.Thread(target=run, name=title)
    worker.start()
    try:
        _watch(title, worker, progress)
    except BaseException:
        progress.cancel()
        worker.join()
        raise
    if errors:
        raise errors[0]
    return results[0]


def open_with_bar(directory: Path, **options: Any) -> aq.ActionQueue:
    """Open a queue as :func:`actionqueue.open` does, with a bar on a terminal."""
    if not sys.stderr.isatty():
        return _open(directory, options)  # in this thread, which Ctrl-C ends as well
    return run_with_bar(
        "opening", lambda progress: _open(directory, {**options, "progress": progress})
    )


def _open(directory: Path, options: dict[str, Any]) -> aq.ActionQueue:
    queue: aq.ActionQueue = aq.open(directory, **options)
    return queue


def _watch(title: str, worker: threading.Thread, progress: Progress) -> None:
    if not sys.stderr.isatty():
        worker.join()
        return
    columns = TextColumn(title), BarColumn(), TimeElapsedColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        _move(bar, task, worker, progress)


def _move(bar: Bar, task: TaskID, worker: threading.Thread, progress: Progress) -> None:
    # In a function of its own (tests/unit/test_loops.py): a Ctrl-C where a loop goes back ends no
    # with block in the same function in CPython 3.13, and the terminal would lack its cursor.
    while worker.is_alive():
        worker.join(LOOK_SECONDS)
        if progress.total > 0:
            bar.update(task, total=progress.total, completed=min(progress.done, progress.total))
