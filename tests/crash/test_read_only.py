"""Read-only file systems: mounted so from the beginning, remounted later, and a second mount of the
same files.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.errors import LockedError, OpenIOError
from actionqueue.inspection import read_projection, statistics, verify
from actionqueue.json.projection import projection_to_json
from tests.support.crash import ledger
from tests.support.crash.careful_user import check_kept
from tests.support.crash.children import Child, Line
from tests.support.crash.kernel import Disk, mount, with_own_mounts
from tests.support.plans import Plan, filling_plan
from tests.support.queues import SMALL, log_bytes, task_create

pytestmark = [
    pytest.mark.system("root", "mount", "mkfs.ext4", "fallocate", "findmnt"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def live(path: Path, plan: Plan, *, is_killed: bool) -> None:
    """Let a process do the plan, and close the queue or be killed."""

    def work(_line: Line) -> None:
        queue = aq.open(path, compaction=None, **SMALL)
        for step in plan.steps:
            step._replace(durability="deferred").submit(queue)
        if is_killed:
            os.kill(os.getpid(), signal.SIGKILL)
        queue.close()

    assert Child(work).end() == []


def assert_only_readable(path: Path, plan: Plan) -> None:
    """The queue does not open, says why, stays as it is, and can be read."""
    before = log_bytes(path)
    with pytest.raises(OpenIOError) as refusal:
        aq.open(path, compaction=None, **SMALL)
    assert refusal.value.errno == errno.EROFS
    last = max(plan.states)
    assert verify(path)["last_sequence"] == last
    assert projection_to_json(read_projection(path)) == plan.states[last]
    assert statistics(path)["log"]["last_sequence"] == last
    assert log_bytes(path) == before


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_opening_on_a_read_only_file_system(tmp_path: Path, kind: str, is_killed: bool) -> None:
    def work(line: Line) -> None:
        base = tmp_path
        if kind == "tmpfs":
            mount("-t", "tmpfs", "tmpfs", base)
        else:
            base = Disk(base).path
        plan = filling_plan(1, 8, large=10)
        live(base / "queue", plan, is_killed=is_killed)
        mount("-o", "remount,ro", base)
        assert_only_readable(base / "queue", plan)
        with pytest.raises(OpenIOError) as refusal:
            aq.open(base / "new")
        assert refusal.value.errno == errno.EROFS
        assert not (base / "new").exists()
        mount("-o", "remount,rw", base)
        check_kept(base / "queue", plan, max(plan.states))
        line.say("kept")

    assert with_own_mounts(work) == [("kept",)]
    ledger.record("read-only file system", 2, note=f"opening on a read-only {kind}")


def test_an_open_queue_keeps_its_file_system_writable(tmp_path: Path) -> None:
    """The kernel refuses to make a file system read-only under files that are open for writing; the
    queue goes on.
    """

    def work(line: Line) -> None:
        disk = Disk(tmp_path)
        with aq.open(disk.path / "queue") as queue:
            for _ in range(3):
                queue.submit(task_create())
                remounted = subprocess.run(
                    ["mount", "-o", "remount,ro", str(disk.path)], capture_output=True, check=False
                )
                assert remounted.returncode != 0
        mount("-o", "remount,ro", disk.path)
        line.say(verify(disk.path / "queue")["last_sequence"])

    assert with_own_mounts(work) == [(3,)]
    ledger.record(
        "read-only file system", 3, note="remounting under an open queue is refused by the kernel"
    )


def test_a_read_only_mount_of_a_queue_that_is_open_elsewhere(tmp_path: Path) -> None:
    """As in a container that is given the directory to look at: it is told who holds the queue, and
    reads it later.
    """

    def work(line: Line) -> None:
        (tmp_path / "here").mkdir()
        (tmp_path / "there").mkdir()
        with aq.open(tmp_path / "here" / "queue") as queue:
            queue.submit(task_create())
            mount("--bind", tmp_path / "here", tmp_path / "there")
            mount("-o", "remount,bind,ro", tmp_path / "there")
            there = tmp_path / "there" / "queue"
            with pytest.raises(LockedError) as locked:
                verify(there)
            assert locked.value.pid == os.getpid()
            with pytest.raises(OpenIOError) as refusal:
                aq.open(there)
            assert refusal.value.errno == errno.EROFS
            queue.submit(task_create())
        line.say(verify(there)["last_sequence"])

    assert with_own_mounts(work) == [(2,)]
    ledger.record("read-only file system", 1, note="a read-only mount of an open queue")


def test_reading_a_live_queue_over_a_read_only_mount(tmp_path: Path) -> None:
    """As that container does when it opens it read-only: it sees what becomes durable, over
    rotation and compaction.
    """

    def work(line: Line) -> None:
        (tmp_path / "here").mkdir()
        (tmp_path / "there").mkdir()
        with aq.open(tmp_path / "here" / "queue", compaction=None, **SMALL) as queue:
            queue.submit(task_create())
            mount("--bind", tmp_path / "here", tmp_path / "there")
            mount("-o", "remount,bind,ro", tmp_path / "there")
            with aq.open(tmp_path / "there" / "queue", readonly=True) as reader:
                assert reader.has_writer
                for last in range(2, 40):
                    queue.submit(task_create(b"x" * 9000))
                    assert [event.sequence for event in reader.follow(timeout=0)] == [last]
                    assert reader.refresh() == 1
                    if last % 10 == 0:
                        queue.compact()
                line.say(reader.sequence)

    assert with_own_mounts(work) == [(39,)]
    ledger.record("read-only file system", 1, note="reading a live queue over a read-only mount")
