"""Rules: tasks, what they wait for, and their cancellation."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import actionqueue as aq
from actionqueue.errors import DependencyCycle
from tests.support.scheduler_machine.base import Base, any_number, has_runs, in_between, seldom
from tests.support.scheduler_model import ModelTask

several_numbers = st.lists(any_number, min_size=1, max_size=2)


class TaskRules(Base):
    @in_between
    @rule(
        offset=st.none() | st.integers(-10, 15),
        repeat=st.none() | st.tuples(st.integers(2, 5), st.integers(1, 7)),
        priority=st.integers(-1, 1),
        max_attempts=st.integers(1, 3),
        timeout=st.sampled_from([None, None, 2, 4, 9]),
        key=st.sampled_from([None, None, "a", "b"]),
        holds=st.booleans(),
        required=st.sampled_from([None, None, None, "gpu"]),
        waits_for=st.just([]) | st.lists(any_number, max_size=2),
        below=st.none() | any_number,
        copies=st.sampled_from([None, None, None, 0, 1, 3]),
        is_awaited=st.booleans(),
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
        below,
        copies,
        is_awaited,
    ) -> None:
        """Add a task, or some copies of it in one step."""
        at = None if offset is None else self.now + offset
        prerequisites = [self.some_task(number) for number in waits_for if self.model.tasks]
        parent_id = None if below is None else self.some_task_id(below)
        fields: dict[str, Any] = {}
        if copies is None and is_awaited and self.unborn:
            fields["task_id"] = self.unborn.pop()
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
            parent_task_id=parent_id,
            **fields,
        )
        count, interval = repeat or (1, 1)
        needs = frozenset[str]() if required is None else frozenset({required})
        tasks = [
            ModelTask(
                task_id,
                count,
                interval,
                priority,
                max_attempts,
                timeout,
                key,
                holds,
                needs,
                list(dict.fromkeys(prerequisites)),
                parent_id,
            )
            for task_id in ([added] if copies is None else added)
        ]
        self.model.add(tasks, self.now if at is None else at, self.now)

    @seldom
    @precondition(lambda self: len(self.model.tasks) > 1)
    @rule(number=any_number, of=several_numbers)
    def add_prerequisites(self, number: int, of: list[int]) -> None:
        task, several = self.some_task(number), [self.some_task(each) for each in of]
        prerequisites = [each.id for each in several]
        if not any(self.model.waits_for(each, task) for each in several):
            self.scheduler.add_prerequisites(task.id, prerequisites)
            self.model.add_prerequisites(task, several, self.now)
            return
        sequence = self.queue.sequence
        with pytest.raises(DependencyCycle) as caught:
            self.scheduler.add_prerequisites(task.id, prerequisites)
        assert self.queue.sequence == sequence
        circle = caught.value.task_ids
        assert circle[0] == circle[-1] == task.id
        assert circle[1] in prerequisites
        for waiting, awaited in pairwise(circle[1:]):
            found = self.model.task(waiting)
            assert found is not None
            assert awaited in [each.id for each in found.prerequisites]

    @seldom
    @has_runs
    @rule(number=any_number, is_whole=st.sampled_from([True, False, False]))
    def cancel(self, number: int, is_whole: bool) -> None:
        """Cancel a run, or its whole task."""
        run = self.some_run(number)
        if is_whole:
            self.scheduler.cancel(run.task.id)
            self.model.cancel(run.task, self.now)
        else:
            self.scheduler.cancel_run(run.id)
            self.model.cancel_run(run, self.now)

    @seldom
    @precondition(lambda self: any(task.count > 1 for task in self.model.tasks))
    @rule(number=any_number)
    def cancel_raw_and_plan_next(self, number: int) -> None:
        task = self.some_task(number)
        ahead = next((run for run in task.runs if run.state == "scheduled"), None)
        if ahead is not None and not task.gets_no_more_runs:
            assert self.scheduler.plan_next(task.id) is None
            self.queue.submit(
                aq.RunStateTransitionCommand(None, ahead.id, "scheduled", "canceled", self.now)
            )
            self.model.cancel_raw(ahead, self.now)
        planned = self.model.plan_next(task, self.now)
        assert self.scheduler.plan_next(task.id) == (None if planned is None else planned.id)
