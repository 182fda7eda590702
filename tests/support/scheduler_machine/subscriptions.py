"""Rules: subscriptions, and signals to them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import actionqueue as aq
from tests.support.scheduler_machine.base import (
    Base,
    any_number,
    at_work,
    has_runs,
    has_runs_in,
    in_between,
    seldom,
)
from tests.support.scheduler_model import ModelSubscription, ModelTask

STATES = ["ready", "leased", "running", "retry_wait", "suspended", "completed", "failed"]
STATES += ["canceled", "scheduled"]
ON_THE_WAY = {"ready", "retry_wait"}
"""States that a run may enter on its way to another, where that takes several batches."""
keys = st.sampled_from(["x", "y"])
completed = st.tuples(st.just("completed"), any_number)
entered = st.tuples(st.just("entered"), any_number, st.sampled_from(STATES))
what_happens = (
    st.tuples(st.just("custom"), keys)
    | completed
    | completed.map(tuple)
    | entered
    | entered.map(tuple)
    | st.tuples(
        st.just("used"),
        any_number,
        st.sampled_from(["token", "token", "cost_cents"]),
        st.sampled_from([0, 1, 50, 80, 100]),
    )
)
FILTERS: dict[str, Any] = {
    "custom": aq.EventFilter.custom,
    "completed": aq.EventFilter.task_completed,
    "entered": aq.EventFilter.run_state_changed,
    "used": aq.EventFilter.budget_threshold,
}


class SubscriptionRules(Base):
    @in_between
    @has_runs
    @rule(number=any_number, what=what_happens, is_suspended=st.booleans())
    def subscribe(self, number: int, what: tuple[Any, ...], is_suspended: bool) -> None:
        """Have any task wait for something, or one with a suspended run."""
        task = (
            self.some_run_in({"suspended"}, number).task
            if is_suspended and self.model.runs
            else self.some_task(number)
        )
        self.have_wait(task, what)

    @in_between
    @has_runs_in("ready")
    @rule(what=what_happens)
    def lay_aside(self, what: tuple[Any, ...]) -> None:
        """Claim a run that waits for something, and suspend it until that happens."""
        for run in self.model.claim(1, None):
            self.have_wait(run.task, what)
            (claim,) = self.scheduler.claim("one")
            self.model.claimed([(run, claim)], self.now)
            self.scheduler.suspend(claim)
            self.model.suspend(run, self.now)

    def task_with_budget(self, dimension: str, number: int) -> ModelTask:
        """A task with a budget in a dimension, which it gets where no task has one."""
        task = self.some_task_with(dimension, number)
        if dimension not in task.budgets:
            limit = 1 + number % 4
            self.queue.submit(aq.BudgetAllocateCommand(None, task.id, dimension, limit, self.now))
            self.model.allocate(task, dimension, limit)
        return task

    def have_wait(self, task: ModelTask, what: tuple[Any, ...]) -> None:
        kind, subject, *rest = what
        if kind == "used":
            subject = self.task_with_budget(rest[0], subject).id
        elif "ready" in rest:  # which what is suspended enters where it is resumed
            subject = self.some_run_in({"suspended"}, subject).task.id
        elif kind == "entered" and subject % 2:
            subject = self.some_run_in({"ready", "running"}, subject).task.id
        elif kind != "custom":
            subject = self.some_task_id(subject)
        if self.is_in_parts and ON_THE_WAY & set(rest):
            return
        subscription = ModelSubscription(aq.SubscriptionId(), task, (kind, subject, *rest))
        event_filter = FILTERS[kind](subject, *rest)
        self.queue.submit(
            aq.SubscriptionCreateCommand(None, subscription.id, task.id, event_filter, self.now)
        )
        self.model.subscriptions.append(subscription)

    @seldom
    @precondition(lambda self: self.model.subscriptions)
    @rule(number=any_number)
    def cancel_subscription(self, number: int) -> None:
        subscription = self.model.subscriptions[number % len(self.model.subscriptions)]
        if subscription.canceled_at is None:
            self.queue.submit(aq.SubscriptionCancelCommand(None, subscription.id, self.now))
            subscription.canceled_at = self.now

    @at_work
    @precondition(lambda self: self.model.subscriptions)
    @rule(key=keys)
    def signal(self, key: str) -> None:
        called = self.model.signal(key, self.now)
        assert self.scheduler.signal(key) == [each.id for each in called]
