"""What always holds, and what holds at the end."""

from __future__ import annotations

from collections import Counter

from hypothesis.stateful import invariant

import actionqueue as aq
from tests.support.scheduler_machine.base import Base
from tests.support.scheduler_model import OVER
from tests.support.scheduling import BEGIN


class Checks(Base):
    @invariant()
    def the_projection_is_the_model(self) -> None:
        if not hasattr(self, "queue"):
            return
        self.step += 1
        self.check_runs()
        self.check_tasks()
        self.check_subscriptions()
        assert self.scheduler.next_wakeup() == self.model.next_wakeup()
        assert all(count == 1 for count in Counter(self.model.keys_in_use()).values())

    def check_runs(self) -> None:
        projection = self.queue.projection
        assert projection.counts().runs == len(self.model.runs)
        for run in self.model.runs:
            is_now = projection.run(run.id)
            assert is_now is not None
            assert (is_now.state, is_now.effective_priority) == (run.state, run.priority)
            # A run whose failure took several batches may have got another time before it failed.
            may_differ = self.is_in_parts and run.state == "failed"
            assert is_now.scheduled_at == run.at or may_differ
            lease = projection.active_lease(run.id)
            assert lease == ((run.owner, run.expiry) if run.state == "running" else None)
            assert run.attempts <= run.task.max_attempts

    def check_tasks(self) -> None:
        projection = self.queue.projection
        counts = projection.counts()
        assert counts.tasks == len(self.model.tasks)
        assert counts.budgets == sum(len(task.budgets) for task in self.model.tasks)
        for task in self.model.tasks:
            assert projection.is_task_canceled(task.id) == task.is_canceled
            for dimension, budget in task.budgets.items():
                is_now = projection.budget(task.id, dimension)
                assert is_now is not None
                found = is_now.limit, is_now.consumed, is_now.is_exhausted
                assert found == (budget.limit, budget.used, budget.is_exhausted)

    def check_subscriptions(self) -> None:
        found = {
            each.subscription_id: (each.task_id, each.triggered_at, each.canceled_at)
            for each in self.queue.projection.subscriptions()
        }
        assert found == {
            each.id: (each.task.id, each.triggered_at, each.canceled_at)
            for each in self.model.subscriptions
        }

    # --- At the end -------------------------------------------------------------------------------

    def drain(self) -> None:
        """Work until there is no more to do: no run is lost."""
        self.let_everything_go_on()
        while self.work() or self.scheduler.next_wakeup() is not None:
            self.the_projection_is_the_model()
        left = [run for run in self.model.runs if run.state not in OVER]
        # A retry may wait for a prerequisite that was added later, and holds its key meanwhile.
        has_held_keys = any(run.task.key and run.holds_its_key for run in left)
        for run in left:
            assert run.state == "ready"
            assert not self.model.is_free(run, None)
            waits = not all(each.is_met for each in run.task.prerequisites)
            assert has_held_keys or (waits and not self.model.cancels)
        for task in self.model.tasks:
            assert task.gets_no_more_runs
            assert all(run.at >= BEGIN - 10 for run in task.runs)

    def let_everything_go_on(self) -> None:
        for task in self.model.tasks:
            for dimension in task.budgets:
                self.queue.submit(aq.BudgetReplenishCommand(None, task.id, dimension, 9, self.now))
                self.model.allocate(task, dimension, 9)
        for run in self.model.runs:
            if run.state == "suspended":
                self.scheduler.resume_run(run.id)
                self.model.make_ready(run, self.now)

    def work(self) -> bool:
        """Go to what is next, claim what can be claimed and complete it; return if it did."""
        wakeup = self.scheduler.next_wakeup()
        if wakeup is not None:
            self.clock.time = max(self.now, wakeup)
        self.scheduler.tick()
        self.model.tick(self.now)
        expected = self.model.claim(10, None)
        claims = self.scheduler.claim("drain", 10)
        assert [claim.run_id for claim in claims] == [run.id for run in expected]
        self.model.claimed(list(zip(expected, claims, strict=True)), self.now)
        for run, claim in zip(expected, claims, strict=True):
            self.scheduler.complete(claim)
            self.model.complete([run], self.now)
        return bool(claims)
