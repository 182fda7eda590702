"""A job runner on an embedded queue, in one file and one process.

    python examples/scheduler.py [DIRECTORY]

It runs ten jobs, of which one fails at first and one always. With a directory it keeps the queue:
stop the program whenever you like, with Ctrl-C or kill -9, and start it again; it goes on where it
was, and recorded work stays done.
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid

import actionqueue as aq
from actionqueue import RunState

OWNER = "this process"
LEASE_SECS = 60
ATTEMPTS_MAX = 3


def do(job: str, attempt: int) -> bytes:
    """Do a job. This is where the real work would be."""
    time.sleep(0.1)
    if job == "job 9" or (job == "job 4" and attempt == 1):
        raise RuntimeError(f"{job} went wrong")
    return job.upper().encode()


def plan(queue: aq.ActionQueue, jobs: list[str]) -> None:
    """Create a task with one run for each job without one, under an identifier of the job."""
    for job in jobs:
        task_id = aq.TaskId(uuid.uuid5(uuid.NAMESPACE_OID, job))
        if queue.projection.task(task_id) is None:
            task = aq.TaskSpec(
                task_id, job.encode(), constraints=aq.TaskConstraints(max_attempts=ATTEMPTS_MAX)
            )
            run = aq.RunInstance.scheduled(task_id, scheduled_at=aq.now(), created_at=aq.now())
            with queue.batch() as batch:  # all or nothing, also after a crash
                batch.submit(aq.TaskCreateCommand(None, task, aq.now()))
                batch.submit(aq.RunCreateCommand(None, run))
                batch.submit(transition(run.id, RunState.SCHEDULED, RunState.READY))


def transition(run_id: aq.RunId, previous: RunState, new: RunState) -> aq.RunStateTransitionCommand:
    """Return the command that takes a run from one state to another."""
    return aq.RunStateTransitionCommand(None, run_id, previous, new, aq.now())


def take_back(queue: aq.ActionQueue) -> None:
    """Make the runs ready that an earlier process left running.

    That process is dead: a queue has one owner, and this process owns it now.
    """
    for run_id in queue.projection.run_ids(RunState.RUNNING):
        run, lease = queue.projection.run(run_id), queue.projection.lease(run_id)
        assert run is not None
        assert run.current_attempt_id is not None
        assert lease is not None
        lost = aq.AttemptOutcome.timeout("the process died")
        with queue.batch() as batch:
            batch.submit(
                aq.AttemptFinishCommand(None, run_id, run.current_attempt_id, lost, aq.now())
            )
            batch.submit(aq.LeaseExpireCommand(None, run_id, lease.owner, lease.expiry, aq.now()))
            batch.submit(transition(run_id, RunState.RUNNING, RunState.RETRY_WAIT))
            batch.submit(transition(run_id, RunState.RETRY_WAIT, RunState.READY))


def run_one(queue: aq.ActionQueue, run_id: aq.RunId) -> None:
    """Lease a ready run, do its job, and record the result."""
    expiry, attempt_id = aq.now() + LEASE_SECS, aq.AttemptId()
    with queue.batch() as batch:  # on disk before the work begins
        batch.submit(transition(run_id, RunState.READY, RunState.LEASED))
        batch.submit(aq.LeaseAcquireCommand(None, run_id, OWNER, expiry, aq.now()))
        batch.submit(transition(run_id, RunState.LEASED, RunState.RUNNING))
        batch.submit(aq.AttemptStartCommand(None, run_id, attempt_id, aq.now()))
    run = queue.projection.run(run_id)
    assert run is not None
    task = queue.projection.task(run.task_id)
    assert task is not None
    job = task.spec.payload.data.decode()
    try:
        outcome, state = aq.AttemptOutcome.success(do(job, run.attempt_count)), RunState.COMPLETED
    except RuntimeError as error:
        outcome = aq.AttemptOutcome.failure(str(error))
        state = RunState.FAILED if run.attempt_count >= ATTEMPTS_MAX else RunState.RETRY_WAIT
    with queue.batch() as batch:
        batch.submit(aq.AttemptFinishCommand(None, run_id, attempt_id, outcome, aq.now()))
        batch.submit(aq.LeaseReleaseCommand(None, run_id, OWNER, expiry, aq.now()))
        batch.submit(transition(run_id, RunState.RUNNING, state))
        if state is RunState.RETRY_WAIT:  # at once; a real runner would wait
            batch.submit(transition(run_id, RunState.RETRY_WAIT, RunState.READY))
    print(f"{job}: {outcome.result}, {state}")


def main(directory: str) -> None:
    """Run every job to its end."""
    with aq.open(directory) as queue:
        print(queue.recovery)
        take_back(queue)
        plan(queue, [f"job {number}" for number in range(10)])
        while ready := queue.projection.run_ids(RunState.READY):
            for run_id in ready:
                run_one(queue, run_id)
        counts = queue.projection.counts_by_state()
        print(f"{counts[RunState.COMPLETED]} completed, {counts[RunState.FAILED]} failed")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as made:
            main(made)
