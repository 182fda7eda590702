"""A Ctrl-C between any two steps of opening a queue: the queue can be opened again at once, even
while the exception is being handled.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.support import every_step
from tests.support.queues import IN_MEMORY

PROGRAM = """
import sys
import actionqueue as aq
from tests.support.every_step import AtStep

path, stride = sys.argv[1], int(sys.argv[2])


def open_queue():
    return aq.open(path, durability="deferred")


with open_queue() as queue:
    sequence = queue.sequence
step = 0
while True:
    try:
        with AtStep(step) as steps:
            queue = open_queue()
    except KeyboardInterrupt:
        queue = open_queue()
    assert queue.sequence == sequence
    sequence = queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1)).sequence
    queue.close()
    if steps.is_past:
        break
    step += stride
print(step)
"""


def test_an_interrupt_at_every_step_of_opening(long_form: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="actionqueue-", dir=IN_MEMORY) as made:
        code, printed, complaints = every_step.run(
            PROGRAM, Path(made, "queue"), 1 if long_form else 3, seconds=600
        )
    # What is raised while a generator ends is told on the error stream, and ignored.
    assert code == 0, complaints
    assert int(printed) > 300
