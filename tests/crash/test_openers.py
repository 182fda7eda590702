"""Several openers at the same instant, processes and threads: exactly one of them gets the queue,
each time.
"""

from __future__ import annotations

import mmap
import os
import shutil
import threading
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.errors import LockedError
from tests.support.crash import ledger
from tests.support.crash.children import Child, Line
from tests.support.queues import SMALL, in_memory, replayed, task_create

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

OPENERS = 3
NEW_EVERY = 10
"""Races between two of them for a queue that does not exist yet."""


class Starter:
    """A number in shared memory that processes wait for without going to sleep, so that they start
    together.
    """

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)

    def start(self, number: int) -> None:
        self.memory[:4] = number.to_bytes(4, "little")

    def wait_for(self, number: int) -> None:
        while int.from_bytes(self.memory[:4], "little") < number:
            os.sched_yield()


def race(path: Path, starter: Starter, races: int, line: Line) -> None:
    """Take part in every race. Whoever wins submits one command, and closes when the parent has
    heard all.
    """
    for number in range(1, races + 1):
        starter.wait_for(number)
        try:
            queue = aq.open(path, compaction=None, **SMALL)
        except LockedError as error:
            line.say("locked", error.pid)
            line.wait()
            continue
        line.say("won", os.getpid(), queue.submit(task_create()).sequence)
        line.wait()
        queue.close()
        line.say("let go")


def test_races_of_processes(long_form: bool) -> None:
    races = 1000 if long_form else 150
    with in_memory() as made:
        path, starter = made / "queue", Starter()
        openers = [Child(lambda line: race(path, starter, races, line)) for _ in range(OPENERS)]
        winners: set[int] = set()
        sequence = 0
        for number in range(1, races + 1):
            if number % NEW_EVERY == 1:
                shutil.rmtree(path, ignore_errors=True)
                sequence = 0
            starter.start(number)
            said = [opener.next() for opener in openers]
            (winner,) = [
                index
                for index, message in enumerate(said)
                if message is not None and message[0] == "won"
            ]
            sequence += 1
            assert said[winner] == ("won", openers[winner].pid, sequence)
            for opener, message in zip(openers, said, strict=True):
                if opener is not openers[winner]:
                    assert message is not None
                    # Also where the holder has not written yet who it is: then the kernel is asked.
                    assert message == ("locked", openers[winner].pid)
                    opener.go()
            openers[winner].go()
            assert openers[winner].next() == ("let go",)
            winners.add(openers[winner].pid)
        for opener in openers:
            assert opener.end() == []
        assert len(winners) > 1
        assert replayed(path).latest_sequence == sequence
    ledger.record(
        "two openers: processes",
        races,
        note=f"{OPENERS} processes; the losers were told the winner's pid every time",
    )


def test_races_of_threads(long_form: bool) -> None:
    races = 1000 if long_form else 150
    with in_memory() as made:
        path = made / "queue"
        start, end = threading.Barrier(OPENERS + 1), threading.Barrier(OPENERS + 1)
        results: list[aq.ActionQueue | LockedError] = []

        def open_each_time() -> None:
            for _ in range(races):
                start.wait()
                try:
                    results.append(aq.open(path, compaction=None, **SMALL))
                except LockedError as error:
                    results.append(error)
                end.wait()

        threads = [threading.Thread(target=open_each_time) for _ in range(OPENERS)]
        for thread in threads:
            thread.start()
        sequence = 0
        for number in range(races):
            if number % NEW_EVERY == 0:
                shutil.rmtree(path, ignore_errors=True)
                sequence = 0
            start.wait()
            end.wait()
            (queue,) = [result for result in results if isinstance(result, aq.ActionQueue)]
            assert [type(result) for result in results if result is not queue] == [LockedError] * (
                OPENERS - 1
            )
            sequence += 1
            assert queue.submit(task_create()).sequence == sequence
            queue.close()
            results.clear()
        for thread in threads:
            thread.join()
    ledger.record("two openers: threads", races, note=f"{OPENERS} threads of one process")


def test_the_queue_goes_to_the_next_when_its_holder_is_killed(long_form: bool) -> None:
    """The kernel drops a dead process's lock: whoever waits for the queue gets it, with all that
    was acknowledged.
    """
    kills = 200 if long_form else 20

    def hold(path: Path, line: Line) -> None:
        while True:
            try:
                queue = aq.open(path, compaction=None, **SMALL)
            except LockedError:
                continue
            line.say("won", queue.sequence)
            while True:
                line.say("acknowledged", queue.submit(task_create(), "deferred").sequence)

    with in_memory() as made:
        path = made / "queue"
        holder = Child(lambda line: hold(path, line))
        holder.expect("won")
        for _ in range(kills):
            heir = Child(lambda line: hold(path, line))
            holder.expect("acknowledged")
            holder.kill()
            said = [message[1] for message in holder.end()]
            (found,) = heir.expect("won")
            assert found >= max(said, default=1)
            holder = heir
        holder.kill()
        holder.end()
        replayed(path)
    ledger.record(
        "two openers: one waits while the other is killed",
        kills,
        note="kills of the holder, while another waits",
    )
