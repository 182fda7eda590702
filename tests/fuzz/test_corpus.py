"""Every input of the corpora goes through its target once, under the address, undefined-behaviour
and leak sanitizers.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.support.crash import ledger
from tests.support.fuzz.programs import CORPUS, TARGETS, build, plain_environment

OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:"
    "allocator_may_return_null=0:max_allocation_size_mb=512",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def test_every_target_has_a_corpus() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target: str) -> None:
    program = build("check")[target]
    inputs = sum(1 for _ in (CORPUS / target).iterdir())
    run = subprocess.run(
        [program, CORPUS / target],
        capture_output=True,
        text=True,
        env={**plain_environment(), **OPTIONS},
        timeout=120,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, f"{inputs} inputs\n", "")
    assert inputs >= 10
    ledger.record("hostile bytes: corpora under the sanitizers", inputs, 0, f"target {target}")
