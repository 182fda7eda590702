"""The reader of logs against the model, on bytes that are anything at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.core import log_model as model
from tests.support.core.any_logs import made_logs
from tests.support.core.log_driver import Seen
from tests.support.core.log_images import FIRST, LOGS, Image, changed, core_reads, same_as_model

pytestmark = pytest.mark.usefixtures("segment_held")
IMAGES = {name: make() for name, make in LOGS.items() if name != "chained"}
writes = st.tuples(
    st.sampled_from(["segment", "segment", "ring"]),
    st.one_of(st.integers(0, 500), st.integers(0, 57343)),
    st.one_of(st.binary(min_size=1, max_size=20), st.integers(1, 200).map(bytes)),
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(IMAGES)), st.lists(writes, min_size=1, max_size=3))
def test_any_bytes_are_read_as_by_the_model(
    name: str, changes: list[tuple[str, int, bytes]]
) -> None:
    image = IMAGES[name]
    for file, at, data in changes:
        start = model.DATA + (65536 if file == "ring" else 0) + at
        image = changed(image, "ring" if file == "ring" else FIRST, start, data[: 57344 - at])
    same_as_model(image)


@settings(max_examples=600, deadline=None)
@given(made_logs())
def test_any_arrangement_of_records_is_read_as_by_the_model(image: Image) -> None:
    same_as_model(image)


def image_with_ring(segment_size: int, ring: bytes) -> Image:
    """An empty log, and a ring of any bytes."""
    header = model.Header(bytes(range(16)), 1, 5, 1, segment_size, 0)
    segment = bytearray(segment_size)
    segment[:128] = segment[4096:4224] = header.to_bytes()
    return {header.name: bytes(segment), "ring": model.ring_bytes(header.log_uuid, ring, (0, None))}


def test_sizes_in_the_ring_cost_nothing_where_there_is_no_record() -> None:
    """Every fourth byte begins what would be a record of nearly the ring's size: copying each of
    them would take a quarter of an hour.
    """
    word = 0xF0000.to_bytes(4, "little")
    assert same_as_nothing(core_reads(image_with_ring(2**25, word * 2**18)))


def test_a_ring_full_of_likely_records_is_no_damage() -> None:
    """One look at each offset tells that there is no record, whatever size it announces and
    whatever position it could stand for.
    """
    likely = bytes(4) + (0xF0000 | 31 << 24).to_bytes(4, "little") + bytes(8)
    assert same_as_nothing(core_reads(image_with_ring(2**25, likely * 2**16)))
    assert same_as_nothing(core_reads(image_with_ring(2**30, likely * 2**16)))


def same_as_nothing(seen: Seen | str) -> bool:
    return not isinstance(seen, str) and not seen.events and not seen.ring_events
