"""The recorded streams and random ones through an open queue, and what is left of them on disk."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.errors import ValidationError
from actionqueue.inspection import read_projection
from actionqueue.json.commands import command_from_json
from actionqueue.json.projection import projection_to_json
from actionqueue.model.base import event_of, validate
from tests.support.command_source import CommandSource
from tests.support.model import Model
from tests.support.queues import SMALL, copy_of, replayed, state_of
from tests.support.vectors import STREAMS, projection_of, stream


def accepted(name: str) -> list[aq.MutationCommand]:
    return [command_from_json(line["command"]) for line in stream(name) if line["verdict"]["ok"]]


def assert_kept(path: Path, state: dict[str, Any]) -> None:
    """Whoever reads the log finds the same: the model, a reader, and the next writer."""
    assert replayed(path).to_json() == state
    assert projection_to_json(read_projection(path)) == state
    with aq.open(path, **SMALL) as queue:
        assert state_of(queue) == state


@pytest.mark.parametrize("sector_size", [0, 4096])
@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_survives_closing_killing_and_reopening(
    tmp_path: Path, name: str, sector_size: int
) -> None:
    path, commands = tmp_path / "queue-0", iter(accepted(name))
    random = Random(name)
    for number in range(1, 12):
        queue = aq.open(path, **SMALL, sector_size=sector_size, durability="deferred")
        for command in islice(commands, random.randrange(400)):
            queue.submit(command)
        if random.random() < 0.3:
            queue.sync()
        if random.random() < 0.5:
            killed = copy_of(path, tmp_path / f"queue-{number}")
            queue.close()
            path = killed
        else:
            queue.close()
    with aq.open(path, **SMALL) as queue:
        for command in commands:
            queue.submit(command, "deferred")
    assert_kept(path, projection_of(name))


def chunks(
    commands: list[aq.MutationCommand], random: Random
) -> Iterator[list[aq.MutationCommand]]:
    remaining = iter(commands)
    while chunk := list(islice(remaining, random.choice((1, 2, 7, 50, 700)))):
        yield chunk


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_batches(tmp_path: Path, name: str) -> None:
    commands, expected = accepted(name), projection_of(name)
    random, done = Random(name), 0
    with aq.open(tmp_path, **SMALL, durability="deferred") as queue:
        for chunk in chunks(commands, random):
            wrong = aq.EnginePauseCommand(done + len(chunk) + 2, 1)
            with pytest.raises(ValidationError) as refusal:
                queue.submit_many([*chunk, wrong])
            assert refusal.value.batch_index == len(chunk)
            assert queue.sequence == done
            done += len(queue.submit_many(chunk))
            assert queue.sequence == done
        assert state_of(queue) == expected
    assert_kept(tmp_path, expected)


@pytest.mark.parametrize("seed", range(4))
def test_random_streams(tmp_path: Path, seed: int) -> None:
    """The queue and the model give the same verdict on every command, and what is left on disk says
    the same.
    """
    model, source = Model(), CommandSource(Random(seed))
    with aq.open(tmp_path, **SMALL, durability="deferred") as queue:
        for _ in range(2500):
            command = source.next(model)
            expected: object
            try:
                sequence = expected = validate(command, model)
                model.apply_event(event_of(command, sequence))
            except ValidationError as error:
                expected = error
            verdict: object
            try:
                verdict = queue.submit(command).sequence
            except ValidationError as error:
                verdict = error
            assert verdict == expected
        assert state_of(queue) == model.to_json()
    assert_kept(tmp_path, model.to_json())
