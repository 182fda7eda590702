"""The interpreter finds no memory inside a call: the call fails or not, log and projection stay
one, and the queue goes on.

The core's own allocations are failed in tests/core/test_no_memory.py.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import actionqueue as aq
from tests.support.crash import ledger
from tests.support.queues import replayed, state_of

PROGRAMS = Path(__file__).parent / "programs"


@pytest.mark.parametrize("durability", ["deferred", "immediate"])
def test_every_allocation_of_the_interpreter_fails(directory: Path, durability: str) -> None:
    """Needs CPython's own test module, _testcapi, which some systems package apart
    (libpython3-testsuite).
    """
    program = [sys.executable, str(PROGRAMS / "no_memory.py"), str(directory), durability]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    failures, sequence = map(int, ended.stdout.split())
    assert failures > 20
    model = replayed(directory)
    assert model.latest_sequence == sequence
    with aq.open(directory) as queue:
        assert state_of(queue) == model.to_json()
        assert queue.recovery.is_clean
    ledger.record("memory exhaustion", failures, note="the interpreter's")
