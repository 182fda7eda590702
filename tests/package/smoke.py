"""The least that an installed package must do. Run with the interpreter of the environment to
check, outside the source tree.
"""

import tempfile
from pathlib import Path

import actionqueue as aq

with tempfile.TemporaryDirectory() as directory:
    path = Path(directory, "queue")
    with aq.open(path) as queue:
        task = aq.TaskSpec(payload=b"work")
        queue.submit(aq.TaskCreateCommand(None, task, aq.now()))
        run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
        with queue.batch() as batch:
            batch.submit(aq.RunCreateCommand(None, run))
            batch.submit(aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", 2))
        assert queue.sequence == queue.durable_sequence == 3
    with aq.open(path) as queue:
        assert queue.recovery.events == 3
        assert queue.recovery.is_clean
        assert queue.projection.run_state(run.id) is aq.RunState.READY
print("smoke check passed on actionqueue", aq.__version__)
