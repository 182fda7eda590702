"""Small vocabularies: enumerations that refuse what is no member as every constructor does."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeVar

__all__ = ["vocabulary"]

Members = TypeVar("Members", bound=type[Enum])


def vocabulary(field: str) -> Callable[[Members], Members]:
    """Have an enumeration's look-up by value name the field, the value and the members.

    Raises InvalidFieldError for what is no member, InvalidFieldTypeError for a value of another
    type. enum's own look-up puts the value into its message whatever that is, and so fails at a
    number of thousands of digits, or at an object whose ``repr`` fails.
    """

    def look_up_by(cls: Members) -> Members:
        members: dict[Any, Enum] = {member.value: member for member in cls}
        kind = str if issubclass(cls, str) else int
        # A subclass of theirs may have no hash.
        plain: Callable[[Any], Any] = str.__str__ if issubclass(cls, str) else int.__int__
        needed = f"must be one of {', '.join(map(str, members))}"

        def look_up(_cls: Members, value: object) -> Enum:
            # Only now, because the errors have vocabularies too.
            from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError  # noqa: PLC0415

            if type(value) is cls:
                return value
            if not isinstance(value, kind) or isinstance(value, bool):
                raise InvalidFieldTypeError(cls.__name__, field, value, needed)
            member = members.get(plain(value))
            if member is None:
                raise InvalidFieldError(cls.__name__, field, value, needed)
            return member

        cls.__new__ = look_up  # type: ignore[assignment,method-assign]
        return cls

    return look_up_by
