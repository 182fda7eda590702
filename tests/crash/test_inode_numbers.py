"""A file system that gives the numbers of removed files again and keeps no time of birth: ext4 with
inodes of 128 bytes, as root.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.errors import HistoryChangedError
from tests.support.crash.children import Line
from tests.support.crash.kernel import Disk, with_own_mounts
from tests.support.queues import task_create

pytestmark = [
    pytest.mark.system("root", "mount", "mkfs.ext4", "fallocate", "findmnt"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def fill(path: Path, count: int) -> tuple[int, bytes]:
    with aq.open(path, ring_size=65536, compaction=None) as queue:
        for _ in range(count):
            queue.submit(task_create(b"x"))
        return queue.sequence, queue.history


@pytest.mark.parametrize("before", range(3))
@pytest.mark.parametrize("after", range(1, 4))
def test_a_restored_copy_has_a_history_of_its_own(tmp_path: Path, before: int, after: int) -> None:
    """Its files have the numbers of those that were removed for it."""

    def restore(line: Line) -> None:
        disk = Disk(tmp_path, features=("-I", "128"))
        path = disk.path / "parent" / "queue"
        for _ in range(1 + before):
            fill(path, 2)
        numbers = {file.stat().st_ino for file in path.rglob("*")}
        shutil.copytree(path, f"{path}.copy")
        for _ in range(after):
            sequence, history = fill(path, 3)
        shutil.rmtree(path)
        shutil.copytree(f"{path}.copy", path)
        line.say("reused", len(numbers & {file.stat().st_ino for file in path.rglob("*")}))
        fill(path, 30)
        try:
            line.say(
                "followed",
                next(aq.follow(path, after=sequence, history=history, timeout=5)).sequence,
            )
        except HistoryChangedError:
            line.say("refused")

    reused, answer = with_own_mounts(restore)
    assert reused[1] > 0, "no number was given again, so this test has shown nothing"
    assert answer == ("refused",)
