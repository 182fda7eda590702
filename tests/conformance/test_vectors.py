"""The recorded streams: the same verdict on every line and the same final projection as the
original's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from actionqueue import MutationCommand
from actionqueue.errors import ValidationError
from actionqueue.json.commands import command_from_json, command_to_json
from actionqueue.json.verdict import accepted
from tests.support.vectors import STREAMS, projection_of, stream

if TYPE_CHECKING:
    from tests.support.lanes import Lane


def verdict(lane: Lane, command: MutationCommand) -> dict[str, Any]:
    """Submit the command and say what came of it, in the vectors' form."""
    try:
        outcome = lane.submit(command)
    except ValidationError as error:
        return {
            "ok": False,
            "stage": "validation",
            "error": type(error).__name__,
            "latest": lane.projection.latest_sequence,
        }
    return accepted(outcome, lane.projection.latest_sequence)


@pytest.mark.parametrize("name", STREAMS)
def test_every_verdict_and_the_final_projection(lane: Lane, name: str) -> None:
    for number, line in enumerate(stream(name), 1):
        assert verdict(lane, command_from_json(line["command"])) == line["verdict"], (
            f"{name}, line {number}"
        )
    assert lane.to_json() == projection_of(name)


@pytest.mark.parametrize("name", STREAMS)
def test_sequences_left_to_the_authority_lead_to_the_same_projection(lane: Lane, name: str) -> None:
    for line in stream(name):
        if line["verdict"]["ok"]:
            command = command_from_json(line["command"] | {"sequence": None})
            assert lane.submit(command).sequence == line["verdict"]["sequence"]
    assert lane.to_json() == projection_of(name)


@pytest.mark.parametrize("name", STREAMS)
def test_every_command_survives_its_json_form(name: str) -> None:
    for line in stream(name):
        command = command_from_json(line["command"])
        assert command_from_json(json.loads(json.dumps(command_to_json(command)))) == command
