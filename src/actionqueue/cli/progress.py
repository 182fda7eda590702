"""Long calls: a bar where somebody looks, and Ctrl-C that ends them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from _wal_native.progress import Progress

__all__ = ["run_with_bar"]

LOOK_SECONDS = 0.1

Result = TypeVar("Result")


def run_with_bar(title: str, work: Callable[[Progress], Result]) -> Result:
    """Run the work in a thread of its own, and return what it returns or raise what it raises.

    The work gets something to tell its progress to; Ctrl-C cancels it, waits for its end, and goes on its way.
    """
    progress = Progress()
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(progress))
        except BaseException as error:  # noqa: BLE001 -- it is raised again where the work was asked for
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


def _watch(title: str, worker: threading.Thread, progress: Progress) -> None:
    if not sys.stderr.isatty():
        worker.join()
        return
    columns = TextColumn(title), BarColumn(), TimeElapsedColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        while worker.is_alive():
            worker.join(LOOK_SECONDS)
            if progress.total > 0:
                bar.update(task, total=progress.total, completed=min(progress.done, progress.total))
