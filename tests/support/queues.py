"""What the tests of open queues share: small queues, replaying a log into the model, and work in a
forked child.
"""

from __future__ import annotations

import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import actionqueue as aq
from actionqueue.errors import PoisonedError
from actionqueue.inspection import iterate_records
from actionqueue.json.projection import projection_to_json
from actionqueue.model.base import event_of, validate
from tests.support.core.log_model import crc
from tests.support.model import Model
from tests.support.places import environment

PATIENCE_S = 60.0

SMALL: dict[str, int] = {"segment_size": 65536, "ring_size": 65536}
"""Options for a queue that drains and rotates after a few records."""

IN_MEMORY = "/dev/shm" if os.name == "posix" and os.access("/dev/shm", os.W_OK) else None
"""Where temporary directories cost no disk syncs; None is the usual place."""

CHILD_SECONDS = 300
"""A child that hangs is killed after this long, and its test fails."""


def segment_of_version(segment: bytes, version: int) -> bytes:
    """Return a segment whose header says, with right checksums, that it is of another format
    version.
    """
    header = bytearray(segment[:128])
    header[8:12] = version.to_bytes(4, "little")
    header[124:] = crc(bytes(header[:124])).to_bytes(4, "little")
    return bytes(header) + segment[128:4096] + bytes(header) + segment[4224:]


def state_of(queue: aq.ActionQueue) -> dict[str, Any]:
    """Return all that the queue's projection says."""
    return projection_to_json(queue.projection)


def real(path: str | os.PathLike[str]) -> str:
    """Return a path as the library tells it: the real one, with forward slashes."""
    return Path(os.path.realpath(path)).as_posix()


def replayed(path: str | os.PathLike[str]) -> Model:
    """Return the model after the log of a queue without a writer, whose sequences must have no
    gap.
    """
    model = Model()
    for record in iterate_records(path):
        if record.is_event:
            assert record.sequence == model.latest_sequence + 1
            model.apply_event(record.event())
    return model


def apply(model: Model, commands: Iterable[aq.MutationCommand]) -> None:
    """Do to the model what accepting these commands means."""
    for command in commands:
        model.apply_event(event_of(command, validate(command, model)))


def copy_of(path: str | os.PathLike[str], to: Path) -> Path:
    """Copy a queue's files as they are now: what a process killed at this moment leaves behind."""
    shutil.copytree(path, to)
    return to


def log_bytes(path: str | os.PathLike[str]) -> dict[str, bytes]:
    """Return every file of the queue, the ring's header and the segments in preparation left
    out.
    """
    files: dict[str, bytes] = {}
    for file in sorted(Path(path).rglob("*")):
        if file.is_file() and file.suffix != ".tmp":
            content = file.read_bytes()
            files[str(file.relative_to(path))] = content[65536:] if file.name == "ring" else content
    return files


def task_create(payload: bytes = b"") -> aq.TaskCreateCommand:
    """Return a command that is always accepted."""
    return aq.TaskCreateCommand(None, aq.TaskSpec(payload=payload), 1)


REFUSED = aq.EngineResumeCommand(None, 1)
"""A command that is refused while the engine is not paused."""


def in_child(work: Callable[[], Any]) -> Any:
    """Run the work in a forked child and return its result; an exception there is an assertion
    error here.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read_end)
        leave_with(write_end, work)
    os.close(write_end)
    said = b""
    with os.fdopen(read_end, "rb") as pipe:
        # The child's own timers are its test's.
        if select.select([pipe], [], [], CHILD_SECONDS)[0]:
            said = pipe.read()
    if not said:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert said, f"the child ended with wait status {status} and without an answer"
    is_result, value = pickle.loads(said)
    assert is_result, value
    return value


def leave_with(pipe: int, work: Callable[[], Any]) -> None:
    """In a forked child: send the work's result, or how it failed, and end at once, without the
    parent's clean-up.
    """
    try:
        try:
            answer = pickle.dumps((True, work()))
        except BaseException:
            signal.setitimer(signal.ITIMER_REAL, 0)
            answer = pickle.dumps((False, traceback.format_exc()))
        with os.fdopen(pipe, "wb") as stream:
            stream.write(answer)
    finally:
        os._exit(0)


def killed(program: str, *arguments: object) -> tuple[int, list[str]]:
    """Run a Python program, kill it when it has printed ``ready``, and return its process's number
    and the lines before.

    There is no signal that it could handle: SIGKILL, on Windows TerminateProcess.
    """
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(PYTHONUTF8="1", PYTHONUNBUFFERED="1"),
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None  # it stays open: the program may wait for its end
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == "ready":
                break
        process.kill()
    assert lines[-1:] == ["ready"], lines
    return process.pid, lines[:-1]


@contextmanager
def limit(which: int, value: int) -> Iterator[None]:
    """Lower a limit of this process for a while."""
    import resource  # not on Windows

    before = resource.getrlimit(which)
    resource.setrlimit(which, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(which, before)


@contextmanager
def dropping(path: str | os.PathLike[str]) -> Iterator[None]:
    """Expect that the queue at this path is dropped open in this block."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield
    texts = [str(warning.message) for warning in seen if warning.category is ResourceWarning]
    assert len(texts) == 1, texts
    assert f"unclosed queue {Path(path).as_posix()!r}" in texts[0]


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.001)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Let writes behind this offset of any file fail with EFBIG."""
    import resource  # not on Windows

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with limit(resource.RLIMIT_FSIZE, size):
        yield


def knows_mount_of(directory: Path) -> bool:
    """Whether the system tells which mount the directory lies on: in a change root it does not,
    and other systems than Linux have another way.
    """
    if sys.platform != "linux":
        return False
    number = directory.stat().st_dev
    mounts = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    return f"{os.major(number)}:{os.minor(number)}" in [line.split()[2] for line in mounts]


@contextmanager
def in_memory() -> Iterator[Path]:
    """Make a directory that costs no disk syncs and goes with the block."""
    # Windows removes no directory of a file that a generator which is not gone yet has open.
    with tempfile.TemporaryDirectory(
        prefix="actionqueue-", dir=IN_MEMORY, ignore_cleanup_errors=os.name != "posix"
    ) as made:
        yield Path(made)


def put_back(path: Path, kept: Path) -> None:
    """Into the very files that are there: only those that the copy does not have are removed."""
    for file in [
        file
        for file in path.rglob("*")
        if file.is_file() and not (kept / file.relative_to(path)).exists()
    ]:
        file.unlink()
    for file in [file for file in kept.rglob("*") if file.is_file()]:
        (path / file.relative_to(kept)).write_bytes(file.read_bytes())


def has_failed(queue: aq.ActionQueue) -> bool:
    """Tell whether a sync has failed, without the handle being told."""
    try:
        queue._log.ensure_open()
    except PoisonedError:
        return True
    return False


def open_small(
    path: Path, policy: aq.CompactionPolicy | None = None, **options: Any
) -> aq.ActionQueue:
    """Open a queue of the smallest sizes, whose commands are not waited for."""
    usual = {"compaction": policy, "durability": "deferred", **SMALL}
    return aq.open(path, **{**usual, **options})


def fill(queue: aq.ActionQueue, count: int = 20, size: int = 9000) -> None:
    """Submit enough for a segment every seven commands."""
    for _ in range(count):
        queue.submit(task_create(b"x" * size))


def read(path: Path) -> aq.ReadOnlyQueue:
    """Open a queue to be read."""
    return aq.open(path, readonly=True)
