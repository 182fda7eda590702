"""What the parts that are called from Python cost. A round is many calls, and its figures are those of one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import actionqueue as aq
from _wal_native.codec import decode_event, encode_event
from actionqueue.bench.workload import MOMENT, PAYLOAD
from actionqueue.mapping import applied_of, event_of
from actionqueue.validation import validate

pytestmark = pytest.mark.benchmark(group="called from Python")

RUN_STATE_CHANGED = 3

RUN = aq.RunId()
TASK = aq.TaskId()
ATTEMPT = aq.AttemptId()
TRANSITION = aq.RunStateTransitionCommand(None, RUN, aq.RunState.SCHEDULED, aq.RunState.READY, MOMENT)
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
    "build a transition": lambda: aq.RunStateTransitionCommand(None, RUN, aq.RunState.SCHEDULED, aq.RunState.READY, MOMENT),
    "build an attempt's end": lambda: aq.AttemptFinishCommand(None, RUN, ATTEMPT, aq.AttemptOutcome.success(b"done"), MOMENT),
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
        opened.submit(aq.RunCreateCommand(None, aq.RunInstance.scheduled(TASK, scheduled_at=MOMENT, created_at=MOMENT, id=RUN)))
        yield opened


def test_validate_a_transition(benchmark: BenchmarkFixture, queue: aq.ActionQueue) -> None:
    assert benchmark.pedantic(validate, (TRANSITION, queue.projection), rounds=200, iterations=1000, warmup_rounds=5) == 3


def test_ask_for_a_runs_state(benchmark: BenchmarkFixture, queue: aq.ActionQueue) -> None:
    ask = queue.projection.run_state
    assert benchmark.pedantic(ask, (RUN,), rounds=200, iterations=1000, warmup_rounds=5) is aq.RunState.SCHEDULED


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
