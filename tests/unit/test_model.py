"""A new command is written in one place: what it becomes, tells and looks like in JSON follows from
its classes.
"""

from __future__ import annotations

import subprocess
import sys

import actionqueue as aq
from actionqueue.model import base, forms
from tests.support import places

# In a process of its own, because the commands are known to the whole program.
PROGRAM = """
from actionqueue import EventKind, RunId, TaskId, UnknownTask
from actionqueue.json.commands import command_from_json, command_to_json, event_to_json
from actionqueue.model.base import (
    AppliedMutation, Event, MutationCommand, applied_of, event_of, registered, validate,
)
from actionqueue.model.budgets import BudgetDimension
from actionqueue.model.fields import U64, Blob, Text, Texts, Timestamp
from tests.support.model import Model

class ToyMade(Event, frozen=True):
    kind = EventKind.TASK_CANCELED
    task_id: TaskId
    run_ids: tuple[RunId, ...]
    data: bytes
    timestamp: int

class AppliedToyMake(AppliedMutation, frozen=True):
    name = "toy_make"
    task_id: TaskId

@registered
class ToyMakeCommand(MutationCommand, frozen=True, gc=False):
    becomes = ToyMade
    tells = AppliedToyMake

    sequence: U64 | None
    task_id: TaskId
    run_ids: tuple[RunId, ...]
    data: Blob
    dimension: BudgetDimension
    words: Texts
    note: Text | None
    timestamp: Timestamp

    def _check(self, projection):
        raise UnknownTask(task_id=self.task_id)

task, run = TaskId("1" * 32), RunId("2" * 32)
command = ToyMakeCommand(None, task, [run], b"\\x01", "token", ["a"], None, 5)
assert event_of(command, 7) == ToyMade(7, task, (run,), b"\\x01", 5)
assert applied_of(command) == AppliedToyMake(task)
form = {
    "type": "toy_make", "sequence": None, "task_id": str(task), "run_ids": [str(run)],
    "data": "01", "dimension": "token", "words": ["a"], "note": None, "timestamp": 5,
}
assert command_to_json(command) == form
assert list(command_to_json(command)) == list(form)
assert command_from_json(form) == command_from_json({**form, "durability": "deferred"}) == command
del form["note"], form["sequence"]
assert command_from_json(form) == command
assert event_to_json(event_of(command, 7))["run_ids"] == [str(run)]
try:
    validate(command, Model())
except UnknownTask as error:
    assert error.task_id == task
    print("refused")
"""


def test_a_new_command_needs_nothing_but_its_classes() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, env=places.environment(), capture_output=True, encoding="utf-8", check=False
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")


def test_commands_are_known_by_the_names_of_their_outcomes() -> None:
    assert set(base.COMMANDS.values()) == set(aq.MutationCommand.__subclasses__())
    assert all(cls.tells.name == name for name, cls in base.COMMANDS.items())
    assert set(base.__all__) <= set(aq.__all__)


def test_every_field_of_a_command_has_a_form() -> None:
    for cls in base.COMMANDS.values():
        keys = forms.Keys("none", {})
        for name in cls.__struct_fields__:
            try:
                keys.fields(cls, name)
            except aq.InvalidFieldError as error:
                assert (error.field, error.reason) == (name, "must be given")
