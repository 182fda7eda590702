"""What time alone brings about."""

from __future__ import annotations

import actionqueue as aq
from actionqueue import AttemptResultKind
from tests.support.scheduling import BEGIN, Bench, bench


def attempt(at: Bench, run_id: aq.RunId) -> aq.AttemptRecord:
    attempts = at.projection.attempts(run_id)
    assert attempts
    return attempts[-1]


def test_nothing_is_due_in_an_empty_queue(at: Bench) -> None:
    assert at.scheduler.next_wakeup() is None
    assert not at.scheduler.tick()
    assert at.queue.sequence == 0


def test_a_run_is_ready_when_its_time_has_come_and_not_before(at: Bench) -> None:
    task = at.scheduler.add(b"", at=BEGIN + 10)
    assert at.state(task) == "scheduled"
    assert at.scheduler.next_wakeup() == BEGIN + 10
    assert not at.tick_at(9)
    assert at.scheduler.claim("w") == []
    report = at.tick_at(10)
    assert report.ready == [aq.run_id_of(task, 0)]
    assert at.scheduler.next_wakeup() is None
    assert at.claim().task_id == task


def test_more_runs_than_fit_into_a_batch_are_all_made_ready(at: Bench) -> None:
    for _ in range(1203):
        at.scheduler.add(b"", at=BEGIN + 1)
    assert len(at.tick_at(1).ready) == 1203
    assert at.scheduler.next_wakeup() is None


def test_an_expired_lease_is_a_time_out(at: Bench) -> None:
    at.scheduler.add(b"", max_attempts=2, priority=3)
    claim = at.claim()
    assert at.scheduler.next_wakeup() == BEGIN + 30
    report = at.tick_at(30)
    assert (report.expired, report.retried, report.failed) == ([claim.run_id], [claim.run_id], [])
    ended = attempt(at, claim.run_id)
    assert (ended.result, ended.error) == (AttemptResultKind.TIMEOUT, "the lease of worker expired")
    assert at.projection.lease(claim.run_id) is None
    assert at.scheduler.next_wakeup() == BEGIN + 31
    at.tick_at(31)
    claim = at.claim()
    report = at.tick_at(61)
    assert (report.expired, report.retried, report.failed) == ([claim.run_id], [], [claim.run_id])
    assert at.state(claim) == "failed"


def test_an_attempt_that_takes_too_long_is_a_time_out(at: Bench) -> None:
    at.scheduler.add(b"", timeout_secs=10, max_attempts=2)
    claim = at.claim()
    at.clock.advance(5)
    at.scheduler.heartbeat(claim)
    assert at.scheduler.next_wakeup() == claim.deadline == BEGIN + 10
    assert not at.tick_at(9)
    report = at.tick_at(10)
    assert (report.overdue, report.expired, report.retried) == ([claim.run_id], [], [claim.run_id])
    assert attempt(at, claim.run_id).result == "timeout"
    assert at.projection.lease(claim.run_id) is None
    assert at.state(claim) == "retry_wait"


def test_an_attempt_without_a_lease_is_a_time_out_too(at: Bench) -> None:
    at.scheduler.add(b"", timeout_secs=10)
    claim = at.claim()
    at.submit(aq.LeaseReleaseCommand(None, claim.run_id, "worker", BEGIN + 30, BEGIN))
    assert at.tick_at(10).failed == [claim.run_id]


def test_both_at_once_are_one_time_out(at: Bench) -> None:
    at.scheduler.add(b"", timeout_secs=30, max_attempts=2)
    claim = at.claim()
    report = at.tick_at(1000)
    assert (report.expired, report.overdue) == ([claim.run_id], [])
    assert len(at.projection.attempts(claim.run_id) or []) == 1


def test_a_leased_run_without_an_attempt_goes_back(at: Bench) -> None:
    """A raw command has taken it there."""
    run = aq.run_id_of(at.scheduler.add(b""), 0)
    at.submit(
        aq.RunStateTransitionCommand(None, run, "ready", "leased", BEGIN),
        aq.LeaseAcquireCommand(None, run, "raw", BEGIN + 5, BEGIN),
    )
    assert at.tick_at(5).expired == [run]
    assert at.claim().attempt == 1


def test_a_running_run_without_an_attempt_is_tried_again(at: Bench) -> None:
    run = aq.run_id_of(at.scheduler.add(b""), 0)
    at.submit(
        aq.RunStateTransitionCommand(None, run, "ready", "leased", BEGIN),
        aq.LeaseAcquireCommand(None, run, "raw", BEGIN + 5, BEGIN),
        aq.RunStateTransitionCommand(None, run, "leased", "running", BEGIN),
    )
    assert at.tick_at(5).retried == [run]
    at.tick_at(6)
    assert at.claim().attempt == 1


def test_the_due_run_of_a_canceled_task_is_canceled(at: Bench) -> None:
    task = at.scheduler.add(b"", at=BEGIN + 5)
    waiting = at.scheduler.add(b"", depends_on=[task])
    at.submit(aq.TaskCancelCommand(None, task, BEGIN))
    report = at.tick_at(5)
    assert report.canceled == [aq.run_id_of(task, 0), aq.run_id_of(waiting, 0)]
    assert at.state(task) == at.state(waiting) == "canceled"
    assert at.scheduler.next_wakeup() is None


def test_a_run_that_waits_for_a_retry_it_does_not_have_fails(at: Bench) -> None:
    """It would else hold its key for ever."""
    run = aq.run_id_of(at.scheduler.add(b"", concurrency_key="key"), 0)
    claim = at.claim()
    at.submit(
        aq.AttemptFinishCommand(
            None, run, claim.attempt_id, aq.AttemptOutcome.failure("why"), BEGIN
        ),
        aq.LeaseReleaseCommand(None, run, "worker", BEGIN + 30, BEGIN),
        aq.RunStateTransitionCommand(None, run, "running", "retry_wait", BEGIN),
    )
    assert at.tick_at(0).failed == [run]


def test_a_tick_does_all_of_what_a_long_absence_left(tmp_path) -> None:
    with bench(tmp_path, retry=aq.Backoff(first=0, jitter=0)) as at:
        at.scheduler.add(b"", max_attempts=2)
        claim = at.claim()
        report = at.tick_at(10_000)
        assert report.expired == report.retried == report.ready == [claim.run_id]
        assert at.claim().attempt == 2


def test_a_lease_ends_with_the_calendar_at_the_latest(tmp_path) -> None:
    from actionqueue.limits import CALENDAR_SECONDS_MAX

    with bench(tmp_path, lease_seconds=CALENDAR_SECONDS_MAX) as at:
        at.scheduler.add(b"", max_attempts=2)
        claim = at.claim()
        assert claim.lease_expiry == CALENDAR_SECONDS_MAX
        at.scheduler.heartbeat(claim)
        at.clock.time = CALENDAR_SECONDS_MAX
        at.scheduler.fail(claim, "why")
        assert at.scheduler.next_wakeup() == CALENDAR_SECONDS_MAX
        assert at.scheduler.tick().ready == [claim.run_id]


def test_the_wakeup_is_when_a_tick_has_something_to_do(at: Bench) -> None:
    """Neither before, nor only after it."""
    at.scheduler.add(b"", at=BEGIN + 100)
    at.scheduler.add(b"", timeout_secs=7)
    at.scheduler.add(b"")
    at.scheduler.claim("w", 2)
    for expected in (7, 30, 100):
        wakeup = at.scheduler.next_wakeup()
        assert wakeup == BEGIN + expected
        assert not at.tick_at(expected - 1)
        assert at.tick_at(expected)
    assert at.scheduler.next_wakeup() is None


def test_a_zone_that_the_machine_lacks_puts_one_run_off_and_nothing_else(
    at: Bench, monkeypatch
) -> None:
    cron = at.scheduler.add(b"", run_policy=aq.Cron("CRON_TZ=Europe/Zurich 0 0 * * * *"))
    other = at.scheduler.add(b"", at=BEGIN + 3600)
    with monkeypatch.context() as patch:
        patch.setattr(aq.Cron, "next_occurrences_after", refuse)
        report = at.tick_at(3600)
        assert report.postponed == [aq.run_id_of(cron, 0)]
        assert aq.run_id_of(other, 0) in report.ready
        assert at.scheduler.next_wakeup() == BEGIN + 3660
    report = at.tick_at(3660)
    assert report.ready == [aq.run_id_of(cron, 0)]
    assert report.created == [aq.run_id_of(cron, 1)]


def refuse(*_arguments: object) -> None:
    raise aq.InvalidFieldError("next_occurrences_after", "zone", "Europe/Zurich", "is unknown")
