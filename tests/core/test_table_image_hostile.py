"""No bytes make a table that could not be: items of an image changed, cut, exchanged, made up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actionqueue import (
    RunState,
)
from tests.support import places
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import status_name
from tests.support.core.table_driver import Memory, Table
from tests.support.core.table_image import (
    Item,
    every_item,
    load_into,
    loaded,
    number,
    save,
)

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
randoms = st.randoms(use_true_random=False)
S = RunState
GOLDEN = places.DATA / "golden-image.json"

MALFORMED = "malformed_snapshot"


def refused_or_canonical(items: list[Item]) -> str:
    """Load what may be anything: it is refused, or it is the image of a table that works."""
    memory = Memory()
    with Table(memory) as table:
        status = load_into(table, items)
        if status == "ok":
            assert save(table) == items
            table.dump()
            with loaded(items) as other:
                assert other.dump() == table.dump()
        else:
            assert status == MALFORMED
    assert not memory.live
    return status


def changed(items: list[Item], at: int, payload: bytes) -> list[Item]:
    return [*items[:at], (items[at][0], payload), *items[at + 1 :]]


def test_every_byte_changed() -> None:
    items = every_item()
    statuses = set()
    for at, (_type, payload) in enumerate(items):
        for offset, byte in enumerate(payload):
            for flip in (1, 16, 128, 255):
                damaged = payload[:offset] + bytes([byte ^ flip]) + payload[offset + 1 :]
                statuses.add(refused_or_canonical(changed(items, at, damaged)))
    assert statuses == {"ok", MALFORMED}


def test_every_truncation_and_extension() -> None:
    items = every_item()
    for at, (_type, payload) in enumerate(items):
        for size in range(len(payload)):
            refused_or_canonical(changed(items, at, payload[:size]))
        refused_or_canonical(changed(items, at, payload + b"\0"))
        assert refused_or_canonical(items[:at]) == MALFORMED
        assert refused_or_canonical(items[:at] + items[at + 1 :]) == MALFORMED
        assert refused_or_canonical([*items[: at + 1], *items[at:]]) == MALFORMED
    assert refused_or_canonical([*items, (15, b"")]) == MALFORMED


def test_items_exchanged_and_of_another_type() -> None:
    items = every_item()
    for at in range(len(items) - 1):
        refused_or_canonical([*items[:at], items[at + 1], items[at], *items[at + 2 :]])
    for at, (item_type, payload) in enumerate(items):
        for other in range(17):
            if other != item_type:
                assert (
                    refused_or_canonical([*items[:at], (other, payload), *items[at + 1 :]])
                    == MALFORMED
                )


@PATIENT
@given(
    st.lists(st.tuples(st.integers(0, 16), st.binary(max_size=40)), max_size=8),
    st.binary(max_size=20),
)
def test_arbitrary_items(items: list[Item], tail: bytes) -> None:
    refused_or_canonical(items)
    refused_or_canonical([*every_item()[:8], *items])
    refused_or_canonical([(1, bytes(15) + tail), *items])


def counts(*numbers: int) -> bytes:
    """Return a head with these numbers of things, and zero of what comes after them."""
    return b"\1\0" + b"".join(number(value) for value in (*numbers, *[0] * (14 - len(numbers))))


@pytest.mark.parametrize("kind", range(14))
@pytest.mark.parametrize("value", [1, 10**6, 2**32 - 2, 2**32 - 1, 2**32, 2**64 - 1])
def test_a_head_that_promises_more_than_is_there_takes_no_memory(kind: int, value: int) -> None:
    memory = Memory()
    with Table(memory) as table:
        before = memory.allocations
        assert (
            load_into(table, [(lib.AQW_IMAGE_HEAD, counts(*[0] * kind, value))], size_max=1)
            == MALFORMED
        )
        assert memory.allocations == before


@pytest.mark.parametrize("kind", range(14))
def test_a_head_takes_a_small_multiple_of_the_bytes_that_may_be_there(kind: int) -> None:
    size_max, least = 10**7, (21, 20, 2, 18, 3, 2, 5, 21, 25, 18, 34, 35, 36, 17)[kind]
    for value, expected in ((size_max // least, "ok"), (size_max // least + 1, MALFORMED)):
        with Table() as table:
            loader = ffi.new("aqw_table_loader *")
            assert lib.aqw_table_load_begin(loader, table.table, size_max) == lib.AQW_OK
            head = counts(*[0] * kind, value)
            assert (
                status_name(lib.aqw_table_load_item(loader, lib.AQW_IMAGE_HEAD, head, len(head)))
                == expected
            )
            assert table.counts.memory_bytes < 16 * size_max + 2**20


TASK = b"t" * 16 + bytes(2) + bytes(3)
TASK_WITH_RUNS = b"t" * 16 + b"\0\2\0" + bytes(3)


def run_image(
    fields: bytes, *more: Item, history: int = 0, attempts: int = 0, leases: int = 0
) -> list[Item]:
    """Return an image of one task with one run, whose item ends with the given fields."""
    return [
        (lib.AQW_IMAGE_HEAD, counts(1, 1, history, attempts, leases)),
        (lib.AQW_IMAGE_TASK, TASK_WITH_RUNS),
        (lib.AQW_IMAGE_RUN, b"r" * 16 + number(1) + bytes(3) + fields),
        *more,
    ]


READY, LEASED, RUNNING, WAIT, CLOSED = (
    bytes([1, 0]),
    bytes([2, 0]),
    bytes([3, 0]),
    bytes([4, 0]),
    bytes([16]),
)
TO_RUNNING = READY + LEASED + RUNNING
UNFINISHED = (lib.AQW_IMAGE_ATTEMPT, b"a" * 16 + bytes([0, 16]))
FINISHED = (lib.AQW_IMAGE_ATTEMPT, b"b" * 16 + bytes([0, 0, 0]))
LEASE = (lib.AQW_IMAGE_LEASE, bytes(3) + b"owner")


@pytest.mark.parametrize(
    "items",
    [
        run_image(b""),
        run_image(TO_RUNNING, history=3),
        run_image(READY + LEASED + CLOSED, history=2),
        run_image(READY + LEASED + CLOSED + LEASED, history=3),
        run_image(TO_RUNNING, UNFINISHED, history=3, attempts=1),
        run_image(TO_RUNNING, FINISHED, UNFINISHED, history=3, attempts=2),
        run_image(TO_RUNNING + WAIT, FINISHED, history=4, attempts=1),
        run_image(TO_RUNNING + bytes([8, 0]), UNFINISHED, history=4, attempts=1),
        run_image(TO_RUNNING, LEASE, history=3, leases=1),
        run_image(TO_RUNNING + WAIT, FINISHED, LEASE, history=4, attempts=1, leases=1),
    ],
)
def test_runs_that_can_be(items: list[Item]) -> None:
    assert refused_or_canonical(items) == "ok"


@pytest.mark.parametrize(
    "items",
    [
        run_image(RUNNING, history=1),
        run_image(bytes([0, 0]), history=1),
        run_image(bytes([9, 0]), history=1),
        run_image(READY, history=2),
        run_image(READY + LEASED, history=1),
        run_image(CLOSED),
        run_image(READY + CLOSED, history=1),
        run_image(READY, (lib.AQW_IMAGE_HISTORY, LEASED), history=2),
        run_image(
            (READY + LEASED) + (READY + LEASED) * 31, (lib.AQW_IMAGE_HISTORY, b""), history=64
        ),
        run_image((READY + LEASED) * 32 + READY, history=65),
        run_image(READY, FINISHED, history=1, attempts=1),
        run_image(b"", UNFINISHED, attempts=1),
        run_image(TO_RUNNING + WAIT, UNFINISHED, history=4, attempts=1),
        run_image(TO_RUNNING + WAIT + bytes([8, 0]), UNFINISHED, history=5, attempts=1),
        run_image(TO_RUNNING, UNFINISHED, FINISHED, history=3, attempts=2),
        run_image(TO_RUNNING, FINISHED, FINISHED, history=3, attempts=2),
        run_image(TO_RUNNING, FINISHED, history=3, attempts=2),
        run_image(
            TO_RUNNING, (lib.AQW_IMAGE_ATTEMPT, b"b" * 16 + bytes([0, 4, 0])), history=3, attempts=1
        ),
        run_image(
            TO_RUNNING,
            (lib.AQW_IMAGE_ATTEMPT, b"b" * 16 + bytes([0, 1, 0]) + b"\xff"),
            history=3,
            attempts=1,
        ),
        run_image(b"", LEASE, leases=1),
        run_image(READY + bytes([8, 0]), LEASE, history=2, leases=1),
        run_image(READY, LEASE, LEASE, history=1, leases=2),
        run_image(READY, LEASE, (lib.AQW_IMAGE_HISTORY, LEASED), history=2, leases=1),
        run_image(TO_RUNNING, LEASE, FINISHED, history=3, attempts=1, leases=1),
        run_image(READY, (lib.AQW_IMAGE_LEASE, bytes(3) + b"\xff"), history=1, leases=1),
    ],
)
def test_runs_that_cannot_be(items: list[Item]) -> None:
    assert refused_or_canonical(items) == MALFORMED


@pytest.mark.parametrize("number_of_a_task", [0, 2])
@pytest.mark.parametrize(
    ("kind", "item"),
    [
        (1, lambda task: (lib.AQW_IMAGE_RUN, b"r" * 16 + task + bytes(3))),
        (5, lambda task: (lib.AQW_IMAGE_DEPENDENCIES, b"\1" + task)),
        (5, lambda task: (lib.AQW_IMAGE_DEPENDENCIES, task + b"\1")),
        (6, lambda task: (lib.AQW_IMAGE_BUDGET, task + bytes(4))),
        (7, lambda task: (lib.AQW_IMAGE_SUBSCRIPTION, b"s" * 16 + task + b"\0\0\3\0")),
    ],
)
def test_a_number_names_a_task_that_is_there(number_of_a_task: int, kind: int, item: Any) -> None:
    head = (lib.AQW_IMAGE_HEAD, counts(*[1 if at in (0, kind) else 0 for at in range(13)]))
    task = (lib.AQW_IMAGE_TASK, TASK_WITH_RUNS if kind == 1 else TASK)
    assert refused_or_canonical([head, task, item(b"\1")]) == "ok"
    assert refused_or_canonical([head, task, item(bytes([number_of_a_task]))]) == MALFORMED


@pytest.mark.parametrize(
    ("limit", "consumed", "exhausted", "status"),
    [
        (5, 4, 0, "ok"),
        (5, 5, 0, MALFORMED),
        (0, 0, 0, "ok"),
        (0, 1, 0, MALFORMED),
        (5, 4, 16, "ok"),
        (5, 5, 16, "ok"),
    ],
)
def test_a_budget_is_exhausted_where_nothing_is_left(
    limit: int, consumed: int, exhausted: int, status: str
) -> None:
    budget = (lib.AQW_IMAGE_BUDGET, bytes([1, exhausted, limit, consumed, 0]))
    head = (lib.AQW_IMAGE_HEAD, counts(1, 0, 0, 0, 0, 0, 1))
    assert refused_or_canonical([head, (lib.AQW_IMAGE_TASK, TASK), budget]) == status


@pytest.mark.parametrize(
    ("flags", "fields", "with_run", "without_run"),
    [
        (0, b"", MALFORMED, "ok"),
        (2, b"\5", "ok", MALFORMED),
        (6, b"\5\1", "ok", "ok"),
        (6, b"\5\0", MALFORMED, MALFORMED),
        (4, b"\1", MALFORMED, MALFORMED),
        (14, b"\5\1", "ok", "ok"),  # one of those that were purged was completed
        (10, b"\5", MALFORMED, MALFORMED),
        (8, b"", MALFORMED, MALFORMED),
        (16, b"", MALFORMED, MALFORMED),
    ],
)
def test_a_task_says_whether_it_ever_had_runs(
    flags: int, fields: bytes, with_run: str, without_run: str
) -> None:
    head, _task, run = run_image(b"")
    task = (lib.AQW_IMAGE_TASK, b"t" * 16 + b"\0" + bytes([flags]) + fields + bytes(3))
    assert refused_or_canonical([head, task, run]) == with_run
    assert refused_or_canonical([(head[0], counts(1)), task]) == without_run


def test_a_tombstone_names_no_task_that_is_there() -> None:
    head = (lib.AQW_IMAGE_HEAD, counts(1, *[0] * 12, 1))
    task, tombstone = (lib.AQW_IMAGE_TASK, TASK), (lib.AQW_IMAGE_TOMBSTONE, b"u" * 16 + b"\5")
    assert refused_or_canonical([head, task, tombstone]) == "ok"
    assert (
        refused_or_canonical([head, task, (lib.AQW_IMAGE_TOMBSTONE, b"t" * 16 + b"\5")])
        == MALFORMED
    )
    assert (
        refused_or_canonical([head, task, (lib.AQW_IMAGE_TOMBSTONE, bytes(16) + b"\5")])
        == MALFORMED
    )
    many = counts(*[0] * 13, lib.AQW_TOMBSTONE_COUNT_MAX + 1)
    with Table() as table:
        assert load_into(table, [(lib.AQW_IMAGE_HEAD, many)], size_max=2**40) == MALFORMED


def test_nothing_occurs_twice() -> None:
    items = every_item()
    head = counts(*[200] * 14)
    for at, (item_type, payload) in enumerate(items):
        if item_type in (lib.AQW_IMAGE_HEAD, lib.AQW_IMAGE_HISTORY, lib.AQW_IMAGE_LEDGER_ENTRY):
            continue
        with Table() as table:
            loader = ffi.new("aqw_table_loader *")
            lib.aqw_table_load_begin(loader, table.table, 2**20)
            statuses = [
                status_name(lib.aqw_table_load_item(loader, one_type, one, len(one)))
                for one_type, one in [
                    (lib.AQW_IMAGE_HEAD, head),
                    *items[1 : at + 1],
                    (item_type, payload),
                ]
            ]
            assert statuses == ["ok"] * (at + 1) + [MALFORMED]
