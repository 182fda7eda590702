"""The C log as tests use it: opened over an I/O table, fed with ledger entries, read back as what
its table holds.

A ledger entry is the one event that no rule ever refuses, and its payload may have any size, so it
stands for all events here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from tests.support.core.door import ffi, lib
from tests.support.core.memory_io import MemoryIo, home

OK, END = lib.AQW_OK, lib.AQW_END
KIND = lib.AQW_LEDGER_ENTRY_APPENDED
DIRECTORY = "/home/queue"
NOW = 1_700_000_000
SEED = ffi.new("uint8_t[16]", bytes(range(16)))


def status_name(status: int) -> str:
    name: bytes = ffi.string(lib.aqw_status_name(status))
    return name.decode()


def reason_name(reason: int) -> str:
    name: bytes = ffi.string(lib.aqw_reason_name(reason))
    return name.decode()


@dataclass(frozen=True)
class FaultText:
    """An aqw_fault."""

    status: str
    reason: str
    system_error: int
    operation: str
    segment: int
    offset: int
    first_sequence: int
    last_sequence: int
    format_version: int
    path: str


def fault_text(fault: Any) -> FaultText:
    return FaultText(
        status=status_name(fault.status),
        reason=reason_name(fault.reason),
        system_error=fault.system_error,
        operation="" if fault.operation == ffi.NULL else ffi.string(fault.operation).decode(),
        segment=fault.segment,
        offset=fault.offset,
        first_sequence=fault.first_sequence,
        last_sequence=fault.last_sequence,
        format_version=fault.format_version,
        path=ffi.string(fault.path).decode(),
    )


class CoreError(Exception):
    """A core function returned something other than AQW_OK."""

    def __init__(self, status: int, fault: Any) -> None:
        self.status = status_name(status)
        self.fault = fault_text(fault)
        super().__init__(f"{self.status}: {self.fault}")


def check(status: int, fault: Any) -> None:
    if status != OK:
        raise CoreError(status, fault)


# --- Events ---------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(parts) + bytes([value])


ENTRY_HEAD = bytes.fromhex("11" * 16 + "22" * 16) + varint(NOW) + b"\0" + b"\1k"


def entry(data: bytes) -> bytes:
    """Return the payload of a ledger entry that carries `data`."""
    return ENTRY_HEAD + varint(len(data)) + data


def entry_of_size(size: int) -> bytes:
    """Return data for which the entry's payload has `size` bytes."""
    for width in (1, 2, 3, 4):
        data = bytes(size - len(ENTRY_HEAD) - width)
        if len(entry(data)) == size:
            return data
    raise ValueError(f"no entry has {size} bytes")


def data_of(payload: bytes) -> bytes:
    """Return what an entry's payload carries."""
    at = len(ENTRY_HEAD)
    assert payload[:at] == ENTRY_HEAD
    while payload[at] & 0x80:
        at += 1
    return payload[at + 1 :]


class Batch:
    """An aqw_batch."""

    def __init__(self) -> None:
        self.batch = ffi.gc(ffi.new("aqw_batch *"), lib.aqw_batch_free)
        lib.aqw_batch_init(self.batch)

    def fill(self, first_sequence: int, payloads: Iterable[bytes], kind: int = KIND) -> Any:
        lib.aqw_batch_reset(self.batch)
        for sequence, payload in enumerate(payloads, first_sequence):
            status = lib.aqw_batch_add_payload(self.batch, sequence, kind, payload, len(payload))
            if status == lib.AQW_NO_MEMORY:
                raise MemoryError
            assert status == OK, status_name(status)
        return self.batch


# --- The log --------------------------------------------------------------------------------------


class Table:
    """A state table, of which only the ledger is of interest."""

    def __init__(self) -> None:
        made = lib.aqw_table_new(ffi.NULL, SEED)
        if made == ffi.NULL:
            raise MemoryError
        self.table = ffi.gc(made, lib.aqw_table_free)

    def entries(self) -> list[bytes]:
        counts, view = ffi.new("aqw_table_counts *"), ffi.new("aqw_ledger_view *")
        lib.aqw_table_counts_get(self.table, counts)
        found = []
        for row in range(1, counts.ledger + 1):
            lib.aqw_table_ledger(self.table, row, view)
            found.append(
                bytes(ffi.buffer(view.payload.data, view.payload.size))
                if view.payload.size
                else b""
            )
        return found


def options(
    *,
    segment_size: int = 65536,
    ring_size: int = 65536,
    sector_size: int = 0,
    may_create: bool = True,
    now: int = NOW,
    sync: dict[str, int] | None = None,
) -> Any:
    holder = ffi.new("char[]", b"pid=1\n")
    made = ffi.new("aqw_recovery_options *")
    made.log = {
        "segment_size_max": segment_size,
        "ring_size": ring_size,
        "sector_size": sector_size,
        "now": now,
        "sync": sync or {},
    }
    made.may_create = may_create
    made.holder = holder
    return ffi.gc(made, lambda _, holder=holder: None)


class Log:
    """An open log. What was in it when it was opened is `recovered`, what the opening did is
    `report`.
    """

    def __init__(
        self, io: MemoryIo | None = None, directory: str = DIRECTORY, **chosen: Any
    ) -> None:
        self.io = io
        self.table_of_io = lib.aqw_io_system() if io is None else io.table
        self.fault = ffi.new("aqw_fault *")
        self.report = ffi.new("aqw_recovery_report *")
        self.options = options(**chosen)
        self.batch = Batch()
        made = ffi.new("aqw_log **")
        table = Table()
        status = lib.aqw_recover(
            self.table_of_io,
            directory.encode(),
            self.options,
            table.table,
            made,
            self.report,
            self.fault,
        )
        # What an I/O table raised reaches the core as EIO.
        mistakes = [] if io is None else io.mistakes
        if status != OK and mistakes:
            raise AssertionError(f"the I/O table failed while the log was opened: {mistakes}")
        check(status, self.fault)
        self.log: Any = made[0]
        self.recovered = table.entries()

    # Appending is safe from one thread at a time: it uses one batch.

    def append(self, *entries: bytes) -> int:
        """Append entries as one batch; return the last one's sequence."""
        first = self.last_sequence + 1
        check(
            lib.aqw_log_append(self.log, self.batch.fill(first, map(entry, entries)), self.fault),
            self.fault,
        )
        return first + len(entries) - 1

    def sync(self, sequence: int = 2**64 - 1) -> None:
        check(lib.aqw_log_sync(self.log, sequence, self.fault), self.fault)

    def commit(self, *entries: bytes) -> int:
        """Append and sync."""
        last = self.append(*entries)
        self.sync(last)
        return last

    def compact(self, *, drops_segments: bool = True) -> Any:
        """Make a snapshot, and drop what the one before it covers; return the report."""
        assert self.io is not None
        chosen, report = ffi.new("aqw_compact_options *"), ffi.new("aqw_compact_report *")
        chosen.now, chosen.drops_segments, chosen.progress, chosen.log = (
            NOW,
            drops_segments,
            ffi.NULL,
            self.log,
        )
        self.io.drops_segments = True
        try:
            check(
                lib.aqw_compact(self.io.table, DIRECTORY.encode(), chosen, report, self.fault),
                self.fault,
            )
        finally:
            self.io.drops_segments = False
        return report

    @property
    def last_sequence(self) -> int:
        return int(lib.aqw_log_last_sequence(self.log))

    def write_out(self) -> int:
        """Write what was appended to the segment; return the last event's sequence. Raises
        CoreError.
        """
        sequence = ffi.new("uint64_t *")
        check(lib.aqw_log_write_out(self.log, sequence, self.fault), self.fault)
        return int(sequence[0])

    @property
    def durable_sequence(self) -> int:
        return int(lib.aqw_log_durable_sequence(self.log))

    @property
    def state(self) -> str:
        return status_name(lib.aqw_log_state(self.log, self.fault))

    @property
    def stats(self) -> Any:
        stats = ffi.new("aqw_log_stats *")
        lib.aqw_log_stats_get(self.log, stats)
        return stats

    def close(self) -> None:
        """Close and free, also where closing fails."""
        if self.log == ffi.NULL:
            return
        status = lib.aqw_log_close(self.log, self.fault)
        lib.aqw_log_free(self.log)
        self.log = ffi.NULL
        check(status, self.fault)

    def __del__(self) -> None:
        """A log that a test has left must not outlive the functions that its threads call."""
        if getattr(self, "log", ffi.NULL) != ffi.NULL and self.io is not None:
            self.kill()

    def kill(self) -> None:
        """End the process that has the log open: the disk stays as it is at this moment."""
        assert self.io is not None
        self.io.kill()
        if self.log != ffi.NULL:
            lib.aqw_log_close(self.log, self.fault)
            lib.aqw_log_free(self.log)
            self.log = ffi.NULL

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


# --- Reading without opening ----------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """What a stream found: its summary, and the events that count as (sequence, kind, payload)."""

    is_clean: bool
    durable_sequence: int
    last_sequence: int
    end: int
    durable_end: int
    durable_last_sequence: int
    dropped_from: int
    dropped_bytes: int
    ring_events: int
    ring_has_dropped: bool
    drop_reason: str
    events: tuple[tuple[int, int, bytes], ...]
    dropped_events: int = field(default=0, compare=False)
    """Not told by the model."""


def read_stream(io: MemoryIo, directory: str = DIRECTORY) -> Seen:
    """Read a log as the stream of the core does. Raises CoreError."""
    fault, made, record = ffi.new("aqw_fault *"), ffi.new("aqw_stream **"), ffi.new("aqw_record *")
    check(lib.aqw_stream_open(io.table, directory.encode(), ffi.NULL, ffi.NULL, made, fault), fault)
    stream = made[0]
    try:
        summary = lib.aqw_stream_summary_of(stream)
        events = []
        while (status := lib.aqw_stream_next(stream, record, fault)) == OK:
            if record.kind < lib.AQW_KIND_MARKER:
                events.append(
                    (
                        record.sequence,
                        record.kind,
                        bytes(ffi.buffer(record.payload, record.payload_size)),
                    )
                )
        if status != END:
            raise CoreError(status, fault)
        return Seen(
            is_clean=bool(summary.is_clean),
            durable_sequence=summary.durable_sequence,
            last_sequence=summary.last_sequence,
            end=summary.end,
            durable_end=summary.durable_end,
            durable_last_sequence=summary.durable_last_sequence,
            dropped_from=summary.dropped_from,
            dropped_bytes=summary.dropped_bytes,
            ring_events=summary.ring_events,
            ring_has_dropped=bool(summary.ring_has_dropped),
            drop_reason=reason_name(summary.drop_reason),
            events=tuple(events),
            dropped_events=summary.dropped_events,
        )
    finally:
        lib.aqw_stream_free(stream)


def refusal(act: Callable[[], object]) -> FaultText:
    """Return what a call that must fail says of it."""
    with pytest.raises(CoreError) as raised:
        act()
    return raised.value.fault


def new_log(**chosen: Any) -> Log:
    """Return the log of a new queue on a disk of its own."""
    maps = chosen.pop("maps", True)
    background = chosen.pop("background", False)
    return Log(MemoryIo(home(), maps=maps, background=background), **chosen)
