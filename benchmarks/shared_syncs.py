"""What threads gain when they wait for the disk together, and whether each gets its share.

A number of threads submit the lifecycle workload, one Immediate command after the other, to one
queue. Each waits until its command is on stable storage; threads that wait at the same time share a
sync.

    python -m benchmarks.shared_syncs --seconds 2 --rounds 7
"""

from __future__ import annotations

import sys
import threading
from array import array
from functools import partial
from pathlib import Path
from time import perf_counter

import actionqueue as aq
from actionqueue.bench.workload import submit_a_run, timed
from benchmarks.measure import finish, interleave, parser, scratch
from benchmarks.shared import Shared, measured, queue_in, rows_of

THREADS = (1, 2, 4, 8, 16, 32, 64)


def name_of(threads: int) -> str:
    """Return the table's name for a number of threads."""
    return "1 thread" if threads == 1 else f"{threads} threads"


def share(directory: Path, threads: int, seconds: float) -> Shared:
    """Submit from a number of threads for some time."""
    found: list[Shared] = []
    failures: list[BaseException] = []
    times = [array("Q") for _ in range(threads)]
    with aq.open(queue_in(directory), compaction=None) as queue:
        ends = perf_counter() + seconds

        def work(mine: array[int]) -> None:
            submit = timed(queue.submit, mine)
            try:
                submit_a_run(submit)  # at least one, however late the thread begins
                while perf_counter() < ends:
                    submit_a_run(submit)
            except BaseException as failure:  # noqa: BLE001 -- the joining thread raises it
                failures.append(failure)

        with measured(queue, times, found.append):
            workers = [threading.Thread(target=work, args=(mine,)) for mine in times]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
    if failures:
        raise failures[0]
    return found[0]


def main() -> int:
    """Measure, and print a table."""
    options_of = parser(__doc__ or "")
    options_of.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        help="time of a number of threads in a round; default 0.5",
    )
    options_of.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=THREADS,
        metavar="N",
        help="default: 1 2 4 8 16 32 64",
    )
    options = options_of.parse_args()
    with scratch(options.directory) as directory:
        found = interleave(
            options.rounds,
            {
                name_of(count): partial(share, directory, count, options.seconds)
                for count in options.threads
            },
        )
    return finish(
        options,
        rows_of(found, name_of(options.threads[0])),
        ["each command was on stable storage when its submit returned"],
    )


if __name__ == "__main__":
    sys.exit(main())
