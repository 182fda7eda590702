"""Draws the plots and prints the tables of docs/performance.md, from the benchmarks' JSON files.

`make bench-figures` does so for the files in build/bench:

    python -m benchmarks.figures build/bench --plots docs/plots --docs docs
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import msgspec
from matplotlib.figure import Figure

from benchmarks.goals import machine_of_results, number, table_of_goals
from benchmarks.measure import Result, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#8f6bb1")
COUNTED = re.compile(r"(?P<count>[\d,]+|1) (?P<unit>runs?|threads?|tasks?): (?P<what>[^:]*)")
CURVES_A_FIGURE = 2

Series = dict[str, list[tuple[int, Row]]]
"""For each measured thing, its rows by size."""


def series_of(rows: Sequence[Row], unit: str) -> Series:
    """Sort the rows of the form "1,000 runs: what"; one without a colon is a rate."""
    found: Series = {}
    for row in rows:
        parts = COUNTED.fullmatch(row.name if ":" in row.name else f"{row.name}: rate")
        if parts is not None and parts["unit"].rstrip("s") == unit:
            found.setdefault(parts["what"], []).append((int(parts["count"].replace(",", "")), row))
    return found


def draw(axes: Axes, series: Series, names: dict[str, str], title: str, scale: float = 1.0) -> None:
    """Draw medians as lines, and spreads as bands, over a logarithmic size."""
    for (name, label), colour in zip(names.items(), COLOURS, strict=False):
        if name not in series:
            continue  # too few times for a 99.9th percentile
        points = sorted(series[name], key=lambda point: point[0])
        sizes = [size for size, _ in points]
        axes.fill_between(
            sizes,
            [row.spread.minimum / scale for _, row in points],
            [row.spread.maximum / scale for _, row in points],
            color=colour,
            alpha=0.18,
            linewidth=0,
        )
        axes.plot(
            sizes,
            [row.spread.median / scale for _, row in points],
            marker="o",
            markersize=4,
            color=colour,
            label=label,
        )
    axes.set_xscale("log")
    axes.set_title(title, fontsize=10)
    axes.grid(visible=True, which="major", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) >= CURVES_A_FIGURE:
        axes.legend(frameon=False, fontsize=8)


def scale_figure(result: Result) -> Figure:
    """Draw what a command costs, memory, opening and snapshots over the number of runs."""
    series = series_of(result.rows, "run")
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, 2).flat
    cost = {
        "a transition of any run": "a transition of any run",
        "a command of a new run": "a command of a new run",
    }
    draw(panels[0], series, cost, "nanoseconds a command")
    draw(panels[1], series, {"the table's memory a run": "memory"}, "bytes of memory a run")
    draw(
        panels[2],
        series,
        {"open from the log": "from the log", "open from a snapshot": "from a snapshot"},
        "seconds to open",
    )
    draw(panels[3], series, {"write a snapshot": "snapshot"}, "seconds to write a snapshot")
    panels[0].set_ylim(bottom=0)
    panels[1].set_ylim(bottom=0)
    for panel in (panels[2], panels[3]):
        panel.set_yscale("log")
    for panel in panels:
        panel.set_xlabel("runs", fontsize=9)
    return figure


def replay_figure(result: Result) -> Figure:
    """Draw replay, opening, snapshots and memory over the number of completed runs."""
    series = series_of(result.rows, "run")
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, 2).flat
    draw(panels[0], series, {"replay": "replay"}, "million events a second, replayed", 1e6)
    memory = {"the table's memory a run": "the table", "the process's memory a run": "the process"}
    draw(panels[1], series, memory, "bytes of memory a completed run")
    draw(
        panels[2],
        series,
        {"open from the log": "from the log", "open from a snapshot": "from a snapshot"},
        "seconds to open",
    )
    draw(panels[3], series, {"write a snapshot": "snapshot"}, "seconds to make a snapshot")
    for panel in (panels[0], panels[1]):
        panel.set_ylim(bottom=0)
    for panel in (panels[2], panels[3]):
        panel.set_yscale("log")
    for panel in panels:
        panel.set_xlabel("completed runs", fontsize=9)
    return figure


def shared_figure(result: Result, unit: str) -> Figure:
    """Draw rate and latency over the number of callers."""
    series = series_of(result.rows, unit)
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw(left, series, {"rate": "rate"}, "thousand durable commands a second", 1000)
    draw(
        right,
        series,
        {"p50": "median", "p99": "p99", "p99.9": "p99.9"},
        "milliseconds a command",
        1000,
    )
    left.set_ylim(bottom=0)
    right.set_yscale("log")
    for axes in (left, right):
        axes.set_xlabel(f"{unit}s", fontsize=9)
    return figure


def bars_figure(result: Result, ours: str, unit: str) -> Figure:
    """Draw the rate of each candidate in each mode, the part of a name before the colon."""
    modes = list(dict.fromkeys(row.name.partition(": ")[0] for row in result.rows))
    figure = Figure(figsize=(9, 2.4 * len(modes)), layout="constrained")
    panels = figure.subplots(len(modes), 1, sharex=True, squeeze=False)[:, 0]
    for mode, axes in zip(modes, panels, strict=True):
        rows = sorted(
            (row for row in result.rows if row.name.startswith(f"{mode}: ")),
            key=lambda row: row.spread.median,
        )
        names = [row.name.partition(": ")[2] for row in rows]
        medians = [row.spread.median for row in rows]
        whiskers = [
            [row.spread.median - row.spread.minimum for row in rows],
            [row.spread.maximum - row.spread.median for row in rows],
        ]
        colours = [COLOURS[0] if name == ours else "#b8b8b8" for name in names]
        axes.barh(
            names, medians, xerr=whiskers, color=colours, error_kw={"linewidth": 1, "capsize": 2}
        )
        axes.set_xscale("log")
        axes.set_title(f"{mode}: {unit} a second", fontsize=10)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def jobs_figure(result: Result) -> Figure:
    """Draw the rates of whole jobs; what depends on a queue's size is in the table only."""
    rates = [row for row in result.rows if row.unit == "jobs/s"]
    return bars_figure(msgspec.structs.replace(result, rows=rates), "actionqueue", "jobs")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, with texts as texts, and the same bytes for the same figures."""
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "actionqueue", "font.family": "sans-serif"}
    ):
        figure.savefig(path, format="svg", metadata={"Date": None})


FIGURES: dict[str, Callable[[Result], Figure]] = {
    "scale": scale_figure,
    "shared_syncs": lambda result: shared_figure(result, "thread"),
    "asyncio_tasks": lambda result: shared_figure(result, "task"),
    "replay": replay_figure,
    "columns": lambda result: bars_figure(result, "columns", "rows"),
    "peers": lambda result: bars_figure(result, "actionqueue", "records"),
    "jobs": jobs_figure,
}


def table_of(result: Result) -> str:
    """Return a benchmark's rows as a Markdown table."""
    lines = [
        f"## {result.benchmark}",
        "",
        f"Commit {result.commit}; load {result.machine.load:.2f} before.",
        "",
    ]
    lines += ["| what | median | spread | unit | ratio |", "|---|---|---|---|---|"]
    for row in result.rows:
        spread = f"{number(row.spread.minimum)} - {number(row.spread.maximum)}"
        ratio = (
            ""
            if row.ratio is None
            else f"{row.ratio.median:.3g} ({row.ratio.minimum:.3g} - {row.ratio.maximum:.3g}) x "
            f"{row.ratio_to}"
        )
        lines.append(
            f"| {row.name} | {number(row.spread.median)} | {spread} | {row.unit} | {ratio} |"
        )
    lines += [
        f"| {absent.name} | not measured |  |  | {absent.reason} |" for absent in result.missing
    ]
    lines += ["", *(f"- {note}" for note in result.notes)] if result.notes else []
    return "\n".join(lines)


def results_of(directory: Path) -> dict[str, Result]:
    """Return the benchmarks' results in a directory, by their names.

    Figures of larger queues go behind the others.
    """
    found: dict[str, Result] = {}
    for path in sorted(
        directory.glob("*.json"), key=lambda path: (path.stem.endswith("-large"), path.stem)
    ):
        try:
            result = msgspec.json.decode(path.read_bytes(), type=Result)
        except msgspec.ValidationError:
            continue  # another form: pytest-benchmark's, or the fsync policies'
        name = path.stem.removesuffix("-large")
        smaller = found.get(name)
        if smaller is not None:
            commit = f"{smaller.commit}, {result.commit} where larger"
            both = msgspec.structs.replace(
                smaller, commit=commit, rows=[*smaller.rows, *result.rows]
            )
        found[name] = result if smaller is None else both
    return found


def write_documents(results: dict[str, Result], directory: Path) -> None:
    """Write the goals' table into performance.md, and every table into figures.md."""
    page = directory / "performance.md"
    before, begin, rest = page.read_text("utf-8").partition("<!-- figures: begin -->\n")
    _, end, after = rest.partition("<!-- figures: end -->\n")
    if not begin or not end:
        sys.exit(f"{page} has no place for the figures")
    page.write_text(
        f"{before}{begin}{machine_of_results(results)}\n\n{table_of_goals(results)}\n{end}{after}",
        "utf-8",
    )
    tables = "\n\n".join(table_of(result) for result in results.values())
    head = (
        "Every table behind [performance.md](performance.md), as `make bench-figures` writes it. A "
        "ratio is to the row that it names."
    )
    (directory / "figures.md").write_text(
        f"# Figures\n\n{head}\n\n{machine_of_results(results)}\n\n{tables}\n", "utf-8"
    )


def main() -> int:
    """Draw and print."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("results", type=Path, help="the directory with the JSON files")
    made.add_argument(
        "--plots", type=Path, metavar="DIRECTORY", help="where to write the plots, as SVG"
    )
    made.add_argument(
        "--docs",
        type=Path,
        metavar="DIRECTORY",
        help="the directory with performance.md, to write the tables there too",
    )
    options = made.parse_args()
    results = results_of(options.results)
    if not results:
        sys.exit(f"{options.results} has no results: make bench-all")
    for name, result in results.items():
        print(table_of(result), end="\n\n")
        if options.plots is not None and name in FIGURES:
            save(FIGURES[name](result), options.plots / f"{name}.svg")
    if options.docs is not None:
        write_documents(results, options.docs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
