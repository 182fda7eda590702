"""How much of the disk a run takes."""

from pathlib import Path

import actionqueue as aq


def test_the_life_of_a_run_takes_at_most_61_bytes_a_record(tmp_path: Path) -> None:
    task = aq.TaskSpec(payload=aq.TaskPayload(b"7" * 100, "application/octet-stream"))
    run = aq.RunInstance.scheduled(task.id, scheduled_at=100, created_at=100)
    attempt = aq.AttemptId()
    with aq.open(tmp_path / "queue", durability="deferred") as queue:
        for command in (
            aq.TaskCreateCommand(None, task, 10),
            aq.RunCreateCommand(None, run),
            aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", 100),
            aq.LeaseAcquireCommand(None, run.id, "worker-0001", 200, 100),
            aq.RunStateTransitionCommand(None, run.id, "ready", "leased", 100),
            aq.RunStateTransitionCommand(None, run.id, "leased", "running", 100),
            aq.AttemptStartCommand(None, run.id, attempt, 100),
            aq.LeaseHeartbeatCommand(None, run.id, "worker-0001", 300, 150),
            aq.AttemptFinishCommand(
                None, run.id, attempt, aq.AttemptOutcome.success(b"1" * 32), 160
            ),
            aq.RunStateTransitionCommand(None, run.id, "running", "completed", 170),
        ):
            queue.submit(command)
        stats = queue.stats()
    assert stats["appended_records"] == 10
    assert stats["appended_bytes"] / stats["appended_records"] <= 61
