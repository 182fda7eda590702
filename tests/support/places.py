"""Where the repository's files are, and how programs of their own find the tests' modules."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
DATA = TESTS / "data"
CORE = ROOT / "src" / "_wal_native" / "core"


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a program that imports from ``tests`` or ``benchmarks``."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}


def plain_environment() -> dict[str, str]:
    """Return an environment without the sanitizer's library under which this process may run."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def cache_directory() -> Path:
    """Return the directory where what tests build is kept, and make it."""
    chosen = os.environ.get("ACTIONQUEUE_TEST_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(chosen) if chosen else Path(home) / "actionqueue-tests"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    return cache
