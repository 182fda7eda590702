"""What fields of a queue's policies accept, and arguments of its calls that are like them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator
from numbers import Integral, Real
from typing import Any, TypeVar

from _wal_native.progress import Progress
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import (
    POLL_SECONDS_MAX,
    RING_SIZE_MAX,
    RING_SIZE_MIN,
    SEGMENT_SIZE_MAX,
    SEGMENT_SIZE_MIN,
    U64_MAX,
)
from actionqueue.texts import shown

Value = TypeVar("Value")


def whole_number(
    owner: str, field: str, value: Any, reason: str = "must be a whole number or None"
) -> int:
    """Return it as an int, whatever kind of whole number it is, NumPy's included.

    The owner is a policy or a call.

    Raises:
        InvalidFieldTypeError: The value is of another type.
    """
    if type(value) is int or _is_numpys(value, Integral):
        # Before the try block, which would take what a signal's handler raises for the value's.
        return operator.index(value)
    try:
        # NumPy before 2.3 takes its own booleans for numbers, with a warning.
        is_numpys = getattr(getattr(value, "dtype", None), "kind", None) == "b"
        if not isinstance(value, bool) and not is_numpys:
            return operator.index(value)
    except Exception as error:
        raise InvalidFieldTypeError(owner, field, value, reason) from error
    raise InvalidFieldTypeError(owner, field, value, reason)


def _is_numpys(value: Any, kind: type[Any]) -> bool:
    """Tell whether a value is one of NumPy's own numbers, whose conversion does not fail."""
    return type(value).__module__ == "numpy" and isinstance(value, kind)


def number_up_to(owner: str, field: str, value: Any, most: int, reason: str) -> int:
    """Return a whole number from 0 to ``most`` as an int. The reason says what fits.

    Raises:
        InvalidFieldError: It is out of range. InvalidFieldTypeError: It is no whole number.
    """
    number = whole_number(owner, field, value, reason)
    if not 0 <= number <= most:
        raise InvalidFieldError(owner, field, value, reason)
    return number


def number_from_0(owner: str, field: str, value: Any) -> int | None:
    """Return a whole number from 0 to 2**64 - 1, as the core has them, as an int; or None.

    Raises:
        InvalidFieldError: It is out of range. InvalidFieldTypeError: It is neither.
    """
    if value is None:
        return None
    return number_up_to(
        owner, field, value, U64_MAX, f"must be a whole number from 0 to {U64_MAX}, or None"
    )


def seconds_from_0(owner: str, field: str, value: Any, most: float | None = None) -> float:
    """Return a number of seconds as a float: an int, a float or another real number, but no bool.

    It must be finite, from 0, and at most as large as ``most`` says.

    Raises:
        InvalidFieldError: It is below 0, NaN, infinite or too large.
        InvalidFieldTypeError: It is no number.
    """
    reason = "must be a number of seconds, finite and from 0" + (
        "" if most is None else f" to {most}"
    )
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidFieldTypeError(owner, field, value, reason)
    seconds = _seconds_of(value, lambda: InvalidFieldTypeError(owner, field, value, reason))
    if not (math.isfinite(seconds) and seconds >= 0 and (most is None or seconds <= most)):
        raise InvalidFieldError(owner, field, value, reason)
    return seconds


def _seconds_of(value: Any, refusal: Callable[[], Exception]) -> float:
    """Return a number as a float, which is infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except Exception as error:
        if type(value) in {int, float} or _is_numpys(value, Real):
            raise  # a signal's handler raised it
        raise refusal() from error


def seconds_between_looks(owner: str, value: Any) -> float:
    """Return ``poll_seconds`` of the call that is the owner.

    Raises what :func:`seconds_from_0` raises.
    """
    return seconds_from_0(owner, "poll_seconds", value, POLL_SECONDS_MAX)


def progress_or_none(owner: str, value: Any) -> Progress | None:
    """Return what a long call tells its progress to.

    Raises InvalidFieldTypeError for anything else.
    """
    if value is None or isinstance(value, Progress):
        return value
    raise InvalidFieldTypeError(owner, "progress", value, "must be a Progress or None")


def function(owner: str, field: str, value: Value) -> Value:
    """Return what a call is to call back. Raises InvalidFieldTypeError for what can't be called."""
    if callable(value):
        return value
    raise InvalidFieldTypeError(owner, field, value, "must be callable")


def each(owner: str, field: str, values: Iterable[Value]) -> Iterator[Value]:
    """Return an iterator over what a call is given.

    Raises InvalidFieldTypeError for what has none.
    """
    try:
        return iter(values)
    except TypeError:
        raise InvalidFieldTypeError(owner, field, values, "must be iterable") from None


def texts(owner: str, field: str, values: Any) -> frozenset[str]:
    """Return several texts as a set.

    Raises InvalidFieldTypeError for anything else, also for one text: its letters are texts, too.
    """
    if isinstance(values, str | bytes):
        raise InvalidFieldTypeError(owner, field, values, "must be several texts, such as a set")
    found = list(each(owner, field, values))
    for value in found:
        if type(value) is not str:
            raise InvalidFieldTypeError(owner, field, value, "must be texts")
    return frozenset(found)


def object_with(owner: str, field: str, value: Value, methods: tuple[str, ...]) -> Value:
    """Return an object that a call is to work with.

    Raises InvalidFieldTypeError where it lacks one of the methods.
    """
    for name in methods:
        if not callable(getattr(value, name, None)):
            raise InvalidFieldTypeError(owner, field, value, f"must have a method {name}")
    return value


def flag(option: str, value: object) -> bool:
    """Return a bool. Raises TypeError for what only counts as true or false: "no" is true."""
    if isinstance(value, bool):
        return value
    raise TypeError(f"{option} must be True or False, got {shown(value)}")


_SIZES: dict[str, tuple[Callable[[int], bool], str]] = {
    "segment_size": (
        lambda size: SEGMENT_SIZE_MIN <= size <= SEGMENT_SIZE_MAX and size & (size - 1) == 0,
        f"a power of two from {SEGMENT_SIZE_MIN} to {SEGMENT_SIZE_MAX} bytes",
    ),
    "ring_size": (
        lambda size: RING_SIZE_MIN <= size <= RING_SIZE_MAX and size % RING_SIZE_MIN == 0,
        f"a multiple of {RING_SIZE_MIN} up to {RING_SIZE_MAX} bytes",
    ),
    "sector_size": (lambda size: size in {0, 512, 4096}, "0, 512 or 4096"),
}


def file_size(option: str, value: int) -> int:
    """Return a size of a queue's files that fits.

    Raises an error that names the sizes that do.
    """
    fits, text = _SIZES[option]
    try:
        size = whole_number("open", option, value)
    except InvalidFieldTypeError:
        raise TypeError(f"{option} must be {text}, got {shown(value)}") from None
    if not fits(size):
        raise ValueError(f"{option} must be {text}, got {shown(value)}")
    return size
