"""Notes of what the tests of the fault model tried and found: one JSON line each, for the table of ``make test-
faults``.

The file is named by the environment variable ``ACTIONQUEUE_FAULTS_LOG``; without it nothing is written.
"""

from __future__ import annotations

import json
import os
import time

_began = time.monotonic()


def begin() -> None:
    """A test begins now."""
    global _began  # noqa: PLW0603  (one test at a time runs in a process)
    _began = time.monotonic()


def record(row: str, tried: int, lost: int, note: str = "") -> None:
    """Note for a row of the fault model how often it was tried, and how often a promise was broken.

    The seconds are those since the test began, or since it last noted something.
    """
    path = os.environ.get("ACTIONQUEUE_FAULTS_LOG")
    if path:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").removesuffix(" (call)")
        line = {
            "row": row,
            "tried": tried,
            "lost": lost,
            "note": note,
            "test": test,
            "seconds": round(time.monotonic() - _began, 1),
        }
        # One write to a file opened for appending: lines of parallel processes don't mix.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, json.dumps(line).encode() + b"\n")
        finally:
            os.close(descriptor)
    begin()
