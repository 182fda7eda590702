"""A Ctrl-C between any two steps of closing a queue: closing it again ends, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = '''
import sys
import actionqueue as aq


class Interrupter:
    """Raises KeyboardInterrupt at one of the steps that Python takes; where there are fewer, is_past says so."""

    def __init__(self, step):
        self.left, self.is_past = step, True

    def trace(self, frame, event, argument):
        if self.left == 0:
            sys.settrace(None)
            self.is_past = False
            raise KeyboardInterrupt
        self.left -= 1
        frame.f_trace_opcodes = True
        return self.trace


step, sequence = 0, 0
while True:
    queue = aq.open(sys.argv[1], durability="deferred")
    assert queue.sequence == sequence
    sequence = queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1)).sequence
    interrupter = Interrupter(step)
    sys.settrace(interrupter.trace)
    try:
        queue.close()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    queue.close()
    if interrupter.is_past:
        break
    step += 1
print(step)
'''


def test_an_interrupt_at_every_step_of_closing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "queue")], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 50
