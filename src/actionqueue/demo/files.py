"""The files of the running Python's standard library, and the choice of the troublesome ones."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from random import Random

from actionqueue.demo.messages import Trouble

__all__ = ["choose_trouble", "library_root", "standard_library"]

FAILING_SHARE = 25
"""One file in this many fails at its first attempt."""


def library_root() -> Path:
    """Return the directory of the standard library."""
    return Path(sysconfig.get_path("stdlib"))


def standard_library(limit: int | None, seed: int) -> list[str]:
    """Return the sorted paths of its .py files; with a limit, that many of them by the seed."""
    root = library_root()
    installed = {"site-packages", "dist-packages", "__pycache__"}
    paths = [
        str(path)
        for path in root.rglob("*.py")
        if installed.isdisjoint(path.relative_to(root).parts)
    ]
    paths.sort()
    if limit is None or limit >= len(paths):
        return paths
    return sorted(Random(seed).sample(paths, limit))  # noqa: S311


def choose_trouble(paths: list[str], seed: int) -> Trouble:
    """Choose the files that fail once, fail always and hang.

    The one that hangs comes early, because its lease takes time to expire.
    """
    hangs = paths[len(paths) // 8]
    others = [path for path in paths if path != hangs]
    chosen = Random(seed).sample(others, 1 + max(2, len(paths) // FAILING_SHARE))  # noqa: S311
    return Trouble(hangs=hangs, fails_always=chosen[0], fails_once=frozenset(chosen[1:]))
