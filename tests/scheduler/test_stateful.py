"""The scheduler against a slow model, step by step, through clean and unclean ends."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import actionqueue as aq
from actionqueue.columns import id_array
from actionqueue.errors import (
    ClaimLost,
    DependencyCycle,
    InvalidTransition,
    NotWaitingForTime,
    PreviousStateMismatch,
    RunResumeRequiresSuspended,
)
from actionqueue.scheduler import prerequisites
from tests.support.queues import IN_MEMORY, copy_of
from tests.support.scheduler_model import OVER, ModelRun, ModelTask, SchedulerModel
from tests.support.scheduling import BEGIN, Clock

LEASE = 6
ABLE = {None: None, "nothing": frozenset[str](), "gpu": frozenset({"gpu"})}
any_number = st.integers(0, 10**6)


def columns_of(claims: list[aq.Claim]) -> aq.ClaimColumns:
    """Return claims of one owner as arrays, as far as a completion reads them."""
    nothing = id_array([])
    run_ids = id_array([claim.run_id for claim in claims])
    attempt_ids = id_array([claim.attempt_id for claim in claims])
    rest: list[Any] = [nothing] * 6
    return aq.ClaimColumns(claims[0].owner, 0, 0, nothing, run_ids, attempt_ids, *rest)


class SchedulerMachine(RuleBasedStateMachine):
    """Does the same to a scheduler and to the model."""

    @initialize(
        misfire=st.sampled_from(["coalesce", "all", "skip"]),
        on_prerequisite_failed=st.sampled_from(["cancel", "cancel", "hold"]),
        cascade_max=st.sampled_from([prerequisites.CASCADE_MAX, 1, 2, 3]),
    )
    def create(self, misfire: str, on_prerequisite_failed: str, cascade_max: int) -> None:
        self.cascade_max = cascade_max
        self.cascade = mock.patch.object(prerequisites, "CASCADE_MAX", cascade_max)
        self.cascade.start()
        self.directory = Path(tempfile.mkdtemp(prefix="actionqueue-", dir=IN_MEMORY))
        self.path = self.directory / "queue-0"
        self.kills = 0
        self.clock = Clock()
        self.model = SchedulerModel(misfire, on_prerequisite_failed, LEASE)
        self.options: dict[str, Any] = {
            "misfire": misfire,
            "on_prerequisite_failed": on_prerequisite_failed,
            "lease_seconds": LEASE,
            "retry": self.model.backoff,
            "clock": self.clock,
        }
        self.claims: list[aq.Claim] = []
        self.open()

    def open(self) -> None:
        self.queue = aq.open(
            self.path,
            durability="deferred",
            compaction=None,
            segment_size=65536,
            ring_size=65536,
        )
        self.scheduler = aq.Scheduler(self.queue, **self.options)

    def teardown(self) -> None:
        if not hasattr(self, "queue"):
            return
        try:
            self.drain()
        finally:
            self.cascade.stop()
            self.queue.close()
            shutil.rmtree(self.directory)

    @property
    def now(self) -> int:
        return self.clock.time

    def some_task(self, number: int) -> ModelTask:
        return self.model.tasks[number % len(self.model.tasks)]

    def some_run(self, number: int) -> ModelRun:
        return self.model.runs[number % len(self.model.runs)]

    def has_tasks(self) -> bool:
        return bool(self.model.tasks)

    # --- Tasks ------------------------------------------------------------------------------------

    @rule(
        offset=st.none() | st.integers(-10, 15),
        repeat=st.none() | st.tuples(st.integers(2, 5), st.integers(1, 7)),
        priority=st.integers(-1, 1),
        max_attempts=st.integers(1, 3),
        timeout=st.sampled_from([None, None, 2, 4, 9]),
        key=st.sampled_from([None, None, "a", "b"]),
        holds=st.booleans(),
        required=st.sampled_from([None, None, None, "gpu"]),
        waits_for=st.lists(any_number, max_size=2),
        copies=st.sampled_from([None, None, 0, 1, 3]),
    )
    def add(
        self,
        offset,
        repeat,
        priority,
        max_attempts,
        timeout,
        key,
        holds,
        required,
        waits_for,
        copies,
    ) -> None:
        """Add a task, or some copies of it in one step."""
        at = None if offset is None else self.now + offset
        prerequisites = [self.some_task(number) for number in waits_for if self.model.tasks]
        add: Any = self.scheduler.add if copies is None else self.scheduler.add_many
        added = add(
            b"" if copies is None else [b""] * copies,
            at=at,
            depends_on=[task.id for task in prerequisites],
            run_policy=aq.Once() if repeat is None else aq.Repeat(*repeat),
            priority=priority,
            max_attempts=max_attempts,
            timeout_secs=timeout,
            concurrency_key=key,
            concurrency_key_hold_policy="hold_during_retry" if holds else "release_on_retry",
            required_capabilities=None if required is None else [required],
        )
        count, interval = repeat or (1, 1)
        needs = frozenset[str]() if required is None else frozenset({required})
        for task_id in [added] if copies is None else added:
            task = ModelTask(
                task_id,
                count,
                interval,
                priority,
                max_attempts,
                timeout,
                key,
                holds,
                needs,
                list(prerequisites),
            )
            self.model.add(task, self.now if at is None else at, self.now)

    @precondition(has_tasks)
    @rule(number=any_number, of=any_number)
    def add_prerequisite(self, number: int, of: int) -> None:
        task, prerequisite = self.some_task(number), self.some_task(of)
        if self.model.waits_for(prerequisite, task):
            with pytest.raises(DependencyCycle) as caught:
                self.scheduler.add_prerequisites(task.id, [prerequisite.id])
            assert caught.value.task_ids[:2] == (task.id, prerequisite.id)
        else:
            self.scheduler.add_prerequisites(task.id, [prerequisite.id])
            self.model.add_prerequisite(task, prerequisite, self.now)

    @precondition(has_tasks)
    @rule(number=any_number)
    def cancel(self, number: int) -> None:
        task = self.some_task(number)
        self.scheduler.cancel(task.id)
        self.model.cancel(task, self.now)

    @precondition(has_tasks)
    @rule(number=any_number)
    def cancel_run(self, number: int) -> None:
        run = self.some_run(number)
        self.scheduler.cancel_run(run.id)
        self.model.cancel_run(run, self.now)

    # --- Claims -----------------------------------------------------------------------------------

    @rule(
        owner=st.sampled_from(["one", "two"]),
        limit=st.integers(1, 4),
        able=st.sampled_from(list(ABLE.values())),
        in_columns=st.booleans(),
    )
    def claim(self, owner: str, limit: int, able: frozenset[str] | None, in_columns: bool) -> None:
        expected = self.model.claim(limit, able)
        if in_columns:
            columns = self.scheduler.claim_columns(owner, limit, able)
            claims = [columns.claim(row) for row in range(len(columns))]
        else:
            claims = self.scheduler.claim(owner, limit, able)
        if able is None:
            assert [claim.run_id for claim in claims] == [run.id for run in expected]
        else:
            # Of several runs with one key the queue may look at another one first.
            assert len(claims) == len(expected)
        by_id = {run.id: run for run in self.model.runs}
        for claim in claims:
            run = by_id[claim.run_id]
            assert run in self.model.ready(able)
            self.model.claimed(run, claim, self.now)
            assert (claim.attempt, claim.lease_expiry) == (run.attempts, run.expiry)
            assert claim.deadline == (
                None if run.task.timeout is None else self.model.deadline(run)
            )
        self.claims += claims

    @precondition(lambda self: self.claims)
    @rule(
        number=any_number,
        end=st.sampled_from(["complete", "complete", "fail", "release", "suspend", "heartbeat"]),
        retry_in=st.none() | st.integers(0, 5),
    )
    def end(self, number: int, end: str, retry_in: int | None) -> None:
        claim = self.claims[-1 - number % len(self.claims)]
        retry_at = None if retry_in is None else self.now + retry_in
        calls = {
            "complete": lambda: self.scheduler.complete(claim, b"out"),
            "fail": lambda: self.scheduler.fail(claim, "why", retry_at=retry_at),
            "release": lambda: self.scheduler.release(claim),
            "suspend": lambda: self.scheduler.suspend(claim, "later"),
            "heartbeat": lambda: self.scheduler.heartbeat([claim]),
        }
        run = self.model.is_held(claim)
        if run is None:
            sequence = self.queue.sequence
            with pytest.raises(ClaimLost):
                calls[end]()
            assert self.queue.sequence == sequence
            return
        calls[end]()
        if end == "heartbeat":
            run.expiry = max(run.expiry, self.now + LEASE)
            assert claim.lease_expiry == run.expiry
        elif end == "fail":
            self.model.fail(run, self.now, retry_at)
        else:
            getattr(self.model, end)(run, self.now)

    @precondition(lambda self: self.claims)
    @rule(numbers=st.lists(any_number, min_size=1, max_size=4), in_columns=st.booleans())
    def complete_many(self, numbers: list[int], in_columns: bool) -> None:
        claims = [self.claims[-1 - number % len(self.claims)] for number in numbers]
        runs = [self.model.is_held(claim) for claim in claims]

        def complete() -> None:
            if in_columns and len({claim.owner for claim in claims}) == 1:
                self.scheduler.complete_columns(columns_of(claims), b"out")
            else:
                self.scheduler.complete_many([(claim, b"out") for claim in claims])

        if None in runs or len(set(claims)) < len(claims):
            sequence = self.queue.sequence
            with pytest.raises(ClaimLost):
                complete()
            assert self.queue.sequence == sequence
            return
        complete()
        for run in runs:
            assert run is not None
            self.model.complete(run, self.now)

    @rule(owner=st.sampled_from(["one", "two"]))
    def release_all(self, owner: str) -> None:
        assert self.scheduler.release_all(owner) == self.model.release_all(owner, self.now)

    # --- Time -------------------------------------------------------------------------------------

    @rule(seconds=st.integers(1, 12))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.integers(0, 6))
    def tick(self, seconds: int) -> None:
        self.clock.advance(seconds)
        wakeup = self.scheduler.next_wakeup()
        did = bool(self.scheduler.tick())
        assert did == (wakeup is not None and wakeup <= self.now)
        self.model.tick(self.now)
        # Nothing is late by more than a tick.
        wakeup = self.scheduler.next_wakeup()
        assert wakeup is None or wakeup > self.now

    # --- What is asked for ------------------------------------------------------------------------

    @rule()
    def pause_or_resume(self) -> None:
        if self.model.is_paused:
            self.scheduler.resume()
        else:
            self.scheduler.pause()
        self.model.is_paused = not self.model.is_paused

    @precondition(has_tasks)
    @rule(number=any_number)
    def cancel_raw_and_plan_next(self, number: int) -> None:
        task = self.some_task(number)
        ahead = task.runs[-1]
        has_more = len(task.runs) < task.count
        if ahead.state == "scheduled" and has_more:
            assert self.scheduler.plan_next(task.id) is None
            self.queue.submit(
                aq.RunStateTransitionCommand(None, ahead.id, "scheduled", "canceled", self.now)
            )
            ahead.go("canceled", self.now)
        planned = self.model.plan_next(task, self.now)
        assert self.scheduler.plan_next(task.id) == (None if planned is None else planned.id)

    @precondition(has_tasks)
    @rule(number=any_number)
    def resume_run(self, number: int) -> None:
        run = self.some_run(number)
        if run.state == "suspended":
            self.scheduler.resume_run(run.id)
            run.go("ready", self.now)
        else:
            with pytest.raises(RunResumeRequiresSuspended):
                self.scheduler.resume_run(run.id)

    @precondition(has_tasks)
    @rule(number=any_number)
    def retry(self, number: int) -> None:
        run = self.some_run(number)
        if run.state == "retry_wait":
            self.scheduler.retry(run.id)
            run.go("ready", self.now)
        else:
            with pytest.raises(PreviousStateMismatch):
                self.scheduler.retry(run.id)

    @precondition(has_tasks)
    @rule(
        number=any_number,
        offset=st.none() | st.integers(-3, 9),
        priority=st.integers(-2, 2),
    )
    def reschedule(self, number: int, offset: int | None, priority: int) -> None:
        run = self.some_run(number)
        allowed = {"scheduled", "retry_wait"} | (
            {"ready", "suspended"} if offset is None else set()
        )
        at = None if offset is None else self.now + offset
        if run.state in allowed:
            self.scheduler.reschedule(run.id, at=at, priority=priority)
            run.at = run.at if at is None else at
            run.priority = priority
        else:
            with pytest.raises(InvalidTransition if at is None else NotWaitingForTime):
                self.scheduler.reschedule(run.id, at=at, priority=priority)

    # --- Ends of the process ----------------------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        self.queue.close()
        self.open()

    @rule()
    def kill_and_reopen(self) -> None:
        """Go on in a copy of the files, which is what a killed process leaves."""
        self.kills += 1
        killed = copy_of(self.path, self.directory / f"queue-{self.kills}")
        self.queue.close()
        self.path = killed
        self.open()

    # --- What always holds ------------------------------------------------------------------------

    @invariant()
    def the_projection_is_the_model(self) -> None:
        if not hasattr(self, "queue"):
            return
        projection = self.queue.projection
        assert projection.counts().runs == len(self.model.runs)
        for run in self.model.runs:
            is_now = projection.run(run.id)
            assert is_now is not None
            assert (is_now.state, is_now.effective_priority) == (run.state, run.priority)
            # A run whose failure took several batches may have got another time before it failed.
            may_differ = self.cascade_max < 4 and run.state == "failed"
            assert is_now.scheduled_at == run.at or may_differ
            lease = projection.active_lease(run.id)
            assert lease == ((run.owner, run.expiry) if run.state == "running" else None)
            assert run.attempts <= run.task.max_attempts
        for task in self.model.tasks:
            assert projection.is_task_canceled(task.id) == task.is_canceled
        assert self.scheduler.next_wakeup() == self.model.next_wakeup()
        assert all(count == 1 for count in Counter(self.model.keys_in_use()).values())

    def drain(self) -> None:
        """Work until there is no more to do: no run is lost."""
        if self.model.is_paused:
            self.pause_or_resume()
        for run in self.model.runs:
            if run.state == "suspended":
                self.scheduler.resume_run(run.id)
                run.go("ready", self.now)
        while True:
            wakeup = self.scheduler.next_wakeup()
            if wakeup is not None:
                self.clock.time = max(self.now, wakeup)
            self.scheduler.tick()
            self.model.tick(self.now)
            claims = self.scheduler.claim("drain", 10)
            assert [claim.run_id for claim in claims] == [
                run.id for run in self.model.claim(10, None)
            ]
            for claim in claims:
                (run,) = [run for run in self.model.runs if run.id == claim.run_id]
                self.scheduler.complete(claim)
                self.model.complete(run, self.now)
            if not claims and self.scheduler.next_wakeup() is None:
                break
        self.the_projection_is_the_model()
        left = [run for run in self.model.runs if run.state not in OVER]
        # A retry may wait for a prerequisite that was added later, and holds its key meanwhile.
        has_held_keys = any(run.task.key and run.holds_its_key for run in left)
        for run in left:
            assert run.state == "ready"
            assert not self.model.is_free(run, None)
            waits = not all(map(self.model.is_met, run.task.prerequisites))
            assert has_held_keys or (waits and not self.model.cancels)
        for task in self.model.tasks:
            assert len(task.runs) == task.count or task.is_canceled
            assert all(run.at >= BEGIN - 10 for run in task.runs)


TestScheduler = SchedulerMachine.TestCase
TestScheduler.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
