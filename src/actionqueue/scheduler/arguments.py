"""What the calls of a scheduler accept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import CALENDAR_SECONDS_MAX
from actionqueue.model import Identifier, LeaseAcquireCommand, RunId
from actionqueue.policy_fields import number_up_to, texts
from actionqueue.scheduler.claims import Claim

TIME = (
    f"must be Unix seconds, a whole number from 0 to {CALENDAR_SECONDS_MAX}"
    " (the end of the year 9999)"
)
CLAIM_COUNT_MAX = 65_536
"""The most runs that one call claims."""

ANY_RUN = RunId(b"any run, no run.")

Id = TypeVar("Id", bound=Identifier)


def time_of(owner: str, field: str, value: Any) -> int:
    """Return a time in Unix seconds. Raises InvalidFieldError for anything else."""
    if type(value) is int and 0 <= value <= CALENDAR_SECONDS_MAX:
        return value
    return number_up_to(owner, field, value, CALENDAR_SECONDS_MAX, TIME)


def time_or_none(owner: str, field: str, value: Any) -> int | None:
    """Return a time in Unix seconds, or None. Raises InvalidFieldError for anything else."""
    return None if value is None else time_of(owner, field, value)


def number_from_1(owner: str, field: str, value: Any, most: int) -> int:
    """Return a whole number from 1. Raises InvalidFieldError for anything else."""
    reason = f"must be a whole number from 1 to {most}"
    number = number_up_to(owner, field, value, most, reason)
    if number == 0:
        raise InvalidFieldError(owner, field, value, reason)
    return number


def identifier(owner: str, field: str, value: Any, kind: type[Id]) -> Id:
    """Return an identifier of a kind. Raises InvalidFieldTypeError for anything else."""
    if type(value) is not kind:
        raise InvalidFieldTypeError(owner, field, value, f"must be a {kind.__name__}")
    found: Id = value
    return found


def identifiers(owner: str, field: str, values: Any, kind: type[Id]) -> list[Id]:
    """Return several identifiers, each once. Raises InvalidFieldTypeError for anything else."""
    try:
        each = list(values)
    except TypeError:
        reason = f"must be several of {kind.__name__}"
        raise InvalidFieldTypeError(owner, field, values, reason) from None
    return list(dict.fromkeys(identifier(owner, field, value, kind) for value in each))


def texts_or_none(owner: str, field: str, values: Any) -> frozenset[str] | None:
    """Return several texts, or None. Raises InvalidFieldTypeError for anything else."""
    return None if values is None else texts(owner, field, values)


def owner_of(owner: str, value: Any) -> str:
    """Return a worker's name, which leases have. Raises InvalidFieldError for anything else."""
    if type(value) is not str:
        raise InvalidFieldTypeError(owner, "owner", value, "must be a text")
    if not value:
        raise InvalidFieldError(owner, "owner", value, "must not be empty")
    try:
        LeaseAcquireCommand(None, ANY_RUN, value, 0, 0)
    except InvalidFieldError as error:  # no lease can have it
        raise InvalidFieldError(owner, "owner", value, error.reason) from None
    return value


def claim_of(owner: str, value: Any) -> Claim:
    """Return a claim. Raises InvalidFieldTypeError for anything else."""
    if type(value) is not Claim:
        raise InvalidFieldTypeError(owner, "claim", value, "must be a Claim")
    return value


def claims_of(owner: str, values: Any) -> list[Claim]:
    """Return one or several claims as a list. Raises InvalidFieldTypeError for anything else."""
    if type(values) is Claim:
        return [values]
    if not isinstance(values, Iterable):
        reason = "must be a Claim, or several"
        raise InvalidFieldTypeError(owner, "claims", values, reason)
    return [claim_of(owner, value) for value in values]
