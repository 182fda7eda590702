"""Tasks that wait for others, and what becomes of them; canceling."""

from __future__ import annotations

import pytest

import actionqueue as aq
from actionqueue import Repeat, run_id_of
from actionqueue.errors import ClaimLost, DependencyCycle, UnknownRun, UnknownTask
from tests.support.scheduling import BEGIN, Bench, bench, states


def test_a_task_waits_for_all_its_prerequisites(at: Bench) -> None:
    first, second = at.scheduler.add(b""), at.scheduler.add(b"")
    task = at.scheduler.add(b"", depends_on=[first, second, first], priority=9)
    claims = at.scheduler.claim("w", 9)
    assert [claim.task_id for claim in claims] == [first, second]
    at.scheduler.complete(claims[0])
    assert at.scheduler.claim("w", 9) == []
    at.scheduler.complete(claims[1])
    assert at.claim().task_id == task


def test_a_recurring_prerequisite_is_met_at_its_end(at: Bench) -> None:
    first = at.scheduler.add(b"", run_policy=Repeat(2, 60))
    task = at.scheduler.add(b"", depends_on=[first])
    at.scheduler.complete(at.claim())
    assert at.scheduler.claim("w") == []
    at.tick_at(60)
    assert at.scheduler.fail(at.claim(), "one of two is enough") == "failed"
    assert at.claim().task_id == task


def test_tasks_that_wait_in_vain_are_canceled_with_those_that_wait_for_them(at: Bench) -> None:
    first = at.scheduler.add(b"")
    second = at.scheduler.add(b"", depends_on=[first])
    third = at.scheduler.add(b"", depends_on=[second], at=BEGIN + 100)
    fourth = at.scheduler.add(b"", depends_on=[third, first])
    other = at.scheduler.add(b"", depends_on=[fourth], run_policy=Repeat(2, 60))
    untouched = at.scheduler.add(b"")
    sequence = at.queue.sequence
    assert at.scheduler.fail(at.scheduler.claim("w")[0], "why") == "failed"
    for task in (second, third, fourth, other):
        assert at.projection.is_task_canceled(task)
        assert set(states(at, task)) == {"canceled"}
    assert not at.projection.is_task_canceled(first)
    assert at.state(untouched) == "ready"
    assert at.queue.sequence == sequence + 4 + 3 + 4 + 5
    assert at.scheduler.next_wakeup() is None


def test_they_are_held_where_the_scheduler_was_told_so(tmp_path) -> None:
    with bench(tmp_path, on_prerequisite_failed="hold") as at:
        first = at.scheduler.add(b"")
        second = at.scheduler.add(b"", depends_on=[first])
        at.scheduler.fail(at.claim(), "why")
        third = at.scheduler.add(b"", depends_on=[first])
        assert at.state(second) == at.state(third) == "ready"
        assert at.scheduler.claim("w", 9) == []
        # Another run of the prerequisite meets it after all.
        again = aq.RunInstance.scheduled(first, scheduled_at=BEGIN, created_at=BEGIN)
        at.submit(aq.RunCreateCommand(None, again))
        at.scheduler.tick()
        at.scheduler.complete(at.claim())
        assert len(at.scheduler.claim("w", 9)) == 2


@pytest.mark.parametrize("end", ["lease", "deadline"])
def test_a_time_out_is_a_failure_for_what_waits(at: Bench, end: str) -> None:
    first = at.scheduler.add(b"", timeout_secs=5 if end == "deadline" else None)
    waiting = at.scheduler.add(b"", depends_on=[first])
    at.claim()
    report = at.tick_at(30)
    assert report.failed == [run_id_of(first, 0)]
    assert report.canceled == [run_id_of(waiting, 0)]


def test_a_failed_run_of_a_recurring_task_is_not_the_end_of_it(at: Bench) -> None:
    first = at.scheduler.add(b"", run_policy=Repeat(2, 60))
    waiting = at.scheduler.add(b"", depends_on=[first])
    at.scheduler.fail(at.claim(), "why")
    assert at.state(waiting) == "ready"
    at.tick_at(60)
    at.scheduler.fail(at.claim(), "why")
    assert at.state(waiting) == "canceled"


def test_an_expression_without_more_times_is_the_end_of_its_task(at: Bench) -> None:
    first = at.scheduler.add(b"", run_policy=aq.Cron("0 0 0 1 1 * 1970-1971"))
    waiting = at.scheduler.add(b"", depends_on=[first])
    at.clock.time = 365 * 86400
    at.scheduler.tick()
    at.scheduler.fail(at.claim(), "why")
    assert at.state(waiting) == "canceled"


def test_a_prerequisite_whose_failed_runs_were_forgotten_is_lost(at: Bench) -> None:
    """Retention keeps the task: it does not parse an expression of this length."""
    years = ",".join(["1971"] * 60)
    first = at.scheduler.add(b"", run_policy=aq.Cron(f"0 0 0 1 1 * {years}"))
    at.clock.time = 365 * 86400
    at.scheduler.tick()
    at.scheduler.fail(at.claim(), "why")
    at.queue.compact(retention_seconds=0)
    assert at.projection.task_exists(first)
    assert states(at, first) == []
    waiting = at.scheduler.add(b"", depends_on=[first])
    assert at.state(waiting) == "canceled"


@pytest.mark.parametrize("has_snapshot", [False, True])
def test_a_completed_run_counts_after_it_was_forgotten(at: Bench, has_snapshot: bool) -> None:
    first = at.scheduler.add(b"", run_policy=Repeat(2, 60))
    at.scheduler.complete(at.claim())
    at.queue.compact(retention_seconds=0)
    assert states(at, first) == ["scheduled"]
    if has_snapshot:
        at.queue.snapshot()
    at.reopen()
    at.tick_at(60)
    at.scheduler.fail(at.claim(), "why")
    waiting = at.scheduler.add(b"", depends_on=[first])
    assert at.projection.has_forgotten_completed_run(first)
    assert at.claim().task_id == waiting


def test_a_prerequisite_without_a_run_yet_is_not_lost(at: Bench) -> None:
    first = aq.TaskSpec(payload=b"")
    at.submit(aq.TaskCreateCommand(None, first, BEGIN))
    waiting = at.scheduler.add(b"", depends_on=[first.id])
    assert at.state(waiting) == "ready"
    assert at.scheduler.claim("w") == []


def test_what_waits_for_a_failed_task_is_canceled_although_it_comes_later(at: Bench) -> None:
    first = at.scheduler.add(b"")
    at.scheduler.fail(at.claim(), "why")
    late = at.scheduler.add(b"", depends_on=[first], run_policy=Repeat(3, 60))
    assert at.projection.is_task_canceled(late)
    assert states(at, late) == ["canceled"]
    later = at.scheduler.add(b"")
    at.scheduler.add_prerequisites(later, [first])
    assert at.state(later) == "canceled"


def test_a_task_that_is_over_is_not_canceled(at: Bench) -> None:
    done = at.scheduler.add(b"")
    at.scheduler.complete(at.claim())
    first = at.scheduler.add(b"")
    at.scheduler.add_prerequisites(done, [first])
    after = at.scheduler.add(b"", depends_on=[done])
    at.scheduler.cancel(first)
    at.scheduler.add_prerequisites(done, [first])
    assert not at.projection.is_task_canceled(done)
    assert at.claim().task_id == after


def test_a_run_of_a_dependent_that_ends_in_the_same_tick_is_canceled_once(at: Bench) -> None:
    """Its prerequisite was declared while it ran already."""
    first = at.scheduler.add(b"", priority=1)
    second = at.scheduler.add(b"", max_attempts=2)
    at.scheduler.claim("w", 2)
    at.scheduler.add_prerequisites(second, [first])
    report = at.tick_at(30)
    assert report.failed == [run_id_of(first, 0)]
    assert at.state(second) == "canceled"


def test_a_dependent_is_canceled_also_where_a_run_of_its_own_ends_in_the_same_tick(
    at: Bench,
) -> None:
    first = at.scheduler.add(b"")
    second = at.scheduler.add(b"", run_policy=Repeat(2, 60))
    third = at.scheduler.add(b"", depends_on=[second])
    at.scheduler.claim("w", 2)
    at.scheduler.add_prerequisites(second, [first])
    at.tick_at(30)
    assert states(at, first) == ["failed"]
    assert states(at, second) == ["failed", "canceled"]
    assert at.projection.is_task_canceled(second)
    assert states(at, third) == ["canceled"]


def test_the_next_run_of_a_task_that_the_same_tick_cancels_is_canceled_too(at: Bench) -> None:
    first = at.scheduler.add(b"", at=BEGIN + 5)
    waiting = at.scheduler.add(b"", at=BEGIN + 5, depends_on=[first], run_policy=Repeat(3, 60))
    at.submit(aq.TaskCancelCommand(None, first, BEGIN))
    report = at.tick_at(5)
    assert states(at, waiting) == ["canceled", "canceled"]
    assert len(report.canceled) == 3
    assert at.scheduler.next_wakeup() is None


# --- Circles --------------------------------------------------------------------------------------


def test_a_task_that_waits_for_itself_is_refused(at: Bench) -> None:
    task = aq.TaskId()
    sequence = at.queue.sequence
    with pytest.raises(DependencyCycle) as caught:
        at.scheduler.add(b"", task_id=task, depends_on=[task])
    assert caught.value.task_ids == (task, task)
    assert at.queue.sequence == sequence


def test_a_circle_is_refused_and_named(at: Bench) -> None:
    first = at.scheduler.add(b"")
    second = at.scheduler.add(b"", depends_on=[at.scheduler.add(b""), first])
    third = at.scheduler.add(b"", depends_on=[second])
    with pytest.raises(DependencyCycle) as caught:
        at.scheduler.add_prerequisites(first, [at.scheduler.add(b""), third])
    assert caught.value.task_ids == (first, third, second, first)
    assert f"{first} -> {third} -> {second} -> {first}" in str(caught.value)
    assert at.projection.dependencies(first) == []


def test_circles_of_raw_commands_do_not_catch_the_scheduler(at: Bench) -> None:
    first, second = at.scheduler.add(b""), at.scheduler.add(b"")
    at.submit(
        aq.DependencyDeclareCommand(None, first, [second], BEGIN),
        aq.DependencyDeclareCommand(None, second, [first], BEGIN),
    )
    at.scheduler.add(b"", depends_on=[first])
    assert at.scheduler.claim("w", 9) == []
    assert len(at.scheduler.cancel(first)) == 3


def test_an_unknown_prerequisite_is_refused(at: Bench) -> None:
    with pytest.raises(UnknownTask):
        at.scheduler.add(b"", depends_on=[aq.TaskId()])
    assert at.queue.sequence == 0


# --- Canceling ------------------------------------------------------------------------------------


def test_canceling_a_task_cancels_its_runs_in_every_state(at: Bench) -> None:
    tasks = {
        "scheduled": at.scheduler.add(b"", at=BEGIN + 9),
        "running": at.scheduler.add(b"", priority=3, max_attempts=2),
        "retry_wait": at.scheduler.add(b"", priority=2, max_attempts=2),
        "suspended": at.scheduler.add(b"", priority=1),
    }
    running, failing, suspending = at.scheduler.claim("w", 3)
    at.scheduler.fail(failing, "why")
    at.scheduler.suspend(suspending)
    tasks["ready"] = at.scheduler.add(b"")
    tasks["leased"] = at.scheduler.add(b"")
    leased = run_id_of(tasks["leased"], 0)
    at.submit(
        aq.RunStateTransitionCommand(None, leased, "ready", "leased", BEGIN),
        aq.LeaseAcquireCommand(None, leased, "raw", BEGIN + 9, BEGIN),
    )
    for state, task in tasks.items():
        assert at.state(task) == state
        assert at.scheduler.cancel(task) == [task]
        assert at.state(task) == "canceled"
        assert at.projection.lease(run_id_of(task, 0)) is None
    assert at.scheduler.next_wakeup() is None
    with pytest.raises(ClaimLost):
        at.scheduler.complete(running)


def test_canceling_a_recurring_task_cancels_what_waits_for_it(at: Bench) -> None:
    """Although it would have had more runs."""
    first = at.scheduler.add(b"", run_policy=Repeat(9, 60))
    waiting = at.scheduler.add(b"", depends_on=[first], run_policy=Repeat(9, 60))
    last = at.scheduler.add(b"", depends_on=[waiting])
    assert at.scheduler.cancel(first) == [first, waiting, last]
    assert states(at, last) == ["canceled"]


def test_canceling_again_changes_nothing(at: Bench) -> None:
    task = at.scheduler.add(b"")
    at.scheduler.cancel(task)
    sequence = at.queue.sequence
    assert at.scheduler.cancel(task) == []
    at.scheduler.cancel_run(run_id_of(task, 0))
    assert at.queue.sequence == sequence


def test_canceling_a_task_that_a_raw_command_canceled_cancels_its_runs(at: Bench) -> None:
    task = at.scheduler.add(b"")
    at.submit(aq.TaskCancelCommand(None, task, BEGIN))
    assert at.scheduler.claim("w") == []
    assert at.scheduler.cancel(task) == []
    assert at.state(task) == "canceled"


def test_canceling_the_only_run_cancels_what_waits_for_it(at: Bench) -> None:
    first = at.scheduler.add(b"")
    waiting = at.scheduler.add(b"", depends_on=[first])
    at.scheduler.cancel_run(run_id_of(first, 0))
    assert at.state(waiting) == "canceled"
    assert not at.projection.is_task_canceled(first)


def test_what_is_unknown_cannot_be_canceled(at: Bench) -> None:
    with pytest.raises(UnknownTask):
        at.scheduler.cancel(aq.TaskId())
    with pytest.raises(UnknownRun):
        at.scheduler.cancel_run(aq.RunId())
