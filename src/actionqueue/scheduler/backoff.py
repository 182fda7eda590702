"""How long a run waits before it is tried again."""

from __future__ import annotations

import math
from hashlib import blake2b
from numbers import Real
from typing import Any

import msgspec

from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import CALENDAR_SECONDS_MAX, U32_MAX
from actionqueue.model import RunId
from actionqueue.policy_fields import number_up_to

__all__ = ["Backoff"]


class Backoff(msgspec.Struct, frozen=True):
    """A delay that grows with each attempt.

    After the first attempt a run waits ``first`` seconds, after each further one ``factor`` times
    as long as after the one before, and never longer than ``most``. ``jitter`` shortens each delay
    by a share of up to that much, so that runs which failed together do not come back together.
    The share follows from the run and the attempt: a restart, and a test, see the same time.

    Raises:
        InvalidFieldError: ``first`` is not from 0 to ``most``; ``factor`` is not finite and from 1;
            ``most`` is beyond ``actionqueue.limits.CALENDAR_SECONDS_MAX``; ``jitter`` is not from
            0 to 1.
        InvalidFieldTypeError: One of them is no number.
    """

    first: float = 1
    """Seconds after the first attempt."""
    factor: float = 2
    """What each further delay is multiplied by."""
    most: float = 3600
    """The longest delay, in seconds."""
    jitter: float = 0.1
    """The largest share by which a delay is shortened, from 0 to 1."""

    def __post_init__(self) -> None:
        """Check the fields."""
        most = _number("most", self.most, 0, CALENDAR_SECONDS_MAX)
        _number("first", self.first, 0, most)
        _number("factor", self.factor, 1, math.inf)
        _number("jitter", self.jitter, 0, 1)

    def seconds_after(self, run_id: RunId, attempt: int) -> int:
        """Return the whole seconds, rounded up, that the run waits after an attempt.

        Args:
            run_id: The run.
            attempt: The attempt's number, from 1.

        Raises:
            InvalidFieldError: The number is out of range; InvalidFieldTypeError: of another type.
        """
        if type(run_id) is not RunId:
            raise InvalidFieldTypeError("seconds_after", "run_id", run_id, "must be a RunId")
        reason = f"must be a whole number from 1 to {U32_MAX}"
        number = number_up_to("seconds_after", "attempt", attempt, U32_MAX, reason)
        if number == 0:
            raise InvalidFieldError("seconds_after", "attempt", attempt, reason)
        try:
            delay = min(self.first * float(self.factor) ** (number - 1), self.most)
        except OverflowError:  # beyond every float, and so beyond the longest delay
            delay = self.most if self.first else 0
        return math.ceil(delay * (1 - self.jitter * _share_of(run_id, number)))


def _share_of(run_id: RunId, attempt: int) -> float:
    """Return a number from 0 to below 1 that follows from a run and an attempt."""
    digest = blake2b(run_id.bytes + attempt.to_bytes(4, "big"), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


def _number(field: str, value: Any, least: float, most: float) -> float:
    end = "" if math.isinf(most) else f" to {most}"
    reason = f"must be a finite number from {least}{end}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidFieldTypeError("Backoff", field, value, reason)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and least <= number <= most):
        raise InvalidFieldError("Backoff", field, value, reason)
    return number
