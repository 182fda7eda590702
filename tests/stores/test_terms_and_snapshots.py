"""What every store keeps to while a writer gives its term back, or puts snapshots badly."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from actionqueue.errors import FencedError, InvalidFieldError


def _written(logs: Any, count: int) -> tuple[Any, Any]:
    """Return a store and its term, in which it has appended some events."""
    store = logs.made()
    term = store.campaign("writer")
    for number in range(1, count + 1):
        store.append(term, number, number, str(number).encode())
    return store, term


def test_a_visible_snapshot_is_not_overwritten_by_one_that_is_cut_off(logs: Any) -> None:
    store, term = _written(logs, 3)
    store.put_snapshot(term, 3, [b"first", b"second"], b"whole")

    def cut_off() -> Iterator[bytes]:
        yield b"other"
        raise InterruptedError

    with suppress(InterruptedError):
        store.put_snapshot(term, 3, cut_off(), b"other")
    (info,) = store.snapshots()
    assert info.digest == b"whole"
    assert list(store.get_snapshot(info)) == [b"first", b"second"]


def test_a_snapshot_of_events_that_are_not_there_is_refused(logs: Any) -> None:
    """Else a trim would drop what no snapshot holds, and what is not written yet."""
    store, term = _written(logs, 3)
    with pytest.raises(InvalidFieldError, match="sequence"):
        store.put_snapshot(term, 4, [b"more"], b"")
    with pytest.raises(InvalidFieldError, match="below"):
        store.trim(term, 5)
    assert store.snapshots() == []
    assert list(store.read(0, upto=3)) == [b"1", b"2", b"3"]


def test_a_snapshot_before_the_newest_is_refused(logs: Any) -> None:
    """What cleans up behind the newest one would take its pieces, while they come."""
    store, term = _written(logs, 3)
    store.put_snapshot(term, 3, [b"three"], b"")
    with pytest.raises(InvalidFieldError, match="newest"):
        store.put_snapshot(term, 2, [b"two"], b"")
    assert [info.sequence for info in store.snapshots()] == [3]


def test_a_deposed_writer_is_told_so_for_a_snapshot_that_it_has_put(logs: Any) -> None:
    store, term = _written(logs, 2)
    store.put_snapshot(term, 2, [b"two"], b"")
    store.campaign("writer")
    with pytest.raises(FencedError):
        store.put_snapshot(term, 2, [b"two"], b"")


def test_a_term_that_ended_is_not_valid_any_more(logs: Any) -> None:
    store, first = _written(logs, 1)
    store.keep(first)
    assert store.valid_until(first) > 0
    second = store.campaign("writer")
    assert store.valid_until(first) < time.monotonic()
    store.keep(second)
    store.resign(second)
    assert store.valid_until(second) < time.monotonic()


def test_giving_an_old_term_back_leaves_the_newer_one(logs: Any) -> None:
    store, old = _written(logs, 1)
    term = store.campaign("writer")
    store.resign(old)
    store.keep(term)
    until = store.valid_until(term)
    other = logs.open()
    taken = other.campaign("other", timeout=60)
    assert time.monotonic() >= until - 0.001
    assert taken.epoch > term.epoch


def test_a_store_that_is_closed_leaves_its_term_the_time_it_was_promised(logs: Any) -> None:
    store, term = _written(logs, 1)
    store.keep(term)
    until = store.valid_until(term)
    store.close()
    logs.open().campaign("other", timeout=60)
    assert time.monotonic() >= until - 0.001
