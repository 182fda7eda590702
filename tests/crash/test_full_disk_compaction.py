"""A disk of every size, from too small for a snapshot to ample: the log and the older snapshot stay
whole, and the queue goes on.
"""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.inspection import verify
from tests.support.crash import ledger
from tests.support.crash.children import Line
from tests.support.crash.kernel import mount, with_own_mounts
from tests.support.queues import SMALL, copy_of, state_of, task_create

PAGE = 4096

pytestmark = [
    pytest.mark.system("root", "mount"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def fill(queue: aq.ActionQueue, count: int) -> None:
    for _ in range(count):
        queue.submit(task_create(b"x" * 2000), "deferred")
    queue.sync()


def files(path: Path) -> dict[str, bytes]:
    kept = [*path.glob("wal/*.log"), *path.glob("snapshots/*")]
    return {str(file.relative_to(path)): file.read_bytes() for file in kept}


def opens_from_what_is_there(path: Path, elsewhere: Path, expected: dict[str, Any]) -> None:
    """What a kill at this moment leaves opens to the same state."""
    with aq.open(copy_of(path, elsewhere), compaction=None) as queue:
        assert state_of(queue) == expected
    verify(elsewhere)


class Filler:
    """What takes the room on a disk, but for so many files or pages."""

    def __init__(self, disk: Path) -> None:
        self._path = disk / "filler"

    def leave(self, room: int, *, of_files: bool) -> None:
        self._path.mkdir()
        if of_files:
            for number in range(room, 1000):
                try:
                    (self._path / str(number)).touch()
                except OSError:
                    break
            for number in range(room, 2 * room):
                (self._path / str(number)).unlink(missing_ok=True)
            return
        with (self._path / "pages").open("wb", buffering=0) as file:
            with suppress(OSError):
                while file.write(bytes(PAGE)) == PAGE:
                    pass
            file.truncate(max(0, file.tell() - room * PAGE))

    def go(self) -> None:
        shutil.rmtree(self._path)


@pytest.mark.parametrize("of_files", [False, True])
@pytest.mark.parametrize("has_snapshots", [False, True])
def test_compacting_with_every_amount_of_room(
    tmp_path: Path, of_files: bool, has_snapshots: bool, long_form: bool
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()

    def work(line: Line) -> None:
        mount("-t", "tmpfs", "-o", "size=8m,nr_inodes=200", "tmpfs", disk)
        filler = Filler(disk)
        path = disk / "queue"
        with aq.open(path, compaction=None, **SMALL) as queue:
            for _ in range(2 if has_snapshots else 0):
                fill(queue, 10)
                queue.compact()
            fill(queue, 50)
            expected, before = state_of(queue), files(path)
            step = 1 if of_files or long_form else 7
            for room in range(0, 200, step):
                filler.leave(room, of_files=of_files)
                try:
                    report = queue.compact()
                except aq.SnapshotError as error:
                    assert error.errno == errno.ENOSPC
                    filler.go()
                    # At most what the newest snapshot covers has gone, to make room.
                    left = files(path)
                    assert left.items() <= before.items()
                    assert max(before) in left
                    before = left
                    opens_from_what_is_there(path, tmp_path / f"copy {room}", expected)
                    line.say("refused")
                    continue
                assert (report.is_new, report.sequence) == (True, queue.sequence)
                filler.go()
                opens_from_what_is_there(path, tmp_path / "last", expected)
                line.say("made")
                break
            assert queue.submit(task_create()).sequence == report.sequence + 1

    said = [word for (word,) in with_own_mounts(work)]
    assert said[-1] == "made"
    assert has_snapshots or "refused" in said  # what older snapshots cover makes room
    ledger.record("disk full in a snapshot", len(said) - 1, note=f"tmpfs of {len(said)} sizes")


def test_a_full_queue_forgets_and_shrinks(tmp_path: Path) -> None:
    """What has filled its volume with finished runs forgets them, and has the room again: as often
    as it fills.
    """
    disk = tmp_path / "disk"
    disk.mkdir()

    def fill_with_finished_runs(queue: aq.ActionQueue) -> int:
        count = 0
        try:
            while True:
                task = aq.TaskSpec(payload=b"x" * 100)
                run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
                over = aq.RunStateTransitionCommand(None, run.id, "scheduled", "canceled", 2)
                queue.submit_many(
                    [aq.TaskCreateCommand(None, task, 1), aq.RunCreateCommand(None, run), over]
                )
                count += 1
        except aq.AppendError as error:
            assert error.written == "no"
        return count

    def work(line: Line) -> None:
        mount("-t", "tmpfs", "-o", "size=8m", "tmpfs", disk)
        with aq.open(disk / "queue", durability="deferred", compaction=None) as queue:
            for _ in range(3):
                assert fill_with_finished_runs(queue) > 1000
                assert queue.compact(retention_seconds=0).dropped_segments > 0
                assert queue.projection.counts().runs == 0
        filler = Filler(disk)
        filler.leave(0, of_files=False)
        with aq.open(disk / "queue") as queue:  # in the room of its ring
            assert queue.submit(task_create()).sequence == queue.sequence
        filler.go()
        line.say("done")

    assert [word for (word,) in with_own_mounts(work)] == ["done"]
