"""Identifiers, and what the projection has of tasks, runs and attempts, as the bytes of arrays."""

from collections.abc import Iterable
from typing import Any, TypeVar

from actionqueue.model import Identifier, RunState

from .table import StateTable

_AnyId = TypeVar("_AnyId", bound=Identifier)

RUN_LAYOUT: dict[str, Any]
"""What ``numpy.dtype`` takes for a run's record. The layouts of tasks and attempts are alike."""
TASK_LAYOUT: dict[str, Any]
ATTEMPT_LAYOUT: dict[str, Any]

def pack_ids(ids: Iterable[Identifier], /) -> bytearray:
    """Return the identifiers' bytes, 16 for each, one after the other.

    Raises InvalidFieldTypeError for an item that is not an identifier.
    """

def unpack_ids(array: Any, id_type: type[_AnyId], /) -> list[_AnyId]:
    """Return the identifiers in an array, as objects of one of the seven types.

    The array is V16, or uint8 of shape (n, 16). Raises InvalidFieldTypeError for an array of
    another type or for another `id_type`, InvalidFieldError for an array of another layout.
    """

def read_records(table: StateTable, /) -> tuple[int, bytes, bytes, bytes]:
    """Return (latest sequence, tasks, runs, attempts): the whole table at one moment.

    The last three are the bytes of records, of TASK_LAYOUT, RUN_LAYOUT and ATTEMPT_LAYOUT. Times
    in them are Unix seconds.
    """

def read_run_ids(table: StateTable, state: RunState | None, /) -> bytes:
    """Return the bytes of run identifiers, 16 for each, in the order of the runs' creation.

    They are the runs in the state, or all runs where the state is None. Raises TypeError for a
    state that is not a RunState.
    """
