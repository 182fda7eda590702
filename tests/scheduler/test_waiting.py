"""Waiting for something to claim and for a run's end; several threads."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

import actionqueue as aq
from actionqueue.errors import ClosedError, PartialDurabilityError, ReentrantCallError
from actionqueue.scheduler.working import completed
from tests.support.queues import has_failed, wait_until
from tests.support.scheduling import BEGIN, Bench, Clock
from tests.support.threads import run_together

PATIENCE_S = 60


# --- Something to claim ---------------------------------------------------------------------------


def test_waiting_ends_at_once_where_there_is_something(at: Bench) -> None:
    assert at.scheduler.wait(0) is False
    at.scheduler.add(b"", required_capabilities=["gpu"])
    assert at.scheduler.wait(0) is True
    assert at.scheduler.wait(None, {"gpu"}) is True
    assert at.scheduler.wait(0, []) is False
    at.scheduler.pause()
    assert at.scheduler.wait(0) is False


def test_waiting_ticks(at: Bench) -> None:
    at.scheduler.add(b"", at=BEGIN + 5)
    assert at.scheduler.wait(0) is False
    at.clock.advance(5)
    assert at.scheduler.wait(0) is True
    assert at.claim().attempt == 1


CHANGES = {
    "a new task": lambda at: at.scheduler.add(b"", concurrency_key=None),
    "a key": lambda at: at.scheduler.complete(at.held),
    "a resumed run": lambda at: at.scheduler.resume_run(at.aside.run_id),
    "a signal": lambda at: at.scheduler.signal("key"),
    "another scheduler": lambda at: aq.Scheduler(at.queue, clock=at.clock).add(b""),
    "a raw command": lambda at: at.submit(aq.RunResumeCommand(None, at.aside.run_id, BEGIN)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_waiting_ends_with_a_change_that_another_thread_makes(at: Bench, change) -> None:
    at.scheduler.add(b"", concurrency_key="key", priority=1)
    at.held = at.claim()
    at.scheduler.add(b"", concurrency_key="key")
    subscribed = at.scheduler.add(b"", priority=2)
    at.aside = at.claim()
    at.scheduler.suspend(at.aside)
    at.submit(
        aq.SubscriptionCreateCommand(
            None, aq.SubscriptionId(), subscribed, aq.EventFilter.custom("key"), BEGIN
        )
    )
    answers: list[bool] = []
    waiting = threading.Thread(target=lambda: answers.append(at.scheduler.wait(PATIENCE_S)))
    waiting.start()
    wait_until(lambda: at.scheduler._shared.is_watched)
    change(at)
    waiting.join()
    assert answers == [True]
    assert not at.scheduler._shared.is_watched


def test_waiting_ends_with_the_queue(at: Bench) -> None:
    raised: list[BaseException] = []

    def wait() -> None:
        try:
            at.scheduler.wait()
        except ClosedError as error:
            raised.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: at.scheduler._shared.is_watched)
    at.queue.close()
    waiting.join()
    assert len(raised) == 1


# --- A run's end ----------------------------------------------------------------------------------


def end_of(future: Future[aq.RunEnd]) -> aq.RunEnd:
    assert future.done()
    return future.result(0)


def test_a_future_tells_how_a_run_ended(at: Bench) -> None:
    for _ in range(3):
        at.scheduler.add(b"")
    completed, failed, canceled = at.scheduler.claim("w", 3)
    futures = [at.scheduler.finished(each.run_id) for each in (completed, failed, canceled)]
    again = at.scheduler.finished(completed.run_id)
    assert not any(future.done() for future in futures)
    at.scheduler.complete(completed, b"output")
    at.scheduler.fail(failed, "why")
    at.scheduler.cancel(canceled.task_id)
    assert [end_of(future) for future in futures] == [
        aq.RunEnd(completed.run_id, aq.RunState.COMPLETED, b"output", None),
        aq.RunEnd(failed.run_id, aq.RunState.FAILED, None, "why"),
        aq.RunEnd(canceled.run_id, aq.RunState.CANCELED, None, None),
    ]
    assert again.result(0) == futures[0].result(0)
    late = at.scheduler.finished(failed.run_id)
    assert end_of(late) == futures[1].result(0)


def test_a_future_waits_through_retries(at: Bench) -> None:
    at.scheduler.add(b"", max_attempts=2)
    claim = at.claim()
    future = at.scheduler.finished(claim.run_id)
    at.scheduler.fail(claim, "first")
    assert not future.done()
    at.tick_at(1)
    at.claim()
    at.tick_at(100)
    assert end_of(future).error == "the lease of worker expired"


def test_a_future_tells_of_dependents_that_are_canceled(at: Bench) -> None:
    first = at.scheduler.add(b"")
    waiting = at.scheduler.add(b"", depends_on=[first])
    future = at.scheduler.finished(aq.run_id_of(waiting, 0))
    at.scheduler.fail(at.claim(), "why")
    assert end_of(future).state == "canceled"


def test_an_end_by_a_raw_command_is_noticed_at_the_next_tick(at: Bench) -> None:
    run = aq.run_id_of(at.scheduler.add(b""), 0)
    future = at.scheduler.finished(run)
    at.submit(aq.RunStateTransitionCommand(None, run, "ready", "canceled", BEGIN))
    at.scheduler.tick()
    assert end_of(future).state == "canceled"


def test_a_run_that_retention_forgot_has_no_end_to_tell(at: Bench) -> None:
    run = aq.run_id_of(at.scheduler.add(b""), 0)
    future = at.scheduler.finished(run)
    at.submit(aq.RunStateTransitionCommand(None, run, "ready", "canceled", BEGIN))
    at.queue.compact(retention_seconds=0)
    at.scheduler.tick()
    with pytest.raises(LookupError):
        future.result(0)


def test_a_canceled_future_is_left_alone(at: Bench) -> None:
    at.scheduler.add(b"")
    claim = at.claim()
    canceled, other = at.scheduler.finished(claim.run_id), at.scheduler.finished(claim.run_id)
    assert canceled.cancel()
    at.scheduler.complete(claim)
    assert end_of(other).state == "completed"


def test_a_future_may_call_the_scheduler_when_it_is_done(at: Bench) -> None:
    at.scheduler.add(b"")
    claim = at.claim()
    future = at.scheduler.finished(claim.run_id)
    future.add_done_callback(lambda _: at.scheduler.add(b"next"))
    at.scheduler.complete(claim)
    assert at.claim().payload == b"next"


def test_an_immediate_end_is_told_when_it_is_durable(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue", compaction=None) as queue:
        scheduler = aq.Scheduler(queue, clock=Clock())
        scheduler.add(b"")
        (claim,) = scheduler.claim("w")
        assert queue.durable_sequence == queue.sequence
        durable: list[bool] = []
        scheduler.finished(claim.run_id).add_done_callback(
            lambda _: durable.append(queue.durable_sequence == queue.sequence)
        )
        scheduler.complete(claim)
        assert durable == [True]


def test_an_end_is_not_told_with_an_earlier_step(tmp_path: Path, monkeypatch) -> None:
    with aq.open(tmp_path / "queue", compaction=None) as queue:
        scheduler, clock = aq.Scheduler(queue, clock=Clock()), Clock()
        tasks = [scheduler.add(b"") for _ in range(2)]
        first, second = scheduler.claim("w", 2)
        futures = [scheduler.finished(aq.run_id_of(task, 0)) for task in tasks]
        wait_durable = scheduler._wait_durable
        later = [second]

        def meanwhile(sequence: int) -> None:
            wait_durable(sequence)
            if later:  # another thread's step, which is appended, and not durable yet
                scheduler._work.complete([later.pop()], None, clock(), completed)

        monkeypatch.setattr(scheduler, "_wait_durable", meanwhile)
        scheduler.complete(first)
        assert [future.done() for future in futures] == [True, False]
        scheduler.add(b"")
        assert futures[1].done()


def test_an_end_that_does_not_become_durable_is_no_end(tmp_path: Path, monkeypatch) -> None:
    with aq.open(tmp_path / "queue", compaction=None) as queue:
        scheduler = aq.Scheduler(queue, clock=Clock())
        scheduler.add(b"")
        (claim,) = scheduler.claim("w")
        future = scheduler.finished(claim.run_id)

        def fail(sequence: int) -> None:
            raise PartialDurabilityError(sequence, OSError(5, "no disk"))

        monkeypatch.setattr(scheduler, "_wait_durable", fail)
        with pytest.raises(PartialDurabilityError):
            scheduler.complete(claim)
        with pytest.raises(PartialDurabilityError):
            future.result(0)
        assert not has_failed(queue)


# --- Several threads ------------------------------------------------------------------------------


def test_workers_in_threads_share_the_work_and_do_each_run_once(at: Bench) -> None:
    """Two schedulers on one queue, four threads each, keys among the tasks, raw commands beside."""
    tasks = [
        at.scheduler.add(b"", concurrency_key=str(number % 7) if number % 2 else None)
        for number in range(300)
    ]
    second = aq.Scheduler(at.queue, clock=at.clock)
    running: Counter[str] = Counter()
    done: Counter[aq.RunId] = Counter()
    lock = threading.Lock()

    def work(scheduler: aq.Scheduler, name: str) -> None:
        while at.projection.counts_by_state()[aq.RunState.COMPLETED] < len(tasks):
            claims = scheduler.claim(name, 3)
            keys = [claim.spec.constraints.concurrency_key for claim in claims]
            with lock:
                running.update(key for key in keys if key)
                assert all(count <= 1 for count in running.values())
            for claim, key in zip(claims, keys, strict=True):
                with lock:
                    if key:
                        running[key] -= 1
                    done[claim.run_id] += 1
                scheduler.complete(claim)

    def disturb() -> None:
        for _ in range(300):
            task = aq.TaskSpec(payload=b"")
            at.queue.submit(aq.TaskCreateCommand(None, task, BEGIN))

    works = [
        lambda scheduler=scheduler, number=number: work(scheduler, f"w{number}")
        for number, scheduler in enumerate([at.scheduler, second] * 4)
    ]
    run_together([*works, disturb])
    assert done == Counter(aq.run_id_of(task, 0) for task in tasks)


def test_raw_commands_beside_schedulers_do_no_harm(at: Bench) -> None:
    """They lease, reschedule and cancel runs under the schedulers' hands."""
    runs = [aq.run_id_of(at.scheduler.add(b"", max_attempts=3), 0) for _ in range(200)]

    def disturb() -> None:
        random = Random(7)
        for _ in range(600):
            run = random.choice(runs)
            state = at.projection.run_state(run)
            with suppress(aq.ValidationError):
                match random.randrange(4):
                    case 0:
                        at.submit(aq.RunStateTransitionCommand(None, run, "ready", "leased", BEGIN))
                        at.submit(aq.RunStateTransitionCommand(None, run, "leased", "ready", BEGIN))
                    case 1:
                        at.submit(aq.LeaseAcquireCommand(None, run, "raw", BEGIN + 1, BEGIN))
                        at.submit(aq.LeaseReleaseCommand(None, run, "raw", BEGIN + 1, BEGIN))
                    case 2:
                        at.submit(aq.RunRescheduleCommand(None, run, BEGIN, 5, BEGIN))
                    case 3 if state == "running" and random.random() < 0.2:
                        at.submit(
                            aq.RunStateTransitionCommand(None, run, "running", "canceled", BEGIN)
                        )

    def work(name: str) -> None:
        for number in range(150):
            at.scheduler.tick()
            for claim in at.scheduler.claim(name, 3):
                with suppress(aq.ClaimLost):
                    at.scheduler.heartbeat(claim)
                    (at.scheduler.complete if number % 3 else at.scheduler.release)(claim)

    run_together([disturb, *(lambda name=name: work(name) for name in "abc")])
    while claims := at.scheduler.claim("last", 100):
        for claim in claims:
            at.scheduler.complete(claim)
    states = {at.projection.run_state(run) for run in runs}
    assert states <= {aq.RunState.COMPLETED, aq.RunState.CANCELED}


def test_a_step_inside_a_step_is_refused(at: Bench) -> None:
    """By a signal's handler, for instance."""
    at.scheduler.add(b"")
    with pytest.raises(ReentrantCallError):
        at.scheduler._turn.run(at.scheduler.claim, "w")


def test_schedulers_are_neither_copied_nor_pickled(at: Bench) -> None:
    import copy

    with pytest.raises(TypeError, match="cannot be pickled"):
        copy.copy(at.scheduler)
    assert "Scheduler of <ActionQueue" in repr(at.scheduler)
    assert at.scheduler.queue is at.queue


def test_a_future_is_done_whatever_the_callback_of_another_raises(at: Bench) -> None:
    tasks = [at.scheduler.add(b"") for _ in range(3)]
    futures = [at.scheduler.finished(aq.run_id_of(task, 0)) for task in tasks for _ in range(2)]

    def leave(_future: object) -> None:
        sys.exit("a callback")

    futures[0].add_done_callback(leave)
    futures[3].set_result(None)  # the application's own mistake
    ended = []
    for claim in at.scheduler.claim("worker", 3):
        with suppress(SystemExit):
            at.scheduler.complete(claim)
            ended.append(claim)
    assert len(ended) == 2
    assert all(future.done() for future in futures)


def test_no_future_of_a_queue_that_is_closed(at: Bench) -> None:
    run_id = aq.run_id_of(at.scheduler.add(b""), 0)
    at.queue.close()
    with pytest.raises(aq.ClosedError):
        at.scheduler.finished(run_id)
