"""The benchmarks' common parts: turns of candidates, spreads and ratios, a table and JSON."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from actionqueue.bench.machine import Machine, machine_of
from actionqueue.bench.spread import Spread

__all__ = [
    "Missing",
    "Result",
    "Row",
    "finish",
    "in_a_child",
    "interleave",
    "own_rss",
    "parser",
    "positive",
    "result_of",
    "row",
    "scratch",
]

THOUSAND = 1000
WIDTH = 140
WIDTH_OF_NAMES = 32
T = TypeVar("T")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: the values of its rounds, and their ratio to another row's."""

    name: str
    unit: str
    values: list[float]
    """One value of each round, in order."""
    spread: Spread
    ratio: Spread | None
    """Round by round, this row's value divided by the value of the row `ratio_to`."""
    ratio_to: str
    note: str


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that could not be measured."""

    name: str
    """What its row would be called."""
    reason: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a benchmark found."""

    benchmark: str
    started_at: str
    commit: str
    machine: Machine
    settings: dict[str, Any]
    rows: list[Row]
    notes: list[str]
    missing: list[Missing] = []


def parser(text: str, *, rounds: int = 5) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark. The text is the module's docstring."""
    made = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--rounds",
        type=positive,
        default=rounds,
        metavar="N",
        help=f"rounds of all candidates; default {rounds}",
    )
    made.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        help="a directory on the disk to measure; default: the current one",
    )
    made.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="also write all measured values to this file",
    )
    return made


def positive(text: str) -> int:
    """Read the number of an option that must be 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """Make a new directory within the given one, and remove it in the end."""
    made = Path(tempfile.mkdtemp(prefix="actionqueue-bench-", dir=directory))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def interleave(rounds: int, candidates: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Call every candidate once a round, and return what they returned by name.

    Each round begins with another candidate. Then other work of the machine meets all of them, and
    the values of one round are comparable.
    """
    names = list(candidates)
    found: dict[str, list[T]] = {name: [] for name in names}
    columns = BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("", total=rounds * len(names))
        for number in range(rounds):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                bar.update(task, description=name)
                found[name].append(candidates[name]())
                bar.advance(task)
    return found


def row(
    name: str,
    unit: str,
    values: Sequence[float],
    *,
    to: tuple[str, Sequence[float]] | None = None,
    note: str = "",
) -> Row:
    """Return a figure, compared with `to`: another row's name and values of the same rounds."""
    ratio = (
        None
        if to is None
        else Spread.of(mine / other for mine, other in zip(values, to[1], strict=True))
    )
    ratio_to = "" if to is None else to[0]
    return Row(
        name=name,
        unit=unit,
        values=list(values),
        spread=Spread.of(values),
        ratio=ratio,
        ratio_to=ratio_to,
        note=note,
    )


def sizes_of(options_of: argparse.ArgumentParser) -> None:
    """Add the option of benchmarks over queues of several sizes."""
    options_of.add_argument(
        "--runs",
        type=int,
        nargs="+",
        default=[10_000, 100_000],
        help="sizes of the queues, the smallest first",
    )


def rows_by_size(
    rounds: int,
    turns: Mapping[int, Callable[[], Sequence[float]]],
    figures: Sequence[str],
    unit: str,
) -> list[Row]:
    """Let queues take turns, each of which returns its figures; compare them with the first queue.

    The queues come by their number of runs, the smallest first.
    """
    found = interleave(rounds, {f"{runs:,} runs": turn for runs, turn in turns.items()})
    first = next(iter(found))
    return [
        row(
            f"{name}: {figure}",
            unit,
            [values[place] for values in taken],
            to=(first, [values[place] for values in found[first]]),
        )
        for place, figure in enumerate(figures)
        for name, taken in found.items()
    ]


def in_a_child(work: Callable[..., T], *arguments: Any) -> T:
    """Call a function of a module in a new process with its own memory; return its result."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def own_rss() -> int:
    """Return the bytes of memory that this process has now. It works on Linux only."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def finish(
    options: argparse.Namespace,
    rows: Sequence[Row],
    notes: Sequence[str] = (),
    missing: Sequence[Missing] = (),
) -> int:
    """Print the table, write the file if there is one, and return the exit code."""
    result = result_of(options, rows, notes, missing)
    _print(result)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return 0


def result_of(
    options: argparse.Namespace,
    rows: Sequence[Row],
    notes: Sequence[str] = (),
    missing: Sequence[Missing] = (),
) -> Result:
    """Return what a benchmark found, with the machine, the commit and the options."""
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name != "json"
    }
    return Result(
        benchmark=Path(sys.argv[0]).stem,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        machine=machine_of(options.directory),
        settings=settings,
        rows=list(rows),
        notes=list(notes),
        missing=list(missing),
    )


def _commit() -> str:
    """Return the commit of the sources, with a mark if they were changed since."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:  # nothing else needs git
        return "unknown"
    return done.stdout.strip() or "unknown"


def _print(result: Result) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    machine = result.machine
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("what", overflow="fold", min_width=WIDTH_OF_NAMES)
    for name in ("median", "spread", "unit", "ratio"):
        table.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
    table.add_column("to", overflow="fold")
    for entry in result.rows:
        ratio = "" if entry.ratio is None else f"{entry.ratio.median:.3g} ({_range(entry.ratio)})"
        table.add_row(
            entry.name,
            _number(entry.spread.median),
            _range(entry.spread),
            entry.unit,
            ratio,
            entry.ratio_to,
        )
    for absent in result.missing:
        table.add_row(absent.name, "not measured", "", "", "", absent.reason)
    console.print(f"{machine.processor}, {machine.cores} cores; {machine.system}; {machine.python}")
    console.print(f"{machine.file_system} on {machine.device}")
    console.print(f"actionqueue {machine.actionqueue} at {result.commit}; load {machine.load:.2f}")
    console.print(table)
    for entry in result.rows:
        if entry.note:
            console.print(f"{entry.name}: {entry.note}")
    for note in result.notes:
        console.print(note)


def _range(spread: Spread) -> str:
    return f"{_number(spread.minimum)} - {_number(spread.maximum)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= THOUSAND else f"{value:.3g}"
