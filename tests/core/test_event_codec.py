"""Event payloads in C: against the slow model, against damage, and against the bytes that were once
written down.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import payload_model as model
from tests.support import places
from tests.support.core.c_events import (
    END,
    MALFORMED,
    NIL,
    OK,
    TOO_LARGE,
    Builder,
    Decoded,
    Refused,
    encode,
    read,
)
from tests.support.core.door import ffi, lib
from tests.support.strategies import optional

GOLDEN = json.loads((places.DATA / "golden-payloads.json").read_text())
KINDS = list(model.LAYOUTS)
U64_MAX, U32_MAX = 2**64 - 1, 2**32 - 1

# --- Strategies for the model's events ------------------------------------------------------------

ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
real_ids = ids.filter(lambda value: value != NIL.hex())
u64s = st.integers(0, U64_MAX) | st.integers(0, 300)
positive_u64s = st.integers(1, U64_MAX)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
filled_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
blobs = st.binary(max_size=40).map(bytes.hex)
dimensions = st.sampled_from(model.DIMENSIONS)


def named(names: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    fixed = st.sampled_from(names[:-1]).map(lambda name: {"name": name, "text": None})
    return fixed | filled_texts.map(lambda text: {"name": "custom", "text": text})


outcomes = st.one_of(
    st.fixed_dictionaries(
        {"result": st.sampled_from(["failure", "timeout"]), "error": texts, "output": st.none()},
    ),
    st.fixed_dictionaries(
        {
            "result": st.sampled_from(["success", "suspended"]),
            "error": st.none(),
            "output": optional(blobs),
        },
    ).map(lambda value: value | {"output": value["output"] or None}),
)
policies = st.one_of(
    st.just(["once"]),
    st.tuples(st.just("repeat"), st.integers(1, U32_MAX), positive_u64s).map(list),
    st.tuples(st.just("cron"), filled_texts, optional(st.integers(1, U32_MAX))).map(list),
)
specs = st.fixed_dictionaries(
    {
        "payload": blobs,
        "content_type": optional(texts),
        "policy": policies,
        "max_attempts": st.just(1) | st.integers(1, U32_MAX),
        "timeout_secs": optional(positive_u64s),
        "concurrency_key": optional(filled_texts),
        "hold_policy": st.sampled_from(model.HOLD_POLICIES),
        "safety_level": st.sampled_from(model.SAFETY_LEVELS),
        "required_capabilities": optional(st.lists(filled_texts, min_size=1, max_size=4)),
        "tags": st.lists(texts, max_size=4),
        "priority": st.just(0) | st.integers(-(2**31), 2**31 - 1),
        "description": optional(texts),
        "parent_task_id": optional(ids),
        "tenant_id": optional(ids),
    }
)
filters = st.one_of(
    st.fixed_dictionaries({"kind": st.just("task_completed"), "task_id": ids}),
    st.fixed_dictionaries(
        {
            "kind": st.just("run_state_changed"),
            "task_id": ids,
            "state": st.sampled_from(model.STATES),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("budget_threshold"),
            "task_id": ids,
            "dimension": dimensions,
            "threshold_pct": st.integers(0, 100),
        }
    ),
    st.fixed_dictionaries({"kind": st.just("custom"), "key": texts}),
)
registrations = st.fixed_dictionaries(
    {
        "identity": filled_texts,
        "capabilities": st.lists(filled_texts, min_size=1, max_size=4),
        "department": optional(filled_texts),
        "heartbeat_interval_secs": positive_u64s,
        "tenant_id": optional(ids),
    }
)
FORMS = {
    "id": real_ids,
    "optional_id": optional(ids),
    "optional_offset": optional(u64s),
    "ids": st.lists(ids, max_size=4),
    "varint": u64s,
    "varint32": st.integers(0, 3) | st.integers(0, U32_MAX),
    "offset": u64s,
    "zigzag": st.integers(-(2**31), 2**31 - 1) | st.integers(-70, 70),
    "text": filled_texts,
    "optional_text": optional(texts),
    "bytes": blobs,
    "states": st.lists(st.sampled_from(model.STATES), min_size=2, max_size=2),
    "outcome": outcomes,
    "dimension": dimensions,
    "spec": specs,
    "filter": filters,
    "registration": registrations,
    "role": named(model.ROLES),
    "capability": named(model.CAPABILITIES),
}


def events_of(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    fields = {name: FORMS[form.split()[0]] for name, form in model.LAYOUTS[kind].items()}
    events = st.fixed_dictionaries({"kind": st.just(kind)} | fields)
    if kind != "runs_purged":
        return events
    parts = [name for name in model.LAYOUTS[kind] if name.endswith(("_ids", "_count"))]
    some = events.filter(lambda event: any(event[name] for name in parts))
    return some.map(lambda event: event if event["task_ids"] else event | {"kept_until": None})


def re_encoded(decoded: Decoded) -> bytes:
    return encode(decoded.event)


# --- Round trips ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_every_kind_has_the_model_s_bytes_and_comes_back(kind: str, data: st.DataObject) -> None:
    source = data.draw(events_of(kind))
    payload = encode(Builder().event(source))
    assert payload == model.encode(source)
    decoded = Decoded(model.kind_code(source), payload, sequence=U64_MAX)
    assert decoded.status == OK
    assert decoded.event.sequence == U64_MAX
    assert read(decoded.event) == source
    assert re_encoded(decoded) == payload


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["name"])
def test_golden_bytes_stay(entry: dict[str, Any]) -> None:
    payload = bytes.fromhex(entry["payload"])
    assert encode(Builder().event(entry["event"])) == payload
    decoded = Decoded(model.kind_code(entry["event"]), payload)
    assert decoded.status == OK
    assert read(decoded.event) == entry["event"]


def test_golden_bytes_cover_every_kind() -> None:
    assert {entry["event"]["kind"] for entry in GOLDEN} == set(KINDS)
    assert len(KINDS) == lib.AQW_EVENT_KIND_LAST


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["name"])
def test_an_encoder_keeps_to_its_capacity(entry: dict[str, Any]) -> None:
    builder = Builder()
    event = builder.event(entry["event"])
    size = ffi.new("size_t *")
    needed = lib.aqw_event_payload_size(event)
    for capacity in range(needed):
        to = ffi.new("uint8_t[]", b"\xa5" * (needed + 8))
        assert lib.aqw_event_encode(event, to, capacity, size) == TOO_LARGE
        assert bytes(ffi.buffer(to))[capacity : needed + 8] == b"\xa5" * (needed + 8 - capacity)


HOT_KINDS = [
    "run_created",
    "run_state_changed",
    "attempt_started",
    "attempt_finished",
    "lease_acquired",
    "lease_heartbeat",
    "lease_expired",
    "lease_released",
]


@pytest.mark.parametrize("kind", HOT_KINDS)
@given(st.binary(min_size=56, max_size=56), st.binary(max_size=20), st.booleans(), st.booleans())
def test_what_is_not_read_back_would_read_the_same(
    kind: str, memory: bytes, text: bytes, absent: bool, nil: bool
) -> None:
    """These kinds are written without a second look. Fill an event with anything: what is written
    is what decodes.
    """
    event = ffi.new("aqw_event *", {"sequence": 1, "timestamp": 0 if kind == "run_created" else 5})
    event.kind = KINDS.index(kind) + 1
    member = getattr(event, "as")
    ffi.memmove(ffi.addressof(member), (NIL if nil else memory[:16]) + memory[16:], 56)
    kept = ffi.new("uint8_t[]", text + b"\0")
    part = ffi.NULL if absent else kept
    if kind == "attempt_finished":
        member.attempt_finished.result %= 6
        member.attempt_finished.detail = {"data": part, "size": 0 if absent else len(text)}
    elif kind.startswith("lease_"):
        member.lease.owner = {"data": part, "size": 0 if absent else len(text)}
    elif kind == "run_state_changed":
        member.run_state_changed.previous_state %= 12
        member.run_state_changed.new_state %= 12
    try:
        payload = encode(event)
    except Refused as refused:
        assert refused.status == MALFORMED
        return
    decoded = Decoded(event.kind, payload)
    assert decoded.status == OK
    assert re_encoded(decoded) == payload


# --- Damage: what decodes, encodes to the same bytes; everything else is refused ------------------


def assert_canonical_or_refused(kind: int, payload: bytes) -> None:
    decoded = Decoded(kind, payload)
    if decoded.status == OK:
        assert re_encoded(decoded) == payload
    else:
        assert decoded.status == MALFORMED


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["name"])
def test_no_proper_prefix_and_no_extension_decodes_to_something_else(entry: dict[str, Any]) -> None:
    kind, payload = model.kind_code(entry["event"]), bytes.fromhex(entry["payload"])
    for size in range(len(payload)):
        assert Decoded(kind, payload[:size]).status == MALFORMED
    for extra in (b"\0", b"\1", b"\xff", bytes(16)):
        assert Decoded(kind, payload + extra).status == MALFORMED


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: entry["name"])
def test_every_single_byte_change_is_canonical_or_refused(entry: dict[str, Any]) -> None:
    kind, payload = model.kind_code(entry["event"]), bytes.fromhex(entry["payload"])
    for at in range(len(payload)):
        for value in range(256):
            assert_canonical_or_refused(kind, payload[:at] + bytes([value]) + payload[at + 1 :])


@given(st.integers(0, 255), st.binary(max_size=80))
def test_any_bytes_are_canonical_or_refused(kind: int, payload: bytes) -> None:
    assert_canonical_or_refused(kind, payload)


@pytest.mark.parametrize("kind", [0, *range(len(KINDS) + 1, 256)])
def test_unknown_kinds_are_refused(kind: int) -> None:
    assert Decoded(kind, b"\0").status == MALFORMED
    event = ffi.new("aqw_event *", {"kind": kind})
    assert lib.aqw_event_payload_size(event) == 0
    with pytest.raises(Refused) as refused:
        encode(event)
    assert refused.value.status == MALFORMED


# --- Rules of payload.h, each broken once ---------------------------------------------------------

ID = bytes(range(1, 17))
ID2 = bytes(range(17, 33))
TASK = ID + b"\5"  # an identifier and the time 5
BROKEN = {
    "time in two bytes that fits in one": ("engine_paused", b"\x85\x00"),
    "time of 65 bits": ("engine_paused", b"\xff" * 9 + b"\x02"),
    "time in eleven bytes": ("engine_paused", b"\x80" * 10 + b"\x00"),
    "time without end": ("engine_paused", b"\xff" * 10),
    "empty": ("engine_paused", b""),
    "nil task": ("task_created", NIL + b"\5" + b"\0\0\0"),
    "nil run": ("run_created", NIL + ID + b"\0\0\0"),
    "nil task of a run": ("run_created", ID + NIL + b"\0\0\0"),
    "priority of 33 bits": ("run_created", ID + ID2 + b"\0\0" + b"\xff\xff\xff\xff\x1f"),
    "previous state 9": ("run_state_changed", TASK + b"\x91"),
    "new state 9": ("run_state_changed", TASK + b"\x19"),
    "result 4": ("attempt_finished", ID + TASK + b"\x04"),
    "unknown outcome flag": ("attempt_finished", ID + TASK + b"\x20"),
    "failure without error": ("attempt_finished", ID + TASK + b"\x01"),
    "timeout without error": ("attempt_finished", ID + TASK + b"\x02"),
    "error that is no UTF-8": ("attempt_finished", ID + TASK + b"\x11\1\xff"),
    "empty output": ("attempt_finished", ID + TASK + b"\x10\0"),
    "owner that is no UTF-8": ("lease_acquired", TASK + b"\0\2\xc0\x80"),
    "owner longer than the payload": ("lease_acquired", TASK + b"\0\3ab"),
    "owner of 64 bits": ("lease_acquired", TASK + b"\0" + b"\xff" * 9 + b"\1"),
    "prerequisites that are missing": ("dependency_declared", TASK + b"\2" + ID),
    "prerequisites beyond the limit": ("dependency_declared", TASK + b"\x81\x80\x04" + ID * 65537),
    "reason flag 2": ("run_suspended", TASK + b"\2"),
    "dimension 3": ("budget_allocated", TASK + b"\3\0"),
    "value of an exhausted budget": ("budget_exhausted", TASK + b"\0\0"),
    "filter 4": ("subscription_created", ID + TASK + b"\4" + ID),
    "filter on state 9": ("subscription_created", ID + TASK + b"\1" + ID + b"\x09"),
    "filter on dimension 3": ("subscription_created", ID + TASK + b"\2" + ID + b"\3\0"),
    "filter on 101 percent": ("subscription_created", ID + TASK + b"\2" + ID + b"\0\x65"),
    "unknown registration flag": ("actor_registered", TASK + b"\4\1a\1\1\1b"),
    "empty identity": ("actor_registered", TASK + b"\0\0\1\1\1b"),
    "heartbeat interval 0": ("actor_registered", TASK + b"\0\1a\0\1\1b"),
    "no capabilities": ("actor_registered", TASK + b"\0\1a\1\0"),
    "empty capability": ("actor_registered", TASK + b"\0\1a\1\1\0"),
    "capability that is no UTF-8": ("actor_registered", TASK + b"\0\1a\1\1\1\x80"),
    "empty department": ("actor_registered", TASK + b"\1\1a\1\1\1b\0"),
    "department of 129 bytes": ("actor_registered", TASK + b"\1\1a\1\1\1b\x81\1" + b"d" * 129),
    "empty tenant name": ("tenant_created", TASK + b"\0"),
    "role 4": ("role_assigned", ID + TASK + b"\4"),
    "custom role without text": ("role_assigned", ID + TASK + b"\3"),
    "empty custom role": ("role_assigned", ID + TASK + b"\3\0"),
    "fixed role with text": ("role_assigned", ID + TASK + b"\0\1a"),
    "capability 6": ("capability_granted", ID + TASK + b"\6"),
    "empty custom capability": ("capability_revoked", ID + TASK + b"\5\0"),
    "ledger flag 2": ("ledger_entry_appended", ID + TASK + b"\2\1k\0"),
    "nothing purged": ("runs_purged", b"\0" + bytes(7)),
    "purged runs that are missing": ("runs_purged", b"\0\2" + ID + bytes(6)),
    "purged tasks that are missing": ("runs_purged", b"\0\0\2" + ID),
    "purged tasks without a count": ("runs_purged", b"\0\1" + ID),
    "purged actors without a count": ("runs_purged", b"\0\1" + ID + b"\0\0"),
    "purged actors that are missing": ("runs_purged", b"\0\0\0\0\1"),
    "more purged than the limit": (
        "runs_purged",
        b"\0\x80\x20" + ID * 4096 + b"\0\0\1" + ID + bytes(3),
    ),
    "more runs purged than the limit": ("runs_purged", b"\0\x81\x20" + ID * 4097 + bytes(6)),
    "purged lines without a count": ("runs_purged", b"\0\1" + ID + b"\0\0\0"),
    "purged lines of 33 bits": ("runs_purged", b"\0\0\0\0\0\x80\x80\x80\x80\x10\0\0"),
    "tombstones of 33 bits": ("runs_purged", bytes(6) + b"\x80\x80\x80\x80\x10\0"),
    "kept identifiers without an end": ("runs_purged", b"\0\0\1" + ID + bytes(4) + b"\1"),
    "an end without kept identifiers": ("runs_purged", b"\0\0\1" + ID + bytes(5) + b"\2"),
    "kept identifiers, flag 2": ("runs_purged", b"\0\0\1" + ID + bytes(4) + b"\2\2"),
    "kept identifiers of no tasks": ("runs_purged", b"\0\1" + ID + bytes(5) + b"\1\2"),
    "empty ledger key": ("ledger_entry_appended", ID + TASK + b"\0\0\0"),
    "spec flag without its part": ("task_created", TASK + b"\1\0\0"),
    "spec policy 3": ("task_created", TASK + b"\0\3\0"),
    "spec safety level 3": ("task_created", TASK + b"\0\x18\0"),
    "unknown spec code": ("task_created", TASK + b"\0\x80\0"),
    "repeat count 0": ("task_created", TASK + b"\0\1\0\0\1"),
    "repeat count of 33 bits": ("task_created", TASK + b"\0\1\0\x80\x80\x80\x80\x10\1"),
    "repeat interval 0": ("task_created", TASK + b"\0\1\0\1\0"),
    "empty cron expression": ("task_created", TASK + b"\0\2\0\0\0"),
    "max attempts 0": ("task_created", TASK + b"\2\0\0\0"),
    "max attempts 1, announced": ("task_created", TASK + b"\2\0\0\1"),
    "timeout 0": ("task_created", TASK + b"\4\0\0\0"),
    "empty concurrency key": ("task_created", TASK + b"\x08\0\0\0"),
    "no required capabilities, announced": ("task_created", TASK + b"\x10\0\0\0"),
    "empty required capability": ("task_created", TASK + b"\x10\0\0\1\0"),
    "no tags, announced": ("task_created", TASK + b"\x20\0\0\0"),
    "tags beyond the limit": ("task_created", TASK + b"\x20\0\0\x81\x80\x04" + b"\0" * 65537),
    "priority 0, announced": ("task_created", TASK + b"\x40\0\0\0"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_payload_that_breaks_a_rule_is_refused(name: str) -> None:
    kind, payload = BROKEN[name]
    assert Decoded(KINDS.index(kind) + 1, payload).status == MALFORMED


def test_a_payload_of_another_kind_is_not_taken_for_this_one() -> None:
    assert Decoded(KINDS.index("attempt_started") + 1, TASK).status == MALFORMED
    assert Decoded(KINDS.index("task_canceled") + 1, ID + TASK).status == MALFORMED


def refusal_of(kind: str, **fields: Any) -> int:
    """The status of encoding a golden event of the kind with C fields that are not what they should
    be.
    """
    source = next(entry["event"] for entry in GOLDEN if entry["event"]["kind"] == kind)
    builder = Builder()
    event = builder.event(source)
    member = getattr(event, "as")
    for path, value in fields.items():
        name, field = path.split("__")
        owner = event if name == "event" else getattr(member, name)
        setattr(owner, field, value)
    to = ffi.new("uint8_t[]", 4096)
    status: int = lib.aqw_event_encode(event, to, 4096, ffi.new("size_t *"))
    return status


def test_an_event_that_has_no_encoding_is_refused() -> None:
    nothing = {"data": ffi.NULL, "size": 0}
    assert refusal_of("run_state_changed", run_state_changed__new_state=9) == MALFORMED
    assert refusal_of("run_state_changed", run_state_changed__previous_state=255) == MALFORMED
    assert refusal_of("attempt_finished", attempt_finished__result=4) == MALFORMED
    assert refusal_of("attempt_finished", attempt_finished__result=16) == MALFORMED
    assert refusal_of("budget_exhausted", budget__value=1) == MALFORMED
    assert refusal_of("budget_allocated", budget__dimension=3) == MALFORMED
    assert refusal_of("run_created", event__timestamp=1) == MALFORMED
    assert refusal_of("lease_acquired", lease__owner=nothing) == MALFORMED
    assert refusal_of("task_created", task_created__spec=nothing) == MALFORMED
    assert refusal_of("task_created", task_created__task_id=NIL) == MALFORMED
    assert refusal_of("dependency_declared", dependency_declared__depends_on=ffi.NULL) == MALFORMED
    assert refusal_of("dependency_declared", dependency_declared__count=65537) == TOO_LARGE
    assert refusal_of("runs_purged", runs_purged__run_ids=ffi.NULL) == MALFORMED
    assert refusal_of("runs_purged", runs_purged__task_ids=ffi.NULL) == MALFORMED
    assert refusal_of("runs_purged", runs_purged__actor_ids=ffi.NULL) == MALFORMED
    nothing_purged = {
        f"runs_purged__{part}_count": 0
        for part in ("run", "task", "subscription", "actor", "ledger", "tombstone")
    }
    nothing_purged["runs_purged__keeps_ids"] = 0
    assert refusal_of("runs_purged", **nothing_purged) == MALFORMED
    assert refusal_of("runs_purged", runs_purged__actor_count=4096) == TOO_LARGE
    assert refusal_of("runs_purged", runs_purged__run_count=4096) == TOO_LARGE
    assert refusal_of("runs_purged", runs_purged__task_count=2**32 - 1) == TOO_LARGE


@pytest.mark.parametrize(
    "kind", ["task_created", "subscription_created", "actor_registered", "role_assigned"]
)
def test_a_nested_part_that_does_not_decode_is_not_written(kind: str) -> None:
    builder = Builder()
    event = builder.event(
        next(entry["event"] for entry in GOLDEN if entry["event"]["kind"] == kind)
    )
    part = getattr(
        getattr(getattr(event, "as"), kind),
        list(model.LAYOUTS[kind])[-1 if kind != "role_assigned" else 3],
    )
    builder.set_bytes(part, b"\xff\xff\xff")
    with pytest.raises(Refused) as refused:
        encode(event)
    assert refused.value.status == MALFORMED


# --- Limits ---------------------------------------------------------------------------------------


def status_of(source: dict[str, Any]) -> int:
    try:
        payload = encode(Builder().event(source))
    except Refused as refused:
        return refused.status
    assert Decoded(model.kind_code(source), payload).status == OK
    return int(OK)


SPEC = {
    "payload": "",
    "content_type": None,
    "policy": ["once"],
    "max_attempts": 1,
    "timeout_secs": None,
    "concurrency_key": None,
    "hold_policy": "hold_during_retry",
    "safety_level": "pure",
    "required_capabilities": None,
    "tags": [],
    "priority": 0,
    "description": None,
    "parent_task_id": None,
    "tenant_id": None,
}
REGISTRATION = {
    "identity": "a",
    "capabilities": ["b"],
    "department": None,
    "heartbeat_interval_secs": 1,
    "tenant_id": None,
}


def task_created(**changes: Any) -> dict[str, Any]:
    return {"kind": "task_created", "task_id": ID.hex(), "timestamp": 0, "spec": SPEC | changes}


def actor_registered(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "actor_registered",
        "actor_id": ID.hex(),
        "timestamp": 0,
        "registration": REGISTRATION | changes,
    }


def lease_acquired(owner: str) -> dict[str, Any]:
    return {
        "kind": "lease_acquired",
        "run_id": ID.hex(),
        "timestamp": 0,
        "expiry": 0,
        "owner": owner,
    }


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_text_may_be_as_large_as_its_limit(beyond: int) -> None:
    expected = OK if beyond <= 0 else TOO_LARGE
    text = "x" * (lib.AQW_TEXT_SIZE_MAX + beyond)
    assert status_of(lease_acquired(text)) == expected
    assert status_of(task_created(description=text)) == expected
    assert status_of(task_created(policy=["cron", text, None])) == expected
    assert status_of(task_created(tags=[text])) == expected
    assert (
        status_of(actor_registered(department="d" * (lib.AQW_DEPARTMENT_SIZE_MAX + beyond)))
        == expected
    )


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_list_may_be_as_long_as_its_limit(beyond: int) -> None:
    expected = OK if beyond <= 0 else TOO_LARGE
    count = lib.AQW_LIST_COUNT_MAX + beyond
    assert status_of(task_created(tags=[""] * count)) == expected
    assert status_of(task_created(required_capabilities=["a"] * count)) == expected
    assert status_of(actor_registered(capabilities=["a"] * count)) == expected
    depends_on = {
        "kind": "dependency_declared",
        "task_id": ID.hex(),
        "timestamp": 0,
        "depends_on": [ID.hex()] * count,
    }
    assert status_of(depends_on) == expected
    runs = [ID.hex()] * (lib.AQW_PURGE_COUNT_MAX + beyond - 1)
    no_tombstones = {"tombstone_count": 0, "kept_until": None}
    for last in ("task_ids", "subscription_ids", "actor_ids"):
        lists: dict[str, list[str]] = {
            name: [ID.hex()] if name == last else []
            for name in ("task_ids", "subscription_ids", "actor_ids")
        }
        assert (
            status_of(
                {
                    "kind": "runs_purged",
                    "timestamp": 0,
                    "run_ids": runs,
                    **lists,
                    "ledger_count": 1,
                    **no_tombstones,
                }
            )
            == expected
        )


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_payload_may_be_as_large_as_its_limit(beyond: int) -> None:
    around = len(model.encode(task_created())) - 1 + 4  # the size field of so many bytes takes 4
    payload = "00" * (lib.AQW_PAYLOAD_SIZE_MAX + beyond - around)
    assert status_of(task_created(payload=payload)) == (OK if beyond <= 0 else TOO_LARGE)


def test_a_size_over_the_limit_is_still_counted() -> None:
    builder = Builder()
    spec = builder.task_spec(SPEC | {"payload": "00" * (lib.AQW_PAYLOAD_SIZE_MAX + 10)})
    size = ffi.new("size_t *")
    assert lib.aqw_task_spec_encode(spec, ffi.NULL, 0, size) == TOO_LARGE
    assert size[0] == lib.AQW_PAYLOAD_SIZE_MAX + 10 + 2 + 4


@pytest.mark.parametrize("beyond", [0, 1])
def test_a_payload_over_the_limit_is_not_read(beyond: int) -> None:
    around = 16 + 16 + 1 + 1 + 2 + 4  # both identifiers, time 0, flags, the key, the size field
    size = lib.AQW_PAYLOAD_SIZE_MAX + beyond - around
    payload = ID + ID2 + b"\0\0\1k" + model.varint(size) + bytes(size)
    assert Decoded(KINDS.index("ledger_entry_appended") + 1, payload).status == (
        MALFORMED if beyond else OK
    )


@pytest.mark.parametrize(
    ("form", "part"),
    [
        ("spec", SPEC | {"max_attempts": 0}),
        ("spec", SPEC | {"concurrency_key": ""}),
        (
            "filter",
            {
                "kind": "budget_threshold",
                "task_id": ID.hex(),
                "dimension": "token",
                "threshold_pct": 101,
            },
        ),
        ("registration", REGISTRATION | {"heartbeat_interval_secs": 0}),
        ("registration", REGISTRATION | {"capabilities": [""]}),
        ("role", {"name": "custom", "text": ""}),
        ("capability", {"name": "can_submit", "text": "fixed"}),
    ],
)
def test_a_nested_part_that_breaks_a_rule_is_not_written(form: str, part: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        Builder().part(form, part)
    assert refused.value.status == MALFORMED


# --- Lists ----------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_a_list_is_walked_as_it_was_put_together(entries: list[bytes]) -> None:
    expected = b"".join(model.varint(len(entry)) + entry for entry in entries)
    to, size = ffi.new("uint8_t[]", len(expected) + 1), ffi.new("size_t *", 0)
    for entry in entries:
        assert lib.aqw_list_put(to, len(expected), size, entry, len(entry)) == OK
    assert bytes(ffi.buffer(to, size[0])) == expected
    assert lib.aqw_list_put(to, len(expected), size, b"", 0) == TOO_LARGE
    assert size[0] == len(expected)

    encoded = ffi.new("aqw_list *", {"data": to, "size": size[0], "count": len(entries)})
    offset, entry_out = ffi.new("uint32_t *"), ffi.new("aqw_bytes *")
    for entry in entries:
        assert lib.aqw_list_next(encoded, offset, entry_out) == OK
        assert bytes(ffi.buffer(entry_out.data, entry_out.size)) == entry
    assert lib.aqw_list_next(encoded, offset, entry_out) == END


def test_a_broken_list_is_neither_walked_nor_written() -> None:
    data = ffi.new("uint8_t[]", b"\x01a\x05b")
    broken = ffi.new("aqw_list *", {"data": data, "size": 4, "count": 2})
    offset, entry = ffi.new("uint32_t *"), ffi.new("aqw_bytes *")
    assert lib.aqw_list_next(broken, offset, entry) == OK
    assert lib.aqw_list_next(broken, offset, entry) == MALFORMED
    assert lib.aqw_list_next(ffi.new("aqw_list *"), ffi.new("uint32_t *"), entry) == END
    builder = Builder()
    spec = builder.task_spec(SPEC)
    spec.tags = broken[0]
    to = ffi.new("uint8_t[]", 100)
    assert lib.aqw_task_spec_encode(spec, to, 100, ffi.new("size_t *")) == MALFORMED


def test_a_list_with_a_wrong_count_is_not_written() -> None:
    # The bytes would decode, but to something else: the second capability would be the count of the
    # tags, and swallow them.
    builder = Builder()
    spec = builder.task_spec(SPEC | {"required_capabilities": ["a", "x"], "tags": ["y" * 118]})
    to = ffi.new("uint8_t[]", 200)
    assert lib.aqw_task_spec_encode(spec, to, 200, ffi.new("size_t *")) == OK
    spec.required_capabilities.count = 1
    assert lib.aqw_task_spec_encode(spec, to, 200, ffi.new("size_t *")) == MALFORMED


# --- UTF-8 ----------------------------------------------------------------------------------------


def is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return False
    return True


@given(
    st.binary(max_size=30)
    | st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_utf8_is_what_python_takes_for_it(data: bytes) -> None:
    assert bool(lib.aqw_utf8_is_valid(data, len(data))) == is_utf8(data)


def test_utf8_at_every_edge() -> None:
    edges = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF)
    for first in range(256):
        for second in edges:
            for third in edges:
                for data in (
                    bytes([first, second, third]),
                    bytes([first, second, third, 0x80]),
                    bytes([first]),
                ):
                    assert bool(lib.aqw_utf8_is_valid(data, len(data))) == is_utf8(data), data
