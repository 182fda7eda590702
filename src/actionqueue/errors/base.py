"""What all errors have in common: typed fields, texts, equality, and what is in the log."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, dataclass_transform

from actionqueue.texts import shown, told
from actionqueue.vocabulary import vocabulary


@vocabulary("written")
class Written(StrEnum):
    """Whether the command's event may be in the log after an error."""

    NO = "no"
    """The log is as it was."""
    YES = "yes"
    """The event is in the log, and a restart will replay it."""
    UNKNOWN = "unknown"
    """The event may or may not survive a restart; reopening the queue shows which."""


_MISSING = object()


@dataclass_transform(eq_default=False)
class ActionQueueError(Exception):
    """Base of all errors of this library.

    A subclass declares its fields as annotations, in the order of its constructor's arguments. The
    error's text is the template ``message``, filled with the fields.
    """

    message: ClassVar[str] = ""
    fields: ClassVar[tuple[str, ...]] = ()
    """Names of the error's fields, in the order of the constructor's arguments."""
    written = Written.NO
    """Whether the command's event may be in the log."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = tuple(
            name for name, kind in cls.__annotations__.items() if "ClassVar" not in str(kind)
        )
        inherited = next(
            (base.fields for base in cls.__mro__[1:] if issubclass(base, ActionQueueError)), ()
        )
        cls.fields = inherited + own

    def __init__(self, *values: Any, **named: Any) -> None:
        cls = type(self)
        names = cls.fields
        if len(values) > len(names):
            raise TypeError(f"{cls.__name__} takes {len(names)} fields, got {len(values)}")
        for name in names[len(values) :]:
            value = named.pop(name) if name in named else getattr(cls, name, _MISSING)
            if value is _MISSING:
                raise TypeError(f"{cls.__name__} lacks the field {name!r}")
            values += (value,)
        if named:
            raise TypeError(f"{cls.__name__} has no further field {', '.join(named)}")
        # args hold every field, so pickling and copying need nothing else
        super().__init__(*values)
        for name, value in zip(names, values, strict=True):
            setattr(self, name, value)
            if name == "cause" and isinstance(value, BaseException):
                self.__cause__ = value

    def __str__(self) -> str:
        return self.message.format_map({name: told(getattr(self, name)) for name in self.fields})

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={shown(getattr(self, name))}" for name in self.fields)
        return f"{type(self).__name__}({values})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActionQueueError) or type(other) is not type(self):
            return NotImplemented
        return [_comparable(value) for value in self.args] == [
            _comparable(value) for value in other.args
        ]

    def __hash__(self) -> int:
        return hash(type(self))  # fields may hold values that cannot be hashed


def _comparable(value: object) -> object:
    """Return what a comparison looks at: exceptions of other libraries compare by identity only."""
    if isinstance(value, BaseException) and not isinstance(value, ActionQueueError):
        return (type(value), value.args)
    return value


class MutationError(ActionQueueError):
    """Base of the errors of submitting a command."""
