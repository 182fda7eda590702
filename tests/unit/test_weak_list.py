"""The list of what is open, which threads and finalizers change while others look through it."""

from __future__ import annotations

import gc

from _wal_native.weak_list import WeakList


class Item:
    pass


class Adding:
    """A part of a circle, which adds to the list as the collector takes it."""

    def __init__(self, to: WeakList[Item], kept: list[Item]) -> None:
        self.to = to
        self.kept = kept
        self.itself = self

    def __del__(self) -> None:
        self.kept.append(Item())
        self.to.add(self.kept[-1])


def test_an_object_is_listed_until_it_goes() -> None:
    items: WeakList[Item] = WeakList()
    first, second = Item(), Item()
    items.add(first)
    items.add(second)
    assert list(items) == [first, second]
    del first
    assert list(items) == [second]


def test_the_collector_may_run_finalizers_that_add_at_any_point() -> None:
    items: WeakList[Item] = WeakList()
    kept = [Item() for _ in range(50)]
    for item in kept:
        items.add(item)
    thresholds = gc.get_threshold()
    # Python keeps up to 2,000 pairs to take again, and takes them without a look at the collector.
    pairs = [(item, number) for item in kept for number in range(100)]
    try:
        # Up to Python 3.11 the collector runs wherever an object is allocated.
        for allocations in range(1, 400):
            gc.set_threshold(0)
            gc.collect(0)
            kept.append(Item())
            Adding(items, kept)
            gc.set_threshold(allocations)
            items.add(kept[-1])
            for _ in items:
                pass
    finally:
        gc.set_threshold(*thresholds)
    assert pairs
    gc.collect()
    assert sorted(map(id, items)) == sorted(map(id, kept))
