"""Subscriptions, actors, tenants, roles, capabilities and ledger entries."""

import pickle

import pytest

from actionqueue import (
    ActorId,
    ActorRegistration,
    BudgetDimension,
    BudgetThresholdFilter,
    Capability,
    CustomFilter,
    DepartmentId,
    EventFilter,
    LedgerEntry,
    LedgerEntryId,
    Role,
    RunState,
    RunStateChangedFilter,
    TaskCompletedFilter,
    TaskId,
    TenantId,
    TenantRegistration,
)
from actionqueue.errors import InvalidFieldError

TASK, ACTOR, TENANT, ENTRY = TaskId(), ActorId(), TenantId(), LedgerEntryId()


def refused(make, type_name, field):
    with pytest.raises(InvalidFieldError) as caught:
        make()
    assert (caught.value.type_name, caught.value.field) == (type_name, field)


def test_filters():
    assert EventFilter.task_completed(TASK) == TaskCompletedFilter(TASK)
    assert EventFilter.run_state_changed(TASK, "ready") == RunStateChangedFilter(
        TASK, RunState.READY
    )
    assert EventFilter.budget_threshold(TASK, "token", 100) == BudgetThresholdFilter(
        TASK, BudgetDimension.TOKEN, 100
    )
    assert EventFilter.custom("") == CustomFilter("")
    assert EventFilter.task_completed(TASK) != EventFilter.run_state_changed(TASK, "ready")


def test_refusals_of_filters():
    with pytest.raises(TypeError, match="abstract"):
        EventFilter()
    refused(lambda: EventFilter.task_completed(None), "TaskCompletedFilter", "task_id")
    refused(
        lambda: EventFilter.run_state_changed(TASK, "walking"), "RunStateChangedFilter", "state"
    )
    refused(
        lambda: EventFilter.budget_threshold(TASK, "money", 1), "BudgetThresholdFilter", "dimension"
    )
    for percent in (101, -1, 255, 50.0):
        refused(
            lambda percent=percent: EventFilter.budget_threshold(TASK, "token", percent),
            "BudgetThresholdFilter",
            "threshold_pct",
        )
    refused(lambda: EventFilter.custom(None), "CustomFilter", "key")


def test_registrations():
    actor = ActorRegistration(ACTOR, "vessel", ["compute", "ü"], 30)
    assert actor.capabilities == ("compute", "ü")
    assert (actor.department, actor.tenant_id) == (None, None)
    assert ActorRegistration(ACTOR, "v", ["c"], 1, "ops", TENANT).department == DepartmentId("ops")
    assert ActorRegistration(ACTOR, "v", ["c"], 1, DepartmentId("ops")).department.value == "ops"
    assert TenantRegistration(TENANT, "acme").name == "acme"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"actor_id": TENANT}, "actor_id"),
        ({"identity": ""}, "identity"),
        ({"capabilities": []}, "capabilities"),
        ({"capabilities": ["a", ""]}, "capabilities"),
        ({"capabilities": "a"}, "capabilities"),
        ({"heartbeat_interval_secs": 0}, "heartbeat_interval_secs"),
        ({"department": 5}, "department"),
        ({"tenant_id": ACTOR}, "tenant_id"),
    ],
)
def test_refusals_of_an_actor(changes, field):
    values = {
        "actor_id": ACTOR,
        "identity": "v",
        "capabilities": ["c"],
        "heartbeat_interval_secs": 30,
    }
    refused(lambda: ActorRegistration(**values | changes), "ActorRegistration", field)


def test_departments():
    assert str(DepartmentId("ops")) == "ops"
    assert DepartmentId("é" * 64).value == "é" * 64
    for value in ("", "a" * 129, "é" * 64 + "a", None, b"ops"):
        refused(lambda value=value: DepartmentId(value), "DepartmentId", "value")
    refused(lambda: ActorRegistration(ACTOR, "v", ["c"], 1, ""), "DepartmentId", "value")


def test_refusals_of_a_tenant():
    refused(lambda: TenantRegistration(TENANT, ""), "TenantRegistration", "name")
    refused(lambda: TenantRegistration(ACTOR, "acme"), "TenantRegistration", "tenant_id")


@pytest.mark.parametrize("cls", [Role, Capability])
def test_fixed_names(cls):
    for name in cls.NAMES[:-1]:
        member = getattr(cls, name.upper())
        assert member == cls(name)
        assert (member.name, member.text) == (name, None)
        assert pickle.loads(pickle.dumps(member)) == member
    assert cls.NAMES[-1] == "custom"


def test_the_order_of_the_names_is_that_of_the_specification():
    assert Role.NAMES == ("operator", "auditor", "gatekeeper", "custom")
    assert Capability.NAMES == (
        "can_submit",
        "can_execute",
        "can_review",
        "can_approve",
        "can_cancel",
        "custom",
    )


@pytest.mark.parametrize("cls", [Role, Capability])
def test_custom_names(cls):
    own = cls.custom("own")
    assert (own.name, own.text) == ("custom", "own")
    assert own == cls("custom", "own")
    assert own not in [
        cls.custom("other"),
        Role.custom("own") if cls is Capability else Capability.custom("own"),
    ]
    name = cls.__name__
    refused(lambda: cls.custom(""), name, "text")
    refused(lambda: cls("custom", ""), name, "text")
    refused(lambda: cls("custom"), name, "text")
    refused(lambda: cls(cls.NAMES[0], "own"), name, "text")
    refused(lambda: cls("emperor"), name, "name")
    refused(lambda: cls(""), name, "name")
    refused(lambda: cls.custom(5), name, "text")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("entry_id", TENANT),
        ("tenant_id", ENTRY),
        ("ledger_key", ""),
        ("ledger_key", None),
        ("actor_id", TENANT),
        ("payload", "text"),
        ("timestamp", -1),
    ],
)
def test_refusals_of_a_ledger_entry(field, value):
    values = {
        "entry_id": ENTRY,
        "tenant_id": TENANT,
        "ledger_key": "audit",
        "actor_id": None,
        "payload": b"",
        "timestamp": 1,
    }
    assert LedgerEntry(**values).actor_id is None
    refused(lambda: LedgerEntry(**values | {field: value}), "LedgerEntry", field)
