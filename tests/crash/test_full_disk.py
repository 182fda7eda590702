"""Disks of every size, from too small for a queue to ample: a tmpfs, as root, with so much room for
files and bytes.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.errors import AppendError, LogSpaceError, OpenIOError, Written
from actionqueue.inspection import verify
from tests.support.crash import ledger
from tests.support.crash.careful_user import check_kept
from tests.support.crash.children import Child, Line
from tests.support.crash.kernel import mount, with_own_mounts
from tests.support.plans import Plan, filling_plan
from tests.support.queues import SMALL, state_of

pytestmark = [
    pytest.mark.system("root", "mount"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

PAGE = 4096
AMPLE = "size=16m,nr_inodes=1k"


class Tmpfs:
    """A tmpfs of a given size."""

    def __init__(self, path: Path) -> None:
        self.path = path
        mount("-t", "tmpfs", "-o", AMPLE, "tmpfs", path)

    def resize(self, size: str) -> None:
        mount("-o", f"remount,{size}", self.path)

    def used(self) -> int:
        status = os.statvfs(self.path)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def used_files(self) -> int:
        status = os.statvfs(self.path)
        return status.f_files - status.f_ffree

    def clear(self) -> None:
        self.resize(AMPLE)
        for path in self.path.iterdir():
            shutil.rmtree(path)


def fills_up(tmpfs: Tmpfs, size: str, plan: Plan) -> str:
    """Do a plan's steps on a disk of this size. Returns how it ended there."""
    path = tmpfs.path / "queue"
    tmpfs.resize(size)
    try:
        queue = aq.open(path, compaction=None, **SMALL)
    except OpenIOError as error:
        assert error.errno == errno.ENOSPC
        assert error.written is Written.NO
        tmpfs.resize(AMPLE)
        check_kept(path, plan, 0, goes_on=False)
        return "not created"
    sequences = list(plan.states)
    for index, step in enumerate(plan.steps):
        try:
            sequence = step.submit(queue)
        except AppendError as error:
            check_space_error(error, queue, plan.states[sequences[index]])
            # As it is, the log is whole; and small disks become large ones.
            queue.sync()
            tmpfs.resize(AMPLE)
            assert list(plan.run(queue, index)) == sequences[index + 1 :]
            queue.close()
            check_kept(path, plan, sequences[-1])
            return "filled up"
        assert sequence == sequences[index + 1]
    queue.close()
    verify(path)
    tmpfs.resize(AMPLE)
    check_kept(path, plan, sequences[-1])
    return "had room"


def check_space_error(error: AppendError, queue: aq.ActionQueue, state: Any) -> None:
    assert error.written is Written.NO
    assert isinstance(error.cause, LogSpaceError)
    assert error.cause.errno == errno.ENOSPC
    assert not queue.is_poisoned
    assert state_of(queue) == state


def sizes(long_form: bool) -> list[str]:
    """Sizes in bytes: all around creation and around each of the next segments; and numbers of
    files.
    """
    pages = range(1, 160) if long_form else [*range(1, 160, 17), *range(45, 60, 3)]
    larger = range(160, 1200, 4 if long_form else 200)
    files = range(1, 12) if long_form else (2, 5, 8)
    return [f"size={PAGE * count},nr_inodes=1k" for count in [*pages, *larger]] + [
        f"size=16m,nr_inodes={count}" for count in files
    ]


def test_every_size_of_a_disk(tmp_path: Path, long_form: bool) -> None:
    def some_sizes(some: list[str]) -> list[str]:
        def work(line: Line) -> None:
            tmpfs = Tmpfs(tmp_path)
            for number, size in enumerate(some):
                line.say(fills_up(tmpfs, size, filling_plan(number, 8, large=30)))
                tmpfs.clear()

        return [end for (end,) in with_own_mounts(work)]

    tried = sizes(long_form)
    ends = [
        end for first in range(0, len(tried), 50) for end in some_sizes(tried[first : first + 50])
    ]
    assert set(ends) == {"not created", "filled up", "had room"}
    notes = ", ".join(f"{ends.count(end)} {end}" for end in sorted(set(ends)))
    ledger.record(
        "disk full in a new segment", len(ends), note=f"tmpfs of {len(ends)} sizes: {notes}"
    )


# --- Opening after a kill -------------------------------------------------------------------------


def left_by_a_kill(path: Path, plan: Plan) -> int:
    """Let a process do the plan and be killed; returns the last sequence, most of which is in the
    ring only.
    """

    def live(line: Line) -> None:
        queue = aq.open(path, compaction=None, **SMALL)
        for step in plan.steps:
            line.say(step._replace(durability="deferred").submit(queue))
        os.kill(os.getpid(), signal.SIGKILL)

    said = Child(live).end()
    return int(said[-1][0])


def opens_at_last(tmpfs: Tmpfs, plan: Plan, *, of_files: bool) -> int:
    """Open with no room left, then with more and more, until it opens. Returns how often it did
    not.
    """
    path = tmpfs.path / "queue"
    sequence = left_by_a_kill(path, plan)
    before = verify(path)
    for refused in range(200):
        tmpfs.resize(
            f"size=16m,nr_inodes={tmpfs.used_files() + refused}"
            if of_files
            else f"size={tmpfs.used() + refused * PAGE},nr_inodes=1k"
        )
        try:
            queue = aq.open(path, compaction=None, **SMALL)
        except OpenIOError as error:
            assert error.errno == errno.ENOSPC
            after = verify(path)
            # A segment that was made before the ring found no room may hold what is still in the
            # ring.
            assert after["last_sequence"] == before["last_sequence"] == sequence
            continue
        assert queue.sequence == sequence
        assert state_of(queue) == plan.states[sequence]
        queue.close()
        tmpfs.resize(AMPLE)
        check_kept(path, plan, sequence)
        return refused
    raise AssertionError("the queue never opened again")


@pytest.mark.parametrize("of_files", [False, True])
def test_opening_after_a_kill_with_every_amount_of_room(
    tmp_path: Path, of_files: bool, long_form: bool
) -> None:
    def work(line: Line) -> None:
        tmpfs = Tmpfs(tmp_path)
        for seed in range(8 if long_form else 1):
            line.say(
                opens_at_last(
                    tmpfs,
                    filling_plan(seed, 8, large=Random(seed).randrange(12)),
                    of_files=of_files,
                )
            )
            tmpfs.clear()

    refused = sum(count for (count,) in with_own_mounts(work))
    # The room of the ring may be enough where only bytes are short.
    assert refused > 0 or not of_files
    ledger.record(
        "disk full in a new segment",
        refused,
        note="opens after a kill, without room for the recovery",
    )
