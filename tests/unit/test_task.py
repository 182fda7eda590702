"""Tasks and run policies: defaults, and what their constructors refuse."""

import pickle

import pytest

from actionqueue import (
    ConcurrencyKeyHoldPolicy,
    Cron,
    Once,
    Repeat,
    RunId,
    RunPolicy,
    SafetyLevel,
    TaskConstraints,
    TaskId,
    TaskMetadata,
    TaskPayload,
    TaskSpec,
    TenantId,
)
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError


def refused(make, type_name, field):
    with pytest.raises(InvalidFieldError) as caught:
        make()
    assert (caught.value.type_name, caught.value.field) == (type_name, field)
    return caught.value


def test_a_payload_is_enough():
    task = TaskSpec(payload=b"work")
    assert task.payload == TaskPayload(b"work")
    assert task.payload.content_type is None
    assert task.run_policy == Once()
    assert task.constraints == TaskConstraints(1, None, None, "hold_during_retry", "pure", None)
    assert task.metadata == TaskMetadata((), 0, None)
    assert (task.parent_task_id, task.tenant_id) == (None, None)
    assert task.id != TaskSpec(payload=b"work").id
    assert not task.id.is_nil


def test_every_field():
    identifier, parent, tenant = TaskId(), TaskId(), TenantId()
    payload = TaskPayload(b"{}", "application/json")
    constraints = TaskConstraints(
        max_attempts=3,
        timeout_secs=60,
        concurrency_key="key",
        concurrency_key_hold_policy="release_on_retry",
        safety_level="transactional",
        required_capabilities=["gpu"],
    )
    metadata = TaskMetadata(["a", "ü"], -5, "text")
    task = TaskSpec(identifier, payload, Repeat(2, 30), constraints, metadata, parent, tenant)
    assert task == TaskSpec(
        id=identifier,
        payload=payload,
        run_policy=Repeat(count=2, interval_secs=30),
        constraints=constraints,
        metadata=metadata,
        parent_task_id=parent,
        tenant_id=tenant,
    )
    assert task.constraints.concurrency_key_hold_policy is ConcurrencyKeyHoldPolicy.RELEASE_ON_RETRY
    assert task.constraints.safety_level is SafetyLevel.TRANSACTIONAL
    assert task.constraints.required_capabilities == ("gpu",)
    assert task.metadata.tags == ("a", "ü")
    assert pickle.loads(pickle.dumps(task)) == task
    assert hash(task) == hash(pickle.loads(pickle.dumps(task)))


def test_bytes_stand_for_a_payload():
    source = bytearray(b"abc")
    for value in (b"abc", source, memoryview(source)):
        assert TaskSpec(payload=value).payload == TaskPayload(b"abc")


@pytest.mark.parametrize("payload", [None, "text", 5, [1]])
def test_a_payload_is_needed(payload):
    with pytest.raises(InvalidFieldTypeError) as caught:
        TaskSpec(payload=payload)
    assert (caught.value.type_name, caught.value.field) == ("TaskSpec", "payload")
    with pytest.raises(InvalidFieldTypeError):
        TaskSpec()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": TaskId(bytes(16))}, "id"),
        ({"id": RunId()}, "id"),
        ({"id": None}, "id"),
        ({"run_policy": "once"}, "run_policy"),
        ({"run_policy": Once}, "run_policy"),
        ({"constraints": None}, "constraints"),
        ({"constraints": {}}, "constraints"),
        ({"metadata": TaskConstraints()}, "metadata"),
        ({"parent_task_id": "0" * 32}, "parent_task_id"),
        ({"tenant_id": TaskId()}, "tenant_id"),
    ],
)
def test_refusals_of_a_task(changes, field):
    refused(lambda: TaskSpec(**{"payload": b""} | changes), "TaskSpec", field)


def test_a_nil_parent_is_no_business_of_the_task():
    assert TaskSpec(payload=b"", parent_task_id=TaskId(bytes(16))).parent_task_id.is_nil


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 2**32}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
        ({"timeout_secs": 0}, "timeout_secs"),
        ({"timeout_secs": 1.5}, "timeout_secs"),
        ({"concurrency_key": ""}, "concurrency_key"),
        ({"concurrency_key": "\ud800"}, "concurrency_key"),
        ({"concurrency_key_hold_policy": "hold"}, "concurrency_key_hold_policy"),
        ({"concurrency_key_hold_policy": None}, "concurrency_key_hold_policy"),
        ({"safety_level": "unsafe"}, "safety_level"),
        ({"required_capabilities": []}, "required_capabilities"),
        ({"required_capabilities": ["gpu", ""]}, "required_capabilities"),
        ({"required_capabilities": "gpu"}, "required_capabilities"),
    ],
)
def test_refusals_of_constraints(changes, field):
    refused(lambda: TaskConstraints(**changes), "TaskConstraints", field)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tags": "ab"}, "tags"),
        ({"tags": [1]}, "tags"),
        ({"priority": 2**31}, "priority"),
        ({"priority": -(2**31) - 1}, "priority"),
        ({"priority": 0.5}, "priority"),
        ({"description": b"x"}, "description"),
    ],
)
def test_refusals_of_metadata(changes, field):
    refused(lambda: TaskMetadata(**changes), "TaskMetadata", field)


def test_refusals_of_a_payload():
    refused(lambda: TaskPayload("text"), "TaskPayload", "data")
    refused(lambda: TaskPayload(b"", 5), "TaskPayload", "content_type")


def test_run_policies():
    assert Repeat(1, 1) == Repeat(count=1, interval_secs=1)
    assert Repeat(2**32 - 1, 2**64 - 1).count == 2**32 - 1
    assert Cron("@daily") == Cron("@daily", None)
    assert Cron("@daily", 1).max_occurrences == 1
    with pytest.raises(TypeError, match="abstract"):
        RunPolicy()
    refused(lambda: Repeat(0, 1), "Repeat", "count")
    refused(lambda: Repeat(2**32, 1), "Repeat", "count")
    refused(lambda: Repeat(1, 0), "Repeat", "interval_secs")
    refused(lambda: Repeat(1, 2**64), "Repeat", "interval_secs")
    refused(lambda: Cron("@daily", 0), "Cron", "max_occurrences")
    refused(lambda: Cron("@daily", 2**32), "Cron", "max_occurrences")
    refused(lambda: Cron(""), "Cron", "expression")
    refused(lambda: Cron(5), "Cron", "expression")
    error = refused(lambda: Cron("* * * * * 0"), "Cron", "expression")
    assert error.value == "* * * * * 0"
    assert "weekday" in error.reason
