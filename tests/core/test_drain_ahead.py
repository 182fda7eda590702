"""A ring of half a megabyte or more is drained by the log's own thread when it is half full, so
that appends seldom have to.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.core.door import ffi
from tests.support.core.log_driver import CoreError, Log
from tests.support.core.memory_io import MemoryIo, home

PATIENCE_S = 60.0
RING = 2**19
ENTRY = bytes(1000)


class Drained:
    """A log in memory, of which the writes into a segment are seen; they can be held up, and
    failed.
    """

    def __init__(self, ring_size: int = RING) -> None:
        self.io = MemoryIo(home(), background=True)
        self.changed = threading.Condition()
        self.writers: list[int] = []
        self.error = 0
        self.may_go = threading.Event()
        self.may_go.set()
        self.is_watching = False
        self.through = self.io.table.write
        self.entry = ffi.callback(ffi.typeof(self.io.table.write), self._write)
        self.io.table.write = self.entry
        self.log = Log(self.io, segment_size=2**22, ring_size=ring_size)
        while self.log.stats.segment_size < 2**22:  # the first ones are too small for what follows
            self.log.append(ENTRY)
        self.log.sync()
        self.drains = self.log.stats.drains
        self.stalls = self.log.stats.stalls
        self.is_watching = True

    def _write(
        self, context: Any, handle: int, offset: int, data: Any, size: int, done: Any
    ) -> int:
        if self.is_watching and size >= len(ENTRY):
            with self.changed:
                self.writers.append(threading.get_ident())
                self.changed.notify_all()
            if not self.may_go.wait(PATIENCE_S):
                return errno.EDEADLK
            if self.error:
                return self.error
        return int(self.through(context, handle, offset, data, size, done))

    def fill_until_drained(self) -> int:
        """Append until a write into the segment has begun, with room left in the ring; return whose
        it is.
        """
        seen = len(self.writers)
        for _ in range(1000):
            while self.log.stats.ring_used <= ring_half(self.log) and len(self.writers) == seen:
                self.log.append(ENTRY)
            with self.changed:
                if self.changed.wait_for(lambda: len(self.writers) > seen, PATIENCE_S / 1000):
                    return self.writers[seen]
        pytest.fail("nobody drained")

    def wait_until_drained(self) -> None:
        pause = threading.Event()
        for _ in range(round(PATIENCE_S * 1000)):
            if self.log.stats.drains > self.drains:
                self.drains = self.log.stats.drains
                return
            pause.wait(0.001)
        pytest.fail("nothing was drained")


def ring_half(log: Log) -> int:
    return int(log.options.log.ring_size) // 2


@pytest.fixture
def drained() -> Iterator[Drained]:
    one = Drained()
    yield one
    one.may_go.set()
    one.is_watching = False
    if one.log.log != ffi.NULL:
        one.log.kill()


def test_another_thread_drains_a_ring_that_is_half_full(drained: Drained) -> None:
    assert drained.fill_until_drained() != threading.get_ident()
    drained.wait_until_drained()
    assert drained.log.stats.stalls == drained.stalls


def test_appends_go_on_while_it_drains(drained: Drained) -> None:
    drained.may_go.clear()
    drained.fill_until_drained()
    before = drained.log.last_sequence
    for _ in range(100):
        drained.log.append(ENTRY)
    assert drained.log.last_sequence == before + 100
    drained.may_go.set()
    drained.log.sync()
    assert drained.log.durable_sequence == before + 100


def test_what_was_drained_is_there(drained: Drained) -> None:
    for _ in range(5):
        drained.fill_until_drained()
        drained.wait_until_drained()
    count = drained.log.last_sequence
    drained.log.sync()
    drained.log.kill()
    with Log(MemoryIo(drained.io.disk)) as again:
        assert again.recovered == [ENTRY] * count


def fail_a_drain(drained: Drained) -> None:
    drained.may_go.clear()
    drained.fill_until_drained()
    drained.error = errno.EIO
    drained.may_go.set()


def test_a_failure_that_nobody_was_told_of_is_told_by_close(drained: Drained) -> None:
    fail_a_drain(drained)
    with pytest.raises(CoreError) as refusal:
        drained.log.close()
    assert (refusal.value.status, refusal.value.fault.operation) == ("poisoned", "write")


def test_a_failure_that_an_append_was_told_of_is_not_told_again(drained: Drained) -> None:
    fail_a_drain(drained)
    with pytest.raises(CoreError) as refusal:  # soon; a full ring waits for the drain at the latest
        for _ in range(2 * RING // len(ENTRY)):
            drained.log.append(ENTRY)
    assert (refusal.value.status, refusal.value.fault.operation) == ("poisoned", "write")
    drained.log.close()


def test_a_small_ring_is_drained_by_who_fills_it() -> None:
    one = Drained(ring_size=2**18)
    for _ in range(3 * 2**18 // len(ENTRY)):
        one.log.append(ENTRY)
    assert set(one.writers) == {threading.get_ident()}
    one.is_watching = False
    one.log.close()
