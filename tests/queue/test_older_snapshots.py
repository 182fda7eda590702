"""Snapshots of the version before the one that keeps which forgotten runs were completed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue import CorruptLogError
from actionqueue.verification import verify
from tests.support.core.snapshot_driver import parse_snapshot

TASK = 2
COMPLETED_PURGED = 8


def make_queue(directory: Path, *, completes: bool) -> aq.TaskId:
    """Make a queue whose task has a forgotten run and one to come, with a snapshot of both."""
    now = 1000
    with aq.open(directory) as queue:
        scheduler = aq.Scheduler(queue, clock=lambda: now)
        task = scheduler.add(b"", run_policy=aq.Repeat(3, 10), at=now)
        (claim,) = scheduler.claim("worker")
        if completes:
            scheduler.complete(claim)
        else:
            scheduler.fail(claim, "why")
        assert queue.compact(retention_seconds=0).purged_runs == 1
        queue.snapshot()
    return task


def with_flag(payload: bytes, is_set: bool) -> bytes:
    """Set or clear the flag of a task's item, which stands behind the identifier and a time."""
    at = 16
    while payload[at] & 0x80:
        at += 1
    flags = payload[at + 1] & ~COMPLETED_PURGED | (COMPLETED_PURGED if is_set else 0)
    return payload[: at + 1] + bytes([flags]) + payload[at + 2 :]


def set_flags(directory: Path, is_set: bool) -> int:
    """Write the snapshots again, with the flag or without it; return how many that changes."""
    changed = 0
    for path in (directory / "snapshots").iterdir():
        before = path.read_bytes()
        file = parse_snapshot(before)
        blocks = tuple(
            tuple(
                (kind, with_flag(payload, is_set) if kind == TASK else payload)
                for kind, payload in block
            )
            for block in file.blocks
        )
        path.write_bytes(replace(file, blocks=blocks).to_bytes())
        changed += path.read_bytes() != before
    return changed


def test_one_that_does_not_say_it_is_intact(tmp_path: Path) -> None:
    task = make_queue(tmp_path, completes=True)
    assert verify(tmp_path)["snapshots"]
    assert set_flags(tmp_path, False) > 0
    assert verify(tmp_path)["snapshots"]
    with aq.open(tmp_path) as queue:  # what it does not say stays unknown, in the next one too
        assert not queue.projection.has_forgotten_completed_run(task)
        queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 2000))
        queue.snapshot()
    assert len(verify(tmp_path)["snapshots"]) == 2


def test_one_that_says_more_than_the_log_is_not(tmp_path: Path) -> None:
    make_queue(tmp_path, completes=False)
    assert verify(tmp_path)["snapshots"]
    assert set_flags(tmp_path, True) > 0
    with pytest.raises(CorruptLogError, match="snapshot_differs"):
        verify(tmp_path)
