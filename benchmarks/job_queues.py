"""What a job queue is for jobs.py: three calls, add, work and close. This project's is here.

job_peers.py has the other queues that need no server, job_servers.py those that do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import actionqueue as aq
from actionqueue.bench.workload import OUTPUT

__all__ = [
    "OURS",
    "PAYLOAD",
    "PAYLOAD_TEXT",
    "Add",
    "How",
    "Jobs",
    "Queue",
    "calls",
    "found",
    "in_threads",
    "perform",
    "worker_of",
]

PAYLOAD_TEXT = "0123456789" * 10
PAYLOAD = PAYLOAD_TEXT.encode()
"""A hundred bytes, which each peer's format of texts takes as they are."""
OWNER = "worker-0001"

_started = count()


def perform(payload: bytes | str) -> bytes:
    """Do the work of a job: there is none, but peers that import their jobs find it here."""
    next(_started)
    return OUTPUT if payload else b""


def calls() -> int:
    """Return a number that grows by one with each job performed, and with each call of this."""
    return next(_started)


class How(NamedTuple):
    """How jobs are taken through a queue."""

    is_synced: bool
    """Whether each call returns only when its change is on stable storage."""
    group: int
    """Jobs a call, where the queue has such calls."""
    threads: int


Add = Callable[[int], object]
"""Takes a number of jobs, and acts for each of them."""


class Jobs(NamedTuple):
    """An open queue."""

    adder: Callable[[], Add]
    """Returns a thread's function that adds jobs."""
    work: Callable[[int], float]
    """Claims and completes a number of jobs with the threads that it was opened for, and returns
    the seconds that this took, without the start and the end of the workers."""
    close: Callable[[], object]


class Queue(NamedTuple):
    """A kind of queue, and what a program needs to use it."""

    name: str
    module: str
    open: Callable[[Path, How], Jobs]
    """Takes a new directory. Raises ImportError, OSError or RuntimeError where something that the
    queue needs is missing."""
    deferred: str
    """The settings with which a killed process loses nothing, and what they promise less."""
    immediate: str
    """The settings with which a power loss takes nothing, and what they promise less."""
    groups: str = ""
    """Which of its calls take several jobs; empty without any."""


def in_threads(functions: Sequence[Add], jobs: int) -> float:
    """Give each function its share of the jobs, in a thread of its own if there are several.

    Returns the seconds from the moment in which all threads are ready to the end of the last one.
    """
    if len(functions) == 1:
        began = perf_counter()
        functions[0](jobs)
        return perf_counter() - began
    times: list[float] = []
    start = threading.Barrier(len(functions), lambda: times.append(perf_counter()))

    def act(function: Add) -> None:
        start.wait()
        function(jobs // len(functions))

    with ThreadPoolExecutor(len(functions)) as pool:
        ends = [pool.submit(act, function) for function in functions]
        for end in ends:
            end.result()
        return perf_counter() - times[0]


def worker_of(connect: Callable[[], Add], how: How) -> Callable[[int], float]:
    """Return the `work` of a queue of which each thread has a function."""
    functions = [connect() for _ in range(how.threads)]
    return lambda jobs: in_threads(functions, jobs)


def found(job: Any) -> Any:
    """Return a job; a queue that has lost one must not go on to a figure."""
    if job is None:
        raise LookupError("a job was added, and is not there")
    return job


# --- This project ---------------------------------------------------------------------------------


def actionqueue_jobs(directory: Path, how: How) -> Jobs:
    """Use a scheduler. A group of synced jobs shares the sync at the end of each of its steps."""
    is_immediate = how.is_synced and how.group == 1
    queue = aq.open(
        directory, durability="immediate" if is_immediate else "deferred", compaction=None
    )
    scheduler = aq.Scheduler(queue)
    settle: Callable[[], object] = queue.sync if how.is_synced and not is_immediate else bool
    group = how.group

    def add(jobs: int) -> None:
        if group == 1:
            for _ in range(jobs):
                scheduler.add(PAYLOAD)
            return
        for begin in range(0, jobs, group):
            scheduler.add_many([PAYLOAD] * min(group, jobs - begin))
            settle()

    def work(jobs: int) -> None:
        left = jobs
        while left:
            claims = scheduler.claim(OWNER, min(group, left))
            if not claims:
                raise LookupError("a job was added, and is not there")
            settle()
            if group == 1:
                scheduler.complete(claims[0], perform(claims[0].payload))
            else:
                scheduler.complete_many([(claim, perform(claim.payload)) for claim in claims])
            settle()
            left -= len(claims)

    return Jobs(lambda: add, worker_of(lambda: work, how), queue.close)


OURS = Queue(
    "actionqueue",
    "actionqueue",
    actionqueue_jobs,
    deferred="durability='deferred'",
    immediate="durability='immediate'; groups: 'deferred', and sync() after each call for a "
    "hundred",
    groups="add_many, claim, complete_many",
)
