"""The bugs in ``tests/crash/planted/``: unified diffs against the C core, each of which breaks a
promise that the enumerator must find broken.

Each file begins with two lines: ``Breaks: `` and what it breaks, ``Found by: `` and the search
(:mod:`hunt`) that finds it, or several, with semicolons between them, each of which does. The
numbers in the hunks' heads are ignored: a hunk applies where its old lines stand, which must be
exactly one place.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.support import places

PLANTED = places.TESTS / "crash" / "planted"


class StalePatch(Exception):
    """A patch does not fit the sources any more."""


@dataclass(frozen=True)
class Bug:
    name: str
    breaks: str
    found_by: tuple[str, ...]
    diff: str


def bugs() -> list[Bug]:
    return [bug_of(path) for path in sorted(PLANTED.glob("*.patch"))]


def bug_of(path: Path) -> Bug:
    first, second, diff = path.read_text(encoding="utf-8").split("\n", 2)
    return Bug(
        path.stem,
        first.removeprefix("Breaks: "),
        tuple(second.removeprefix("Found by: ").split("; ")),
        diff,
    )


def changed_copy(bug: Bug, to: Path) -> Path:
    """Copy the core and apply the bug to the copy; return the copy."""
    copy = to / "core"
    shutil.copytree(places.CORE, copy)
    for section in re.split(r"^(?=--- )", bug.diff, flags=re.MULTILINE)[1:]:
        heads, *hunks = re.split(r"^@@.*\n", section, flags=re.MULTILINE)
        path = copy / heads.splitlines()[1].removeprefix("+++ ").strip()
        text = path.read_text(encoding="utf-8")
        for hunk in hunks:
            text = apply(hunk, text, f"{bug.name}.patch: {path.name}")
        path.write_text(text, encoding="utf-8")
    return copy


def apply(hunk: str, text: str, where: str) -> str:
    lines = hunk.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    places = text.count(old)
    if places != 1:
        raise StalePatch(
            f"{where}: the hunk fits {places} places; "
            f"bring the patch in step with the sources:\n{hunk}"
        )
    return text.replace(old, new)
