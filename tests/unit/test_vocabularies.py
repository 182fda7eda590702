"""Enumerations: what their constructors take, and what they say of anything else, whatever it
is.
"""

from __future__ import annotations

import copy
import enum
import inspect
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionqueue as aq
from _wal_native import rules
from actionqueue.json.commands import command_from_json

VOCABULARIES: list[Any] = [
    cls for _, cls in inspect.getmembers(aq, inspect.isclass) if issubclass(cls, enum.Enum)
]
every_vocabulary = pytest.mark.parametrize("vocabulary", VOCABULARIES, ids=lambda cls: cls.__name__)


class Odd:
    """A value without a text."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


def test_there_are_some() -> None:
    assert {aq.RunState, aq.DurabilityPolicy, aq.BudgetDimension, aq.EventKind} <= set(VOCABULARIES)


@every_vocabulary
def test_members_are_found_by_value_and_are_themselves(vocabulary: Any) -> None:
    for member in vocabulary:
        assert vocabulary(member) is vocabulary(member.value) is vocabulary[member.name] is member
        assert pickle.loads(pickle.dumps(member)) is copy.deepcopy(member) is member


class Equal(str):
    """A text of a class that compares its values, and so has no hash."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]


class EqualNumber(int):
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return int.__eq__(self, other)

    __hash__ = None  # type: ignore[assignment]


@every_vocabulary
def test_a_value_without_a_hash_is_looked_up_by_what_it_says(vocabulary: Any) -> None:
    cls: Any = Equal if issubclass(vocabulary, str) else EqualNumber
    for member in vocabulary:
        assert vocabulary(cls(member.value)) is member
    with pytest.raises(aq.InvalidFieldError, match="must be one of"):
        vocabulary(Equal("none"))


def test_calls_take_texts_without_a_hash(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue", durability=Equal("deferred")) as queue:  # type: ignore[arg-type]
        assert (
            queue.submit(aq.EnginePauseCommand(None, 1), durability=Equal("immediate")).sequence
            == queue.durable_sequence
            == 1
        )
        assert queue.projection.run_id_array(Equal("ready")).shape == (0,)
        nothing = np.zeros((0, 16), np.uint8)
        for refused in ("raise", "report"):
            assert (
                queue.submit_lease_heartbeats(
                    nothing, Equal("me"), 1, 1, on_refusal=Equal(refused)
                ).count
                == 0
            )
        with pytest.raises(aq.InvalidFieldError, match=r"^submit\.on_refusal: "):
            queue.submit_lease_heartbeats(nothing, "me", 1, 1, on_refusal=Equal("none"))
    with pytest.raises(aq.InvalidFieldError, match=r"^command\.type: "):
        command_from_json({"type": Equal("none")})
    assert (
        type(command_from_json({"type": Equal("engine_pause"), "sequence": 1, "timestamp": 1}))
        is aq.EnginePauseCommand
    )


@every_vocabulary
def test_what_is_no_member_is_named_whatever_it_is(vocabulary: Any) -> None:
    is_text = issubclass(vocabulary, str)
    others: list[tuple[Any, bool]] = [(text, is_text) for text in ("none", "", "x" * 10**6)]
    others += [(number, not is_text) for number in (255, -1, 10**5000, -(10**5000))]
    others += [(value, False) for value in (None, True, [10**5000], b"ready", Odd())]
    text = rf"^{vocabulary.__name__}\.[a-z_]+: must be one of .*, got "
    for value, fits_type in others:
        with pytest.raises(aq.InvalidFieldError, match=text) as refusal:
            vocabulary(value)
        assert isinstance(refusal.value, TypeError) is not fits_type
        assert refusal.value.value is value
        assert len(str(refusal.value)) < 500
        assert str(list(vocabulary)[-1]) in str(refusal.value)


NO_DURABILITIES = [10**5000, Odd(), "fast", 5, True, []]


@pytest.mark.parametrize(
    "value", NO_DURABILITIES, ids=["number", "odd", "fast", "5", "True", "list"]
)
def test_a_durability_that_is_none_is_named_by_every_call(value: Any, tmp_path: Path) -> None:
    refused = pytest.raises(
        aq.InvalidFieldError, match="durability: must be one of immediate, deferred, got "
    )
    with refused:
        aq.open(tmp_path / "none", durability=value)
    assert not (tmp_path / "none").exists()
    pause = aq.EnginePauseCommand(None, 7)
    with aq.open(tmp_path / "queue") as queue:
        for call in (
            lambda: queue.submit(pause, value),
            lambda: queue.submit_many([pause], value),
            lambda: queue.batch(value),
            lambda: queue.submit_transitions(
                np.zeros(0, "V16"), "ready", "leased", 1, durability=value
            ),
        ):
            with refused:
                call()
        assert queue.sequence == 0


@pytest.mark.parametrize("value", [10**5000, Odd(), "ready"], ids=["number", "odd", "text"])
def test_a_rule_is_asked_with_a_state(value: Any) -> None:
    with pytest.raises(TypeError, match="a run's state must be a RunState, not "):
        rules.state_is_terminal(value)


@pytest.mark.parametrize("field", aq.CompactionPolicy.__struct_fields__)
def test_no_policy_takes_a_number_that_it_cannot_count_with(field: str) -> None:
    """Seconds that no float holds failed the opening that asked for them, or the thread behind
    it.
    """
    assert getattr(aq.CompactionPolicy(**{field: 2**64 - 1}), field) == 2**64 - 1
    text = (
        rf"^CompactionPolicy\.{field}: must be a whole number from 0 to {2**64 - 1}, or None, got "
    )
    for value in (2**64, 10**400, 10**5000):
        with pytest.raises(aq.InvalidFieldError, match=text):
            aq.CompactionPolicy(**{field: value})
