"""One queue, many threads: no sequence is given twice or left out, and nobody sees what is not."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random

import pytest

import actionqueue as aq
from actionqueue.errors import ClosedError, ValidationError
from tests.support.queues import REFUSED, SMALL, replayed, state_of, task_create
from tests.support.threads import run_together


class Worker:
    """Takes a few runs of its own through their lives, by every kind of call, and notes what was
    acknowledged.
    """

    def __init__(self, queue: aq.ActionQueue, seed: int, rounds: int) -> None:
        self.queue, self.random, self.rounds = queue, Random(seed), rounds
        self.acknowledged: list[int] = []
        self.immediate_calls = 0

    def __call__(self) -> None:
        for _ in range(self.rounds):
            self.life_of_a_run()

    def policy(self) -> str:
        policy = self.random.choice(("immediate", "deferred", "deferred"))
        self.immediate_calls += policy == "immediate"
        return policy

    def submit(self, *commands: aq.MutationCommand) -> None:
        if self.random.random() < 0.5:
            with self.queue.batch(self.policy()) as batch:
                for command in commands:
                    batch.submit(command)
            outcomes = batch.outcomes
        elif self.random.random() < 0.5:
            outcomes = self.queue.submit_many(commands, self.policy())
        else:
            outcomes = [self.queue.submit(command, self.policy()) for command in commands]
        sequences = [outcome.sequence for outcome in outcomes]
        assert sequences == sorted(sequences)
        assert self.queue.sequence >= sequences[-1]
        self.acknowledged += sequences

    def life_of_a_run(self) -> None:
        queue, projection = self.queue, self.queue.projection
        size = self.random.choice((5, 5, 5, 2000, 40_000, 70_000))
        task = aq.TaskSpec(payload=self.random.randbytes(size))
        run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
        attempt = aq.AttemptId()
        self.submit(aq.TaskCreateCommand(None, task, 1))
        assert projection.task_exists(task.id)
        self.submit(
            aq.RunCreateCommand(None, run),
            aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", 2),
        )
        assert projection.run_state(run.id) is aq.RunState.READY
        with pytest.raises(ValidationError) as refusal:
            queue.submit_many([task_create(), aq.RunResumeCommand(None, run.id, 2)])
        assert refusal.value.batch_index == 1
        self.submit(
            aq.LeaseAcquireCommand(None, run.id, "worker", 9, 3),
            aq.RunStateTransitionCommand(None, run.id, "ready", "leased", 3),
            aq.RunStateTransitionCommand(None, run.id, "leased", "running", 4),
            aq.AttemptStartCommand(None, run.id, attempt, 4),
        )
        instance = projection.run(run.id)
        assert instance is not None
        assert instance.current_attempt_id == attempt
        self.submit(
            aq.AttemptFinishCommand(None, run.id, attempt, aq.AttemptOutcome.failure("no"), 5),
            aq.RunStateTransitionCommand(None, run.id, "running", "completed", 6),
        )
        history = projection.history(run.id)
        assert history is not None
        assert [entry.to_state.value for entry in history] == [
            "scheduled",
            "ready",
            "leased",
            "running",
            "completed",
        ]
        if self.random.random() < 0.1:
            queue.sync()
            assert queue.durable_sequence >= self.acknowledged[-1]


@pytest.mark.parametrize(("threads", "rounds"), [(8, 60), (32, 15)])
@pytest.mark.parametrize("sector_size", [0, 512])
def test_every_command_is_acknowledged_once_and_none_is_lost(
    directory: Path, hasty: None, threads: int, rounds: int, sector_size: int
) -> None:
    queue = aq.open(directory, segment_size=131072, ring_size=65536, sector_size=sector_size)
    workers = [Worker(queue, seed, rounds) for seed in range(threads)]
    run_together(list(workers))
    acknowledged = sorted(sequence for worker in workers for sequence in worker.acknowledged)
    assert acknowledged == list(range(1, queue.sequence + 1))
    state, stats = state_of(queue), queue.stats()
    assert stats["appended_records"] == stats["last_sequence"] == queue.sequence
    assert stats["rotations"] > 3
    queue.close()
    assert replayed(directory).to_json() == state
    with aq.open(directory) as queue:
        assert state_of(queue) == state


def test_callers_who_wait_at_the_same_time_share_syncs(tmp_path: Path) -> None:
    each, threads = 25, 16
    with aq.open(tmp_path) as queue:

        def work() -> None:
            for _ in range(each):
                sequence = queue.submit(task_create(), "immediate").sequence
                assert queue.durable_sequence >= sequence

        run_together([work] * threads)
        assert queue.sequence == queue.durable_sequence == each * threads
        assert 0 < queue.stats()["syncs"] < each * threads


def test_queries_see_whole_events_only(directory: Path, hasty: None) -> None:
    """A run's state, its last history entry and its lease change in one event."""
    with aq.open(directory, **SMALL, durability="deferred") as queue:
        task = aq.TaskSpec(payload=b"")
        run = aq.RunInstance.scheduled(task.id, scheduled_at=0, created_at=0)
        queue.submit_many([aq.TaskCreateCommand(None, task, 0), aq.RunCreateCommand(None, run)])
        queue.submit(aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", 0))
        is_done = threading.Event()

        def write() -> None:
            try:
                for time in range(1, 1000):
                    queue.submit(
                        aq.RunStateTransitionCommand(None, run.id, "ready", "leased", time)
                    )
                    queue.submit(
                        aq.RunStateTransitionCommand(None, run.id, "leased", "ready", time)
                    )
            finally:
                is_done.set()

        def read() -> None:
            last = 0
            while not is_done.is_set():
                instance = queue.projection.run(run.id)
                history = queue.projection.history(run.id)
                assert instance is not None
                assert history is not None
                assert last <= instance.last_state_change_at <= history[-1].timestamp
                last = instance.last_state_change_at
                assert [entry.timestamp for entry in history] == sorted(
                    entry.timestamp for entry in history
                )

        run_together([write, read, read, read])
        assert queue.sequence == 3 + 999 * 2


@pytest.mark.parametrize("payload_size", [0, 100_000], ids=["in the ring", "past the ring"])
def test_no_thread_sees_a_batch_that_is_refused_in_the_end(
    directory: Path, hasty: None, payload_size: int
) -> None:
    with aq.open(directory, **SMALL, durability="deferred") as queue:
        task = aq.TaskSpec(payload=b"")
        run = aq.RunInstance.scheduled(task.id, scheduled_at=0, created_at=0)
        queue.submit_many([aq.TaskCreateCommand(None, task, 0), aq.RunCreateCommand(None, run)])
        commands = [
            aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", 1),
            *[task_create(bytes(payload_size)) for _ in range(5)],
            *[task_create() for _ in range(300)],
            REFUSED,
        ]
        is_done = threading.Event()
        seen: set[object] = set()

        def write() -> None:
            try:
                for _ in range(30):
                    with pytest.raises(ValidationError) as refusal:
                        queue.submit_many(commands)
                    assert refusal.value.batch_index == len(commands) - 1
            finally:
                is_done.set()

        def read() -> None:
            projection = queue.projection
            while not is_done.is_set():
                seen.add(projection.run_state(run.id))
                seen.add(projection.latest_sequence)
                seen.add(queue.sequence)
                seen.add(len(projection.task_ids()))
                seen.add(projection.counts().tasks)

        run_together([write, read, read])
        assert seen == {aq.RunState.SCHEDULED, 2, 1}


def test_batches_are_seen_as_a_whole(directory: Path, hasty: None) -> None:
    with aq.open(directory, **SMALL, durability="deferred") as queue:
        is_done = threading.Event()
        seen: set[int] = set()

        def write() -> None:
            try:
                for number in range(100):
                    queue.submit_many(
                        [task_create(bytes(70_000 if number % 10 == 0 else 10)) for _ in range(7)]
                    )
            finally:
                is_done.set()

        def read() -> None:
            while not is_done.is_set():
                seen.add(queue.projection.latest_sequence)

        run_together([write, read, read])
        assert {sequence % 7 for sequence in seen} == {0}


def test_closing_under_load_loses_nothing_that_was_acknowledged(directory: Path) -> None:
    for number in range(20):
        path = directory / str(number)
        queue = aq.open(path, **SMALL)
        acknowledged: list[int] = []
        started = threading.Semaphore(0)

        def submit(
            durability: str, queue: aq.ActionQueue = queue, acknowledged: list[int] = acknowledged,
            started: threading.Semaphore = started,
        ) -> None:  # fmt: skip
            while True:
                try:
                    acknowledged.append(queue.submit(task_create(b"x" * 3000), durability).sequence)
                except ClosedError:
                    started.release(100)
                    return
                started.release()

        def close(queue: aq.ActionQueue = queue, started: threading.Semaphore = started) -> None:
            for _ in range(30):
                started.acquire()
            queue.close()

        run_together(
            [
                lambda: submit("immediate"),
                lambda: submit("deferred"),
                lambda: submit("immediate"),
                close,
                close,
            ]
        )
        with aq.open(path) as queue:
            assert queue.recovery.is_clean
            assert queue.sequence == len(acknowledged) == max(acknowledged)


def test_threads_wait_for_each_others_commands_in_the_lane(directory: Path) -> None:
    """Of many threads that want the same thing, one gets it."""
    with aq.open(directory, durability="deferred") as queue:
        for _ in range(50):
            task = aq.TaskSpec(payload=b"")
            outcomes: list[str] = []

            def create(task: aq.TaskSpec = task, outcomes: list[str] = outcomes) -> None:
                try:
                    queue.submit(aq.TaskCreateCommand(None, task, 1))
                    outcomes.append("created")
                except aq.TaskAlreadyExists:
                    outcomes.append("exists")

            run_together([create] * 8)
            assert sorted(outcomes) == ["created"] + ["exists"] * 7
        assert queue.sequence == 50
