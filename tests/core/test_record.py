"""The record's frame: what is written, and which bytes are a record."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.core import log_model as model
from tests.support.core.door import ffi, lib

UUID = bytes.fromhex("00112233445546778899aabbccddeeff")
SEGMENT = model.Header(
    UUID, number=7, salt=0x1122334455667788, first_sequence=1000, file_size=2**30, watermark=999
)
KINDS = [*model.EVENT_KINDS, model.MARKER, model.PAD]
FLAGS = [0, model.OPEN, model.END]

kinds_and_flags = st.sampled_from(
    [(kind, flags) for kind in KINDS for flags in FLAGS if kind < 240 or flags == 0]
)
segments = st.builds(
    model.Header,
    log_uuid=st.binary(min_size=16, max_size=16),
    number=st.integers(1, 2**64 - 1),
    salt=st.integers(0, 2**64 - 1),
    first_sequence=st.one_of(
        st.integers(1, 100), st.integers(1, 2**64 - 1), st.integers(2**64 - 9, 2**64 - 1)
    ),
    file_size=st.just(2**30),
    watermark=st.just(0),
)
positions = st.integers(0, 2**30).map(lambda position: position * 4)
ordinals = st.one_of(st.integers(0, 9), st.integers(0, 2**32 - 1))
lags = st.one_of(
    st.integers(0, 9), st.integers(0, 2**24 - 1), st.sampled_from([2**24 - 2, 2**24 - 1])
)


def place_of(segment: model.Header) -> Any:
    place = ffi.new("aqw_place *")
    place.log_uuid = segment.log_uuid
    place.segment_number = segment.number
    place.salt = segment.salt
    place.first_sequence = segment.first_sequence
    lib.aqw_place_seed(place)
    return place


def seal(
    segment: model.Header,
    position: int,
    ordinal: int,
    kind: int,
    payload: bytes = b"",
    *,
    lag: int = 0,
    flags: int = 0,
) -> bytes:
    """Return the record that the core writes; the bytes behind it stay as they were."""
    size = lib.aqw_record_size(len(payload))
    buffer = ffi.new("uint8_t[]", b"\xee" * (size + 8))
    ffi.buffer(buffer + 16, len(payload))[:] = payload
    lib.aqw_record_seal(
        buffer, place_of(segment), position, ordinal, lag, kind, flags, len(payload)
    )
    assert bytes(ffi.buffer(buffer + size, 8)) == b"\xee" * 8
    return bytes(ffi.buffer(buffer, size))


def read(
    segment: model.Header, data: bytes, position: int, available: int | None = None
) -> model.Record | None:
    record = ffi.new("aqw_record *")
    # The size is exact, so that a sanitizer sees reads beyond it.
    memory = ffi.new("uint8_t[]", len(data) or 1)
    ffi.buffer(memory, len(data))[:] = data
    available = len(data) if available is None else available
    if not lib.aqw_record_read(memory, available, place_of(segment), position, record):
        return None
    assert record.segment_number == segment.number
    payload = bytes(ffi.buffer(record.payload, record.payload_size))
    return model.Record(
        record.position,
        record.ordinal,
        record.sequence,
        record.watermark,
        record.kind,
        record.flags,
        payload,
        record.size,
    )


@given(segments, positions, ordinals, kinds_and_flags, lags, st.binary(max_size=70))
def test_written_bytes_and_their_reading_are_the_models(
    segment: model.Header,
    position: int,
    ordinal: int,
    shape: tuple[int, int],
    lag: int,
    payload: bytes,
) -> None:
    kind, flags = shape
    sealed = seal(segment, position, ordinal, kind, payload, lag=lag, flags=flags)
    assert sealed == model.record_bytes(
        segment, position, ordinal, kind, payload, lag=lag, flags=flags
    )
    assert read(segment, sealed, position) == model.parse_record(segment, sealed, 0, position)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 1023, 1024])
def test_size_and_padding(size: int) -> None:
    sealed = seal(SEGMENT, 8192, 0, 31, b"\xff" * size)
    assert len(sealed) == lib.aqw_record_size(size) == 16 + size + -size % 4
    assert sealed[16 + size :] == bytes(-size % 4)


def test_the_greatest_payload() -> None:
    size = lib.AQW_PAYLOAD_SIZE_MAX
    assert lib.aqw_record_size(size) == 16 + size + 1
    for payload in (bytes(size), bytes(size - 1)):
        sealed = seal(SEGMENT, 8192, 0, 31, payload)
        found = read(SEGMENT, sealed, 8192)
        assert found is not None
        assert found.payload == payload
        assert read(SEGMENT, sealed, 8192, len(sealed) - 1) is None


def test_every_flipped_bit_is_refused() -> None:
    sealed = seal(SEGMENT, 8192, 3, 31, b"payload", lag=2, flags=model.OPEN)
    for bit in range(8 * len(sealed)):
        damaged = bytearray(sealed)
        damaged[bit // 8] ^= 1 << bit % 8
        assert read(SEGMENT, bytes(damaged), 8192) is None


def test_every_shorter_piece_is_refused() -> None:
    sealed = seal(SEGMENT, 8192, 3, 31, b"payload")
    assert read(SEGMENT, sealed, 8192, len(sealed)) is not None
    assert all(read(SEGMENT, sealed[:size], 8192) is None for size in range(len(sealed)))


@pytest.mark.parametrize(
    ("change", "position"),
    [
        ({"log_uuid": bytes(16)}, 8192),
        ({"number": 8}, 8192),
        ({"salt": 0}, 8192),
        ({}, 8196),
        ({}, 8192 + 2**32),
    ],
)
def test_a_record_counts_in_one_place_only(change: dict[str, Any], position: int) -> None:
    sealed = seal(SEGMENT, 8192, 0, 31, b"payload")
    elsewhere = model.Header(**{**SEGMENT.__dict__, **change})
    assert read(elsewhere, sealed, position) is None


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 4, 128, 255])
def test_kinds_and_flags(flags: int) -> None:
    for kind in range(256):
        sealed = seal(SEGMENT, 8192, 5, kind, flags=flags)
        is_known = (kind in model.EVENT_KINDS and flags <= 2) or (
            kind in (model.MARKER, model.PAD) and flags == 0
        )
        assert (read(SEGMENT, sealed, 8192) is not None) is is_known
        assert lib.aqw_record_is_plausible(sealed, 5, 5) == is_known


def test_the_ordinal_is_compared() -> None:
    sealed, record = seal(SEGMENT, 8192, 5, 31), ffi.new("aqw_record *")
    for ordinal in range(8):
        assert lib.aqw_record_check(
            sealed, len(sealed), place_of(SEGMENT), 8192, ordinal, record
        ) == (ordinal == 5)
        for greatest in range(8):
            assert lib.aqw_record_is_plausible(sealed, ordinal, greatest) == (
                ordinal <= 5 <= greatest
            )
    assert not lib.aqw_record_check(sealed, 15, place_of(SEGMENT), 8192, 5, record)


@pytest.mark.parametrize(
    ("kind", "lag", "watermark"),
    [
        (31, 0, 1005),
        (31, 1, 1004),
        (31, 1005, 0),
        (31, 1006, 0),
        (31, 2**24 - 2, 0),
        (31, 2**24 - 1, 0),
        (model.MARKER, 0, 1004),
        (model.PAD, 4, 1000),
    ],
)
def test_watermarks(kind: int, lag: int, watermark: int) -> None:
    found = read(SEGMENT, seal(SEGMENT, 8192, 5, kind, lag=lag), 8192)
    assert found is not None
    assert found.watermark == watermark
    assert found.sequence == (1005 if kind == 31 else 1004)


def test_the_greatest_lag() -> None:
    far = model.Header(**{**SEGMENT.__dict__, "first_sequence": 2**40})
    for lag, watermark in [(2**24 - 2, 2**40 - 2**24 + 2), (2**24 - 1, 0)]:
        found = read(far, seal(far, 8192, 0, 31, lag=lag), 8192)
        assert found is not None
        assert found.watermark == watermark


def test_sequences_end_at_the_greatest_number() -> None:
    last = model.Header(**{**SEGMENT.__dict__, "first_sequence": 2**64 - 2})
    assert [
        read(last, seal(last, 8192, ordinal, 31), 8192) is not None for ordinal in range(4)
    ] == [
        True,
        True,
        False,
        False,
    ]
    assert [
        read(last, seal(last, 8192, ordinal, model.PAD), 8192) is not None for ordinal in range(4)
    ] == [
        True,
        True,
        True,
        False,
    ]


@settings(max_examples=300)
@given(st.binary(max_size=80), positions)
def test_any_bytes_are_judged_as_by_the_model(data: bytes, position: int) -> None:
    assert read(SEGMENT, data, position) == model.parse_record(SEGMENT, data, 0, position)
