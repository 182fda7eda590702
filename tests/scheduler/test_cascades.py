"""What a failure cancels where one batch does not take it, and runs that one batch cannot have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import actionqueue as aq
from actionqueue import run_id_of
from actionqueue.aio import AsyncQueue
from actionqueue.errors import AppendError, AttemptsExhausted, InvalidFieldError
from actionqueue.scheduler import prerequisites
from actionqueue.scheduler.aio import AsyncScheduler
from tests.support.scheduling import BEGIN, Bench, states

LARGEST = 3


@pytest.fixture(autouse=True)
def small_cascades(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prerequisites, "CASCADE_MAX", LARGEST)


class Family:
    """A task, one that waits for it with many open runs, and those that wait for that."""

    def __init__(self, at: Bench, begin: int = 0, **options: object) -> None:
        self.first = at.scheduler.add(b"", priority=9, at=BEGIN + begin, **options)
        self.second = at.scheduler.add(b"", depends_on=[self.first])
        for _ in range(7):
            run = aq.RunInstance.scheduled(self.second, scheduled_at=BEGIN + 999, created_at=BEGIN)
            at.submit(aq.RunCreateCommand(None, run))
        self.third = at.scheduler.add(b"", depends_on=[self.second])
        self.fourth = at.scheduler.add(b"", depends_on=[self.third, self.first])
        self.others = [self.second, self.third, self.fourth]

    def assert_canceled(self, at: Bench) -> None:
        for task in self.others:
            assert at.projection.is_task_canceled(task)
            assert set(states(at, task)) == {"canceled"}
        assert len(states(at, self.second)) == 8
        assert at.scheduler.next_wakeup() is None


def watch(at: Bench, monkeypatch: pytest.MonkeyPatch, refuse_at: int = -1) -> list[int]:
    """Return the sizes of the batches from now on; one of them is not appended."""
    sizes: list[int] = []
    append = at.scheduler._append_batch

    def watched(commands, outcomes):
        if len(sizes) == refuse_at:
            raise AppendError(OSError(28, "no space left on device"))
        sizes.append(len(commands))
        return append(commands, outcomes)

    monkeypatch.setattr(at.scheduler, "_append_batch", watched)
    return sizes


ENDS: dict[str, Callable[[Bench, aq.Claim], object]] = {
    "a lease expires": lambda at, _claim: at.tick_at(30),
    "a worker fails": lambda at, claim: at.scheduler.fail(claim, "why"),
    "a worker fails for good": lambda at, claim: at.scheduler.fail(claim, "why", retry=False),
    "the task is canceled": lambda at, claim: at.scheduler.cancel(claim.task_id),
    "the run is canceled": lambda at, claim: at.scheduler.cancel_run(claim.run_id),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_large_cascade_takes_several_batches(at: Bench, monkeypatch, end: str) -> None:
    family = Family(at, max_attempts=2 if "for good" in end else 1)
    claim = at.claim()
    sizes = watch(at, monkeypatch)
    returned = ENDS[end](at, claim)
    family.assert_canceled(at)
    assert max(sizes) <= LARGEST + 2
    assert at.state(family.first) == ("canceled" if "canceled" in end else "failed")
    if end.startswith("a worker fails"):
        assert returned == "failed"
    if end == "the task is canceled":
        assert set(returned) == {family.first, *family.others}
        assert len(returned) == 4


def test_a_report_has_all_of_a_large_cascade_once(at: Bench) -> None:
    family = Family(at)
    at.claim()
    other = at.scheduler.add(b"", at=BEGIN + 30)
    report = at.tick_at(30)
    run = run_id_of(family.first, 0)
    assert (report.expired, report.failed, report.retried) == ([run], [run], [])
    assert len(report.canceled) == len(set(report.canceled)) == 10
    assert report.ready == [run_id_of(other, 0)]


@pytest.mark.parametrize("batch", range(1, 6))
@pytest.mark.parametrize("end", ["a lease expires", "a worker fails"])
def test_a_later_tick_goes_on_with_a_cascade(at: Bench, monkeypatch, end: str, batch: int) -> None:
    """The end of the process came between two of its batches."""
    family = Family(at)
    claim = at.claim()
    watch(at, monkeypatch, refuse_at=batch)
    with pytest.raises(AppendError):
        ENDS[end](at, claim)
    at.reopen()
    # It is certain to fail, so nothing begins meanwhile.
    assert at.state(family.first) == "retry_wait"
    assert at.scheduler.claim("w", 9) == []
    with pytest.raises(AttemptsExhausted):
        at.scheduler.retry(run_id_of(family.first, 0))
    report = at.scheduler.tick()
    assert report.failed == [run_id_of(family.first, 0)]
    assert at.state(family.first) == "failed"
    family.assert_canceled(at)


@pytest.mark.parametrize("batch", range(1, 5))
def test_a_cancel_that_was_interrupted_may_be_called_again(
    at: Bench, monkeypatch, batch: int
) -> None:
    family = Family(at)
    watch(at, monkeypatch, refuse_at=batch)
    with pytest.raises(AppendError):
        at.scheduler.cancel(family.first)
    at.reopen()
    assert at.projection.is_task_canceled(family.first)
    assert at.scheduler.claim("w", 9) == []
    at.scheduler.cancel(family.first)
    family.assert_canceled(at)


def test_a_canceled_task_whose_run_is_due_cancels_all(at: Bench) -> None:
    family = Family(at, begin=5)
    at.submit(aq.TaskCancelCommand(None, family.first, BEGIN))
    report = at.tick_at(5)
    assert len(report.canceled) == len(set(report.canceled)) == 11
    family.assert_canceled(at)


def test_a_retry_that_was_brought_forward_fails_at_once(at: Bench, monkeypatch) -> None:
    """Its time is still to come, and does not put its end off, after a restart neither."""
    family = Family(at, max_attempts=2)
    claim = at.claim()
    at.scheduler.fail(claim, "why", retry_at=BEGIN + 500)
    at.scheduler.retry(claim.run_id)
    at.claim()
    watch(at, monkeypatch, refuse_at=1)
    with pytest.raises(AppendError):
        at.tick_at(30)
    at.reopen()
    assert at.scheduler.tick().failed == [claim.run_id]
    family.assert_canceled(at)


# --- What is refused by itself --------------------------------------------------------------------


def refuse(at: Bench, monkeypatch: pytest.MonkeyPatch, task_id: aq.TaskId) -> None:
    """Have no plan for a task's runs."""
    of_task = at.scheduler._task

    def refusing(wanted: aq.TaskId):
        if wanted == task_id:
            raise InvalidFieldError("Task", "field", 1, "fits no batch")
        return of_task(wanted)

    monkeypatch.setattr(at.scheduler, "_task", refusing)


def test_one_run_that_is_refused_stops_no_other(at: Bench, monkeypatch) -> None:
    before = at.scheduler.add(b"", at=BEGIN + 29)
    bad = at.scheduler.add(b"", priority=9)
    failing = at.scheduler.add(b"", priority=8)
    claims = at.scheduler.claim("worker", 2)
    after = at.scheduler.add_many([b""] * 1100, at=BEGIN + 30)
    refuse(at, monkeypatch, bad)
    for _ in range(2):
        with pytest.raises(InvalidFieldError, match="fits no batch"):
            at.tick_at(30)
    assert at.state(claims[0]) == "running"
    assert at.state(failing) == "failed"
    assert {at.state(task) for task in (before, *after)} == {aq.RunState.READY}
    # A worker that waits gets the others, and hears of the one where there is nothing else.
    assert at.scheduler.wait()
    assert len(at.scheduler.claim("w", 2000)) == 1101
    with pytest.raises(InvalidFieldError, match="fits no batch"):
        at.scheduler.wait()
    monkeypatch.undo()
    assert at.scheduler.tick().failed == [claims[0].run_id]


def test_tasks_that_wait_get_the_others_too(at: Bench, monkeypatch) -> None:
    bad = at.scheduler.add(b"", at=BEGIN + 5)
    at.scheduler.add(b"")

    async def work() -> None:
        scheduler = AsyncScheduler(AsyncQueue(at.queue), clock=at.clock)
        at.clock.advance(5)
        at.scheduler = scheduler._scheduler
        refuse(at, monkeypatch, bad)
        assert await scheduler.wait()
        assert len(await scheduler.claim("w", 9)) == 1
        with pytest.raises(InvalidFieldError, match="fits no batch"):
            await scheduler.wait()

    asyncio.run(work())


def test_the_lease_of_an_owner_with_a_long_name_expires(at: Bench) -> None:
    """The name fits a lease, and with a word more it would not fit an attempt's error."""
    at.scheduler.add(b"")
    (claim,) = at.scheduler.claim("w" * 2**20)
    assert at.tick_at(30).failed == [claim.run_id]
