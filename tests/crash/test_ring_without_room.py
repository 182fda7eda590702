"""A page of the ring's file has no block of its own, as a reflinked or punched one, and the disk
has no room for one: root, on a tmpfs.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.errors import ActionQueueError, PoisonedError, ValidationError
from tests.support.crash.children import Line
from tests.support.crash.kernel import mount, with_own_mounts
from tests.support.queues import task_create

pytestmark = [
    pytest.mark.system("root", "mount"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

PUNCH_HOLE = 3
"""FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE."""


def punch(ring: Path) -> None:
    handle = os.open(ring, os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    assert (
        libc.fallocate(handle, PUNCH_HOLE, ctypes.c_long(65536 + 8192), ctypes.c_long(256 * 1024))
        == 0
    )
    os.close(handle)


def fill_the_disk(path: Path) -> None:
    with (path / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


@pytest.mark.parametrize("durability", ["immediate", "deferred"])
@pytest.mark.parametrize("many", [False, True])
def test_what_finds_no_room_in_the_ring_is_not_in_the_projection(
    tmp_path: Path, durability: str, many: bool
) -> None:
    def work(line: Line) -> None:
        mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path)
        path = tmp_path / "queue"
        queue = aq.open(path, ring_size=2**20, compaction=None)
        kept = [task_create(b"x" * 3000) for _ in range(3)]
        queue.submit_many(kept)
        punch(path / "ring")
        fill_the_disk(tmp_path)
        refused: ActionQueueError | None = None
        while refused is None:
            task = task_create(b"x" * 3000)
            try:
                if many:
                    queue.submit_many([task], durability)
                else:
                    queue.submit(task, durability)
                kept.append(task)
            except ActionQueueError as error:
                refused = error
        assert not isinstance(refused, ValidationError)
        assert not queue.projection.task_exists(task.task_spec.id)
        assert queue.projection.counts().tasks == len(kept)
        with pytest.raises(PoisonedError):
            queue.submit(task, durability)
        queue.close()
        (tmp_path / "filler").unlink()
        with aq.open(path) as again:
            assert not again.projection.task_exists(task.task_spec.id)
            if durability == "immediate":
                assert again.projection.counts().tasks == len(kept)
        line.say("whole")

    assert with_own_mounts(work) == [("whole",)]
