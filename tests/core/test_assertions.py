"""The core's assertions: each kind ends the process where the code is wrong, and says what is
wrong.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import places
from tests.support.core.broken_core import FAULTS, broken_copy

pytestmark = [
    pytest.mark.timeout(900),  # the whole core is compiled
    pytest.mark.skipif(sys.platform == "win32", reason="the door is not built there"),
]

ABORTED = -6


def run_program(name: str, core: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = places.environment(ACTIONQUEUE_DEBUG="1")
    if core is not None:
        environment["ACTIONQUEUE_TEST_CORE"] = str(core)
    command = [sys.executable, "-m", "tests.support.core.broken_core", name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_each_kind_of_assertion_ends_a_process_that_is_wrong(tmp_path: Path) -> None:
    """One test, so that the copy is compiled once; the door keeps it by what is in it."""
    core = broken_copy(tmp_path)
    for name, fault in FAULTS.items():
        done = run_program(name, core)
        assert done.returncode == ABORTED, f"{name}: {done.returncode}\n{done.stderr}"
        assert f"assertion failed: {fault.asserted}" in done.stderr, f"{name}: {done.stderr}"


@pytest.mark.parametrize("name", FAULTS)
def test_the_same_programs_end_well_over_the_core_itself(name: str) -> None:
    done = run_program(name)
    assert (done.returncode, done.stderr) == (0, "")
