"""Logs that sync by themselves: when, what a failure of that does, and that it ends with the log.

Nothing here is judged by how long it took. What is to happen is waited for; that it did not happen
too early is told by what the log held when the sync began.
"""

from __future__ import annotations

import errno
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import CoreError, Log
from tests.support.core.memory_io import MemoryIo, home

PATIENCE_S = 60.0
NEVER = lib.AQW_SYNC_NEVER
HOUR_NS = 3_600_000_000_000
RING = 65536


# --- When: the rule, with a clock that the test sets ----------------------------------------------


def due(policy: dict[str, int], **backlog: int) -> int:
    return int(
        lib.aqw_sync_policy_due(
            ffi.new("aqw_sync_policy *", policy),
            ffi.new("aqw_sync_backlog *", {"since_ns": 1000, "ring_size": RING, **backlog}),
        )
    )


EVERYTHING = {"records": 3, "bytes": 100, "delay_ns": 50, "when_ring_fills": 1}


@pytest.mark.parametrize(
    ("policy", "backlog", "expected"),
    [
        ({}, {"records": 2**40, "bytes": 2**50}, NEVER),
        (EVERYTHING, {"records": 0}, NEVER),
        (EVERYTHING, {"records": 0, "bytes": 2 * RING}, NEVER),  # pads only
        (EVERYTHING, {"records": 2, "bytes": 99}, 1050),
        (EVERYTHING, {"records": 3, "bytes": 99}, 0),
        (EVERYTHING, {"records": 1, "bytes": 100}, 0),
        ({"records": 3}, {"records": 2}, NEVER),
        ({"records": 3}, {"records": 4}, 0),
        ({"records": 2**64 - 1}, {"records": 2**64 - 2}, NEVER),
        ({"bytes": 100}, {"records": 50, "bytes": 99}, NEVER),
        ({"bytes": 100}, {"records": 1, "bytes": 101}, 0),
        ({"delay_ns": 50}, {"records": 10**6, "bytes": 10**9}, 1050),
        ({"delay_ns": 1}, {"records": 1, "since_ns": 2**64 - 1}, NEVER),
        ({"when_ring_fills": 1}, {"records": 9, "bytes": RING - 1}, NEVER),
        ({"when_ring_fills": 1}, {"records": 1, "bytes": RING}, 0),
        ({"when_ring_fills": 1, "bytes": 2 * RING}, {"records": 1, "bytes": RING}, 0),
    ],
)
def test_when_a_sync_is_due(policy: dict[str, int], backlog: dict[str, int], expected: int) -> None:
    assert due(policy, **backlog) == expected


@pytest.mark.parametrize("part", ["records", "bytes", "delay_ns", "when_ring_fills"])
def test_each_part_makes_it_a_policy(part: str) -> None:
    assert not lib.aqw_sync_policy_acts(ffi.new("aqw_sync_policy *"))
    assert lib.aqw_sync_policy_acts(ffi.new("aqw_sync_policy *", {part: 1}))


def test_a_delay_that_no_clock_reaches_is_refused() -> None:
    with pytest.raises(CoreError) as refusal:
        Log(MemoryIo(home()), sync={"delay_ns": lib.AQW_SYNC_DELAY_NS_MAX + 1})
    assert (refusal.value.status, refusal.value.fault.operation) == ("invalid_argument", "sync")


# --- The thread -----------------------------------------------------------------------------------


class Watched:
    """A log in memory whose syncs are seen: which event was the last when each began. They can be
    held up, and failed.
    """

    def __init__(self, *, maps: bool = True, sector_size: int = 0, **policy: int) -> None:
        self.io = MemoryIo(home(), background=True, maps=maps)
        self.last = 0
        self.began: list[int] = []
        self.changed = threading.Condition()
        self.may_go = threading.Event()
        self.may_go.set()
        self.error = 0
        self.is_watching = False
        # In front of the table's own, and not under its mutex. The log copies the table when it is
        # opened.
        self.through = self.io.table.sync
        self.entry = ffi.callback("int(void *, int64_t)", self._sync)
        self.io.table.sync = self.entry
        self.log = Log(self.io, segment_size=2**20, sector_size=sector_size, sync=policy)
        self.is_watching = True

    def _sync(self, context: Any, handle: int) -> int:
        # That one is prepared at any time.
        is_of_the_next_segment = "prepare-" in self.io.handles[handle][0]
        if self.is_watching and not is_of_the_next_segment:
            with self.changed:
                self.began.append(self.last)
                self.changed.notify_all()
            if not self.may_go.wait(PATIENCE_S):
                return errno.EDEADLK
        return self.error or int(self.through(context, handle))

    def append(self, count: int, size: int = 10) -> None:
        for _ in range(count):
            self.last += 1  # first, for a sync may begin before the call is back
            assert self.log.append(bytes(size)) == self.last

    def wait_for_sync(self, number: int) -> int:
        """Wait for a sync to begin, the first is 1; return what the last event was then."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.began) >= number, PATIENCE_S)
            return self.began[number - 1]

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(round(PATIENCE_S * 1000)):
            if is_so():
                return
            pause.wait(0.001)
        pytest.fail("it did not come to that")

    def wait_durable(self, sequence: int) -> None:
        """Wait until a sync has ended, without asking for one."""
        self.wait_until(lambda: self.log.durable_sequence >= sequence)

    def close(self) -> None:
        self.may_go.set()
        self.is_watching = False
        self.log.close()

    def end(self) -> list[str]:
        """Close, and return what the core did that it must not."""
        self.close()
        return self.io.mistakes


@pytest.fixture
def watched() -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(**chosen: Any) -> Watched:
        made.append(Watched(**chosen))
        return made[-1]

    yield make
    mistakes = [mistake for one in made for mistake in one.end()]
    assert mistakes == []
    made.clear()
    gc.collect()  # each refers to itself, through its callback; other tests count the core's memory


Make = Callable[..., Watched]


def test_a_sync_begins_at_the_bound_on_events(watched: Make) -> None:
    one = watched(records=3)
    for number in range(1, 20):
        one.append(3)
        assert one.wait_for_sync(number) == 3 * number
        one.wait_durable(3 * number)


def test_a_sync_begins_at_the_bound_on_bytes(watched: Make) -> None:
    one = watched(bytes=1000)
    one.append(1)
    size = one.log.stats.appended_bytes
    enough = -(-1000 // size)
    one.append(enough - 1)
    for number in range(1, 10):
        assert one.wait_for_sync(number) == number * enough
        one.wait_durable(number * enough)
        one.append(enough)
    one.wait_durable(10 * enough)
    one.append(1, size=5000)
    assert one.wait_for_sync(11) == 10 * enough + 1


def test_a_batch_counts_as_its_events(watched: Make) -> None:
    one = watched(records=100)
    one.last = 250
    one.log.append(*[b"x"] * 250)
    one.wait_durable(250)


def test_nothing_stays_undurable_for_longer_than_the_delay(watched: Make) -> None:
    """Events come alone, each when the one before is durable, so that each has to wake the
    thread.
    """
    one = watched(delay_ns=1_000_000)
    for number in range(1, 20):
        one.append(1)
        one.wait_durable(number)
    assert one.log.stats.syncs == 19


def test_a_long_delay_is_waited_for(watched: Make) -> None:
    one = watched(delay_ns=HOUR_NS, records=50)
    one.append(49)
    one.log.sync(20)
    assert one.began == [49]
    one.append(49)
    assert one.log.durable_sequence == 49
    one.append(1)
    assert one.wait_for_sync(2) == 99


def test_the_delay_counts_from_the_event_and_not_from_the_last_sync(watched: Make) -> None:
    """A busy machine can only make it later."""
    delay_ns = 20_000_000
    one = watched(delay_ns=delay_ns)
    for number in range(1, 4):
        quiet_until = time.monotonic_ns() + 2 * delay_ns
        one.wait_until(lambda quiet_until=quiet_until: time.monotonic_ns() > quiet_until)
        appended_at = time.monotonic_ns()
        one.append(1)
        one.wait_for_sync(number)
        assert time.monotonic_ns() >= appended_at + delay_ns
        one.wait_durable(number)


def test_a_sync_follows_when_the_ring_was_full(watched: Make) -> None:
    one = watched(when_ring_fills=1)
    for number in (1, 2):
        stalls, before = one.log.stats.stalls, one.last
        while one.log.stats.stalls == stalls:
            assert len(one.began) == number - 1
            one.append(1, size=1000)
        assert one.last - before > 60
        assert one.wait_for_sync(number) == one.last
        one.wait_durable(one.last)


@pytest.mark.parametrize("maps", [True, False], ids=["mapped", "written through"])
def test_what_goes_past_the_ring_counts_as_if_it_filled_it(watched: Make, maps: bool) -> None:
    one = watched(when_ring_fills=1, maps=maps)
    if maps:
        one.append(1, size=RING)
    else:
        one.append(7, size=RING // 8)
        assert one.began == []
        one.append(1, size=RING // 8)
    one.wait_durable(one.last)


def test_other_syncs_count(watched: Make) -> None:
    """The bound is on what no sync covers, whoever asked for it."""
    one = watched(records=3)
    for number in range(1, 20):
        one.append(2)
        one.log.sync()
        assert one.began == [2 * n for n in range(1, number + 1)]


def test_nobody_who_appends_waits_for_the_sync(watched: Make) -> None:
    one = watched(records=3)
    one.may_go.clear()
    one.append(3)
    assert one.wait_for_sync(1) == 3
    one.append(100)
    assert one.log.durable_sequence == 0
    assert one.began == [3]
    one.may_go.set()
    assert one.wait_for_sync(2) == 103  # behind the one that was under way, with all that had come
    one.wait_durable(103)


def test_padded_syncs(watched: Make) -> None:
    """A pad is no event, and makes nothing wait."""
    one = watched(bytes=600, delay_ns=HOUR_NS, sector_size=512)
    for _ in range(10):
        one.append(1)
        one.log.sync()
    assert len(one.began) == 10


def test_over_many_segments(watched: Make) -> None:
    one = watched(bytes=3000)
    for _ in range(40):
        one.append(50, size=1000)
    assert one.log.stats.rotations > 1
    one.append(3, size=1000)
    one.wait_until(lambda: one.last - one.log.durable_sequence < 3)


def test_the_bound_on_bytes_counts_from_the_sync_of_a_rotation(watched: Make) -> None:
    """A rotation syncs what there was; the positions of the new segment are below those of the old
    one.
    """
    one = watched(bytes=100_000)
    for rotations in range(1, 4):
        while one.log.stats.rotations < rotations:
            one.append(1, size=1000)
        first = one.last
        one.append(97, size=1000)  # and the one that went into the new segment: not enough yet
        one.append(3, size=1000)
        one.wait_until(lambda first=first: one.log.durable_sequence > first)  # type: ignore[misc]


# --- Failures, and the end ------------------------------------------------------------------------


def failed(one: Watched) -> None:
    """Let the thread's sync fail, with an event behind it that it does not cover."""
    one.may_go.clear()
    one.append(3)
    one.wait_for_sync(1)
    one.append(1)
    one.error = errno.EIO
    one.may_go.set()


def test_a_failure_is_told_to_the_next_caller(watched: Make) -> None:
    one = watched(records=3)
    failed(one)
    one.wait_until(lambda: one.log.state == "poisoned")
    for call in (one.log.sync, lambda: one.log.append(b"x")):
        with pytest.raises(CoreError) as refusal:
            call()
        assert (refusal.value.status, refusal.value.fault.operation) == ("poisoned", "sync")
        assert refusal.value.fault.system_error == errno.EIO
    assert one.log.durable_sequence == 0
    one.close()  # nothing new to tell
    assert one.began == [3]  # never another sync


def test_a_failure_that_nobody_was_told_of_is_told_by_close(watched: Make) -> None:
    one = watched(records=3)
    failed(one)
    with pytest.raises(CoreError) as refusal:
        one.close()
    assert (refusal.value.status, refusal.value.fault.system_error) == ("poisoned", errno.EIO)
    with Log(MemoryIo(one.io.disk)) as again:
        assert len(again.recovered) <= 4


def test_a_failure_that_a_waiting_caller_was_told_of_is_not_told_again(watched: Make) -> None:
    one = watched(records=3)
    one.may_go.clear()
    one.append(3)
    one.wait_for_sync(1)
    told: list[str] = []

    def wait() -> None:
        fault = ffi.new("aqw_fault *")
        told.append(str(lib.aqw_log_sync(one.log.log, 3, fault)))

    waiting = threading.Thread(target=wait)
    waiting.start()
    one.error = errno.EIO
    one.may_go.set()
    waiting.join(PATIENCE_S)
    assert told == [str(lib.AQW_POISONED)]
    one.close()


def test_a_failure_of_a_callers_own_sync_is_not_told_again(watched: Make) -> None:
    one = watched(records=3)
    one.append(3)
    one.wait_durable(3)
    one.wait_until(lambda: one.log.stats.syncs == 1)
    one.append(1)
    one.error = errno.EIO
    with pytest.raises(CoreError) as refusal:
        one.log.sync()
    assert refusal.value.fault.status == "io_error"
    one.close()


def test_closing_while_the_thread_waits_for_its_time(watched: Make) -> None:
    one = watched(delay_ns=HOUR_NS)
    one.append(5)
    one.close()
    with Log(MemoryIo(one.io.disk)) as again:
        assert len(again.recovered) == 5
        assert again.report.is_clean


def test_closing_while_the_thread_syncs(watched: Make) -> None:
    one = watched(records=1)
    one.may_go.clear()
    one.append(5)
    one.wait_for_sync(1)
    closing = threading.Thread(target=one.log.close)
    closing.start()
    one.is_watching = False
    one.may_go.set()
    closing.join(PATIENCE_S)
    with Log(MemoryIo(one.io.disk)) as again:
        assert len(again.recovered) == 5
        assert again.report.is_clean


def test_without_a_policy_there_is_no_thread(watched: Make) -> None:
    def threads() -> int:
        return len(list(Path("/proc/self/task").iterdir()))

    before = threads()
    one = watched()
    assert threads() == before
    one.append(1000)
    assert one.began == []
    two = watched(records=1)
    assert threads() == before + 1
    two.close()
    assert threads() == before


# --- What the statistics say ----------------------------------------------------------------------


def test_statistics_of_syncs_and_of_the_ring(watched: Make) -> None:
    one = watched()
    for size in (1, 5, 2):
        one.append(size)
        one.log.sync()
    one.log.sync()
    stats = one.log.stats
    assert (stats.syncs, stats.sync_groups, stats.sync_events_total, stats.sync_events_max) == (
        3,
        3,
        8,
        5,
    )
    assert sum(stats.sync_ns_histogram) == 3
    assert list(stats.sync_events_histogram)[:5] == [0, 1, 1, 1, 0]
    assert sum(stats.sync_events_histogram) == 3
    assert stats.sync_ns_histogram[stats.sync_ns_max.bit_length()] >= 1
    assert (stats.ring_used, stats.stalls) == (0, 0)
    assert stats.ring_used_max == stats.appended_bytes // 8 * 5
    one.append(70, size=1000)
    stats = one.log.stats
    assert stats.stalls == 1
    assert stats.stall_ns_max == stats.stall_ns_total
    assert RING - 1100 < stats.ring_used_max <= RING
    assert 0 < stats.ring_used < stats.ring_used_max
