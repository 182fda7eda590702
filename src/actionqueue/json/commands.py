"""The JSON form of commands and events: one object each.

A command has ``type`` (its name in lower snake case), ``sequence`` (left out or null takes the
next one) and ``timestamp``; the other keys are the command's fields, in the form of
:mod:`actionqueue.model.forms`, and what is absent may be left out. Apart from that:

- ``task_create`` has ``task_spec``, in which payload, constraints and metadata lie flat.
  ``repeat`` is ``[count, interval_secs]`` and ``cron`` is ``[expression, max_occurrences]`` (which
  may be null); with neither of them the task runs once. ``cron``, ``concurrency_key_hold_policy``,
  ``safety_level`` and ``required_capabilities`` are written only where they are not the default.
- ``run_create`` has ``run``, and a timestamp beside it is ignored. The run's ``state`` is
  ``scheduled``, with ``effective_priority`` ignored, or ``ready``.
- The fields of a registration and of a ledger entry lie flat. A ledger entry has the command's
  timestamp, unless ``entry_timestamp`` says otherwise.
- A role or capability is its name, or ``{"custom": text}``. A filter is an object with its
  ``type``.

``durability`` belongs to the submission, not to the command, and is left to the caller.

An event has ``type``, the name of its kind, and all its fields. A task's specification and a
filter look as they do in a command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.model import Event, MutationCommand
from actionqueue.model.base import COMMANDS
from actionqueue.model.forms import Keys, fields_to_json, object_from_keys, value_to_json

__all__ = ["command_from_json", "command_to_json", "event_to_json"]


def command_from_json(data: Mapping[str, Any]) -> MutationCommand:
    """Return the command that a decoded JSON object describes.

    Raises InvalidFieldError, which names the key or field, for unknown types, missing or unknown
    keys and values that a constructor refuses. The object is not changed.
    """
    keys = Keys("command", data)
    name = keys.take("type")
    cls = COMMANDS.get(str.__str__(name)) if isinstance(name, str) else None
    if cls is None:
        raise InvalidFieldError("command", "type", name, "must be the name of a command")
    keys.where = name
    keys.take("durability", None)
    command: MutationCommand = object_from_keys(cls, keys)
    keys.finish()
    return command


def command_to_json(command: MutationCommand) -> dict[str, Any]:
    """Return the command as an object that JSON can encode.

    :func:`command_from_json` gives an equal command. Raises InvalidFieldError for a run that is to
    be created with a past: it has no JSON form.
    """
    cls = type(command)
    if cls not in COMMANDS.values():
        reason = f"must be one of the {len(COMMANDS)} commands"
        raise InvalidFieldTypeError("command", "type", command, reason)
    return {"type": cls.tells.name, **value_to_json(command)}


def event_to_json(event: Event) -> dict[str, Any]:
    """Return the event as an object that JSON can encode."""
    return {"type": event.kind.name.lower(), **fields_to_json(event)}
