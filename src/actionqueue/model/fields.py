"""The types of fields: what the constructors of commands and domain types accept.

An annotation that is one of these aliases, an identifier type, an enumeration, another checked
type, a tuple of one of them, or one of them ``| None``, is all that a field needs. Checks and
conversions follow from it: the name of an enumeration's member becomes the member, a list becomes a
tuple, a bytearray or memoryview becomes bytes. Everything else is refused with
:class:`~actionqueue.errors.InvalidFieldError`, wrong types with
:class:`~actionqueue.errors.InvalidFieldTypeError`.

Modules that define checked types do not postpone the evaluation of annotations: the checker needs
them at once.
"""

from typing import Annotated

import msgspec

from _wal_native.fields import IntegerRule, SizeRule, field_checker
from actionqueue.limits import (
    I32_MAX,
    I32_MIN,
    LIST_COUNT_MAX,
    PAYLOAD_SIZE_MAX,
    TEXT_SIZE_MAX,
    U32_MAX,
    U64_MAX,
)

__all__ = [
    "I32",
    "U32",
    "U64",
    "Abstract",
    "Blob",
    "Checked",
    "NonEmptyText",
    "NonEmptyTexts",
    "PositiveU32",
    "PositiveU64",
    "Text",
    "Texts",
    "Timestamp",
]

U64 = Annotated[int, IntegerRule(0, U64_MAX)]
PositiveU64 = Annotated[int, IntegerRule(1, U64_MAX)]
U32 = Annotated[int, IntegerRule(0, U32_MAX)]
PositiveU32 = Annotated[int, IntegerRule(1, U32_MAX)]
I32 = Annotated[int, IntegerRule(I32_MIN, I32_MAX)]
Timestamp = U64
"""Unix seconds."""
Text = Annotated[str, SizeRule(0, TEXT_SIZE_MAX)]
NonEmptyText = Annotated[str, SizeRule(1, TEXT_SIZE_MAX)]
Blob = Annotated[bytes, SizeRule(0, PAYLOAD_SIZE_MAX)]
Texts = Annotated[tuple[Text, ...], SizeRule(0, LIST_COUNT_MAX)]
NonEmptyTexts = Annotated[tuple[NonEmptyText, ...], SizeRule(1, LIST_COUNT_MAX)]
"""At least one text, and none of them empty."""


class Checked(msgspec.Struct, frozen=True, gc=False):
    """Base of the immutable types whose constructors check their fields.

    Also decoding, unpickling and ``msgspec.structs.replace`` go through the constructor. A subclass
    may define ``_check_together``, which is called when each field is valid in itself. (No cycle
    collection: the fields of these types are plain values and other such types, so there can be no
    cycle.)
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # msgspec calls it with the instance.
        cls.__post_init__ = field_checker(cls)  # type: ignore[attr-defined]


class Abstract(Checked, frozen=True, gc=False):
    """Base of the families of checked types: its direct subclasses cannot be instantiated."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if Abstract in cls.__bases__:
            cls.__post_init__ = _refuse_abstract  # type: ignore[attr-defined]


def _refuse_abstract(instance: Abstract) -> None:
    raise TypeError(f"{type(instance).__name__} is abstract; use one of its subclasses")
