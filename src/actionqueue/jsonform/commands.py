"""The JSON form of commands: one object a command.

Every command has ``type`` (its name in lower snake case), ``sequence`` (left out or null takes the next one) and
``timestamp``; the other keys are the command's fields. Names are those of the constructors, enumerations are their
values, bytes are hexadecimal, identifiers hyphenated UUIDs, and what is absent is null or left out. Apart from that:

- ``task_create`` has ``task_spec``, in which payload, constraints and metadata lie flat. ``repeat`` is
  ``[count, interval_secs]`` and ``cron`` is ``[expression, max_occurrences]`` (which may be null); with neither of them
  the task runs once. ``cron``, ``concurrency_key_hold_policy``, ``safety_level`` and ``required_capabilities`` are
  written only where they are not the default.
- ``run_create`` has ``run``, and a timestamp there is ignored. The run's ``state`` is ``scheduled``, with
  ``effective_priority`` ignored, or ``ready``.
- The fields of a registration and of a ledger entry lie flat. A ledger entry has the command's timestamp, unless
  ``entry_timestamp`` says otherwise.
- A role or capability is its name, or ``{"custom": text}``. A filter is an object with its ``type``.

``durability`` belongs to the submission, not to the command, and is left to the caller.
"""

from __future__ import annotations

import reprlib
from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from actionqueue import model
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.model import (
    ActorId,
    ActorRegistration,
    AttemptId,
    AttemptOutcome,
    BudgetThresholdFilter,
    Capability,
    ConcurrencyKeyHoldPolicy,
    Cron,
    CustomFilter,
    EventFilter,
    Identifier,
    LedgerEntry,
    LedgerEntryId,
    Once,
    Repeat,
    Role,
    RunId,
    RunInstance,
    RunPolicy,
    RunState,
    RunStateChangedFilter,
    SafetyLevel,
    SubscriptionId,
    TaskCompletedFilter,
    TaskConstraints,
    TaskId,
    TaskMetadata,
    TaskPayload,
    TaskSpec,
    TenantId,
    TenantRegistration,
)

__all__ = ["command_from_json", "command_to_json"]


def command_from_json(data: Mapping[str, Any]) -> model.MutationCommand:
    """Return the command that a decoded JSON object describes.

    Raises InvalidFieldError, which names the key or field, for unknown types, missing or unknown keys and values that a
    constructor refuses. The object is not changed.
    """
    reader = _Reader("command", data)
    name = reader.take("type")
    form = _COMMANDS.get(str.__str__(name)) if isinstance(name, str) else None
    if form is None:
        raise InvalidFieldError("command", "type", name, "must be the name of a command")
    reader.where = name
    reader.take("durability", None)
    command: model.MutationCommand = form.read(reader)
    reader.finish()
    return command


def command_to_json(command: model.MutationCommand) -> dict[str, Any]:
    """Return the command as an object that JSON can encode; :func:`command_from_json` gives an equal command.

    Raises InvalidFieldError for a run that is to be created with a past: it has no JSON form.
    """
    name = _NAMES.get(type(command))
    if name is None:
        raise InvalidFieldTypeError("command", "type", command, "must be one of the 29 commands")
    form: Any = _COMMANDS[name]  # the one for this type of command
    return {"type": name, **form.write(command)}


# --- Reading objects -------------------------------------------------------------------------------------------------

_REQUIRED: Any = object()
_KEY_SHOWN_MAX = 64
"""Characters of an unknown key that a message shows as it is; any other key is quoted and cut."""


class _Reader:
    """An object that is being read, key by key, so that what is left in the end is known to be unknown."""

    def __init__(self, where: str, data: object) -> None:
        if not isinstance(data, Mapping):
            raise InvalidFieldTypeError(where, "value", data, "must be an object")
        self.where = where
        self._left = dict(data)

    def take(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return a key's value, or the default where it is absent or null."""
        value = self._left.pop(key, None)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise InvalidFieldError(self.where, key, None, "must be given")
        return default

    def finish(self) -> None:
        """Refuse what nobody asked for."""
        for key, value in self._left.items():
            shown = key if isinstance(key, str) and key.isidentifier() and len(key) <= _KEY_SHOWN_MAX else reprlib.repr(key)
            raise InvalidFieldError(self.where, shown, value, "is not a key of this object")


class _Codec(NamedTuple):
    """How a value is read and written; and what stands for it where it is absent."""

    read: Callable[[str, str, Any], Any]
    """Takes where the value is, its key and the value; raises InvalidFieldError with both."""
    write: Callable[[Any], Any]
    default: Any = _REQUIRED

    def or_else(self, default: Any) -> _Codec:
        return self._replace(default=default)


def _read_plain(_where: str, _key: str, value: Any) -> Any:
    return value  # the constructor checks it


def _write_plain(value: Any) -> Any:
    return value


def _write_list(value: tuple[Any, ...]) -> list[Any]:
    return list(value)


def _read_hex(where: str, key: str, value: Any) -> bytes:
    if not isinstance(value, str):
        raise InvalidFieldTypeError(where, key, value, "must be a string of hexadecimal digits")
    try:
        return unhexlify(value)
    except (HexError, ValueError):
        raise InvalidFieldError(where, key, value, "must be pairs of hexadecimal digits") from None


def _read_identifier(cls: type[Identifier], where: str, key: str, value: Any) -> Identifier:
    if not isinstance(value, str):
        raise InvalidFieldTypeError(where, key, value, "must be the text of a UUID")
    try:
        return cls(value)
    except InvalidFieldError as error:
        raise InvalidFieldError(where, key, value, error.reason) from None


def _id(cls: type[Identifier]) -> _Codec:
    return _Codec(lambda where, key, value: _read_identifier(cls, where, key, value), str)


def _ids(cls: type[Identifier]) -> _Codec:
    def read(where: str, key: str, value: Any) -> tuple[Identifier, ...]:
        if not isinstance(value, list | tuple):
            raise InvalidFieldTypeError(where, key, value, "must be a list of the texts of UUIDs")
        return tuple(_read_identifier(cls, where, key, entry) for entry in value)

    return _Codec(read, lambda value: [str(entry) for entry in value])


def _named(cls: type[Role | Capability]) -> _Codec:
    def read(where: str, key: str, value: Any) -> Role | Capability:
        if isinstance(value, str) and value != "custom":
            return cls(value)
        reader = _Reader(f"{where}.{key}", value)
        made = cls.custom(reader.take("custom"))
        reader.finish()
        return made

    return _Codec(read, lambda value: value.name if value.text is None else {"custom": value.text})


_PLAIN = _Codec(_read_plain, _write_plain)
_STATE = _Codec(_read_plain, str)  # any StrEnum: its plain value
_LIST = _Codec(_read_plain, _write_list)
_HEX = _Codec(_read_hex, bytes.hex)


class _Fields:
    """A type whose fields are the keys of an object; the values of more keys than that are left to the caller."""

    def __init__(self, cls: Callable[..., Any], **codecs: _Codec) -> None:
        self.cls = cls
        self.codecs = codecs

    def read(self, reader: _Reader, **more: Any) -> Any:
        for name, codec in self.codecs.items():
            value = reader.take(name, None if codec.default is not _REQUIRED else _REQUIRED)
            more[name] = codec.default if value is None else codec.read(reader.where, name, value)
        return self.cls(**more)

    def write(self, instance: Any) -> dict[str, Any]:
        return {name: _write(codec, getattr(instance, name)) for name, codec in self.codecs.items()}

    def nested(self) -> _Codec:
        """Return the codec of an object of its own."""

        def read(where: str, key: str, value: Any) -> Any:
            reader = _Reader(f"{where}.{key}", value)
            made = self.read(reader)
            reader.finish()
            return made

        return _Codec(read, self.write)


def _write(codec: _Codec, value: Any) -> Any:
    return None if value is None else codec.write(value)


# --- Tasks -----------------------------------------------------------------------------------------------------------

_HOLD = ConcurrencyKeyHoldPolicy.HOLD_DURING_RETRY
_PURE = SafetyLevel.PURE

_PAYLOAD = _Fields(TaskPayload, content_type=_PLAIN.or_else(None))
_CONSTRAINTS = _Fields(
    TaskConstraints,
    max_attempts=_PLAIN.or_else(1),
    timeout_secs=_PLAIN.or_else(None),
    concurrency_key=_PLAIN.or_else(None),
    concurrency_key_hold_policy=_STATE.or_else(_HOLD),
    safety_level=_STATE.or_else(_PURE),
    required_capabilities=_LIST.or_else(None),
)
_METADATA = _Fields(
    TaskMetadata,
    priority=_PLAIN.or_else(0),
    tags=_LIST.or_else(()),
    description=_PLAIN.or_else(None),
)
_SPEC = _Fields(
    TaskSpec,
    id=_id(TaskId),
    parent_task_id=_id(TaskId).or_else(None),
    tenant_id=_id(TenantId).or_else(None),
)
_DEFAULTS = {"concurrency_key_hold_policy": str(_HOLD), "safety_level": str(_PURE), "required_capabilities": None}


def _read_task_spec(where: str, key: str, value: Any) -> TaskSpec:
    reader = _Reader(f"{where}.{key}", value)
    spec: TaskSpec = _SPEC.read(
        reader,
        payload=_PAYLOAD.read(reader, data=_read_hex(reader.where, "payload", reader.take("payload"))),
        run_policy=_read_policy(reader),
        constraints=_CONSTRAINTS.read(reader),
        metadata=_METADATA.read(reader),
    )
    reader.finish()
    return spec


def _write_task_spec(spec: TaskSpec) -> dict[str, Any]:
    constraints = _CONSTRAINTS.write(spec.constraints)
    for key, default in _DEFAULTS.items():
        if constraints[key] == default:
            del constraints[key]
    return {
        **_SPEC.write(spec),
        "payload": spec.payload.data.hex(),
        **_PAYLOAD.write(spec.payload),
        **constraints,
        **_METADATA.write(spec.metadata),
        **_write_policy(spec.run_policy),
    }


def _read_policy(reader: _Reader) -> RunPolicy:
    repeat = reader.take("repeat", None)
    cron = reader.take("cron", None)
    if repeat is not None and cron is not None:
        raise InvalidFieldError(reader.where, "cron", cron, "must not be given together with repeat")
    if repeat is not None:
        return Repeat(*_pair(reader, "repeat", repeat, "[count, interval_secs]"))
    if cron is not None:
        return Cron(*_pair(reader, "cron", cron, "[expression, max_occurrences]"))
    return Once()


def _pair(reader: _Reader, key: str, value: Any, form: str) -> tuple[Any, Any]:
    if not isinstance(value, list | tuple):
        raise InvalidFieldTypeError(reader.where, key, value, f"must be {form}")
    try:
        first, second = value
    except ValueError:
        raise InvalidFieldError(reader.where, key, value, f"must be {form}") from None
    return first, second


def _write_policy(policy: RunPolicy) -> dict[str, Any]:
    if isinstance(policy, Repeat):
        return {"repeat": [policy.count, policy.interval_secs]}
    if isinstance(policy, Cron):
        return {"repeat": None, "cron": [policy.expression, policy.max_occurrences]}
    return {"repeat": None}


# --- Runs ------------------------------------------------------------------------------------------------------------

_RUN = {"id": _id(RunId), "task_id": _id(TaskId), "scheduled_at": _PLAIN, "created_at": _PLAIN}
_SCHEDULED_RUN = _Fields(RunInstance.scheduled, **_RUN)
_READY_RUN = _Fields(RunInstance.ready, **_RUN, effective_priority=_PLAIN.or_else(0))


class _RunCreate:
    """The one command without a timestamp."""

    cls = model.RunCreateCommand

    def read(self, reader: _Reader) -> model.RunCreateCommand:
        reader.take("timestamp", None)
        sequence = reader.take("sequence", None)
        run = _Reader(f"{reader.where}.run", reader.take("run"))
        state = run.take("state")
        if state == RunState.SCHEDULED:
            run.take("effective_priority", None)
            instance = _SCHEDULED_RUN.read(run)
        elif state == RunState.READY:
            instance = _READY_RUN.read(run)
        else:
            raise InvalidFieldError(run.where, "state", state, "must be scheduled or ready")
        run.finish()
        return model.RunCreateCommand(sequence, instance)

    def write(self, command: model.RunCreateCommand) -> dict[str, Any]:
        run = command.run_instance
        _refuse_past(run)
        return {
            "sequence": command.sequence,
            "run": {**_READY_RUN.write(run), "state": str(run.state)},
        }


def _refuse_past(run: RunInstance) -> None:
    """Refuse a run that neither of the two constructors could have made."""
    if run.state is RunState.SCHEDULED:
        fresh: dict[str, int | None] = {"effective_priority": 0}
    elif run.state is RunState.READY:
        fresh = {"scheduled_at": min(run.scheduled_at, run.created_at)}
    else:
        raise InvalidFieldError("run_create.run", "state", run.state, "must be scheduled or ready")
    fresh |= {"current_attempt_id": None, "attempt_count": 0, "last_state_change_at": run.created_at}
    for field, expected in fresh.items():
        value = getattr(run, field)
        if value != expected:
            raise InvalidFieldError("run_create.run", field, value, f"must be {expected} in a new run")


# --- The parts of other commands -------------------------------------------------------------------------------------

_OUTCOME = _Fields(AttemptOutcome, result=_STATE, error=_PLAIN.or_else(None), output=_HEX.or_else(None)).nested()

_FILTERS: dict[str, _Fields] = {
    "task_completed": _Fields(TaskCompletedFilter, task_id=_id(TaskId)),
    "run_state_changed": _Fields(RunStateChangedFilter, task_id=_id(TaskId), state=_STATE),
    "budget_threshold": _Fields(BudgetThresholdFilter, task_id=_id(TaskId), dimension=_STATE, threshold_pct=_PLAIN),
    "custom": _Fields(CustomFilter, key=_PLAIN),
}
_FILTER_NAMES = {fields.cls: name for name, fields in _FILTERS.items()}


def _read_filter(where: str, key: str, value: Any) -> EventFilter:
    reader = _Reader(f"{where}.{key}", value)
    name = reader.take("type")
    fields = _FILTERS.get(str.__str__(name)) if isinstance(name, str) else None
    if fields is None:
        raise InvalidFieldError(reader.where, "type", name, f"must be one of {', '.join(_FILTERS)}")
    made: EventFilter = fields.read(reader)
    reader.finish()
    return made


def _write_filter(value: EventFilter) -> dict[str, Any]:
    name = _FILTER_NAMES[type(value)]
    return {"type": name, **_FILTERS[name].write(value)}


class _Flat:
    """A command whose one part lies flat in the command's object."""

    def __init__(self, cls: Callable[..., Any], field: str, part: _Fields) -> None:
        self.cls = cls
        self.field = field
        self.part = part

    def read(self, reader: _Reader) -> Any:
        sequence, timestamp = reader.take("sequence", None), reader.take("timestamp")
        return self.cls(sequence, self.part.read(reader), timestamp)

    def write(self, command: Any) -> dict[str, Any]:
        return {
            "sequence": command.sequence,
            **self.part.write(getattr(command, self.field)),
            "timestamp": command.timestamp,
        }


class _LedgerAppend:
    """The one command with two timestamps, of which the log keeps the command's."""

    cls = model.LedgerAppendCommand
    entry = _Fields(
        LedgerEntry,
        entry_id=_id(LedgerEntryId),
        tenant_id=_id(TenantId),
        ledger_key=_PLAIN,
        actor_id=_id(ActorId).or_else(None),
        payload=_HEX,
    )

    def read(self, reader: _Reader) -> model.LedgerAppendCommand:
        sequence, timestamp = reader.take("sequence", None), reader.take("timestamp")
        entry = self.entry.read(reader, timestamp=reader.take("entry_timestamp", timestamp))
        return model.LedgerAppendCommand(sequence, entry, timestamp)

    def write(self, command: model.LedgerAppendCommand) -> dict[str, Any]:
        written = {"sequence": command.sequence, **self.entry.write(command.entry), "timestamp": command.timestamp}
        if command.entry.timestamp != command.timestamp:
            written["entry_timestamp"] = command.entry.timestamp
        return written


# --- The commands ----------------------------------------------------------------------------------------------------


def _command(cls: type[model.MutationCommand], **codecs: _Codec) -> _Fields:
    return _Fields(cls, sequence=_PLAIN.or_else(None), **codecs, timestamp=_PLAIN)


_RUN_ID = _id(RunId)
_TASK_ID = _id(TaskId)
_ATTEMPT_ID = _id(AttemptId)
_SUBSCRIPTION_ID = _id(SubscriptionId)
_ACTOR_ID = _id(ActorId)
_TENANT_ID = _id(TenantId)
_LEASE = {"run_id": _RUN_ID, "owner": _PLAIN, "expiry": _PLAIN}
_BUDGET = {"task_id": _TASK_ID, "dimension": _STATE}
_GRANT = {"actor_id": _ACTOR_ID, "capability": _named(Capability), "tenant_id": _TENANT_ID}
_REGISTRATION = _Fields(
    ActorRegistration,
    actor_id=_ACTOR_ID,
    identity=_PLAIN,
    capabilities=_LIST,
    department=_Codec(_read_plain, str).or_else(None),
    heartbeat_interval_secs=_PLAIN,
    tenant_id=_TENANT_ID.or_else(None),
)

_COMMANDS: dict[str, _Fields | _Flat | _RunCreate | _LedgerAppend] = {
    "task_create": _command(model.TaskCreateCommand, task_spec=_Codec(_read_task_spec, _write_task_spec)),
    "run_create": _RunCreate(),
    "run_state_transition": _command(
        model.RunStateTransitionCommand, run_id=_RUN_ID, previous_state=_STATE, new_state=_STATE
    ),
    "attempt_start": _command(model.AttemptStartCommand, run_id=_RUN_ID, attempt_id=_ATTEMPT_ID),
    "attempt_finish": _command(model.AttemptFinishCommand, run_id=_RUN_ID, attempt_id=_ATTEMPT_ID, outcome=_OUTCOME),
    "lease_acquire": _command(model.LeaseAcquireCommand, **_LEASE),
    "lease_heartbeat": _command(model.LeaseHeartbeatCommand, **_LEASE),
    "lease_expire": _command(model.LeaseExpireCommand, **_LEASE),
    "lease_release": _command(model.LeaseReleaseCommand, **_LEASE),
    "engine_pause": _command(model.EnginePauseCommand),
    "engine_resume": _command(model.EngineResumeCommand),
    "task_cancel": _command(model.TaskCancelCommand, task_id=_TASK_ID),
    "dependency_declare": _command(model.DependencyDeclareCommand, task_id=_TASK_ID, depends_on=_ids(TaskId)),
    "run_suspend": _command(model.RunSuspendCommand, run_id=_RUN_ID, reason=_PLAIN.or_else(None)),
    "run_resume": _command(model.RunResumeCommand, run_id=_RUN_ID),
    "budget_allocate": _command(model.BudgetAllocateCommand, **_BUDGET, limit=_PLAIN),
    "budget_consume": _command(model.BudgetConsumeCommand, **_BUDGET, amount=_PLAIN),
    "budget_replenish": _command(model.BudgetReplenishCommand, **_BUDGET, new_limit=_PLAIN),
    "subscription_create": _command(
        model.SubscriptionCreateCommand,
        subscription_id=_SUBSCRIPTION_ID,
        task_id=_TASK_ID,
        filter=_Codec(_read_filter, _write_filter),
    ),
    "subscription_cancel": _command(model.SubscriptionCancelCommand, subscription_id=_SUBSCRIPTION_ID),
    "subscription_trigger": _command(model.SubscriptionTriggerCommand, subscription_id=_SUBSCRIPTION_ID),
    "actor_register": _Flat(model.ActorRegisterCommand, "registration", _REGISTRATION),
    "actor_deregister": _command(model.ActorDeregisterCommand, actor_id=_ACTOR_ID),
    "actor_heartbeat": _command(model.ActorHeartbeatCommand, actor_id=_ACTOR_ID),
    "tenant_create": _Flat(
        model.TenantCreateCommand, "registration", _Fields(TenantRegistration, tenant_id=_TENANT_ID, name=_PLAIN)
    ),
    "role_assign": _command(model.RoleAssignCommand, actor_id=_ACTOR_ID, role=_named(Role), tenant_id=_TENANT_ID),
    "capability_grant": _command(model.CapabilityGrantCommand, **_GRANT),
    "capability_revoke": _command(model.CapabilityRevokeCommand, **_GRANT),
    "ledger_append": _LedgerAppend(),
}
_NAMES: dict[Any, str] = {form.cls: name for name, form in _COMMANDS.items()}
