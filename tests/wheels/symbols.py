"""Takes debug symbols out of a wheel, and keeps them for those that need to look into a crash."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.wheels.interpreters import tool
from tests.wheels.targets import Target


@contextmanager
def unpacked(wheel: Path) -> Iterator[Path]:
    """Give the directory of what is in a wheel, and write the wheel again from it at the end."""
    place = wheel.parent / "contents"
    subprocess.run(
        [sys.executable, "-m", "wheel", "unpack", "--dest", place, wheel],
        check=True, capture_output=True,
    )  # fmt: skip
    (contents,) = place.iterdir()
    yield contents
    wheel.unlink()
    subprocess.run(
        [sys.executable, "-m", "wheel", "pack", "--dest-dir", wheel.parent, contents],
        check=True, capture_output=True,
    )  # fmt: skip
    shutil.rmtree(place)


def objcopy() -> str:
    """Return the program that takes object files of all processors apart: GNU's takes only those
    of this machine.
    """
    for name in ("llvm-objcopy", *(f"llvm-objcopy-{version}" for version in range(30, 13, -1))):
        if (path := shutil.which(name)) is not None:
            return path
    sys.exit("llvm-objcopy is missing: make system-packages")


def split(target: Target, shared_object: Path, kept: Path) -> None:
    """Move the debug symbols of a shared object into the directory ``kept``.

    Those of Windows are in a file of their own already, and those of macOS are not made.
    """
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for apart in shared_object.parent.glob("*.pdb"):
        shutil.move(apart, kept)
    for library in shared_object.parent.glob("*.lib"):  # for programs that would link with it
        library.unlink()
    if target.system != "linux":
        return
    symbols = kept / f"{shared_object.name}.debug"
    for arguments in (
        ["--only-keep-debug", shared_object, symbols],
        ["--strip-debug", "--strip-unneeded", f"--add-gnu-debuglink={symbols}", shared_object],
    ):
        subprocess.run([objcopy(), *arguments], check=True)
    if "musl" in target.tag:
        # The linker calls musl by the name of its development file, which no musl system has.
        (library,) = target.libraries
        subprocess.run(
            [tool("patchelf"), "--replace-needed", "libc.so", library, shared_object], check=True
        )
