"""Identifiers, and what the projection has of tasks, runs and attempts, as the bytes of arrays."""

from collections.abc import Iterable
from typing import Any, TypeVar

from actionqueue.model import Identifier, RunState

from .table import StateTable

_AnyId = TypeVar("_AnyId", bound=Identifier)

RUN_LAYOUT: dict[str, Any]
TASK_LAYOUT: dict[str, Any]
ATTEMPT_LAYOUT: dict[str, Any]

def pack_ids(ids: Iterable[Identifier], /) -> bytearray:
    """The identifiers' bytes, 16 each, one behind the other. InvalidFieldTypeError for anything that is no identifier."""

def unpack_ids(array: Any, id_type: type[_AnyId], /) -> list[_AnyId]:
    """The identifiers in an array, V16 or uint8 of shape (n, 16), as objects of one of the seven types."""

def read_records(table: StateTable, /) -> tuple[int, bytes, bytes, bytes]:
    """(latest sequence, tasks, runs, attempts): all of the table at one moment, as the bytes of records."""

def read_run_ids(table: StateTable, state: RunState | None, /) -> bytes:
    """The bytes of the identifiers of the runs in a state, None for all, in the order in which they were created."""
