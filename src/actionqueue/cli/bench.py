"""``actionqueue bench``: measure what each fsync policy costs on the user's own disk."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from actionqueue.bench.charts import percentile_texts, rate_text
from actionqueue.bench.comparison import compare
from actionqueue.bench.machine import IN_MEMORY
from actionqueue.bench.modes import DEFAULT_CHOICE, Choice, Mode, modes_of
from actionqueue.bench.page import page_of
from actionqueue.bench.report import ModeResult, Report, csv_of, json_of
from actionqueue.bench.rounds import Limit
from actionqueue.bench.spread import Latency, Spread
from actionqueue.cli.options import NamedPath, json_option
from actionqueue.cli.tables import OutputConsole, facts_table

__all__ = ["bench"]

ROUNDS_MAX = 1000
SECONDS_MIN = 0.01
NUMBER_MAX = 1 << 30
MILLISECONDS_MAX = 86_400_000
THREADS_MAX = 256
GROUP_MAX = 65536

TABLE: dict[str, Any] = {"box": box.SIMPLE_HEAD, "pad_edge": False, "padding": (0, 1, 0, 0)}

FILE = NamedPath(dir_okay=False, writable=True, path_type=Path)


def _finite(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no time")
    return value


def _numbers(
    option: str, most: int, text: str
) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Return an option that the user may give several times."""
    default = getattr(DEFAULT_CHOICE, option)
    kind = click.IntRange(1, most)
    return click.option(
        f"--{option}",
        type=kind,
        multiple=True,
        default=default,
        show_default=True,
        metavar="N",
        help=text,
    )


@click.command()
@click.option(
    "--directory",
    type=NamedPath(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="A directory on the disk to measure. bench writes everything to a new one within it, and "
    "removes that.  [default: the current one]",
)
@click.option(
    "--rounds",
    type=click.IntRange(1, ROUNDS_MAX),
    default=3,
    show_default=True,
    metavar="N",
    help="Measure all modes in N rounds.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(SECONDS_MIN),
    callback=_finite,
    default=1.0,
    show_default=True,
    metavar="S",
    help="Measure each mode for S seconds a round.",
)
@click.option(
    "--commands",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Also end that after N commands of a thread.",
)
@_numbers("threads", THREADS_MAX, "Immediate, from N threads.")
@_numbers("groups", GROUP_MAX, "N commands as one, with one sync.")
@_numbers("records", NUMBER_MAX, "Deferred, with a sync every N records.")
@_numbers("bytes", NUMBER_MAX, "Deferred, with a sync every N bytes of records.")
@_numbers("milliseconds", MILLISECONDS_MAX, "Deferred, with a sync every N milliseconds.")
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Measure only this mode, by its name in the table; give it again for more modes.",
)
@json_option
@click.option("--json-file", type=FILE, help="Also write that JSON to this file.")
@click.option("--csv", "csv_file", type=FILE, help="Also write a line a mode to this file.")
@click.option(
    "--html",
    "html_file",
    type=FILE,
    help="Also write a page with charts to this file. The page needs no network.",
)
def bench(
    directory: Path,
    *,
    rounds: int,
    seconds: float,
    commands: int | None,
    only: tuple[str, ...],
    as_json: bool,
    json_file: Path | None,
    csv_file: Path | None,
    html_file: Path | None,
    **numbers: tuple[int, ...],
) -> None:
    """Compare fsync policies on this disk.

    Measures commands a second and how long each command waits, and says what a power loss would
    take. The modes sync one by one, from several threads, in groups, every N records, bytes or
    milliseconds, or leave it to the system; the disk's own sync stands with them. They take turns
    over several rounds. Give --threads, --groups, --records, --bytes or --milliseconds several
    times to compare more modes. Takes about 40 seconds.
    """
    modes = _chosen(
        modes_of(Choice(**{name: tuple(dict.fromkeys(given)) for name, given in numbers.items()})),
        only,
    )
    limit = Limit(seconds) if commands is None else Limit(seconds, commands)
    for file in (json_file, csv_file, html_file):
        if file is not None:
            _ensure_writable(file)
    report = _compare(modes, directory, rounds, limit)
    if json_file is not None:
        json_file.write_bytes(json_of(report))
    if csv_file is not None:
        csv_file.write_text(csv_of(report), "utf-8", newline="")
    if html_file is not None:
        html_file.write_text(page_of(report), "utf-8")
    if as_json:
        sys.stdout.buffer.write(json_of(report))
    else:
        _print_tables(report)


def _ensure_writable(file: Path) -> None:
    """Raise the OSError of an unwritable file before the measurement, which would be lost."""
    is_new = not file.exists()
    file.open("ab").close()
    if is_new:
        file.unlink()


def _chosen(modes: list[Mode], only: Sequence[str]) -> list[Mode]:
    names = [mode.name for mode in modes]
    for name in only:
        if name not in names:
            raise click.BadParameter(
                f"{name!r} is not one of {', '.join(names)}", param_hint="--only"
            )
    return [mode for mode in modes if not only or mode.name in only]


def _compare(modes: list[Mode], directory: Path, rounds: int, limit: Limit) -> Report:
    if not sys.stderr.isatty():
        return compare(modes, directory, rounds=rounds, limit=limit, tell=lambda *_: None)
    columns = BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        return compare(
            modes,
            directory,
            rounds=rounds,
            limit=limit,
            tell=lambda done, total, title: bar.update(
                task, completed=done, total=total, description=title
            ),
        )


def _print_tables(report: Report) -> None:
    console, machine = OutputConsole(), report.machine
    facts = {
        "processor": f"{machine.processor}, {machine.cores} cores to use",
        "system": machine.system,
        "Python": machine.python,
        "file system": machine.file_system,
        "device": machine.device,
        "load before": f"{machine.load:.2f}",
    }
    console.print(facts_table("Measured on", facts))
    rounds = f"{report.rounds} round{'s' * (report.rounds > 1)}"
    table = Table(title=f"{rounds} of {report.seconds_a_round:g} s, in turn", **TABLE)
    table.add_column("mode", no_wrap=True)
    for name in ("commands/s", "spread", "p50", "p99", "p99.9", "at risk"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("disk alone", *_figures(report.disk.rate, report.disk.latency), "")
    for done in report.modes:
        table.add_row(done.mode.name, *_figures(done.rate, done.latency), f"{done.at_risk_max:,}")
    console.print(table)
    console.print(
        f"disk alone: writing {report.disk.write_bytes} bytes and syncing, without this library. "
        "at risk: the most events seen acknowledged but not yet durable. In every mode each "
        "acknowledged event survives the end of the process."
    )
    if machine.is_in_memory:
        console.print(IN_MEMORY)
    console.print(_survival_table(report.modes))


def _figures(rate: Spread, latency: Latency) -> list[str]:
    spread = f"{rate_text(rate.minimum)} - {rate_text(rate.maximum)}"
    return [rate_text(rate.median), spread, *percentile_texts(latency)]


def _survival_table(results: Sequence[ModeResult]) -> Table:
    table = Table(
        "mode",
        "what it does",
        title="What a power loss leaves of the acknowledged commands",
        **TABLE,
    )
    table.add_column("what is left", overflow="fold")
    for done in results:
        table.add_row(done.mode.name, done.mode.title, done.mode.survives_power_loss)
    return table
