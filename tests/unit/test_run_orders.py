"""What to run next: the projection's answers in the order of time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue import (
    AttemptId,
    LeaseAcquireCommand,
    RunCreateCommand,
    RunId,
    RunInstance,
    RunRescheduleCommand,
    RunState,
    RunStateTransitionCommand,
    TaskConstraints,
    TaskCreateCommand,
    TaskSpec,
)
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError, ValidationError
from actionqueue.limits import ROW_COUNT_MAX, U64_MAX
from actionqueue.model.base import event_of, validate
from actionqueue.projection import Projection, TimedRun
from tests.support.model import Model
from tests.support.strategies import build_stream

S = RunState
CLOSING = {"ready", "leased", "running"}
"""Where a command may close a lease."""
Query = Callable[[Projection, int, int, Any], list[TimedRun]]

QUERIES: dict[str, Query] = {
    "due": Projection.due,
    "expiring_leases": Projection.expiring_leases,
    "overdue_attempts": Projection.overdue_attempts,
}


def created(projection: Projection, times: list[int], timeout: int | None = None) -> list[RunId]:
    """Create a task, and a run for each time."""
    task = TaskSpec(payload=b"x", constraints=TaskConstraints(timeout_secs=timeout))
    sequence = projection.latest_sequence
    projection.apply_event(aq.TaskCreated(sequence + 1, task, 1))
    runs = [RunInstance.scheduled(task.id, scheduled_at=time, created_at=1) for time in times]
    for number, run in enumerate(runs, sequence + 2):
        projection.apply_event(aq.RunCreated(number, run))
    return [run.id for run in runs]


def paged(query: Query, projection: Projection, until: int, limit: int) -> list[TimedRun]:
    found: list[TimedRun] = []
    while page := query(projection, until, limit, found[-1] if found else None):
        assert len(page) <= limit
        found += page
    return found


def test_an_empty_projection_has_nothing_to_run() -> None:
    projection = Projection()
    for query in QUERIES.values():
        assert query(projection, U64_MAX, 1, None) == []
    assert projection.next_due() is None
    assert projection.next_lease_expiry() is None
    assert projection.next_deadline() is None
    for state in RunState:
        assert projection.run_ids(state) == []


def test_due_runs_come_in_the_order_of_time_and_then_of_creation() -> None:
    projection = Projection()
    runs = created(projection, [30, 10, 20, 10, 2**64 - 1])
    assert projection.due(9, 5) == []
    assert projection.due(20, 5) == [(10, runs[1]), (10, runs[3]), (20, runs[2])]
    assert projection.due(20, 2) == [(10, runs[1]), (10, runs[3])]
    assert projection.due(U64_MAX, 9, (10, runs[3])) == [
        (20, runs[2]),
        (30, runs[0]),
        (2**64 - 1, runs[4]),
    ]
    assert projection.next_due() == 10


def test_a_page_goes_on_behind_a_run_that_has_changed_since() -> None:
    projection = Projection()
    runs = created(projection, [10, 10, 10, 11])
    page = projection.due(20, 2)
    sequence = projection.latest_sequence
    for number, run_id in enumerate(runs[:2], sequence + 1):
        projection.apply_event(aq.RunStateChanged(number, run_id, S.SCHEDULED, S.READY, 12))
    assert projection.due(20, 2, page[-1]) == [(10, runs[2]), (11, runs[3])]
    assert projection.run_ids("scheduled", after=runs[1]) == runs[2:]
    assert projection.run_ids("scheduled", 1, runs[1]) == [runs[2]]
    assert projection.run_ids("ready") == runs[:2]
    assert projection.run_ids(limit=3) == runs[:3]
    assert projection.run_ids(after=runs[0], limit=2) == runs[1:3]


def test_an_attempt_is_overdue_from_its_deadline_on() -> None:
    projection = Projection()
    [slow] = created(projection, [5], timeout=60)
    [free] = created(projection, [5])
    sequence = projection.latest_sequence
    for run_id in (slow, free):
        for before, after in ((S.SCHEDULED, S.READY), (S.READY, S.LEASED), (S.LEASED, S.RUNNING)):
            sequence += 1
            projection.apply_event(aq.RunStateChanged(sequence, run_id, before, after, 6))
        sequence += 1
        projection.apply_event(aq.AttemptStarted(sequence, run_id, AttemptId(), 100))
    assert projection.overdue_attempts(159, 5) == []
    assert projection.overdue_attempts(160, 5) == [(160, slow)]
    assert projection.next_deadline() == 160


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((-1, 1), "now"),
        ((2**64, 1), "now"),
        ((1, 0), "limit"),
        ((1, -1), "limit"),
        ((1, ROW_COUNT_MAX + 1), "limit"),
        ((1, 1, (1, RunId())), "after"),
        ((1, 1, (-1, RunId())), "after"),
    ],
)
def test_what_is_out_of_range_is_named(name: str, arguments: Any, field: str) -> None:
    projection = Projection()
    created(projection, [1])
    field = "until" if field == "now" and name == "expiring_leases" else field
    with pytest.raises(InvalidFieldError, match=rf"^{name}\.{field}: "):
        QUERIES[name](projection, *arguments)


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((None, 1), "now"),
        ((1.5, 1), "now"),
        ((True, 1), "now"),
        ((1, None), "limit"),
        ((1, "1"), "limit"),
        ((1, 1, 1), "after"),
        ((1, 1, RunId()), "after"),
        ((1, 1, ()), "after"),
        ((1, 1, ("1", RunId())), "after"),
        ((1, 1, (1, str(RunId()))), "after"),
    ],
)
def test_what_is_of_another_type_is_named(name: str, arguments: Any, field: str) -> None:
    projection = Projection()
    field = "until" if field == "now" and name == "expiring_leases" else field
    with pytest.raises(InvalidFieldTypeError, match=rf"^{name}\.{field}: "):
        QUERIES[name](projection, *arguments)


@pytest.mark.parametrize(
    ("keywords", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 1.0}, "limit"),
        ({"after": RunId()}, "after"),
        ({"after": 5}, "after"),
        ({"after": (1, RunId())}, "after"),
    ],
)
def test_run_ids_names_what_it_refuses(keywords: Any, field: str) -> None:
    for state in (None, "ready", "failed"):
        with pytest.raises(InvalidFieldError, match=rf"^run_ids\.{field}: "):
            Projection().run_ids(state, **keywords)


# --- In a queue -----------------------------------------------------------------------------------


def expected(model: Model, name: str) -> list[TimedRun]:
    found = []
    for run_id, run in model.runs.items():
        timeout = model.tasks[run["task_id"]]["spec"].constraints.timeout_secs
        if name == "due" and run["state"] in {"scheduled", "retry_wait"}:
            found.append((run["scheduled_at"], run_id))
        elif name == "expiring_leases" and run["lease"] is not None and run["state"] in CLOSING:
            found.append((run["lease"]["expiry"], run_id))
        elif name == "overdue_attempts" and run["current_attempt_id"] and timeout is not None:
            found.append((min(run["attempts"][-1]["started_at"] + timeout, U64_MAX), run_id))
    return sorted(found, key=lambda pair: pair[0])


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=40)
@given(st.integers(0, 2**32).map(Random), st.integers(1, 300), st.integers(1, 9))
def test_every_answer_is_that_of_a_sort(random: Random, length: int, limit: int) -> None:
    model, projection = Model(), Projection()
    for command in build_stream(random, length)[0]:
        try:
            event = event_of(command, validate(command, model))
        except ValidationError:
            continue
        model.apply_event(event)
        projection.apply_event(event)
        if random.random() < 0.2:
            for name, query in QUERIES.items():
                assert paged(query, projection, U64_MAX, limit) == expected(model, name)
            for state in RunState:
                assert projection.run_ids(state) == [
                    run_id for run_id, run in model.runs.items() if run["state"] == state
                ]


def test_a_queue_answers_the_same_after_it_was_opened_again(tmp_path: Path) -> None:
    """Whatever it came from: the log, or a snapshot."""
    task = TaskSpec(payload=b"x")
    runs = [
        RunInstance.scheduled(task.id, scheduled_at=100 - number, created_at=1)
        for number in range(50)
    ]
    answers = []

    def note(queue: aq.ActionQueue) -> None:
        projection = queue.projection
        answers.append(
            (projection.due(80, 10), projection.next_due(), projection.run_ids("scheduled"))
        )
        answers.append((projection.expiring_leases(500, 10), projection.next_lease_expiry()))

    with aq.open(tmp_path / "queue") as queue:
        queue.submit(TaskCreateCommand(None, task, 1))
        assert queue.projection.next_due() is None
        for run in runs:
            queue.submit(RunCreateCommand(None, run), "deferred")
        for run in runs[:3]:
            queue.submit(
                RunStateTransitionCommand(None, run.id, S.SCHEDULED, S.READY, timestamp=200)
            )
            queue.submit(LeaseAcquireCommand(None, run.id, "worker", 300, 201))
        queue.submit(RunRescheduleCommand(None, runs[9].id, 7, 0, 202))
        note(queue)
    with aq.open(tmp_path / "queue") as queue:
        note(queue)
        queue.snapshot()
        queue.compact()
        note(queue)
    with aq.open(tmp_path / "queue") as queue:
        note(queue)
    with aq.open(tmp_path / "queue", readonly=True) as reader:
        note(reader)
    assert answers[::2] == [answers[0]] * 5
    assert answers[1::2] == [answers[1]] * 5
    assert answers[0][1] == 7
    assert answers[1][1] == 300
