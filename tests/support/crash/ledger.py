"""Notes of what the tests of the fault model tried and found: one JSON line each, for the table of
``make test- faults``.

The file is named by the environment variable ``ACTIONQUEUE_FAULTS_LOG``; without it nothing is
written.

A test notes what it tried when it has held every promise against it. One that fails does not get
that far: its line is written by ``tests/conftest.py`` (:func:`record_failure`), and in the table it
counts as lost, how much is unknown.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

ROWS: dict[str, tuple[str, ...]] = {
    "SIGKILL at any syscall, and between any two appends": (
        "SIGKILL at any syscall",
        "SIGKILL between any two appends",
    ),
    "power loss, reordered and partial sectors": (
        "power loss and kills: disk images",
        "power loss and kills: promises held against an image",
        "power loss and kills: moments with every state",
        "recovery cut short",
        "power loss",
    ),
    "directory entries lost (create, rename)": (
        "directory entries lost: metadata operations",
        "directory entries lost: images",
    ),
    "torn at every byte": ("torn at every byte, behind it zeros, garbage, old bytes",),
    "bit flip in every byte of log and snapshot": (
        "bit flip in every byte of log and ring",
        "bit flip in bytes of a snapshot",
    ),
    "stale, duplicated, misplaced records": (
        "stale, duplicated, misplaced records",
        "a segment or the ring missing",
    ),
    "ENOSPC / EIO / short write / EINTR on any call": (
        "ENOSPC, EIO, short transfers, EINTR on any call",
        "ENOSPC / EIO / short write / EINTR on any call",
    ),
    'fsync fails, then "succeeds"': ('fsync fails, then "succeeds"',),
    "reopening after a failed fsync": ("reopening after a failed fsync",),
    "clock backwards, or years ahead": ("clock backwards, or years ahead",),
    "two openers, threads and processes": (
        "two openers: threads",
        "two openers: processes",
        "two openers: one waits while the other is killed",
    ),
    "fork with the log open": ("fork with the log open",),
    "signals in a commit (Ctrl-C)": ("signals in a commit (Ctrl-C)",),
    "hostile files": (
        "hostile bytes: corpora under the sanitizers",
        "hostile bytes: texts and payloads in Python",
        "hostile bytes: lines of submit",
        "hostile files: directories through open and the readers",
    ),
    "symlinks, permissions": ("symlinks, permissions",),
    "sequence near 2^64": ("sequence near 2^64",),
    "memory exhaustion": ("memory exhaustion",),
    "record at the limit -1, limit, +1": ("record at the limit -1, limit, +1",),
    "read-only file system, disk full in a snapshot or a new segment": (
        "read-only file system",
        "disk full in a snapshot",
        "disk full in a new segment",
    ),
    "snapshot newer than the log; older; damaged": (
        "snapshot newer than the log",
        "snapshot older or damaged",
    ),
    "many threads": (
        "many threads",
        "many threads: under the sanitizers",
        "many threads: against the model",
    ),
    "planted bugs": ("planted bugs",),
}
"""The rows of the fault model, and under which names tests note parts of them. Each needs a
figure.
"""

AT_LEAST: dict[str, int] = {
    "SIGKILL at any syscall": 5000,
    "SIGKILL between any two appends": 500,
    "power loss and kills: disk images": 50_000,
    "two openers: threads": 1000,
    "two openers: processes": 1000,
    "fork with the log open": 1000,
    "signals in a commit (Ctrl-C)": 10_000,
    "planted bugs": 10,
}
"""What the fault model asks for, where that is a number: the long form fails with less."""

NAMES = frozenset(name for names in ROWS.values() for name in names)

BY_PASSING: dict[str, tuple[str, str]] = {
    "tests/core/test_log_threads.py::test_under_the_sanitizers": (
        "many threads: under the sanitizers",
        "stress programs under TSan and ASan",
    ),
    "tests/core/test_snapshot.py::test_every_bit_and_every_length": (
        "snapshot older or damaged",
        "a test of every bit and every length of a file",
    ),
    "tests/core/test_snapshot.py::test_recovery_falls_back_and_says_so": (
        "snapshot older or damaged",
        "a test that recoveries fall back, and say so",
    ),
    "tests/queue/test_stateful.py::": (
        "many threads: against the model",
        "a state machine of hypothesis",
    ),
    "tests/core/test_log.py::test_the_end_of_all_sequences": (
        "sequence near 2^64",
        "a test of a log that ends there",
    ),
    "tests/core/test_faults.py::": (
        "ENOSPC, EIO, short transfers, EINTR on any call",
        "tests of the core's own I/O calls",
    ),
}
"""Tests of the fault model that note nothing themselves, by the beginnings of their names: each
counts as one when it passes.
"""

ALSO = (
    "tests/queue/test_limits.py::",
    "tests/core/test_no_memory.py::",
    "tests/fuzz/test_corpus.py::",
    "tests/fuzz/test_hostile_text.py::",
    *BY_PASSING,
)
"""Tests outside ``tests/crash`` that belong to the fault model, whether they have a long form or
not.
"""


def is_noted(test: str) -> bool:
    return test.startswith(ALSO)


_began = time.monotonic()
_has_noted = False


def begin() -> None:
    """A test begins now."""
    global _began, _has_noted  # one test at a time runs in a process
    _began, _has_noted = time.monotonic(), False


def record(row: str, tried: int, lost: int = 0, note: str = "") -> None:
    """Note what was tried for a part of a row of the fault model; see :data:`ROWS`.

    `lost` is for a test that counts broken promises and goes on; most fail at the first. The
    seconds are those since the test began, or since it last noted something.
    """
    global _began, _has_noted
    assert row in NAMES, f"{row!r} belongs to no row of ledger.ROWS"
    now = time.monotonic()
    write(
        {"row": row, "tried": tried, "lost": lost, "note": note, "seconds": round(now - _began, 1)}
    )
    _began, _has_noted = now, True


def record_pass(test: str) -> None:
    """A test has passed: note it where it has not noted anything itself and stands for a row."""
    for beginning, (row, note) in BY_PASSING.items():
        if test.startswith(beginning) and not _has_noted:
            record(row, 1, note=note)


def record_failure(test: str) -> None:
    """A test has failed: whatever it tried, it does not count, and what was lost is unknown."""
    write({"failed": True, "test": test, "seconds": round(time.monotonic() - _began, 1)})


def write(line: dict[str, Any]) -> None:
    path = os.environ.get("ACTIONQUEUE_FAULTS_LOG")
    if not path:
        return
    line.setdefault("test", os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0])
    # One write to a file opened for appending: lines of parallel processes don't mix.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")
    finally:
        os.close(descriptor)
