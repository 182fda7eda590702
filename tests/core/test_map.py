"""The index from hashes to rows, and its hash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.core.door import ffi, lib
from tests.support.core.table_driver import Memory

OK, NO_MEMORY = lib.AQW_OK, lib.AQW_NO_MEMORY
MASK = 2**64 - 1


class Map:
    """A C map, and a dict of what must be in it."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.hashes: dict[int, int] = {}  # by row
        self.callback = ffi.callback("aqw_map_hash", lambda _context, row: self.hashes[row])
        self.heap = ffi.new("aqw_heap *")
        self.map = ffi.new("aqw_map *")
        lib.aqw_heap_init(self.heap, self.memory.functions)
        lib.aqw_map_init(self.map, self.heap, self.callback, ffi.NULL)

    def close(self) -> None:
        lib.aqw_map_free(self.map)
        assert not self.memory.live
        assert self.heap.taken_bytes == 0

    def insert(self, value: int) -> None:
        assert lib.aqw_map_reserve(self.map, 1) == OK
        self.insert_reserved(value)

    def insert_reserved(self, value: int) -> None:
        self.hashes[len(self.hashes) + 1] = value
        lib.aqw_map_insert(self.map, value)

    def remove(self) -> None:
        """Remove the newest row."""
        lib.aqw_map_remove(self.map, self.hashes.popitem()[1])

    def find(self, value: int) -> list[int]:
        """Return the candidates for a hash."""
        probe = ffi.new("aqw_map_probe *")
        lib.aqw_map_find(self.map, value, probe)
        return list(iter(lambda: lib.aqw_map_next(self.map, probe), 0))

    def check(self) -> None:
        assert self.map.count == len(self.hashes)
        for row, value in self.hashes.items():
            assert row in self.find(value)
            assert max(self.find(value)) <= self.map.count

    @property
    def is_moving(self) -> bool:
        return bool(self.map.old.bucket_count)


@pytest.fixture
def index() -> Iterator[Map]:
    made = Map()
    yield made
    made.close()


def spread(number: int) -> int:
    return number * 0x9E3779B97F4A7C15 & MASK


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-30, 60),  # insert so many, or remove
            st.one_of(st.integers(0, MASK), st.sampled_from([0, 3, 1 << 56])),
            st.booleans(),
        ),
        max_size=25,
    )
)
def test_holds_what_was_inserted_and_not_removed(steps: list[tuple[int, int, bool]]) -> None:
    index = Map()
    for count, base, are_equal in steps:
        for i in range(count):
            index.insert(base if are_equal else spread(base + i))
        for _ in range(min(-count, len(index.hashes))):
            index.remove()
        index.check()
    index.close()


def test_growing_is_spread_over_the_inserts_that_follow(index: Map) -> None:
    were_moving = 0
    for row in range(1, 3000):
        index.insert(spread(row))
        were_moving += index.is_moving
        if row % 97 == 0 or (index.is_moving and row < 300):
            index.check()
    index.check()
    assert were_moving > 300
    assert not any(row in index.find(spread(row)) for row in range(3000, 6000))


@pytest.mark.parametrize("removed", [1, 50, 300, 400, 1000])
def test_removing_and_adding_in_the_middle_of_moving(index: Map, removed: int) -> None:
    while not (index.is_moving and index.map.old.bucket_count >= 64 and index.map.moved_rows > 300):
        index.insert(spread(len(index.hashes)))
    assert index.map.moved_rows < index.map.old_rows
    for _ in range(min(removed, len(index.hashes))):
        index.remove()
    index.check()
    for added in range(2000):
        index.insert(spread(-added))
        if added % 50 == 0:
            index.check()
    index.check()
    while index.hashes:
        index.remove()
    assert index.map.count == 0
    assert not any(index.find(spread(number)) for number in range(1000))


def test_equal_hashes_are_all_found(index: Map) -> None:
    for _ in range(200):
        index.insert(42)
    assert set(index.find(42)) == set(range(1, 201))
    for _ in range(150):
        index.remove()
    assert set(index.find(42)) == set(range(1, 51))
    while index.hashes:
        index.remove()
    assert not any(
        index.map.current.buckets[i].overflow for i in range(index.map.current.bucket_count)
    )


def test_an_empty_map_has_nothing_and_takes_nothing(index: Map) -> None:
    assert index.find(7) == []
    assert index.memory.allocations == 0


def test_what_was_reserved_does_not_fail(index: Map) -> None:
    index.insert(spread(1))
    assert lib.aqw_map_reserve(index.map, 5000) == OK
    index.memory.fail_after(0)
    for row in range(2, 5002):
        index.insert_reserved(spread(row))
    index.memory.fail_after(None)
    index.check()


def test_reserving_much_in_the_middle_of_moving_keeps_everything(index: Map) -> None:
    while not index.is_moving or len(index.hashes) < 100:
        index.insert(spread(len(index.hashes)))
    assert lib.aqw_map_reserve(index.map, 10_000) == OK
    index.check()


def test_a_failed_reserve_changes_nothing(index: Map) -> None:
    for row in range(1, 10):
        index.insert(spread(row))
    index.memory.fail_after(0)
    assert lib.aqw_map_reserve(index.map, 1) == NO_MEMORY
    index.memory.fail_after(None)
    index.check()


def test_buckets_are_cache_lines(index: Map) -> None:
    index.insert(1)
    assert int(ffi.cast("uintptr_t", index.map.current.buckets)) % 64 == 0
    assert ffi.sizeof("aqw_map_bucket") == 64


# --- The hash -------------------------------------------------------------------------------------


def siphash_1_3(key: bytes, data: bytes) -> int:
    """SipHash-1-3, as its authors describe it."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v0, v1 = k0 ^ int.from_bytes(b"somepseu", "big"), k1 ^ int.from_bytes(b"dorandom", "big")
    v2, v3 = k0 ^ int.from_bytes(b"lygenera", "big"), k1 ^ int.from_bytes(b"tedbytes", "big")

    def rotate(value: int, bits: int) -> int:
        return (value << bits | value >> (64 - bits)) & MASK

    def sip_round() -> None:
        nonlocal v0, v1, v2, v3
        v0 = v0 + v1 & MASK
        v1 = rotate(v1, 13) ^ v0
        v0 = rotate(v0, 32)
        v2 = v2 + v3 & MASK
        v3 = rotate(v3, 16) ^ v2
        v0 = v0 + v3 & MASK
        v3 = rotate(v3, 21) ^ v0
        v2 = v2 + v1 & MASK
        v1 = rotate(v1, 17) ^ v2
        v2 = rotate(v2, 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for at in range(0, len(padded), 8):
        block = int.from_bytes(padded[at : at + 8], "little")
        v3 ^= block
        sip_round()
        v0 ^= block
    v2 ^= 0xFF
    for _ in range(3):
        sip_round()
    return v0 ^ v1 ^ v2 ^ v3


def key_of(key: bytes) -> Any:
    return ffi.new(
        "aqw_hash_key *", [int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")]
    )


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=70))
def test_the_hash_is_siphash_1_3(key: bytes, data: bytes) -> None:
    assert lib.aqw_hash_bytes(key_of(key), data, len(data)) == siphash_1_3(key, data)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_the_hash_of_an_identifier_is_that_of_its_bytes(key: bytes, identifier: bytes) -> None:
    assert lib.aqw_hash_id(key_of(key), identifier) == siphash_1_3(key, identifier)
