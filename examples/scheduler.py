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
from contextlib import suppress

import actionqueue as aq

JOBS = [f"job {number}" for number in range(10)]
LEASE_SECONDS = 2
"""More than a job takes. So long a run waits whose process was killed in the middle of it."""
RETRY = aq.Backoff(first=1, most=60)


def do(job: str, attempt: int) -> bytes:
    """Do a job. This is where the real work would be."""
    time.sleep(0.1)
    if job == "job 9" or (job == "job 4" and attempt == 1):
        raise RuntimeError(f"{job} went wrong")
    return job.upper().encode()


def add(scheduler: aq.Scheduler, job: str) -> aq.RunId:
    """Add a job, unless an earlier process has; return the identifier of its run."""
    task_id = aq.TaskId(uuid.uuid5(uuid.NAMESPACE_OID, job))
    with suppress(aq.TaskAlreadyExists):
        scheduler.add(job.encode(), task_id=task_id, max_attempts=3)
    return aq.run_id_of(task_id, 0)


def run_one(scheduler: aq.Scheduler, claim: aq.Claim) -> None:
    """Do a claimed job, and record the result."""
    job = claim.payload.decode()
    try:
        output = do(job, claim.attempt)
    except RuntimeError as error:
        print(f"{job}: {error}, {scheduler.fail(claim, str(error))}")
    else:
        scheduler.complete(claim, output)
        print(f"{job}: {output.decode()}, completed")


def main(directory: str) -> None:
    """Run every job to its end."""
    with aq.open(directory) as queue:
        print(queue.recovery)
        scheduler = aq.Scheduler(queue, lease_seconds=LEASE_SECONDS, retry=RETRY)
        ends = [scheduler.finished(add(scheduler, job)) for job in JOBS]
        while not all(end.done() for end in ends):
            if scheduler.wait(timeout=1):  # until a job is ready, and a second at most
                for claim in scheduler.claim("this process"):  # on disk before the work begins
                    run_one(scheduler, claim)
        states = [end.result().state for end in ends]
        completed, failed = map(states.count, (aq.RunState.COMPLETED, aq.RunState.FAILED))
        print(f"{completed} completed, {failed} failed")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as made:
            main(made)
