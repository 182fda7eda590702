"""Claims and completions as arrays: the same as claims as objects."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import actionqueue as aq
from actionqueue.columns import id_array, ids_from_array, offsets_and_data
from actionqueue.errors import ClaimLost, InvalidFieldError, InvalidFieldTypeError
from actionqueue.limits import PAYLOAD_SIZE_MAX
from tests.support.queues import log_bytes
from tests.support.scheduling import BEGIN, Bench


def add(at: Bench, count: int) -> list[aq.TaskId]:
    return at.scheduler.add_many([b"x" * number for number in range(count)])


def test_each_row_is_what_a_claim_would_be(at: Bench) -> None:
    tasks = add(at, 5)
    claims = at.scheduler.claim_columns("worker", 4)
    assert len(claims) == 4
    assert (claims.owner, claims.started_at, claims.lease_expiry) == ("worker", BEGIN, BEGIN + 30)
    assert ids_from_array(claims.task_ids, aq.TaskId) == tasks[:4]
    run_ids = ids_from_array(claims.run_ids, aq.RunId)
    assert run_ids == [aq.run_id_of(task, 0) for task in tasks[:4]]
    assert claims.attempts.tolist() == [1] * 4
    for row, run_id in enumerate(run_ids):
        claim = claims.claim(row)
        assert claim.payload == claims.payload(row) == b"x" * row
        assert at.projection.active_attempt_id(run_id) == claim.attempt_id
        assert (claim.run_id, claim.owner, claim.attempt) == (run_id, "worker", 1)
        assert (claim.started_at, claim.lease_expiry) == (BEGIN, BEGIN + 30)
        begin = int(claims.payload_starts[row])
        assert claims.data[begin : begin + int(claims.payload_sizes[row])].tobytes() == b"x" * row
    at.scheduler.fail(claims.claim(1), "why")
    assert at.state(claims.claim(1)) == "failed"


def test_rows_are_completed_with_their_outputs(at: Bench) -> None:
    add(at, 6)
    claims = at.scheduler.claim_columns("w", 6)
    at.scheduler.complete_columns(claims.select(slice(0, 2)), b"the same")
    at.scheduler.complete_columns(claims.select([3, 2]), offsets_and_data([b"three", None]))
    at.scheduler.complete_columns(claims.select(np.arange(6) >= 4))
    outputs = [
        at.projection.attempts(run_id)[-1].output
        for run_id in ids_from_array(claims.run_ids, aq.RunId)
    ]
    assert outputs == [b"the same", b"the same", None, b"three", None, None]
    assert {at.state(claims.claim(row)) for row in range(6)} == {"completed"}


def test_nothing_to_claim_is_no_rows(at: Bench) -> None:
    before = at.queue.sequence
    claims = at.scheduler.claim_columns("w", 9)
    assert (len(claims), claims.run_ids.dtype.itemsize) == (0, 16)
    at.scheduler.complete_columns(claims)
    at.scheduler.complete_columns(claims, offsets_and_data([]))
    add(at, 1)
    at.scheduler.pause()
    assert len(at.scheduler.claim_columns("w", 9)) == 0
    assert at.queue.sequence == before + 4
    with pytest.raises(IndexError):
        claims.claim(0)


def test_one_lost_row_refuses_the_call(at: Bench) -> None:
    add(at, 3)
    claims = at.scheduler.claim_columns("w", 3)
    at.scheduler.complete(claims.claim(1))
    before = at.queue.sequence
    for lost in (claims, claims.select([0, 0])):
        with pytest.raises(ClaimLost) as caught:
            at.scheduler.complete_columns(lost)
        assert caught.value.run_id == lost.claim(1).run_id
    assert at.queue.sequence == before
    at.scheduler.complete_columns(claims.select([0, 2]))


def test_keys_capabilities_and_attempts_are_honoured(at: Bench) -> None:
    held, other = at.scheduler.add_many([b"", b""], concurrency_key="k", max_attempts=2)
    gpu = at.scheduler.add(b"gpu", required_capabilities=["gpu"])
    claims = at.scheduler.claim_columns("w", 9, [])
    assert ids_from_array(claims.task_ids, aq.TaskId) == [held]
    at.scheduler.fail(claims.claim(0), "no", retry_at=BEGIN)
    at.scheduler.tick()
    again = at.scheduler.claim_columns("w", 9, {"gpu"})
    assert set(ids_from_array(again.task_ids, aq.TaskId)) == {held, gpu}
    assert sorted(again.attempts.tolist()) == [1, 2]
    assert other not in ids_from_array(again.task_ids, aq.TaskId)


def test_futures_and_subscriptions_hear_of_rows(at: Bench) -> None:
    (task,) = add(at, 1)
    waiting = at.scheduler.add(b"", priority=5)
    suspended = at.claim()
    at.scheduler.suspend(suspended)
    at.submit(
        aq.SubscriptionCreateCommand(
            None, aq.SubscriptionId(), waiting, aq.RunStateChangedFilter(task, "running"), BEGIN
        )
    )
    end = at.scheduler.finished(aq.run_id_of(task, 0))
    claims = at.scheduler.claim_columns("w", 1)
    assert at.state(suspended) == "ready"
    at.scheduler.complete_columns(claims, b"out")
    assert end.result(0).output == b"out"


def test_it_may_be_pickled(at: Bench) -> None:
    add(at, 2)
    copy = pickle.loads(pickle.dumps(at.scheduler.claim_columns("w", 2)))
    assert copy.payload(1) == b"x"
    at.scheduler.complete_columns(copy)


@pytest.mark.parametrize(
    "outputs",
    [
        5,
        "text",
        [b"a", b"b"],
        (b"", b"", b""),
        offsets_and_data([b"one"]),
        offsets_and_data([b"one"] * 3),
        (np.array([0, 2, 1], np.uint64), np.zeros(9, np.uint8)),
        (np.array([0, 2, 99], np.uint64), np.zeros(9, np.uint8)),
        (np.array([0, 2**63, 2**64 - 1], np.uint64), np.zeros(9, np.uint8)),
        (np.array([0, -1, 5], np.int32), np.zeros(9, np.uint8)),
        (np.array([0.0, 1, 2]), np.zeros(9, np.uint8)),
        (np.array([0, 1, 2], np.uint64), np.zeros(9, np.uint16)),
    ],
)
def test_outputs_that_do_not_fit_are_refused(at: Bench, outputs: Any) -> None:
    add(at, 2)
    claims, before = at.scheduler.claim_columns("w", 2), log_bytes(at.path)
    with pytest.raises((InvalidFieldError, InvalidFieldTypeError)) as caught:
        at.scheduler.complete_columns(claims, outputs)
    assert "outputs" in str(caught.value)
    assert log_bytes(at.path) == before
    at.scheduler.complete_columns(claims)


def test_an_output_that_is_too_large_is_refused(at: Bench) -> None:
    add(at, 1)
    claims = at.scheduler.claim_columns("w", 1)
    for size in (PAYLOAD_SIZE_MAX - 8, PAYLOAD_SIZE_MAX + 1):
        for outputs in (bytes(size), offsets_and_data([bytes(size)])):
            with pytest.raises(aq.RecordTooLarge):
                at.scheduler.complete_columns(claims, outputs)
    at.scheduler.complete_columns(claims)


@pytest.mark.parametrize(
    "call",
    [
        lambda s, _: s.claim_columns("", 1),
        lambda s, _: s.claim_columns(5, 1),
        lambda s, _: s.claim_columns("w", 0),
        lambda s, _: s.claim_columns("w", 65_537),
        lambda s, _: s.claim_columns("w", 1, 5),
        lambda s, _: s.complete_columns(None),
        lambda s, claims: s.complete_columns(claims.claim(0)),
        lambda s, claims: s.complete_columns(replaced(claims, run_ids=claims.run_ids[:1])),
        lambda s, claims: s.complete_columns(replaced(claims, attempt_ids=b"x")),
        lambda s, claims: s.complete_columns(replaced(claims, run_ids=np.zeros(2, "S16"))),
        lambda s, claims: s.complete_columns(replaced(claims, run_ids=None)),
    ],
)
def test_bad_arguments_are_refused(at: Bench, call: Callable[..., Any]) -> None:
    add(at, 2)
    claims = at.scheduler.claim_columns("w", 2)
    before = at.queue.sequence
    with pytest.raises((InvalidFieldError, InvalidFieldTypeError)):
        call(at.scheduler, claims)
    assert at.queue.sequence == before


def replaced(claims: aq.ClaimColumns, **fields: Any) -> aq.ClaimColumns:
    values = {name: getattr(claims, name) for name in claims.__struct_fields__}
    return aq.ClaimColumns(*{**values, **fields}.values())


def test_arrays_of_another_owner_or_of_nonsense_are_lost_claims(at: Bench) -> None:
    add(at, 2)
    claims = at.scheduler.claim_columns("w", 2)
    unknown = id_array([aq.RunId(), aq.RunId()])
    for other in (
        replaced(claims, owner="another"),
        replaced(claims, run_ids=unknown),
        replaced(claims, attempt_ids=claims.attempt_ids[::-1].copy()),
    ):
        with pytest.raises(ClaimLost):
            at.scheduler.complete_columns(other)
    with pytest.raises(TypeError):
        at.scheduler.complete_columns(replaced(claims, owner=None))
    at.scheduler.complete_columns(claims)
