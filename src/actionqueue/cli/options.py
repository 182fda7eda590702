"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["NamedPath", "directory_argument", "json_option"]


class NamedPath(click.Path):
    """A path that is not empty.

    An empty one, from an unset variable, would be the current directory.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if value == "":
            self.fail("The path is empty; . is the current directory.", param, ctx)
        return super().convert(value, param, ctx)


# click does not check whether the directory can be read: the reading says why it cannot.
directory_argument = click.argument(
    "directory", metavar="DIR", type=NamedPath(file_okay=False, readable=False, path_type=Path)
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
