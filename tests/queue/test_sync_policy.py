"""Queues that sync by themselves, as users open them. When exactly a sync begins:
tests/core/test_sync_policy.py.
"""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import actionqueue as aq
from actionqueue.errors import ForkedError, LogWriteError, PartialDurabilityError, PoisonedError
from tests.support.queues import (
    file_size_limit,
    has_failed,
    in_child,
    replayed,
    task_create,
    wait_until,
)

# --- The option -----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["records", "bytes", "milliseconds"])
@pytest.mark.parametrize("value", [0, -1, 2**63, "5", 1.5, True])
def test_numbers_out_of_range_are_refused(field: str, value: Any) -> None:
    with pytest.raises(aq.InvalidFieldError) as refusal:
        aq.SyncPolicy(**{field: value})
    assert (refusal.value.type_name, refusal.value.field, refusal.value.value) == (
        "SyncPolicy",
        field,
        value,
    )
    assert isinstance(refusal.value, TypeError) == (type(value) is not int)


def test_more_than_a_day_and_other_flags_are_refused() -> None:
    aq.SyncPolicy(milliseconds=86_400_000)
    with pytest.raises(aq.InvalidFieldError):
        aq.SyncPolicy(milliseconds=86_400_001)
    with pytest.raises(aq.InvalidFieldError):
        aq.SyncPolicy(when_ring_fills=1)  # type: ignore[arg-type]


def test_any_whole_number_will_do() -> None:
    policy = aq.SyncPolicy(records=np.int64(5), bytes=np.uint8(6), milliseconds=np.int32(7))  # type: ignore[arg-type]
    assert policy == aq.SyncPolicy(records=5, bytes=6, milliseconds=7)
    assert {type(value) for value in (policy.records, policy.bytes, policy.milliseconds)} == {int}
    with pytest.raises(aq.InvalidFieldError):
        aq.SyncPolicy(records=np.bool_(True))  # type: ignore[arg-type]


def test_a_policy_is_a_value() -> None:
    policy = aq.SyncPolicy(records=5)
    assert policy == aq.SyncPolicy(records=5) != aq.SyncPolicy()
    with pytest.raises(AttributeError):
        policy.records = 6  # type: ignore[misc]
    assert msgspec.json.decode(msgspec.json.encode(policy), type=aq.SyncPolicy) == policy


def test_it_is_the_writers_option(tmp_path: Path) -> None:
    aq.open(tmp_path).close()
    with pytest.raises(ValueError, match="sync"):
        aq.open(tmp_path, readonly=True, sync=aq.SyncPolicy(records=1))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="SyncPolicy"):
        aq.open(tmp_path, sync=5)  # type: ignore[call-overload]


# --- What it does ---------------------------------------------------------------------------------

POLICIES = [
    aq.SyncPolicy(records=1),
    aq.SyncPolicy(bytes=1),
    aq.SyncPolicy(milliseconds=1),
    aq.SyncPolicy(records=10**9, bytes=10**12, milliseconds=2),
]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_deferred_commands_become_durable_by_themselves(
    tmp_path: Path, policy: aq.SyncPolicy
) -> None:
    with aq.open(tmp_path, durability="deferred", sync=policy) as queue:
        for number in range(1, 10):
            queue.submit(task_create())
            wait_until(lambda number=number: queue.durable_sequence >= number)
        stats = queue.stats()
        assert stats["syncs"] == stats["sync_groups"] == sum(stats["sync_ns_histogram"]) == 9
        assert (stats["sync_events_total"], stats["sync_events_max"]) == (9, 1)
        queue.submit_many([task_create() for _ in range(100)])
        wait_until(lambda: queue.durable_sequence >= 109)


def test_a_full_ring_is_followed_by_a_sync(tmp_path: Path) -> None:
    policy = aq.SyncPolicy(when_ring_fills=True)
    with aq.open(tmp_path, durability="deferred", sync=policy, ring_size=65536) as queue:
        while queue.stats()["drains"] == 0:
            queue.submit(task_create(bytes(1000)))
        wait_until(lambda: queue.durable_sequence >= queue.sequence - 1)
        assert queue.stats()["stalls"] == 1


def test_by_default_it_never_syncs(tmp_path: Path) -> None:
    with aq.open(tmp_path, durability="deferred") as queue:
        queue.submit_many([task_create() for _ in range(1000)])
        assert queue.stats()["syncs"] == 0
        assert queue.durable_sequence == 0


# --- Failures -------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[aq.ActionQueue], Any]] = {
    "submit": lambda queue: queue.submit(task_create()),
    "submit in Python": lambda queue: queue.submit(
        aq.TaskCreateCommand(queue.sequence + 1, aq.TaskSpec(payload=bytes(10**6)), 1)
    ),
    "submit_many": lambda queue: queue.submit_many([task_create()]),
    "sync": lambda queue: queue.sync(),
    "snapshot": lambda queue: queue.snapshot(),
    "with": lambda queue: queue.__enter__(),
}


def with_failed_sync(path: Path, policy: aq.SyncPolicy) -> aq.ActionQueue:
    """Open a queue and let a sync of its thread fail, of which nobody has heard when this
    returns.
    """
    queue = aq.open(path, durability="deferred", sync=policy)
    with file_size_limit(0):
        queue.submit(task_create())
        # The bytes leave the ring when the thread's drain has begun; it fails. Asking the queue
        # would be to be told.
        wait_until(lambda: has_failed(queue))
    return queue


@pytest.mark.platform("fork", "limits")
@pytest.mark.parametrize("call", CALLS)
def test_the_next_call_tells_of_a_failed_sync(tmp_path: Path, call: str) -> None:
    def work() -> None:
        queue = with_failed_sync(tmp_path / "queue", aq.SyncPolicy(milliseconds=1))
        with pytest.raises(PoisonedError) as refusal:
            CALLS[call](queue)
        assert isinstance(refusal.value.cause, LogWriteError)
        assert isinstance(queue.projection.poisoned_by, LogWriteError)
        assert queue.is_poisoned
        assert len(queue.projection.tasks()) == 1
        queue.close()

    in_child(work)
    assert replayed(tmp_path / "queue").latest_sequence == 1  # it was in the ring


@pytest.mark.platform("fork", "limits")
def test_is_poisoned_knows_at_once(tmp_path: Path) -> None:
    def work() -> None:
        queue = with_failed_sync(tmp_path / "queue", aq.SyncPolicy(records=1))
        assert queue.is_poisoned
        assert isinstance(queue.projection.poisoned_by, LogWriteError)
        queue.close()

    in_child(work)


@pytest.mark.platform("fork", "limits")
def test_a_failed_sync_shows_in_stats_and_in_the_representation(tmp_path: Path) -> None:
    def work() -> None:
        queue = with_failed_sync(tmp_path / "stats", aq.SyncPolicy(records=1))
        assert queue.stats()["poisoned_by"] == str(queue.projection.poisoned_by) != "None"
        queue.close()
        queue = with_failed_sync(tmp_path / "repr", aq.SyncPolicy(records=1))
        assert repr(queue) == f"<ActionQueue {queue.path!r} poisoned at sequence 1>"
        queue.close()

    in_child(work)


@pytest.mark.platform("fork", "limits")
def test_close_tells_of_a_failed_sync_that_nobody_heard_of(tmp_path: Path) -> None:
    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        queue = aq.open(tmp_path / "queue", durability="deferred", sync=aq.SyncPolicy(records=1))
        with file_size_limit(0):
            queue.submit(task_create())
            with pytest.raises(PartialDurabilityError) as failure:
                queue.close()
        assert isinstance(failure.value.cause, LogWriteError)
        assert isinstance(queue.projection.poisoned_by, LogWriteError)
        assert queue.is_closed
        queue.close()

    in_child(work)
    with aq.open(tmp_path / "queue") as queue:
        assert queue.sequence == 1


# --- Life cycle -----------------------------------------------------------------------------------


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.platform("fork")
def test_the_thread_ends_with_the_queue(tmp_path: Path) -> None:
    def work() -> None:
        before = threads()
        queue = aq.open(tmp_path, sync=aq.SyncPolicy(milliseconds=3_600_000), compaction=None)
        queue.submit(task_create(), "deferred")
        assert threads() == before + 1
        queue.close()
        assert threads() == before
        queue = aq.open(tmp_path, sync=aq.SyncPolicy(milliseconds=1), compaction=None)
        queue.submit(task_create(), "deferred")
        del queue
        gc.collect()
        assert threads() == before

    in_child(work)
    assert replayed(tmp_path).latest_sequence == 2


@pytest.mark.platform("fork")
def test_forks_while_the_thread_works(tmp_path: Path) -> None:
    with aq.open(
        tmp_path,
        durability="deferred",
        sync=aq.SyncPolicy(records=2, milliseconds=1),
        compaction=None,
    ) as queue:

        def child() -> int:
            with pytest.raises(ForkedError):
                queue.submit(task_create())
            queue.close()
            return threads()

        for number in range(30):
            queue.submit_many([task_create() for _ in range(number)])
            assert in_child(child) == 1
        queue.submit(task_create())
        wait_until(lambda: queue.durable_sequence == queue.sequence)
