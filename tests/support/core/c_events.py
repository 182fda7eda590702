"""Events of ``payload_model`` as C events, and back, through the cffi door."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from tests.support import payload_model as model
from tests.support.core.door import ffi, lib

OK, END, TOO_LARGE, MALFORMED = lib.AQW_OK, lib.AQW_END, lib.AQW_TOO_LARGE, lib.AQW_MALFORMED_EVENT
NIL = bytes(16)

MEMBERS = {
    "run_canceled": "run",
    "run_resumed": "run",
    "lease_acquired": "lease",
    "lease_heartbeat": "lease",
    "lease_expired": "lease",
    "lease_released": "lease",
    "budget_allocated": "budget",
    "budget_consumed": "budget",
    "budget_exhausted": "budget",
    "budget_replenished": "budget",
    "subscription_triggered": "subscription",
    "subscription_canceled": "subscription",
    "actor_deregistered": "actor",
    "actor_heartbeat": "actor",
    "capability_granted": "capability",
    "capability_revoked": "capability",
}
"""The member of ``aqw_event.as`` where it is not named like the kind."""


COUNTS = {
    "depends_on": "count",
    "run_ids": "run_count",
    "task_ids": "task_count",
    "subscription_ids": "subscription_count",
    "actor_ids": "actor_count",
}
"""Where each list of identifiers has its count."""

OWNED: WeakKeyDictionary[Any, list[Any]] = WeakKeyDictionary()
"""What each event points to: C pointers keep nothing alive."""


class Refused(Exception):
    """An encoder's status other than AQW_OK."""

    def __init__(self, status: int) -> None:
        super().__init__(ffi.string(ffi.cast("aqw_status", status)))
        self.status = status


class Builder:
    """Builds C structs; owns the memory that they point to, and so does an event that it built."""

    def __init__(self) -> None:
        self.owned: list[Any] = []

    def new(self, kind: str, *initializer: Any) -> Any:
        self.owned.append(ffi.new(kind, *initializer))
        return self.owned[-1]

    def set_bytes(self, field: Any, value: bytes | None) -> None:
        field.data = ffi.NULL if value is None else self.new("uint8_t[]", value + b"\0")
        field.size = 0 if value is None else len(value)

    def set_text(self, field: Any, value: str | None) -> None:
        self.set_bytes(field, None if value is None else value.encode())

    def set_list(self, field: Any, values: list[str] | None) -> None:
        if values is None:
            return
        encoded = [value.encode() for value in values]
        capacity = sum(len(value) + 5 for value in encoded)
        field.data = data = self.new("uint8_t[]", capacity + 1)
        size = ffi.new("size_t *", 0)
        for value in encoded:
            status = lib.aqw_list_put(data, capacity, size, value, len(value))
            if status != OK:
                raise Refused(status)
        field.size = size[0]
        field.count = len(values)

    def event(self, source: dict[str, Any], sequence: int = 1) -> Any:
        """Return the C event. Raises Refused where a nested part does not encode."""
        event = ffi.new("aqw_event *")
        OWNED[event] = self.owned
        event.sequence = sequence
        event.kind = model.kind_code(source)
        member = getattr(getattr(event, "as"), MEMBERS.get(source["kind"], source["kind"]), None)
        for name, form in model.LAYOUTS[source["kind"]].items():
            owner = event if name == "timestamp" else member
            self.set_field(owner, name, form, source[name])
        return event

    def set_field(self, owner: Any, name: str, form: str, value: Any) -> None:
        if form == "id":
            setattr(owner, name, bytes.fromhex(value))
        elif form.startswith("optional_offset "):
            owner.keeps_ids = value is not None
            setattr(owner, name, value or 0)
        elif form == "optional_id":
            owner.has_actor = value is not None
            setattr(owner, name, bytes.fromhex(value or NIL.hex()))
        elif form.split(maxsplit=1)[0] in {"varint", "varint32", "zigzag", "offset"}:
            setattr(owner, name, value)
        elif form == "bytes":
            self.set_bytes(getattr(owner, name), bytes.fromhex(value))
        elif form in {"text", "optional_text"}:
            self.set_text(getattr(owner, name), value)
        elif form == "ids":
            setattr(owner, name, self.new("uint8_t[]", bytes.fromhex("".join(value)) + b"\0"))
            setattr(owner, COUNTS[name], len(value))
        elif form == "states":
            owner.previous_state, owner.new_state = map(model.STATES.index, value)
        elif form == "outcome":
            self.set_outcome(owner, value)
        elif form == "dimension":
            owner.dimension = model.DIMENSIONS.index(value)
        else:
            self.set_bytes(getattr(owner, name), self.part(form, value))

    def set_outcome(self, owner: Any, value: dict[str, Any]) -> None:
        owner.result = model.RESULTS.index(value["result"])
        self.set_text(owner.detail, value["error"])
        if value["output"] is not None:
            self.set_bytes(owner.detail, bytes.fromhex(value["output"]))

    def part(self, form: str, value: dict[str, Any]) -> bytes:
        """Encode a nested part."""
        if form == "spec":
            return encoded(lib.aqw_task_spec_encode, self.task_spec(value))
        if form == "filter":
            return encoded(lib.aqw_filter_encode, self.filter(value))
        if form == "registration":
            return encoded(lib.aqw_registration_encode, self.registration(value))
        names = model.ROLES if form == "role" else model.CAPABILITIES
        return encoded(lib.aqw_named_encode, self.named(names, value), len(names) - 1)

    def named(self, names: list[str], value: dict[str, Any]) -> Any:
        named = self.new("aqw_named *")
        named.code = names.index(value["name"])
        self.set_text(named.custom, value["text"])
        return named

    def filter(self, value: dict[str, Any]) -> Any:
        part = self.new("aqw_filter *")
        part.kind = model.FILTERS.index(value["kind"])
        if value["kind"] == "custom":
            self.set_text(part.key, value["key"])
        else:
            part.task_id = bytes.fromhex(value["task_id"])
        if value["kind"] == "run_state_changed":
            part.state = model.STATES.index(value["state"])
        if value["kind"] == "budget_threshold":
            part.dimension = model.DIMENSIONS.index(value["dimension"])
            part.threshold_pct = value["threshold_pct"]
        return part

    def registration(self, value: dict[str, Any]) -> Any:
        part = self.new("aqw_registration *")
        self.set_text(part.identity, value["identity"])
        self.set_list(part.capabilities, value["capabilities"])
        self.set_text(part.department, value["department"])
        part.heartbeat_interval_secs = value["heartbeat_interval_secs"]
        part.has_tenant = value["tenant_id"] is not None
        part.tenant_id = bytes.fromhex(value["tenant_id"] or NIL.hex())
        return part

    def task_spec(self, value: dict[str, Any]) -> Any:
        spec = self.new("aqw_task_spec *")
        policy, *arguments = value["policy"]
        self.set_bytes(spec.payload, bytes.fromhex(value["payload"]))
        self.set_text(spec.content_type, value["content_type"])
        spec.policy = ["once", "repeat", "cron"].index(policy)
        if policy == "repeat":
            spec.repeat_count, spec.repeat_interval_secs = arguments
        if policy == "cron":
            self.set_text(spec.cron_expression, arguments[0])
            spec.max_occurrences = arguments[1] or 0
        spec.max_attempts = value["max_attempts"]
        spec.has_timeout = value["timeout_secs"] is not None
        spec.timeout_secs = value["timeout_secs"] or 0
        self.set_text(spec.concurrency_key, value["concurrency_key"])
        spec.hold_policy = model.HOLD_POLICIES.index(value["hold_policy"])
        spec.safety_level = model.SAFETY_LEVELS.index(value["safety_level"])
        self.set_list(spec.required_capabilities, value["required_capabilities"])
        self.set_list(spec.tags, value["tags"])
        spec.priority = value["priority"]
        self.set_text(spec.description, value["description"])
        for field, flag in (("parent_task_id", "has_parent"), ("tenant_id", "has_tenant")):
            setattr(spec, flag, value[field] is not None)
            setattr(spec, field, bytes.fromhex(value[field] or NIL.hex()))
        return spec


def encoded(encoder: Any, part: Any, *arguments: Any) -> bytes:
    """Return what an encoder writes, having asked it for the size first. Raises Refused."""
    size = ffi.new("size_t *")
    status = encoder(part, *arguments, ffi.NULL, 0, size)
    if status != OK:
        raise Refused(status)
    counted = size[0]
    to = ffi.new("uint8_t[]", counted + 1)
    status = encoder(part, *arguments, to, counted, size)
    if status != OK:
        raise Refused(status)
    assert size[0] == counted
    return bytes(ffi.buffer(to, counted))


def encode(event: Any) -> bytes:
    """Return the payload of a C event. Raises Refused."""
    payload = encoded(lib.aqw_event_encode, event)
    assert lib.aqw_event_payload_size(event) == len(payload)
    return payload


class Decoded:
    """What aqw_event_decode makes of a payload; keeps the payload, which the event points to."""

    def __init__(self, kind: int, payload: bytes, sequence: int = 1) -> None:
        self.payload = ffi.new("uint8_t[]", payload) if payload else ffi.new("uint8_t[]", 1)
        self.event = ffi.new("aqw_event *")
        self.status = lib.aqw_event_decode(kind, sequence, self.payload, len(payload), self.event)


def value_of(field: Any) -> bytes | None:
    return None if field.data == ffi.NULL else bytes(ffi.buffer(field.data, field.size))


def text_of(field: Any) -> str | None:
    value = value_of(field)
    return None if value is None else value.decode()


def hex_of(field: Any) -> str | None:
    value = value_of(field)
    return None if value is None else value.hex()


def id_of(field: Any) -> str:
    return bytes(field).hex()


def texts_of(encoded_list: Any) -> list[str]:
    offset, entry, texts = ffi.new("uint32_t *"), ffi.new("aqw_bytes *"), []
    while lib.aqw_list_next(ffi.addressof(encoded_list), offset, entry) == OK:
        texts.append(bytes(ffi.buffer(entry.data, entry.size)).decode())
    assert len(texts) == encoded_list.count
    return texts


def read(event: Any) -> dict[str, Any]:
    """Return a decoded C event in the model's form."""
    kind = list(model.LAYOUTS)[event.kind - 1]
    member = getattr(getattr(event, "as"), MEMBERS.get(kind, kind), None)
    source: dict[str, Any] = {"kind": kind}
    for name, form in model.LAYOUTS[kind].items():
        source[name] = read_field(event if name == "timestamp" else member, name, form)
    return source


def read_field(owner: Any, name: str, form: str) -> Any:
    if form == "id":
        return id_of(getattr(owner, name))
    if form.startswith("optional_offset "):
        return getattr(owner, name) if owner.keeps_ids else None
    if form == "optional_id":
        return id_of(getattr(owner, name)) if owner.has_actor else None
    if form.split(maxsplit=1)[0] in {"varint", "varint32", "zigzag", "offset"}:
        return getattr(owner, name)
    if form == "bytes":
        return hex_of(getattr(owner, name))
    if form in {"text", "optional_text"}:
        return text_of(getattr(owner, name))
    if form == "ids":
        data = bytes(ffi.buffer(getattr(owner, name), 16 * getattr(owner, COUNTS[name]))).hex()
        return [data[at : at + 32] for at in range(0, len(data), 32)]
    if form == "states":
        return [model.STATES[owner.previous_state], model.STATES[owner.new_state]]
    if form == "outcome":
        result = model.RESULTS[owner.result]
        has_error = result in {"failure", "timeout"}
        error = text_of(owner.detail) if has_error else None
        return {
            "result": result,
            "error": error,
            "output": None if has_error else hex_of(owner.detail),
        }
    if form == "dimension":
        return model.DIMENSIONS[owner.dimension]
    return read_part(form, getattr(owner, name))


def read_part(form: str, part: Any) -> Any:
    if form == "spec":
        spec = ffi.new("aqw_task_spec *")
        assert lib.aqw_task_spec_decode(part.data, part.size, spec) == OK
        return read_task_spec(spec)
    if form == "filter":
        decoded = ffi.new("aqw_filter *")
        assert lib.aqw_filter_decode(part.data, part.size, decoded) == OK
        return read_filter(decoded)
    if form == "registration":
        registration = ffi.new("aqw_registration *")
        assert lib.aqw_registration_decode(part.data, part.size, registration) == OK
        return {
            "identity": text_of(registration.identity),
            "capabilities": texts_of(registration.capabilities),
            "department": text_of(registration.department),
            "heartbeat_interval_secs": registration.heartbeat_interval_secs,
            "tenant_id": id_of(registration.tenant_id) if registration.has_tenant else None,
        }
    names = model.ROLES if form == "role" else model.CAPABILITIES
    named = ffi.new("aqw_named *")
    assert lib.aqw_named_decode(part.data, part.size, len(names) - 1, named) == OK
    return {"name": names[named.code], "text": text_of(named.custom)}


def read_filter(decoded: Any) -> dict[str, Any]:
    kind = model.FILTERS[decoded.kind]
    if kind == "custom":
        return {"kind": kind, "key": text_of(decoded.key)}
    source: dict[str, Any] = {"kind": kind, "task_id": id_of(decoded.task_id)}
    if kind == "run_state_changed":
        source["state"] = model.STATES[decoded.state]
    if kind == "budget_threshold":
        source["dimension"] = model.DIMENSIONS[decoded.dimension]
        source["threshold_pct"] = decoded.threshold_pct
    return source


def read_task_spec(spec: Any) -> dict[str, Any]:
    policy: list[Any] = ["once"]
    if spec.policy == lib.AQW_POLICY_REPEAT:
        policy = ["repeat", spec.repeat_count, spec.repeat_interval_secs]
    if spec.policy == lib.AQW_POLICY_CRON:
        policy = ["cron", text_of(spec.cron_expression), spec.max_occurrences or None]
    has_required = spec.required_capabilities.data != ffi.NULL
    return {
        "payload": hex_of(spec.payload),
        "content_type": text_of(spec.content_type),
        "policy": policy,
        "max_attempts": spec.max_attempts,
        "timeout_secs": spec.timeout_secs if spec.has_timeout else None,
        "concurrency_key": text_of(spec.concurrency_key),
        "hold_policy": model.HOLD_POLICIES[spec.hold_policy],
        "safety_level": model.SAFETY_LEVELS[spec.safety_level],
        "required_capabilities": texts_of(spec.required_capabilities) if has_required else None,
        "tags": texts_of(spec.tags),
        "priority": spec.priority,
        "description": text_of(spec.description),
        "parent_task_id": id_of(spec.parent_task_id) if spec.has_parent else None,
        "tenant_id": id_of(spec.tenant_id) if spec.has_tenant else None,
    }
