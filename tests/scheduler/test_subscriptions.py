"""What subscriptions wait for, budgets, and other wishes of an application."""

from __future__ import annotations

import pytest

import actionqueue as aq
from actionqueue import EventFilter, run_id_of
from actionqueue.errors import (
    AttemptsExhausted,
    InvalidTransition,
    NotWaitingForTime,
    PreviousStateMismatch,
    RunResumeRequiresSuspended,
    UnknownRun,
    UnknownTask,
)
from tests.support.scheduling import BEGIN, Bench


def subscribe(at: Bench, task: aq.TaskId, event_filter: EventFilter) -> aq.SubscriptionId:
    subscription = aq.SubscriptionId()
    at.submit(aq.SubscriptionCreateCommand(None, subscription, task, event_filter, BEGIN))
    return subscription


def suspended(at: Bench, priority: int = 99) -> aq.TaskId:
    """Return a task whose run is suspended."""
    task = at.scheduler.add(b"", priority=priority)
    at.scheduler.suspend(at.claim())
    return task


def is_triggered(at: Bench, subscription: aq.SubscriptionId) -> bool:
    record = at.projection.subscription(subscription)
    assert record is not None
    return record.triggered_at is not None


def test_a_signal_resumes_what_waits_for_it(at: Bench) -> None:
    task = suspended(at)
    subscription = subscribe(at, task, EventFilter.custom("approved"))
    other = subscribe(at, task, EventFilter.custom("refused"))
    assert at.scheduler.signal("another") == []
    assert at.state(task) == "suspended"
    assert at.scheduler.signal("approved") == [subscription]
    assert at.state(task) == "ready"
    assert is_triggered(at, subscription)
    assert not is_triggered(at, other)
    assert at.claim().attempt == 1


def test_a_signal_that_nothing_waits_for_leaves_no_trace(at: Bench) -> None:
    assert at.scheduler.signal("key") == []
    assert at.queue.sequence == 0


@pytest.mark.parametrize("way", ["submit", "submit_many", "batch", "before opening", "another"])
def test_subscriptions_are_known_however_they_were_made(at: Bench, way: str) -> None:
    task = suspended(at)
    subscription = aq.SubscriptionId()
    command = aq.SubscriptionCreateCommand(
        None, subscription, task, EventFilter.custom("key"), BEGIN
    )
    if way == "submit":
        at.queue.submit(command)
    elif way == "batch":
        with at.queue.batch() as batch:
            batch.submit(command)
    else:
        at.queue.submit_many([command])
    if way == "before opening":
        at.reopen()
    if way == "another":
        at.scheduler = aq.Scheduler(at.queue, clock=at.clock)
    assert at.scheduler.signal("key") == [subscription]


def test_a_refused_batch_has_no_subscription(at: Bench) -> None:
    task = suspended(at)
    command = aq.SubscriptionCreateCommand(
        None, aq.SubscriptionId(), task, EventFilter.custom("key"), BEGIN
    )
    with pytest.raises(aq.UnknownTask):
        at.submit(command, aq.TaskCancelCommand(None, aq.TaskId(), BEGIN))
    assert at.scheduler.signal("key") == []
    at.queue.submit(command)
    assert len(at.scheduler.signal("key")) == 1


def test_a_canceled_subscription_is_not_triggered(at: Bench) -> None:
    task = suspended(at)
    subscription = subscribe(at, task, EventFilter.custom("key"))
    assert len(at.scheduler.signal("key")) == 1
    at.submit(aq.SubscriptionCancelCommand(None, subscription, BEGIN))
    assert at.scheduler.signal("key") == []
    at.queue.compact(retention_seconds=0)
    assert at.scheduler.signal("key") == []


def test_a_subscription_is_triggered_each_time(at: Bench) -> None:
    task = suspended(at)
    subscription = subscribe(at, task, EventFilter.custom("key"))
    for time in (BEGIN + 5, BEGIN + 9):
        at.clock.time = time
        assert at.scheduler.signal("key") == [subscription]
        record = at.projection.subscription(subscription)
        assert record is not None
        assert record.triggered_at == time


def test_the_completion_of_a_task_resumes_what_waits_for_it(at: Bench) -> None:
    waiting = suspended(at)
    task = at.scheduler.add(b"", run_policy=aq.Repeat(2, 60))
    subscription = subscribe(at, waiting, EventFilter.task_completed(task))
    at.scheduler.complete(at.claim())
    assert not is_triggered(at, subscription)
    at.tick_at(60)
    at.scheduler.complete(at.claim())
    assert is_triggered(at, subscription)
    assert at.state(waiting) == "ready"


def test_a_failure_is_no_completion(at: Bench) -> None:
    waiting = suspended(at)
    task = at.scheduler.add(b"")
    subscription = subscribe(at, waiting, EventFilter.task_completed(task))
    at.scheduler.fail(at.claim(), "why")
    assert not is_triggered(at, subscription)


@pytest.mark.parametrize("end", ["fail", "cancel", "cancel_run"])
def test_a_task_is_completed_also_where_the_last_run_to_end_is_not(at: Bench, end: str) -> None:
    """What depends on it begins then, too."""
    waiting = suspended(at, priority=-99)
    task = at.scheduler.add(b"", run_policy=aq.Repeat(2, 60))
    at.scheduler.add(b"dependent", depends_on=[task], priority=9)
    subscription = subscribe(at, waiting, EventFilter.task_completed(task))
    at.scheduler.complete(at.claim())
    if end == "fail":
        at.tick_at(60)
        at.scheduler.fail(at.claim(), "why")
    elif end == "cancel":
        at.scheduler.cancel(task)
    else:
        at.scheduler.cancel_run(run_id_of(task, 1))
    assert is_triggered(at, subscription)
    assert at.state(waiting) == "ready"
    assert at.claim().payload == b"dependent"


def test_a_completed_run_counts_after_it_was_forgotten(at: Bench) -> None:
    waiting = suspended(at, priority=-99)
    task = at.scheduler.add(b"", run_policy=aq.Repeat(2, 60))
    subscription = subscribe(at, waiting, EventFilter.task_completed(task))
    at.scheduler.complete(at.claim())
    at.queue.compact(retention_seconds=0)
    assert at.projection.has_forgotten_completed_run(task)
    at.tick_at(60)
    at.scheduler.fail(at.claim(), "why")
    assert is_triggered(at, subscription)


@pytest.mark.parametrize(
    "state",
    ["ready", "leased", "running", "retry_wait", "suspended", "completed", "failed", "canceled"],
)
def test_a_run_that_enters_a_state_resumes_what_waits_for_it(at: Bench, state: str) -> None:
    waiting = suspended(at, priority=-99)
    task = aq.TaskId()
    subscription = subscribe(at, waiting, EventFilter.run_state_changed(task, state))
    at.scheduler.add(b"", task_id=task, at=BEGIN + 1, max_attempts=2)

    def is_as_expected(*entered: str) -> bool:
        return is_triggered(at, subscription) == (state in entered)

    assert is_as_expected()
    at.tick_at(1)
    assert is_as_expected("ready")
    claim = at.claim()
    assert claim.task_id == task
    assert is_as_expected("ready", "leased", "running")
    if state in {"retry_wait", "failed"}:
        at.scheduler.fail(claim, "why")
        assert is_as_expected("retry_wait")
        at.tick_at(2)
        at.scheduler.fail(at.claim(), "why")
    elif state == "suspended":
        at.scheduler.suspend(claim)
    elif state == "completed":
        at.scheduler.complete(claim)
    elif state == "canceled":
        at.scheduler.cancel(task)
    assert is_triggered(at, subscription)
    assert at.state(waiting) == "ready"


def test_a_run_that_is_given_back_is_ready_and_was_not_suspended(at: Bench) -> None:
    waiting = suspended(at, priority=-99)
    task = at.scheduler.add(b"")
    laid_aside = subscribe(at, waiting, EventFilter.run_state_changed(task, "suspended"))
    ready = subscribe(at, waiting, EventFilter.run_state_changed(task, "ready"))
    at.scheduler.release(at.claim())
    assert not is_triggered(at, laid_aside)
    assert is_triggered(at, ready)
    at.scheduler.suspend(at.claim())
    assert is_triggered(at, laid_aside)


def test_a_lease_that_expires_triggers_what_waits_for_the_runs_new_state(at: Bench) -> None:
    waiting = suspended(at, priority=-99)
    leased, running = at.scheduler.add(b""), at.scheduler.add(b"", priority=1, max_attempts=2)
    at.claim()
    run = run_id_of(leased, 0)
    at.submit(
        aq.RunStateTransitionCommand(None, run, "ready", "leased", BEGIN),
        aq.LeaseAcquireCommand(None, run, "raw", BEGIN + 30, BEGIN),
    )
    ready = subscribe(at, waiting, EventFilter.run_state_changed(leased, "ready"))
    retried = subscribe(at, waiting, EventFilter.run_state_changed(running, "retry_wait"))
    again = subscribe(at, waiting, EventFilter.run_state_changed(running, "ready"))
    at.tick_at(30)
    assert at.state(leased) == "ready"
    assert at.state(running) == "retry_wait"
    assert is_triggered(at, ready)
    assert is_triggered(at, retried)
    assert not is_triggered(at, again)


def test_what_a_subscription_resumes_may_trigger_another(at: Bench) -> None:
    first, second = suspended(at), suspended(at)
    subscribe(at, first, EventFilter.custom("key"))
    subscribe(at, second, EventFilter.run_state_changed(first, "ready"))
    sequence = at.queue.sequence
    assert len(at.scheduler.signal("key")) == 1
    assert at.state(first) == at.state(second) == "ready"
    assert at.queue.sequence == sequence + 4


def test_a_task_that_waits_for_itself_is_triggered_once(at: Bench) -> None:
    task = at.scheduler.add(b"")
    subscribe(at, task, EventFilter.run_state_changed(task, "suspended"))
    at.scheduler.suspend(at.claim())
    assert at.state(task) == "ready"


def test_a_step_triggers_a_subscription_once(at: Bench) -> None:
    """Also where two runs enter the state with it."""
    waiting = suspended(at)
    task = at.scheduler.add(b"", run_policy=aq.Repeat(2, 60))
    subscribe(at, waiting, EventFilter.run_state_changed(task, "canceled"))
    sequence = at.queue.sequence
    at.scheduler.cancel(task)
    assert at.queue.sequence == sequence + 3 + 2


def test_what_is_canceled_in_the_same_step_is_not_resumed(at: Bench) -> None:
    task = suspended(at)
    subscribe(at, task, EventFilter.run_state_changed(task, "canceled"))
    at.scheduler.cancel(task)
    assert at.state(task) == "canceled"


# --- Budgets --------------------------------------------------------------------------------------


def allocate(at: Bench, task: aq.TaskId, limit: int) -> None:
    at.submit(aq.BudgetAllocateCommand(None, task, "token", limit, BEGIN))


def test_a_budgets_use_triggers_where_it_reaches_the_share(at: Bench) -> None:
    waiting = suspended(at)
    task = at.scheduler.add(b"")
    allocate(at, task, 200)
    half = subscribe(at, waiting, EventFilter.budget_threshold(task, "token", 50))
    other = subscribe(at, waiting, EventFilter.budget_threshold(task, "cost_cents", 0))
    at.scheduler.consume(task, "token", 99)
    assert not is_triggered(at, half)
    at.scheduler.consume(task, aq.BudgetDimension.TOKEN, 1)
    assert is_triggered(at, half)
    at.clock.advance(1)
    at.scheduler.consume(task, "token", 50)
    record = at.projection.subscription(half)
    assert record is not None
    assert record.triggered_at == BEGIN
    at.scheduler.consume(task, "cost_cents", 5)  # of which there is no budget
    assert not is_triggered(at, other)


def test_an_exhausted_budget_of_an_ancestor_blocks_claims(at: Bench) -> None:
    root = at.scheduler.add(b"", priority=9)
    child = at.scheduler.add(b"", parent_task_id=root)
    at.scheduler.add(b"", parent_task_id=child)
    at.claim()
    allocate(at, root, 10)
    at.scheduler.consume(root, "token", 10)
    assert at.scheduler.claim("w", 9) == []
    at.submit(aq.BudgetReplenishCommand(None, root, "token", 10, BEGIN))
    assert len(at.scheduler.claim("w", 9)) == 2


# --- Runs -----------------------------------------------------------------------------------------


def test_a_run_gets_another_time_and_priority(at: Bench) -> None:
    task = at.scheduler.add(b"", at=BEGIN + 10)
    run = run_id_of(task, 0)
    at.scheduler.reschedule(run, at=BEGIN + 5)
    at.scheduler.reschedule(run, priority=3)
    is_now = at.projection.run(run)
    assert is_now is not None
    assert (is_now.scheduled_at, is_now.effective_priority) == (BEGIN + 5, 3)
    at.tick_at(5)
    at.scheduler.reschedule(run, priority=-3)
    with pytest.raises(NotWaitingForTime) as caught:
        at.scheduler.reschedule(run, at=BEGIN + 50)
    assert caught.value == NotWaitingForTime(run, aq.RunState.READY)
    at.claim()
    with pytest.raises(InvalidTransition):
        at.scheduler.reschedule(run, priority=1)


def test_a_retry_need_not_wait(at: Bench) -> None:
    at.scheduler.add(b"", max_attempts=2)
    claim = at.claim()
    at.scheduler.fail(claim, "why", retry_at=BEGIN + 500)
    at.scheduler.retry(claim.run_id)
    assert at.claim().attempt == 2


def test_a_run_without_an_attempt_left_is_not_made_ready(at: Bench) -> None:
    """It would be ready for ever, and no worker would get it."""
    task = at.scheduler.add(b"")
    claim = at.claim()
    outcome = aq.AttemptOutcome.failure("why")
    at.submit(
        aq.AttemptFinishCommand(None, claim.run_id, claim.attempt_id, outcome, BEGIN),
        aq.LeaseReleaseCommand(None, claim.run_id, "worker", BEGIN + 30, BEGIN),
        aq.RunStateTransitionCommand(None, claim.run_id, "running", "retry_wait", BEGIN),
        aq.RunRescheduleCommand(None, claim.run_id, BEGIN + 50, 0, BEGIN),
    )
    sequence = at.queue.sequence
    with pytest.raises(AttemptsExhausted) as caught:
        at.scheduler.retry(claim.run_id)
    assert caught.value == AttemptsExhausted(claim.run_id, task, 1)
    assert at.queue.sequence == sequence
    assert at.tick_at(50).failed == [claim.run_id]  # as the error says


def test_what_does_not_fit_the_state_is_refused(at: Bench) -> None:
    run = run_id_of(at.scheduler.add(b""), 0)
    with pytest.raises(PreviousStateMismatch):
        at.scheduler.retry(run)
    with pytest.raises(RunResumeRequiresSuspended):
        at.scheduler.resume_run(run)
    unknown = aq.RunId()
    for call in (at.scheduler.retry, at.scheduler.resume_run, at.scheduler.finished):
        with pytest.raises(UnknownRun):
            call(unknown)
    with pytest.raises(UnknownRun):
        at.scheduler.reschedule(unknown, priority=1)
    with pytest.raises(UnknownTask):
        at.scheduler.consume(aq.TaskId(), "token", 1)
