"""Python events ↔ payload bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import actionqueue as aq
from _wal_native.events import (
    capability_from_bytes,
    capability_to_bytes,
    decode_event,
    encode_event,
    filter_from_bytes,
    registration_from_bytes,
    role_from_bytes,
    task_spec_from_bytes,
)
from actionqueue import (
    ActorId,
    ActorRegistration,
    AttemptId,
    AttemptResultKind,
    BudgetDimension,
    Capability,
    Cron,
    DepartmentId,
    EventFilter,
    LedgerEntryId,
    Once,
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
)
from actionqueue.errors import MalformedEventError, RecordTooLarge
from actionqueue.limits import LIST_COUNT_MAX, PAYLOAD_SIZE_MAX, TEXT_SIZE_MAX
from tests.support import payload_model as model
from tests.support import places
from tests.support.strategies import (
    EVENTS,
    capabilities,
    event_filters,
    registrations,
    roles,
    task_specs,
)

GOLDEN = json.loads((places.DATA / "golden-payloads.json").read_text("utf-8"))
KINDS = {name: kind for kind in EVENTS for name in [kind.kind.name.lower()]}

# --- The golden events, built by hand from their readable form ------------------------------------

ID_TYPES = {
    "task_id": TaskId,
    "run_id": RunId,
    "attempt_id": AttemptId,
    "subscription_id": SubscriptionId,
    "actor_id": ActorId,
    "tenant_id": TenantId,
    "entry_id": LedgerEntryId,
}
VALUE_NAMES = {
    "budget_allocated": "limit",
    "budget_consumed": "amount",
    "budget_replenished": "new_limit",
}


def optional(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)


def spec_of(task_id: TaskId, source: dict[str, Any]) -> TaskSpec:
    policy, *arguments = source["policy"]
    return TaskSpec(
        id=task_id,
        payload=TaskPayload(
            data=bytes.fromhex(source["payload"]), content_type=source["content_type"]
        ),
        run_policy={"once": Once, "repeat": Repeat, "cron": Cron}[policy](*arguments),
        constraints=TaskConstraints(
            max_attempts=source["max_attempts"],
            timeout_secs=source["timeout_secs"],
            concurrency_key=source["concurrency_key"],
            concurrency_key_hold_policy=source["hold_policy"],
            safety_level=source["safety_level"],
            required_capabilities=source["required_capabilities"],
        ),
        metadata=TaskMetadata(
            tags=source["tags"], priority=source["priority"], description=source["description"]
        ),
        parent_task_id=optional(TaskId, source["parent_task_id"]),
        tenant_id=optional(TenantId, source["tenant_id"]),
    )


def filter_of(source: dict[str, Any]) -> EventFilter:
    arguments = [
        TaskId(value) if name == "task_id" else value
        for name, value in source.items()
        if name != "kind"
    ]
    built: EventFilter = getattr(EventFilter, source["kind"])(*arguments)
    return built


def named_of(cls: type[Role | Capability], source: dict[str, Any]) -> Any:
    return (
        cls.custom(source["text"])
        if source["name"] == "custom"
        else getattr(cls, source["name"].upper())
    )


def event_of(source: dict[str, Any], sequence: int) -> aq.Event:
    """Build the Python event for an event of the model."""
    fields: dict[str, Any] = {"sequence": sequence}
    for name, value in source.items():
        if name in ID_TYPES:
            fields[name] = optional(ID_TYPES[name], value)
        elif name != "kind":
            fields[name] = value
    match source["kind"]:
        case "task_created":
            fields["task_spec"] = spec_of(fields.pop("task_id"), fields.pop("spec"))
        case "run_created":
            run = {
                "id": fields.pop("run_id"),
                "state": RunState.SCHEDULED,
                "current_attempt_id": None,
            }
            run |= {name: fields.pop(name) for name in list(fields) if name != "sequence"}
            fields["run_instance"] = RunInstance(
                attempt_count=0, last_state_change_at=run["created_at"], **run
            )
        case "run_state_changed":
            fields["previous_state"], fields["new_state"] = map(RunState, fields.pop("states"))
        case "attempt_finished":
            outcome = fields.pop("outcome")
            fields |= outcome | {
                "result": AttemptResultKind(outcome["result"]),
                "output": optional(bytes.fromhex, outcome["output"]),
            }
        case "runs_purged":
            fields["run_ids"] = tuple(map(RunId, fields["run_ids"]))
            fields["task_ids"] = tuple(map(TaskId, fields["task_ids"]))
            fields["subscription_ids"] = tuple(map(SubscriptionId, fields["subscription_ids"]))
            fields["actor_ids"] = tuple(map(ActorId, fields["actor_ids"]))
            fields["ledger_entries"] = fields.pop("ledger_count")
            fields["tombstones"] = fields.pop("tombstone_count")
        case "dependency_declared":
            fields["depends_on"] = tuple(map(TaskId, fields["depends_on"]))
        case "budget_allocated" | "budget_consumed" | "budget_replenished":
            fields[VALUE_NAMES[source["kind"]]] = fields.pop("value")
        case "subscription_created":
            fields["filter"] = filter_of(fields["filter"])
        case "actor_registered":
            fields |= fields.pop("registration")
            fields |= {
                "capabilities": tuple(fields["capabilities"]),
                "tenant_id": optional(TenantId, fields["tenant_id"]),
            }
        case "role_assigned":
            fields["role"] = named_of(Role, fields["role"])
        case "capability_granted" | "capability_revoked":
            fields["capability"] = named_of(Capability, fields["capability"])
        case "ledger_entry_appended":
            fields["payload"] = bytes.fromhex(fields["payload"])
    if "dimension" in fields:
        fields["dimension"] = BudgetDimension(fields["dimension"])
    return KINDS[source["kind"]](**fields)


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["name"])
def test_golden_bytes_are_the_events_that_they_say(entry: dict[str, Any]) -> None:
    event, payload = event_of(entry["event"], 7), bytes.fromhex(entry["payload"])
    assert encode_event(event) == payload
    assert decode_event(event.kind, 7, payload) == event


# --- Round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@given(st.data())
def test_every_event_comes_back(kind: type[aq.Event], data: st.DataObject) -> None:
    event = data.draw(EVENTS[kind])
    decoded = decode_event(event.kind, event.sequence, encode_event(event))
    assert type(decoded) is kind
    assert decoded == event


def test_every_kind_has_a_strategy() -> None:
    assert {kind.kind for kind in EVENTS} == set(aq.EventKind)


@given(task_specs, event_filters, registrations, roles, capabilities)
def test_the_parts_that_the_table_keeps_come_back(
    spec: TaskSpec,
    event_filter: EventFilter,
    registration: ActorRegistration,
    role: Role,
    capability: Capability,
) -> None:
    actor_id, tenant_id, task_id = registration.actor_id, TenantId(), TaskId()
    fixed = 16 + 1  # an identifier and the time 0
    assert task_spec_from_bytes(spec.id, encode_event(aq.TaskCreated(1, spec, 0))[fixed:]) == spec
    created = encode_event(aq.SubscriptionCreated(1, SubscriptionId(), task_id, event_filter, 0))
    assert filter_from_bytes(created[16 + fixed :]) == event_filter
    department = None if registration.department is None else registration.department.value
    registered = aq.ActorRegistered(
        1,
        actor_id,
        registration.identity,
        registration.capabilities,
        department,
        registration.heartbeat_interval_secs,
        registration.tenant_id,
        0,
    )
    assert registration_from_bytes(actor_id, encode_event(registered)[fixed:]) == registration
    assert (
        role_from_bytes(
            encode_event(aq.RoleAssigned(1, actor_id, role, tenant_id, 0))[16 + fixed :]
        )
        == role
    )
    assert capability_from_bytes(capability_to_bytes(capability)) == capability
    granted = encode_event(aq.CapabilityGranted(1, actor_id, capability, tenant_id, 0))
    assert capability_to_bytes(capability) == granted[16 + fixed :]


def test_a_department_is_a_department_again() -> None:
    source = {
        "identity": "a",
        "capabilities": ["b"],
        "department": "research",
        "heartbeat_interval_secs": 1,
        "tenant_id": None,
    }
    registration = registration_from_bytes(ActorId(), model.registration(source))
    assert registration.department == DepartmentId("research")


def test_empty_output_is_none() -> None:
    event = aq.AttemptFinished(1, RunId(), AttemptId(), AttemptResultKind.SUCCESS, None, b"", 0)
    decoded = decode_event(event.kind, 1, encode_event(event))
    assert isinstance(decoded, aq.AttemptFinished)
    assert decoded.output is None


# --- Bytes that do not decode ---------------------------------------------------------------------


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["name"])
def test_a_damaged_payload_is_refused_with_its_kind_and_sequence(entry: dict[str, Any]) -> None:
    kind, payload = model.kind_code(entry["event"]), bytes.fromhex(entry["payload"])
    for damaged in (payload[:-1], payload + b"\0", b""):
        with pytest.raises(MalformedEventError) as refused:
            decode_event(kind, 9, damaged)
        assert (refused.value.kind, refused.value.sequence) == (kind, 9)


@pytest.mark.parametrize("kind", [-1, 0, max(aq.EventKind) + 1, 256, 2**31 - 1])
def test_an_unknown_kind_is_refused(kind: int) -> None:
    with pytest.raises(MalformedEventError) as refused:
        decode_event(kind, 1, b"\0")
    assert refused.value.kind == kind


@pytest.mark.parametrize(
    "decode",
    [
        lambda data: task_spec_from_bytes(TaskId(), data),
        filter_from_bytes,
        lambda data: registration_from_bytes(ActorId(), data),
        role_from_bytes,
        capability_from_bytes,
    ],
)
@pytest.mark.parametrize("data", [b"", b"\xff", bytes(100)])
def test_a_nested_part_that_does_not_decode_is_refused(
    decode: Callable[[bytes], object], data: bytes
) -> None:
    with pytest.raises(MalformedEventError):
        decode(data)


def test_an_invalid_cron_expression_in_the_log_is_malformed() -> None:
    source = next(
        entry["event"]
        for entry in GOLDEN
        if entry["event"].get("spec", {}).get("policy", [""])[0] == "cron"
    )
    source = source | {"spec": source["spec"] | {"policy": ["cron", "every now and then", None]}}
    with pytest.raises(MalformedEventError) as refused:
        decode_event(aq.EventKind.TASK_CREATED, 3, model.encode(source))
    assert (refused.value.kind, refused.value.sequence) == (1, 3)
    with pytest.raises(MalformedEventError):
        task_spec_from_bytes(TaskId(), model.task_spec(source["spec"]))


# --- Events that no payload can hold --------------------------------------------------------------


def task_created(**spec: Any) -> aq.TaskCreated:
    return aq.TaskCreated(1, TaskSpec(**{"payload": b""} | spec), 0)


def test_a_payload_may_be_as_large_as_its_limit_and_no_larger() -> None:
    around = len(encode_event(task_created())) - 1 + 4  # the size field of so many bytes takes 4
    largest = task_created(payload=bytes(PAYLOAD_SIZE_MAX - around))
    assert decode_event(largest.kind, 1, encode_event(largest)) == largest
    with pytest.raises(RecordTooLarge) as refused:
        encode_event(task_created(payload=bytes(PAYLOAD_SIZE_MAX - around + 1)))
    assert (refused.value.size, refused.value.limit) == (PAYLOAD_SIZE_MAX + 1, PAYLOAD_SIZE_MAX)


def test_every_kind_with_bytes_of_any_size_is_bounded() -> None:
    too_large = bytes(PAYLOAD_SIZE_MAX - 10)
    finished = aq.AttemptFinished(
        1, RunId(), AttemptId(), AttemptResultKind.SUSPENDED, None, too_large, 0
    )
    entry = aq.LedgerEntryAppended(1, LedgerEntryId(), TenantId(), "key", None, too_large, 0)
    texts = ("x" * TEXT_SIZE_MAX,) * 17
    registered = aq.ActorRegistered(1, ActorId(), "a", texts, None, 1, None, 0)
    largest = task_created(payload=bytes(PAYLOAD_SIZE_MAX))
    tagged = task_created(metadata=TaskMetadata(tags=texts))
    for event in (finished, entry, registered, largest, tagged):
        with pytest.raises(RecordTooLarge) as refused:
            encode_event(event)
        assert refused.value.size > refused.value.limit == PAYLOAD_SIZE_MAX


def test_a_text_over_its_limit_is_too_large() -> None:
    with pytest.raises(RecordTooLarge) as refused:
        encode_event(aq.LeaseAcquired(1, RunId(), "ö" * (TEXT_SIZE_MAX // 2) + "x", 0, 0))
    assert (refused.value.size, refused.value.limit) == (TEXT_SIZE_MAX + 1, TEXT_SIZE_MAX)
    fits = aq.LeaseAcquired(1, RunId(), "ö" * (TEXT_SIZE_MAX // 2), 0, 0)
    assert decode_event(fits.kind, 1, encode_event(fits)) == fits


def test_prerequisites_over_the_limit_are_too_large() -> None:
    with pytest.raises(RecordTooLarge):
        encode_event(aq.DependencyDeclared(1, TaskId(), (TaskId(),) * (LIST_COUNT_MAX + 1), 0))


def run(**changes: Any) -> RunInstance:
    fields: dict[str, Any] = {
        "current_attempt_id": None,
        "attempt_count": 0,
        "created_at": 5,
        "scheduled_at": 5,
    }
    fields |= {
        "effective_priority": 0,
        "last_state_change_at": 5,
        "state": RunState.SCHEDULED,
    } | changes
    return RunInstance(id=RunId(), task_id=TaskId(), **fields)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": RunState.READY},
        {"current_attempt_id": AttemptId()},
        {"attempt_count": 1},
        {"last_state_change_at": 6},
    ],
)
def test_a_run_that_is_not_fresh_is_not_created(changes: dict[str, Any]) -> None:
    with pytest.raises(MalformedEventError):
        encode_event(aq.RunCreated(1, run(**changes)))


@pytest.mark.parametrize(
    ("result", "error", "output"),
    [
        (AttemptResultKind.SUCCESS, "error", None),
        (AttemptResultKind.SUSPENDED, "", None),
        (AttemptResultKind.FAILURE, "error", b"output"),
        (AttemptResultKind.TIMEOUT, "error", b"output"),
    ],
)
def test_an_outcome_with_both_is_no_outcome(
    result: AttemptResultKind, error: str, output: bytes | None
) -> None:
    with pytest.raises(MalformedEventError):
        encode_event(aq.AttemptFinished(1, RunId(), AttemptId(), result, error, output, 0))


@pytest.mark.parametrize(
    "event",
    [
        None,
        object(),
        aq.EventKind.TASK_CREATED,
        aq.RunStateChanged(1, TaskId(), RunState.READY, RunState.LEASED, 0),  # type: ignore[arg-type]
        aq.RunStateChanged(1, RunId(), "ready", RunState.LEASED, 0),  # type: ignore[arg-type]
        aq.RunStateChanged(None, RunId(), RunState.READY, RunState.LEASED, 0),  # type: ignore[arg-type]
        aq.AttemptFinished(1, RunId(), AttemptId(), AttemptResultKind.FAILURE, None, None, 0),
        aq.LeaseAcquired(1, RunId(), b"owner", 0, 0),  # type: ignore[arg-type]
        aq.RunCreated(1, None),  # type: ignore[arg-type]
        aq.TaskCreated(1, "task", 0),  # type: ignore[arg-type]
        aq.BudgetAllocated(1, TaskId(), RunState.READY, 0, 0),  # type: ignore[arg-type]
        aq.SubscriptionCreated(1, SubscriptionId(), TaskId(), "filter", 0),  # type: ignore[arg-type]
        aq.RoleAssigned(1, ActorId(), Capability.CAN_SUBMIT, TenantId(), 0),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_event_or_has_fields_of_other_types_is_refused(event: Any) -> None:
    with pytest.raises(TypeError):
        encode_event(event)


def test_an_object_that_only_claims_to_be_an_event_is_refused() -> None:
    class Impostor:
        kind = aq.EventKind.RUN_STATE_CHANGED

    class Descendant(aq.EnginePaused, frozen=True):
        pass

    for impostor in (Impostor(), Descendant(1, 0)):
        with pytest.raises(TypeError):
            encode_event(impostor)  # type: ignore[arg-type]


@pytest.mark.parametrize("timestamp", [-1, 2**64])
def test_a_number_out_of_range_is_refused(timestamp: int) -> None:
    with pytest.raises(OverflowError):
        encode_event(aq.EnginePaused(1, timestamp))
