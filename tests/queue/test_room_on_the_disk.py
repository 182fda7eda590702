"""What unclean ends leave on the disk is bounded, whatever there is of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.inspection import statistics

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def live_and_be_killed(path: Path, durability: str | None) -> None:
    child = os.fork()
    if child == 0:
        try:
            queue = aq.open(path)
            if durability is not None:
                queue.submit(
                    aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x" * 100), 1), durability
                )
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.platform("fork")
@pytest.mark.parametrize("durability", [None, "immediate", "deferred"])
def test_a_crash_loop_does_not_fill_the_disk(tmp_path: Path, durability: str | None) -> None:
    path = tmp_path / "queue"
    for _ in range(40):
        live_and_be_killed(path, durability)
        assert len(list(path.glob("wal/*"))) <= 16
    with aq.open(path) as queue:
        assert queue.sequence == (0 if durability is None else 40)
    assert sum(file.stat().st_blocks * 512 for file in path.rglob("*")) < 8 * 2**20


def test_copies_of_torn_tails_are_bounded(tmp_path: Path) -> None:
    """The newest stay, and the files that repairs moved; `actionqueue stats` counts what is
    there.
    """
    path = tmp_path / "queue"
    with aq.open(path, segment_size=65536, ring_size=65536) as queue:
        queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1))
    moved = path / "quarantine" / "repair-1-ring"
    moved.parent.mkdir()
    moved.write_bytes(b"moved by a repair")
    for number in range(70):
        newest = max(path.glob("wal/*.log"))
        data = bytearray(newest.read_bytes())
        data[-64:-4] = b"%060d" % number
        newest.write_bytes(data)
        aq.open(path, segment_size=65536, ring_size=65536).close()
    copies = sorted(path.glob("quarantine/segment-*"))
    assert len(copies) == 64
    assert b"%060d" % 69 in copies[-1].read_bytes()
    assert b"%060d" % 6 in copies[0].read_bytes()
    assert moved.exists()
    found = [file.lstat() for file in path.rglob("*") if file.is_file()]
    blocks = sum(status.st_size if os.name == "nt" else status.st_blocks * 512 for status in found)
    assert statistics(path)["log"]["disk_bytes"] == blocks
