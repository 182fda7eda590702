"""What tasks of an event loop gain when they wait for the disk together.

A number of tasks submit the lifecycle workload, one Immediate command after the other, to one queue
of `actionqueue.aio`. For comparison, tasks do the same with `asyncio.to_thread(queue.submit,
command)`, in as many threads as the loop's executor has; and one thread calls `queue.submit`
without a loop, next to the disk's floor: what a lone task takes beyond that is the price of not
blocking its loop.

    python -m benchmarks.asyncio_tasks --seconds 2 --rounds 7
"""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any

import actionqueue as aq
from actionqueue.aio import AsyncQueue
from actionqueue.bench.disk import floor_in
from actionqueue.bench.spread import Latency
from actionqueue.bench.workload import commands_of_a_run, submit_a_run, timed
from benchmarks.measure import Row, finish, interleave, parser, row, scratch
from benchmarks.shared import Shared, measured, queue_in, rows_of

TASKS = (1, 10, 100, 1000, 10_000)
TASKS_IN_THREADS = 100
DIRECT = "1 thread without a loop"
FLOOR = "disk alone"

Submit = Callable[[aq.MutationCommand], Awaitable[Any]]


async def work(submit: Submit, ends: float, times: array[int]) -> None:
    """Submit until the time is up, but at least a whole life, so that each task has its turn."""
    is_over = False
    while not is_over:
        for command in commands_of_a_run():
            began = perf_counter_ns()
            await submit(command)
            times.append(perf_counter_ns() - began)
        is_over = perf_counter() >= ends


async def all_work(queue: aq.ActionQueue, submit: Submit, tasks: int, seconds: float) -> Shared:
    """Let a number of tasks submit."""
    found: list[Shared] = []
    times = [array("Q") for _ in range(tasks)]
    with measured(queue, times, found.append):
        ends = perf_counter() + seconds
        await asyncio.gather(*(work(submit, ends, mine) for mine in times))
    return found[0]


def share(directory: Path, tasks: int, seconds: float) -> Shared:
    """Submit from a number of tasks for some time."""
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


def directly(directory: Path, seconds: float) -> Shared:
    """Do the same in this thread, without a loop."""
    found: list[Shared] = []
    times: array[int] = array("Q")
    with aq.open(queue_in(directory), compaction=None) as queue:
        submit = timed(queue.submit, times)
        with measured(queue, [times], found.append):
            ends = perf_counter() + seconds
            submit_a_run(submit)
            while perf_counter() < ends:
                submit_a_run(submit)
    return found[0]


def floor_of(directory: Path, seconds: float) -> Latency:
    """Write and sync as many bytes as a record has, without the library."""
    times: array[int] = array("Q")
    with floor_in(directory) as floor:
        floor.commit_many(times, seconds=seconds)
    return Latency.of(times)


def lone_rows(found: Mapping[str, Sequence[Shared]], floors: Sequence[Latency]) -> list[Row]:
    """Return how long lone callers wait, compared with the disk alone."""
    disk = "disk alone: p50", [one.p50_ns / 1000 for one in floors]
    medians = {
        name: [one.latency.p50_ns / 1000 for one in found[name]]
        for name in (DIRECT, name_of(1))
        if name in found
    }
    return [
        row(disk[0], "µs", disk[1]),
        *(
            row(f"{name}, by the disk: p50", "µs", those, to=disk)
            for name, those in medians.items()
        ),
    ]


def name_of(tasks: int) -> str:
    """Return the table's name for a number of tasks."""
    return "1 task" if tasks == 1 else f"{tasks:,} tasks"


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "")
    options_of.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        help="time of a number of tasks in a round; default 0.5",
    )
    options_of.add_argument(
        "--tasks",
        type=int,
        nargs="+",
        default=TASKS,
        metavar="N",
        help="default: 1 10 100 1000 10000",
    )
    options = options_of.parse_args()
    with scratch(options.directory) as directory:
        candidates: dict[str, Callable[[], Any]] = {
            name_of(count): partial(share, directory, count, options.seconds)
            for count in options.tasks
        }
        candidates[f"{TASKS_IN_THREADS} tasks, asyncio.to_thread"] = lambda: in_threads(
            directory, options.seconds
        )
        candidates[DIRECT] = lambda: directly(directory, options.seconds)
        candidates[FLOOR] = lambda: floor_of(directory, options.seconds)
        found = interleave(options.rounds, candidates)
    floors = found.pop(FLOOR)
    rows = [*rows_of(found, name_of(options.tasks[0])), *lone_rows(found, floors)]
    return finish(options, rows, ["each command was on stable storage when its task went on"])


if __name__ == "__main__":
    sys.exit(main())
