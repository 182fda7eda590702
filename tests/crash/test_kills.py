"""A writer with many threads, killed at random instants on a real file system, in every phase of
its life.

The child says each acknowledgement after submit returned; the parent keeps them all, and finds each
command again at its sequence.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

import actionqueue as aq
from actionqueue import RunCreated
from actionqueue.inspection import iterate_records, read_projection
from actionqueue.json.projection import projection_to_json
from tests.support.crash import ledger
from tests.support.crash.children import Child, Line
from tests.support.model import Model
from tests.support.queues import SMALL, in_memory, state_of

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

THREADS = 6
KILLS_OF_ONE_QUEUE = 5
PAYLOAD_SIZES = (10, 10, 10, 3000, 3000, 20_000, 70_000)  # the last exceeds the ring


class Acknowledgement(NamedTuple):
    """What a thread was told: the last sequence, how many commands that were, and the mark that all
    of them carry.
    """

    sequence: int
    count: int
    mark: int


class Writer:
    """One thread of a scheduler: takes runs through their lives. A call's commands carry its mark
    as time.
    """

    def __init__(self, queue: aq.ActionQueue, line: Line, round_number: int, number: int) -> None:
        self.queue, self.line = queue, line
        self.random = Random(1000 * round_number + number)
        self.calls = 0
        self.mark = self.first_mark = (round_number * THREADS + number) << 24

    def live(self) -> None:
        while True:
            for commands in self.one_life():
                self.submit(commands)
            if self.random.random() < 0.1:
                self.random.choice((self.queue.sync, self.queue.snapshot))()

    def submit(self, commands: list[aq.MutationCommand]) -> None:
        durability = self.random.choice(("immediate", "deferred", "deferred"))
        if len(commands) == 1:
            sequence = self.queue.submit(commands[0], durability).sequence
        else:
            sequence = self.queue.submit_many(commands, durability)[-1].sequence
        self.line.say(sequence, len(commands), self.mark)

    def one_life(self) -> Iterator[list[aq.MutationCommand]]:
        attempt, owner = aq.AttemptId(), f"worker-{self.mark}"
        task = aq.TaskSpec(payload=self.random.randbytes(self.random.choice(PAYLOAD_SIZES)))
        yield [aq.TaskCreateCommand(None, task, self.next_mark())]
        mark = self.next_mark(3)
        run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=mark)
        yield [
            aq.RunCreateCommand(None, run),
            aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", mark),
            aq.LeaseAcquireCommand(None, run.id, owner, 99, mark),
        ]
        mark = self.next_mark(3)
        yield [
            aq.RunStateTransitionCommand(None, run.id, "ready", "leased", mark),
            aq.RunStateTransitionCommand(None, run.id, "leased", "running", mark),
            aq.AttemptStartCommand(None, run.id, attempt, mark),
        ]
        for expiry in (100, 101):
            yield [aq.LeaseHeartbeatCommand(None, run.id, owner, expiry, self.next_mark())]
        yield [
            aq.AttemptFinishCommand(
                None, run.id, attempt, aq.AttemptOutcome.success(b"done"), self.next_mark()
            )
        ]
        yield [aq.LeaseReleaseCommand(None, run.id, owner, 101, self.next_mark())]
        yield [aq.RunStateTransitionCommand(None, run.id, "running", "completed", self.next_mark())]

    def next_mark(self, count: int = 1) -> int:
        """Return the mark of a new call with so many commands. A mark says how many carry it."""
        self.calls += 1
        self.mark = self.first_mark + 4 * self.calls + count
        return self.mark


def life_of(path: Path, round_number: int, line: Line) -> None:
    with aq.open(path, compaction=None, **SMALL) as queue:
        line.say("opened")
        writers = [Writer(queue, line, round_number, number) for number in range(THREADS)]
        threads = [threading.Thread(target=writer.live) for writer in writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def kill_once(path: Path, round_number: int, random: Random) -> list[Acknowledgement]:
    """Let the writer live for a random time, and return what it was told before it was killed."""
    child = Child(lambda line: life_of(path, round_number, line))
    if random.random() < 0.8:
        child.expect("opened")  # else the recovery, or the creation, may be what is killed
        time.sleep(random.uniform(0, 0.2))
    else:
        time.sleep(random.uniform(0, 0.02))
    child.kill()
    said = child.end()
    assert child.was_killed
    return [Acknowledgement(*message) for message in said if message != ("opened",)]


def found_in(path: Path) -> tuple[Model, dict[int, int], Counter[int]]:
    """Return the state that the whole log adds up to, the mark at each sequence, and how often each
    mark was found.
    """
    model, marks = Model(), {}
    with in_memory() as made:
        records = list(
            iterate_records(
                shutil.copytree(path, made / "log", ignore=shutil.ignore_patterns("snapshots"))
            )
        )
    for record in records:
        if record.is_event:
            event = record.event()
            assert event.sequence == model.latest_sequence + 1
            model.apply_event(event)
            marks[event.sequence] = (
                event.run_instance.created_at if isinstance(event, RunCreated) else event.timestamp
            )
    return model, marks, Counter(marks.values())


def check_found(path: Path, told: list[Acknowledgement]) -> None:
    """Everything that was acknowledged is where it was said to be, once; and three ways to the
    projection agree.
    """
    model, marks, counts = found_in(path)
    for sequence, count, mark in told:
        assert counts[mark] == count
        assert all(marks.get(each) == mark for each in range(sequence - count + 1, sequence + 1))
    assert all(counts[mark] == mark % 4 for mark in counts), "a batch was torn, or is there twice"
    state = projection_to_json(read_projection(path))
    assert state == model.to_json()
    with aq.open(path, compaction=None, **SMALL) as queue:
        assert queue.sequence == model.latest_sequence
        assert state_of(queue) == state


def test_a_loaded_writer_that_is_killed_at_random_instants(tmp_path: Path, long_form: bool) -> None:
    random = Random(11)
    kills, acknowledged, rotations, snapshots = 520 if long_form else 10, 0, 0, 0
    told: list[Acknowledgement] = []
    path = tmp_path / "queue"
    number = 0
    # On a busy machine writers get little done before their kills. Then it takes more of them.
    while number < kills or not (
        acknowledged > 10 * kills and rotations > kills and snapshots > kills // 2
    ):
        if number % KILLS_OF_ONE_QUEUE == 0:
            shutil.rmtree(path, ignore_errors=True)
            told = []
        new = kill_once(path, number, random)
        told += new
        acknowledged += len(new)
        if told or (path / "ring").exists():
            check_found(path, told)
            snapshots += len(list(path.glob("snapshots/*.snap")))
            rotations += len(list((path / "wal").glob("*.log"))) - 1
        number += 1
    ledger.record(
        "SIGKILL between any two appends",
        number,
        note=f"{acknowledged} acknowledgements, {THREADS} threads",
    )
