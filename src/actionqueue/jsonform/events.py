"""Events as JSON: ``{"type", "sequence", ...}`` and the event's fields, as in commands and projections.

Enum values are lower snake case, bytes hexadecimal, identifiers hyphenated, what is absent null. A task's specification
and a filter look as they do in a command; a role or capability of the application's own is ``{"custom": text}``.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from actionqueue.jsonform.commands import command_to_json
from actionqueue.model import (
    Capability,
    Event,
    EventFilter,
    Identifier,
    Role,
    SubscriptionCreateCommand,
    SubscriptionId,
    TaskCreateCommand,
    TaskId,
    TaskSpec,
)

__all__ = ["event_to_json", "fields_to_json", "value_to_json"]

_ANY_SUBSCRIPTION = SubscriptionId()
_ANY_TASK = TaskId()


def event_to_json(event: Event) -> dict[str, Any]:
    """Return the event as an object that JSON can encode."""
    return {"type": event.kind.name.lower(), **fields_to_json(event)}


def fields_to_json(instance: msgspec.Struct) -> dict[str, Any]:
    """Return every field of an event or record in its JSON form, by name."""
    return {name: value_to_json(getattr(instance, name)) for name in instance.__struct_fields__}


def value_to_json(value: Any) -> Any:  # noqa: PLR0911 -- one a type
    """Return a field's value in its JSON form."""
    match value:
        case Enum():
            return value.value
        case Identifier():
            return str(value)
        case bytes():
            return value.hex()
        case tuple():
            return [value_to_json(entry) for entry in value]
        case Role() | Capability():
            return value.name if value.text is None else {"custom": value.text}
        case TaskSpec():
            return command_to_json(TaskCreateCommand(None, value, 0))["task_spec"]
        case EventFilter():
            return command_to_json(SubscriptionCreateCommand(None, _ANY_SUBSCRIPTION, _ANY_TASK, value, 0))["filter"]
        case msgspec.Struct():
            return fields_to_json(value)
        case _:
            return value
