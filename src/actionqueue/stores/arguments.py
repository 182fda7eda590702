"""What the calls of every store accept."""

from __future__ import annotations

import time
from typing import Any

from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.policy_fields import number_up_to, object_with, seconds_from_0
from actionqueue.stores.protocol import LogStore, SnapshotInfo, Term

__all__ = [
    "DIGEST_SIZE_MAX",
    "GROUP_SIZE_MAX",
    "NAME_SIZE_MAX",
    "PIECE_SIZE_MAX",
    "SEQUENCE_MAX",
    "deadline",
    "digest_of",
    "ensure_in_order",
    "ensure_store",
    "group_of",
    "info_of",
    "is_over",
    "name_of",
    "piece_of",
    "sequence_of",
    "sequences_of",
    "term_of",
]

GROUP_SIZE_MAX = 2**20
"""The bytes of a group: engines such as etcd take 1.5 MB a request."""
PIECE_SIZE_MAX = 2**20
DIGEST_SIZE_MAX = 64
NAME_SIZE_MAX = 200
SEQUENCE_MAX = 2**63 - 2
"""Engines count in signed numbers of 64 bits."""


def name_of(owner: str, field: str, value: Any) -> str:
    """Return the name of a log or of a holder, which people read and keys are made of."""
    if type(value) is not str:
        raise InvalidFieldTypeError(owner, field, value, "must be a text")
    if not value or not value.isprintable() or "/" in value:
        reason = "must not be empty, and have neither a slash nor what cannot be printed"
        raise InvalidFieldError(owner, field, value, reason)
    if len(value.encode()) > NAME_SIZE_MAX:
        reason = f"must be at most {NAME_SIZE_MAX} bytes of UTF-8"
        raise InvalidFieldError(owner, field, value, reason)
    return value


def ensure_store(owner: str, value: Any) -> None:
    """Raise InvalidFieldTypeError for what lacks a method of a LogStore."""
    names = tuple(name for name in vars(LogStore) if not name.startswith("_"))
    object_with(owner, "store", value, names)


def sequence_of(owner: str, field: str, value: Any) -> int:
    """Return a sequence, from 0."""
    reason = f"must be a sequence, from 0 to {SEQUENCE_MAX}"
    return number_up_to(owner, field, value, SEQUENCE_MAX, reason)


def sequences_of(first: Any, last: Any) -> tuple[int, int]:
    """Return the first and the last sequence of a group."""
    first = sequence_of("append", "first", first)
    last = sequence_of("append", "last", last)
    if not 1 <= first <= last:
        raise InvalidFieldError("append", "last", last, f"must not come before first ({first})")
    return first, last


def _bytes_of(owner: str, field: str, value: Any, most: int, least: int = 0) -> bytes:
    if type(value) is not bytes:
        raise InvalidFieldTypeError(owner, field, value, "must be bytes")
    if not least <= len(value) <= most:
        reason = f"must have {least} to {most} bytes, and has {len(value)}"
        raise InvalidFieldError(owner, field, value, reason)
    return value


def group_of(owner: str, value: Any) -> bytes:
    """Return the bytes of a group."""
    return _bytes_of(owner, "group", value, GROUP_SIZE_MAX, least=1)


def piece_of(value: Any) -> bytes:
    """Return a piece of a snapshot."""
    return _bytes_of("put_snapshot", "pieces", value, PIECE_SIZE_MAX)


def digest_of(value: Any) -> bytes:
    """Return a snapshot's digest."""
    return _bytes_of("put_snapshot", "digest", value, DIGEST_SIZE_MAX)


def ensure_in_order(sequence: int, next_sequence: int, newest: int) -> None:
    """Refuse a snapshot that goes beyond the log's end, or comes before the newest snapshot.

    With the first, a trim would drop what no snapshot holds. The second's pieces count as left
    over while it is on its way.
    """
    if sequence >= next_sequence:
        reason = f"must be at most the log's last sequence ({next_sequence - 1})"
        raise InvalidFieldError("put_snapshot", "sequence", sequence, reason)
    if sequence < newest:
        reason = f"must not come before the newest snapshot ({newest})"
        raise InvalidFieldError("put_snapshot", "sequence", sequence, reason)


def term_of(owner: str, value: Any, field: str = "term") -> Term:
    """Return a term."""
    if type(value) is not Term:
        reason = "must be a Term, which campaign returned"
        raise InvalidFieldTypeError(owner, field, value, reason)
    sequence_of(owner, f"{field}.epoch", value.epoch)
    name_of(owner, f"{field}.holder", value.holder)
    return value


def info_of(value: Any) -> SnapshotInfo:
    """Return what is to be known of a snapshot."""
    if type(value) is not SnapshotInfo:
        reason = "must be a SnapshotInfo, which snapshots returned"
        raise InvalidFieldTypeError("get_snapshot", "info", value, reason)
    for field in ("sequence", "epoch", "piece_count"):
        sequence_of("get_snapshot", f"info.{field}", getattr(value, field))
    return value


def deadline(owner: str, timeout: Any) -> float | None:
    """Return when a timeout ends, by ``time.monotonic``; None where it does not."""
    return None if timeout is None else time.monotonic() + seconds_from_0(owner, "timeout", timeout)


def is_over(until: float | None) -> bool:
    """Whether a deadline has passed."""
    return until is not None and time.monotonic() >= until
