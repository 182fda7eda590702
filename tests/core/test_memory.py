"""Where rows and bytes live: heap, arena and rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.core.door import ffi, lib
from tests.support.core.table_driver import Memory

CHUNK = 256
OK, NO_MEMORY = lib.AQW_OK, lib.AQW_NO_MEMORY


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def heap(memory: Memory) -> Any:
    made = ffi.new("aqw_heap *")
    lib.aqw_heap_init(made, memory.functions)
    return made


@pytest.fixture
def arena(heap: Any, memory: Memory) -> Iterator[Any]:
    made = ffi.new("aqw_arena *")
    lib.aqw_arena_init(made, heap, CHUNK)
    yield made
    memory.fail_after(None)
    lib.aqw_arena_free(made)
    assert not memory.live
    assert heap.taken_bytes == 0


@pytest.fixture
def rows(heap: Any, memory: Memory) -> Iterator[Any]:
    made = ffi.new("aqw_rows *")
    lib.aqw_rows_init(made, heap, 24)
    yield made
    memory.fail_after(None)
    lib.aqw_rows_free(made)
    assert not memory.live
    assert heap.taken_bytes == 0


def address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


# --- Heap -----------------------------------------------------------------------------------------


def test_the_heap_counts_what_is_taken(heap: Any, memory: Memory) -> None:
    first, second = lib.aqw_heap_take(heap, 100), lib.aqw_heap_take(heap, 11)
    assert heap.taken_bytes == 111
    assert bytes(ffi.buffer(first, 100)) == bytes(100)
    lib.aqw_heap_return(heap, first, 100)
    lib.aqw_heap_return(heap, ffi.NULL, 5)
    assert heap.taken_bytes == 11
    memory.fail_after(0)
    assert lib.aqw_heap_take(heap, 1) == ffi.NULL
    assert heap.taken_bytes == 11
    lib.aqw_heap_return(heap, second, 11)
    assert not memory.live


def test_without_functions_the_heap_is_the_c_librarys() -> None:
    heap = ffi.new("aqw_heap *")
    lib.aqw_heap_init(heap, ffi.NULL)
    block = lib.aqw_heap_take(heap, 1000)
    assert bytes(ffi.buffer(block, 1000)) == bytes(1000)
    lib.aqw_heap_return(heap, block, 1000)
    assert heap.taken_bytes == 0


# --- Arena ----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3 * CHUNK), st.sampled_from([1, 8])), max_size=60))
def test_blocks_are_aligned_and_never_overlap_or_move(blocks: list[tuple[int, int]]) -> None:
    memory, heap, arena = Memory(), ffi.new("aqw_heap *"), ffi.new("aqw_arena *")
    lib.aqw_heap_init(heap, memory.functions)
    lib.aqw_arena_init(arena, heap, CHUNK)
    taken = []
    for number, (size, alignment) in enumerate(blocks):
        block = lib.aqw_arena_take(arena, size, alignment)
        assert block != ffi.NULL
        assert address(block) % alignment == 0
        ffi.memmove(block, bytes([number]) * size, size)
        taken.append((block, size))
    for number, (block, size) in enumerate(taken):
        assert bytes(ffi.buffer(block, size)) == bytes([number]) * size
    lib.aqw_arena_free(arena)
    assert not memory.live


def test_large_blocks_do_not_waste_the_chunk_of_small_ones(arena: Any, heap: Any) -> None:
    for _ in range(20):
        lib.aqw_arena_take(arena, 4, 1)
        lib.aqw_arena_take(arena, 10 * CHUNK, 1)
    assert heap.taken_bytes < 20 * 10 * CHUNK + CHUNK + 21 * 64


@pytest.mark.parametrize("small_before", [0, 1, 50])
@pytest.mark.parametrize("sizes", [(1,), (CHUNK,), (10, 5 * CHUNK, 10), (60,) * 30], ids=str)
def test_release_goes_back_to_the_mark(
    arena: Any, heap: Any, small_before: int, sizes: tuple[int, ...]
) -> None:
    if small_before:
        kept = lib.aqw_arena_take(arena, small_before, 1)
        ffi.memmove(kept, b"k" * small_before, small_before)
    mark, taken_before = lib.aqw_arena_mark_get(arena), heap.taken_bytes
    first, *_others = [lib.aqw_arena_take(arena, size, 1) for size in sizes]
    lib.aqw_arena_release(arena, mark)
    assert heap.taken_bytes == taken_before
    if small_before:
        assert bytes(ffi.buffer(kept, small_before)) == b"k" * small_before
        if sizes == (1,):
            assert lib.aqw_arena_take(arena, 1, 1) == first


def test_what_was_reserved_does_not_fail(arena: Any, memory: Memory) -> None:
    lib.aqw_arena_take(arena, CHUNK - 10, 1)
    for size in (40, 2 * CHUNK):
        assert lib.aqw_arena_reserve(arena, size) == OK
        memory.fail_after(0)
        for _ in range(size // 8):
            assert lib.aqw_arena_take(arena, 8, 8) != ffi.NULL
        memory.fail_after(None)


def test_arena_without_memory(arena: Any, memory: Memory) -> None:
    memory.fail_after(0)
    assert lib.aqw_arena_take(arena, 0, 1) == ffi.NULL
    assert lib.aqw_arena_take(arena, 10 * CHUNK, 1) == ffi.NULL
    assert lib.aqw_arena_reserve(arena, 1) == NO_MEMORY
    memory.fail_after(None)
    assert lib.aqw_arena_take(arena, 2**64 - 1, 1) == ffi.NULL
    assert lib.aqw_arena_take(arena, 1, 1) != ffi.NULL


def test_clearing_keeps_one_chunk(arena: Any, memory: Memory) -> None:
    for size in (10, 5 * CHUNK, CHUNK // 4, CHUNK // 4, CHUNK // 4, CHUNK // 4):
        lib.aqw_arena_take(arena, size, 1)
    lib.aqw_arena_clear(arena)
    assert len(memory.live) == 1
    allocations = memory.allocations
    assert lib.aqw_arena_take(arena, 10, 1) != ffi.NULL
    assert memory.allocations == allocations
    lib.aqw_arena_clear(arena)
    lib.aqw_arena_clear(arena)


# --- Rows -----------------------------------------------------------------------------------------


def test_rows_are_numbered_from_1_zeroed_and_do_not_move(rows: Any) -> None:
    places = []
    for number in range(1, 3 * lib.AQW_ROWS_PER_CHUNK):
        assert lib.aqw_rows_reserve(rows, 1) == OK
        assert lib.aqw_rows_add(rows) == number
        row = ffi.cast("uint8_t *", lib.aqw_rows_at(rows, number))
        assert bytes(ffi.buffer(row, 24)) == bytes(24)
        ffi.memmove(row, number.to_bytes(24, "little"), 24)
        places.append(row)
    for number, row in enumerate(places, 1):
        assert lib.aqw_rows_at(rows, number) == row
        assert bytes(ffi.buffer(row, 24)) == number.to_bytes(24, "little")


def test_truncated_rows_come_back_zeroed(rows: Any) -> None:
    assert lib.aqw_rows_reserve(rows, 10) == OK
    for _ in range(10):
        ffi.memmove(lib.aqw_rows_at(rows, lib.aqw_rows_add(rows)), b"\xff" * 24, 24)
    lib.aqw_rows_truncate(rows, 3)
    assert rows.count == 3
    assert lib.aqw_rows_add(rows) == 4
    assert bytes(ffi.buffer(lib.aqw_rows_at(rows, 4), 24)) == bytes(24)
    assert bytes(ffi.buffer(lib.aqw_rows_at(rows, 3), 24)) == b"\xff" * 24


def test_reserving_many_rows_at_once(rows: Any, memory: Memory) -> None:
    count = 20 * lib.AQW_ROWS_PER_CHUNK + 1
    assert lib.aqw_rows_reserve(rows, count) == OK
    memory.fail_after(0)
    assert [lib.aqw_rows_add(rows) for _ in range(count)][-1] == count


def test_rows_without_memory(rows: Any, memory: Memory) -> None:
    for successes in range(5):
        memory.fail_after(successes)
        if lib.aqw_rows_reserve(rows, 2 * lib.AQW_ROWS_PER_CHUNK) == OK:
            break
        assert rows.count == 0
    assert lib.aqw_rows_add(rows) == 1


def test_the_number_of_rows_is_limited(rows: Any) -> None:
    rows.count = lib.AQW_ROW_COUNT_MAX  # as if so many had been added
    assert lib.aqw_rows_reserve(rows, 1) == NO_MEMORY
    rows.count = 0
