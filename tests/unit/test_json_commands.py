"""The JSON form of commands: what it looks like, that it loses nothing, and what it refuses."""

import copy
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue import (
    ActorId,
    ActorRegistration,
    AttemptId,
    AttemptOutcome,
    Capability,
    Cron,
    EventFilter,
    LedgerEntry,
    LedgerEntryId,
    Repeat,
    Role,
    RunId,
    RunInstance,
    RunState,
    SubscriptionId,
    TaskConstraints,
    TaskId,
    TaskMetadata,
    TaskPayload,
    TaskSpec,
    TenantId,
    TenantRegistration,
)
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.json.commands import command_from_json, command_to_json
from tests.support import places
from tests.support.strategies import COMMANDS as COMMAND_STRATEGIES

VECTORS = sorted((places.DATA / "vectors").glob("*.jsonl"))


def number(last):
    return f"00000000-0000-0000-0000-0000000000{last:02x}"


TASK, RUN, ATTEMPT = TaskId(number(1)), RunId(number(2)), AttemptId(number(3))
ACTOR, TENANT, SUBSCRIPTION, ENTRY = (
    ActorId(number(4)),
    TenantId(number(5)),
    SubscriptionId(number(6)),
    LedgerEntryId(number(7)),
)
SPEC = {
    "id": number(1),
    "payload": "00ff",
    "content_type": None,
    "max_attempts": 1,
    "timeout_secs": None,
    "concurrency_key": None,
    "priority": 0,
    "tags": [],
    "description": None,
    "parent_task_id": None,
    "tenant_id": None,
    "repeat": None,
}
RUN_FORM = {
    "id": number(2),
    "task_id": number(1),
    "state": "scheduled",
    "scheduled_at": 8,
    "created_at": 7,
    "effective_priority": 0,
}
LEASE = {"run_id": number(2), "owner": "wörker", "expiry": 9}
EXAMPLES = [
    (
        aq.TaskCreateCommand(1, TaskSpec(TASK, b"\0\xff"), 5),
        {"type": "task_create", "task_spec": SPEC},
    ),
    (
        aq.TaskCreateCommand(
            1,
            TaskSpec(
                TASK,
                TaskPayload(b"", "text/plain"),
                Repeat(3, 60),
                TaskConstraints(2, 30, "key", "release_on_retry", "idempotent", ["gpu"]),
                TaskMetadata(["a", "ü"], -5, "text"),
                TaskId(number(8)),
                TENANT,
            ),
            5,
        ),
        {
            "type": "task_create",
            "task_spec": {
                "id": number(1),
                "payload": "",
                "content_type": "text/plain",
                "max_attempts": 2,
                "timeout_secs": 30,
                "concurrency_key": "key",
                "concurrency_key_hold_policy": "release_on_retry",
                "safety_level": "idempotent",
                "required_capabilities": ["gpu"],
                "priority": -5,
                "tags": ["a", "ü"],
                "description": "text",
                "parent_task_id": number(8),
                "tenant_id": number(5),
                "repeat": [3, 60],
            },
        },
    ),
    (
        aq.TaskCreateCommand(1, TaskSpec(TASK, b"\0\xff", Cron("@daily")), 5),
        {"type": "task_create", "task_spec": SPEC | {"cron": ["@daily", None]}},
    ),
    (
        aq.TaskCreateCommand(1, TaskSpec(TASK, b"\0\xff", Cron("0 0 9 * * MON *", 4)), 5),
        {"type": "task_create", "task_spec": SPEC | {"cron": ["0 0 9 * * MON *", 4]}},
    ),
    (
        aq.RunStateTransitionCommand(1, RUN, "ready", "leased", 5),
        {
            "type": "run_state_transition",
            "run_id": number(2),
            "previous_state": "ready",
            "new_state": "leased",
        },
    ),
    (
        aq.AttemptStartCommand(1, RUN, ATTEMPT, 5),
        {"type": "attempt_start", "run_id": number(2), "attempt_id": number(3)},
    ),
    (
        aq.AttemptFinishCommand(1, RUN, ATTEMPT, AttemptOutcome.success(b"\0\xff"), 5),
        {
            "type": "attempt_finish",
            "run_id": number(2),
            "attempt_id": number(3),
            "outcome": {"result": "success", "error": None, "output": "00ff"},
        },
    ),
    (
        aq.AttemptFinishCommand(1, RUN, ATTEMPT, AttemptOutcome.timeout("é"), 5),
        {
            "type": "attempt_finish",
            "run_id": number(2),
            "attempt_id": number(3),
            "outcome": {"result": "timeout", "error": "é", "output": None},
        },
    ),
    (aq.LeaseAcquireCommand(1, RUN, "wörker", 9, 5), {"type": "lease_acquire", **LEASE}),
    (aq.LeaseHeartbeatCommand(1, RUN, "wörker", 9, 5), {"type": "lease_heartbeat", **LEASE}),
    (aq.LeaseExpireCommand(1, RUN, "wörker", 9, 5), {"type": "lease_expire", **LEASE}),
    (aq.LeaseReleaseCommand(1, RUN, "wörker", 9, 5), {"type": "lease_release", **LEASE}),
    (aq.EnginePauseCommand(1, 5), {"type": "engine_pause"}),
    (aq.EngineResumeCommand(1, 5), {"type": "engine_resume"}),
    (aq.TaskCancelCommand(1, TASK, 5), {"type": "task_cancel", "task_id": number(1)}),
    (
        aq.DependencyDeclareCommand(1, TASK, [TaskId(number(8)), TASK], 5),
        {"type": "dependency_declare", "task_id": number(1), "depends_on": [number(8), number(1)]},
    ),
    (
        aq.RunSuspendCommand(1, RUN, "why", 5),
        {"type": "run_suspend", "run_id": number(2), "reason": "why"},
    ),
    (aq.RunResumeCommand(1, RUN, 5), {"type": "run_resume", "run_id": number(2)}),
    (
        aq.BudgetAllocateCommand(1, TASK, "token", 9, 5),
        {"type": "budget_allocate", "task_id": number(1), "dimension": "token", "limit": 9},
    ),
    (
        aq.BudgetConsumeCommand(1, TASK, "cost_cents", 9, 5),
        {"type": "budget_consume", "task_id": number(1), "dimension": "cost_cents", "amount": 9},
    ),
    (
        aq.BudgetReplenishCommand(1, TASK, "time_secs", 9, 5),
        {
            "type": "budget_replenish",
            "task_id": number(1),
            "dimension": "time_secs",
            "new_limit": 9,
        },
    ),
    *(
        (
            aq.SubscriptionCreateCommand(1, SUBSCRIPTION, TASK, made, 5),
            {
                "type": "subscription_create",
                "subscription_id": number(6),
                "task_id": number(1),
                "filter": form,
            },
        )
        for made, form in (
            (EventFilter.task_completed(TASK), {"type": "task_completed", "task_id": number(1)}),
            (
                EventFilter.run_state_changed(TASK, "failed"),
                {"type": "run_state_changed", "task_id": number(1), "state": "failed"},
            ),
            (
                EventFilter.budget_threshold(TASK, "token", 80),
                {
                    "type": "budget_threshold",
                    "task_id": number(1),
                    "dimension": "token",
                    "threshold_pct": 80,
                },
            ),
            (EventFilter.custom("evt"), {"type": "custom", "key": "evt"}),
        )
    ),
    (
        aq.SubscriptionCancelCommand(1, SUBSCRIPTION, 5),
        {"type": "subscription_cancel", "subscription_id": number(6)},
    ),
    (
        aq.SubscriptionTriggerCommand(1, SUBSCRIPTION, 5),
        {"type": "subscription_trigger", "subscription_id": number(6)},
    ),
    (
        aq.ActorRegisterCommand(
            1, ActorRegistration(ACTOR, "vessel", ["a", "ü"], 30, "ops", TENANT), 5
        ),
        {
            "type": "actor_register",
            "actor_id": number(4),
            "identity": "vessel",
            "capabilities": ["a", "ü"],
            "department": "ops",
            "heartbeat_interval_secs": 30,
            "tenant_id": number(5),
        },
    ),
    (aq.ActorDeregisterCommand(1, ACTOR, 5), {"type": "actor_deregister", "actor_id": number(4)}),
    (aq.ActorHeartbeatCommand(1, ACTOR, 5), {"type": "actor_heartbeat", "actor_id": number(4)}),
    (
        aq.TenantCreateCommand(1, TenantRegistration(TENANT, "acme"), 5),
        {"type": "tenant_create", "tenant_id": number(5), "name": "acme"},
    ),
    (
        aq.RoleAssignCommand(1, ACTOR, Role.GATEKEEPER, TENANT, 5),
        {
            "type": "role_assign",
            "actor_id": number(4),
            "role": "gatekeeper",
            "tenant_id": number(5),
        },
    ),
    (
        aq.RoleAssignCommand(1, ACTOR, Role.custom("x"), TENANT, 5),
        {
            "type": "role_assign",
            "actor_id": number(4),
            "role": {"custom": "x"},
            "tenant_id": number(5),
        },
    ),
    (
        aq.CapabilityGrantCommand(1, ACTOR, Capability.CAN_REVIEW, TENANT, 5),
        {
            "type": "capability_grant",
            "actor_id": number(4),
            "capability": "can_review",
            "tenant_id": number(5),
        },
    ),
    (
        aq.CapabilityRevokeCommand(1, ACTOR, Capability.custom("y"), TENANT, 5),
        {
            "type": "capability_revoke",
            "actor_id": number(4),
            "capability": {"custom": "y"},
            "tenant_id": number(5),
        },
    ),
    (
        aq.LedgerAppendCommand(1, LedgerEntry(ENTRY, TENANT, "audit", None, b"\1", 5), 5),
        {
            "type": "ledger_append",
            "entry_id": number(7),
            "tenant_id": number(5),
            "ledger_key": "audit",
            "actor_id": None,
            "payload": "01",
        },
    ),
    (
        aq.LedgerAppendCommand(1, LedgerEntry(ENTRY, TENANT, "audit", ACTOR, b"", 4), 5),
        {
            "type": "ledger_append",
            "entry_id": number(7),
            "tenant_id": number(5),
            "ledger_key": "audit",
            "actor_id": number(4),
            "payload": "",
            "entry_timestamp": 4,
        },
    ),
]
EXAMPLES = [(command, form | {"sequence": 1, "timestamp": 5}) for command, form in EXAMPLES]
EXAMPLES += [
    (
        aq.RunCreateCommand(1, RunInstance.scheduled(TASK, scheduled_at=8, created_at=7, id=RUN)),
        {"type": "run_create", "sequence": 1, "run": RUN_FORM},
    ),
    (
        aq.RunCreateCommand(
            None,
            RunInstance.ready(TASK, scheduled_at=7, created_at=7, effective_priority=-2, id=RUN),
        ),
        {
            "type": "run_create",
            "sequence": None,
            "run": RUN_FORM | {"state": "ready", "scheduled_at": 7, "effective_priority": -2},
        },
    ),
]
every_example = pytest.mark.parametrize(
    ("command", "form"),
    EXAMPLES,
    ids=[f"{index}-{form['type']}" for index, (_, form) in enumerate(EXAMPLES)],
)


def refused(form, field, *, wrong_type=None):
    before = copy.deepcopy(form)
    with pytest.raises(InvalidFieldError) as caught:
        command_from_json(form)
    assert caught.value.field == field
    if wrong_type is not None:
        assert isinstance(caught.value, InvalidFieldTypeError) == wrong_type
    assert form == before
    return caught.value


PLAIN = {
    aq.TaskId: str,
    aq.RunId: str,
    aq.AttemptId: str,
    int: int,
    str: str,
    type(None): lambda _: None,
}
"""How a value that is no object in JSON is written."""
WITH_EXAMPLES = {type(command) for command, _ in EXAMPLES}


def test_the_other_commands_have_the_form_of_their_fields():
    for cls in COMMAND_STRATEGIES.keys() - WITH_EXAMPLES:
        check_plain_form(cls)


def check_plain_form(cls):
    @given(COMMAND_STRATEGIES[cls])
    def check(command):
        fields = msgspec.structs.asdict(command)
        plain = {name: PLAIN[type(value)](value) for name, value in fields.items()}
        assert command_to_json(command) == {"type": cls.tells.name} | plain

    check()


@every_example
def test_the_form(command, form):
    assert command_to_json(command) == form
    before = copy.deepcopy(form)
    assert command_from_json(form) == command
    assert form == before


@every_example
def test_a_missing_key_is_null_or_refused(command, form):
    for key in form:
        if key == "durability":
            continue
        without = {name: value for name, value in form.items() if name != key}
        if form[key] is None or key in (
            "sequence",
            "entry_timestamp",
            "department",
            "tenant_id",
            "actor_id",
            "reason",
        ):
            try:
                made = command_from_json(without)
            except InvalidFieldError as error:
                assert error.field == key
            else:
                assert made == command_from_json(without | {key: None})
        elif key == "timestamp" and isinstance(command, aq.RunCreateCommand):
            assert command_from_json(without) == command
        else:
            refused(without, key)
            refused(form | {key: None}, key)


@every_example
def test_an_unknown_key_is_refused(command, form):
    assert "not a key" in refused(form | {"no_such_key": 1}, "no_such_key").reason
    for key, value in form.items():
        if isinstance(value, dict):
            refused(form | {key: value | {"no_such_key": 1}}, "no_such_key")


@every_example
def test_values_of_another_type_are_refused(command, form):
    for key in form:
        for value in ({"a": 1}, 1.5, True, [[]]):
            with pytest.raises(InvalidFieldError):
                command_from_json(form | {key: value})


@every_example
def test_durability_is_left_to_the_caller(command, form):
    assert command_from_json(form | {"durability": "immediate"}) == command


@pytest.mark.parametrize("strategy", COMMAND_STRATEGIES.values(), ids=lambda strategy: "")
@given(data=st.data())
def test_any_command_survives_the_way_there_and_back(strategy, data):
    command = data.draw(strategy)
    try:
        form = command_to_json(command)
    except InvalidFieldError as error:  # only a run with a past has no form
        assert error.type_name == "run_create.run"
        return
    assert command_from_json(json.loads(json.dumps(form))) == command
    assert command_from_json(msgspec.json.decode(msgspec.json.encode(form))) == command


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_streams_of_the_oracle(path):
    for line in path.read_text("utf-8").splitlines():
        form = json.loads(line)["command"]
        written = command_to_json(command_from_json(form))
        if form["type"] == "run_create":
            del form["timestamp"]
        if form["type"] == "ledger_append":
            form.setdefault("actor_id", None)
        assert written == form


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [None, [], "task_cancel", 5])
def test_a_command_is_an_object(data):
    with pytest.raises(InvalidFieldTypeError):
        command_from_json(data)


@pytest.mark.parametrize("name", ["", "no_such_command", "TaskCancel", 5, ["task_cancel"], {}])
def test_unknown_types_are_refused(name):
    refused({"type": name, "timestamp": 1}, "type")
    refused({"timestamp": 1}, "type")


@pytest.mark.parametrize("text", ["", "0", "x" * 32, number(1) + "0", f" {number(1)}"])
def test_malformed_identifiers_name_their_key(text):
    error = refused(
        {"type": "task_cancel", "task_id": text, "timestamp": 1}, "task_id", wrong_type=False
    )
    assert (error.type_name, error.value) == ("task_cancel", text)
    refused({"type": "task_cancel", "task_id": 5, "timestamp": 1}, "task_id", wrong_type=True)
    for wanted in ([text], [number(1), text]):
        refused(
            {
                "type": "dependency_declare",
                "task_id": number(1),
                "depends_on": wanted,
                "timestamp": 1,
            },
            "depends_on",
        )


@pytest.mark.parametrize("text", ["0", "0g", "00 ff", "é", "0x00", "\udc80\udc80", " 00"])
def test_malformed_bytes_are_refused(text):
    refused(
        {"type": "task_create", "task_spec": SPEC | {"payload": text}, "timestamp": 1},
        "payload",
        wrong_type=False,
    )


def test_upper_case_is_fine():
    form = {"type": "task_create", "task_spec": SPEC | {"payload": "00FF"}, "timestamp": 1}
    assert command_from_json(form).task_spec.payload.data == b"\0\xff"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"repeat": [3]}, "repeat"),
        ({"repeat": 3}, "repeat"),
        ({"repeat": [0, 1]}, "count"),
        ({"repeat": [1, 0]}, "interval_secs"),
        ({"repeat": [1, 1], "cron": ["@daily", None]}, "cron"),
        ({"cron": "@daily"}, "cron"),
        ({"cron": ["@daily"]}, "cron"),
        ({"cron": ["@never", None]}, "expression"),
        ({"cron": ["@daily", 0]}, "max_occurrences"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"safety_level": "unsafe"}, "safety_level"),
        ({"required_capabilities": []}, "required_capabilities"),
        ({"id": number(0)}, "id"),
        ({"tags": "ab"}, "tags"),
    ],
)
def test_refusals_of_a_task(changes, field):
    refused({"type": "task_create", "task_spec": SPEC | changes, "timestamp": 1}, field)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"state": "running"}, "state"),
        ({"state": 5}, "state"),
        ({"state": None}, "state"),
        ({"id": number(0)}, "id"),
        ({"task_id": number(0)}, "task_id"),
        ({"state": "ready"}, "scheduled_at"),
        ({"created_at": -1}, "created_at"),
    ],
)
def test_refusals_of_a_run(changes, field):
    refused({"type": "run_create", "run": RUN_FORM | changes}, field)


def test_what_is_ignored_in_a_run():
    form = {
        "type": "run_create",
        "timestamp": "whatever",
        "run": RUN_FORM | {"effective_priority": "whatever"},
    }
    assert command_from_json(form).run_instance.effective_priority == 0
    ready = {
        "type": "run_create",
        "run": RUN_FORM | {"state": "ready", "scheduled_at": 7, "effective_priority": None},
    }
    assert command_from_json(ready).run_instance.effective_priority == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"state": RunState.RUNNING},
        {"current_attempt_id": ATTEMPT},
        {"attempt_count": 1},
        {"last_state_change_at": 8},
        {"effective_priority": 1},
        {"state": RunState.READY},
    ],
)
def test_a_run_with_a_past_has_no_form(changes):
    run = msgspec.structs.replace(
        RunInstance.scheduled(TASK, scheduled_at=8, created_at=7), **changes
    )
    with pytest.raises(InvalidFieldError) as caught:
        command_to_json(aq.RunCreateCommand(1, run))
    expected = "scheduled_at" if changes == {"state": RunState.READY} else next(iter(changes))
    assert caught.value.field == expected


@pytest.mark.parametrize(
    "role", ["custom", "emperor", {"custom": ""}, {"custom": "x", "name": "y"}, {}, 5, {"x": "y"}]
)
def test_refusals_of_a_role(role):
    form = {
        "type": "role_assign",
        "actor_id": number(4),
        "role": role,
        "tenant_id": number(5),
        "timestamp": 1,
    }
    with pytest.raises(InvalidFieldError):
        command_from_json(form)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ("custom", "value"),
        ({}, "type"),
        ({"type": "no_such_filter"}, "type"),
        ({"type": "custom"}, "key"),
        ({"type": "custom", "key": "x", "task_id": number(1)}, "task_id"),
        ({"type": "task_completed", "task_id": 5}, "task_id"),
        (
            {
                "type": "budget_threshold",
                "task_id": number(1),
                "dimension": "token",
                "threshold_pct": 101,
            },
            "threshold_pct",
        ),
    ],
)
def test_refusals_of_a_filter(form, field):
    refused(
        {
            "type": "subscription_create",
            "subscription_id": number(6),
            "task_id": number(1),
            "filter": form,
            "timestamp": 1,
        },
        field,
    )


def test_only_commands_have_a_form():
    with pytest.raises(InvalidFieldTypeError):
        command_to_json(TaskSpec(payload=b""))
