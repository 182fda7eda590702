"""What a sync costs on a disk without this library: no durable commit can take less."""

from __future__ import annotations

import os
import sys
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns

__all__ = ["FLOOR_BYTES", "Floor", "floor_in"]

FLOOR_BYTES = 61
"""About the size of a record of the lifecycle workload in the log."""

FILE_BYTES = 1 << 23


def _flush(descriptor: int) -> None:
    """Make a file's data durable with the call that the log uses on this system."""
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415 -- not on every system

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(descriptor)
    else:
        os.fsync(descriptor)


class Floor:
    """A file of zeros, written from its beginning, a few bytes and a sync at a time.

    The log writes a segment in the same way.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._offset = 0
        os.write(descriptor, bytes(FILE_BYTES))
        os.fsync(descriptor)

    def commit(self, data: bytes) -> int:
        """Write the next data, sync, and return how long that took, in nanoseconds."""
        if self._offset + len(data) > FILE_BYTES:
            self._offset = 0
        began = perf_counter_ns()
        if hasattr(os, "pwrite"):
            os.pwrite(self._descriptor, data, self._offset)
        else:
            os.lseek(self._descriptor, self._offset, os.SEEK_SET)
            os.write(self._descriptor, data)
        _flush(self._descriptor)
        ended = perf_counter_ns()
        self._offset += len(data)
        return ended - began

    def commit_many(
        self,
        times: array[int],
        *,
        seconds: float,
        count_max: int = sys.maxsize,
        size_bytes: int = FLOOR_BYTES,
    ) -> None:
        """Commit at least once, until the seconds or the count are used up; note each time."""
        data = b"\xa5" * size_bytes
        ends = perf_counter_ns() + int(seconds * 1e9)
        for _ in range(max(1, count_max)):
            times.append(self.commit(data))
            if perf_counter_ns() >= ends:
                return


@contextmanager
def floor_in(directory: Path) -> Iterator[Floor]:
    """Make the file in a directory, and remove it in the end."""
    descriptor, name = tempfile.mkstemp(prefix="floor-", dir=directory)
    try:
        yield Floor(descriptor)
    finally:
        os.close(descriptor)
        Path(name).unlink()
