"""Arrays of identifiers, states, results and texts, as columns are made of them.

:mod:`actionqueue.columns` says what the arrays are for. All of this is importable from there.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from _wal_native.arrays import pack_ids, unpack_ids
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import ROW_COUNT_MAX
from actionqueue.model import AttemptResultKind, Identifier, RunState
from actionqueue.policy_fields import each, number_up_to, whole_number
from actionqueue.texts import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STATES = tuple(RunState)
_RESULTS = tuple(AttemptResultKind)

AnyId = TypeVar("AnyId", bound=Identifier)


def numpy_module() -> Any:
    """Import the module and return it, or raise an ImportError that says what to install."""
    try:
        return importlib.import_module("numpy")
    except ModuleNotFoundError as error:
        if error.name != "numpy":  # NumPy is there; its own words say what it lacks
            raise
        reason = "arrays need NumPy: pip install 'actionqueue[numpy]'"
        raise ModuleNotFoundError(reason, name="numpy") from error


def id_array(ids: Iterable[Identifier]) -> NDArray[np.void]:
    """Return the identifiers as a V16 array.

    Raises InvalidFieldTypeError for a value that is no identifier.
    """
    numpy = numpy_module()
    return cast("NDArray[np.void]", numpy.frombuffer(pack_ids(each("id_array", "ids", ids)), "V16"))


def ids_from_array(array: Any, id_type: type[AnyId]) -> list[AnyId]:
    """Return the identifiers in an array as objects of the type, such as RunId.

    The array is V16, or uint8 of shape (n, 16). Raises InvalidFieldTypeError for another type of
    array (S16!), InvalidFieldError for another layout.
    """
    return unpack_ids(array, id_type)


def new_ids(id_type: type[Identifier], count: int) -> NDArray[np.void]:
    """Return ``count`` new random identifiers (version 4 UUIDs) as a V16 array.

    ``id_type`` says what they identify; identifiers of all types look alike. Raises
    InvalidFieldError for a count that is not from 0 to ``actionqueue.limits.ROW_COUNT_MAX``,
    InvalidFieldTypeError for a count that is no whole number, MemoryError.
    """
    if (
        not isinstance(id_type, type)
        or id_type is Identifier
        or not issubclass(id_type, Identifier)
    ):
        raise InvalidFieldTypeError(
            "new_ids", "id_type", id_type, "must be one of the seven identifier types"
        )
    # One of Python's integers: 16 times a small one of NumPy's overflows.
    needed = f"must be a whole number from 0 to {ROW_COUNT_MAX}"
    number = number_up_to("new_ids", "count", count, ROW_COUNT_MAX, needed)
    numpy = numpy_module()
    octets = numpy.frombuffer(bytearray(os.urandom(16 * number)), numpy.uint8).reshape(-1, 16)
    octets[:, 6] = octets[:, 6] & 0x0F | 0x40  # the version: random
    octets[:, 8] = octets[:, 8] & 0x3F | 0x80  # the variant of RFC 9562
    return cast("NDArray[np.void]", octets.view("V16").reshape(-1))


def state_codes(states: Iterable[RunState | str]) -> NDArray[np.uint8]:
    """Return the codes of states, which are members or names.

    Raises InvalidFieldError for anything else.
    """
    return _codes("state_codes", "states", states, _STATES)


def states_from_codes(codes: Iterable[int]) -> list[RunState]:
    """Return the states of codes.

    Raises IndexError for a code that is not from 0 to 8, InvalidFieldTypeError for a value that is
    no whole number.
    """
    owner, field = "states_from_codes", "codes"
    numbers = [
        whole_number(owner, field, code, "must be whole numbers")
        for code in each(owner, field, codes)
    ]
    for code in numbers:
        if not 0 <= code < len(_STATES):
            raise IndexError(f"codes must be from 0 to {len(_STATES) - 1}, got {shown(code)}")
    return [_STATES[code] for code in numbers]


def state_of(owner: str, state: RunState | str | int) -> RunState:
    """Return the state that a query's argument says: a member, its name or its code.

    Raises InvalidFieldError for anything else.
    """
    if isinstance(state, RunState):
        return state
    if isinstance(state, str):
        if state not in _STATES:
            raise InvalidFieldError(owner, "state", state, f"must be one of {', '.join(_STATES)}")
        return RunState(state)
    code = whole_number(owner, "state", state, "must be a RunState, its name or its code, or None")
    if not 0 <= code < len(_STATES):
        raise InvalidFieldError(
            owner, "state", state, f"must be a code from 0 to {len(_STATES) - 1}"
        )
    return _STATES[code]


def result_codes(results: Iterable[AttemptResultKind | str]) -> NDArray[np.uint8]:
    """Return the codes of attempts' results, which are members or names.

    Raises InvalidFieldError for anything else.
    """
    return _codes("result_codes", "results", results, _RESULTS)


def _codes(
    owner: str, argument: str, values: Iterable[str], members: tuple[str, ...]
) -> NDArray[np.uint8]:
    numpy = numpy_module()
    codes = bytearray()
    for value in each(owner, argument, values):
        if value not in members:
            raise InvalidFieldError(owner, argument, value, f"must be one of {', '.join(members)}")
        codes.append(members.index(value))
    return cast("NDArray[np.uint8]", numpy.frombuffer(codes, numpy.uint8))


def offsets_and_data(
    values: Iterable[str | bytes | None],
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Return texts or bytes, one a row or None, as the pair of arrays that the submits take.

    Row i has the bytes of the data from offset i up to offset i + 1; there is one offset more than
    there are rows. Raises InvalidFieldTypeError for a value that is neither, InvalidFieldError for
    a text that has no UTF-8 form.
    """
    numpy = numpy_module()
    parts = [_bytes_of(value) for value in each("offsets_and_data", "values", values)]
    offsets = numpy.zeros(len(parts) + 1, numpy.uint64)
    numpy.cumsum([len(part) for part in parts], out=offsets[1:], dtype=numpy.uint64)
    return offsets, numpy.frombuffer(b"".join(parts), numpy.uint8)


def _bytes_of(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise InvalidFieldError(
                "offsets_and_data", "values", value, "must not have lone surrogates"
            ) from None
    if value is None or isinstance(value, bytes | bytearray | memoryview):
        return value or b""
    raise InvalidFieldTypeError("offsets_and_data", "values", value, "must be str, bytes or None")
