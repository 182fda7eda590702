"""The payload layouts of ``core/event/payload.h`` once more: slow, obvious, and independent of the
C code.

An event is a dict: the kind's name under ``"kind"`` and its fields. Identifiers and bytes are hex,
codes are names, what is absent is None; that is also the readable form in
``data/golden-payloads.json``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

STATES = [
    "scheduled",
    "ready",
    "leased",
    "running",
    "retry_wait",
    "suspended",
    "completed",
    "failed",
    "canceled",
]
RESULTS = ["success", "failure", "timeout", "suspended"]
DIMENSIONS = ["token", "cost_cents", "time_secs"]
HOLD_POLICIES = ["hold_during_retry", "release_on_retry"]
SAFETY_LEVELS = ["pure", "idempotent", "transactional"]
FILTERS = ["task_completed", "run_state_changed", "budget_threshold", "custom"]
ROLES = ["operator", "auditor", "gatekeeper", "custom"]
CAPABILITIES = ["can_submit", "can_execute", "can_review", "can_approve", "can_cancel", "custom"]

_LEASE = {"run_id": "id", "timestamp": "varint", "expiry": "offset timestamp", "owner": "text"}
_BUDGET = {"task_id": "id", "timestamp": "varint", "dimension": "dimension", "value": "varint"}
_CAPABILITY = {
    "actor_id": "id",
    "tenant_id": "id",
    "timestamp": "varint",
    "capability": "capability",
}

LAYOUTS: dict[str, dict[str, str]] = {
    "task_created": {"task_id": "id", "timestamp": "varint", "spec": "spec"},
    "run_created": {
        "run_id": "id",
        "task_id": "id",
        "created_at": "varint",
        "scheduled_at": "offset created_at",
        "effective_priority": "zigzag",
    },
    "run_state_changed": {"run_id": "id", "timestamp": "varint", "states": "states"},
    "attempt_started": {"run_id": "id", "attempt_id": "id", "timestamp": "varint"},
    "attempt_finished": {
        "run_id": "id",
        "attempt_id": "id",
        "timestamp": "varint",
        "outcome": "outcome",
    },
    "task_canceled": {"task_id": "id", "timestamp": "varint"},
    "run_canceled": {"run_id": "id", "timestamp": "varint"},
    "lease_acquired": _LEASE,
    "lease_heartbeat": _LEASE,
    "lease_expired": _LEASE,
    "lease_released": _LEASE,
    "engine_paused": {"timestamp": "varint"},
    "engine_resumed": {"timestamp": "varint"},
    "dependency_declared": {"task_id": "id", "timestamp": "varint", "depends_on": "ids"},
    "run_suspended": {"run_id": "id", "timestamp": "varint", "reason": "optional_text"},
    "run_resumed": {"run_id": "id", "timestamp": "varint"},
    "budget_allocated": _BUDGET,
    "budget_consumed": _BUDGET,
    "budget_exhausted": {"task_id": "id", "timestamp": "varint", "dimension": "dimension"},
    "budget_replenished": _BUDGET,
    "subscription_created": {
        "subscription_id": "id",
        "task_id": "id",
        "timestamp": "varint",
        "filter": "filter",
    },
    "subscription_triggered": {"subscription_id": "id", "timestamp": "varint"},
    "subscription_canceled": {"subscription_id": "id", "timestamp": "varint"},
    "actor_registered": {"actor_id": "id", "timestamp": "varint", "registration": "registration"},
    "actor_deregistered": {"actor_id": "id", "timestamp": "varint"},
    "actor_heartbeat": {"actor_id": "id", "timestamp": "varint"},
    "tenant_created": {"tenant_id": "id", "timestamp": "varint", "name": "text"},
    "role_assigned": {"actor_id": "id", "tenant_id": "id", "timestamp": "varint", "role": "role"},
    "capability_granted": _CAPABILITY,
    "capability_revoked": _CAPABILITY,
    "ledger_entry_appended": {
        "entry_id": "id",
        "tenant_id": "id",
        "timestamp": "varint",
        "actor_id": "optional_id",
        "ledger_key": "text",
        "payload": "bytes",
    },
    "runs_purged": {
        "timestamp": "varint",
        "run_ids": "ids",
        "task_ids": "ids",
        "subscription_ids": "ids",
        "actor_ids": "ids",
        "ledger_count": "varint32",
        "tombstone_count": "varint32",
        "kept_until": "optional_offset timestamp",
    },
    "run_rescheduled": {
        "run_id": "id",
        "timestamp": "varint",
        "scheduled_at": "offset timestamp",
        "effective_priority": "zigzag",
    },
}
"""Each kind's fields and their forms, in the order of the bytes. The kinds are in the order of
their codes, from 1.
"""


def varint(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    return bytes([value % 0x80 | 0x80]) + varint(value // 0x80)


def zigzag(value: int) -> bytes:
    return varint(2 * value if value >= 0 else -2 * value - 1)


def offset(value: int, base: int) -> bytes:
    difference = (value - base + 2**63) % 2**64 - 2**63
    return zigzag(difference)


def data(value: str) -> bytes:
    return varint(len(value) // 2) + bytes.fromhex(value)


def text(value: str) -> bytes:
    encoded = value.encode()
    return varint(len(encoded)) + encoded


def texts(values: list[str]) -> bytes:
    return varint(len(values)) + b"".join(map(text, values))


def outcome(value: dict[str, Any]) -> bytes:
    code = RESULTS.index(value["result"])
    if value["error"] is not None:
        return bytes([code | 0x10]) + text(value["error"])
    if value["output"] is not None:
        return bytes([code | 0x10]) + data(value["output"])
    return bytes([code])


def named(names: list[str], value: dict[str, Any]) -> bytes:
    code = bytes([names.index(value["name"])])
    return code if value["text"] is None else code + text(value["text"])


def event_filter(value: dict[str, Any]) -> bytes:
    code = bytes([FILTERS.index(value["kind"])])
    if value["kind"] == "custom":
        return code + text(value["key"])
    code += bytes.fromhex(value["task_id"])
    if value["kind"] == "run_state_changed":
        code += bytes([STATES.index(value["state"])])
    if value["kind"] == "budget_threshold":
        code += bytes([DIMENSIONS.index(value["dimension"]), value["threshold_pct"]])
    return code


def registration(value: dict[str, Any]) -> bytes:
    flags = (1 if value["department"] is not None else 0) | (
        2 if value["tenant_id"] is not None else 0
    )
    encoded = bytes([flags]) + text(value["identity"]) + varint(value["heartbeat_interval_secs"])
    encoded += texts(value["capabilities"])
    if value["department"] is not None:
        encoded += text(value["department"])
    return encoded + bytes.fromhex(value["tenant_id"] or "")


def task_spec(value: dict[str, Any]) -> bytes:
    policy = {"once": 0, "repeat": 1, "cron": 2}[value["policy"][0]]
    optional: list[tuple[int, bool, Callable[[Any], bytes], Any]] = [
        (1, value["content_type"] is not None, text, value["content_type"]),
        (2, value["max_attempts"] != 1, varint, value["max_attempts"]),
        (4, value["timeout_secs"] is not None, varint, value["timeout_secs"]),
        (8, value["concurrency_key"] is not None, text, value["concurrency_key"]),
        (16, value["required_capabilities"] is not None, texts, value["required_capabilities"]),
        (32, value["tags"] != [], texts, value["tags"]),
        (64, value["priority"] != 0, zigzag, value["priority"]),
        (128, value["description"] is not None, text, value["description"]),
    ]
    flags = sum(flag for flag, is_present, _, _ in optional if is_present)
    codes = (
        policy
        | HOLD_POLICIES.index(value["hold_policy"]) << 2
        | SAFETY_LEVELS.index(value["safety_level"]) << 3
    )
    codes |= (32 if value["parent_task_id"] is not None else 0) | (
        64 if value["tenant_id"] is not None else 0
    )
    parts = [form(content) if is_present else b"" for _, is_present, form, content in optional]
    policy_part = b""
    if policy == 1:
        policy_part = varint(value["policy"][1]) + varint(value["policy"][2])
    if policy == 2:
        policy_part = text(value["policy"][1]) + varint(value["policy"][2] or 0)
    ids = bytes.fromhex((value["parent_task_id"] or "") + (value["tenant_id"] or ""))
    return (
        bytes([flags, codes])
        + data(value["payload"])
        + parts[0]
        + policy_part
        + b"".join(parts[1:])
        + ids
    )


FORMS: dict[str, Callable[[Any], bytes]] = {
    "id": bytes.fromhex,
    "optional_id": lambda value: b"\0" if value is None else b"\1" + bytes.fromhex(value),
    "ids": lambda values: varint(len(values)) + bytes.fromhex("".join(values)),
    "varint": varint,
    "varint32": varint,
    "zigzag": zigzag,
    "text": text,
    "optional_text": lambda value: b"\0" if value is None else b"\1" + text(value),
    "bytes": data,
    "states": lambda value: bytes([STATES.index(value[0]) << 4 | STATES.index(value[1])]),
    "outcome": outcome,
    "dimension": lambda value: bytes([DIMENSIONS.index(value)]),
    "spec": task_spec,
    "filter": event_filter,
    "registration": registration,
    "role": lambda value: named(ROLES, value),
    "capability": lambda value: named(CAPABILITIES, value),
}


def kind_code(event: dict[str, Any]) -> int:
    return list(LAYOUTS).index(event["kind"]) + 1


def encode(event: dict[str, Any]) -> bytes:
    """Return the event's payload."""
    return b"".join(field(event, name, form) for name, form in LAYOUTS[event["kind"]].items())


def field(event: dict[str, Any], name: str, form: str) -> bytes:
    """Return a field's bytes; an offset is from the field that its form names."""
    if form.startswith("offset "):
        return offset(event[name], event[form.removeprefix("offset ")])
    if form.startswith("optional_offset "):
        return (
            b"\0"
            if event[name] is None
            else b"\1" + offset(event[name], event[form.removeprefix("optional_offset ")])
        )
    return FORMS[form](event[name])
