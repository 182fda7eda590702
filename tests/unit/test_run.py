"""Runs and the outcomes of attempts."""

import pickle

import pytest

from actionqueue import (
    AttemptId,
    AttemptOutcome,
    AttemptResultKind,
    RunId,
    RunInstance,
    RunState,
    TaskId,
    clock,
)
from actionqueue.errors import InvalidFieldError

TASK = TaskId()
NIL = bytes(16)


def refused(make, type_name, field):
    with pytest.raises(InvalidFieldError) as caught:
        make()
    assert (caught.value.type_name, caught.value.field) == (type_name, field)


def test_a_scheduled_run():
    run = RunInstance.scheduled(TASK, scheduled_at=200, created_at=100)
    assert run == RunInstance(run.id, TASK, RunState.SCHEDULED, None, 0, 100, 200, 0, 100)
    assert not run.id.is_nil
    identifier = RunId()
    assert RunInstance.scheduled(TASK, scheduled_at=1, created_at=2, id=identifier).id == identifier


def test_a_ready_run():
    run = RunInstance.ready(TASK, scheduled_at=100, created_at=100, effective_priority=-3)
    assert run == RunInstance(run.id, TASK, RunState.READY, None, 0, 100, 100, -3, 100)
    identifier = RunId()
    again = RunInstance.ready(
        TASK, scheduled_at=1, created_at=2, effective_priority=0, id=identifier
    )
    assert again.id == identifier
    refused(
        lambda: RunInstance.ready(TASK, scheduled_at=101, created_at=100, effective_priority=0),
        "RunInstance",
        "scheduled_at",
    )


def test_a_ready_run_of_the_projection_may_be_scheduled_for_later():
    assert RunInstance(RunId(), TASK, "ready", None, 0, 100, 200, 0, 150).scheduled_at == 200


@pytest.mark.parametrize("make", [RunInstance.scheduled, RunInstance.ready])
def test_nil_is_refused(make):
    more = {"effective_priority": 0} if make == RunInstance.ready else {}
    refused(
        lambda: make(TaskId(NIL), scheduled_at=1, created_at=1, **more), "RunInstance", "task_id"
    )
    refused(
        lambda: make(TASK, scheduled_at=1, created_at=1, id=RunId(NIL), **more), "RunInstance", "id"
    )


FIELDS = {
    "id": RunId(),
    "task_id": TASK,
    "state": RunState.RUNNING,
    "current_attempt_id": AttemptId(),
    "attempt_count": 3,
    "created_at": 1,
    "scheduled_at": 2,
    "effective_priority": -1,
    "last_state_change_at": 3,
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", TASK),
        ("id", RunId(NIL)),
        ("task_id", RunId()),
        ("task_id", TaskId(NIL)),
        ("state", "walking"),
        ("current_attempt_id", RunId()),
        ("attempt_count", 2**32),
        ("attempt_count", -1),
        ("created_at", 2**64),
        ("scheduled_at", -1),
        ("effective_priority", 2**31),
        ("last_state_change_at", 1.0),
    ],
)
def test_refusals_of_a_run(field, value):
    refused(lambda: RunInstance(**FIELDS | {field: value}), "RunInstance", field)


def test_a_run_can_be_pickled():
    run = RunInstance(**FIELDS)
    assert pickle.loads(pickle.dumps(run)) == run


@pytest.mark.parametrize("state", RunState)
def test_terminal_states(state):
    terminal = {RunState.COMPLETED, RunState.FAILED, RunState.CANCELED}
    assert state.is_terminal == (state in terminal)
    assert RunInstance(**FIELDS | {"state": state}).is_terminal == (state in terminal)


def test_outcomes():
    success, suspended = AttemptResultKind.SUCCESS, AttemptResultKind.SUSPENDED
    assert AttemptOutcome.success() == AttemptOutcome(success)
    assert AttemptOutcome.success(b"out") == AttemptOutcome("success", None, b"out")
    assert AttemptOutcome.suspended() == AttemptOutcome(suspended)
    assert AttemptOutcome.suspended(b"out") == AttemptOutcome("suspended", output=b"out")
    assert AttemptOutcome.failure("why") == AttemptOutcome("failure", "why")
    assert AttemptOutcome.timeout("") == AttemptOutcome("timeout", "")


def test_no_bytes_are_no_output():
    for made in (AttemptOutcome.success(b""), AttemptOutcome.suspended(bytearray())):
        assert made.output is None
    assert AttemptOutcome.success(b"") == AttemptOutcome.success()


@pytest.mark.parametrize(
    ("values", "field"),
    [
        (("success", "why"), "error"),
        (("success", ""), "error"),
        (("suspended", "why"), "error"),
        (("failure",), "error"),
        (("timeout", None), "error"),
        (("failure", "why", b"out"), "output"),
        (("timeout", "why", b""), "output"),
        (("won",), "result"),
        (("success", None, "text"), "output"),
        (("failure", b"why"), "error"),
        (("failure", "\udfff"), "error"),
    ],
)
def test_refusals_of_an_outcome(values, field):
    refused(lambda: AttemptOutcome(*values), "AttemptOutcome", field)


def test_the_clock_tells_whole_seconds(monkeypatch):
    monkeypatch.setattr(clock.time, "time", lambda: 1234.9)
    assert clock.now() == 1234
