"""The JSON form of commands and values, as the types of their fields say it.

An object has a key for each field. Names are those of the constructors, enumerations are their
values, bytes are hexadecimal, identifiers hyphenated UUIDs, and what is absent is null. So a new
class needs nothing of its own. A class whose form is another says so:

- ``_from_keys(cls, keys)`` and ``_to_keys(self)`` for an object with other keys,
- ``_from_json(cls, where, key, value)`` and ``_to_json(self)`` for what is not always an object.
"""

from __future__ import annotations

import reprlib
import typing
from binascii import Error as HexError
from binascii import unhexlify
from collections.abc import Callable, Mapping
from enum import Enum, StrEnum
from functools import cache
from types import UnionType
from typing import Annotated, Any

import msgspec

from _wal_native.fields import ConvertRule
from _wal_native.ids import Identifier
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError

__all__ = ["Keys", "bytes_from_hex", "fields_to_json", "object_from_keys", "value_to_json"]

_REQUIRED: Any = object()
_KEY_SHOWN_MAX = 64
"""Characters of an unknown key that a message shows as it is; any other key is quoted and cut."""


# --- Reading -------------------------------------------------------------------------------------


class Keys:
    """An object that is being read key by key, so that the keys left in the end are the unknown."""

    def __init__(self, where: str, data: object) -> None:
        if not isinstance(data, Mapping):
            raise InvalidFieldTypeError(where, "value", data, "must be an object")
        self.where = where
        self._left = dict(data)

    def take(self, key: str, default: Any = _REQUIRED) -> Any:
        """Return a key's value, or the default where it is absent or null."""
        value = self._left.pop(key, None)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise InvalidFieldError(self.where, key, None, "must be given")
        return default

    def fields(self, cls: type[msgspec.Struct], *names: str) -> dict[str, Any]:
        """Return the values of all fields of a class, or of those that are named, in this order."""
        forms = _forms(cls)
        return {name: self._field(name, forms[name]) for name in names or forms}

    def _field(self, name: str, form: _Form) -> Any:
        value = self.take(name, _REQUIRED if form.default is _REQUIRED else None)
        return form.default if value is None else form.read(self.where, name, value)

    def finish(self) -> None:
        """Refuse a key that nothing asked for."""
        for key, value in self._left.items():
            is_plain = isinstance(key, str) and key.isidentifier() and len(key) <= _KEY_SHOWN_MAX
            shown = key if is_plain else reprlib.repr(key)
            raise InvalidFieldError(self.where, shown, value, "is not a key of this object")


def object_from_keys(cls: type[Any], keys: Keys) -> Any:
    """Return the instance of a class that an object describes."""
    own = getattr(cls, "_from_keys", None)
    return cls(**keys.fields(cls)) if own is None else own(keys)


def bytes_from_hex(where: str, key: str, value: Any) -> bytes:
    """Return the bytes that a value describes."""
    if not isinstance(value, str):
        raise InvalidFieldTypeError(where, key, value, "must be a string of hexadecimal digits")
    try:
        return unhexlify(value)
    except (HexError, ValueError):
        raise InvalidFieldError(where, key, value, "must be pairs of hexadecimal digits") from None


class _Form:
    """How the value of a field is read, and what stands for it where it is absent.

    ``read`` takes where the value is, its key and the value; it raises InvalidFieldError with both.
    """

    def __init__(self, read: Callable[[str, str, Any], Any], default: Any = _REQUIRED) -> None:
        self.read = read
        self.default = default


@cache
def _forms(cls: type[msgspec.Struct]) -> dict[str, _Form]:
    return {field.name: _form_of_field(field) for field in msgspec.structs.fields(cls)}


def _form_of_field(field: msgspec.structs.FieldInfo) -> _Form:
    form = _form_of(field.type)
    return form if field.default is msgspec.NODEFAULT else _Form(form.read, field.default)


def _form_of(annotation: Any) -> _Form:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        kind, *rules = parts
        is_text = any(isinstance(rule, ConvertRule) and str in rule.accepted for rule in rules)
        return _Form(_read_plain) if is_text else _form_of(kind)
    if origin in (typing.Union, UnionType):
        [kind] = [part for part in parts if part is not type(None)]
        return _Form(_form_of(kind).read, None)
    if origin is tuple:
        return _Form(_reader_of_list(parts[0]))
    return _Form(_reader_of_class(annotation))


def _reader_of_class(cls: type[Any]) -> Callable[[str, str, Any], Any]:
    if cls is bytes:
        return bytes_from_hex
    if issubclass(cls, Identifier):
        return lambda where, key, value: _read_identifier(cls, where, key, value)
    if issubclass(cls, msgspec.Struct):
        own: Callable[[str, str, Any], Any] | None = getattr(cls, "_from_json", None)
        return own or (lambda where, key, value: _read_object(cls, where, key, value))
    if issubclass(cls, int | str | StrEnum):
        return _read_plain
    raise TypeError(f"{cls.__name__} has no form in JSON")


def _reader_of_list(kind: Any) -> Callable[[str, str, Any], Any]:
    if not (isinstance(kind, type) and issubclass(kind, Identifier)):
        return _read_plain
    return lambda where, key, value: _read_identifiers(kind, where, key, value)


def _read_plain(_where: str, _key: str, value: Any) -> Any:
    return value  # the constructor checks it


def _read_identifier(cls: type[Identifier], where: str, key: str, value: Any) -> Identifier:
    if not isinstance(value, str):
        raise InvalidFieldTypeError(where, key, value, "must be the text of a UUID")
    try:
        return cls(value)
    except InvalidFieldError as error:
        raise InvalidFieldError(where, key, value, error.reason) from None


def _read_identifiers(
    cls: type[Identifier], where: str, key: str, value: Any
) -> tuple[Identifier, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidFieldTypeError(where, key, value, "must be a list of the texts of UUIDs")
    return tuple(_read_identifier(cls, where, key, entry) for entry in value)


def _read_object(cls: type[msgspec.Struct], where: str, key: str, value: Any) -> Any:
    keys = Keys(f"{where}.{key}", value)
    made = object_from_keys(cls, keys)
    keys.finish()
    return made


# --- Writing -------------------------------------------------------------------------------------


def value_to_json(value: Any) -> Any:
    """Return a value of a field in its JSON form."""
    match value:
        case Enum():
            return value.value
        case Identifier():
            return str(value)
        case bytes():
            return value.hex()
        case tuple():
            return [value_to_json(entry) for entry in value]
        case msgspec.Struct():
            own = getattr(value, "_to_json", None) or getattr(value, "_to_keys", None)
            return fields_to_json(value) if own is None else own()
        case _:
            return value


def fields_to_json(instance: msgspec.Struct, *names: str) -> dict[str, Any]:
    """Return all fields of an instance, or those that are named, in their JSON form, by name."""
    chosen = names or instance.__struct_fields__
    return {name: value_to_json(getattr(instance, name)) for name in chosen}
