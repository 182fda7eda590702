"""What a signal's handler raises comes out of the call in which it ran, whatever its class is.

A handler runs behind a call of Python code, also of the code with which a call refuses something. A
time-out is an OSError, and others are what a call itself catches: none is taken for the failure
that the call looks for there. One place is left out: an error's text takes what the ``repr`` of a
user's value raises for that value's own, so it drops what a handler raises there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import every_step

PROGRAM = """
import sys

import actionqueue as aq
from actionqueue.limits import PAYLOAD_SIZE_MAX
from tests.support.every_step import BehindCalls
from tests.support.queues import REFUSED, task_create

path, work = sys.argv[1:]
CLASSES = (TimeoutError, ValueError, TypeError, AttributeError, KeyError, AssertionError)
TOO_LARGE = task_create(bytes(PAYLOAD_SIZE_MAX))
open_queue = aq.open(path, durability="deferred")


def in_a_batch():
    with open_queue.batch() as batch:
        batch.submit(task_create())
        batch.submit(TOO_LARGE)


def open_and_close():
    open_queue.close()
    aq.open(path).close()
    aq.open(path, readonly=True).close()


WORKS = {
    "a command that is too large": lambda: open_queue.submit(TOO_LARGE),
    "several of which one is too large": lambda: open_queue.submit_many([REFUSED, TOO_LARGE]),
    "a batch": in_a_batch,
    "a refused command": lambda: open_queue.submit(REFUSED),
    "no command": lambda: open_queue.submit(5),
    "a value that does not fit": lambda: aq.TaskSpec(payload=b"", constraints=5),
    "a queue that is open": lambda: aq.open(path),
    "a queue": open_and_close,
    "a missing queue": lambda: aq.open(path + "-", readonly=True),
}


def raised_at(step, error):
    # Returns what comes out of the work where the handler raises the error at a step; None where
    # there are fewer steps.
    def handler():
        raise error

    at = BehindCalls(step, handler)
    try:
        with at:
            WORKS[work]()
    except Exception as raised:
        return None if at.is_past else raised
    return None if at.is_past else "nothing"


steps = 0
for cls in CLASSES:
    step = 0
    while (raised := raised_at(step, error := cls("by the handler"))) is not None:
        if raised is not error:
            print(f"{cls.__name__} at step {step}: {raised!r}")
        step += 1
    steps += step
open_queue.close()
print("steps:", steps > len(CLASSES))
"""

WORKS = (
    "a command that is too large",
    "several of which one is too large",
    "a batch",
    "a refused command",
    "no command",
    "a value that does not fit",
    "a queue that is open",
    "a queue",
    "a missing queue",
)


@pytest.mark.parametrize("work", WORKS)
def test_what_a_handler_raises_comes_out(path: Path, work: str) -> None:
    code, printed, complaints = every_step.run(PROGRAM, path, work, seconds=300)
    assert (code, printed) == (0, "steps: True\n"), complaints
