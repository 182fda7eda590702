"""Python events and domain objects ↔ payload bytes."""

from typing import final

from actionqueue.model import (
    ActorId,
    ActorRegistration,
    Capability,
    Event,
    EventFilter,
    Role,
    TaskId,
    TaskSpec,
)

class Misfit(Exception):
    """Says why an object has no C event: a function that makes the error, and its arguments.

    The encoder raises it and nothing else on purpose, and runs no Python code for that. In the code
    of an error's constructor a signal's handler may raise; the short way, which drops whatever the
    encoder raises, would drop that, too.
    """

def wrong_type(cls: type, value: object) -> TypeError:
    """Return the error for a value that is not of the class."""

def wrong_object(needed: str, value: object) -> TypeError:
    """Return the error for an object that is none of several classes."""

def empty_slot(owner: object) -> AttributeError:
    """Return the error for an object that lacks a field."""

@final
class Scratch:
    """Memory that an encoder writes to, and uses again for its next event."""

@final
class EventEncoder:
    """Turns Python events into C events, one at a time. The other native modules use it."""

def encode_event(event: Event) -> bytes:
    """Return the event's payload bytes; its kind and sequence are not among them.

    Raises:
        RecordTooLarge: The payload, or one of its fields, is over a limit.
        MalformedEventError: No payload can hold the event, such as a created run that is not fresh.
        TypeError, OverflowError: It is not an event, or a field has a wrong type or range.
    """

def decode_event(kind: int, sequence: int, payload: bytes) -> Event:
    """Return the event of this kind (a code of ``EventKind``) that the payload holds.

    Raises:
        MalformedEventError: The payload is not one of that kind, or there is no such kind.
    """

def task_spec_from_bytes(task_id: TaskId, data: bytes) -> TaskSpec:
    """Return the task spec that its encoding holds, for a task. Raises MalformedEventError."""

def filter_from_bytes(data: bytes) -> EventFilter:
    """Return the event filter that its encoding holds. Raises MalformedEventError."""

def registration_from_bytes(actor_id: ActorId, data: bytes) -> ActorRegistration:
    """Return the registration that its encoding holds, for an actor. Raises MalformedEventError."""

def role_from_bytes(data: bytes) -> Role:
    """Return the role that its encoding holds. Raises MalformedEventError."""

def capability_from_bytes(data: bytes) -> Capability:
    """Return the capability that its encoding holds. Raises MalformedEventError."""

def capability_to_bytes(capability: Capability) -> bytes:
    """Return the capability's encoding. Raises RecordTooLarge where its text is over the limit."""
