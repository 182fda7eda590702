"""A process that writes is killed from outside, wherever it is, by what every system has: what it
acknowledged is there.

:mod:`tests.queue.test_kill` strikes at more precise instants, by the timers of POSIX.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

import actionqueue as aq
from actionqueue.inspection import verify
from tests.support.places import environment
from tests.support.queues import SMALL, killed

WRITER = """
import itertools, os, sys
import actionqueue as aq

path, durability, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
queue = aq.open(path, segment_size=65536, ring_size=65536, durability=durability)
for number in itertools.count(first):
    payload = b"%d " % number * (1 + number % 400)
    count = 2 if number % 50 == 49 else 1
    queue.submit_many(
        [aq.TaskCreateCommand(None, aq.TaskSpec(payload=payload), 1) for _ in range(count)]
    )
    if number % 200 == 199:
        queue.compact()
    os.write(1, b"%d\\n" % number)
"""


def numbers_of(queue: aq.ActionQueue) -> list[int]:
    """Return the numbers of the commands, each with its whole payload."""
    numbers = []
    for task in queue.projection.tasks():
        data = task.spec.payload.data
        number = int(data.split()[0])
        assert data == b"%d " % number * (1 + number % 400)
        numbers.append(number)
    return numbers


def expected(last: int) -> list[int]:
    """Return the numbers of the commands up to one: those of batches twice."""
    return [number for number in range(last + 1) for _ in range(2 if number % 50 == 49 else 1)]


@pytest.mark.parametrize("durability", ["immediate", "deferred"])
def test_what_a_killed_process_acknowledged_is_there(tmp_path: Path, durability: str) -> None:
    random = Random(7)
    path = tmp_path / "queue"
    last = -1
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), durability, str(last + 1)],
            stdout=subprocess.PIPE,
            env=environment(),
        ) as process:
            assert process.stdout is not None
            acknowledged = [process.stdout.readline() for _ in range(random.randrange(1, 150))]
            process.kill()
            acknowledged += [line for line in process.stdout if line.endswith(b"\n")]
        told = [int(line) for line in acknowledged]
        assert told == list(range(last + 1, last + 1 + len(told)))
        with aq.open(path, **SMALL) as queue:
            numbers = numbers_of(queue)
            assert numbers == expected(numbers[-1])  # no gap, and no batch in part
            last = numbers[-1]
            assert told[-1] <= last <= told[-1] + 1
            assert queue.sequence == queue.durable_sequence == len(numbers)
            assert not queue.recovery.is_clean
    assert verify(path)["last_sequence"] == len(expected(last))


def test_the_lock_of_a_killed_process_is_free_at_once_or_soon(tmp_path: Path) -> None:
    """Windows may take a moment: opening waits for it."""
    program = (
        "import sys, actionqueue as aq\n"
        "queue = aq.open(sys.argv[1])\n"
        "print('ready')\n"
        "sys.stdin.read()\n"
    )
    for _ in range(5):
        killed(program, tmp_path)
        aq.open(tmp_path).close()
