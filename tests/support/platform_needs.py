"""Which tests apply on which platforms, and why: the one place that says it.

Nearly every test applies on Linux, and all of these but some of Linux's own on macOS.
``@pytest.mark.platform("fork")`` names what else than files, threads and processes a test needs;
:data:`NEEDS` says what that is, and where there is such a thing. :data:`FILES` says it for whole
files and folders, whose imports may not even work elsewhere.

What does not apply is left out, is counted, and is named with its reason at the end of the run;
none is ever skipped. ``python -m tests.wheels.run`` is how the suite runs on other platforms here.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.places import ROOT

if TYPE_CHECKING:
    import pytest

IS_POSIX = os.name == "posix"
IS_WINE = sys.platform == "win32" and hasattr(ctypes.windll.ntdll, "wine_get_version")

NEEDS = {
    "fork": ("a child that begins in the middle of its parent", hasattr(os, "fork")),
    "signals": (
        "signals that come at any moment, stop a process, or end it in its own way",
        hasattr(signal, "SIGALRM"),
    ),
    "modes": ("permission bits, owners and links as POSIX has them", IS_POSIX),
    "names": ("names of files that are bytes, and hold what Windows refuses", IS_POSIX),
    "bad names": ("names that the system refuses to every file", sys.platform == "win32"),
    "long names": ("names of 255 characters, which wine makes and does not find", not IS_WINE),
    "open files": ("removing, moving or replacing files and directories that are open", IS_POSIX),
    "held files": (
        "files that one program keeps from all others, as Windows lets it",
        sys.platform == "win32",
    ),
    "limits": ("limits of a process's memory, files and descriptors (setrlimit)", IS_POSIX),
    "descriptors": ("descriptors that programs hand on to each other", IS_POSIX),
    "exec": ("a process that goes on as another program (exec)", IS_POSIX),
    "shell": ("sh and its programs", IS_POSIX and shutil.which("sh") is not None),
    "terminals": ("pseudo-terminals", IS_POSIX),
    "linux": ("/proc, and libraries that are loaded before others", sys.platform == "linux"),
    "compiler": ("a C compiler of the system's own", not IS_WINE),
    "core": ("the C core, compiled by the tests as a module of their own", IS_POSIX),
    "bash": ("bash", IS_POSIX and shutil.which("bash") is not None),
    "memory": ("a file system in memory, /dev/shm", IS_POSIX and Path("/dev/shm").is_dir()),
    "sources": (
        "programs of the project that build, install, check or measure its sources",
        IS_POSIX,
    ),
}
"""What a test may need, by name: what that is, and whether this platform has it."""

FILES: dict[str, tuple[str, ...]] = {
    "tests/core": ("core",),
    "tests/core/test_selftest.py": ("compiler",),
    "tests/crash": ("fork", "signals", "limits"),
    "tests/fuzz": ("core", "fork", "limits"),
    "tests/bench/test_benchmarks.py": ("sources",),
    "tests/queue/test_fork.py": ("fork",),
    "tests/queue/test_history_under_readers.py": ("open files",),
    "tests/queue/test_kill.py": ("fork", "signals"),
}
"""What whole files and folders need; what is said of a file, and not of its folder, counts."""

left_out: Counter[str] = Counter()
"""How many tests, or files of tests, were left out, by the first need that is not met."""


def missing(needs: tuple[str, ...]) -> str | None:
    """Return the first of some needs that this platform does not meet."""
    return next((need for need in needs if not NEEDS[need][1]), None)


def ignores(path: Path) -> bool:
    """Tell whether nothing in a file or folder applies here."""
    name = path.relative_to(ROOT).as_posix()
    if any(file.startswith(f"{name}/") and missing(FILES[file]) is None for file in FILES):
        return False
    places = [name, *(place.as_posix() for place in Path(name).parents)]
    needs = next((FILES[place] for place in places if place in FILES), ())
    need = missing(needs)
    if need is not None:
        left_out[need] += 1
    return need is not None


def choose(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that apply on this platform."""
    chosen, others = [], []
    for item in items:
        needs = tuple(str(need) for mark in item.iter_markers("platform") for need in mark.args)
        need = missing(needs)
        if need is None:
            chosen.append(item)
        else:
            left_out[need] += 1
            others.append(item)
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = chosen


def summary() -> list[str]:
    """Return the lines that say which tests do not apply on this platform, and why."""
    if not left_out:
        return []
    lines = [
        f"{sum(left_out.values())} tests, or folders of tests, need what {sys.platform} lacks:"
    ]
    return lines + [f"  {count:4} {NEEDS[need][0]}" for need, count in sorted(left_out.items())]
