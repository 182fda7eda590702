"""Interrupts at random instants, and calls from signal handlers: log and projection stay one.

The timers are set in forked children, where no test runner uses them.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.errors import ReentrantCallError, ValidationError, Written
from tests.support.crash import ledger
from tests.support.queues import (
    REFUSED,
    SMALL,
    in_child,
    replayed,
    state_of,
    task_create,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


class Interrupter:
    """Interrupts this process's main thread some time after it was asked to."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.is_due = False
        signal.signal(signal.SIGALRM, self._interrupt)

    def _interrupt(self, _number: int, _frame: object) -> None:
        self.is_due = False
        raise KeyboardInterrupt

    def repeat(self, work: Callable[[], Any], microseconds_max: int) -> None:
        """Do the work again and again until an interrupt has come, after some microseconds."""
        with contextlib.suppress(KeyboardInterrupt):
            self._repeat(work, microseconds_max)

    def _repeat(self, work: Callable[[], Any], microseconds_max: int) -> None:
        # In a function of its own: since 3.12 what is raised where a loop goes back is not always
        # in the try block around it.
        self.is_due = True
        signal.setitimer(signal.ITIMER_REAL, self.random.randrange(1, microseconds_max) / 1e6)
        # An interrupt inside a finalizer raises nothing here.
        while self.is_due:
            work()


def refused(queue: aq.ActionQueue) -> None:
    with pytest.raises(ValidationError):
        queue.submit(REFUSED)


def refused_batch(queue: aq.ActionQueue) -> None:
    try:
        queue.submit_many([task_create(), task_create(), REFUSED])
    except ValidationError:
        pass
    else:
        raise AssertionError("the batch was accepted")


def batch(queue: aq.ActionQueue) -> None:
    with queue.batch() as batch:
        for _ in range(3):
            batch.submit(task_create(b"batch"))


WORKS: dict[str, Callable[[aq.ActionQueue], Any]] = {
    "submit": lambda queue: queue.submit(task_create()),
    "submit_large": lambda queue: queue.submit(task_create(bytes(70_000))),
    "submit_immediate": lambda queue: queue.submit(task_create(), "immediate"),
    "submit_many": lambda queue: queue.submit_many([task_create(b"batch") for _ in range(3)]),
    "submit_many_large": lambda queue: queue.submit_many(
        [task_create(b"batch" + bytes(30_000)) for _ in range(3)]
    ),
    "batch": batch,
    "refused_batch": refused_batch,
    "refused": refused,
    "sync": lambda queue: queue.sync(),
}


@pytest.mark.platform("fork", "signals")
@pytest.mark.parametrize("work", WORKS)
def test_an_interrupt_at_any_instant_leaves_log_and_projection_one(
    directory: Path, work: str, long_form: bool
) -> None:
    count = (100 if "large" in work else 400) * (4 if long_form else 1)
    counts = in_child(lambda: be_interrupted(directory, WORKS[work], count))
    model = replayed(directory)
    assert model.latest_sequence == counts["sequence"]
    assert model.to_json() == counts["state"]
    in_batches = [
        task for task in model.tasks.values() if task["spec"].payload.data.startswith(b"batch")
    ]
    assert len(in_batches) % 3 == 0
    ledger.record("signals in a commit (Ctrl-C)", count, 0, "at a timer's instants")


def be_interrupted(path: Path, work: Callable[[aq.ActionQueue], Any], count: int) -> dict[str, Any]:
    """Work until the interrupt comes, and see after each that the queue works as before."""
    interrupter = Interrupter(1)
    queue = aq.open(path, segment_size=2**22, ring_size=65536, durability="deferred")
    for number in range(count):
        interrupter.repeat(lambda: work(queue), 60 if number % 2 else 400)
        sequence = queue.sequence
        assert queue.stats()["last_sequence"] == sequence
        assert not queue.is_poisoned
        assert queue.submit(task_create()).sequence == sequence + 1
        assert [
            outcome.sequence for outcome in queue.submit_many([task_create(), task_create()])
        ] == [sequence + 2, sequence + 3]
        refused_batch(queue)
        assert queue.sequence == sequence + 3
    queue.sync()
    state = state_of(queue)
    queue.close()
    return {"sequence": queue.sequence, "state": state}


@pytest.mark.platform("fork", "signals")
def test_an_interrupt_while_opening_or_closing_leaves_the_queue_to_be_opened_again(
    directory: Path,
) -> None:
    def work() -> int:
        acknowledged = 0
        interrupter = Interrupter(2)
        # The many collections below are for what is made here. What the runner has, with all its
        # tests, takes half a second each.
        gc.freeze()

        def live() -> None:
            nonlocal acknowledged
            opened.append(aq.open(directory, **SMALL, durability="deferred"))
            acknowledged = opened[-1].submit(task_create()).sequence
            opened[-1].close()
            opened.clear()

        opened: list[aq.ActionQueue] = []
        for _ in range(80):
            interrupter.repeat(live, 3000)
            for queue in opened:
                queue.close()
            opened.clear()
            gc.collect()
            with aq.open(directory, **SMALL) as queue:
                # The interrupt may have come after the append and before the assignment.
                assert acknowledged <= queue.sequence <= acknowledged + 1
                acknowledged = queue.sequence
        return acknowledged

    acknowledged = in_child(work)
    assert replayed(directory).latest_sequence == acknowledged


@pytest.mark.platform("fork", "signals")
def test_an_interrupted_wait_for_the_disk_ends_in_durability(tmp_path: Path) -> None:
    """Who leads a sync finishes it before it raises."""

    def work() -> None:
        queue = aq.open(tmp_path, segment_size=65536)
        interrupter = Interrupter(3)
        for _ in range(150):
            queue.submit(task_create(), "deferred")
            interrupter.repeat(lambda: queue.submit(task_create(), "immediate"), 300)
            queue.sync()
            assert queue.durable_sequence == queue.sequence
        queue.close()

    in_child(work)
    with aq.open(tmp_path) as queue:
        assert queue.recovery.is_clean


@pytest.mark.platform("fork", "signals")
def test_interrupts_in_the_main_thread_do_not_disturb_the_others(directory: Path) -> None:
    def work() -> tuple[int, list[int]]:
        queue = aq.open(directory, segment_size=2**22, ring_size=65536, durability="deferred")
        interrupter = Interrupter(4)
        is_done = threading.Event()
        acknowledged: list[int] = []

        def submit() -> None:
            while not is_done.is_set():
                acknowledged.append(queue.submit(task_create()).sequence)
                acknowledged.extend(
                    outcome.sequence
                    for outcome in queue.submit_many([task_create(), task_create()])
                )

        threads = [threading.Thread(target=submit) for _ in range(2)]
        for thread in threads:
            thread.start()

        def both() -> None:
            queue.submit(task_create())
            queue.submit_many([task_create(), task_create()])

        for _ in range(300):
            interrupter.repeat(both, 300)
            assert queue.submit(task_create()).sequence <= queue.sequence
        is_done.set()
        for thread in threads:
            thread.join()
        queue.close()
        return queue.sequence, acknowledged

    sequence, acknowledged = in_child(work)
    assert len(set(acknowledged)) == len(acknowledged)
    assert acknowledged == sorted(acknowledged) or max(acknowledged) <= sequence
    assert replayed(directory).latest_sequence == sequence


CALLS: dict[str, Callable[[aq.ActionQueue], Any]] = {
    "submit": lambda queue: queue.submit(task_create()),
    "submit_many": lambda queue: queue.submit_many([task_create()]),
    "batch": batch,
    "close": lambda queue: queue.close(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("work", ["submit", "submit_many"])
def test_a_call_from_a_handler_inside_a_call_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, work: str
) -> None:
    """The signal is raised where a command is validated that the core does not take by itself,
    which is in the middle of the call.
    """
    from actionqueue import lane

    refusals: list[ReentrantCallError] = []

    def handler(_number: int, _frame: object) -> None:
        with pytest.raises(ReentrantCallError) as refusal:
            CALLS[call](queue)
        refusals.append(refusal.value)

    def validate_with_a_signal(*arguments: Any) -> int:
        signal.raise_signal(signal.SIGTERM)
        return validate(*arguments)

    validate = lane.validate
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with aq.open(tmp_path) as queue:
            with monkeypatch.context() as patch:
                patch.setattr(lane, "validate", validate_with_a_signal)
                pause = aq.EnginePauseCommand(None, 1)
                outcome = queue.submit(pause) if work == "submit" else queue.submit_many([pause])[0]
            assert outcome == aq.MutationOutcome(1, aq.AppliedEnginePause())
            assert len(refusals) == 1
            assert refusals[0].written is Written.NO
            assert queue.submit(task_create()).sequence == 2
            assert queue.projection.latest_sequence == 2
    finally:
        signal.signal(signal.SIGTERM, before)
    assert replayed(tmp_path).latest_sequence == 2


@pytest.mark.platform("fork", "signals")
def test_handlers_that_call_the_queue_at_random_instants(directory: Path) -> None:
    def work() -> tuple[int, int, int]:
        queue = aq.open(directory, segment_size=2**22, ring_size=65536, durability="deferred")
        submitted = refused = 0

        def handler(_number: int, _frame: object) -> None:
            nonlocal submitted, refused
            assert queue.projection.latest_sequence >= 0
            try:
                queue.submit(task_create())
                queue.submit_many([task_create(), task_create()])
                submitted += 1
            except ReentrantCallError:
                refused += 1

        signal.signal(signal.SIGALRM, handler)
        random = Random(5)
        own = 0
        while submitted + refused < 1000:
            heard = submitted + refused
            signal.setitimer(signal.ITIMER_REAL, random.randrange(1, 60) / 1e6)
            while heard == submitted + refused:
                queue.submit(task_create())
                queue.submit_many([task_create(), task_create()])
                own += 1
        assert queue.sequence == 3 * (own + submitted)
        queue.close()
        return queue.sequence, submitted, refused

    sequence, submitted, refused = in_child(work)
    assert submitted > 0
    assert refused > 0
    assert replayed(directory).latest_sequence == sequence


def test_a_finalizer_that_calls_the_queue_inside_a_call_is_refused(tmp_path: Path) -> None:
    """The collector may run finalizers wherever something is built."""
    with aq.open(tmp_path, durability="deferred") as queue:
        outcomes: list[str] = []

        class Caller:
            def __init__(self) -> None:
                self.itself = self

            def __del__(self) -> None:
                try:
                    queue.submit(task_create())
                    outcomes.append("submitted")
                except ReentrantCallError:
                    outcomes.append("refused")

        before = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for _ in range(300):
                Caller()
                queue.submit_many([task_create(), task_create()])
        finally:
            gc.set_threshold(*before)
        gc.collect()
        assert queue.sequence == 600 + outcomes.count("submitted")
        sequence = queue.sequence
    assert len(outcomes) == 300
    assert replayed(tmp_path).latest_sequence == sequence


def test_a_finalizer_that_changes_what_a_query_is_reading(tmp_path: Path) -> None:
    """A query answers from one moment; what a finalizer asks for in the middle of it, in its own
    thread, is refused and changes nothing.
    """
    actor_id = aq.ActorId()

    def register(number: int) -> aq.ActorRegisterCommand:
        tenant_id = aq.TenantId.from_bytes(number.to_bytes(16, "big"))
        capabilities = tuple(f"{number} {place}" for place in range(40))
        department = aq.DepartmentId(f"{number:08}")
        registration = aq.ActorRegistration(
            actor_id, f"identity {number}", capabilities, 5, department, tenant_id
        )
        return aq.ActorRegisterCommand(None, registration, number)

    with aq.open(tmp_path, durability="deferred") as queue:
        number = 0

        class Caller:
            def __init__(self) -> None:
                self.itself = self

            def __del__(self) -> None:
                nonlocal number
                for _ in range(5):
                    try:
                        queue.submit(register(number + 1))
                    except aq.ReentrantCallError:
                        continue
                    number += 1

        queue.submit(register(0))
        # This is the native part, so that nothing else is built between.
        read_actor = queue.projection.read_actor
        before = gc.get_threshold()
        gc.disable()
        gc.set_threshold(1)
        try:
            for _ in range(300):
                Caller()
                gc.enable()
                fields = read_actor(actor_id)
                gc.disable()
                assert fields is not None
                registration, registered_at = fields[:2]
                assert registration == register(registered_at).registration
        finally:
            gc.set_threshold(*before)
            gc.enable()
        gc.collect()
        assert queue.sequence == number + 1
