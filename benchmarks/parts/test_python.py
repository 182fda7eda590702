"""What the parts cost that Python calls. A round is many calls; its figures are those of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import actionqueue as aq
from _wal_native.events import decode_event, encode_event
from actionqueue.bench.workload import MOMENT, PAYLOAD
from actionqueue.model.base import applied_of, event_of, validate

pytestmark = pytest.mark.benchmark(group="called from Python")

RUN_STATE_CHANGED = 3

RUN = aq.RunId()
TASK = aq.TaskId()
ATTEMPT = aq.AttemptId()
TRANSITION = aq.RunStateTransitionCommand(
    None, RUN, aq.RunState.SCHEDULED, aq.RunState.READY, MOMENT
)
CREATION = aq.TaskCreateCommand(None, aq.TaskSpec(id=TASK, payload=PAYLOAD), MOMENT)
TRANSITION_EVENT = event_of(TRANSITION, 1)
CREATION_EVENT = event_of(CREATION, 1)
ENCODED = encode_event(TRANSITION_EVENT)
TEXT = str(RUN)
PARTS: dict[str, Callable[[], Any]] = {
    "new id": aq.RunId,
    "id from text": lambda: aq.RunId(TEXT),
    "id as text": lambda: str(RUN),
    "hash of an id": lambda: hash(RUN),
    "build a task": lambda: aq.TaskSpec(payload=PAYLOAD),
    "build a run": lambda: aq.RunInstance.scheduled(TASK, scheduled_at=MOMENT, created_at=MOMENT),
    "build a transition": lambda: aq.RunStateTransitionCommand(
        None, RUN, aq.RunState.SCHEDULED, aq.RunState.READY, MOMENT
    ),
    "build an attempt's end": lambda: aq.AttemptFinishCommand(
        None, RUN, ATTEMPT, aq.AttemptOutcome.success(b"done"), MOMENT
    ),
    "event of a command": lambda: event_of(TRANSITION, 1),
    "what a command changed": lambda: applied_of(TRANSITION),
    "encode a transition": lambda: encode_event(TRANSITION_EVENT),
    "encode a task": lambda: encode_event(CREATION_EVENT),
    "decode a transition": lambda: decode_event(RUN_STATE_CHANGED, 1, ENCODED),
}


@pytest.mark.parametrize("name", PARTS)
def test_part(benchmark: BenchmarkFixture, name: str) -> None:
    benchmark.pedantic(PARTS[name], rounds=200, iterations=1000, warmup_rounds=5)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[aq.ActionQueue]:
    with aq.open(tmp_path / "queue", durability="deferred", compaction=None) as opened:
        opened.submit(CREATION)
        opened.submit(
            aq.RunCreateCommand(
                None, aq.RunInstance.scheduled(TASK, scheduled_at=MOMENT, created_at=MOMENT, id=RUN)
            )
        )
        yield opened


OWNER = "worker-0001"
READY, LEASED, RUNNING, STARTED = (aq.RunId() for _ in range(4))
"""A run in each of these states; the last is running too, with an active attempt."""
VALID: dict[str, aq.MutationCommand] = {
    "a task": aq.TaskCreateCommand(None, aq.TaskSpec(payload=PAYLOAD), MOMENT),
    "a run": aq.RunCreateCommand(
        None, aq.RunInstance.scheduled(TASK, scheduled_at=MOMENT, created_at=MOMENT)
    ),
    "a transition": TRANSITION,
    "a lease": aq.LeaseAcquireCommand(None, READY, OWNER, MOMENT + 30, MOMENT),
    "a heartbeat": aq.LeaseHeartbeatCommand(None, LEASED, OWNER, MOMENT + 60, MOMENT),
    "an attempt's start": aq.AttemptStartCommand(None, RUNNING, aq.AttemptId(), MOMENT),
    "an attempt's end": aq.AttemptFinishCommand(
        None, STARTED, ATTEMPT, aq.AttemptOutcome.success(b"done"), MOMENT
    ),
    "a pause": aq.EnginePauseCommand(None, MOMENT),
}


def bring(queue: aq.ActionQueue, run_id: aq.RunId, until: str) -> None:
    """Bring a new run into a state."""
    queue.submit(
        aq.RunCreateCommand(
            None, aq.RunInstance.scheduled(TASK, scheduled_at=MOMENT, created_at=MOMENT, id=run_id)
        )
    )
    states = ["scheduled", "ready", "leased", "running"]
    for previous, new in pairwise(states[: states.index(until) + 1]):
        if new == "leased":
            queue.submit(aq.LeaseAcquireCommand(None, run_id, OWNER, MOMENT + 30, MOMENT))
        queue.submit(aq.RunStateTransitionCommand(None, run_id, previous, new, MOMENT))


@pytest.mark.parametrize("name", VALID)
def test_validate(benchmark: BenchmarkFixture, queue: aq.ActionQueue, name: str) -> None:
    for run_id, state in (
        (READY, "ready"),
        (LEASED, "leased"),
        (RUNNING, "running"),
        (STARTED, "running"),
    ):
        bring(queue, run_id, state)
    queue.submit(aq.AttemptStartCommand(None, STARTED, ATTEMPT, MOMENT))
    command, next_one = VALID[name], queue.sequence + 1
    assert (
        benchmark.pedantic(
            validate, (command, queue.projection), rounds=200, iterations=1000, warmup_rounds=5
        )
        == next_one
    )


def test_ask_for_a_runs_state(benchmark: BenchmarkFixture, queue: aq.ActionQueue) -> None:
    ask = queue.projection.run_state
    assert (
        benchmark.pedantic(ask, (RUN,), rounds=200, iterations=1000, warmup_rounds=5)
        is aq.RunState.SCHEDULED
    )


def test_submit_deferred(benchmark: BenchmarkFixture, queue: aq.ActionQueue) -> None:
    commands = aq.EnginePauseCommand(None, MOMENT), aq.EngineResumeCommand(None, MOMENT)
    submit = queue.submit

    def pause_and_resume() -> None:
        for command in commands:
            submit(command)

    benchmark.pedantic(pause_and_resume, rounds=200, iterations=500, warmup_rounds=5)
    benchmark.extra_info["note"] = "two commands, which leave nothing behind in memory"


def test_submit_and_look_at_the_outcome(benchmark: BenchmarkFixture, queue: aq.ActionQueue) -> None:
    commands = aq.EnginePauseCommand(None, MOMENT), aq.EngineResumeCommand(None, MOMENT)
    submit = queue.submit

    def pause_and_resume() -> None:
        for command in commands:
            assert submit(command).applied is not None

    benchmark.pedantic(pause_and_resume, rounds=200, iterations=500, warmup_rounds=5)
