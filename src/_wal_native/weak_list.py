"""What is open, for the hooks that a fork runs, without keeping it alive."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class WeakList(Generic[T]):
    """Objects that are not gone yet.

    Not a :class:`weakref.WeakSet`: that has Python code run when an object goes, and what a
    signal's handler raises there is lost.

    Threads add while others look through. Only a list of the keys, or of the values, is taken in
    one step: a list of the items allocates a pair for each, where the collector may run, and with
    it finalizers that let another thread add in the middle.
    """

    def __init__(self) -> None:
        self._references: dict[object, weakref.ref[T]] = {}

    def add(self, item: T) -> None:
        """Note an object, and forget those that are gone."""
        for key in list(self._references):
            reference = self._references.get(key)
            if reference is not None and reference() is None:
                self._references.pop(key, None)
        # Under a key that no other thread, which is forgetting an object, takes for that one's.
        self._references[object()] = weakref.ref(item)

    def __iter__(self) -> Iterator[T]:
        """Yield the objects that there were when this began."""
        for reference in list(self._references.values()):
            item = reference()
            if item is not None:
                yield item
