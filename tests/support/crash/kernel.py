"""What the tests of the system use: system call tracing, and mounts that no other process sees.

Tests that use it carry the marker ``system`` with what they need (system_needs.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from tests.support.crash.children import Line, run

CLONE_NEWNS = 0x00020000


# --- System calls ---------------------------------------------------------------------------------


@contextmanager
def traced(thread: int, log: Path, *options: str) -> Iterator[None]:
    """Trace one thread's system calls into a log, from now until it ends."""
    command = ["strace", "-y", "-o", str(log), "-p", str(thread), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
        assert strace.stderr is not None
        said = strace.stderr.readline()
        assert b"attached" in said, (
            f"strace may not trace: {said.decode()}{strace.stderr.read().decode()}"
        )
        yield
        strace.wait()


def calls_in(log: Path) -> list[tuple[str, str]]:
    """Return a trace's system calls in order, each with the whole line."""
    lines = log.read_text("utf-8", "replace").splitlines()
    return [(name[1], line) for line in lines if (name := re.match(r"(\w+)\(", line))]


def counts_in(log: Path) -> Counter[str]:
    return Counter(name for name, _ in calls_in(log))


# --- Mounts ---------------------------------------------------------------------------------------


def mount(*arguments: str | Path) -> None:
    """Run mount; it must succeed."""
    done = subprocess.run(
        ["mount", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"mount {' '.join(map(str, arguments))}: {done.stderr}"


def unmount(path: Path) -> None:
    subprocess.run(["umount", str(path)], check=True)


def with_own_mounts(work: Callable[[Line], None]) -> list[tuple[Any, ...]]:
    """Do the work as root in a child whose mounts are its own and end with it; return what it
    said.
    """

    def live(line: Line) -> None:
        own_mounts()
        work(line)

    return run(live)


def own_mounts() -> None:
    """Give this process mounts of its own, which go away when it ends."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"unshare: {os.strerror(error)}")
    mount("--make-rprivate", "/")


class Disk:
    """A file system on a loop device, whose disk is a sparse file on a tmpfs that can be filled up.

    The disk's file holds what has reached the device and nothing of the page cache, so a copy of it
    is what a power loss leaves. While the tmpfs is full, blocks of the disk that were never
    written, or were given back, cannot be.
    """

    # The kernel must not write anything back on its own: only what is synced counts. A copy has the
    # original's UUID.
    OPTIONS: ClassVar = {"ext4": "loop,commit=600", "xfs": "loop,nouuid"}
    SIZES: ClassVar = {"ext4": "48m", "xfs": "300m"}  # XFS cannot be smaller

    FORMAT: ClassVar = {"ext4": ("-F", "-b", "4096"), "xfs": ()}
    ROOMS: ClassVar = {"ext4": "96m", "xfs": "200m"}  # of the tmpfs: what is made, and a copy

    def __init__(
        self, base: Path, kind: str = "ext4", *, options: str = "", features: tuple[str, ...] = ()
    ) -> None:
        self.base, self.path, self.image, self.filler = (
            base,
            base / "disk",
            base / "image",
            base / "filler",
        )
        self.options = self.OPTIONS[kind] + (f",{options}" if options else "")
        mount("-t", "tmpfs", "-o", f"size={self.ROOMS[kind]}", "tmpfs", base)
        self.path.mkdir()
        subprocess.run(["truncate", "-s", self.SIZES[kind], str(self.image)], check=True)
        subprocess.run(
            [f"mkfs.{kind}", "-q", *self.FORMAT[kind], *features, str(self.image)], check=True
        )
        subprocess.run(["fallocate", "--dig-holes", str(self.image)], check=True)
        self.attach(self.image, self.path)

    def attach(self, image: Path, path: Path) -> None:
        mount("-o", self.options, image, path)
        # Linux 6.18 takes a request that was written in part for written: so one page, one block,
        # to a request.
        Path("/sys/block", self.device_of(path), "queue/max_sectors_kb").write_text("4")

    def lose_the_cache(self) -> None:
        """Let the disk be all there is, as after a restart in good order."""
        unmount(self.path)
        self.attach(self.image, self.path)

    @staticmethod
    def device_of(path: Path) -> str:
        found = subprocess.run(
            ["findmnt", "-no", "SOURCE", str(path)], check=True, capture_output=True, text=True
        )
        return Path(found.stdout.strip()).name

    def write_back(self) -> None:
        """Let the kernel write back all that it has not written yet, as it may at any time;
        failures go unheard.
        """
        subprocess.run(["sync", "-f", str(self.path)], check=False, stderr=subprocess.DEVNULL)

    def give_back_zeros(self) -> None:
        """Take back the memory of every block of the disk that holds zeros only: promised, and
        maybe not there.
        """
        self.write_back()
        subprocess.run(["fallocate", "--dig-holes", str(self.image)], check=True)

    def fill(self, but: int = 0) -> None:
        """Leave the disk no memory for new blocks, except for so many bytes."""
        with self.filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
            file.truncate(file.tell() - but)

    def make_room(self) -> None:
        self.filler.unlink()

    def copy(self, to: Path) -> Path:
        """Copy what has reached the disk."""
        subprocess.run(["cp", "--sparse=always", str(self.image), str(to)], check=True)
        return to
