"""Works in threads that begin at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable


def run_together(works: list[Callable[[], None]]) -> None:
    """Run each in a thread of its own, beginning at the same time; the first exception is raised
    here.
    """
    barrier = threading.Barrier(len(works))
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        barrier.wait()
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def until_done(
    works: list[Callable[[], None]], beside: list[Callable[[], None]], *, patience: int = 1
) -> None:
    """Run works to their ends, and others again and again beside them.

    The others run at least ``patience`` times each, and stop early where anything fails.
    """
    left = len(works)
    lock = threading.Lock()
    is_done = threading.Event()

    def to_the_end(work: Callable[[], None]) -> None:
        nonlocal left
        try:
            work()
        except BaseException:
            is_done.set()
            raise
        with lock:
            left -= 1
            if left == 0:
                is_done.set()

    def again_and_again(work: Callable[[], None]) -> None:
        try:
            for _ in range(patience):
                work()
            while not is_done.is_set():
                work()
        except BaseException:
            is_done.set()
            raise

    run_together(
        [lambda work=work: to_the_end(work) for work in works]  # type: ignore[misc]
        + [lambda work=work: again_and_again(work) for work in beside]  # type: ignore[misc]
    )
