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
    """

    def __init__(self) -> None:
        self._references: dict[object, weakref.ref[T]] = {}

    def add(self, item: T) -> None:
        """Note an object, and forget those that are gone."""
        for gone in [
            key for key, reference in list(self._references.items()) if reference() is None
        ]:
            self._references.pop(gone, None)
        # Under a key that no other thread, which is forgetting an object, takes for that one's.
        self._references[object()] = weakref.ref(item)

    def __iter__(self) -> Iterator[T]:
        """Yield the objects that there were when this began."""
        for reference in list(self._references.values()):
            item = reference()
            if item is not None:
                yield item
