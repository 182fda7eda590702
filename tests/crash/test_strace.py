"""A session of the queue whose process is killed, or one of whose system calls fails, at every system call that it makes.

strace counts the calls of one thread and strikes at the Nth: the user's own thread from the creation of the queue, through
commands of both durabilities, batches, rotations, closing and opening again; the same from what a kill left behind; and the thread
that prepares segments.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

import pytest

import actionqueue as aq
import ledger
from careful import CarefulUser, check_kept, failures, last_acknowledged
from children import Child, Line
from kernel import calls_in, counts_in, traced
from plans import Plan, Step, filling_plan
from queue_tools import IN_MEMORY, SMALL, copy_of

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

NOTHING_DONE = "0"
"""In an error's place: the call returns 0 as if it had met the end of the file, or no room."""

FAILURES: dict[str, tuple[str, ...]] = {
    "openat": ("EIO", "ENOSPC", "EMFILE", "EDQUOT", "EINTR"),
    "pread64": ("EIO", "EINTR", NOTHING_DONE),
    "pwrite64": ("EIO", "ENOSPC", "EDQUOT", "EINTR", NOTHING_DONE),
    "fdatasync": ("EIO", "ENOSPC", "EDQUOT", "EINTR"),
    "fsync": ("EIO", "ENOSPC", "EINTR"),
    "sync_file_range": ("EIO", "ENOSPC"),
    "ftruncate": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC", "EROFS"),
    "unlink": ("EIO", "EROFS"),
    "mkdir": ("EIO", "ENOSPC"),
    "newfstatat": ("EIO",),
    "getdents64": ("EIO",),
    "fstatfs": ("EIO",),
    "flock": ("EIO", "ENOLCK"),
    "mmap": ("ENOMEM",),
    "madvise": ("EINVAL",),
    "mlock": ("ENOMEM", "EPERM"),
    "munmap": ("ENOMEM",),
    "getrandom": ("EIO",),
    "close": ("EIO", "EINTR"),
    "clone3": ("EAGAIN",),
}
"""Every system call of the I/O layer, and how it fails."""

TYPED = ("OpenIOError", "LogSpaceError", "LogWriteError")
PYTHONS_OWN = {"getrandom": "OSError", "mmap": "MemoryError"}
"""Calls that the interpreter makes too, and what it makes of their failure."""


T = TypeVar("T")


class Scene(NamedTuple):
    """What is traced: the plan, what lies in the directory before it, and whose thread's calls count."""

    name: str
    plan: Plan
    left_behind: Path | None
    of_preparing_thread: bool = False
    always: tuple[str, ...] = ()
    """strace options for every run."""


@contextmanager
def scenes() -> Iterator[list[Scene]]:
    with tempfile.TemporaryDirectory(prefix="actionqueue-", dir=IN_MEMORY) as made:
        first = filling_plan(1, 6, large=5)
        left = Path(made, "left")

        def be_killed(line: Line) -> None:
            queue = aq.open(left, **SMALL)
            for step in first.steps:
                step._replace(durability="deferred").submit(queue)
            os.kill(os.getpid(), signal.SIGKILL)

        child = Child(be_killed)
        child.end()
        yield [
            Scene("from nothing", filling_plan(2, 16, large=15), None),
            Scene("after a kill", filling_plan(3, 4, first.ends[max(first.ends)], large=5), left),
            Scene("ring not mapped", filling_plan(5, 10, large=10), None, always=("-e", "inject=fstatfs:error=ENOSYS")),
            Scene("preparing thread", filling_plan(4, 1, large=20), None, of_preparing_thread=True),
        ]


class Outcome(NamedTuple):
    said: list[tuple[Any, ...]]
    was_killed: bool
    calls: list[tuple[str, str]]
    path: Path


def other_threads() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/task").iterdir() if int(entry.name) != os.getpid()]


def play(scene: Scene, made: Path, *options: str, failures_max: int = 2) -> Outcome:
    """Let a careful user live the scene in a child that is traced, in a directory of its own."""
    path, log = made / "queue", made / "log"
    shutil.rmtree(path, ignore_errors=True)
    if scene.left_behind is not None:
        copy_of(scene.left_behind, path)

    def live(line: Line) -> None:
        user = PatientUser if scene.of_preparing_thread else CarefulUser
        line.say("thread", os.getpid())
        if not scene.of_preparing_thread:
            line.wait()
        user(path, scene.plan, line, failures_max=failures_max).live()

    child = Child(live)
    (thread,) = child.expect("thread")
    said: list[tuple[Any, ...]] = []
    if scene.of_preparing_thread:
        while (message := child.next()) is not None and message[0] != "thread":
            said.append(message)
        assert message is not None
        thread = message[1]
    with traced(thread, log, *scene.always, *options):
        child.go()
        said += child.end()
    return Outcome(said, child.was_killed, calls_in(log), path)


class PatientUser(CarefulUser):
    """Lets the thread that prepares segments do so before he goes on, and lets his parent trace it as soon as it runs."""

    is_traced = False

    def _submits(self, queue: aq.ActionQueue, step: Step) -> bool:
        submits = super()._submits(queue, step)
        for thread in other_threads():
            while is_awake(thread):
                os.sched_yield()
            if not self.is_traced:
                self.is_traced = True
                self.line.say("thread", thread)
                self.line.wait()
        return submits


def is_awake(thread: int) -> bool:
    """Whether a thread of this process does anything but wait for more work."""
    try:
        return Path(f"/proc/self/task/{thread}/stat").read_text().rpartition(")")[2].split()[0] != "S"
    except (FileNotFoundError, ProcessLookupError):
        return False


def some(things: Sequence[T], wanted: int, seed: int, *, all_of_them: bool) -> list[T]:
    if all_of_them or len(things) <= wanted:
        return list(things)
    return Random(seed).sample(things, wanted)


# --- Kills -----------------------------------------------------------------------------------------------------------


def test_a_kill_at_every_system_call(long_form: bool) -> None:
    with scenes() as all_scenes, in_memory() as made:
        for scene in all_scenes:
            quiet = play(scene, made)
            assert ("finished",) in quiet.said
            strikes = numbered(quiet.calls)
            chosen = some(strikes, 16, seed=7, all_of_them=long_form)
            killed = 0
            for call, number in chosen:
                outcome = play(scene, made, "-e", f"inject={call}:signal=SIGKILL:when={number}")
                killed += outcome.was_killed
                assert not failures(outcome.said)
                check_kept(outcome.path, scene.plan, last_acknowledged(outcome.said))
            # Not every run waits and allocates as often as the one that was counted.
            assert killed > 0.8 * len(chosen)
            ledger.record("SIGKILL at any syscall", killed, 0, f"{scene.name}: {killed} of {len(strikes)} calls")


def numbered(calls: list[tuple[str, str]]) -> list[tuple[str, int]]:
    """Number the calls of each name from 1, as strace counts them."""
    seen: Counter[str] = Counter()
    strikes = []
    for call, _ in calls:
        seen[call] += 1
        strikes.append((call, seen[call]))
    return strikes


@contextmanager
def in_memory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="actionqueue-", dir=IN_MEMORY) as made:
        yield Path(made)


# --- Failures --------------------------------------------------------------------------------------------------------


def test_a_failure_of_every_system_call(long_form: bool) -> None:
    with scenes() as all_scenes, in_memory() as made:
        for scene in all_scenes:
            counts = counts_in(made / "log") if play(scene, made) else None
            assert counts is not None
            struck = 0
            for call, errors in FAILURES.items():
                for number in some(range(1, counts[call] + 1), 1, seed=len(call), all_of_them=long_form):
                    for error in errors if long_form else errors[:1]:
                        for when in (f"{number}", f"{number}+") if long_form else (f"{number}",):
                            struck += fails_at(scene, made, call, error, when)
            ledger.record("ENOSPC / EIO / short write / EINTR on any call", struck, 0, scene.name)


def fails_at(scene: Scene, made: Path, call: str, error: str, when: str) -> bool:
    """One failure, or one call that fails from then on. Whether it came to that."""
    how = "retval=0" if error == NOTHING_DONE else f"error={error}"
    outcome = play(scene, made, "-e", f"inject={call}:{how}:when={when}")
    struck = [line for name, line in outcome.calls if name == call and "(INJECTED)" in line]
    about = f"{scene.name}, {call}, {error}, {when}: {outcome.said}"
    assert not outcome.was_killed, about
    for what, name, number, _ in failures(outcome.said):
        if call == "pread64" and error == NOTHING_DONE:
            assert name == "CorruptLogError", about  # a file that ends before its size is damaged
            continue
        assert name in TYPED or name == PYTHONS_OWN.get(call), about
        # A file that could not be looked at is taken for no regular one; a write that does nothing fails.
        expected = errno.EIO if error == NOTHING_DONE else getattr(errno, error)
        assert number in (expected, errno.EINVAL if call == "newfstatat" else expected), about
        assert what in ("open", "submit", "sync", "close"), about
    if not when.endswith("+"):
        assert len(failures(outcome.said)) <= len(struck), about
        assert ("finished",) in outcome.said, about
    assert_no_sync_is_tried_again(outcome.calls)
    check_kept(outcome.path, scene.plan, last_acknowledged(outcome.said))
    return bool(struck)


def assert_no_sync_is_tried_again(calls: list[tuple[str, str]]) -> None:
    """After a failed write or sync of a file it is neither written nor synced through that descriptor any more.

    The ring's durable sequence, where the ring is not mapped, is a lower bound: it may be written late, or not at all.
    """
    failed: set[str] = set()
    for call, line in calls:
        if call == "close":
            failed.discard(descriptor_of(line))
        elif call in ("fdatasync", "fsync", "pwrite64"):
            assert descriptor_of(line) not in failed, line
            if "(INJECTED)" in line and "EINTR" not in line and "/ring>" not in line:
                failed.add(descriptor_of(line))


def descriptor_of(line: str) -> str:
    found = re.match(r"\w+\((\d+)", line)
    assert found is not None, line
    return found[1]
