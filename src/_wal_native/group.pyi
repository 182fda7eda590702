"""Groups of events, as they lie in a replicated engine."""

from typing import TypeAlias

from .table import StateTable

_GroupHeader: TypeAlias = tuple[bytes, int, int, int, int, int, int]
"""The log's UUID, epoch, first and last sequence, watermark, link and checksum."""

def read_group(data: bytes) -> tuple[_GroupHeader, None] | tuple[None, str]:
    """Return a group's header and why the group is of no use: one of the two is None."""

def records_of_group(
    data: bytes, after: int
) -> list[tuple[int, int, int, int, int, int, int, bytes]]:
    """Return the records of a valid group's events after a sequence, as tuples like LogReader's."""

def event_checksum(sequence: int, kind: int, payload: bytes) -> int:
    """Return the checksum of an event itself, as a position has it."""

def take_in(table: StateTable, data: bytes) -> str:
    """Apply what a group has after the table's last event, a batch as one.

    Returns in words why it can't, or an empty text.
    """
