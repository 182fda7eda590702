"""A session of the queue that is killed, or one of whose system calls fails, at every system call that it makes.

strace counts the calls of one thread and strikes at the Nth; scenes.py says what is traced.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

import ledger
from careful import check_kept, failures, last_acknowledged
from kernel import counts_in
from scenes import Scene, in_memory, numbered, play, scenes, some, worth_it

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


# --- Kills -----------------------------------------------------------------------------------------------------------


def test_a_kill_at_every_system_call(long_form: bool) -> None:
    with scenes() as all_scenes, in_memory() as made:
        for scene in all_scenes:
            quiet = play(scene, made / "queue", made / "log")
            assert ("finished",) in quiet.said
            strikes = numbered(quiet.calls)
            chosen = some(worth_it(strikes) if scene.compacts_every else strikes, 8, seed=7, all_of_them=long_form)
            killed = 0
            for call, number in chosen:
                outcome = play(scene, made / "queue", made / "log", "-e", f"inject={call}:signal=SIGKILL:when={number}")
                killed += outcome.was_killed
                assert not failures(outcome.said)
                check_kept(made / "queue", scene.plan, last_acknowledged(outcome.said))
            # Not every run waits and allocates as often as the one that was counted.
            assert killed > 0.8 * len(chosen)
            ledger.record("SIGKILL at any syscall", killed, note=f"{scene.name}: {killed} of {len(strikes)} calls")


# --- Failures --------------------------------------------------------------------------------------------------------


def test_a_failure_of_every_system_call(long_form: bool) -> None:
    with scenes() as all_scenes, in_memory() as made:
        for index, scene in enumerate(all_scenes):
            counts = counts_in(made / "log") if play(scene, made / "queue", made / "log") else None
            assert counts is not None
            struck = 0
            for turn, (call, errors) in enumerate(FAILURES.items()):
                if not long_form and call not in RECORD_CALLS and turn % len(all_scenes) != index:
                    continue
                # Paths are walked name by name, so those calls are many, and much the same.
                numbers = range(1, counts[call] + 1, 1 + counts[call] // 80)
                for number in some(numbers, 1, seed=len(call), all_of_them=long_form):
                    for error in errors if long_form else errors[:1]:
                        struck += fails_at(scene, made, call, error, f"{number}")
                    if long_form:
                        struck += fails_at(scene, made, call, errors[0], f"{number}+")
            ledger.record("ENOSPC / EIO / short write / EINTR on any call", struck, note=scene.name)


def fails_at(scene: Scene, made: Path, call: str, error: str, when: str) -> bool:
    """One failure, or one call that fails from then on. Whether it came to that."""
    how = "retval=0" if error == NOTHING_DONE else f"error={error}"
    outcome = play(scene, made / "queue", made / "log", "-e", f"inject={call}:{how}:when={when}")
    struck = [line for name, line in outcome.calls if name == call and "(INJECTED)" in line]
    about = f"{scene.name}, {call}, {error}, {when}: {outcome.said}"
    assert not outcome.was_killed, about
    for what, name, number, _ in failures(outcome.said):
        if call == "pread64" and error == NOTHING_DONE:
            assert name == "CorruptLogError", about  # a file that ends before its size is damaged
            continue
        assert name in TYPED[what] or name == PYTHONS_OWN.get(call), about
        # A file that could not be looked at is taken for no regular one; a write that does nothing fails.
        expected = errno.EIO if error == NOTHING_DONE else getattr(errno, error)
        assert number in (expected, errno.EINVAL if call == "newfstatat" else expected), about
    if (
        call == "pread64" and error == NOTHING_DONE and struck and not scene.compacts_every
    ):  # a snapshot may stand in for another
        assert failures(outcome.said), about
    if not when.endswith("+"):
        assert len(failures(outcome.said)) <= len(struck), about
        assert ("finished",) in outcome.said, about
    assert_no_sync_is_tried_again(outcome.calls)
    check_kept(made / "queue", scene.plan, last_acknowledged(outcome.said))
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
