"""What tasks of an event loop gain that wait for the disk together.

So many tasks submit the lifecycle workload, one Immediate command after the other, to one queue of `actionqueue.aio`. For comparison,
tasks do the same with `asyncio.to_thread(queue.submit, command)`, in as many threads as the loop's executor has.

    python benchmarks/asyncio_tasks.py --seconds 2 --rounds 7
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any

import actionqueue as aq
from actionqueue.aio import AsyncQueue
from actionqueue.bench.workload import commands_of_a_run
from measure import finish, interleave, parser, scratch
from shared import Shared, measured, queue_in, rows_of

TASKS = (1, 10, 100, 1000, 10_000)
TASKS_IN_THREADS = 100

Submit = Callable[[aq.MutationCommand], Awaitable[Any]]


async def work(submit: Submit, ends: float, times: array[int]) -> None:
    """Submit until the time is up."""
    while perf_counter() < ends:
        for command in commands_of_a_run():
            began = perf_counter_ns()
            await submit(command)
            times.append(perf_counter_ns() - began)


async def all_work(queue: aq.ActionQueue, submit: Submit, tasks: int, seconds: float) -> Shared:
    """Let so many tasks submit."""
    found: list[Shared] = []
    times = [array("Q") for _ in range(tasks)]
    with measured(queue, times, found.append):
        ends = perf_counter() + seconds
        await asyncio.gather(*(work(submit, ends, mine) for mine in times))
    return found[0]


def share(directory: Path, tasks: int, seconds: float) -> Shared:
    """Submit from so many tasks for some time."""
    with aq.open(queue_in(directory), compaction=None) as queue:
        return asyncio.run(_share(queue, tasks, seconds))


async def _share(queue: aq.ActionQueue, tasks: int, seconds: float) -> Shared:
    async with AsyncQueue(queue) as shared:
        return await all_work(queue, shared.submit, tasks, seconds)


def in_threads(directory: Path, seconds: float) -> Shared:
    """Do the same with a thread for each submit."""
    with aq.open(queue_in(directory), compaction=None) as queue:

        def submit(command: aq.MutationCommand) -> Awaitable[Any]:
            return asyncio.to_thread(queue.submit, command)

        return asyncio.run(all_work(queue, submit, TASKS_IN_THREADS, seconds))


def name_of(tasks: int) -> str:
    """Return how the table calls so many tasks."""
    return "1 task" if tasks == 1 else f"{tasks:,} tasks"


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "")
    options_of.add_argument("--seconds", type=float, default=0.5, help="time of a number of tasks in a round; default 0.5")
    options_of.add_argument("--tasks", type=int, nargs="+", default=TASKS, metavar="N", help="default: 1 10 100 1000 10000")
    options = options_of.parse_args()
    with scratch(options.directory) as directory:
        candidates: dict[str, Callable[[], Shared]] = {
            name_of(count): partial(share, directory, count, options.seconds)
            for count in options.tasks
        }
        candidates[f"{TASKS_IN_THREADS} tasks, asyncio.to_thread"] = lambda: in_threads(directory, options.seconds)
        found = interleave(options.rounds, candidates)
    return finish(options, rows_of(found, name_of(options.tasks[0])), ["each command was on stable storage when its task went on"])


if __name__ == "__main__":
    sys.exit(main())
