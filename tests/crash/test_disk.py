"""A disk that loses what was not synced, and one that fails while the kernel goes on: ext4 on a
loop device, as root.

The disk's file never holds what is only in the page cache. So a copy of it, mounted anew, is what a
power loss leaves, and shows what the disk does not have after a failed sync, though a reader still
sees it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

import actionqueue as aq
from actionqueue.errors import OpenIOError
from tests.support.crash import ledger
from tests.support.crash.careful_user import CarefulUser, check_kept, failures, last_acknowledged
from tests.support.crash.children import Line
from tests.support.crash.kernel import Disk, unmount, with_own_mounts
from tests.support.crash.scenes import Scene, numbered, play, scenes, some, worth_it
from tests.support.model import Model
from tests.support.plans import Plan, Step, filling_plan
from tests.support.queues import SMALL, replayed, state_of, task_create

pytestmark = [
    pytest.mark.system("root", "mount", "mkfs.ext4", "mkfs.xfs", "fallocate", "findmnt"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


@contextmanager
def power_lost(disk: Disk) -> Iterator[Path]:
    """The file system as it is found if the power fails now."""
    image, path = disk.copy(disk.base / "copy"), disk.base / "copied"
    path.mkdir(exist_ok=True)
    disk.attach(image, path)
    try:
        yield path
    finally:
        unmount(path)
        image.unlink()


# --- Power loss -----------------------------------------------------------------------------------


class Witness(Line):
    """Looks at what a power loss would leave, each time that the user is told something."""

    def __init__(self, disk: Disk, plan: Plan) -> None:
        self.disk, self.plan = disk, plan
        self.said: list[tuple[Any, ...]] = []
        self.losses = 0

    def say(self, *message: Any) -> None:
        self.said.append(message)
        with power_lost(self.disk) as path:
            kept = check_kept(
                path / "queue", self.plan, last_acknowledged(self.said, "immediate"), goes_on=False
            )
        assert kept <= max(last_acknowledged(self.said), 0)
        self.losses += 1


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_what_was_acknowledged_is_on_the_disk(tmp_path: Path, kind: str, long_form: bool) -> None:
    def one_queue(seed: int) -> int:
        def work(line: Line) -> None:
            disk = Disk(tmp_path, kind)
            plan = Plan(Random(seed), Model(), 40 if long_form else 12)
            witness = Witness(disk, plan)
            CarefulUser(disk.path / "queue", plan, witness).live()
            assert witness.said[-1] == ("finished",)
            line.say(witness.losses)

        ((losses,),) = with_own_mounts(work)
        return int(losses)

    losses = sum(one_queue(seed) for seed in range(12 if long_form else 1))
    ledger.record("power loss", losses, note=f"a real {kind}, after every acknowledgement")


def test_power_loss_at_every_system_call(tmp_path: Path, long_form: bool) -> None:
    """The process ends before a call of the user's thread, and with it all that the kernel was not
    told to keep.

    Of the calls that walk along a path a fourth are taken.
    """

    def one_scene(index: int, first: int, last: int) -> int:
        def work(line: Line) -> None:
            with scenes() as all_scenes:
                scene, disk = all_scenes[index], Disk(tmp_path)
                strikes = worth_it(
                    numbered(play(scene, disk.path / "quiet", disk.base / "log").calls)
                )
                if first >= len(strikes):
                    return
                for call, number in some(strikes[first:last], 3, seed=3, all_of_them=long_form):
                    line.say(loses_power(disk, scene, call, number))

        return sum(killed for (killed,) in with_own_mounts(work))

    for index, name in enumerate(SCENES_OF_POWER_LOSS):
        parts = [(first, first + 50) for first in range(0, 1500, 50)] if long_form else [(0, 5000)]
        losses = sum(one_scene(index, *part) for part in parts)
        assert losses >= 2
        ledger.record(
            "power loss",
            losses,
            note=f"a real ext4, before every system call (a fourth of those along paths), {name}",
        )


SCENES_OF_POWER_LOSS = ("from nothing", "after a kill", "ring not mapped", "with compactions")


def loses_power(disk: Disk, scene: Scene, call: str, number: int) -> bool:
    """Kill the user at one call, and look at what is on the disk. Whether it came to that."""
    path = disk.path / f"{call}-{number}"
    outcome = play(
        scene,
        path,
        disk.base / "log",
        "-e",
        f"inject={call}:signal=SIGKILL:when={number}",
        prepared=disk.write_back,
    )
    with power_lost(disk) as found:
        check_kept(
            found / path.name,
            scene.plan,
            last_acknowledged(outcome.said, "immediate"),
            goes_on=False,
        )
    shutil.rmtree(path, ignore_errors=True)  # it may not have come to that
    return outcome.was_killed


# --- Syncs that fail once -------------------------------------------------------------------------


def test_the_kernel_reports_a_lost_page_once(tmp_path: Path) -> None:
    """Why a failed sync is final: what the next tests rely on, shown on a plain file."""

    def work(line: Line) -> None:
        disk = Disk(tmp_path)
        path = disk.path / "plain"
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.pwrite(file, bytes(65536), 0)
        os.fsync(file)
        disk.give_back_zeros()
        disk.fill()
        os.pwrite(file, b"acknowledged", 8192)
        with pytest.raises(OSError) as failure:
            os.fdatasync(file)
        assert failure.value.errno == errno.ENOSPC
        os.fdatasync(file)  # reports success
        assert os.pread(file, 12, 8192) == b"acknowledged"
        os.close(file)
        disk.make_room()
        disk.lose_the_cache()
        assert path.read_bytes()[8192:8204] == bytes(12)
        line.say("lost")

    assert with_own_mounts(work) == [("lost",)]


LARGER = {"segment_size": 2**18, "ring_size": 65536}
"""So large a segment that records meet the failure before the next segment does."""

FAILURES_OF_A_DISK = ("LogWriteError", "LogSpaceError", "LogCloseError", "OpenIOError")


class Unlucky(CarefulUser):
    """Meets a change of his disk before one of his steps, and looks around after the first
    failure.
    """

    def __init__(
        self, *arguments: Any, at: int, change: Callable[[], None], **options: Any
    ) -> None:
        super().__init__(*arguments, failures_max=1, **options)
        self.closes_after = 0
        self.at, self.change = self.plan.steps[at], change

    def _submits(self, queue: aq.ActionQueue, step: Step) -> bool:
        if step is self.at:
            self.change()
        return super()._submits(queue, step)


class Notes(Line):
    """A line to nobody: what is said is kept."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    def say(self, *message: Any) -> None:
        self.said.append(message)


class FailedSync(NamedTuple):
    """Whether it came to that, and how many events a reader still finds that the disk does not
    have.
    """

    failed: bool
    lost: int


def one_failed_sync(disk: Disk, seed: int, room: int, *, writes_back: bool) -> FailedSync:
    """Let the disk run out of memory for blocks under an open queue."""
    path = disk.path / f"queue-{seed}-{room}"
    plan = filling_plan(seed, 6, large=16, size=9_000)
    notes = Notes()

    def run_out() -> None:
        disk.give_back_zeros()
        disk.fill(room)
        if writes_back:
            disk.write_back()  # the ring's pages are lost, and the segment's

    Unlucky(
        path, plan, notes, at=Random(room).randrange(4, 16), change=run_out, options=LARGER
    ).live()
    failed = failures(notes.said)
    for what, name, number, _ in failed:
        assert name in FAILURES_OF_A_DISK, failed
        assert number in (errno.ENOSPC, errno.EIO, errno.EROFS), (what, failed)
    disk.make_room()
    durable, told = last_acknowledged(notes.said, "immediate"), last_acknowledged(notes.said)
    read = replayed(path).latest_sequence
    with power_lost(disk) as found:
        lost = read - check_kept(found / path.name, plan, durable, goes_on=False)
    reopened_as_the_disk_has_it(disk, path, plan, durable, told)
    return FailedSync(any(name == "LogWriteError" for _, name, _, _ in failed), lost)


def reopened_as_the_disk_has_it(
    disk: Disk, path: Path, plan: Plan, durable: int, told: int
) -> None:
    """What an open queue replays is what is found after a power loss, and after the page cache was
    dropped.
    """
    try:
        queue = aq.open(path, compaction=None, **SMALL)
    except OpenIOError as error:
        # The file system itself gave up, its journal being lost: only a new mount helps.
        assert error.errno in (errno.EROFS, errno.EIO)
        disk.lose_the_cache()
        check_kept(path, plan, durable)
        return
    sequence, state = queue.sequence, state_of(queue)
    assert sequence >= told
    assert state == plan.states[sequence]
    with power_lost(disk) as found, aq.open(found / path.name, compaction=None, **SMALL) as again:
        assert (again.sequence, state_of(again)) == (sequence, state)
    queue.submit(task_create())
    queue.close()
    before = replayed(path)
    disk.lose_the_cache()
    assert replayed(path) == before
    assert before.latest_sequence == sequence + 1


def test_a_sync_that_fails_while_pages_are_lost(tmp_path: Path, long_form: bool) -> None:
    def one_disk(seed: int) -> list[FailedSync]:
        def work(line: Line) -> None:
            disk = Disk(tmp_path)
            for room in range(0, 60 * 1024, 4096 if long_form else 20 * 1024):
                line.say(*one_failed_sync(disk, seed, room, writes_back=seed % 2 == 1))
                shutil.rmtree(disk.path / f"queue-{seed}-{room}")

        return [FailedSync(*outcome) for outcome in with_own_mounts(work)]

    outcomes = [outcome for seed in range(10 if long_form else 2) for outcome in one_disk(seed)]
    failed, lost = (
        sum(outcome.failed for outcome in outcomes),
        sum(outcome.lost > 0 for outcome in outcomes),
    )
    assert failed > len(outcomes) // 2
    assert lost > len(outcomes) // 2
    ledger.record('fsync fails, then "succeeds"', failed, note=f"pages lost behind it {lost} times")
    ledger.record(
        "reopening after a failed fsync",
        len(outcomes),
        note="replay before = after dropping caches = after a power loss",
    )


# --- File systems that go away --------------------------------------------------------------------


def shut_down(disk: Disk, flags: int) -> None:
    """Cut the file system off from its disk."""
    directory = os.open(disk.path, os.O_RDONLY)
    # EXT4_IOC_SHUTDOWN, which XFS has too.
    fcntl.ioctl(directory, 0x8004587D, struct.pack("I", flags))
    os.close(directory)


def meet_an_error(disk: Disk) -> None:
    """Let the file system find something wrong with itself, which makes it read-only."""
    Path("/sys/fs/ext4", disk.device_of(disk.path), "trigger_fs_error").write_text("1")


ENDS: dict[str, tuple[Callable[[Disk], None], int]] = {
    "shut down after a flush": (lambda disk: shut_down(disk, 1), errno.EIO),
    "shut down at once": (lambda disk: shut_down(disk, 2), errno.EIO),
    "read-only after an error": (meet_an_error, errno.EROFS),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_file_system_that_goes_away_under_an_open_queue(
    tmp_path: Path, end: str, long_form: bool
) -> None:
    def work(line: Line) -> None:
        disk = Disk(tmp_path, options="errors=remount-ro")
        for at in range(4, 20, 1 if long_form else 5):
            line.say(one_end(disk, at, *ENDS[end]))

    outcomes = with_own_mounts(work)
    ledger.record("read-only file system", len(outcomes), note=f"ext4 {end}, under an open queue")


def one_end(disk: Disk, at: int, change: Callable[[Disk], None], expected: int) -> str:
    path = disk.path / f"queue-{at}"
    plan, notes = filling_plan(at, 6, large=16, size=9_000), Notes()
    Unlucky(path, plan, notes, at=at, change=lambda: change(disk), options=LARGER).live()
    ((what, name, number, _),) = failures(notes.said)
    assert name in FAILURES_OF_A_DISK
    assert number == expected
    with pytest.raises(OpenIOError) as refusal:
        aq.open(path)
    assert refusal.value.errno == expected
    if expected == errno.EROFS:
        assert replayed(path).latest_sequence >= last_acknowledged(notes.said)
    disk.lose_the_cache()
    check_kept(path, plan, last_acknowledged(notes.said, "immediate"))
    shutil.rmtree(path)
    return str(what)
