"""The demo's scheduler without its processes, on a clock that stands still until a test moves
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue import AttemptResultKind, RunState
from actionqueue.demo.messages import Assignment, Result
from actionqueue.demo.scheduler import ATTEMPTS_MAX, LEASE_SECS, Scheduler, task_id_of

PATHS = [f"/lib/{name}.py" for name in "abc"]
GOOD = Result(b"output", None, 10)
BAD = Result(None, "SyntaxError", 10)


class Clock:
    def __init__(self) -> None:
        self.time = 1_000

    def __call__(self) -> int:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(aq, "now", clock)
    return clock


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[aq.ActionQueue]:
    with aq.open(tmp_path / "queue") as opened:
        yield opened


@pytest.fixture
def acknowledged() -> list[tuple[int, aq.MutationCommand]]:
    return []


@pytest.fixture
def scheduler(
    queue: aq.ActionQueue, clock: Clock, acknowledged: list[tuple[int, aq.MutationCommand]]
) -> Scheduler:
    made = Scheduler(queue, acknowledged.extend)
    made.plan(PATHS, budget=1_000)
    made.look_at_the_clock()
    clock.time += 1
    return made


def lease(scheduler: Scheduler, owner: str = "w") -> Assignment:
    assignment = scheduler.lease(owner)
    assert assignment is not None
    return assignment


def run_of(queue: aq.ActionQueue, path: str) -> aq.RunInstance:
    (one,) = queue.projection.runs_of_task(task_id_of(path))
    return one


def test_every_file_is_leased_once_and_in_order(
    scheduler: Scheduler, queue: aq.ActionQueue
) -> None:
    assignments = [lease(scheduler) for _ in PATHS]
    assert [assignment.path for assignment in assignments] == PATHS
    assert scheduler.lease("w") is None
    assert {run_of(queue, path).state for path in PATHS} == {RunState.RUNNING}


def test_planning_again_finds_what_is_there(scheduler: Scheduler, queue: aq.ActionQueue) -> None:
    before = queue.sequence
    scheduler.plan(PATHS, budget=1_000)
    assert queue.sequence == before


def test_what_was_acknowledged_is_durable_and_complete(
    scheduler: Scheduler, queue: aq.ActionQueue, acknowledged: list[tuple[int, aq.MutationCommand]]
) -> None:
    scheduler.take(lease(scheduler), GOOD)
    assert [sequence for sequence, _ in acknowledged] == list(range(1, queue.sequence + 1))
    assert queue.durable_sequence == queue.sequence


def test_a_success(scheduler: Scheduler, queue: aq.ActionQueue) -> None:
    assert scheduler.take(lease(scheduler), GOOD) is RunState.COMPLETED
    one = run_of(queue, PATHS[0])
    (attempt,) = queue.projection.attempts(one.id) or ()
    assert (attempt.result, attempt.output) == (AttemptResultKind.SUCCESS, b"output")
    assert queue.projection.lease(one.id) is None
    assert scheduler.finished_count == 1


def test_failures_are_retried_later_and_only_so_often(
    scheduler: Scheduler, queue: aq.ActionQueue, clock: Clock
) -> None:
    for _ in PATHS[1:]:
        scheduler.take(lease(scheduler), GOOD)
    for number in range(1, ATTEMPTS_MAX + 1):
        assignment = lease(scheduler)
        assert (assignment.path, assignment.attempt) == (PATHS[-1], number)
        state = scheduler.take(assignment, BAD)
        assert state is (RunState.FAILED if number == ATTEMPTS_MAX else RunState.RETRY_WAIT)
        scheduler.look_at_the_clock()
        assert scheduler.lease("w") is None
        clock.time += 1
        scheduler.look_at_the_clock()
    assert run_of(queue, PATHS[-1]).attempt_count == ATTEMPTS_MAX


def test_a_lease_expires_and_does_not_count_as_a_failure(
    scheduler: Scheduler, queue: aq.ActionQueue, clock: Clock
) -> None:
    for expected in range(ATTEMPTS_MAX + 1):
        assignment = next(a for a in iter(lambda: lease(scheduler), None) if a.path == PATHS[0])
        assert assignment.attempt == expected + 1
        clock.time += LEASE_SECS
        assert (PATHS[0], "w") in scheduler.look_at_the_clock()
        clock.time += 1
    results = [
        attempt.result for attempt in queue.projection.attempts(run_of(queue, PATHS[0]).id) or ()
    ]
    assert results == [AttemptResultKind.TIMEOUT] * (ATTEMPTS_MAX + 1)
    assert run_of(queue, PATHS[0]).state is RunState.READY


def test_a_heartbeat_keeps_the_lease(scheduler: Scheduler, clock: Clock) -> None:
    assignment = lease(scheduler)
    for _ in range(5):
        clock.time += LEASE_SECS - 1
        scheduler.heartbeat(assignment)
        assert scheduler.look_at_the_clock() == []
    clock.time += LEASE_SECS
    assert scheduler.look_at_the_clock() == [(assignment.path, "w")]


def test_a_result_that_comes_too_late_changes_nothing(
    scheduler: Scheduler, queue: aq.ActionQueue, clock: Clock
) -> None:
    late = lease(scheduler, "slow")
    clock.time += LEASE_SECS
    scheduler.look_at_the_clock()
    before = queue.sequence
    assert scheduler.take(late, GOOD) is None
    scheduler.heartbeat(late)
    assert queue.sequence == before
    again = next(a for a in iter(lambda: lease(scheduler, "quick"), None) if a.path == late.path)
    before = queue.sequence
    assert scheduler.take(late, GOOD) is None
    scheduler.heartbeat(late)
    assert queue.sequence == before
    assert scheduler.take(again, GOOD) is RunState.COMPLETED


def test_a_paused_engine_leases_nothing_and_takes_results(scheduler: Scheduler) -> None:
    assignment = lease(scheduler)
    scheduler.pause()
    scheduler.pause()
    assert scheduler.is_paused
    assert scheduler.lease("w") is None
    assert scheduler.take(assignment, GOOD) is RunState.COMPLETED
    scheduler.resume()
    scheduler.resume()
    lease(scheduler)


def test_without_budget_nothing_is_leased(scheduler: Scheduler) -> None:
    scheduler.replenish(5)  # not while there is some
    scheduler.take(lease(scheduler), Result(b"", None, 999))
    scheduler.take(lease(scheduler), Result(b"", None, 1))
    assert scheduler.is_out_of_budget
    assert scheduler.lease("w") is None
    scheduler.replenish(1)
    lease(scheduler)


def test_a_new_scheduler_goes_on_where_the_old_one_was(tmp_path: Path, clock: Clock) -> None:
    with aq.open(tmp_path / "queue") as queue:
        old = Scheduler(queue, lambda _: None)
        old.plan(PATHS, budget=1_000)
        old.look_at_the_clock()
        old.take(lease(old), GOOD)
        lost = lease(old)
        old.pause()
    with aq.open(tmp_path / "queue") as queue:
        new = Scheduler(queue, lambda _: None)
        new.plan(PATHS, budget=1_000)
        assert (new.finished_count, new.is_paused, new.is_finished) == (1, True, False)
        new.resume()
        assert lease(new).path == PATHS[2]
        assert new.lease("w") is None
        clock.time += LEASE_SECS
        assert (lost.path, "w") in new.look_at_the_clock()
        for _ in PATHS[1:]:
            new.take(lease(new), GOOD)
        assert new.is_finished
