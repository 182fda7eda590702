"""On a disk with room for small segments only, what makes room takes them, and nothing else does.
See ``no_room.c``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NO_ROOM = Path(__file__).parent / "no_room.c"

PROGRAM = """
import ctypes, sys
import actionqueue as aq

room = ctypes.c_long.in_dll(ctypes.CDLL(None), "room")


def submit_until_refused(queue):
    for number in range(2000):
        try:
            queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=bytes(1000)), 1))
        except aq.AppendError as error:
            return error
    raise AssertionError("ordinary commands went into segments that are kept for what makes room")


SIZES = {"segment_size": 2**20, "ring_size": 65536}
with aq.open(sys.argv[1], durability="deferred", compaction=None, **SIZES) as queue:
    for _ in range(400):  # some segments, so that the usual size is above the smallest
        queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=bytes(1000)), 1))
    task = aq.TaskSpec(payload=b"over")
    run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    queue.submit_many([
        aq.TaskCreateCommand(None, task, 1),
        aq.RunCreateCommand(None, run),
        aq.RunStateTransitionCommand(None, run.id, "scheduled", "canceled", 1),
    ])
    room.value = 131072
    refused = submit_until_refused(queue)
    assert refused.written is aq.errors.Written.NO, refused
    assert isinstance(refused.cause, aq.errors.LogSpaceError), refused.cause
    assert queue.compact(retention_seconds=0).purged_runs == 1
    for _ in range(2):  # each with the room that is left in the small segment
        assert submit_until_refused(queue).written is aq.errors.Written.NO
    room.value = -1
    queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=bytes(1000)), 1))
    print("went on")
"""


@pytest.mark.platform("linux")
def test_ordinary_commands_leave_small_segments_to_what_makes_room(tmp_path: Path) -> None:
    library = tmp_path / "no_room.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(NO_ROOM), "-ldl"], check=True
    )
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "queue")],
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert ended.stdout == "went on\n", ended.stderr
