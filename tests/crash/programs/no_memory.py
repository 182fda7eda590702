"""Fails the interpreter's allocations one by one inside calls of a queue: ``no_memory.py
<directory> <deferred|immediate>``.

After each the queue must be as it was or hold what was submitted, and go on. Prints how often a
call failed, and the last sequence.
"""

from __future__ import annotations

import _testcapi
import gc
import sys
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import actionqueue as aq

ALLOCATIONS_MAX = 400
OPTIONS: dict[str, Any] = {"segment_size": 65536, "ring_size": 65536}


def task(payload: bytes = b"") -> aq.TaskCreateCommand:
    return aq.TaskCreateCommand(None, aq.TaskSpec(payload=payload), 1)


def fails(call: Callable[[], object], number: int, *, for_good: bool) -> bool:
    """Make the call while one allocation fails, or all from that one on. Return whether it
    failed.
    """
    _testcapi.set_nomemory(number, 0 if for_good else number + 1)
    try:
        call()
    except MemoryError:
        return True
    else:
        return False
    finally:
        _testcapi.remove_mem_hooks()


def main() -> None:
    # Without a thread of its own: where nothing is left as one begins or ends, Python 3.11 looks
    # for memory for ever, in the code of threading itself.
    queue = aq.open(sys.argv[1], **OPTIONS, durability=sys.argv[2], compaction=None)
    calls: list[tuple[int, Callable[[], Callable[[], object]]]] = [
        (1, lambda: partial(queue.submit, task())),
        (1, lambda: partial(queue.submit, task(b"x" * 70_000))),
        (3, lambda: partial(queue.submit_many, [task(b"y" * 5000) for _ in range(3)])),
        (0, lambda: queue.sync),
        (0, lambda: queue.projection.counts),
    ]
    gc.disable()  # so that no allocation of the collector's is in between
    failures = 0
    for (size, make), for_good in product(calls, (False, True)):
        quiet = 0
        for number in range(ALLOCATIONS_MAX):
            call = make()
            before = queue.sequence
            has_failed = fails(call, number, for_good=for_good)
            failures += has_failed
            quiet = 0 if has_failed else quiet + 1
            assert not queue.is_poisoned
            assert queue.sequence == queue.stats()["last_sequence"]
            assert queue.sequence in (before, before + size)
            assert has_failed or queue.sequence == before + size
            assert queue.submit(task()).sequence == queue.sequence
            if quiet > 20:  # beyond the call's last allocation
                break
        else:
            raise AssertionError("a call takes more allocations than were tried")
    print(failures, queue.sequence)
    queue.close()


if __name__ == "__main__":
    main()
