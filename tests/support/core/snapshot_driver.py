"""Snapshots, compaction, following and repair as tests use them; and a snapshot's bytes in slow,
obvious Python.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from tests.support.core.crash_images import numbered
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import (
    DIRECTORY,
    END,
    NOW,
    OK,
    CoreError,
    FaultText,
    Log,
    Table,
    check,
    data_of,
    fault_text,
)
from tests.support.core.log_model import crc, crc_update
from tests.support.core.memory_io import Disk, MemoryIo, home

TEMPORARY = f"{DIRECTORY}/snapshots/snapshot.tmp"
UUID = bytes(range(16))

MAGIC = b"AQWALSNP"
HEADER_SIZE, BLOCK_HEADER_SIZE, BLOCK_TARGET = 64, 12, 262_144
Item = tuple[int, bytes]


def snapshot_name(sequence: int) -> str:
    return f"snapshots/{sequence:020d}.snap"


def snapshot_path(sequence: int, directory: str = DIRECTORY) -> str:
    return f"{directory}/{snapshot_name(sequence)}"


def snapshots_of(disk: Disk) -> list[int]:
    """Return the sequences of the snapshots on a disk, oldest first."""
    names = [
        name
        for name in disk.image(DIRECTORY)
        if name.startswith("snapshots/") and name.endswith(".snap")
    ]
    return [int(name[10:30]) for name in names]


def segments_of(disk: Disk) -> list[tuple[int, int]]:
    """Return number and first sequence of the segments on a disk."""
    names = [
        name for name in disk.image(DIRECTORY) if name.startswith("wal/") and name.endswith(".log")
    ]
    return [(int(name[4:24]), int(name[25:45])) for name in names]


# --- Calls ----------------------------------------------------------------------------------------


class Progress:
    """An aqw_progress."""

    def __init__(self) -> None:
        self.progress = ffi.gc(lib.aqw_progress_new(), lib.aqw_progress_free)

    def cancel(self) -> None:
        lib.aqw_progress_cancel(self.progress)


@dataclass(frozen=True)
class Compaction:
    """An aqw_compact_report."""

    is_new: bool
    sequence: int
    file_size: int
    kept_sequence: int
    replayed_events: int
    dropped_segments: int
    dropped_bytes: int
    dropped_snapshots: int


def compact(
    io: MemoryIo | None,
    directory: str = DIRECTORY,
    *,
    drops_segments: bool = True,
    progress: Progress | None = None,
) -> Compaction:
    """Compact as who holds the lock. Raises CoreError."""
    fault, report = ffi.new("aqw_fault *"), ffi.new("aqw_compact_report *")
    options = ffi.new("aqw_compact_options *", {"now": NOW, "drops_segments": drops_segments})
    options.progress = ffi.NULL if progress is None else progress.progress
    if io is not None:
        io.drops_segments = True
    table = lib.aqw_io_system() if io is None else io.table
    status = lib.aqw_compact(table, directory.encode(), options, report, fault)
    if io is not None:
        io.drops_segments = False
    check(status, fault)
    fields = {name: getattr(report, name) for name in dir(report)}
    return Compaction(**{**fields, "is_new": bool(report.is_new)})


@dataclass(frozen=True)
class Repair:
    """An aqw_repair_report."""

    is_damaged: bool
    damage: FaultText
    kept: int
    lost: tuple[int, int]
    readable: int
    files: int
    bytes: int


def repair(
    io: MemoryIo,
    *,
    accepts_data_loss: bool = True,
    only_looks: bool = False,
    progress: Progress | None = None,
) -> Repair:
    """Repair, or find out what that would do, under the lock or only looking. Raises CoreError."""
    fault, report = ffi.new("aqw_fault *"), ffi.new("aqw_repair_report *")
    holder = ffi.new("char[]", b"pid=1\n")
    options = ffi.new(
        "aqw_repair_options *",
        {"now": NOW, "accepts_data_loss": accepts_data_loss, "holder": holder},
    )
    options.progress = ffi.NULL if progress is None else progress.progress
    act = lib.aqw_repair_look if only_looks else lib.aqw_repair
    check(act(io.table, DIRECTORY.encode(), options, report, fault), fault)
    return Repair(
        is_damaged=bool(report.is_damaged),
        damage=fault_text(report.damage),
        kept=report.kept_sequence,
        lost=(report.lost_first, report.lost_last),
        readable=report.readable_events,
        files=report.quarantined_files,
        bytes=report.quarantined_bytes,
    )


def salvage(io: MemoryIo, moved: str | None = None) -> list[tuple[int, bytes]]:
    """Return sequence and data of every event that verifies, of the log or of what a repair has
    moved away. Raises CoreError.
    """
    fault, found = ffi.new("aqw_fault *"), []

    @ffi.callback("aqw_status(void *, const aqw_record *, aqw_fault *)")
    def visit(_to: Any, record: Any, _fault: Any) -> int:
        found.append(
            (record.sequence, data_of(bytes(ffi.buffer(record.payload, record.payload_size))))
        )
        return OK

    prefix = ffi.NULL if moved is None else ffi.new("char[]", moved.encode())
    check(
        lib.aqw_salvage_read(
            io.table, DIRECTORY.encode(), prefix, visit, ffi.NULL, ffi.NULL, fault
        ),
        fault,
    )
    return found


class Follower:
    """An aqw_follower."""

    def __init__(self, io: MemoryIo | None, after: int = 0, directory: str = DIRECTORY) -> None:
        self.fault = ffi.new("aqw_fault *")
        self.record = ffi.new("aqw_record *")
        self.io = io  # its callbacks
        made = ffi.new("aqw_follower **")
        table = lib.aqw_io_system() if io is None else io.table
        check(lib.aqw_follower_open(table, directory.encode(), after, made, self.fault), self.fault)
        self.follower = made[0]

    def next(self) -> tuple[int, bytes] | None:
        """Return sequence and data of the next event, None where no more is durable. Raises
        CoreError.
        """
        status = lib.aqw_follower_next(self.follower, self.record, self.fault)
        if status == END:
            return None
        if status != OK:
            raise CoreError(status, self.fault)
        return self.record.sequence, data_of(
            bytes(ffi.buffer(self.record.payload, self.record.payload_size))
        )

    def trust(self, sequence: int) -> None:
        lib.aqw_follower_trust(self.follower, sequence)

    def rest(self) -> list[tuple[int, bytes]]:
        found = []
        while (event := self.next()) is not None:
            found.append(event)
        return found

    @property
    def durable_sequence(self) -> int:
        return int(lib.aqw_follower_durable_sequence(self.follower))

    def close(self) -> None:
        lib.aqw_follower_free(self.follower)
        self.follower = ffi.NULL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def load_newest(io: MemoryIo, progress: Progress | None = None) -> tuple[Any, Table]:
    """Load the newest snapshot that verifies. Return the aqw_snapshot_choice and the table. Raises
    CoreError.
    """
    fault, choice, table = ffi.new("aqw_fault *"), ffi.new("aqw_snapshot_choice *"), Table()
    to = ffi.NULL if progress is None else progress.progress
    check(
        lib.aqw_snapshot_load_newest(io.table, DIRECTORY.encode(), table.table, to, choice, fault),
        fault,
    )
    return choice, table


def read_snapshot(io: MemoryIo, sequence: int) -> tuple[Any, Table]:
    """Read one snapshot. Return the aqw_snapshot_info and the table. Raises CoreError."""
    fault, info, table = ffi.new("aqw_fault *"), ffi.new("aqw_snapshot_info *"), Table()
    path = DIRECTORY.encode()
    check(
        lib.aqw_snapshot_read(io.table, path, sequence, table.table, ffi.NULL, info, fault), fault
    )
    return info, table


def write_snapshot(
    io: MemoryIo, table: Table, log_uuid: bytes, progress: Progress | None = None
) -> Any:
    """Write a table's snapshot. Return the aqw_snapshot_info. Raises CoreError."""
    fault, info = ffi.new("aqw_fault *"), ffi.new("aqw_snapshot_info *")
    to = ffi.NULL if progress is None else progress.progress
    check(
        lib.aqw_snapshot_write(
            io.table, DIRECTORY.encode(), log_uuid, table.table, NOW, to, info, fault
        ),
        fault,
    )
    return info


def table_with(payloads: Iterable[bytes], kind: int) -> Table:
    """Return a table that events of one kind were applied to."""
    table, event = Table(), ffi.new("aqw_event *")
    for sequence, payload in enumerate(payloads, 1):
        assert lib.aqw_event_decode(kind, sequence, payload, len(payload), event) == OK
        assert lib.aqw_table_apply(table.table, event) == OK
    return table


# --- Histories ------------------------------------------------------------------------------------


def opened_log(disk: Disk, seed: int = 1, **options: Any) -> Log:
    return Log(MemoryIo(disk, seed=seed), **options)


def reopened(disk: Disk, seed: int = 77) -> Log:
    """Open and close; the log that is returned knows what was recovered, and its report."""
    with opened_log(disk, seed) as log:
        pass
    assert log.io is not None
    assert not log.io.mistakes
    return log


def data_up_to(count: int, size: int = 8) -> list[bytes]:
    return [numbered(number, size) for number in range(1, count + 1)]


# --- Bytes ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SnapshotFile:
    """A snapshot's file: header fields, and blocks of items."""

    log_uuid: bytes
    sequence: int
    salt: int
    created_at: int
    blocks: tuple[tuple[Item, ...], ...]
    version: int = 1
    header_size: int = HEADER_SIZE
    item_count: int | None = None
    """What the end says; None: the truth."""

    @property
    def seed(self) -> int:
        return crc_update(0xFFFFFFFF, self.log_uuid + struct.pack("<QQ", self.sequence, self.salt))

    def block_bytes(self, offset: int, count: int, body: bytes) -> bytes:
        rest = struct.pack("<II", len(body), count) + body
        return struct.pack("<I", crc(struct.pack("<Q", offset) + rest, self.seed)) + rest

    def to_bytes(self) -> bytes:
        header = MAGIC + struct.pack("<II", self.version, self.header_size) + self.log_uuid
        header += struct.pack("<QQQ", self.sequence, self.salt, self.created_at) + bytes(4)
        data = header + struct.pack("<I", crc(header))
        for block in self.blocks:
            body = b"".join(
                struct.pack("<I", len(payload) | kind % 64 << 26) + payload
                for kind, payload in block
            )
            data += self.block_bytes(len(data), len(block), body)
        count = sum(map(len, self.blocks)) if self.item_count is None else self.item_count
        return data + self.block_bytes(len(data), 0, struct.pack("<Q", count))


def parse_snapshot(data: bytes) -> SnapshotFile:
    """Read a snapshot's file by the offsets of the specification; it must be valid."""
    assert data[:8] == MAGIC
    assert struct.unpack_from("<II", data, 8) == (1, HEADER_SIZE)
    assert struct.unpack_from("<I", data, 60)[0] == crc(data[:60])
    assert data[56:60] == bytes(4)
    sequence, salt, created_at = struct.unpack_from("<QQQ", data, 32)
    file = SnapshotFile(data[16:32], sequence, salt, created_at, ())
    blocks: list[tuple[Item, ...]] = []
    offset = HEADER_SIZE
    while True:
        size, count = struct.unpack_from("<II", data, offset + 4)
        body = data[offset + BLOCK_HEADER_SIZE : offset + BLOCK_HEADER_SIZE + size]
        assert data[offset : offset + BLOCK_HEADER_SIZE + size] == file.block_bytes(
            offset, count, body
        )
        offset += BLOCK_HEADER_SIZE + size
        if count == 0:
            assert struct.unpack("<Q", body)[0] == sum(map(len, blocks))
            assert offset == len(data)
            return SnapshotFile(file.log_uuid, sequence, salt, created_at, tuple(blocks))
        blocks.append(items_of(body, count))


def items_of(body: bytes, count: int) -> tuple[Item, ...]:
    items, at = [], 0
    for _ in range(count):
        word = struct.unpack_from("<I", body, at)[0]
        size = word & (2**26 - 1)
        items.append((word >> 26, body[at + 4 : at + 4 + size]))
        at += 4 + size
    assert at == len(body)
    return tuple(items)


def queue(*snapshots_after: int, events: int = 6, **options: Any) -> Disk:
    """Return the disk of a closed queue with so many events of a few bytes, and snapshots made
    behind some of them.
    """
    disk = home()
    log = opened_log(disk, **options)
    for number in range(1, events + 1):
        log.commit(numbered(number))
        if number in snapshots_after:
            compact(log.io, drops_segments=False)
    log.close()
    return disk


def with_bytes(disk: Disk, path: str, data: bytes | None) -> Disk:
    """Return a copy of the disk with another content of one file, or without it."""
    files = {name: disk.bytes_of(name) for name in disk.files}
    if data is None:
        del files[path]
    else:
        files[path] = data
    return Disk(files, disk.directories)
