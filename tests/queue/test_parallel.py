"""Every call of a queue beside every other, in threads that run at the same time where the
interpreter has no lock.

What the threads leave is compared with the slow model, to which another thread applies the events
as it follows them; and each query must see whole batches.
"""

from __future__ import annotations

import pickle
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

import actionqueue as aq
from _wal_native.events import decode_event, encode_event
from _wal_native.reader import LogFollower
from actionqueue.errors import ClosedError, ForkedError, StoppedError, ValidationError
from actionqueue.inspection import verify
from actionqueue.json.projection import projection_to_json
from actionqueue.model.base import event_of, validate
from tests.support.command_source import CommandSource
from tests.support.compaction import run_to_the_end
from tests.support.model import Model
from tests.support.queues import REFUSED, SMALL, in_child, replayed, state_of, task_create
from tests.support.threads import run_together, until_done

ROUNDS = 60


class Pair:
    """Two runs, of which exactly one is leased after every batch."""

    def __init__(self, queue: aq.ActionQueue) -> None:
        self.queue = queue
        task = aq.TaskSpec(payload=b"pair")
        runs = [aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1) for _ in range(2)]
        self.ready, self.leased = (run.id for run in runs)
        queue.submit_many(
            [
                aq.TaskCreateCommand(None, task, 1),
                *[aq.RunCreateCommand(None, run) for run in runs],
                *[
                    aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", 1)
                    for run in runs
                ],
                aq.RunStateTransitionCommand(None, self.leased, "ready", "leased", 1),
            ]
        )

    def swap(self) -> list[aq.MutationCommand]:
        """Return the batch that exchanges the two."""
        return [
            aq.RunStateTransitionCommand(None, self.ready, "ready", "leased", 1),
            aq.RunStateTransitionCommand(None, self.leased, "leased", "ready", 1),
        ]

    def note_swap(self) -> None:
        self.ready, self.leased = self.leased, self.ready

    def refused(self) -> None:
        for count in (1, 2):
            with pytest.raises(ValidationError) as refusal:
                self.queue.submit_many([*self.swap()[:count], REFUSED])
            assert refusal.value.batch_index == count

    def by_submit_many(self) -> None:
        self.queue.submit_many(self.swap(), "deferred")
        self.note_swap()

    def by_batch(self) -> None:
        with self.queue.batch() as batch:
            for command in self.swap():
                batch.submit(command)
        first, second = batch.outcomes
        assert second.sequence == first.sequence + 1
        self.note_swap()

    def past_the_ring(self) -> None:
        self.queue.submit_many([*self.swap(), task_create(bytes(70_000))])
        self.note_swap()

    def by_columns(self) -> None:
        ids = aq.columns.id_array([self.ready, self.leased])
        codes = aq.columns.state_codes
        outcome = self.queue.submit_transitions(
            ids, codes(["ready", "leased"]), codes(["leased", "ready"]), 1
        )
        assert outcome.refused_count == 0
        self.note_swap()

    def refused_by_columns(self) -> None:
        with pytest.raises(ValidationError):
            self.queue.submit_transitions(
                aq.columns.id_array([self.ready, self.ready]), "ready", "leased", 1
            )


def check_pairs(projection: aq.Projection, pairs: list[frozenset[aq.RunId]]) -> None:
    """Ask in every way that shows a batch which runs are leased."""
    code = list(aq.RunState).index(aq.RunState.LEASED)
    columns = projection.columns().runs
    answers = [
        projection.run_ids("leased"),
        aq.columns.ids_from_array(projection.run_id_array("leased"), aq.RunId),
        aq.columns.ids_from_array(columns["run_id"][columns["state"] == code].copy(), aq.RunId),
    ]
    for answer in answers:
        leased = set(answer)
        for pair in pairs:
            assert len(pair & leased) == 1


def ask(projection: aq.Projection, random: Random) -> None:
    """Ask every query."""
    runs, tasks = projection.run_ids(), projection.task_ids()
    if runs:
        run_id = random.choice(runs)
        run, history = projection.run(run_id), projection.history(run_id)
        if run is not None and history is not None:  # else retention forgot it since
            assert run.id == run_id
            assert history[0].to_state is aq.RunState.SCHEDULED
        attempt_id = projection.active_attempt_id(run_id)
        if attempt_id is not None:
            projection.attempt_was_used(run_id, attempt_id)
        projection.run_state(run_id)
        projection.attempts(run_id)
        projection.attempt_count(run_id)
        projection.lease(run_id)
        projection.active_lease(run_id)
    if tasks:
        task_id = random.choice(tasks)
        task = projection.task(task_id)
        assert task is None or task.spec.id == task_id
        projection.runs_of_task(task_id)
        projection.dependencies(task_id)
        projection.children_of(task_id)
        projection.budget(task_id, "token")
        projection.task_exists(task_id)
    assert sum(projection.counts_by_state().values()) >= 0
    for name in (
        "tasks", "dependency_pairs", "parent_pairs", "budgets", "subscriptions", "actors",
        "tenants", "roles", "capability_grants", "ledger", "tombstones", "counts",
    ):  # fmt: skip
        getattr(projection, name)()
    assert projection.engine.is_paused in {True, False}
    for subscription in projection.subscriptions():
        projection.subscription(subscription.subscription_id)
    for actor in projection.actors():
        projection.actor(actor.actor_id)


class Follower:
    """Applies the events to the slow model, in one thread at a time."""

    def __init__(self, queue: aq.ActionQueue) -> None:
        self.queue, self.model = queue, Model()

    def __call__(self) -> None:
        self.queue.sync()
        for event in self.queue.follow(after=self.model.latest_sequence, timeout=0):
            assert event.sequence == self.model.latest_sequence + 1
            self.model.apply_event(event)


def test_every_call_beside_every_other(directory: Path, hasty: None) -> None:
    queue = aq.open(
        directory,
        **SMALL,
        durability="deferred",
        compaction=None,
        sync=aq.SyncPolicy(milliseconds=1),
    )
    pairs = [Pair(queue) for _ in range(3)]
    known = [frozenset((pair.ready, pair.leased)) for pair in pairs]
    follower = Follower(queue)
    queue.sync()
    reader = aq.open(directory, readonly=True)
    outcomes = [queue.submit(task_create())]

    def swap(pair: Pair, seed: int) -> None:
        random = Random(seed)
        ways = [
            pair.by_submit_many,
            pair.by_batch,
            pair.by_columns,
            pair.refused,
            pair.refused_by_columns,
        ]
        for number in range(ROUNDS):
            random.choice(ways)()
            if number % 20 == 0:
                pair.past_the_ring()

    def any_kind() -> None:
        """Submit every kind of command, many of which are refused."""
        mine = Model()
        source = CommandSource(Random(7))
        for _ in range(5 * ROUNDS):
            command = msgspec.structs.replace(source.next(mine), sequence=None)
            try:
                outcome = queue.submit(command)
            except ValidationError:
                continue
            outcomes[0] = outcome
            mine.latest_sequence = outcome.sequence - 1
            with suppress(ValidationError, KeyError):  # what retention forgot is still here
                mine.apply_event(event_of(command, validate(command, mine)))

    def short_lives() -> None:
        for number in range(ROUNDS):
            run_to_the_end(queue, 2)
            if number % 20 == 0:
                sequence = queue.submit(task_create(), "immediate").sequence
                assert queue.durable_sequence >= sequence

    def maintain() -> None:
        for number in range(ROUNDS // 15):
            follower()  # before the next compaction drops what the last one covers
            if number % 2:
                queue.snapshot()
            else:
                queue.compact(retention_seconds=0, tombstone_seconds=0)

    def look() -> None:
        before = queue.sequence
        queue.sync()
        assert queue.durable_sequence >= before
        stats = queue.stats()
        assert stats["durable_sequence"] <= stats["last_sequence"]
        assert not queue.is_closed
        assert not queue.is_poisoned
        assert "open" in repr(queue)
        outcome = outcomes[0]
        assert pickle.loads(pickle.dumps(outcome)) == outcome
        same = aq.MutationOutcome(outcome.sequence, outcome.applied)
        assert same == outcome
        assert hash(same) == hash(outcome)
        assert repr(same) == repr(outcome)

    def query(seed: int) -> Callable[[], None]:
        random = Random(seed)

        def once() -> None:
            check_pairs(queue.projection, known)
            ask(queue.projection, random)

        return once

    def query_the_reader() -> None:
        projection = reader.projection
        check_pairs(projection, known)
        ask(projection, Random(3))
        assert reader.sequence >= projection.latest_sequence or reader.projection is not projection

    def refresh() -> None:
        before = reader.sequence
        assert reader.refresh() >= 0
        assert reader.sequence >= before

    until_done(
        [
            *[lambda pair=pair, seed=seed: swap(pair, seed) for seed, pair in enumerate(pairs)],  # type: ignore[misc]
            any_kind,
            short_lives,
            maintain,
        ],
        [look, query(1), query(2), refresh, query_the_reader],
    )
    follower()
    state = state_of(queue)
    assert follower.model.to_json() == state
    queue.close()
    assert reader.refresh() >= 0
    assert projection_to_json(reader.projection) == state
    reader.close()
    verify(directory)
    with aq.open(directory) as queue:
        assert queue.recovery.is_clean
        assert state_of(queue) == state


def test_what_threads_submit_with_the_same_texts_is_not_mixed_up(
    directory: Path, hasty: None
) -> None:
    """The first use of a text outside ASCII makes its UTF-8 form, and threads wait for it."""
    threads = 4
    texts = [f"schlüssel-{number}-" + "ä" * 500 for number in range(ROUNDS)]
    tasks: list[list[aq.TaskSpec]] = [[] for _ in range(threads)]
    with aq.open(directory, durability="deferred") as queue:

        def submit(number: int) -> None:
            for text in texts:
                task = aq.TaskSpec(
                    payload=b"%d" % number,
                    constraints=aq.TaskConstraints(concurrency_key=text),
                    metadata=aq.TaskMetadata(tags=(text, str(number)), description=text),
                )
                tasks[number].append(task)
                queue.submit(aq.TaskCreateCommand(None, task, number))

        run_together([lambda number=number: submit(number) for number in range(threads)])  # type: ignore[misc]
        state = state_of(queue)
        for number, submitted in enumerate(tasks):
            for task in submitted:
                record = queue.projection.task(task.id)
                assert record is not None
                assert record.spec == task
                assert record.created_at == number
        assert queue.sequence == threads * ROUNDS
    assert replayed(directory).to_json() == state


def refuse(queue: aq.ActionQueue) -> None:
    with pytest.raises(ValidationError):
        queue.submit_many([task_create(), REFUSED])


CALLS: dict[str, Callable[[aq.ActionQueue], Any]] = {
    "submit": lambda queue: queue.submit(task_create()).sequence,
    "submit, immediate": lambda queue: queue.submit(task_create(), "immediate").sequence,
    "submit_many": lambda queue: queue.submit_many([task_create(), task_create()]),
    "a refused batch": refuse,
    "columns": lambda queue: queue.submit_transitions(
        aq.columns.id_array([aq.RunId()]), "ready", "leased", 1, on_refusal="report"
    ),
    "sync": lambda queue: queue.sync(),
    "stats": lambda queue: queue.stats(),
    "snapshot": lambda queue: queue.snapshot(),
    "compact": lambda queue: queue.compact(retention_seconds=0),
    "follow": lambda queue: list(queue.follow(timeout=0)),
    "with": lambda queue: queue.__enter__(),
}
"""Calls that a closed queue refuses."""


@pytest.mark.parametrize("attempt", range(5))
def test_close_beside_every_call(directory: Path, hasty: None, attempt: int) -> None:
    queue = aq.open(directory, **SMALL, durability="deferred")
    begun = threading.Semaphore(0)
    acknowledged: list[int] = []

    def call(work: Callable[[aq.ActionQueue], Any]) -> None:
        try:
            while True:
                result = work(queue)
                if isinstance(result, int) and result:
                    acknowledged.append(result)
                begun.release()
        except (ClosedError, StoppedError):
            begun.release(100)

    def query() -> None:
        while not queue.is_closed:
            ask(queue.projection, Random(attempt))
            assert queue.durable_sequence <= queue.sequence
            assert "open" in repr(queue) or "closed" in repr(queue)

    def close() -> None:
        for _ in range(10):
            begun.acquire()
        queue.close()
        queue.close()
        assert queue.is_closed

    run_together(
        [lambda work=work: call(work) for work in CALLS.values()] + [query, close, close]  # type: ignore[misc]
    )
    state, sequence = state_of(queue), queue.sequence
    for work in CALLS.values():
        with pytest.raises(ClosedError):
            work(queue)
    with aq.open(directory) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == sequence
        assert state_of(queue) == state


def test_threads_never_get_the_same_identifier(hasty: None) -> None:
    made: list[list[aq.TaskId]] = [[] for _ in range(8)]

    def make(mine: list[aq.TaskId]) -> None:
        for _ in range(2000):
            mine.append(aq.TaskId())
            assert aq.TaskId(str(mine[-1])) == mine[-1]

    run_together([lambda mine=mine: make(mine) for mine in made])  # type: ignore[misc]
    assert len({identifier for mine in made for identifier in mine}) == 8 * 2000


def test_events_are_encoded_and_decoded_in_many_threads(directory: Path, hasty: None) -> None:
    with aq.open(directory, durability="deferred") as queue:
        model, source = Model(), CommandSource(Random(1))
        while model.latest_sequence < 150:
            command = source.next(model)
            with suppress(ValidationError):
                model.apply_event(event_of(command, validate(command, model)))
                queue.submit(command)
        queue.sync()
        events = list(queue.follow(after=0, timeout=0))
    payloads = [encode_event(event) for event in events]

    def work() -> None:
        assert [encode_event(event) for event in events] == payloads
        decoded = [
            decode_event(event.kind, event.sequence, payload)
            for event, payload in zip(events, payloads, strict=True)
        ]
        assert decoded == events
        projection = aq.Projection()
        for event in decoded:
            projection.apply_event(event)
        assert projection_to_json(projection) == model.to_json()

    run_together([work] * 6)


def test_a_projection_that_many_threads_share_takes_each_event_once(hasty: None) -> None:
    projection = aq.Projection()
    events = [
        event_of(task_create(), sequence)  # a task of its own each
        for sequence in range(1, 400)
    ]
    taken: list[int] = []

    def apply() -> None:
        for event in events:
            with suppress(aq.RefusedEventError):
                projection.apply_event(event)
                taken.append(event.sequence)

    def query() -> None:
        count = projection.counts().tasks
        assert count <= len(projection.task_ids())

    until_done([apply] * 4, [query, query])
    assert len(taken) == len(set(taken)) == projection.counts().tasks
    assert projection.latest_sequence == 399


def test_a_follower_that_two_threads_use_refuses_one(directory: Path, hasty: None) -> None:
    """It gives each event once, and never a half-read one."""
    with aq.open(directory, durability="deferred") as queue:
        queue.submit_many([task_create(b"x" * 100) for _ in range(3000)])
        queue.sync()
        follower = LogFollower(str(directory), 0)
        seen: list[int] = []

        def read() -> None:
            while follower.sequence < 3000:
                try:
                    record = follower.next_record()
                except RuntimeError as error:
                    assert "one thread" in str(error)
                    continue
                if record is not None:
                    seen.append(record[2])
                    assert decode_event(record[3], record[2], record[7]).sequence == record[2]

        run_together([read] * 4)
        assert sorted(seen) == list(range(1, 3001))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_children_of_busy_threads_ask_and_make_identifiers(directory: Path) -> None:
    """A child waits for no thread that it does not have."""
    queue = aq.open(directory, **SMALL, durability="deferred")
    pair = Pair(queue)
    known = [frozenset((pair.ready, pair.leased))]
    queue.sync()
    reader = aq.open(directory, readonly=True)
    private = aq.Projection()
    private.apply_event(event_of(task_create(), 1))
    check_pairs(queue.projection, known)  # imports NumPy: a child waits for an import under way

    def child() -> str:
        check_pairs(queue.projection, known)
        check_pairs(reader.projection, known)
        ask(private, Random(1))
        with pytest.raises(ForkedError):
            queue.submit(task_create())
        queue.close()
        return str(aq.TaskId())

    identifiers: list[str] = []
    identifiers_made: deque[aq.TaskId] = deque(maxlen=1)

    def fork() -> None:
        for _ in range(25):
            identifiers.append(in_child(child))
            identifiers.append(str(aq.TaskId()))

    until_done(
        [fork],
        [
            pair.by_submit_many,
            lambda: check_pairs(queue.projection, known),
            lambda: check_pairs(reader.projection, known),
            lambda: ask(private, Random(2)),
            lambda: refuse(queue),
            lambda: identifiers_made.append(aq.TaskId()),
        ],
    )
    assert len(set(identifiers)) == 50
    state = state_of(queue)
    queue.close()
    assert replayed(directory).to_json() == state
