"""The sets that orders of runs are made of, against sets that Python sorts."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.core.door import ffi, lib
from tests.support.core.table_driver import Memory

OK, NO_MEMORY = lib.AQW_OK, lib.AQW_NO_MEMORY
WIDTH = 64
FOREVER = 2**64 - 1

Entry = tuple[int, int]


def in_c(entry: tuple[int, ...]) -> tuple[list[int], int]:
    return [*entry[:-1]], entry[-1]


class Ordered:
    """A C set of (time, row), and the sorted list of what must be in it."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.entries: list[Entry] = []
        self.heap = ffi.new("aqw_heap *")
        self.set = ffi.new("aqw_ordered *")
        lib.aqw_heap_init(self.heap, self.memory.functions)
        lib.aqw_ordered_init(self.set, self.heap, 1)

    def close(self) -> None:
        lib.aqw_ordered_free(self.set)
        assert not self.memory.live
        assert self.heap.taken_bytes == 0

    def add(self, entry: Entry) -> None:
        assert lib.aqw_ordered_add(self.set, in_c(entry)) == OK
        if entry not in self:
            insort(self.entries, entry)

    def remove(self, entry: Entry) -> None:
        assert bool(lib.aqw_ordered_remove(self.set, in_c(entry))) == (entry in self)
        if entry in self:
            self.entries.remove(entry)

    def __contains__(self, entry: Entry) -> bool:
        at = bisect_right(self.entries, entry)
        return at > 0 and self.entries[at - 1] == entry

    def read(self, after: Entry | None, until: int, capacity: int) -> list[Entry]:
        to = ffi.new("aqw_ordered_entry[]", capacity)
        cursor = ffi.NULL if after is None else ffi.new("aqw_ordered_entry *", in_c(after))
        count = lib.aqw_ordered_read(self.set, cursor, until, to, capacity)
        return [(to[at].words[0], to[at].row) for at in range(count)]

    def check(self) -> None:
        assert self.set.count == len(self.entries)
        assert self.read(None, FOREVER, len(self.entries) + 1) == self.entries

    def check_from(self, after: Entry, until: int, capacity: int) -> None:
        at = bisect_right(self.entries, after)
        expected = [entry for entry in self.entries[at:] if entry[0] <= until][:capacity]
        assert self.read(after, until, capacity) == expected
        assert bool(lib.aqw_ordered_has(self.set, in_c(after))) == (after in self)

    @property
    def bytes_per_entry(self) -> float:
        return self.heap.taken_bytes / len(self.entries)


@pytest.fixture
def ordered() -> Any:
    made = Ordered()
    yield made
    made.close()


entries = st.tuples(st.integers(0, 40) | st.integers(0, FOREVER), st.integers(1, 40))


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32).map(Random),
    st.sampled_from([20, 200, 3000, 12_000]),
    st.sampled_from([3, 500, FOREVER]),
    st.lists(st.tuples(entries, st.integers(0, FOREVER), st.integers(1, 200)), max_size=5),
)
def test_agrees_with_a_sorted_list(
    random: Random, length: int, latest: int, reads: list[tuple[Entry, int, int]]
) -> None:
    ordered = Ordered()
    removes = random.random()
    for _ in range(length):
        if ordered.entries and random.random() < removes * 0.6:
            gone = random.choice(ordered.entries)
            ordered.remove((gone[0], gone[1] + (random.random() < 0.05)))
        else:
            ordered.add((random.randint(0, latest), random.randint(1, 5000)))
    ordered.check()
    for after, until, capacity in reads:
        ordered.check_from(after, until, capacity)
    random.shuffle(kept := list(ordered.entries))
    for entry in kept[: len(kept) * 9 // 10]:
        ordered.remove(entry)
    ordered.check()
    ordered.close()


def order_of(count: int, kind: str) -> Iterable[int]:
    numbers = list(range(count))
    if kind == "descending":
        numbers.reverse()
    elif kind == "shuffled":
        Random(5).shuffle(numbers)
    return numbers


@pytest.mark.parametrize("goes", ["ascending", "descending", "shuffled"])
@pytest.mark.parametrize("comes", ["ascending", "descending", "shuffled"])
def test_fills_and_empties_in_any_order(ordered: Ordered, comes: str, goes: str) -> None:
    count = WIDTH * WIDTH * 2
    for number in order_of(count, comes):
        ordered.add((number // 3, number + 1))
    ordered.check()
    assert ordered.set.height >= 2
    # 12 bytes an entry, in nodes that are full, or half full where all come in front
    assert ordered.bytes_per_entry < {"ascending": 14, "descending": 26, "shuffled": 20}[comes]
    for number in order_of(count, goes):
        ordered.remove((number // 3, number + 1))
        if number % 1000 == 0:
            ordered.check()
    assert ordered.heap.taken_bytes == 0


def test_nodes_stay_filled_where_most_entries_go(ordered: Ordered) -> None:
    """One entry of a node's 64 must not keep the node."""
    for number in range(WIDTH * WIDTH):
        ordered.add((number, 1))
    for number in range(WIDTH * WIDTH):
        if number % WIDTH:
            ordered.remove((number, 1))
    ordered.check()
    assert ordered.bytes_per_entry < 12 * 4 + 8


def test_nodes_stay_filled_where_neighbours_shrink_one_after_the_other(ordered: Ordered) -> None:
    full = WIDTH - 1  # entries of a node that was filled in order
    for number in range(full * WIDTH):
        ordered.add((number, 1))
    for kept, nodes in ((1, range(0, WIDTH, 2)), (WIDTH // 4, range(1, WIDTH, 2))):
        for node in nodes:
            for number in range(node * full + kept, (node + 1) * full):
                ordered.remove((number, 1))
    ordered.check()
    assert ordered.bytes_per_entry < 12 * 4 + 8


@pytest.mark.parametrize("behind", [1, 31, 62, 63, 64, 65, 130])
def test_nodes_stay_filled_where_entries_come_in_two_trains(ordered: Ordered, behind: int) -> None:
    """Each entry comes last in its node, and not in the set."""
    for number in range(WIDTH * WIDTH * 2):
        ordered.add((10**6 - 2 * number, 1))
        if number > behind:
            ordered.add((10**6 - 2 * (number - behind) + 1, 1))
    ordered.check()
    assert ordered.bytes_per_entry < 27


@pytest.mark.parametrize("for_good", [True, False])
def test_without_memory_nothing_changes(ordered: Ordered, for_good: bool) -> None:
    refused = 0
    for number in order_of(WIDTH * WIDTH, "shuffled"):
        ordered.memory.fail_after(0)
        if lib.aqw_ordered_add(ordered.set, in_c((number, 7))) == NO_MEMORY:
            refused += 1
            assert not lib.aqw_ordered_has(ordered.set, in_c((number, 7)))
        else:
            insort(ordered.entries, (number, 7))
        ordered.memory.fail_after(None)
        if for_good and number % 16:
            continue
        ordered.add((number, 7))
    assert refused
    ordered.check()


# --- Bits -----------------------------------------------------------------------------------------


class Bitset:
    """A C set of numbers, and Python's."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.numbers: set[int] = set()
        self.heap = ffi.new("aqw_heap *")
        self.set = ffi.new("aqw_bitset *")
        lib.aqw_heap_init(self.heap, self.memory.functions)
        lib.aqw_bitset_init(self.set, self.heap)

    def close(self) -> None:
        lib.aqw_bitset_free(self.set)
        assert not self.memory.live

    def add(self, number: int) -> None:
        assert lib.aqw_bitset_reserve(self.set, number) == OK
        lib.aqw_bitset_add(self.set, number)
        self.numbers.add(number)

    def remove(self, number: int) -> None:
        lib.aqw_bitset_remove(self.set, number)
        self.numbers.discard(number)

    def check(self) -> None:
        walked, number = [], 0
        while number := lib.aqw_bitset_next(self.set, number):
            walked.append(number)
        assert walked == sorted(self.numbers)


numbers = st.integers(1, 300) | st.integers(1, 2**19) | st.sampled_from([4095, 4096, 2**18, 2**24])


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), numbers), max_size=60))
def test_bits_agree_with_a_set(changes: list[tuple[bool, int]]) -> None:
    bits = Bitset()
    for is_added, number in changes:
        if is_added:
            bits.add(number)
        else:
            bits.remove(number)
        assert bool(lib.aqw_bitset_has(bits.set, number)) == is_added
    bits.check()
    for number in sorted(bits.numbers)[::2]:
        bits.remove(number)
    bits.check()
    bits.close()


def test_bits_without_memory_stay_as_they_were() -> None:
    bits = Bitset()
    for number in (1, 4000, 70):
        bits.add(number)
    bits.memory.fail_after(0)
    assert lib.aqw_bitset_reserve(bits.set, 4095) == OK
    assert lib.aqw_bitset_reserve(bits.set, 4096) == NO_MEMORY
    bits.memory.fail_after(None)
    bits.check()
    bits.add(4096)
    bits.check()
    bits.close()


def test_a_walk_goes_past_what_is_not_there_in_few_steps() -> None:
    bits = Bitset()
    bits.add(2**25)
    bits.add(3)
    assert lib.aqw_bitset_next(bits.set, 3) == 2**25
    assert lib.aqw_bitset_next(bits.set, 2**25) == 0
    assert lib.aqw_bitset_next(bits.set, 2**32 - 1) == 0
    bits.close()


@settings(deadline=None)
@given(st.integers(0, 2**32).map(Random), st.integers(2, 3), st.integers(1, 2000))
def test_sets_of_several_words(random: Random, words: int, count: int) -> None:
    """The first word that differs decides, and the row after all of them."""
    heap, ordered = ffi.new("aqw_heap *"), ffi.new("aqw_ordered *")
    memory = Memory()
    lib.aqw_heap_init(heap, memory.functions)
    lib.aqw_ordered_init(ordered, heap, words)
    model: set[tuple[int, ...]] = set()

    def any_entry() -> tuple[int, ...]:
        return (*(random.choice((0, 1, 2, 5, FOREVER)) for _ in range(words)), random.randint(1, 9))

    for _ in range(count):
        entry = any_entry()
        if random.random() < 0.6:
            assert lib.aqw_ordered_add(ordered, in_c(entry)) == OK
            model.add(entry)
        else:
            assert lib.aqw_ordered_remove(ordered, in_c(entry)) == (entry in model)
            model.discard(entry)
        assert bool(lib.aqw_ordered_has(ordered, in_c(entry))) == (entry in model)
    to = ffi.new("aqw_ordered_entry[]", len(model) + 1)
    for after in (any_entry(), (any_entry()[0], *[0] * words)):
        first = after[0]
        expected = sorted(entry for entry in model if entry > after and entry[0] <= first)
        cursor = ffi.new("aqw_ordered_entry *", in_c(after))
        read = lib.aqw_ordered_read(ordered, cursor, first, to, len(model) + 1)
        assert [(*entry.words[0:words], entry.row) for entry in to[0:read]] == expected
    lib.aqw_ordered_free(ordered)
    assert not memory.live
