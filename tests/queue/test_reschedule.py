"""A run's next time is in the log: after a restart, a compaction or a refusal it is what was
acknowledged last.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import actionqueue as aq
from tests.support.queues import state_of

S = aq.RunState
WAYS = {
    S.SCHEDULED: (),
    S.READY: (S.READY,),
    S.RETRY_WAIT: (S.READY, S.LEASED, S.RUNNING, S.RETRY_WAIT),
    S.SUSPENDED: (S.READY, S.LEASED, S.RUNNING, S.SUSPENDED),
}


def run_in(queue: aq.ActionQueue, state: aq.RunState) -> aq.RunInstance:
    task = aq.TaskSpec(payload=b"x")
    run = aq.RunInstance.scheduled(task.id, scheduled_at=5, created_at=1)
    queue.submit_many([aq.TaskCreateCommand(None, task, 1), aq.RunCreateCommand(None, run)])
    before = S.SCHEDULED
    for after in WAYS[state]:
        queue.submit(aq.RunStateTransitionCommand(None, run.id, before, after, 2))
        before = after
    found = queue.projection.run(run.id)
    assert found is not None
    return found


@pytest.mark.parametrize("state", WAYS)
@pytest.mark.parametrize("way", ["one", "batch", "long"])
def test_a_new_time_survives(tmp_path: Path, state: aq.RunState, way: str) -> None:
    with aq.open(tmp_path / "queue", durability="deferred") as queue:
        run = run_in(queue, state)
        history = queue.projection.history(run.id)
        sequence = queue.sequence + 1 if way == "long" else None
        command = aq.RunRescheduleCommand(sequence, run.id, 2**64 - 1, -(2**31), 9)
        outcome = queue.submit_many([command])[0] if way == "batch" else queue.submit(command)
        assert outcome.applied == aq.AppliedRunReschedule(run.id, 2**64 - 1, -(2**31))
        moved = queue.projection.run(run.id)
        assert moved is not None
        assert (moved.scheduled_at, moved.effective_priority) == (2**64 - 1, -(2**31))
        assert (moved.state, moved.last_state_change_at) == (state, run.last_state_change_at)
        assert queue.projection.history(run.id) == history
        task = queue.projection.task(run.task_id)
        assert task is not None
        assert task.last_run_at == 5
        before = state_of(queue)
    with aq.open(tmp_path / "queue") as queue:
        assert state_of(queue) == before
        queue.compact()
    with aq.open(tmp_path / "queue") as queue:
        assert state_of(queue) == before


def test_a_batch_that_is_refused_leaves_the_time(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue", durability="deferred") as queue:
        run = run_in(queue, S.READY)
        before = state_of(queue)
        with pytest.raises(aq.errors.InvalidTransition) as refused:
            queue.submit_many(
                [
                    aq.RunRescheduleCommand(None, run.id, 7, 7, 3),
                    aq.RunStateTransitionCommand(None, run.id, "ready", "leased", 3),
                    aq.RunRescheduleCommand(None, run.id, 8, 8, 3),
                ]
            )
        assert refused.value.batch_index == 2
        assert state_of(queue) == before
