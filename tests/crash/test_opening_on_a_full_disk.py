"""Opening a queue on a file system without any room, and being killed meanwhile, as root on a
tmpfs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import actionqueue as aq
from tests.support.crash.children import Line
from tests.support.crash.kernel import mount, with_own_mounts
from tests.support.queues import task_create

pytestmark = [
    pytest.mark.system("root", "mount", "strace"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

OPEN = "import sys, actionqueue as aq; aq.open(sys.argv[1]).close()"
WRITES_MAX = 100


def full_disk(path: Path) -> Path:
    """Mount a tmpfs, make a queue with five events on it, and fill it up; return the file that
    fills it.
    """
    mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", path)
    with aq.open(path / "queue") as queue:
        for _ in range(5):
            queue.submit(task_create())
    filler = path / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    return filler


def history_of(path: Path) -> str:
    with aq.open(path) as queue:
        assert queue.sequence == 5
        return queue.history


def test_a_queue_that_is_killed_while_it_opens_on_a_full_disk_keeps_its_history(
    tmp_path: Path,
) -> None:
    def work(line: Line) -> None:
        for number in range(1, WRITES_MAX):
            disk = tmp_path / f"disk-{number}"
            disk.mkdir()
            filler = full_disk(disk)
            before = aq.follow(disk / "queue").history
            kill = ["-e", "trace=pwrite64", "-e", f"inject=pwrite64:signal=KILL:when={number}"]
            done = subprocess.run(
                [
                    "strace",
                    "-f",
                    "-qq",
                    "-o",
                    "/dev/null",
                    *kill,
                    sys.executable,
                    "-c",
                    OPEN,
                    str(disk / "queue"),
                ],
                check=False,
            )
            filler.unlink()
            line.say(number, done.returncode, history_of(disk / "queue") == before)
            subprocess.run(["umount", str(disk)], check=True)
            if done.returncode == 0:
                return

    said = with_own_mounts(work)
    assert len(said) > 3
    assert said[-1][1] == 0, said
    assert all(is_same for _, _, is_same in said), said


def test_a_queue_whose_ring_another_process_has_open_opens_on_a_full_disk(tmp_path: Path) -> None:
    def work(line: Line) -> None:
        full_disk(tmp_path)
        before = aq.follow(tmp_path / "queue").history
        held = os.open(tmp_path / "queue" / "ring", os.O_RDONLY)
        line.say(history_of(tmp_path / "queue") == before)
        os.close(held)

    assert with_own_mounts(work) == [(True,)]
