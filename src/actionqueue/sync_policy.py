"""When a queue syncs what was submitted: a command's durability, and syncs by a policy."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.policy_fields import whole_number
from actionqueue.vocabulary import vocabulary

__all__ = ["DurabilityPolicy", "SyncPolicy"]

_BOUNDS = {"records": 2**63 - 1, "bytes": 2**63 - 1, "milliseconds": 86_400_000}


@vocabulary("durability")
class DurabilityPolicy(StrEnum):
    """When a submitted command is on stable storage."""

    IMMEDIATE = "immediate"
    """Before ``submit`` returns: it survives a killed process and a power loss."""
    DEFERRED = "deferred"
    """At the next sync: until then it survives a killed process, but not a power loss."""


class SyncPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a queue syncs by itself. None switches a part off; with all parts off it never does.

    Deferred commands survive the end of the process in any case. The policy bounds what a power
    loss may take. A native thread of the queue's own does the syncs, so no submit waits for the
    disk on the policy's account. Each bound says when a sync begins (or, while another one is under
    way, is ready to begin after it); events submitted meanwhile wait for the next sync. An explicit
    ``sync()``, an Immediate command, a snapshot, a new segment and closing sync as they do without
    a policy, and count.

    A sync that fails in that thread poisons the handle, as any other does; the next call says so,
    also ``close()``.

    Raises:
        InvalidFieldError: A number is out of range. InvalidFieldTypeError: A value is of another
            type.
    """

    records: int | None = None
    """A sync begins when this many events wait for one. From 1."""
    bytes: int | None = None
    """A sync begins when the records of the waiting events have this many bytes. From 1."""
    milliseconds: int | None = None
    """A sync begins when the oldest waiting event is about this old. From 1 to a day."""
    when_ring_fills: bool = False
    """A sync follows when the ring is full and a submit writes it to the log's file. What is too
    large for the ring counts as filling it."""

    @property
    def acts(self) -> bool:
        """Whether the queue ever syncs by itself."""
        return self != SyncPolicy()

    def __post_init__(self) -> None:
        for field, most in _BOUNDS.items():
            value = getattr(self, field)
            if value is None:
                continue
            number = whole_number("SyncPolicy", field, value)
            if not 1 <= number <= most:
                raise InvalidFieldError(
                    "SyncPolicy", field, value, f"must be from 1 to {most}, or None"
                )
            msgspec.structs.force_setattr(self, field, number)
        if not isinstance(self.when_ring_fills, bool):
            raise InvalidFieldTypeError(
                "SyncPolicy", "when_ring_fills", self.when_ring_fills, "must be true or false"
            )
