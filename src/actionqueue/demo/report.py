"""What the user sees of the demo: the bar, the story as it happens, and the tables at the end."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from actionqueue.cli.tables import OutputConsole
from actionqueue.demo.files import library_root
from actionqueue.demo.messages import Counts
from actionqueue.demo.proof import Statement
from actionqueue.demo.tasks import SWEEP
from actionqueue.model import AttemptResultKind
from actionqueue.projection import Projection

__all__ = ["Screen"]

PACKAGES_SHOWN = 10
BAR_WIDTH = 24
COLUMNS_MAX = 79


class Screen:
    """The demo's output."""

    def __init__(self, file_count: int) -> None:
        self.console = OutputConsole()
        self.console.width = min(self.console.width, COLUMNS_MAX)
        self._began = time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self._bar = self._progress.add_task("starting", total=file_count)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def say(self, mark: str, text: str, style: str = "") -> None:
        """Add a line to the story."""
        line = Table.grid()
        line.add_column(no_wrap=True)
        line.add_column(overflow="fold")
        line.add_row(
            Text.assemble((f"{self.elapsed:6.1f} s  ", "dim"), (f"{mark} ", style)),
            Text(text, style),
        )
        self._progress.console.print(line)

    def move_bar(self, finished: int, retries: int) -> None:
        """Show the progress of the work."""
        self._progress.update(
            self._bar, completed=finished, description=f"parsing, {retries} retries"
        )

    def show_library(self, projection: Projection) -> None:
        """Show what the workers found."""
        self.console.print(_library_table(_outputs(projection)))

    def show_proof(self, statements: Sequence[Statement]) -> None:
        """Show what is proved."""
        table = Table(
            title="The proof, from the log alone",
            title_justify="left",
            title_style="bold",
            box=None,
            show_header=False,
        )
        table.add_column("mark")
        table.add_column("statement", no_wrap=True)
        table.add_column("evidence", overflow="fold")
        for statement in statements:
            mark = Text("✓", "bold green") if statement.holds else Text("✗", "bold red")
            table.add_row(
                mark,
                statement.text,
                Text(statement.evidence, "cyan" if statement.holds else "bold red"),
            )
        self.console.print()
        self.console.print(table)

    def show_end(self, projection: Projection, seconds: float, worker_count: int) -> None:
        """Show the final figures."""
        figures = (
            f"{projection.latest_sequence:,} events, {projection.counts().attempts:,} attempts"
        )
        self.console.print()
        self.console.print(
            f"[bold]{figures}, {count_of(worker_count, 'worker')}, {seconds:.1f} s.[/] Every "
            "decision was on disk before a process acted on it. Work that a kill interrupted was "
            "done again; finished work is recorded once."
        )

    def show_speed(self, deferred: float, immediate: float, *, is_in_memory: bool) -> None:
        """Show how many jobs a second this machine takes, by what each call waits for."""
        self.console.print()
        if is_in_memory:
            self.console.print(
                f"[bold]Speed: {deferred:,.0f} jobs a second[/], each added, claimed and completed "
                "by one thread of this process. The queue's file system is in memory, so that no "
                "figure can be had of calls that wait for a disk: name a --directory on one."
            )
            return
        self.console.print(
            f"[bold]Speed: {deferred:,.0f} jobs a second[/], each added, claimed and completed by "
            "one thread of this process, written to the log without waiting for the disk: a killed "
            f"process loses nothing, a power cut may. [bold]{immediate:,.0f} a second[/] where "
            "each of the three calls returns only when it is on disk."
        )

    def say_no_speed(self, reason: str) -> None:
        """Say why the speed was not measured."""
        self.console.print()
        self.console.print(Text(f"Speed: not measured: {reason}"))


def count_of(number: int, noun: str) -> str:
    """Return a number and what it counts."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _outputs(projection: Projection) -> dict[str, Counts]:
    """Return what every completed run found, by path relative to the library."""
    root, found = library_root(), {}
    for task in projection.tasks():
        if task.task_id == SWEEP:
            continue
        path = Path(os.fsdecode(task.spec.payload.data)).relative_to(root).as_posix()
        for run in projection.runs_of_task(task.task_id):
            for attempt in projection.attempts(run.id) or ():
                if attempt.result is AttemptResultKind.SUCCESS and attempt.output is not None:
                    found[path] = msgspec.json.decode(attempt.output, type=Counts)
    return found


def _library_table(outputs: dict[str, Counts]) -> Table:
    packages: dict[str, list[Counts]] = {}
    for path, counts in outputs.items():
        package = path.partition("/")[0] if "/" in path else "single modules"
        packages.setdefault(package, []).append(counts)
    ranked = sorted(packages.items(), key=lambda item: -_total(item[1]).lines)
    rest = [counts for _, members in ranked[PACKAGES_SHOWN:] for counts in members]
    everything = _total(list(outputs.values()))

    title = f"Python {platform.python_version()}'s standard library"
    table = Table(
        title=title, title_justify="left", title_style="bold", box=None, header_style="dim"
    )
    table.add_column("package")
    for name in ("files", "lines", "functions", "classes"):
        table.add_column(name, justify="right")
    table.add_column("share of lines", min_width=BAR_WIDTH)
    shown = [
        *ranked[:PACKAGES_SHOWN],
        *([(f"{len(ranked) - PACKAGES_SHOWN} others", rest)] if rest else []),
    ]
    most = max((_total(members).lines for _, members in shown), default=1)
    for package, members in shown:
        total = _total(members)
        bar = _bar(total.lines / max(1, most))
        table.add_row(
            package,
            f"{len(members):,}",
            *_cells(total),
            Text(bar, "green"),
            end_section=package == shown[-1][0],
        )
    table.add_row("all of it", f"{len(outputs):,}", *_cells(everything), style="bold")
    return table


def _total(members: list[Counts]) -> Counts:
    return Counts(
        sum(counts.lines for counts in members),
        sum(counts.functions for counts in members),
        sum(counts.classes for counts in members),
    )


def _cells(counts: Counts) -> tuple[str, str, str]:
    return f"{counts.lines:,}", f"{counts.functions:,}", f"{counts.classes:,}"


def _bar(share: float) -> str:
    """Return a bar in steps of an eighth of a character."""
    eighths = round(share * BAR_WIDTH * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8]).strip()
