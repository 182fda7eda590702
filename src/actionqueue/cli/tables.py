"""Tables of several commands. They need rich, so commands import this only to draw something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from actionqueue.cli.output import count, size

__all__ = ["OutputConsole", "counts_table", "facts_table", "fold", "states_table"]

BAR_WIDTH = 30


class OutputConsole(Console):
    """Standard output, for people. When the reader has gone, the command line's end decides."""

    def __init__(self) -> None:
        super().__init__(highlight=False)

    def on_broken_pipe(self) -> NoReturn:
        """Raise the BrokenPipeError again: rich calls this in its handler of it."""
        raise BrokenPipeError


def fold(text: str, width: int, indent: str) -> list[str]:
    """Return the text as lines of at most this width, each with the indent."""
    lines = Text(text).wrap(Console(), max(1, width - len(indent)), overflow="fold")
    return [indent + line.plain.rstrip() for line in lines]


def facts_table(title: str, facts: dict[str, str]) -> Table:
    """Return a table of names and values."""
    table = Table(title=title, show_header=False)
    table.add_column("what", style="bold")
    table.add_column("value", justify="right")
    for name, value in facts.items():
        table.add_row(name, Text(value))
    return table


def counts_table(counts: Mapping[str, int]) -> Table:
    """Return a table of counts, whose keys are those of ProjectionCounts.

    The memory may be missing.
    """
    facts = {name: count(number) for name, number in counts.items() if name != "memory_bytes"}
    if "memory_bytes" in counts:
        facts["memory"] = size(counts["memory_bytes"])
    return facts_table("Projection", facts)


def states_table(counts: Mapping[str, int]) -> Table:
    """Return the number of runs in each state, with bars."""
    most = max([1, *counts.values()])
    table = Table("state", title="Runs by state")
    table.add_column("runs", justify="right")
    table.add_column("", width=BAR_WIDTH)
    for state, runs in counts.items():
        table.add_row(state, count(runs), "█" * round(BAR_WIDTH * runs / most))
    return table
