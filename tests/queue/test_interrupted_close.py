"""A Ctrl-C between any two steps of closing a queue: closing it again ends, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

from tests.support import every_step

PROGRAM = """
import sys
import actionqueue as aq
from tests.support.every_step import AtStep

step, sequence = 0, 0
while True:
    queue = aq.open(sys.argv[1], durability="deferred")
    assert queue.sequence == sequence
    sequence = queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1)).sequence
    try:
        with AtStep(step) as steps:
            queue.close()
    except KeyboardInterrupt:
        # Either nothing has happened, and it compacts itself as before, or it takes nothing more.
        if queue.is_closed:
            try:
                queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1))
            except aq.ClosedError:
                pass
            else:
                raise AssertionError("a closed queue has taken a command")
        else:
            assert not queue._compactor._is_stopped
            task = aq.TaskSpec(payload=b"")
            sequence = queue.submit(aq.TaskCreateCommand(None, task, 1)).sequence
    queue.close()
    if steps.is_past:
        break
    step += 1
print(step)
"""


def test_an_interrupt_at_every_step_of_closing(tmp_path: Path) -> None:
    code, printed, complaints = every_step.run(PROGRAM, tmp_path / "queue", seconds=120)
    assert (code, complaints) == (0, "")
    assert int(printed) > 50
