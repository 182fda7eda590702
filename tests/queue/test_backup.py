"""The backup that docs/operating.md describes: a copy of the newest snapshot of a queue that goes
on.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import actionqueue as aq


def task(number: int) -> aq.TaskCreateCommand:
    return aq.TaskCreateCommand(None, aq.TaskSpec(payload=str(number).encode()), 1)


def test_a_snapshot_alone_is_a_backup(tmp_path: Path) -> None:
    restored = tmp_path / "restored"
    (restored / "snapshots").mkdir(parents=True)
    with aq.open(tmp_path / "queue") as queue:
        for number in range(10):
            queue.submit(task(number))
        made = queue.snapshot()
        [name] = (tmp_path / "queue" / "snapshots").iterdir()
        shutil.copy(name, restored / "snapshots")
        queue.submit(task(10))
    with pytest.raises(aq.CorruptLogError):
        aq.open(restored)
    report = aq.repair(restored, accept_data_loss=True)
    assert (report.kept_sequence, report.lost_first) == (made.sequence, None)
    with aq.open(restored) as queue:
        assert queue.sequence == made.sequence == 10
        payloads = [each.spec.payload.data for each in queue.projection.tasks()]
        assert payloads == [str(number).encode() for number in range(10)]
        assert queue.submit(task(10)).sequence == 11
    with aq.open(restored) as queue:
        assert queue.sequence == 11
