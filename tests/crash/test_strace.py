"""A session of the queue that is killed, or one of whose system calls fails, at every system call
that it makes.

strace counts the calls of one thread and strikes at the Nth; scenes.py says what is traced.
"""

from __future__ import annotations

import errno
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.crash import ledger
from tests.support.crash.careful_user import check_kept, failures, last_acknowledged
from tests.support.crash.kernel import counts_in
from tests.support.crash.scenes import NAMES, Scene, numbered, play, scenes, some
from tests.support.queues import in_memory

pytestmark = [
    pytest.mark.system("strace"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

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
    "renameat": ("EIO", "ENOSPC", "EROFS"),
    "unlinkat": ("EIO", "EROFS"),
    "mkdirat": ("EIO", "ENOSPC"),
    "fcntl": ("EIO",),
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

RECORD_CALLS = ("pwrite64", "fdatasync")
JUDGED = ("close", "fdatasync", "fsync", "pwrite64")
"""Whatever fails, these are looked at: nothing is written or synced again behind a failure."""

TYPED = {
    "open": ("OpenIOError",),
    "submit": ("LogSpaceError", "LogWriteError"),
    "sync": ("LogWriteError",),
    "close": ("LogWriteError", "LogCloseError"),
    "compact": ("SnapshotError",),
}
"""What each of the user's calls may fail with."""
PYTHONS_OWN = {"getrandom": "OSError", "mmap": "MemoryError"}
"""Calls that the interpreter makes too, and what it makes of their failure."""


PATH_CALLS = ("openat", "close")
"""Paths are walked name by name, so these are many, and much the same: of their failures each
number meets one, in turn.
"""
PARTS = {"with compactions": 3}
"""The numbers of a long scene are shared out among so many tests."""

QUIET_RUNS = 5
"""How many calls a run makes depends on who prepares a segment first, the user's thread or the
other: the shortest run leaves that to the other, whose calls are a scene of their own.
"""
STRUCK_WITHIN = 12
"""Runs in which a number may come up."""
MEET_OTHERS = ("brk", "futex", "mmap", "read")
"""Calls that the interpreter and libc make or don't, as threads meet and memory lies: some of their
numbers may never come up again.
"""
NEVER_RETURNS = ("exit", "exit_group")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    pairs = [(name, part) for name in NAMES for part in range(PARTS.get(name, 1))]
    metafunc.parametrize(("name", "part"), pairs)


@contextmanager
def scene_named(name: str) -> Iterator[Scene]:
    with scenes() as all_scenes:
        assert [scene.name for scene in all_scenes] == list(NAMES)
        yield all_scenes[NAMES.index(name)]


# --- Kills ----------------------------------------------------------------------------------------


def test_a_kill_at_every_system_call(name: str, part: int, long_form: bool) -> None:
    """At each number of each call, as often as it takes for the number to come up."""
    with scene_named(name) as scene, in_memory() as made:
        parts = PARTS.get(name, 1)
        strikes = [
            (call, number)
            for call, number in numbered(usual_calls(scene, made))
            if call not in NEVER_RETURNS
        ][part::parts]
        chosen = some(strikes, -(-8 // parts), seed=7 + part, all_of_them=long_form)
        missed = [
            (call, number) for call, number in chosen if not is_killed_at(scene, made, call, number)
        ]
        assert [strike for strike in missed if strike[0] not in MEET_OTHERS] == [], repr(missed)
        killed = len(chosen) - len(missed)
        which = f"{name} ({part + 1} of {parts})" if parts > 1 else name
        note = f"{which}: {killed} of {len(strikes)} calls"
        if missed:
            others = "/".join(sorted({call for call, _ in missed}))
            note += f", the others {others} that did not come up again"
        ledger.record("SIGKILL at any syscall", killed, note=note)


def usual_calls(scene: Scene, made: Path) -> list[tuple[str, str]]:
    """Return the calls of the shortest of some runs: what it makes, the others make too."""
    # The first of a process makes calls that no later one makes.
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    runs = []
    for _ in range(QUIET_RUNS):
        quiet = play(scene, made / "queue", made / "log")
        assert ("finished",) in quiet.said
        check_kept(made / "queue", scene.plan, last_acknowledged(quiet.said))
        runs.append(quiet.calls)
    return min(runs, key=len)


def is_killed_at(scene: Scene, made: Path, call: str, number: int) -> bool:
    """Kill at the Nth call of a name, in the first run that makes so many. What is found afterwards
    is right in any case.
    """
    for _ in range(STRUCK_WITHIN):
        outcome = play(
            scene,
            made / "queue",
            made / "log",
            *scene.traced(call),
            "-e",
            f"inject={call}:signal=SIGKILL:when={number}",
        )
        assert not failures(outcome.said)
        check_kept(made / "queue", scene.plan, last_acknowledged(outcome.said))
        if outcome.was_killed:
            return True
        assert counts_in(made / "log")[call] < number, (
            f"{scene.name}: {call} {number} was made, and did not kill"
        )
    return False


# --- Failures -------------------------------------------------------------------------------------


def test_a_failure_of_every_system_call(name: str, part: int, long_form: bool) -> None:
    with scene_named(name) as scene, in_memory() as made:
        play(scene, made / "queue", made / "log")
        counts, struck, parts = counts_in(made / "log"), 0, PARTS.get(name, 1)
        for turn, (call, errors) in enumerate(FAILURES.items()):
            if (
                not long_form
                and (part > 0 or call not in RECORD_CALLS)
                and turn % len(NAMES) != NAMES.index(name)
            ):
                continue
            for number in some(
                range(1 + part, counts[call] + 1, parts), 1, seed=len(call), all_of_them=long_form
            ):
                in_turn = errors[number % len(errors)] if long_form else errors[0]
                for error in errors if long_form and call not in PATH_CALLS else (in_turn,):
                    struck += fails_at(scene, made, call, error, f"{number}")
                if long_form and (call not in PATH_CALLS or number % (1 + counts[call] // 80) == 0):
                    struck += fails_at(scene, made, call, errors[0], f"{number}+")
        if long_form or part == 0:
            assert struck > 0
        ledger.record(
            "ENOSPC / EIO / short write / EINTR on any call", struck, note=f"system calls, {name}"
        )


def fails_at(scene: Scene, made: Path, call: str, error: str, when: str) -> bool:
    """One failure, or one call that fails from then on. Whether it came to that."""
    how = "retval=0" if error == NOTHING_DONE else f"error={error}"
    injected = (*scene.traced(call, *JUDGED), "-e", f"inject={call}:{how}:when={when}")
    # glibc ends the process itself where it cannot unmap the stack of a thread that has ended.
    may_end_with = signal.SIGABRT if call == "munmap" else None
    outcome = play(scene, made / "queue", made / "log", *injected, may_end_with=may_end_with)
    struck = [line for name, line in outcome.calls if name == call and "(INJECTED)" in line]
    about = f"{scene.name}, {call}, {error}, {when}: {outcome.said}"
    assert not outcome.was_killed or may_end_with, about
    for what, name, number, _ in failures(outcome.said):
        if call == "pread64" and error == NOTHING_DONE:
            assert name == "CorruptLogError", about  # a file that ends before its size is damaged
            continue
        assert name in TYPED[what] or name == PYTHONS_OWN.get(call), about
        # A file that could not be looked at is taken for no regular one; a write that does nothing
        # fails.
        expected = errno.EIO if error == NOTHING_DONE else getattr(errno, error)
        assert number in (expected, errno.EINVAL if call == "newfstatat" else expected), about
    if (
        call == "pread64" and error == NOTHING_DONE and struck and not scene.compacts_every
    ):  # a snapshot may stand in for another
        assert failures(outcome.said), about
    if not when.endswith("+"):
        assert len(failures(outcome.said)) <= len(struck), about
        assert outcome.was_killed or ("finished",) in outcome.said, about
    assert_no_sync_is_tried_again(outcome.calls)
    check_kept(made / "queue", scene.plan, last_acknowledged(outcome.said))
    return bool(struck)


def assert_no_sync_is_tried_again(calls: list[tuple[str, str]]) -> None:
    """After a failed write or sync of a file it is neither written nor synced through that
    descriptor any more.

    The ring's durable sequence, where the ring is not mapped, is a lower bound: it may be written
    late, or not at all.
    """
    failed: set[str] = set()
    for call, line in calls:
        if call == "close":
            failed.discard(descriptor_of(line))
        elif call in JUDGED:
            assert descriptor_of(line) not in failed, line
            if "(INJECTED)" in line and "EINTR" not in line and "/ring>" not in line:
                failed.add(descriptor_of(line))


def descriptor_of(line: str) -> str:
    found = re.match(r"\w+\((\d+)", line)
    assert found is not None, line
    return found[1]
