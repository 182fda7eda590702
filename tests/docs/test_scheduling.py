"""The programs of docs/scheduling.md do what the text says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import actionqueue as aq
from tests.support import places

DOCUMENT = places.ROOT / "docs" / "scheduling.md"


def programs() -> dict[str, str]:
    text = DOCUMENT.read_text("utf-8")
    found = re.findall(r"^```python\n(# (\w+\.py)\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    return {name: program for program, name in found}


@pytest.mark.parametrize(
    ("name", "arguments", "printed"),
    [
        (
            "runner.py",
            [],
            [
                "completed b'FETCH THE PAGE'",
                "completed b'INDEX IT'",
                "failed this one always fails",
            ],
        ),
        ("runner_async.py", [], [f"completed b'JOB {number}'" for number in range(3)]),
        ("worker_processes.py", ["one", "a bad one", "two", "three"], ["3 completed 1 failed"]),
    ],
)
def test_the_programs_run(
    tmp_path: Path, name: str, arguments: list[str], printed: list[str]
) -> None:
    program = tmp_path / name
    program.write_text(programs()[name], "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", program, tmp_path / "queue", *arguments],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == printed
    with aq.open(tmp_path / "queue") as queue:
        assert queue.recovery.is_clean
        assert aq.Scheduler(queue).next_wakeup() is None


def test_the_document_names_every_method() -> None:
    text = DOCUMENT.read_text("utf-8")
    for name in vars(aq.Scheduler) | {
        name: None for base in aq.Scheduler.__mro__[:-1] for name in vars(base)
    }:
        if not name.startswith("_") and name != "queue":
            assert re.search(rf"\b{name}\b", text), name
