"""Queues to be damaged, and ways to damage them; what must still be there afterwards."""

from __future__ import annotations

from tests.support.core import log_model as model
from tests.support.core.door import ffi
from tests.support.core.log_driver import DIRECTORY
from tests.support.core.memory_io import Disk, home
from tests.support.core.snapshot_driver import compact, data_up_to, opened_log, segments_of

RING = f"{DIRECTORY}/ring"
SIZE = 24_000
"""Two events of this size fill the smallest segment."""


def log_of(*units: tuple[bytes, ...], compactions: tuple[int, ...] = (), kill: bool = True) -> Disk:
    """Return the disk of a log of these batches, all of them synced; compacted behind some of the
    events.
    """
    disk = home()
    log = opened_log(disk)
    for unit in units:
        last = log.commit(*unit)
        if last in compactions:
            compact(log.io, drops_segments=False)
    if kill:
        log.kill()
    else:
        log.close()
    return disk.copy()


def singles(count: int, size: int = 8) -> list[tuple[bytes, ...]]:
    return [(one,) for one in data_up_to(count, size)]


def segment_paths(disk: Disk) -> list[str]:
    return [
        f"{DIRECTORY}/wal/{number:020d}-{first:020d}.log" for number, first in segments_of(disk)
    ]


def replace_file(disk: Disk, path: str, data: bytes) -> None:
    disk.files[path] = disk.stable_files[path] = Disk({path: data}).files[path]


def remove(disk: Disk, path: str) -> None:
    del disk.files[path]
    disk.stable_files.pop(path, None)


def place_of(disk: Disk, data: bytes) -> tuple[str, int]:
    """Return segment and offset of an event's data."""
    path = next(path for path in reversed(segment_paths(disk)) if data in disk.bytes_of(path))
    return path, disk.bytes_of(path).index(data)


def header_of(disk: Disk, path: str) -> model.Header:
    return model.header_of(path.removeprefix(f"{DIRECTORY}/"), disk.bytes_of(path))


def records_of(disk: Disk, path: str) -> list[model.Record]:
    """Return the events of a segment."""
    found = model.segment_records(header_of(disk, path), disk.bytes_of(path), model.DATA)
    return [record for record in found if record.is_event]


def lose(disk: Disk, data: bytes) -> None:
    """Damage an event in its segment and in the ring."""
    flip(disk, *place_of(disk, data))
    ring = disk.bytes_of(RING)
    if data in ring:
        flip(disk, RING, ring.index(data))


def contents(disk: Disk) -> list[bytes]:
    return list(disk.image(DIRECTORY).values())


def check_nothing_destroyed(before: Disk, after: Disk) -> None:
    """Every old file is in quarantine, or still where it was, whole."""
    left = {name: data for name, data in after.image(DIRECTORY).items() if name != "LOCK"}
    for name, data in before.image(DIRECTORY).items():
        if name == "LOCK" or name.endswith(".tmp"):
            continue
        kept = [
            other
            for other in left
            if left[other] == data and (other == name or other.startswith("quarantine/"))
        ]
        assert kept, f"{name} is gone"


def segment_path(disk: Disk, index: int = -1) -> str:
    return segment_paths(disk)[index]


def put(disk: Disk, path: str, offset: int, data: bytes) -> None:
    """Change bytes of a file for good."""
    file = disk.files[path]
    for content in (file.content, file.stable):
        content[offset : offset + len(data)] = data
    if file.mapping is not None:
        ffi.buffer(file.mapping)[offset : offset + len(data)] = data


def flip(disk: Disk, path: str, offset: int) -> None:
    """Turn one bit round; once more turns it back."""
    put(disk, path, offset, bytes([disk.bytes_of(path)[offset] ^ 1]))
