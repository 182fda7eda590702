"""Arguments and options that several commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Generic, TypeVar

import click

from actionqueue.directory import what_no_path_has
from actionqueue.errors import InvalidFieldError
from actionqueue.model import RunId, TaskId
from actionqueue.texts import shown

__all__ = [
    "RUN",
    "NamedPath",
    "directory_argument",
    "json_option",
    "limit_option",
    "run_argument",
    "task_argument",
]

Identifier = TypeVar("Identifier", RunId, TaskId)

LIMIT_MAX = 1_000_000
"""What is shown at most at once; dump --jsonl prints everything."""


class NamedPath(click.Path):
    """A path that is not empty, and has nothing that no path of this system can have.

    An empty one, from an unset variable, would be the current directory.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("The path is empty; . is the current directory.", param, ctx)
        if (wrong := what_no_path_has(os.fspath(value))) is not None:
            self.fail(f"A path of this system is without {wrong}.", param, ctx)
        return super().convert(value, param, ctx)


class _Identifier(click.ParamType[Identifier], Generic[Identifier]):
    """An identifier of a kind."""

    def __init__(self, kind: type[Identifier], name: str) -> None:
        self.kind: type[Identifier] = kind
        self.name = name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Identifier:
        """Return the identifier."""
        if isinstance(value, self.kind):
            return value
        try:
            return self.kind(value)
        except InvalidFieldError:
            self.fail(f"{shown(value)} is no {self.name}'s identifier.", param, ctx)


RUN = _Identifier(RunId, "run")
TASK = _Identifier(TaskId, "task")
run_argument = click.argument("run_id", metavar="RUN", type=RUN)
task_argument = click.argument("task_id", metavar="TASK", type=TASK)
# click does not check whether the directory can be read: the reading says why it cannot.
directory_argument = click.argument(
    "directory", metavar="DIR", type=NamedPath(file_okay=False, readable=False, path_type=Path)
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
limit_option = click.option(
    "--limit",
    type=click.IntRange(1, LIMIT_MAX),
    default=20,
    show_default=True,
    metavar="N",
    help="Print at most this many.",
)
