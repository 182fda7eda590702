"""A scheduler and its model, side by side."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition

import actionqueue as aq
from actionqueue.scheduler import prerequisites
from tests.support.queues import IN_MEMORY
from tests.support.scheduler_model import ModelRun, ModelTask, SchedulerModel
from tests.support.scheduling import Clock

LEASE = 6
UNBORN = 2
any_number = st.integers(0, 10**6)
has_tasks = precondition(lambda self: self.model.tasks)
has_runs = precondition(lambda self: self.model.runs)


seldom = precondition(lambda self: self.step % 3 == 0)
"""For what disturbs the rest, or is of no use often: every third step may be such."""
at_work = precondition(lambda self: self.step % 3 != 1)
in_between = precondition(lambda self: self.step % 3 != 2)
"""For the others, half of which are left out of each step: so there are turns of work."""


def has_runs_in(state: str) -> Any:
    return precondition(lambda self: any(run.state == state for run in self.model.runs))


class _All:
    @staticmethod
    def is_enabled(_rule: str) -> bool:
        return True


class Base(RuleBasedStateMachine):
    step = 0
    has_all_rules = True
    """Whether each example has all rules. Hypothesis leaves half of them out otherwise, others in
    each example; few examples would have all that it takes to wait for something and get it.
    """

    def __init__(self) -> None:
        super().__init__()
        if self.has_all_rules:
            self._rules_strategy.enabled_rules_strategy = st.just(_All())

    @initialize(
        misfire=st.sampled_from(["coalesce", "all", "skip"]),
        on_prerequisite_failed=st.sampled_from(["cancel", "cancel", "hold"]),
        cascade_max=st.sampled_from([prerequisites.CASCADE_MAX] * 3 + [1, 2, 3]),
        task_count=st.integers(0, 4),
    )
    def create(
        self, misfire: str, on_prerequisite_failed: str, cascade_max: int, task_count: int
    ) -> None:
        self.is_in_parts = cascade_max < prerequisites.CASCADE_MAX
        """Whether what a failure or a cancellation brings about takes several batches."""
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
        self.unborn = [aq.TaskId() for _ in range(UNBORN)]
        """Identifiers of tasks to come, which others may name before."""
        self.open()
        self.begin(task_count)

    def begin(self, task_count: int) -> None:
        """Add some tasks that nothing keeps from being done, so that there is work at once."""
        task_ids = self.scheduler.add_many([b""] * task_count, max_attempts=3)
        tasks = [ModelTask(task_id, max_attempts=3) for task_id in task_ids]
        self.model.add(tasks, self.now, self.now)

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

    def drain(self) -> None:
        raise NotImplementedError

    @property
    def now(self) -> int:
        return self.clock.time

    def some_task(self, number: int) -> ModelTask:
        return self.model.tasks[number % len(self.model.tasks)]

    def some_task_with(self, dimension: str | None, number: int) -> ModelTask:
        """A task with a budget in a dimension, one whose use is awaited if there is any; else any
        task.
        """
        awaited = [each.waits_for[1:3] for each in self.model.subscriptions]
        having = [task for task in self.model.tasks if dimension in task.budgets]
        fitting = [task for task in having if (task.id, dimension) in awaited]
        several = fitting or having or self.model.tasks
        return several[number % len(several)]

    def some_run(self, number: int) -> ModelRun:
        return self.model.runs[number % len(self.model.runs)]

    def some_run_in(self, states: Collection[str], number: int) -> ModelRun:
        """A run in one of some states, if there is any; else any run."""
        fitting = [run for run in self.model.runs if run.state in states] or self.model.runs
        return fitting[number % len(fitting)]

    def some_task_id(self, number: int) -> aq.TaskId:
        """The identifier of a task, more often of one that goes on, or one of those to come."""
        open_ids = [task.id for task in self.model.tasks if task.has_open_runs]
        task_ids = open_ids * 3 + [task.id for task in self.model.tasks] + self.unborn
        return task_ids[number % len(task_ids)] if task_ids else aq.TaskId()

    def ask_why_runs_wait(self) -> None:
        for run in self.model.runs:
            reasons = self.queue.projection.why_waiting(run.id)
            assert reasons is not None
            fields = [
                (each.kind, each.until, each.task_id, each.run_id, each.dimension)
                for each in reasons
            ]
            given = [tuple(field for field in some if field is not None) for some in fields]
            assert len(given) == len(set(given))
            assert set(given) == self.model.why_waiting(run)
