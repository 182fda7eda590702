"""The project as a tree of files: copies of it, and what builds them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.places import ROOT as TOP

SECONDS = 1500
"""Builds on a machine that does other things, too, take minutes."""


def run(*program: str, **options: Any) -> str:
    """Run a program away from the source tree and return what it printed."""
    ended = subprocess.run(
        program, capture_output=True, encoding="utf-8", timeout=SECONDS, check=False, **options
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


# What tools leave behind; everything else is the project's.
LEFT_OVER = {"build", "dist", "__pycache__", "node_modules", "target"}


def files_of_the_project() -> list[Path]:
    """Return the project's files, those in hidden directories and in environments left out."""
    found: list[Path] = []
    for directory, names, files in os.walk(TOP):
        here = Path(directory)
        names[:] = [
            name
            for name in names
            if name not in LEFT_OVER
            and not name.endswith(".egg-info")
            and not (here / name / "pyvenv.cfg").exists()
            and (not name.startswith(".") or name in {".github", ".ci"})
        ]
        found += [
            here / name for name in files if not name.endswith((".so", ".pyd", ".pyc", ".o", ".a"))
        ]
    return found


def directories_of_tools(tmp_path: Path) -> list[str]:
    """Return where the build's requirements can be imported from: this environment's, or else new
    ones.
    """
    specs = [importlib.util.find_spec(name) for name in ("setuptools", "Cython")]
    if all(specs):
        return sorted(
            {str(Path(str(spec.origin)).parent.parent) for spec in specs if spec is not None}
        )
    target = tmp_path / "tools"
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--target",
        str(target),
        "setuptools>=77",
        "Cython>=3.1,<4",
    )
    return [str(target)]


def copy_of_the_project(to: Path) -> Path:
    for file in files_of_the_project():
        copy = to / file.relative_to(TOP)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return to
