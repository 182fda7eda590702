"""How fast one thread takes jobs through a queue, one call at a time."""

from __future__ import annotations

import time
from pathlib import Path

import actionqueue as aq

__all__ = ["SECONDS", "jobs_per_second"]

SECONDS = 0.5
"""How long each measurement goes on."""
OWNER = "this process"


def jobs_per_second(
    directory: Path, durability: aq.DurabilityPolicy, seconds: float = SECONDS
) -> float:
    """Return how many jobs a second are added, claimed and completed, in a new queue.

    The jobs do no work, and each call returns before the next one is made. It measures for
    ``seconds``, at least one job.
    """
    with aq.open(directory, durability=durability) as queue:
        return _jobs_per_second(aq.Scheduler(queue), seconds)


def _jobs_per_second(scheduler: aq.Scheduler, seconds: float) -> float:
    jobs, began, elapsed = 0, time.perf_counter(), 0.0
    while elapsed < seconds or not jobs:
        scheduler.add(b"job")
        for claim in scheduler.claim(OWNER):
            scheduler.complete(claim)
            jobs += 1
        elapsed = time.perf_counter() - began
    return jobs / elapsed
