"""The index from hashes to rows, and its hash."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from door import ffi, lib
from table_driver import Memory

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

    def insert(self, row: int, value: int) -> None:
        assert lib.aqw_map_reserve(self.map, 1) == OK
        self.hashes[row] = value
        lib.aqw_map_insert(self.map, value, row)

    def remove(self, row: int) -> None:
        lib.aqw_map_remove(self.map, self.hashes[row], row)
        del self.hashes[row]

    def find(self, value: int) -> list[int]:
        """Return the candidates for a hash."""
        probe = ffi.new("aqw_map_probe *")
        lib.aqw_map_find(self.map, value, probe)
        return list(iter(lambda: lib.aqw_map_next(self.map, probe), 0))

    def check(self) -> None:
        assert self.map.count == len(self.hashes)
        for row, value in self.hashes.items():
            assert self.find(value).count(row) == 1

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
        st.tuples(st.booleans(), st.one_of(st.integers(0, MASK), st.integers(0, 3), st.sampled_from([0, 1 << 56]))),
        max_size=200,
    )
)
def test_holds_what_was_inserted_and_not_removed(steps: list[tuple[bool, int]]) -> None:
    index = Map()
    for number, (is_insert, value) in enumerate(steps, 1):
        if is_insert or not index.hashes:
            index.insert(number, value)
        else:
            index.remove(list(index.hashes)[value % len(index.hashes)])
        index.check()
    index.close()


def test_grows_a_bucket_at_a_time(index: Map) -> None:
    were_moving = 0
    for row in range(1, 3000):
        index.insert(row, spread(row))
        were_moving += index.is_moving
        if row % 97 == 0 or index.is_moving and row < 300:
            index.check()
    index.check()
    assert were_moving > 20
    assert not any(index.find(spread(row)) and row in index.find(spread(row)) for row in range(3000, 6000))


def test_entries_are_removed_in_any_order_in_the_middle_of_moving(index: Map) -> None:
    row = 0
    while not (index.is_moving and index.map.old.bucket_count >= 64):
        row += 1
        index.insert(row, spread(row))
    assert 0 < index.map.moved_count < index.map.old.bucket_count
    for removed in range(1, row + 1, 2):
        index.remove(removed)
    index.check()
    for added in range(row + 1, row + 400):
        index.insert(added, spread(added))
    index.check()
    for removed in list(index.hashes):
        index.remove(removed)
    assert index.map.count == 0


def test_equal_hashes_are_all_found(index: Map) -> None:
    for row in range(1, 200):
        index.insert(row, 42)
    assert sorted(index.find(42)) == list(range(1, 200))
    for row in range(1, 200, 3):
        index.remove(row)
    index.check()


def test_an_empty_map_has_nothing_and_takes_nothing(index: Map) -> None:
    assert index.find(7) == []
    assert index.memory.allocations == 0


def test_what_was_reserved_does_not_fail(index: Map) -> None:
    index.insert(1, spread(1))
    assert lib.aqw_map_reserve(index.map, 5000) == OK
    index.memory.fail_after(0)
    for row in range(2, 5002):
        index.hashes[row] = spread(row)
        lib.aqw_map_insert(index.map, spread(row), row)
    index.memory.fail_after(None)
    index.check()


def test_reserving_much_in_the_middle_of_moving_keeps_everything(index: Map) -> None:
    row = 0
    while not index.is_moving or row < 100:
        row += 1
        index.insert(row, spread(row))
    assert lib.aqw_map_reserve(index.map, 10_000) == OK
    index.check()


def test_a_failed_reserve_changes_nothing(index: Map) -> None:
    for row in range(1, 10):
        index.insert(row, spread(row))
    index.memory.fail_after(0)
    assert lib.aqw_map_reserve(index.map, 1) == NO_MEMORY
    index.memory.fail_after(None)
    index.check()


def test_buckets_are_cache_lines(index: Map) -> None:
    index.insert(1, 1)
    assert int(ffi.cast("uintptr_t", index.map.current.buckets)) % 64 == 0
    assert ffi.sizeof("aqw_map_bucket") == 64


# --- The hash --------------------------------------------------------------------------------------------------------


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
    return ffi.new("aqw_hash_key *", [int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")])


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=70))
def test_the_hash_is_siphash_1_3(key: bytes, data: bytes) -> None:
    assert lib.aqw_hash_bytes(key_of(key), data, len(data)) == siphash_1_3(key, data)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_the_hash_of_an_identifier_is_that_of_its_bytes(key: bytes, identifier: bytes) -> None:
    assert lib.aqw_hash_id(key_of(key), identifier) == siphash_1_3(key, identifier)
