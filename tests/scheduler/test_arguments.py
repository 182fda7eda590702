"""What the calls of a scheduler accept, and what they refuse before anything is written."""

from __future__ import annotations

import pytest

import actionqueue as aq
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError
from tests.support.scheduling import BEGIN, Bench

RUN, TASK = aq.RunId(), aq.TaskId()
WRONG = {
    "add.task": lambda s: s.add("text"),
    "add.at": lambda s: s.add(b"", at=-1),
    "add.at later": lambda s: s.add(b"", at=253402300800),
    "add.at bool": lambda s: s.add(b"", at=True),
    "add.at float": lambda s: s.add(b"", at=1.5),
    "add.depends_on": lambda s: s.add(b"", depends_on=TASK),
    "add.depends_on None": lambda s: s.add(b"", depends_on=None),
    "add.depends_on other": lambda s: s.add(b"", depends_on=[RUN]),
    "add.depends_on text": lambda s: s.add(b"", depends_on=str(TASK)),
    "add.priority": lambda s: s.add(b"", priority=2**31),
    "add.max_attempts": lambda s: s.add(b"", max_attempts=0),
    "add.timeout_secs": lambda s: s.add(b"", timeout_secs=0),
    "add.concurrency_key": lambda s: s.add(b"", concurrency_key="k" * 2**20 + "k"),
    "add.concurrency_key empty": lambda s: s.add(b"", concurrency_key=""),
    "add.run_policy": lambda s: s.add(b"", run_policy="daily"),
    "add.with a spec": lambda s: s.add(aq.TaskSpec(payload=b""), priority=1),
    "add.task_id": lambda s: s.add(b"", task_id=RUN),
    "add_prerequisites.task_id": lambda s: s.add_prerequisites(RUN, []),
    "add_prerequisites.depends_on": lambda s: s.add_prerequisites(TASK, [None]),
    "claim.owner": lambda s: s.claim(b"worker"),
    "claim.owner empty": lambda s: s.claim(""),
    "claim.owner list": lambda s: s.claim(["worker"]),
    "claim.owner long": lambda s: s.claim("w" * 2**25),
    "claim.owner surrogate": lambda s: s.claim("\udc80"),
    "claim.limit": lambda s: s.claim("w", 0),
    "claim.limit large": lambda s: s.claim("w", 65_537),
    "claim.limit bool": lambda s: s.claim("w", True),
    "claim.limit float": lambda s: s.claim("w", 1.0),
    "claim.capabilities": lambda s: s.claim("w", 1, "gpu"),
    "claim.capabilities other": lambda s: s.claim("w", 1, [1]),
    "claim.capabilities number": lambda s: s.claim("w", 1, 7),
    "complete.claim": lambda s: s.complete(RUN),
    "fail.claim": lambda s: s.fail(None, "why"),
    "suspend.claim": lambda s: s.suspend("claim"),
    "release.claim": lambda s: s.release([]),
    "release_all.owner": lambda s: s.release_all(None),
    "release_all.owner empty": lambda s: s.release_all(""),
    "release_all.owner claim": lambda s: s.release_all(["worker"]),
    "heartbeat.claims": lambda s: s.heartbeat(7),
    "heartbeat.claims other": lambda s: s.heartbeat([RUN]),
    "cancel.task_id": lambda s: s.cancel(RUN),
    "cancel_run.run_id": lambda s: s.cancel_run(TASK),
    "plan_next.task_id": lambda s: s.plan_next(RUN),
    "reschedule.run_id": lambda s: s.reschedule(TASK, priority=1),
    "reschedule.at": lambda s: s.reschedule(RUN, at=-1),
    "reschedule.nothing": lambda s: s.reschedule(RUN),
    "reschedule.priority": lambda s: s.reschedule(RUN, priority=2**31),
    "reschedule.priority bool": lambda s: s.reschedule(RUN, priority=True),
    "resume_run.run_id": lambda s: s.resume_run(str(RUN)),
    "retry.run_id": lambda s: s.retry(TASK),
    "signal.key": lambda s: s.signal(7),
    "consume.task_id": lambda s: s.consume(RUN, "token", 1),
    "consume.dimension": lambda s: s.consume(TASK, "money", 1),
    "consume.amount": lambda s: s.consume(TASK, "token", -1),
    "finished.run_id": lambda s: s.finished(TASK),
    "wait.timeout": lambda s: s.wait(-1),
    "wait.timeout nan": lambda s: s.wait(float("nan")),
    "wait.timeout text": lambda s: s.wait("1"),
    "wait.capabilities": lambda s: s.wait(0, b"gpu"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_named_before_anything_is_written(at: Bench, call) -> None:
    at.scheduler.add(b"")
    sequence = at.queue.sequence
    with pytest.raises(InvalidFieldError):
        call(at.scheduler)
    assert at.queue.sequence == sequence


@pytest.mark.parametrize("owner", ["", b"w", ["w"], "w" * 2**25, "\udc80"])
def test_an_owner_that_does_not_fit_is_named_as_the_calls_own(at: Bench, owner: object) -> None:
    for call, rest in (("claim", ()), ("claim_columns", (1,)), ("release_all", ())):
        with pytest.raises(InvalidFieldError, match=rf"^{call}\.owner: "):
            getattr(at.scheduler, call)(owner, *rest)


def test_what_workers_say_is_checked_before_anything_is_written(at: Bench) -> None:
    at.scheduler.add(b"")
    claim = at.claim()
    sequence = at.queue.sequence
    for call in (
        lambda: at.scheduler.complete(claim, "text"),
        lambda: at.scheduler.fail(claim, b"bytes"),
        lambda: at.scheduler.fail(claim, None),
        lambda: at.scheduler.fail(claim, "why", retry_at=-1),
        lambda: at.scheduler.fail(claim, "why", retry=None),
        lambda: at.scheduler.fail(claim, "why", retry_at=BEGIN, retry=False),
        lambda: at.scheduler.suspend(claim, 7),
        lambda: at.scheduler.suspend(claim, output="text"),
    ):
        with pytest.raises(InvalidFieldError):
            call()
    assert at.queue.sequence == sequence
    at.scheduler.complete(claim, bytearray(b"out"))


def test_an_unknown_field_is_no_field(at: Bench) -> None:
    with pytest.raises(TypeError, match="colour"):
        at.scheduler.add(b"", colour="red")


OPTIONS = {
    "lease_seconds": [0, -1, 253402300800, True, 1.5, None],
    "retry": [None, 5, aq.Backoff],
    "misfire": ["never", None],
    "on_prerequisite_failed": ["retry", True],
    "clock": [None, 7],
}


@pytest.mark.parametrize(
    ("option", "value"), [(option, value) for option in OPTIONS for value in OPTIONS[option]]
)
def test_options_that_do_not_fit_are_named(at: Bench, option: str, value: object) -> None:
    with pytest.raises(InvalidFieldError):
        aq.Scheduler(at.queue, **{option: value})


def test_a_scheduler_needs_an_open_queue(at: Bench) -> None:
    with pytest.raises(InvalidFieldTypeError):
        aq.Scheduler(at.path)
    at.queue.close()
    with pytest.raises(aq.ClosedError):
        aq.Scheduler(at.queue)
    for call in (
        lambda: at.scheduler.add(b""),
        lambda: at.scheduler.claim("w"),
        at.scheduler.tick,
        lambda: at.scheduler.wait(0),
    ):
        with pytest.raises(aq.ClosedError):
            call()


@pytest.mark.parametrize("time", [-1, 253402300800, 1.5, True, None, "now"])
def test_a_clock_must_tell_the_time(at: Bench, time: object) -> None:
    at.clock.time = time
    for call in (
        lambda: at.scheduler.add(b""),
        lambda: at.scheduler.claim("w"),
        at.scheduler.tick,
    ):
        with pytest.raises(InvalidFieldError, match=r"Scheduler\.clock"):
            call()
    assert at.queue.sequence == 0
