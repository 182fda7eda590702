"""Processes that fork, and that are killed at their work."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue import RunState
from actionqueue.errors import ForkedError
from tests.support.queues import in_child, killed
from tests.support.scheduling import Bench

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

BUSY = """
import sys, threading
import actionqueue as aq

queue = aq.open(sys.argv[1], durability="deferred", compaction=None)
clock = [1_000_000]
scheduler = aq.Scheduler(queue, clock=lambda: clock[0], lease_seconds=5, retry=aq.Backoff(jitter=0))
lock = threading.Lock()
recurring = aq.TaskId(bytes(15) + b"r")
scheduler.add(b"", run_policy=aq.Repeat(100_000, 1), max_attempts=2, task_id=recurring)
said = 0

def work(name):
    global said
    while True:
        first = scheduler.add(b"", max_attempts=2)
        scheduler.add(b"", depends_on=[first], concurrency_key="key")
        with lock:
            clock[0] += 1
        scheduler.tick()
        for number, claim in enumerate(scheduler.claim(name, 4)):
            if number == 3:
                scheduler.fail(claim, "why")
            elif number:
                scheduler.complete(claim)
                with lock:
                    said += 1
                    print(claim.run_id, flush=True)
                    if said == int(sys.argv[2]):
                        print("ready", flush=True)

for name in ("a", "b"):
    threading.Thread(target=work, args=(name,), daemon=True).start()
threading.Event().wait()
"""
RECURRING = aq.TaskId(bytes(15) + b"r")


@pytest.mark.parametrize("count", [1, 20, 61])
def test_a_killed_process_leaves_whole_steps(tmp_path: Path, count: int) -> None:
    _, completed = killed(BUSY, tmp_path / "queue", count)
    assert len(completed) >= count
    with aq.open(tmp_path / "queue", durability="deferred", compaction=None) as queue:
        projection = queue.projection
        for line in completed:
            assert projection.run_state(aq.RunId(line)) is RunState.COMPLETED
        keys: Counter[str] = Counter()
        for run_id in projection.run_ids():
            run = projection.run(run_id)
            assert run is not None
            is_running = run.state is RunState.RUNNING
            assert run.state is not RunState.LEASED
            assert (run.current_attempt_id is not None) == is_running
            assert (projection.lease(run_id) is not None) == is_running
            task = projection.task(run.task_id)
            assert task is not None
            if is_running and task.spec.constraints.concurrency_key:
                keys[task.spec.constraints.concurrency_key] += 1
        assert all(number == 1 for number in keys.values())
        # The recurring task has every run up to one that is ahead.
        runs = projection.read_runs_of_task(RECURRING)
        assert [run.id for run in runs] == [
            aq.run_id_of(RECURRING, number) for number in range(len(runs))
        ]
        assert [run.id for run in runs if run.state is RunState.SCHEDULED] == [runs[-1].id]
        # And the work goes on: whatever is left has an end.
        scheduler = aq.Scheduler(queue, clock=lambda: 2_000_000)
        scheduler.cancel(RECURRING)
        scheduler.tick()
        while claims := scheduler.claim("after", 100):
            for claim in claims:
                scheduler.complete(claim)
            scheduler.tick()
        left = [run_id for run_id in projection.run_ids() if not is_over(projection, run_id)]
        scheduler = aq.Scheduler(queue, clock=lambda: 3_000_000)
        scheduler.tick()
        while claims := scheduler.claim("after", 100):
            for claim in claims:
                scheduler.complete(claim)
        assert all(is_over(projection, run_id) for run_id in left)
        assert scheduler.next_wakeup() is None


def is_over(projection: aq.Projection, run_id: aq.RunId) -> bool:
    state = projection.run_state(run_id)
    return state is not None and state.is_terminal


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_is_refused(at: Bench) -> None:
    at.scheduler.add(b"")

    def refused() -> int:
        count = 0
        for call in (
            lambda: at.scheduler.add(b""),
            lambda: at.scheduler.claim("w"),
            at.scheduler.tick,
            lambda: at.scheduler.wait(0),
        ):
            try:
                call()
            except ForkedError:
                count += 1
        return count

    # As another thread's step would leave it.
    assert at.scheduler._turn.run(in_child, refused) == 4
    assert len(at.scheduler.claim("w")) == 1
