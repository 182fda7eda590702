"""Commands as lines of text: one JSON object a line.

The objects are in the form of :mod:`actionqueue.json.commands`, and may also have ``durability``,
``"immediate"`` or ``"deferred"``. A line is UTF-8 without a byte order mark, at most
:data:`LINE_SIZE_MAX` bytes long; whitespace around the object is ignored. What is no such object is
refused, a blank line too, and an object that gives a key twice: which value was meant cannot be
told. Integers are exact at any size, so 2**64 - 1 is that and nothing near it.
"""

from __future__ import annotations

import json
import reprlib
from typing import Any, NamedTuple

from actionqueue.errors import ActionQueueError, InvalidFieldError
from actionqueue.json.commands import command_from_json
from actionqueue.model import MutationCommand
from actionqueue.sync_policy import DurabilityPolicy

__all__ = ["LINE_SIZE_MAX", "InvalidLineError", "Submission", "submission_from_line"]

LINE_SIZE_MAX = 64 * 1024 * 1024
"""Bytes. The largest payload takes half of it."""


class InvalidLineError(ActionQueueError, ValueError):
    """A line of text is not one JSON object."""

    reason: str
    message = "not a command: {reason}"


class Submission(NamedTuple):
    """What a line asks for."""

    command: MutationCommand
    durability: DurabilityPolicy | None
    """None where the line does not say."""


def submission_from_line(line: bytes) -> Submission:
    """Return what the line asks for.

    Raises InvalidLineError, or InvalidFieldError for an object that is no command.
    """
    if len(line) > LINE_SIZE_MAX:
        raise InvalidLineError(f"the line is longer than {LINE_SIZE_MAX} bytes")
    data = _decode(line)
    if not isinstance(data, dict):
        raise InvalidLineError("the line is JSON, but not an object")
    return Submission(command_from_json(data), _durability(data.get("durability")))


def _durability(value: Any) -> DurabilityPolicy | None:
    try:
        return None if value is None else DurabilityPolicy(value)
    except ValueError:
        raise InvalidFieldError(
            "command", "durability", value, "must be immediate or deferred"
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise InvalidLineError(f"the key {reprlib.repr(key)} is given twice")
            seen.add(key)
    return made


def _refuse_constant(name: str) -> Any:
    raise InvalidLineError(f"{name} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _decode(line: bytes) -> Any:
    try:
        text = line.decode("utf-8").strip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise InvalidLineError(f"byte {error.start} is not UTF-8") from None
    if not text:
        raise InvalidLineError("the line is blank")
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidLineError(f"{error.msg} (character {error.pos})") from None
    except RecursionError:
        raise InvalidLineError("it is nested too deeply") from None
    except InvalidLineError:
        raise
    except ValueError:
        raise InvalidLineError("a number has thousands of digits") from None
