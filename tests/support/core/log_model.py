"""Format 1 of the log in slow, obvious Python, written from the specification in
core/files/format.h alone.

:func:`read_log` is a log's reading: from the files of a queue's directory to the events that count.
The functions that write bytes (:meth:`Header.to_bytes`, :func:`record_bytes`, :func:`ring_bytes`)
make logs that the core never would.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from tests.support.payload_model import LAYOUTS

SEGMENT_MAGIC, RING_MAGIC = b"AQWALSEG", b"AQWALRNG"
HEADER_COPIES = (0, 4096)
DATA = 8192
RING_DATA = 65536
RING_SLOTS = (4096, 8192)
RING_SEGMENTS = (12288, 16384)
LAG_UNKNOWN = 2**24 - 1
MARKER, PAD = 240, 241
EVENT_KINDS = range(1, MARKER)
"""Also those that the library does not know."""
KNOWN_KINDS = range(1, len(LAYOUTS) + 1)
OPEN, END = 1, 2
SEGMENT_SIZES = range(65536, 2**30 + 8192 + 1, 4)
RING_SIZES = range(65536, 2**28 + 1, 65536)


class Damage(Exception):
    """The log is corrupt; the message is the reason as the core names it."""


class NewerFormat(Exception):
    """The log was written by a newer library."""


# --- Checksum -------------------------------------------------------------------------------------


def remainder(byte: int) -> int:
    """Return the remainder of one byte under CRC-32C's polynomial, reflected, bit by bit."""
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


REMAINDERS = [remainder(byte) for byte in range(256)]


def crc_update(running: int, data: bytes) -> int:
    for byte in data:
        running = running >> 8 ^ REMAINDERS[(running ^ byte) & 0xFF]
    return running


@lru_cache(maxsize=100_000)
def crc(data: bytes, running: int = 0xFFFFFFFF) -> int:
    return crc_update(running, data) ^ 0xFFFFFFFF


# --- Segment headers ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """A segment's header."""

    log_uuid: bytes
    number: int
    salt: int
    first_sequence: int
    file_size: int
    watermark: int
    link_number: int = 0
    link_salt: int = 0
    link_end: int = 0
    link_last_sequence: int = 0
    created_at: int = 0
    version: int = 1

    def to_bytes(self) -> bytes:
        body = SEGMENT_MAGIC + struct.pack("<II", self.version, 128) + self.log_uuid
        body += struct.pack(
            "<QQQQQ", self.number, self.salt, self.first_sequence, self.file_size, self.watermark
        )
        body += struct.pack(
            "<QQQQ", self.link_number, self.link_salt, self.link_end, self.link_last_sequence
        )
        body += struct.pack("<Q", self.created_at) + bytes(12)
        return body + struct.pack("<I", crc(body))

    @property
    def name(self) -> str:
        return f"wal/{self.number:020d}-{self.first_sequence:020d}.log"

    @property
    def seed(self) -> int:
        """The checksum's running value for the segment's records, before the position."""
        return crc_update(0xFFFFFFFF, self.log_uuid + struct.pack("<QQ", self.number, self.salt))


def parse_header(copy: bytes) -> Header | None:
    """Return the header of one copy if magic, version, size and checksum are right."""
    version, size = struct.unpack_from("<II", copy, 8)
    if (
        copy[:8] != SEGMENT_MAGIC
        or version != 1
        or size != 128
        or crc(copy[:124]) != struct.unpack_from("<I", copy, 124)[0]
    ):
        return None
    number, salt, first, file_size, watermark = struct.unpack_from("<QQQQQ", copy, 32)
    link_number, link_salt, link_end, link_last, created_at = struct.unpack_from("<QQQQQ", copy, 72)
    return Header(
        copy[16:32],
        number,
        salt,
        first,
        file_size,
        watermark,
        link_number,
        link_salt,
        link_end,
        link_last,
        created_at,
    )


def header_of(name: str, data: bytes) -> Header:
    """Return a segment file's header."""
    if len(data) < DATA:
        raise Damage("file_size")
    copies = [data[at : at + 128] for at in HEADER_COPIES]
    valid = [header for header in map(parse_header, copies) if header is not None]
    if not valid:
        if any(
            copy[:8] == SEGMENT_MAGIC and struct.unpack_from("<I", copy, 8)[0] > 1
            for copy in copies
        ):
            raise NewerFormat
        raise Damage("header_invalid")
    if len(valid) == 2 and copies[0] != copies[1]:
        raise Damage("header_copies_differ")
    header = valid[0]
    if header.name != name:
        raise Damage("header_invalid")
    if header.file_size != len(data) or header.file_size not in SEGMENT_SIZES:
        raise Damage("file_size")
    return header


# --- Records --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    position: int
    ordinal: int
    sequence: int
    watermark: int
    kind: int
    flags: int
    payload: bytes
    size: int

    @property
    def is_event(self) -> bool:
        return self.kind in EVENT_KINDS


def record_bytes(
    segment: Header,
    position: int,
    ordinal: int,
    kind: int,
    payload: bytes = b"",
    *,
    lag: int = 0,
    flags: int = 0,
) -> bytes:
    body = (
        struct.pack("<II", len(payload) | kind << 24, ordinal)
        + struct.pack("<I", lag | flags << 24)
        + payload
    )
    body += bytes(-len(payload) % 4)
    return struct.pack("<I", crc(struct.pack("<Q", position) + body, segment.seed)) + body


def parse_record(
    segment: Header, data: bytes, at: int, position: int, end: int | None = None
) -> Record | None:
    """Return the record at `at` if it is valid at `position`, whatever its ordinal is. It ends at
    `end` or before.
    """
    end = len(data) if end is None else end
    if end - at < 16:
        return None
    shape, ordinal, tail = struct.unpack_from("<III", data, at + 4)
    payload_size, kind, lag, flags = shape & 0xFFFFFF, shape >> 24, tail & 0xFFFFFF, tail >> 24
    size = 16 + payload_size + -payload_size % 4
    is_event = kind in EVENT_KINDS
    if not (is_event and flags in (0, OPEN, END)) and not (kind in (MARKER, PAD) and flags == 0):
        return None
    if size > end - at:
        return None
    body = bytes(data[at + 4 : at + size])
    if (
        crc(struct.pack("<Q", position) + body, segment.seed)
        != struct.unpack_from("<I", data, at)[0]
    ):
        return None
    sequence = segment.first_sequence + ordinal - (0 if is_event else 1)
    if sequence >= 2**64:
        return None
    watermark = 0 if lag == LAG_UNKNOWN or lag > sequence else sequence - lag
    return Record(
        position, ordinal, sequence, watermark, kind, flags, body[12 : 12 + payload_size], size
    )


# --- Ring -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ring:
    log_uuid: bytes
    durable_sequence: int
    data: bytes
    history: bytes = bytes(16)
    segment_number: int = 0

    def record(self, segment: Header, position: int) -> Record | None:
        """Return the record that the ring holds for a position of the newest segment."""
        room = min(len(self.data), segment.file_size - position)
        at = position % len(self.data)
        if room < 16:
            return None
        head = (self.data + self.data[:16])[at : at + 16]
        size = 16 + (struct.unpack_from("<I", head, 4)[0] & 0xFFFFFF) + 3 & ~3
        if size > room or head[7] == 0:
            return None
        return parse_record(segment, (self.data + self.data)[at : at + size], 0, position)


def slot_bytes(log_uuid: bytes, value: int) -> bytes:
    check = crc(log_uuid + struct.pack("<Q", value))
    return struct.pack("<QII", value, check, check ^ 0xFFFFFFFF)


def ring_bytes(
    log_uuid: bytes,
    data: bytes,
    slots: tuple[int | None, int | None] = (0, None),
    history: bytes = bytes(16),
    segment_number: int | None = None,
) -> bytes:
    header = (
        RING_MAGIC
        + struct.pack("<II", 1, RING_DATA)
        + log_uuid
        + struct.pack("<Q", len(data))
        + history
        + bytes(4)
    )
    ring = bytearray(RING_DATA) + data
    ring[:64] = header + struct.pack("<I", crc(header))
    for at, sequence in zip(RING_SLOTS, slots, strict=True):
        if sequence is not None:
            ring[at : at + 16] = slot_bytes(log_uuid, sequence)
    if segment_number is not None:
        at = RING_SEGMENTS[0]
        ring[at : at + 16] = slot_bytes(log_uuid, segment_number)
    return bytes(ring)


def parse_ring(data: bytes) -> Ring:
    if len(data) < RING_DATA:
        raise Damage("file_size")
    if data[:8] != RING_MAGIC:
        raise Damage("header_invalid")
    version, area = struct.unpack_from("<II", data, 8)
    if version > 1:
        raise NewerFormat
    if version != 1 or area != RING_DATA or struct.unpack_from("<I", data, 60)[0] != crc(data[:60]):
        raise Damage("header_invalid")
    size = struct.unpack_from("<Q", data, 32)[0]
    if size not in RING_SIZES or len(data) != RING_DATA + size:
        raise Damage("file_size")
    durable, segment_number = (
        greatest_slot(data, places) for places in (RING_SLOTS, RING_SEGMENTS)
    )
    return Ring(data[16:32], durable, data[RING_DATA:], data[40:56], segment_number)


def greatest_slot(ring: bytes, places: tuple[int, int]) -> int:
    slots = [ring[at : at + 16] for at in places]
    valid = [
        value
        for slot in slots
        if slot == slot_bytes(ring[16:32], value := struct.unpack_from("<Q", slot)[0])
    ]
    return max(valid, default=0)


# --- Reading --------------------------------------------------------------------------------------


@dataclass
class Reading:
    """What READING decides about a log, and what WRITING ON needs."""

    events: list[Record] = field(default_factory=list)
    is_clean: bool = False
    durable_sequence: int = 0
    last_sequence: int = 0
    end: int = DATA
    durable_end: int = DATA
    durable_last_sequence: int = 0
    dropped_bytes: int = 0
    ring_events: int = 0
    ring_has_dropped: bool = False
    has_events: bool = False
    """There is, or was, an event, be it in an unfinished batch."""


NOT_ZERO = re.compile(rb"[^\0]")
NAME = re.compile(r"wal/([0-9]{20})-([0-9]{20})\.log")


def read_log(files: Mapping[str, bytes]) -> Reading:
    """Read the files of a queue's directory. Raises Damage and NewerFormat."""
    segments = {name: files[name] for name in sorted(files) if NAME.fullmatch(name)}
    ring = parse_ring(files["ring"]) if "ring" in files else None
    if not segments:
        raise Damage("segment_missing")
    headers = read_chain(segments)
    if ring is not None and ring.log_uuid != headers[0].log_uuid:
        raise Damage("other_log")
    datas = list(segments.values())
    newest, data = headers[-1], datas[-1]
    durable = find_durable(headers, data, ring)
    older = [
        record
        for i in range(len(headers) - 1)
        for record in read_older(headers[i], headers[i + 1], datas[i])
    ]
    is_behind = ring is not None and ring.segment_number > newest.number
    # What was durable behind its records is in the segment that the ring names, and no loss of it.
    reading = read_newest(newest, data, ring, 0 if is_behind else durable)
    reading.events[:0] = [record for record in older if record.is_event]
    if ring is None and not reading.is_clean and reading.has_events:
        raise Damage("ring_missing")
    if is_behind:
        raise Damage("segment_missing")
    return reading


def read_chain(segments: Mapping[str, bytes]) -> list[Header]:
    numbers = [int(name[4:24]) for name in segments]
    for before, number in pairwise(numbers):
        if number == before:
            raise Damage("segment_duplicate")
        if number != before + 1:
            raise Damage("segment_missing")
    headers: list[Header] = []
    for name, data in segments.items():
        header = header_of(name, data)
        check_link(headers[-1] if headers else None, header)
        headers.append(header)
    return headers


def check_link(before: Header | None, header: Header) -> None:
    if before is None:
        if header.number != 1 or header.first_sequence != 1:
            raise Damage("history_missing")
        if header.link_number != 0 or header.link_last_sequence != 0:
            raise Damage("link")
    else:
        if header.log_uuid != before.log_uuid:
            raise Damage("other_log")
        end_fits = header.link_end in range(DATA, before.file_size + 1, 4)
        names_it = (header.link_number, header.link_salt) == (before.number, before.salt)
        if not end_fits or not names_it or header.link_last_sequence != header.first_sequence - 1:
            raise Damage("link")
        if header.first_sequence < before.first_sequence:
            raise Damage("link")
    if header.watermark < header.first_sequence - 1:
        raise Damage("header_invalid")


def fits_batch(in_batch: bool, record: Record) -> bool:
    return record.flags in (OPEN, END) if in_batch else record.flags in (0, OPEN)


def read_older(segment: Header, successor: Header, data: bytes) -> list[Record]:
    position, ordinal, in_batch, records = DATA, 0, False, []
    while position < successor.link_end:
        record = parse_record(segment, data, position, position, successor.link_end)
        if record is None or record.ordinal != ordinal:
            raise Damage("record_invalid")
        if not fits_batch(in_batch, record):
            raise Damage("batch")
        records.append(record)
        position += record.size
        ordinal += record.is_event
        in_batch = record.flags == OPEN
    if in_batch:
        raise Damage("batch")
    if ordinal != successor.first_sequence - segment.first_sequence:
        raise Damage("record_count")
    return records


def candidates(data: bytes, start: int) -> list[int]:
    """Return where records may begin: at multiples of 4 with a kind other than 0."""
    return [
        at - 7 for match in NOT_ZERO.finditer(data, start + 7) if (at := match.start()) % 4 == 3
    ]


def ring_records(segment: Header, ring: Ring | None, start: int) -> list[Record]:
    """Return all records from a position on that the ring holds."""
    if ring is None:
        return []
    size = len(ring.data)
    found = []
    for at in candidates(ring.data + ring.data[:8], 0):
        first = start + (at - start) % size
        found += [
            ring.record(segment, position) for position in range(first, segment.file_size, size)
        ]
    return [record for record in found if record is not None]


def segment_records(segment: Header, data: bytes, start: int) -> list[Record]:
    """Return all records from a position on that the segment holds."""
    found = [
        parse_record(segment, data, position, position) for position in candidates(data, start)
    ]
    return [record for record in found if record is not None]


def remains(records: list[Record], end: int, ordinal: int) -> list[Record]:
    """Return the records behind the end that can be there: with at most as many events before them
    as there is room for.
    """
    return [
        record
        for record in records
        if 0 <= record.ordinal - ordinal <= (record.position - end) // 16
    ]


def find_durable(headers: list[Header], data: bytes, ring: Ring | None) -> int:
    """W: the highest watermark of all that is valid, wherever it stands."""
    newest = headers[-1]
    known = [header.watermark for header in headers] + ([ring.durable_sequence] if ring else [])
    position, ordinal = DATA, 0
    while True:
        both = (
            parse_record(newest, data, position, position),
            ring.record(newest, position) if ring else None,
        )
        record = next(
            (record for record in both if record is not None and record.ordinal == ordinal), None
        )
        if record is None:
            break
        known.append(record.watermark)
        position += record.size
        ordinal += record.is_event
    behind = segment_records(newest, data, position) + ring_records(newest, ring, position)
    return max(known + [record.watermark for record in remains(behind, position, ordinal)])


def read_newest(segment: Header, data: bytes, ring: Ring | None, durable: int) -> Reading:
    reading = Reading(durable_sequence=durable, durable_last_sequence=segment.first_sequence - 1)
    position, ordinal, in_batch, whole_ordinal = DATA, 0, False, 0
    waiting: list[Record] = []
    from_ring, in_segment_only = False, True
    last: Record | None = None
    while True:
        record = parse_record(segment, data, position, position)
        from_ring = record is None or record.ordinal != ordinal
        if from_ring:
            record = (
                ring.record(segment, position)
                if ring and segment.first_sequence + ordinal > durable
                else None
            )
        if record is None or record.ordinal != ordinal:
            break
        if not fits_batch(in_batch, record):
            raise Damage("batch")
        in_segment_only = in_segment_only and not from_ring
        last = None if from_ring else record
        waiting.append(record)
        position += record.size
        ordinal += record.is_event
        in_batch = record.flags == OPEN
        if not in_batch:
            reading.events += [found for found in waiting if found.is_event]
            reading.ring_events += sum(
                found.is_event and is_only_in_ring(segment, found, data) for found in waiting
            )
            waiting.clear()
            reading.end, whole_ordinal = position, ordinal
            if record.is_event and in_segment_only and record.sequence <= durable:
                reading.durable_end, reading.durable_last_sequence = position, record.sequence
    reading.has_events = segment.first_sequence + ordinal > 1
    reading.last_sequence = segment.first_sequence + whole_ordinal - 1
    if reading.last_sequence < durable:
        raise Damage("batch" if waiting else "record_invalid")
    reading.dropped_bytes = max(len(data.rstrip(b"\0")) - reading.end, 0)
    reading.ring_has_dropped = any(
        is_only_in_ring(segment, found, data) for found in waiting
    ) or ring_remains(segment, ring, position, ordinal)
    reading.is_clean = (
        last is not None
        and last.kind == MARKER
        and not waiting
        and last.watermark == reading.last_sequence == durable
        and reading.dropped_bytes == 0
        and not reading.ring_has_dropped
    )
    return reading


def is_only_in_ring(segment: Header, record: Record, data: bytes) -> bool:
    return parse_record(segment, data, record.position, record.position) != record


def ring_remains(segment: Header, ring: Ring | None, end: int, ordinal: int) -> bool:
    """Does the ring hold events behind the end?"""
    return any(
        record.is_event for record in remains(ring_records(segment, ring, end), end, ordinal)
    )
