"""Each command becomes its event and its outcome, with every field in its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue.model.base import applied_of, event_of, validate
from tests.support.model import Model
from tests.support.strategies import COMMANDS, KINDS


def known_fields(command: aq.MutationCommand) -> dict[str, Any]:
    """Return the values that an event or an outcome may take over, by name; the command's own
    win.
    """
    values: dict[str, Any] = {}
    for part in ("task_spec", "run_instance", "outcome", "registration", "entry"):
        if hasattr(command, part):
            values |= msgspec.structs.asdict(getattr(command, part))
    if isinstance(command, aq.TaskCreateCommand):
        values["task_id"] = command.task_spec.id
    if isinstance(command, aq.RunCreateCommand):
        values["run_id"] = command.run_instance.id
    if values.get("department") is not None:
        values["department"] = str(values["department"])  # the log holds the text
    return values | msgspec.structs.asdict(command)


@pytest.mark.parametrize("command_type", KINDS, ids=lambda kind: kind.__name__)
@settings(deadline=None)
@given(data=st.data())
def test_event_and_outcome_take_over_every_field(
    command_type: type[aq.MutationCommand], data: st.DataObject
) -> None:
    command = data.draw(COMMANDS[command_type])
    event_type, applied_type, name = KINDS[command_type]
    known = known_fields(command) | {"sequence": 7}
    event, applied = event_of(command, 7), applied_of(command)
    assert (type(event), type(applied), applied.name) == (event_type, applied_type, name)
    for built in (event, applied):
        for field, value in msgspec.structs.asdict(built).items():
            assert value == known[field], field


def test_every_command_and_every_event_of_a_command_is_known() -> None:
    assert KINDS.keys() == COMMANDS.keys() == set(aq.MutationCommand.__subclasses__())
    of_no_command = {aq.RunCanceled, aq.BudgetExhausted, aq.RunsPurged}
    assert {event_type for event_type, _, _ in KINDS.values()} | of_no_command == set(
        aq.Event.__subclasses__()
    )


def test_what_is_logged_of_a_command_does_not_depend_on_its_own_sequence() -> None:
    explicit, left_open = aq.EnginePauseCommand(1, 5), aq.EnginePauseCommand(None, 5)
    assert validate(explicit, Model()) == validate(left_open, Model()) == 1
    assert event_of(explicit, 1) == event_of(left_open, 1) == aq.EnginePaused(1, 5)
