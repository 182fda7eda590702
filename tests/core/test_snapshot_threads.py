"""Appends, syncs, compactions and followers at once, on real files, under the sanitizers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from test_log_threads import SANITIZERS, plain_environment, stress_program

STRESS = "stress_snapshots"


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_everything_at_once(tmp_path: Path, sanitizer: str, long_form: bool) -> None:
    environment = {
        **plain_environment(),
        "TSAN_OPTIONS": "halt_on_error=1 second_deadlock_stack=1",
        "ASAN_OPTIONS": "detect_leaks=1",
    }
    program = stress_program(STRESS, sanitizer)
    command: list[str | Path] = [program, tmp_path / "queue", "20000" if long_form else "400"]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=3000, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "ok\n", "")
