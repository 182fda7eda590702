"""The forms that the command line prints, without the command line."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue import Event, TaskCreated
from actionqueue.json.commands import command_from_json, command_to_json, event_to_json
from actionqueue.json.lines import LINE_SIZE_MAX, InvalidLineError, submission_from_line
from actionqueue.json.verdict import accepted, refused
from tests.support.strategies import EVENTS

CAUSE = aq.LogWriteError("fdatasync", "log", 5)
TASK = aq.TaskId("1" * 32)


@pytest.mark.parametrize("strategy", EVENTS.values(), ids=[kind.__name__ for kind in EVENTS])
def test_every_kind_of_event_has_a_json_form_with_all_its_fields(
    strategy: st.SearchStrategy[Event],
) -> None:
    @given(strategy)
    def check(event: Event) -> None:
        form = event_to_json(event)
        assert json.loads(msgspec.json.encode(form)) == form
        assert list(form) == ["type", *event.__struct_fields__]
        assert form["type"] == event.kind.name.lower()
        for name in event.__struct_fields__:
            value = getattr(event, name)
            if value is None or isinstance(value, int):
                assert form[name] == value

    check()


@given(EVENTS[TaskCreated])
def test_a_task_can_be_created_again_from_its_event(event: TaskCreated) -> None:
    form = event_to_json(event)
    command = command_from_json(
        {"type": "task_create", "task_spec": form["task_spec"], "timestamp": form["timestamp"]}
    )
    assert command == aq.TaskCreateCommand(None, event.task_spec, event.timestamp)


def test_an_event_of_several_parts() -> None:
    attempt, run = aq.AttemptId("2" * 32), aq.RunId("3" * 32)
    event = aq.AttemptFinished(7, run, attempt, aq.AttemptResultKind.SUCCESS, None, b"\x00\xff", 9)
    assert event_to_json(event) == {
        "type": "attempt_finished",
        "sequence": 7,
        "run_id": str(run),
        "attempt_id": str(attempt),
        "result": "success",
        "error": None,
        "output": "00ff",
        "timestamp": 9,
    }


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (aq.UnknownTask(TASK), {"stage": "validation", "error": "UnknownTask"}),
        (aq.RecordTooLarge(2, 1), {"stage": "validation", "error": "RecordTooLarge"}),
        (aq.AppendError(CAUSE), {"stage": "append", "error": "LogWriteError"}),
        (aq.AppendError(MemoryError()), {"stage": "append", "error": "MemoryError"}),
        (
            aq.PartialDurabilityError(5, CAUSE),
            {"stage": "partial_durability", "sequence": 5, "error": "PartialDurabilityError"},
        ),
        (aq.ApplyError(5, CAUSE), {"stage": "apply", "sequence": 5, "error": "ApplyError"}),
        (
            aq.InvalidFieldError("Type", "field", 1, "reason"),
            {"stage": "input", "error": "InvalidFieldError"},
        ),
        (InvalidLineError("reason"), {"stage": "input", "error": "InvalidLineError"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_verdicts_on_what_was_not_accepted(
    error: aq.ActionQueueError, expected: dict[str, Any]
) -> None:
    assert refused(error, 4) == {"ok": False, **expected, "message": str(error), "latest": 4}


def test_a_verdict_on_what_was_accepted() -> None:
    outcome = aq.MutationOutcome(6, aq.AppliedTaskCancel(TASK))
    assert accepted(outcome, 6) == {
        "ok": True,
        "sequence": 6,
        "applied": "task_cancel",
        "latest": 6,
    }


@pytest.mark.parametrize("cls", aq.AppliedMutation.__subclasses__(), ids=lambda cls: cls.__name__)
def test_what_was_applied_in_the_form_that_implementations_share(
    cls: type[aq.AppliedMutation],
) -> None:
    """It has one word for the commands of actors and the platform, which in Python say what they
    changed.
    """
    outcome = aq.MutationOutcome(6, cls(*range(len(cls.__struct_fields__))))
    is_named = cls.name.split("_")[0] not in {"actor", "tenant", "role", "capability", "ledger"}
    assert accepted(outcome, 6)["applied"] == (cls.name if is_named else "no_op")


@given(st.text(st.characters(), max_size=20))
def test_every_verdict_can_be_encoded(text: str) -> None:
    verdict = refused(aq.InvalidFieldError("command", text, text, text), 0)
    assert json.loads(msgspec.json.encode(verdict)) == verdict


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_refused(line: bytes) -> None:
    with pytest.raises((InvalidLineError, aq.InvalidFieldError)):
        submission_from_line(line)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_a_command_or_refused(value: Any) -> None:
    with pytest.raises((InvalidLineError, aq.InvalidFieldError)):
        submission_from_line(json.dumps(value).encode())


def test_a_line_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(InvalidLineError, match="longer than"):
        submission_from_line(b" " * (LINE_SIZE_MAX + 1))


@pytest.mark.parametrize("durability", [None, "immediate", "deferred"])
def test_durability_belongs_to_the_submission(durability: str | None) -> None:
    command = aq.TaskCancelCommand(3, TASK, 4)
    line = json.dumps(command_to_json(command) | {"durability": durability}).encode()
    assert submission_from_line(line) == (command, durability)
