"""Forks again and again while threads submit, sync, rotate, open, close and drop queues:
``forks_under_load.py <directory> <forks>``.

Each child looks for what it must not have, and ends as any program does: with finalizers. Prints
how many children ended well.
"""

from __future__ import annotations

import gc
import os
import signal
import stat
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import actionqueue as aq

CHILD_SECONDS = 300
SMALL = {"segment_size": 65536, "ring_size": 65536}


def task(payload: bytes = b"") -> aq.TaskCreateCommand:
    return aq.TaskCreateCommand(None, aq.TaskSpec(payload=payload), 1)


def identities(directory: Path) -> set[tuple[int, int]]:
    """Return what files and directories of queues there are."""
    found = set()
    for place in [directory, *directory.rglob("*")]:
        try:
            status = place.lstat()
        except FileNotFoundError:  # the parent goes on
            continue
        found.add((status.st_dev, status.st_ino))
    return found


def descriptors_of_queues(directory: Path) -> list[int]:
    """Return which of this process's descriptors lead into the queues' directories."""
    device, known = directory.stat().st_dev, identities(directory)
    found = []
    for descriptor in range(256):
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        is_removed = (
            status.st_dev == device and status.st_nlink == 0 and stat.S_ISREG(status.st_mode)
        )
        if (status.st_dev, status.st_ino) in known or is_removed:
            found.append(descriptor)
    return found


def look_around(directory: Path, queue: aq.ActionQueue, number: int) -> None:
    """In a child: everything is refused, nothing is held."""
    signal.alarm(CHILD_SECONDS)
    # The parent's queues, which go when this process ends, are not its own.
    warnings.filterwarnings("error", "unclosed queue")
    left = descriptors_of_queues(directory)
    assert left == [], left
    entries: list[Callable[[], object]] = [
        lambda: queue.submit(task()),
        lambda: queue.submit_many([task()]),
        queue.sync,
        queue.stats,
        queue.__enter__,
    ]
    for entry in entries:
        try:
            entry()
        except aq.ForkedError:
            pass
        else:
            raise AssertionError("the parent's queue was used")
    assert queue.projection.latest_sequence >= 0
    if number % 3 == 0:
        queue.close()
        gc.collect()
    if number % 5 == 0:
        try:
            aq.open(queue.path)
        except aq.LockedError as error:
            assert error.pid == os.getppid(), error
        else:
            raise AssertionError("the parent's lock was lost")
    if number % 7 == 0:
        with aq.open(directory / f"child {number}", **SMALL) as own:
            for _ in range(5):
                own.submit(task(b"x" * 20_000))


class Turns:
    """So many submissions by one thread for each fork: the log must not grow with how long a fork
    takes.
    """

    def __init__(self, for_each_fork: int) -> None:
        self.for_each_fork = for_each_fork
        self.left = threading.Semaphore(0)

    def begin_fork(self) -> None:
        self.left.release(self.for_each_fork)


def load(
    directory: Path,
    queue: aq.ActionQueue,
    is_done: threading.Event,
    turns: tuple[Turns, Turns, Turns],
) -> list[threading.Thread]:
    def submit(size: int, durability: str, mine: Turns) -> None:
        while mine.left.acquire() and not is_done.is_set():
            queue.submit_many([task(bytes(size)), task()], durability)
            queue.submit(task(bytes(size)), durability)

    def sync() -> None:
        while not is_done.is_set():
            queue.sync()

    def live(number: int) -> None:
        """Open and close a queue again and again, and leave every third to the collector."""
        path, lives = directory / f"other {number}", 0
        while not is_done.is_set():
            other = aq.open(path, **SMALL)
            other.submit(task(b"x" * 40_000), "deferred")
            lives += 1
            if lives % 3:
                other.close()
            del other

    works: list[tuple[Callable[..., None], tuple[object, ...]]] = [
        (submit, (10, "immediate", turns[0])),
        (submit, (9000, "deferred", turns[1])),
        (submit, (70_000, "deferred", turns[2])),
        (sync, ()),
        (live, (1,)),
        (live, (2,)),
    ]
    threads = [threading.Thread(target=work, args=arguments) for work, arguments in works]
    for thread in threads:
        thread.start()
    return threads


def main() -> None:
    directory, forks = Path(sys.argv[1]), int(sys.argv[2])
    warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
    warnings.filterwarnings("ignore", "unclosed queue")
    queue = aq.open(directory / "queue", **SMALL)
    is_done = threading.Event()
    turns = Turns(50), Turns(10), Turns(2)
    threads = load(directory, queue, is_done, turns)
    ended_well = 0
    try:
        for number in range(forks):
            for each in turns:
                each.begin_fork()
            child = os.fork()
            if child == 0:
                look_around(directory, queue, number)
                return
            ended_well += os.waitpid(child, 0)[1] == 0
    finally:
        is_done.set()
        for each in turns:
            each.begin_fork()  # whoever waits for a turn sees that all is done
        for thread in threads:
            thread.join()
    queue.submit(task())
    sequence = queue.sequence
    queue.close()
    print(ended_well, sequence)


if __name__ == "__main__":
    main()
