"""Several tasks or results in one step: all or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.errors import (
    ClaimLost,
    DependencyCycle,
    InvalidFieldError,
    InvalidFieldTypeError,
    TaskAlreadyExists,
    UnknownTask,
)
from actionqueue.limits import PAYLOAD_SIZE_MAX
from tests.support.queues import log_bytes
from tests.support.scheduling import BEGIN, Bench


def outputs_of(at: Bench, claim: aq.Claim) -> bytes | None:
    return at.projection.attempts(claim.run_id)[-1].output


# --- Additions ------------------------------------------------------------------------------------


def test_tasks_are_added_in_their_order_with_the_same_fields(at: Bench) -> None:
    first = at.scheduler.add(b"before")
    tasks = at.scheduler.add_many(
        [b"one", bytearray(b"two"), aq.TaskPayload(b"three")],
        max_attempts=3,
        tags=["x"],
        timeout_secs=9,
    )
    claims = at.scheduler.claim("w", 10)
    assert [claim.task_id for claim in claims] == [first, *tasks]
    assert [claim.payload for claim in claims[1:]] == [b"one", b"two", b"three"]
    for claim in claims[1:]:
        assert claim.spec.constraints.max_attempts == 3
        assert claim.spec.metadata.tags == ("x",)
        assert claim.run_id == aq.run_id_of(claim.task_id, 0)


def test_whole_specifications_and_payloads_may_be_mixed(at: Bench) -> None:
    spec = aq.TaskSpec(payload=b"whole", metadata=aq.TaskMetadata(priority=2))
    tasks = at.scheduler.add_many([b"payload", spec])
    assert tasks[1] == spec.id
    assert [claim.task_id for claim in at.scheduler.claim("w", 2)] == tasks[::-1]


def test_tasks_for_later_are_scheduled(at: Bench) -> None:
    tasks = at.scheduler.add_many([b"", b""], at=BEGIN + 5)
    assert [at.state(task) for task in tasks] == ["scheduled"] * 2
    assert at.scheduler.claim("w", 2) == []
    assert at.tick_at(5).ready == [aq.run_id_of(task, 0) for task in tasks]


def test_recurring_tasks_and_prerequisites_may_be_added_in_groups(at: Bench) -> None:
    prerequisite = at.scheduler.add(b"", priority=-9)
    waiting = at.scheduler.add_many([b"", b""], depends_on=[prerequisite])
    recurring = at.scheduler.add_many([b"", b""], run_policy=aq.Repeat(3, 60))
    claimed = [claim.task_id for claim in at.scheduler.claim("w", 9)]
    assert claimed == [*recurring, prerequisite]
    assert at.projection.dependencies(waiting[1]) == [prerequisite]
    assert len(at.projection.runs_of_task(recurring[0])) == 2  # one run ahead


def test_a_group_of_no_tasks_is_none(at: Bench) -> None:
    assert at.scheduler.add_many([]) == []
    assert at.scheduler.add_many(iter([])) == []
    assert at.queue.sequence == 0


def test_one_task_that_is_refused_refuses_the_group(at: Bench) -> None:
    taken = at.scheduler.add(b"")
    before = at.queue.sequence
    new = aq.TaskSpec(payload=b"")
    with pytest.raises(TaskAlreadyExists) as caught:
        at.scheduler.add_many([b"", new, aq.TaskSpec(taken, b"")])
    assert caught.value.task_id == taken
    with pytest.raises(TaskAlreadyExists):
        at.scheduler.add_many([new, new])
    with pytest.raises(UnknownTask):
        at.scheduler.add_many([new], depends_on=[aq.TaskId()])
    with pytest.raises(DependencyCycle):
        at.scheduler.add_many([b"", new], depends_on=[new.id])
    assert at.queue.sequence == before
    assert not at.projection.task_exists(new.id)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda s: s.add_many(b"a payload"), "tasks"),
        (lambda s: s.add_many("a text"), "tasks"),
        (lambda s: s.add_many(aq.TaskSpec(payload=b"")), "tasks"),
        (lambda s: s.add_many(5), "tasks"),
        (lambda s: s.add_many(None), "tasks"),
        (lambda s: s.add_many([b""], task_id=aq.TaskId()), "task_id"),
        (lambda s: s.add_many([b""], at=-1), "at"),
        (lambda s: s.add_many([b""], at=2**63), "at"),
        (lambda s: s.add_many([b""], at="now"), "at"),
        (lambda s: s.add_many([b""], depends_on=5), "depends_on"),
        (lambda s: s.add_many([b"", "text"]), "payload"),
        (lambda s: s.add_many([b"", None]), "payload"),
        (lambda s: s.add_many([aq.TaskSpec(payload=b"")], priority=1), "priority"),
        (lambda s: s.add_many([b""], max_attempts=0), "max_attempts"),
        (lambda s: s.add_many([b""], concurrency_key="k" * 2**20 * 17), "concurrency_key"),
        (lambda s: s.complete_many(5), "results"),
        (lambda s: s.complete_many([None]), "claim"),
        (lambda s: s.complete_many([(None, b"")]), "claim"),
        (lambda s: s.complete_many([b"ab"]), "claim"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    at: Bench, call: Callable[[aq.Scheduler], Any], field: str
) -> None:
    before = log_bytes(at.path)
    with pytest.raises((InvalidFieldError, InvalidFieldTypeError)) as caught:
        call(at.scheduler)
    assert field in str(caught.value)
    assert log_bytes(at.path) == before
    assert at.queue.sequence == 0


def test_a_task_that_is_too_large_is_refused(at: Bench) -> None:
    for payload in (bytes(PAYLOAD_SIZE_MAX), bytes(PAYLOAD_SIZE_MAX - 20)):
        for tasks in ([payload], [b"", payload]):
            with pytest.raises((aq.RecordTooLarge, InvalidFieldError)):
                at.scheduler.add_many(tasks)
        with pytest.raises((aq.RecordTooLarge, InvalidFieldError)):
            at.scheduler.add(payload)
    assert at.queue.sequence == 0
    assert at.projection.latest_sequence == 0
    at.scheduler.add(b"")


# --- Results --------------------------------------------------------------------------------------


def test_results_with_and_without_output(at: Bench) -> None:
    at.scheduler.add_many([b""] * 4)
    one, two, three, four = at.scheduler.claim("w", 4)
    at.scheduler.complete_many([one, (two, b"out"), (three, b""), (four, bytearray(b"array"))])
    assert [at.state(claim) for claim in (one, two, three, four)] == ["completed"] * 4
    outputs = [outputs_of(at, claim) for claim in (one, two, three, four)]
    assert outputs == [None, b"out", None, b"array"]
    at.scheduler.complete_many([])


def test_one_lost_claim_refuses_the_group(at: Bench) -> None:
    at.scheduler.add_many([b""] * 3)
    one, two, three = at.scheduler.claim("w", 3)
    at.scheduler.complete(two)
    before = at.queue.sequence
    with pytest.raises(ClaimLost) as caught:
        at.scheduler.complete_many([one, two, three])
    assert (caught.value.run_id, caught.value.attempt_id) == (two.run_id, two.attempt_id)
    with pytest.raises(ClaimLost) as caught:
        at.scheduler.complete_many([one, (one, b"twice")])
    assert caught.value.run_id == one.run_id
    assert at.queue.sequence == before
    assert at.state(one) == "running"
    at.scheduler.complete_many([one, three])


def test_an_output_that_is_too_large_is_refused(at: Bench) -> None:
    at.scheduler.add_many([b""] * 2)
    claims = at.scheduler.claim("w", 2)
    before = at.queue.sequence
    for size in (PAYLOAD_SIZE_MAX + 1, PAYLOAD_SIZE_MAX, PAYLOAD_SIZE_MAX - 8):
        with pytest.raises((aq.RecordTooLarge, InvalidFieldError)):
            at.scheduler.complete_many([claims[0], (claims[1], bytes(size))])
        with pytest.raises((aq.RecordTooLarge, InvalidFieldError)):
            at.scheduler.complete(claims[1], bytes(size))
    with pytest.raises((InvalidFieldError, InvalidFieldTypeError)):
        at.scheduler.complete_many([(claims[0], "text")])
    assert at.queue.sequence == before
    at.scheduler.complete_many(claims)


def test_a_claim_whose_fields_were_changed_to_nonsense_is_no_crash(at: Bench) -> None:
    at.scheduler.add(b"")
    claim = at.claim()
    for field in ("run_id", "attempt_id", "owner"):
        kept = getattr(claim, field)
        for value in (None, 5, b"x" * 16, aq.TaskId(), "\ud800"):
            if field == "owner" and value == kept:
                continue
            setattr(claim, field, value)
            with pytest.raises((InvalidFieldError, InvalidFieldTypeError, ClaimLost)):
                at.scheduler.complete_many([claim])
        setattr(claim, field, kept)
    at.scheduler.complete_many([claim])


def test_futures_and_subscriptions_hear_of_groups(at: Bench) -> None:
    tasks = at.scheduler.add_many([b"", b""])
    waiting = at.scheduler.add(b"", priority=5)
    suspended = at.claim()
    at.scheduler.suspend(suspended)
    for task in tasks:
        at.submit(
            aq.SubscriptionCreateCommand(
                None, aq.SubscriptionId(), waiting, aq.TaskCompletedFilter(task), BEGIN
            )
        )
    ends = [at.scheduler.finished(aq.run_id_of(task, 0)) for task in tasks]
    claims = at.scheduler.claim("w", 5)
    at.scheduler.complete_many([(claim, claim.payload or b"out") for claim in claims])
    assert [end.result(0).state for end in ends] == ["completed"] * 2
    assert [end.result(0).output for end in ends] == [b"out"] * 2
    assert at.state(suspended) == "ready"
