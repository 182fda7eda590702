"""Which ready runs may be started, and why the others wait."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue import RunId, RunInstance, RunState, TaskConstraints, TaskSpec, WaitReason
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import U64_MAX
from actionqueue.model.base import event_of, validate
from actionqueue.projection import Projection, ReadyRun
from tests.support.core.ready_source import ReadySource
from tests.support.core.table_events import apply_to
from tests.support.model import Model
from tests.support.ready_model import blockers, ready_runs

S = RunState


def apply(projection: Projection, *commands: aq.MutationCommand) -> None:
    for command in commands:
        projection.apply_event(event_of(command, validate(command, projection)))


def ready_run(
    projection: Projection, priority: int = 0, since: int = 2, **constraints: Any
) -> RunId:
    """Create a task with a run that is ready."""
    task = TaskSpec(payload=b"x", constraints=TaskConstraints(**constraints))
    run = RunInstance(RunId(), task.id, S.SCHEDULED, None, 0, 1, 1, priority, 1)
    apply(
        projection,
        aq.TaskCreateCommand(None, task, 1),
        aq.RunCreateCommand(None, run),
        aq.RunStateTransitionCommand(None, run.id, S.SCHEDULED, S.READY, since),
    )
    return run.id


def task_of(projection: Projection, run_id: RunId) -> aq.TaskId:
    run = projection.run(run_id)
    assert run is not None
    return run.task_id


def ids(found: list[ReadyRun]) -> list[RunId]:
    return [run_id for *_, run_id in found]


def reasons(projection: Projection, run_id: RunId) -> list[WaitReason]:
    found = projection.why_waiting(run_id)
    assert found is not None
    return found


def test_the_highest_priority_comes_first_then_the_longest_wait_then_the_oldest() -> None:
    projection = Projection()
    order = [(5, 9), (2**31 - 1, 3), (5, 4), (-(2**31), 2), (5, 4)]
    runs = [ready_run(projection, priority, since) for priority, since in order]
    expected = [1, 2, 4, 0, 3]
    answer = [(*order[number], runs[number]) for number in expected]
    assert projection.ready(9) == answer
    assert projection.ready(2) == answer[:2]
    for number, found in enumerate(answer):
        assert projection.ready(9, after=found) == answer[number + 1 :]


def test_a_claimer_gets_what_it_can_run() -> None:
    projection = Projection()
    plain = ready_run(projection)
    both = ready_run(projection, required_capabilities=("gpu", "big"))
    gpu = ready_run(projection, required_capabilities=("gpu",))
    assert ids(projection.ready(9)) == [plain, both, gpu]
    assert ids(projection.ready(9, ())) == [plain]
    assert ids(projection.ready(9, ["gpu", "other"])) == [plain, gpu]
    assert ids(projection.ready(9, {"gpu", "big"})) == [plain, both, gpu]


def test_runs_with_one_key_take_turns() -> None:
    projection = Projection()
    first, second, third = (ready_run(projection, concurrency_key="k") for _ in range(3))
    other = ready_run(projection, concurrency_key="other")
    assert ids(projection.ready(9)) == [first, other]
    apply(projection, aq.RunStateTransitionCommand(None, first, S.READY, S.LEASED, 3))
    assert ids(projection.ready(9)) == [other]
    assert reasons(projection, second) == [WaitReason("concurrency_key", run_id=first)]
    assert reasons(projection, first) == []
    apply(projection, aq.RunStateTransitionCommand(None, second, S.READY, S.CANCELED, 3))
    apply(projection, aq.RunStateTransitionCommand(None, first, S.LEASED, S.CANCELED, 3))
    assert ids(projection.ready(9)) == [third, other]


@pytest.mark.parametrize("policy", ["hold_during_retry", "release_on_retry"])
def test_a_key_is_kept_between_attempts_where_the_policy_says_so(policy: str) -> None:
    projection = Projection()
    tried = ready_run(
        projection, max_attempts=2, concurrency_key="k", concurrency_key_hold_policy=policy
    )
    other = ready_run(projection, priority=1, concurrency_key="k")
    attempt = aq.AttemptId()
    apply(
        projection,
        aq.RunStateTransitionCommand(None, tried, S.READY, S.LEASED, 3),
        aq.RunStateTransitionCommand(None, tried, S.LEASED, S.RUNNING, 3),
        aq.AttemptStartCommand(None, tried, attempt, 3),
        aq.AttemptFinishCommand(None, tried, attempt, aq.AttemptOutcome.failure("no"), 3),
        aq.RunStateTransitionCommand(None, tried, S.RUNNING, S.RETRY_WAIT, 3),
    )
    holds = policy == "hold_during_retry"
    assert ids(projection.ready(9)) == ([] if holds else [other])
    apply(projection, aq.RunStateTransitionCommand(None, tried, S.RETRY_WAIT, S.READY, 4))
    assert ids(projection.ready(9)) == [tried if holds else other]


def test_every_reason_is_told_with_what_it_is_about() -> None:
    projection = Projection()
    run_id = ready_run(projection, concurrency_key="k")
    task_id = task_of(projection, run_id)
    prerequisite = task_of(projection, ready_run(projection))
    holder = ready_run(projection, concurrency_key="k")
    token = aq.BudgetDimension.TOKEN
    apply(
        projection,
        aq.RunStateTransitionCommand(None, holder, S.READY, S.LEASED, 3),
        aq.DependencyDeclareCommand(None, task_id, (prerequisite,), 3),
        aq.BudgetAllocateCommand(None, task_id, token, 1, 3),
        aq.BudgetConsumeCommand(None, task_id, token, 1, 3),
        aq.LeaseAcquireCommand(None, run_id, "owner", 9, 3),
        aq.EnginePauseCommand(None, 3),
        aq.TaskCancelCommand(None, task_id, 3),
    )
    found = reasons(projection, run_id)
    assert {(reason.kind, str(reason)) for reason in found} == {
        ("paused", "the engine is paused"),
        ("canceled", f"its task {task_id} is canceled"),
        ("lease", "there is a lease on it, which a command must drop first"),
        ("prerequisite", f"the prerequisite {prerequisite} is not met"),
        ("budget", f"the token budget of the task {task_id} is exhausted"),
        ("concurrency_key", f"the run {holder} holds its concurrency key"),
    }
    assert run_id not in ids(projection.ready(9))


def test_a_run_that_waits_for_its_time_says_until_when() -> None:
    projection = Projection()
    task = TaskSpec(payload=b"x")
    run = RunInstance.scheduled(task.id, scheduled_at=77, created_at=1)
    apply(projection, aq.TaskCreateCommand(None, task, 1), aq.RunCreateCommand(None, run))
    assert projection.why_waiting(run.id) == [WaitReason("scheduled", 77)]
    assert str(reasons(projection, run.id)[0]) == "it is scheduled for 77"
    assert projection.why_waiting(RunId()) is None


REFUSED = [
    ({"limit": 0}, "limit"),
    ({"limit": -1}, "limit"),
    ({"limit": 2**32}, "limit"),
    ({"limit": 1, "after": (2**31, 1, RunId())}, "after"),
    ({"limit": 1, "after": (0, U64_MAX + 1, RunId())}, "after"),
    ({"limit": 1, "after": (0, 1, RunId())}, "after"),
]
OF_ANOTHER_TYPE = [
    ({"limit": None}, "limit"),
    ({"limit": True}, "limit"),
    ({"limit": 1, "capabilities": "gpu"}, "capabilities"),
    ({"limit": 1, "capabilities": b"gpu"}, "capabilities"),
    ({"limit": 1, "capabilities": 7}, "capabilities"),
    ({"limit": 1, "capabilities": [b"gpu"]}, "capabilities"),
    ({"limit": 1, "after": RunId()}, "after"),
    ({"limit": 1, "after": (0, 1)}, "after"),
    ({"limit": 1, "after": (0, "1", RunId())}, "after"),
]


@pytest.mark.parametrize(("arguments", "field"), REFUSED)
def test_what_is_out_of_range_is_named(arguments: Any, field: str) -> None:
    with pytest.raises(InvalidFieldError, match=rf"ready\.{field}"):
        Projection().ready(**arguments)


@pytest.mark.parametrize(("arguments", "field"), OF_ANOTHER_TYPE)
def test_what_is_of_another_type_is_named(arguments: Any, field: str) -> None:
    with pytest.raises(InvalidFieldTypeError, match=rf"ready\.{field}"):
        Projection().ready(**arguments)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=50)
@given(st.integers(0, 2**32).map(Random), st.integers(1, 150), st.integers(1, 3))
def test_every_answer_is_that_of_a_sort(random: Random, length: int, limit: int) -> None:
    model, source, projection = Model(), ReadySource(random), Projection()
    for _ in range(length):
        event = source.next(model)
        if apply_to(model, event) != "ok":
            continue
        projection.apply_event(event)
        if random.random() < 0.3:
            expected = ready_runs(model, {"gpu"})
            found: list[ReadyRun] = []
            while page := projection.ready(limit, {"gpu"}, found[-1] if found else None):
                found += page
            assert found == expected
            for run_id, run in model.runs.items():
                kinds = {reason.kind.partition("_")[0] for reason in reasons(projection, run_id)}
                if run["state"] == "ready":
                    named = {
                        kind.replace("key", "concurrency") for kind, _ in blockers(model, run_id)
                    }
                    assert kinds == named


def test_a_queue_answers_the_same_after_it_was_opened_again(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue", durability="deferred") as queue:
        for priority in (1, 3, 2):
            task = TaskSpec(
                payload=b"x", constraints=TaskConstraints(concurrency_key=str(priority))
            )
            run = RunInstance(RunId(), task.id, S.SCHEDULED, None, 0, 1, 1, priority, 1)
            queue.submit_many(
                [
                    aq.TaskCreateCommand(None, task, 1),
                    aq.RunCreateCommand(None, run),
                    aq.RunStateTransitionCommand(None, run.id, S.SCHEDULED, S.READY, 2),
                ]
            )
        queue.submit(aq.RunStateTransitionCommand(None, run.id, S.READY, S.LEASED, 3))
        answer = queue.projection.ready(9)
        assert [priority for priority, *_ in answer] == [3, 1]
        queue.snapshot()
    with aq.open(tmp_path / "queue") as queue:
        assert queue.projection.ready(9) == answer
