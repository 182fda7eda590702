"""Calls from signals' handlers and finalizers, and what handlers that raise leave behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.errors import ReentrantCallError
from tests.support.queues import in_child
from tests.support.scheduling import BEGIN, Bench

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

PATIENCE_S = 60


def calls(at: Bench, claim: aq.Claim) -> dict[str, Callable[[], object]]:
    """Every call of a scheduler that takes its turn."""
    s, run = at.scheduler, claim.run_id
    return {
        "add": lambda: s.add(b""),
        "add after": lambda: s.add(b"", depends_on=[claim.task_id]),
        "add_many": lambda: s.add_many([b"", b""]),
        "add_prerequisites": lambda: s.add_prerequisites(claim.task_id, [claim.task_id]),
        "claim": lambda: s.claim("w"),
        "claim_columns": lambda: s.claim_columns("w", 2),
        "complete": lambda: s.complete(claim),
        "complete_many": lambda: s.complete_many([claim]),
        "fail": lambda: s.fail(claim, "why"),
        "suspend": lambda: s.suspend(claim),
        "release": lambda: s.release(claim),
        "release_all": lambda: s.release_all("worker"),
        "heartbeat": lambda: s.heartbeat(claim),
        "tick": s.tick,
        "wait": lambda: s.wait(0),
        "finished": lambda: s.finished(run),
        "cancel": lambda: s.cancel(claim.task_id),
        "cancel_run": lambda: s.cancel_run(run),
        "pause": s.pause,
        "resume": s.resume,
        "reschedule": lambda: s.reschedule(run, priority=1),
        "resume_run": lambda: s.resume_run(run),
        "retry": lambda: s.retry(run),
        "signal": lambda: s.signal("key"),
        "consume": lambda: s.consume(claim.task_id, "token", 1),
        "plan_next": lambda: s.plan_next(claim.task_id),
    }


CALLS = (
    *("add", "add after", "add_many", "add_prerequisites", "claim", "claim_columns", "complete"),
    *("complete_many", "fail", "suspend", "release", "release_all", "heartbeat", "tick", "wait"),
    *("finished", "cancel", "cancel_run", "pause", "resume", "reschedule", "resume_run", "retry"),
    *("signal", "consume", "plan_next"),
)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_from_inside_a_raw_command_is_refused(at: Bench, name: str) -> None:
    """Another thread may hold the schedulers' turn and wait for the lane, which this one has."""
    at.scheduler.add(b"")
    claim = at.claim()
    call, sequence = calls(at, claim)[name], at.queue.sequence
    with pytest.raises(ReentrantCallError):
        at.queue._in_lane(call)
    assert at.queue.sequence == sequence
    assert set(calls(at, claim)) == set(CALLS)


class Asking(frozenset[str]):
    """Capabilities that call something where a query looks whether they have one."""

    call: Callable[[], object]

    def __contains__(self, _name: object) -> bool:
        self.call()
        return True


@pytest.mark.parametrize("name", CALLS)
def test_a_call_from_inside_a_query_is_refused(at: Bench, name: str) -> None:
    """By a finalizer, say. Another thread may hold the turn and wait for the end of this query."""
    at.scheduler.add_many([b""] * 2, required_capabilities=["gpu"])
    claim = at.claim()
    asking, sequence = Asking(), at.queue.sequence
    asking.call = calls(at, claim)[name]
    with pytest.raises(ReentrantCallError):
        at.queue.projection.read_ready(20, "ready", asking)
    assert at.queue.sequence == sequence


@pytest.mark.platform("fork", "signals")
def test_handlers_that_call_a_step_stop_no_other_thread(tmp_path: Path, long_form: bool) -> None:
    def work() -> int:
        queue = aq.open(tmp_path, durability="deferred", compaction=None)
        scheduler, is_over = aq.Scheduler(queue), threading.Event()
        said: list[bool] = []

        def handle(_number: int, _frame: object) -> None:
            try:
                scheduler.claim("w")
                said.append(True)
            except ReentrantCallError:
                said.append(False)

        def add() -> None:
            while not is_over.is_set():
                scheduler.add(b"")

        signal.signal(signal.SIGALRM, handle)
        thread = threading.Thread(target=add)
        thread.start()
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while len(said) < (2000 if long_form else 100):
            queue.submit_many([aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1)] * 1)
        signal.setitimer(signal.ITIMER_REAL, 0)
        is_over.set()
        thread.join(PATIENCE_S)
        queue.close()
        return int(thread.is_alive())

    assert in_child(work) == 0


class Stop(BaseException):
    """What the handler raises."""


class Interrupted:
    """Interrupts steps at random instants."""

    def __init__(self, path: Path) -> None:
        self.queue = aq.open(path, durability="deferred", compaction=None)
        self.scheduler = aq.Scheduler(self.queue, clock=lambda: BEGIN)
        self.random = Random(1)
        self.count = 0
        self.is_due = False
        signal.signal(signal.SIGALRM, self._handle)

    def _handle(self, _number: int, _frame: object) -> None:
        self.is_due = False
        raise Stop

    def interrupt(self, step: Callable[[], object]) -> None:
        """Do a step, which an interrupt may end anywhere."""
        try:
            self.is_due = True
            signal.setitimer(signal.ITIMER_REAL, self.random.uniform(1e-6, 1e-4))
            step()
            self._wait_for_it()
        except Stop:
            self.count += 1

    def _wait_for_it(self) -> None:
        while self.is_due:
            pass

    def claimed(self) -> aq.Claim:
        (claim,) = self.scheduler.claim("w")
        return claim


def rounds_of(long_form: bool) -> int:
    return 20_000 if long_form else 600


@pytest.mark.platform("fork", "signals")
def test_a_future_outlives_interrupts_of_the_step_that_ends_it(
    tmp_path: Path, long_form: bool
) -> None:
    def work() -> list[int]:
        at, lost = Interrupted(tmp_path), []
        for number in range(rounds_of(long_form)):
            at.scheduler.add(b"")
            claim = at.claimed()
            future = at.scheduler.finished(claim.run_id)
            at.interrupt(lambda claim=claim: at.scheduler.complete(claim))
            if at.queue.projection.run_state(claim.run_id) != "completed":
                at.scheduler.complete(claim)
            if not future.done():  # the next step sees to it
                at.scheduler.add(b"")
                at.scheduler.complete(at.claimed())
            if not future.done():
                lost.append(number)
        at.queue.close()
        return lost

    assert in_child(work) == []


@pytest.mark.platform("fork", "signals")
def test_a_subscription_outlives_interrupts_of_the_step_that_takes_it_in(
    tmp_path: Path, long_form: bool
) -> None:
    def work() -> list[int]:
        at, lost = Interrupted(tmp_path), []
        for number in range(rounds_of(long_form)):
            task, other = at.scheduler.add_many([b"", b""], max_attempts=9)
            claims = at.scheduler.claim("w", 2)
            subscription, key = aq.SubscriptionId(), aq.EventFilter.custom(f"key {number}")
            command: Any = aq.SubscriptionCreateCommand(None, subscription, task, key, BEGIN)
            if number % 2:
                at.interrupt(lambda command=command: at.queue.submit(command))
                if not at.queue.projection.subscription_exists(subscription):
                    at.queue.submit(command)
            else:
                at.queue.submit(command)
                at.interrupt(lambda claim=claims[1]: at.scheduler.complete(claim))
            if at.scheduler.signal(f"key {number}") != [subscription]:
                lost.append(number)
            for claim in claims:
                if at.queue.projection.run_state(claim.run_id) == "running":
                    at.scheduler.complete(claim)
            assert at.queue.projection.run_state(aq.run_id_of(other, 0)) == "completed"
        at.queue.close()
        return lost

    assert in_child(work) == []


@pytest.mark.platform("fork", "signals")
@pytest.mark.parametrize("in_columns", [False, True])
@pytest.mark.parametrize("is_watched", [False, True])
def test_an_interrupted_claim_gives_its_runs_back(
    tmp_path: Path, in_columns: bool, is_watched: bool, long_form: bool
) -> None:
    def work() -> tuple[int, int]:
        at = Interrupted(tmp_path)
        if is_watched:
            at.scheduler.finished(aq.run_id_of(at.scheduler.add(b"", priority=-1), 0))
        at.scheduler.add_many([b""] * 50)
        claim = at.scheduler.claim_columns if in_columns else at.scheduler.claim
        withheld = 0
        for _ in range(rounds_of(long_form)):
            returned: list[Any] = []
            at.interrupt(lambda returned=returned: returned.append(claim("w", 50)))
            if returned:
                at.scheduler.release_all("w")
            elif at.queue.projection.counts_by_state()["running"]:
                withheld += 1
                at.scheduler.release_all("w")
        at.queue.close()
        return withheld, at.count

    withheld, interrupted = in_child(work)
    # One between the return and the list, and one in the giving back itself, can't be helped.
    assert withheld <= interrupted * 0.05 + 5
