"""Segment files: names, headers, sizes, preparation and publication."""

from __future__ import annotations

import errno
import struct
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.core import log_model as model
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import CoreError, check, status_name
from tests.support.core.memory_io import Disk, Fault, MemoryIo

UUID = bytes(range(100, 116))
HEADER = model.Header(
    UUID,
    number=3,
    salt=0xFEDCBA9876543210,
    first_sequence=41,
    file_size=65536,
    watermark=40,
    link_number=2,
    link_salt=0x0123456789ABCDEF,
    link_end=9000,
    link_last_sequence=40,
    created_at=1_700_000_000,
)
u64 = st.integers(0, 2**64 - 1)
FIELDS = (
    "file_size",
    "watermark",
    "link_number",
    "link_salt",
    "link_end",
    "link_last_sequence",
    "created_at",
)


def as_c(header: model.Header) -> Any:
    made = ffi.new("aqw_segment_header *")
    made.format_version = header.version
    made.place.log_uuid = header.log_uuid
    made.place.segment_number = header.number
    made.place.salt = header.salt
    made.place.first_sequence = header.first_sequence
    for name in FIELDS:
        setattr(made, name, getattr(header, name))
    return made


def from_c(header: Any) -> model.Header:
    place = header.place
    made = model.Header(
        bytes(place.log_uuid),
        place.segment_number,
        place.salt,
        place.first_sequence,
        version=header.format_version,
        **{name: getattr(header, name) for name in FIELDS},
    )
    assert place.seed == made.seed
    return made


def file_of(header: model.Header, size: int | None = None) -> bytes:
    data = bytearray(header.file_size if size is None else size)
    data[:128] = data[4096:4224] = header.to_bytes()
    return bytes(data)


def load(
    data: bytes, number: int = 3, first_sequence: int = 41, claimed_size: int | None = None
) -> model.Header:
    """Load the header of a file with these bytes, which says that it is `claimed_size` long."""
    io = MemoryIo(Disk({"/segment": data}))
    sizes = ffi.callback(
        "int(void *, int64_t, uint64_t *)",
        lambda _c, _h, size: size.__setitem__(0, claimed_size) or 0,
    )
    if claimed_size is not None:
        io.table.size = sizes
    handle, header, fault = (
        ffi.new("int64_t *"),
        ffi.new("aqw_segment_header *"),
        ffi.new("aqw_fault *"),
    )
    assert lib.aqw_io_open(io.table, b"/segment", lib.AQW_OPEN_READ, handle) == 0
    check(
        lib.aqw_segment_header_load(
            io.table, handle[0], b"/segment", number, first_sequence, header, fault
        ),
        fault,
    )
    return from_c(header)


def refusal(data: bytes, **arguments: int) -> str:
    with pytest.raises(CoreError) as caught:
        load(data, **arguments)
    return caught.value.fault.reason if caught.value.status == "corrupt" else caught.value.status


# --- Names ----------------------------------------------------------------------------------------


def parse_name(name: str) -> tuple[int, int] | None:
    number, first = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    return (
        (number[0], first[0]) if lib.aqw_segment_name_parse(name.encode(), number, first) else None
    )


@given(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1))
def test_path_and_name(number: int, first_sequence: int) -> None:
    path = ffi.new("char[]", 200)
    assert lib.aqw_segment_path(path, 200, b"/q", number, first_sequence) == lib.AQW_OK
    text = ffi.string(path).decode()
    assert text == f"/q/wal/{number:020d}-{first_sequence:020d}.log"
    assert parse_name(text.removeprefix("/q/wal/")) == (number, first_sequence)
    assert lib.aqw_segment_path(path, len(text) + 1, b"/q", number, first_sequence) == lib.AQW_OK
    assert (
        lib.aqw_segment_path(path, len(text), b"/q", number, first_sequence)
        == lib.AQW_INVALID_ARGUMENT
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "1-1.log",
        f"{0:020d}-{1:020d}.log",
        f"{1:020d}-{0:020d}.log",
        f"{1:020d}-{1:020d}.LOG",
        f"{1:020d}-{1:020d}.log~",
        f"{1:020d}_{1:020d}.log",
        f"+{1:019d}-{1:020d}.log",
        f" {1:019d}-{1:020d}.log",
        f"{2**64}-{1:020d}.log",
        f"{1:020d}-99999999999999999999.log",
        f"{1:021d}-{1:020d}.log",
    ],
)
def test_other_names_are_no_segments(name: str) -> None:
    assert parse_name(name) is None


def test_temporary_names() -> None:
    names = [
        "prepare-0.tmp",
        "prepare-0123456789abcdef.tmp",
        "prepare-.tmp",
        "prepare-0",
        "copy.tmp",
        f"{1:020d}-{1:020d}.log",
    ]
    assert [bool(lib.aqw_segment_name_is_temporary(name.encode())) for name in names] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_join_refuses_what_does_not_fit() -> None:
    path = ffi.new("char[]", 8)
    assert lib.aqw_path_join(path, 8, b"/abc", b"de") == lib.AQW_OK
    assert ffi.string(path) == b"/abc/de"
    assert lib.aqw_path_join(path, 7, b"/abc", b"de") == lib.AQW_INVALID_ARGUMENT


# --- Headers --------------------------------------------------------------------------------------


@given(
    st.builds(
        model.Header,
        log_uuid=st.binary(min_size=16, max_size=16),
        number=u64,
        salt=u64,
        first_sequence=u64,
        file_size=u64,
        watermark=u64,
        link_number=u64,
        link_salt=u64,
        link_end=u64,
        link_last_sequence=u64,
        created_at=u64,
    )
)
def test_written_header_is_the_models(header: model.Header) -> None:
    to = ffi.new("uint8_t[128]", b"\xee" * 128)
    lib.aqw_segment_header_write(as_c(header), to)
    assert bytes(to) == header.to_bytes()
    assert model.parse_header(bytes(to)) == header


def test_every_field_is_read() -> None:
    assert load(file_of(HEADER)) == HEADER


def test_one_good_copy_is_enough() -> None:
    """Also where the bit that flipped is in the version: only two bad copies can be a newer
    format.
    """
    good = file_of(HEADER)
    for copy in (0, 4096):
        for bit in range(128 * 8):
            damaged = bytearray(good)
            damaged[copy + bit // 8] ^= 1 << bit % 8
            assert load(bytes(damaged)) == HEADER == model.header_of(HEADER.name, bytes(damaged))


def test_two_bad_copies_are_damage() -> None:
    for first, second in [(12, 12), (0, 127), (124, 12), (70, 71), (115, 33)]:
        damaged = bytearray(file_of(HEADER))
        damaged[first] ^= 1
        damaged[4096 + second] ^= 1
        assert refusal(bytes(damaged)) == "header_invalid"
    assert refusal(bytes(65536)) == "header_invalid"


def test_two_good_copies_that_differ_are_damage() -> None:
    for name in FIELDS:
        data = bytearray(file_of(HEADER))
        data[4096:4224] = replace(HEADER, **{name: getattr(HEADER, name) + 4}).to_bytes()
        assert refusal(bytes(data)) == "header_copies_differ"


def test_a_newer_format_is_told_from_damage() -> None:
    with pytest.raises(CoreError) as caught:
        load(file_of(replace(HEADER, version=2)))
    assert caught.value.status == "unsupported_format"
    assert caught.value.fault.format_version == 2
    damaged = bytearray(file_of(HEADER))
    damaged[8] = damaged[4104] = 9  # both copies: their checksums tell
    assert refusal(bytes(damaged)) == "header_invalid"
    assert refusal(file_of(replace(HEADER, version=0))) == "header_invalid"


def test_the_name_must_fit() -> None:
    assert refusal(file_of(HEADER), number=4) == "header_invalid"
    assert refusal(file_of(HEADER), first_sequence=42) == "header_invalid"


@pytest.mark.parametrize(
    ("size", "is_legal"),
    [
        (65532, False),
        (65536, True),
        (65538, False),
        (65540, True),
        (2**30 - 4, True),
        (2**30 - 1, False),
        (2**30, True),
        (2**30 + 8192, True),  # a recovery of what fills the largest one
        (2**30 + 8196, False),
        (2**63, False),
    ],
)
def test_sizes(size: int, is_legal: bool) -> None:
    data = file_of(replace(HEADER, file_size=size), 65536)
    if is_legal:
        assert load(data, claimed_size=size).file_size == size
    else:
        assert refusal(data, claimed_size=size) == "file_size"
    assert (size in model.SEGMENT_SIZES) is is_legal


def test_the_size_must_be_the_files() -> None:
    assert refusal(file_of(HEADER, 65540)) == "file_size"
    assert refusal(file_of(HEADER, 65532)) == "file_size"
    assert refusal(file_of(HEADER)[:8191]) == "file_size"
    assert refusal(b"") == "file_size"


# --- The next size --------------------------------------------------------------------------------


def next_size(end: int, needed: int, size_max: int) -> int | str:
    size = ffi.new("uint64_t *")
    status = lib.aqw_segment_size_next(end, needed, size_max, size)
    return int(size[0]) if status == lib.AQW_OK else status_name(status)


@pytest.mark.parametrize(
    ("end", "needed", "size_max", "expected"),
    [
        (0, 0, 2**26, 262144),
        (131072, 0, 2**26, 262144),
        (131073, 0, 2**26, 524288),
        (2**26, 0, 2**26, 2**26),
        (262144, 0, 65536, 65536),
        (0, 65536 - 8192, 65536, 65536),
        (0, 65536 - 8191, 65536, 69632),
        (0, 10_000_000, 65536, (10_000_000 + 8192 + 4095) // 4096 * 4096),
        (0, 2**30 - 8192, 2**26, 2**30),
        (0, 2**30 - 8191, 2**26, 2**30 + 4096),
        (0, 2**30, 2**26, 2**30 + 8192),
        (0, 2**30 + 1, 2**26, "too_large"),
        (0, 2**64 - 1, 2**26, "too_large"),
    ],
)
def test_next_size(end: int, needed: int, size_max: int, expected: int | str) -> None:
    assert next_size(end, needed, size_max) == expected


# --- Preparing and publishing ---------------------------------------------------------------------

NAME = "/q/" + HEADER.name


def prepare(io: MemoryIo, size: int = 65536) -> Any:
    prepared, fault = ffi.new("aqw_prepared *"), ffi.new("aqw_fault *")
    check(lib.aqw_segment_prepare(io.table, b"/q", size, prepared, fault), fault)
    return prepared


def publish(io: MemoryIo, prepared: Any) -> bool:
    """Publish; return whether the name may exist. Raises CoreError, with that as its `is_named`."""
    fault, is_named = ffi.new("aqw_fault *"), ffi.new("int *", 7)
    status = lib.aqw_segment_publish(io.table, b"/q", prepared, as_c(HEADER), is_named, fault)
    try:
        check(status, fault)
    except CoreError as error:
        error.is_named = bool(is_named[0])  # type: ignore[attr-defined]
        raise
    return bool(is_named[0])


def calls_of_publication() -> tuple[int, int]:
    """Return how many calls preparing makes, and preparing with publishing."""
    io = MemoryIo(Disk(directories=["/q/wal"]))
    prepared = prepare(io)
    after_prepare = len(io.calls)
    publish(io, prepared)
    return after_prepare, len(io.calls)


def test_published_segment() -> None:
    disk = Disk(directories=["/q/wal"])
    io = MemoryIo(disk)
    prepared = prepare(io)
    (temporary,) = disk.files
    assert temporary.startswith("/q/wal/prepare-")
    assert disk.bytes_of(temporary) == bytes(65536)
    assert disk.files[temporary].stable == bytes(65536)
    assert publish(io, prepared)
    assert list(disk.stable_files) == [NAME]
    assert disk.stable_files[NAME].stable == file_of(HEADER)
    assert [path for path, _ in io.handles.values()] == [NAME]
    assert asdict(model.header_of(HEADER.name, disk.bytes_of(NAME))) == asdict(HEADER)


def test_a_discarded_preparation_leaves_nothing() -> None:
    disk = Disk(directories=["/q/wal"])
    io = MemoryIo(disk)
    lib.aqw_segment_discard(io.table, prepare(io))
    assert not disk.files
    assert not io.handles


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_failure_before_the_name_leaves_nothing(error: int) -> None:
    prepared_calls, all_calls = calls_of_publication()
    for index in range(all_calls - 1):
        disk = Disk(directories=["/q/wal"])
        io = MemoryIo(disk, fault=Fault(index, error))
        with pytest.raises(CoreError) as caught:
            publish(io, prepare(io))
        assert not disk.files
        assert not io.handles
        is_random = io.failed[0].operation == "random"
        assert caught.value.status == (
            "io_error" if error == errno.EIO or is_random else "no_space"
        )
        assert caught.value.fault.system_error == error
        assert getattr(caught.value, "is_named", False) is False
    assert prepared_calls < all_calls


def test_a_failure_behind_the_name_says_so() -> None:
    _, all_calls = calls_of_publication()
    disk = Disk(directories=["/q/wal"])
    io = MemoryIo(disk, fault=Fault(all_calls - 1, errno.EIO))
    with pytest.raises(CoreError) as caught:
        publish(io, prepare(io))
    assert io.failed[0].operation == "sync_directory"
    assert caught.value.is_named  # type: ignore[attr-defined]
    assert struct.unpack_from("<Q", disk.bytes_of(NAME), 32) == (3,)
