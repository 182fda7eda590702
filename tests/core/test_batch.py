"""Batches under construction: sequences, limits, and the frames that they get."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.core import log_model as model
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import KIND, Batch, entry, status_name

UUID = bytes(range(16))
SEGMENT = model.Header(UUID, number=4, salt=99, first_sequence=100, file_size=2**30, watermark=99)


def place() -> Any:
    made = ffi.new("aqw_place *")
    made.log_uuid = UUID
    made.segment_number, made.salt, made.first_sequence = (
        SEGMENT.number,
        SEGMENT.salt,
        SEGMENT.first_sequence,
    )
    lib.aqw_place_seed(made)
    return made


def add(
    batch: Any, sequence: int, payload: Any = b"", size: int | None = None, kind: int = KIND
) -> str:
    size = len(payload) if size is None else size
    return status_name(lib.aqw_batch_add_payload(batch, sequence, kind, payload, size))


def state(batch: Any) -> tuple[int, int, int]:
    return batch.size, batch.count, batch.first_sequence


def sealed(batch: Any, position: int, ordinal: int, durable: int) -> bytes:
    lib.aqw_batch_seal(batch, place(), position, ordinal, durable)
    return bytes(ffi.buffer(batch.data, batch.size))


@given(
    payloads=st.lists(
        st.tuples(st.sampled_from(model.EVENT_KINDS), st.binary(max_size=40)),
        min_size=1,
        max_size=6,
    ),
    position=st.integers(2048, 2**26).map(lambda quarter: quarter * 4),
    ordinal=st.integers(0, 2**31),
    behind=st.integers(0, 2**25),
)
def test_sealed_bytes_are_the_models(
    payloads: list[tuple[int, bytes]], position: int, ordinal: int, behind: int
) -> None:
    batch = Batch()
    first = SEGMENT.first_sequence + ordinal
    durable = max(first - 1 - behind, 0)
    for sequence, (kind, payload) in enumerate(payloads, first):
        assert add(batch.batch, sequence, payload, kind=kind) == "ok"
    expected = b""
    for number, (kind, payload) in enumerate(payloads):
        flags = (
            0 if len(payloads) == 1 else model.END if number == len(payloads) - 1 else model.OPEN
        )
        lag = min(first + number - durable, model.LAG_UNKNOWN)
        expected += model.record_bytes(
            SEGMENT, position + len(expected), ordinal + number, kind, payload, lag=lag, flags=flags
        )
    assert sealed(batch.batch, position, ordinal, durable) == expected
    # The same again: a batch that did not fit is sealed anew in another place.
    assert sealed(batch.batch, position, ordinal, durable) == expected


def test_only_the_next_sequence_is_taken() -> None:
    batch = Batch()
    assert add(batch.batch, 7) == "ok"
    before = state(batch.batch)
    for sequence in (0, 6, 7, 9, 2**64 - 1):
        assert add(batch.batch, sequence) == "refused_sequence"
    assert state(batch.batch) == before
    assert add(batch.batch, 8) == "ok"


def test_sequences_do_not_wrap_around() -> None:
    batch = Batch()
    assert add(batch.batch, 2**64 - 1) == "ok"
    assert add(batch.batch, 0) == "refused_sequence"


def test_reset_forgets_the_records() -> None:
    batch = Batch()
    batch.fill(5, [b"abc", b"def"])
    lib.aqw_batch_reset(batch.batch)
    assert state(batch.batch)[:2] == (0, 0)
    batch.fill(9, [b"x"])
    assert sealed(batch.batch, 8192, 0, 8) == model.record_bytes(
        SEGMENT, 8192, 0, KIND, b"x", lag=1
    )


def test_the_memory_of_a_large_batch_is_given_back() -> None:
    batch = Batch()
    batch.fill(1, [bytes(1000)] * 100)
    kept = batch.batch.capacity
    lib.aqw_batch_reset(batch.batch)
    assert batch.batch.capacity == kept >= 100_000
    batch.fill(1, [bytes(1_000_000)] * 3)
    assert batch.batch.capacity > 3_000_000
    lib.aqw_batch_reset(batch.batch)
    assert batch.batch.capacity == 0
    batch.fill(5, [b"abc"])
    assert sealed(batch.batch, 8192, 0, 4) == model.record_bytes(
        SEGMENT, 8192, 0, KIND, b"abc", lag=1
    )


def test_payload_limit() -> None:
    batch, limit = Batch(), lib.AQW_PAYLOAD_SIZE_MAX
    data = ffi.new("uint8_t[]", limit + 1)
    assert add(batch.batch, 1, data, limit + 1) == "too_large"
    assert state(batch.batch) == (0, 0, 0)
    assert add(batch.batch, 1, data, limit) == "ok"
    assert add(batch.batch, 2, data, limit - 1) == "ok"
    assert batch.batch.size == lib.aqw_record_size(limit) + lib.aqw_record_size(limit - 1)


def test_size_limit() -> None:
    batch, limit = Batch(), lib.AQW_PAYLOAD_SIZE_MAX
    data = ffi.new("uint8_t[]", limit)
    for sequence in range(1, 16):
        assert add(batch.batch, sequence, data, limit) == "ok"
    room = lib.AQW_BATCH_SIZE_MAX - batch.batch.size
    before = state(batch.batch)
    assert add(batch.batch, 16, data, room - 16 + 1) == "too_large"
    assert state(batch.batch) == before
    assert add(batch.batch, 16, data, room - 16) == "ok"
    assert batch.batch.size == lib.AQW_BATCH_SIZE_MAX
    assert add(batch.batch, 17) == "too_large"


def test_count_limit() -> None:
    batch = Batch()
    for sequence in range(1, lib.AQW_BATCH_COUNT_MAX + 1):
        if lib.aqw_batch_add_payload(batch.batch, sequence, KIND, ffi.NULL, 0) != lib.AQW_OK:
            pytest.fail(f"event {sequence} was refused")
    assert add(batch.batch, lib.AQW_BATCH_COUNT_MAX + 1) == "too_large"
    assert batch.batch.count == lib.AQW_BATCH_COUNT_MAX


@pytest.mark.parametrize("size", [0, 1, 900, 1003, 1004, 1005, 15000, 16384, 1_000_000, 16_700_000])
def test_encoded_events_are_their_payloads(size: int) -> None:
    """Events of any size encode into whatever room the batch has."""
    payload = entry(bytes(size))
    event, batch = ffi.new("aqw_event *"), Batch()
    assert lib.aqw_event_decode(KIND, 1, payload, len(payload), event) == lib.AQW_OK
    for sequence in (1, 2, 3):
        event.sequence = sequence
        assert lib.aqw_batch_add(batch.batch, event) == lib.AQW_OK
    record = lib.aqw_record_size(len(payload))
    assert state(batch.batch) == (3 * record, 3, 1)
    for number in range(3):
        assert bytes(ffi.buffer(batch.batch.data + number * record + 16, len(payload))) == payload


def test_events_that_are_refused_change_nothing() -> None:
    event, batch = ffi.new("aqw_event *"), Batch()
    payload = entry(b"data")
    assert lib.aqw_event_decode(KIND, 1, payload, len(payload), event) == lib.AQW_OK
    assert lib.aqw_batch_add(batch.batch, event) == lib.AQW_OK
    before = state(batch.batch)
    assert lib.aqw_batch_add(batch.batch, event) == lib.AQW_REFUSED_SEQUENCE
    event.sequence = 2
    event.kind = 200
    assert lib.aqw_batch_add(batch.batch, event) == lib.AQW_MALFORMED_EVENT
    event.kind = KIND
    large = ffi.new("uint8_t[]", lib.AQW_PAYLOAD_SIZE_MAX)
    entry_fields = getattr(event, "as").ledger_entry_appended  # a keyword in Python, not in C
    entry_fields.payload.data, entry_fields.payload.size = large, lib.AQW_PAYLOAD_SIZE_MAX
    assert lib.aqw_batch_add(batch.batch, event) == lib.AQW_TOO_LARGE
    assert state(batch.batch) == before
