"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["directory_argument", "json_option"]

# Whether the directory can be read is left to the reading, which says why it cannot.
directory_argument = click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, readable=False, path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
