"""Directories that somebody made up or damaged, through ``open`` and the readers: typed errors,
nothing changed, or a queue that works.

Neither takes much more memory than the files are large.
"""

from __future__ import annotations

import errno
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

import actionqueue as aq
from actionqueue.errors import OpenError, OpenIOError
from actionqueue.inspection import iterate_records, read_projection, statistics, verify
from tests.support.command_line import kill_a_writer, make_queue
from tests.support.core.log_model import HEADER_COPIES, crc
from tests.support.crash import ledger
from tests.support.queues import limit

SHORT, LONG = 60, 3000
MEMORY_FACTOR, MEMORY_BASE = 4, 32 << 20
"""Address space for each byte of a file, as of the core's memory (``core_memory.h``), and for all
else: the stacks of threads, of 8 MiB each, what their allocators set aside, and the interpreter's
objects. A size that a file may claim is up to 256 MiB or 1 GiB.
"""
NAMES = [
    *[
        "LOCK",
        "ring",
        "ring.tmp",
        "wal",
        "wal/prepare-0000000000000000.tmp",
        "wal/notes",
        "quarantine",
        "quarantine/copy.tmp",
    ],
    *[
        "snapshots",
        "snapshots/00000000000000000001.snap",
        "wal/" + "9" * 20 + "-" + "9" * 20 + ".log",
        "wal/é",
        "wal/\n",
    ],
]


@pytest.fixture(scope="module")
def queues(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A closed queue, and one whose writer was killed."""
    base = tmp_path_factory.mktemp("queues")
    make_queue(base / "closed")
    kill_a_writer(base / "killed")
    return [base / "closed", base / "killed"]


def spoil_bytes(path: Path, random: Random) -> None:
    data = bytearray(path.read_bytes())
    if not data:
        return
    used = max(1, len(data.rstrip(b"\0")))
    for _ in range(random.choice((1, 1, 5))):
        at = random.randrange(random.choice((used, len(data), min(256, len(data)))))
        data[at : at + 4] = random.randbytes(len(data[at : at + 4]))
    path.write_bytes(data)


def claim(path: Path) -> None:
    """Let a segment or a ring say that it is as large as can be, with a right checksum."""
    offset, greatest, end, copies = (
        (32, 1 << 28, 60, (0,)) if path.name == "ring" else (56, 1 << 30, 124, HEADER_COPIES)
    )
    data = bytearray(path.read_bytes())
    if len(data) < 8192:
        return
    for at in copies:
        data[at + offset : at + offset + 8] = greatest.to_bytes(8, "little")
        data[at + end : at + end + 4] = crc(bytes(data[at : at + end])).to_bytes(4, "little")
    path.write_bytes(data)


def spoil(directory: Path, random: Random) -> str:
    """Do one hostile thing to a queue's directory; return what."""
    files = sorted(
        path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()
    )
    path = random.choice(files)
    other = directory / random.choice(
        [*NAMES, *(str(file.relative_to(directory)) for file in files)]
    )
    action = random.choice(
        [
            "bytes",
            "bytes",
            "bytes",
            "cut",
            "grow",
            "claim",
            "remove",
            "empty",
            "copy",
            "directory",
            "link",
            "dangling",
        ]
    )
    if action in {"copy", "directory", "link", "dangling"}:
        if other.is_dir() or not other.parent.is_dir() or other == path:
            return "nothing"
        other.unlink(missing_ok=True)
    if action == "bytes":
        spoil_bytes(path, random)
    elif action == "claim":
        claim(path)
    elif action in {"cut", "grow", "empty"}:
        size = {
            "cut": random.randrange(path.stat().st_size + 1),
            "grow": path.stat().st_size + 4096,
            "empty": 0,
        }[action]
        with path.open("r+b") as file:
            file.truncate(size)
    elif action == "remove":
        path.unlink()
    elif action == "copy":
        shutil.copy(path, other)
    elif action == "directory":
        other.mkdir()
    else:
        other.symlink_to(path if action == "link" else "nowhere")
    return f"{action} {path.name} {other.name!r}"


def content(path: Path) -> bytes | str | None:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_bytes() if path.is_file() else None


def contents(directory: Path) -> dict[str, bytes | str | None]:
    """All files but those that the next writer may write or remove, whatever comes of it: the
    lock's text and remains.
    """
    paths = sorted(
        path for path in directory.rglob("*") if path.name != "LOCK" and path.suffix != ".tmp"
    )
    return {str(path): content(path) for path in paths}


@contextmanager
def bounded_memory(directory: Path) -> Iterator[None]:
    """Leave as much address space as the files' sizes allow."""
    size = sum(
        path.lstat().st_size
        for path in directory.rglob("*")
        if path.is_file() and not path.is_symlink()
    )
    used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    with limit(resource.RLIMIT_AS, used + MEMORY_FACTOR * size + MEMORY_BASE):
        yield


def check_error(error: Exception) -> None:
    assert isinstance(error, OpenError), repr(error)
    assert not isinstance(error, OpenIOError) or error.errno != errno.ENOMEM
    assert str(error)
    assert str(error).isprintable()


def read_all(directory: Path) -> list[int] | None:
    """Return the sequences that the readers see, or None where they all refuse. They change
    nothing.
    """
    before = contents(directory)
    seen: list[int] | None = None
    try:
        with bounded_memory(directory):
            seen = [record.sequence for record in iterate_records(directory) if record.is_event]
            read_projection(directory)
            verify(directory)
            statistics(directory)
    except OpenError as error:
        check_error(error)
        seen = None
    assert contents(directory) == before
    return seen


def spoiled(queues: list[Path], base: Path, count: int) -> Iterator[tuple[Path, str]]:
    for seed in range(count):
        random = Random(seed)
        directory = base / str(seed)
        shutil.copytree(random.choice(queues), directory, symlinks=True)
        done = [spoil(directory, random) for _ in range(random.choice((1, 1, 2, 4)))]
        yield directory, "; ".join(done)
        shutil.rmtree(directory)


def test_hostile_directories(queues: list[Path], tmp_path: Path, long_form: bool) -> None:
    count = LONG if long_form else SHORT
    opened = refused = 0
    for directory, done in spoiled(queues, tmp_path, count):
        seen = read_all(directory)
        before = contents(directory)
        try:
            with bounded_memory(directory), aq.open(directory, create=False) as queue:
                assert seen == list(range(1, queue.sequence + 1)), done
                command = (
                    aq.EngineResumeCommand
                    if queue.projection.is_engine_paused()
                    else aq.EnginePauseCommand
                )
                queue.submit(command(None, 2**63))
                last = queue.sequence
            opened += 1
        except OpenError as error:
            check_error(error)
            assert {
                name: data for name, data in contents(directory).items() if name in before
            } == before, done
            refused += 1
            continue
        assert read_all(directory) == list(range(1, last + 1)), done
    assert opened > count // 10
    assert refused > count // 10
    ledger.record(
        "hostile files: directories through open and the readers",
        count,
        0,
        f"{opened} opened, {refused} refused",
    )


def test_a_lock_that_is_a_link(tmp_path: Path) -> None:
    """Readers and writers say the same kind of thing about it."""
    make_queue(tmp_path / "queue")
    (tmp_path / "queue" / "LOCK").unlink()
    (tmp_path / "queue" / "LOCK").symlink_to("elsewhere")
    for look in (aq.open, read_projection, verify, statistics):
        with pytest.raises(OpenIOError) as caught:
            look(tmp_path / "queue")
        check_error(caught.value)
