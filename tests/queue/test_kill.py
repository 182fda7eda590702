"""A queue whose process is killed at a random instant, again and again: acknowledged commands are
never lost.

The steps are made beforehand, so the child and the test know the same ones. The child says after
each step that it was acknowledged. It is ended by a timer of the kernel's, which strikes between
any two instructions, also in a system call.
"""

from __future__ import annotations

import os
import signal
import struct
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import actionqueue as aq
from tests.support.model import Model
from tests.support.plans import DURABILITIES, Plan
from tests.support.queues import (
    CHILD_SECONDS,
    in_memory,
    replayed,
    state_of,
    task_create,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def killed_child(work: Callable[[Callable[[int], None]], None]) -> list[int]:
    """Run the work in a forked child until it is killed; return the numbers that it
    acknowledged.
    """
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_SECONDS)
        try:
            work(lambda number: os.write(write_end, struct.pack("<Q", number)) and None)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        said = pipe.read()
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status), "the child failed, see its output"
    return [number for (number,) in struct.iter_unpack("<Q", said[: len(said) // 8 * 8])]


def strike_after(microseconds: int) -> None:
    """Let the kernel end this process, without a word to it, after that time."""
    signal.setitimer(signal.ITIMER_REAL, max(microseconds, 1) / 1e6)


rounds = st.lists(
    st.fixed_dictionaries(
        {
            "seed": st.integers(0, 2**32),
            "length": st.integers(1, 40),
            # The step before which the timer is set; -1 is before the queue is opened.
            "strikes_at": st.integers(-1, 40),
            "microseconds": st.integers(1, 800),
            "closes": st.booleans(),
            "sector_size": st.sampled_from([0, 512, 4096]),
            "ring_size": st.sampled_from([65536, 131072]),
        }
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(rounds=rounds)
def test_acknowledged_commands_survive_kills_at_random_instants(
    rounds: list[dict[str, int]],
) -> None:
    with in_memory() as path:
        survived = Model()
        for one in rounds:
            survived = one_round(path, survived, one)
        assert replayed(path) == survived


def one_round(path: Path, before: Model, one: dict[str, int]) -> Model:
    plan = Plan(Random(one["seed"]), before, one["length"])
    options = {
        "segment_size": 65536,
        "ring_size": one["ring_size"],
        "sector_size": one["sector_size"],
    }

    def live(acknowledge: Callable[[int], None]) -> None:
        strikes_at = (
            one["strikes_at"]
            if one["strikes_at"] < 0
            else one["strikes_at"] % (len(plan.steps) + 1)
        )
        if strikes_at == -1:
            strike_after(one["microseconds"] * 5)
        queue = aq.open(path, **options)
        if strikes_at == 0:
            strike_after(one["microseconds"])
        for index, sequence in enumerate(plan.run(queue, 0), 1):
            acknowledge(sequence)
            if index == strikes_at:
                strike_after(one["microseconds"])
        if one["closes"]:
            queue.close()
        os.kill(os.getpid(), signal.SIGKILL)

    acknowledged = killed_child(live)
    with aq.open(path, **options) as queue:
        sequence = queue.sequence
        assert sequence in plan.states, "a batch was torn"
        assert sequence >= max(acknowledged, default=before.latest_sequence)
        assert state_of(queue) == plan.states[sequence]
        assert queue.recovery.last_sequence == queue.durable_sequence == sequence
        # What was dropped never comes back: the rest goes on where the log ends.
        after = list(plan.ends)
        done = after.index(sequence)
        assert list(plan.run(queue, done)) == after[done + 1 :]
    return plan.ends[after[-1]]


@pytest.mark.parametrize("seed", range(25))
def test_acknowledged_commands_of_many_threads_survive_a_kill(seed: int) -> None:
    random = Random(seed)
    with in_memory() as path:

        def live(acknowledge: Callable[[int], None]) -> None:
            queue = aq.open(path, segment_size=65536, ring_size=65536)
            threads = [
                threading.Thread(target=submit_for_ever, args=(queue, number, acknowledge))
                for number in range(6)
            ]
            strike_after(random.randrange(3000, 60_000))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        acknowledged = killed_child(live)
        model = replayed(path)
        assert len(set(acknowledged)) == len(acknowledged)
        assert max(acknowledged, default=0) <= model.latest_sequence
        with aq.open(path) as queue:
            assert state_of(queue) == model.to_json()
            # Batches have three commands, and their tasks say so.
            in_batches = [
                task
                for task in model.tasks.values()
                if task["spec"].payload.content_type == "batch"
            ]
            assert len(in_batches) % 3 == 0
            assert queue.submit(task_create()).sequence == model.latest_sequence + 1


def submit_for_ever(queue: aq.ActionQueue, number: int, acknowledge: Callable[[int], None]) -> None:
    random = Random(number)
    while True:
        payload = random.randbytes(random.choice((10, 10, 10, 3000, 70_000)))
        durability = random.choice(DURABILITIES)
        if random.random() < 0.3:
            spec: Callable[[], Any] = lambda: aq.TaskSpec(payload=aq.TaskPayload(b"", "batch"))  # noqa: E731
            acknowledge(
                queue.submit_many(
                    [aq.TaskCreateCommand(None, spec(), 1) for _ in range(3)], durability
                )[-1].sequence
            )
        else:
            acknowledge(queue.submit(task_create(payload), durability).sequence)
