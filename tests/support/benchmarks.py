"""Runs of the programs in benchmarks/, each in a process of its own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import places
from tests.support.queues import knows_mount_of

SECONDS_MAX = 120


def run(
    program: list[str], directory: Path, *options: object, path: Path | None = None
) -> tuple[dict[str, Any], str]:
    """Run a benchmark once, and return its JSON and what it printed; nothing else may be left in
    the directory.
    """
    found = directory / "found.json"
    environment = places.environment()
    if path:
        environment["PYTHONPATH"] = os.pathsep.join([str(path), environment["PYTHONPATH"]])
    command = [
        sys.executable,
        *program,
        "--rounds",
        "2",
        "--directory",
        str(directory),
        "--json",
        str(found),
        *map(str, options),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=SECONDS_MAX,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(found.read_text("utf-8"))
    found.unlink()
    assert list(directory.iterdir()) == []
    assert result["commit"]
    assert result["machine"]["file_system"] != "unknown" or not knows_mount_of(directory)
    for entry in rows(result):
        assert len(entry["values"]) in (1, 2)
        assert entry["name"] in " ".join(done.stdout.split()), done.stdout
    return result, done.stdout


def program(name: str) -> list[str]:
    return ["-m", f"benchmarks.{name}"]


def rows(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in result["rows"]:
        assert all(math.isfinite(value) and value > 0 for value in entry["values"]), entry
        yield entry
