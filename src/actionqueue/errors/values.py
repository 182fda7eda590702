"""Values, bytes and events that are not what they must be."""

from __future__ import annotations

from typing import Any

from actionqueue.errors.base import ActionQueueError
from actionqueue.texts import shown


class InvalidFieldError(ActionQueueError, ValueError):
    """A constructor, a query or a call with arrays does not accept a value. Nothing was changed."""

    type_name: str
    """Name of the type, such as ``"TaskConstraints"``, or of the call."""
    field: str
    value: Any
    reason: str

    def __str__(self) -> str:
        return f"{self.type_name}.{self.field}: {self.reason}, got {shown(self.value)}"


class InvalidFieldTypeError(InvalidFieldError, TypeError):
    """A constructor, a query or a call with arrays does not accept a value of this type."""


class RefusedEventError(ActionQueueError):
    """An event breaks a rule of the projection. The projection is exactly as it was."""

    rule: str
    """The rule's name in lower snake case, such as ``"previous_state"``."""
    sequence: int
    message = "the projection refuses event {sequence}: {rule}"


class MalformedEventError(ActionQueueError):
    """The bytes do not decode to an event."""

    reason: str = "the payload does not decode"
    kind: int | None = None
    sequence: int | None = None

    def __str__(self) -> str:
        about = [
            f"{name} {value}"
            for name, value in (("kind", self.kind), ("sequence", self.sequence))
            if value is not None
        ]
        return f"malformed event{' (' + ', '.join(about) + ')' if about else ''}: {self.reason}"
