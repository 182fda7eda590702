"""The loop of the demo's scheduler without processes, on a clock that stands still until a test
moves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import actionqueue as aq
from actionqueue import AttemptResultKind, RunState
from actionqueue.demo import process
from actionqueue.demo.messages import (
    Acknowledged,
    Done,
    Expired,
    Finished,
    Heartbeat,
    Order,
    OutOfBudget,
    Quiet,
    Recovered,
    Result,
    Retried,
    Started,
    Trouble,
)
from actionqueue.demo.process import LEASE_SECONDS, Loop, Plan
from actionqueue.demo.proof import fingerprint
from actionqueue.demo.record import facts_in_log, facts_in_record, record_line
from actionqueue.demo.tasks import ATTEMPTS_MAX, is_out_of_budget, task_id_of

PATHS = [f"/lib/{name}.py" for name in "abc"]
GOOD = Result(b"output", None, 10)
BAD = Result(b"", "SyntaxError", 10)


class Line:
    """The pipe to a supervisor: what it was told, and what it has to say."""

    def __init__(self, queue: aq.ActionQueue) -> None:
        self.queue = queue
        self.told: list[Any] = []
        self.orders: list[Order] = []
        self.confirms = True

    def send(self, message: object) -> None:
        assert self.queue.durable_sequence == self.queue.sequence
        self.told.append(message)
        if isinstance(message, Finished) and self.confirms:
            self.orders.append(Order.GO_ON)

    def poll(self) -> bool:
        return bool(self.orders)

    def recv(self) -> Order:
        return self.orders.pop(0)

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.told if isinstance(message, kind)]

    @property
    def started(self) -> list[str]:
        return [message.path for message in self.of(Started)]


class Worker:
    def __init__(self, name: str, queue: aq.ActionQueue) -> None:
        self.name, self.queue = name, queue
        self.process = SimpleNamespace(pid=1)
        self.claim: aq.Claim | None = None

    def assign(self, claim: aq.Claim) -> None:
        assert self.queue.durable_sequence == self.queue.sequence
        self.claim = claim


class Crew:
    """Workers that say what a test has them say."""

    def __init__(self, queue: aq.ActionQueue, *names: str) -> None:
        self.workers = [Worker(name, queue) for name in names]
        self.unheard: list[tuple[Worker, object]] = []

    def say(self, message: object, *workers: Worker) -> None:
        self.unheard += [(worker, message) for worker in workers or self.workers]

    def idle(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.claim is None]

    @property
    def is_idle(self) -> bool:
        return len(self.idle()) == len(self.workers)

    def receive(self, _others: object, _seconds: float) -> Iterator[tuple[Worker, object]]:
        heard, self.unheard = self.unheard, []
        yield from heard


class Demo:
    """A loop that has planned, with its surroundings."""

    def __init__(self, directory: Path, *names: str, time: int = 1_000) -> None:
        self.queue = aq.open(directory / "queue", durability="deferred")
        self.directory = directory
        self.time = time
        self.line = Line(self.queue)
        self.crew = Crew(self.queue, *names or ("one",))
        plan = Plan(str(directory / "queue"), PATHS, Trouble("", "", frozenset()), 1, 1_000, 1_000)
        self.loop = Loop(cast("Any", self.line), plan, self.queue, lambda: self.time)
        self.loop.plan()

    def turn(self, message: object = None, *workers: Worker) -> None:
        """Make a turn in which workers say something, and all the rest of it is done after that."""
        if message is not None:
            self.crew.say(message, *workers)
            self.loop._listen(cast("Any", self.crew))
        self.loop.turn(cast("Any", self.crew))

    def run_of(self, path: str) -> aq.RunInstance:
        (one,) = self.queue.projection.runs_of_task(task_id_of(path))
        return one

    def results_of(self, path: str) -> list[AttemptResultKind | None]:
        return [
            attempt.result for attempt in self.queue.projection.attempts(self.run_of(path).id) or ()
        ]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    made = Demo(tmp_path)
    with made.queue:
        yield made


def test_every_file_is_handed_out_once_and_in_order(demo: Demo) -> None:
    for _ in PATHS:
        demo.turn()
        demo.turn(GOOD)
    demo.turn()
    assert demo.line.started == PATHS
    assert [message.path for message in demo.line.of(Finished)] == PATHS
    assert {demo.run_of(path).state for path in PATHS} == {RunState.COMPLETED}


def test_planning_again_finds_what_is_there(demo: Demo) -> None:
    before = demo.queue.sequence
    demo.loop.plan()
    assert demo.queue.sequence == before


def test_what_was_acknowledged_is_complete_and_in_the_log(demo: Demo) -> None:
    """That it is durable by then, the line and the workers see to."""
    demo.turn()
    demo.time += 1
    demo.turn(Heartbeat())
    demo.turn(Heartbeat())  # within the same second it changes nothing
    demo.turn(GOOD)
    demo.line.orders += [Order.PAUSE, Order.RESUME]
    demo.turn()
    demo.turn(BAD)
    demo.turn(Result(b"", None, 1_000))
    demo.line.orders += [Order.REPLENISH]
    demo.turn()
    demo.time += LEASE_SECONDS
    demo.turn()
    record = demo.directory / "record"
    record.write_bytes(b"".join(record_line(told.facts) for told in demo.line.of(Acknowledged)))
    told, in_log = facts_in_record(record), facts_in_log(demo.directory / "queue")
    assert told <= in_log
    # The states that a run goes through on its way are not told.
    assert {kind for kind, *_ in in_log - told} == {"run_state_changed"}
    assert {kind for kind, *_ in told} == {
        *("task_created", "budget_allocated", "budget_consumed", "budget_replenished"),
        *("engine_paused", "engine_resumed", "lease_acquired", "lease_heartbeat"),
        *("attempt_started", "attempt_finished", "run_state_changed"),
    }


def test_a_success(demo: Demo) -> None:
    demo.turn()
    demo.turn(GOOD)
    one = demo.run_of(PATHS[0])
    attempts = demo.queue.projection.attempts(one.id) or []
    assert [(attempt.result, attempt.output) for attempt in attempts] == [
        (AttemptResultKind.SUCCESS, b"output")
    ]
    assert demo.queue.projection.lease(one.id) is None
    assert demo.line.of(Finished) == [Finished(PATHS[0], None)]


def test_failures_are_retried_later_and_only_so_often(demo: Demo) -> None:
    demo.turn()
    for _ in PATHS[1:]:
        demo.turn(GOOD)
        demo.turn()
    for number in range(1, ATTEMPTS_MAX + 1):
        started = demo.line.of(Started)[-1]
        assert (started.path, started.attempt) == (PATHS[-1], number)
        demo.turn(BAD)
        assert demo.crew.is_idle
        demo.time += 1
        demo.turn()
    assert demo.line.of(Retried) == [Retried(PATHS[-1])] * (ATTEMPTS_MAX - 1)
    assert demo.line.of(Finished)[-1] == Finished(PATHS[-1], BAD.error)
    assert demo.results_of(PATHS[-1]) == [AttemptResultKind.FAILURE] * ATTEMPTS_MAX


def test_a_lease_expires_and_another_worker_gets_the_run(tmp_path: Path) -> None:
    demo = Demo(tmp_path, "one", "two")
    with demo.queue:
        one, two = demo.crew.workers
        demo.turn()
        demo.turn(GOOD, two)
        demo.turn()
        demo.turn(GOOD, two)
        for _ in range(LEASE_SECONDS):
            assert demo.line.of(Expired) == []
            assert demo.line.started == PATHS
            demo.time += 1
            demo.turn()
        assert demo.line.of(Expired) == [Expired(PATHS[0], "the lease of one expired")]
        demo.time += 1
        demo.turn()
        assert demo.line.started == [*PATHS, PATHS[0]]
        assert (two.claim is not None, demo.run_of(PATHS[0]).state) == (True, RunState.RUNNING)

        # The first one's result comes too late: it changes nothing but the budget.
        demo.turn(Heartbeat(), one)
        demo.turn(GOOD, one)
        assert demo.run_of(PATHS[0]).state is RunState.RUNNING
        demo.turn(GOOD, two)
        assert demo.results_of(PATHS[0]) == [AttemptResultKind.TIMEOUT, AttemptResultKind.SUCCESS]
        assert [message.path for message in demo.line.of(Finished)] == [*PATHS[1:], PATHS[0]]


def test_a_run_whose_lease_expires_every_time_fails_in_the_end(demo: Demo) -> None:
    (worker,) = demo.crew.workers
    for _ in PATHS[1:]:
        demo.turn()
        demo.turn(GOOD)
    demo.turn()
    for _ in range(ATTEMPTS_MAX):
        demo.time += LEASE_SECONDS
        demo.turn()
        worker.claim = None  # the worker hangs, and was killed
        demo.time += 1
        demo.turn()
    assert demo.line.of(Finished)[-1] == Finished(PATHS[-1], "the lease of one expired")
    assert demo.results_of(PATHS[-1]) == [AttemptResultKind.TIMEOUT] * ATTEMPTS_MAX


def test_a_heartbeat_keeps_the_lease(demo: Demo) -> None:
    demo.turn()
    for _ in range(5):
        demo.time += LEASE_SECONDS - 1
        demo.turn(Heartbeat())
    assert demo.line.of(Expired) == []
    demo.time += LEASE_SECONDS
    demo.turn()
    assert demo.line.of(Expired) == [Expired(PATHS[0], "the lease of one expired")]


def test_a_paused_scheduler_hands_nothing_out_and_takes_results(demo: Demo) -> None:
    demo.turn()
    demo.line.orders.append(Order.PAUSE)
    demo.turn()
    assert demo.line.of(Quiet) == []
    demo.turn(GOOD)
    demo.turn()
    assert demo.run_of(PATHS[0]).state is RunState.COMPLETED
    assert (demo.line.started, demo.line.of(Quiet)) == (PATHS[:1], [Quiet()])
    demo.line.orders.append(Order.RESUME)
    demo.turn()
    assert demo.line.started == PATHS[:2]
    demo.line.orders.append(Order.PAUSE)
    demo.turn(GOOD)
    assert demo.line.of(Quiet) == [Quiet(), Quiet()]


def test_without_budget_nothing_is_handed_out(demo: Demo) -> None:
    demo.turn()
    demo.turn(Result(b"", None, 999))
    demo.turn()
    demo.turn(Result(b"", None, 1))
    demo.turn()
    assert is_out_of_budget(demo.queue.projection)
    assert (demo.line.started, demo.line.of(OutOfBudget)) == (PATHS[:2], [OutOfBudget()])
    demo.line.orders.append(Order.REPLENISH)
    demo.turn()
    assert demo.line.started == PATHS


def test_a_new_scheduler_goes_on_where_the_old_one_was(tmp_path: Path) -> None:
    old = Demo(tmp_path)
    with old.queue:
        old.turn()
        old.turn(GOOD)
        old.turn()
        old.line.orders.append(Order.PAUSE)
        old.turn()
    new = Demo(tmp_path, "two", time=old.time)
    with new.queue:
        new.turn()
        assert (new.line.started, new.line.of(Quiet)) == ([], [Quiet()])
        new.line.orders.append(Order.RESUME)
        new.turn()
        assert new.line.started == PATHS[2:]
        new.turn(GOOD)
        new.time += LEASE_SECONDS
        new.turn()
        assert new.line.of(Expired) == [Expired(PATHS[1], "the lease of one expired")]
        new.time += 1
        new.turn()
        new.turn(GOOD)
        assert {new.run_of(path).state for path in PATHS} == {RunState.COMPLETED}


def test_from_the_beginning_to_the_end(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    class Quick(Crew):
        """Workers that do at once what they are given."""

        def receive(self, _others: object, _seconds: float) -> Iterator[tuple[Worker, object]]:
            yield from [(worker, GOOD) for worker in self.workers if worker.claim is not None]

    for _ in PATHS[1:]:
        demo.turn()
        demo.turn(GOOD)
    monkeypatch.setattr(process, "Crew", lambda *_: nullcontext(Quick(demo.queue, "two")))
    demo.line.told.clear()
    demo.loop.run()
    assert demo.line.of(Recovered) == [Recovered("created a new queue", 2)]
    assert demo.line.told[-1] == Done(fingerprint(demo.queue.projection))
    assert {demo.run_of(path).state for path in PATHS} == {RunState.COMPLETED}


def test_a_slow_supervisor_is_waited_for(demo: Demo) -> None:
    """Else all work may be done before its orders come, and nothing would be proved."""
    demo.line.confirms = False
    demo.turn()
    demo.turn(GOOD)
    for done in (1, 2):
        demo.turn()
        assert demo.line.started == PATHS[:done]
        assert len(demo.line.of(Finished)) == done
        demo.line.orders.append(Order.GO_ON)
        demo.turn()
        assert demo.line.started == PATHS[: done + 1]
        demo.turn(GOOD)
