"""The groups of a store, checked one after the other."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from _wal_native.group import read_group
from actionqueue.errors import DamagedGroupError

__all__ = ["Chain", "GroupHeader"]


class GroupHeader(NamedTuple):
    """What a group says of itself."""

    log_uuid: bytes
    epoch: int
    first: int
    last: int
    watermark: int
    link: int
    """The checksum of the group before it; 0 where its writer did not know that."""
    checksum: int


class Chain:
    """Groups of one log, each of which has to go on where the one before it ended."""

    def __init__(self, log_id: UUID, after: int, checksum: int = 0) -> None:
        self._log_id = log_id
        self.last = after
        """The sequence of the last event."""
        self.checksum = checksum
        """Of the group that it is in; 0 where that is not known."""

    def add(self, group: bytes) -> GroupHeader:
        """Return the header of the next group. Raises DamagedGroupError where it is not that."""
        fields, reason = read_group(group)
        if fields is None:
            raise DamagedGroupError(self.last + 1, reason or "")
        header = GroupHeader(*fields)
        if header.log_uuid != self._log_id.bytes:
            raise DamagedGroupError(self.last + 1, "it belongs to another log")
        if header.first > self.last + 1:
            raise DamagedGroupError(self.last + 1, "events are missing before it")
        goes_on = header.first == self.last + 1
        if goes_on and self.checksum and header.link and header.link != self.checksum:
            raise DamagedGroupError(header.first, "it follows another group than the one before it")
        self.last = max(self.last, header.last)
        self.checksum = header.checksum
        return header
