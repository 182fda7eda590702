"""The report as one HTML file without network or script, light or dark as the reader likes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from html import escape

from actionqueue.bench.charts import (
    Bar,
    Curve,
    LogAxis,
    bars,
    curves,
    duration,
    percentile_texts,
    rate_text,
    swatch,
)
from actionqueue.bench.machine import IN_MEMORY, Machine
from actionqueue.bench.report import ModeResult, Report
from actionqueue.bench.spread import NINES

__all__ = ["page_of"]

FAMILIES = {
    "immediate": (
        "Immediate",
        (
            "Returns when its record is on stable storage. Threads that wait at the same time "
            "share a sync."
        ),
    ),
    "group": (
        "Groups",
        (
            "Many commands in one append and one sync, all or nothing. The time is that of the "
            "whole group."
        ),
    ),
    "deferred": (
        "Deferred",
        (
            "Returns when the record would survive the end of the process. The policy says what "
            "syncs, and when."
        ),
    ),
}
"""The title and the description of each family of modes."""

DISK = "the disk alone"
COLOURS = {
    "immediate": ("i0", "i1", "i2"),
    "group": ("g0", "g1", "g2"),
    "deferred": ("d0", "d1", "d2", "d3", "d4", "d5"),
}
"""CSS variables: one hue for a family that keeps everything, and distant hues for the family of
many modes."""
HUES = {"immediate": 215, "group": 165, "deferred": 20}
GOLDEN_ANGLE = 137.5
"""The step between the hues of further modes in a family: each is far from those before it."""
DASHES = ("none", "10 4", "5 3", "12 3 3 3", "7 2 2 2 2 2", "3 2", "16 4", "1 3 6 3")
"""The dashes that distinguish curves without their colours."""

STYLE = """
:root { color-scheme: light dark;
  --ground: #fcfcfb; --ink: #1d2126; --soft: #5c6570; --line: #dfe3e7; --disk: #7d868f;
  --i0: #1f5fbf; --i1: #4a9be8; --i2: #173f7d; --g0: #0f7058; --g1: #3fb08c; --g2: #0a4a3b;
  --d0: #c4501b; --d1: #8a46b5; --d2: #a2740a; --d3: #b3315f; --d4: #5d6168; --d5: #e08a3c; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #14171a; --ink: #e6e9ec; --soft: #9aa4ae; --line: #30363c; --disk: #8f99a3;
  --i0: #5f9ff0; --i1: #a3ccfb; --i2: #3f78c4; --g0: #3fb590; --g1: #9be0c6; --g2: #2a8a6b;
  --d0: #f08a54; --d1: #c48df0; --d2: #dfb143; --d3: #f07aa2; --d4: #c2c8ce; --d5: #b8692a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 3rem;
  background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .3rem; }
h3 { font-size: 1rem; margin: 0; }
p { margin: .2rem 0 .9rem; max-width: 48rem; }
p.soft, small, .legend, dt { color: var(--soft); }
svg { display: block; overflow: visible; }
svg text { fill: var(--soft); font-size: 11.5px; letter-spacing: -.02em; }
.grid { stroke: var(--line); stroke-width: 1; }
.bar { display: grid; grid-template-columns: minmax(0, 19rem) minmax(0, 1fr) 12rem; gap: 0 1rem;
  align-items: center; padding: .22rem 0; }
.bar svg { grid-column: 2; grid-row: 1; }
.bar .value { grid-column: 3; text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.fill { opacity: .85; }
.whisker { stroke: var(--ink); stroke-width: 1.5; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1.6rem;
  margin-top: 1rem; }
.panels > section > svg { width: calc(100% - 3rem); margin-left: 3rem; }
.panels p { min-height: 4.5em; font-size: .9rem; margin: 0 0 .8rem; }
.curve { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
.legend { list-style: none; margin: .4rem 0 0; padding: 0; font-size: .9rem; }
.legend li { display: flex; align-items: center; gap: .5rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .6rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td { white-space: nowrap; } td.text { white-space: normal; min-width: 9rem; }
td:first-child { font-weight: 600; white-space: normal; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .2rem 1.2rem;
  margin: .6rem 0; font-size: .9rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.curve.s-disk { stroke-dasharray: 1.5 5; stroke-linecap: round; }
@media (max-width: 46rem) {
  .bar { grid-template-columns: minmax(0, 1fr) auto; padding: .35rem 0; }
  .bar svg { grid-column: 1 / -1; grid-row: 2; }
  .bar .value { grid-column: 2; grid-row: 1; }
  .bar small { display: none; }
  .panels { grid-template-columns: minmax(0, 1fr); }
  .panels p { min-height: 0; }
  thead { display: none; }
  table, tbody, tr, td { display: block; }
  tr { border-bottom: 1px solid var(--line); padding: .6rem 0; }
  td { display: flex; justify-content: space-between; gap: 1.5rem; border: 0; padding: .1rem 0; }
  td::before { content: attr(data-label); color: var(--soft); flex: none; }
  td.text { text-align: right; }
  td:first-child::before { content: none; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .5rem; }
}
"""


def _class_rules(name: str, colour: str, dash: str = "") -> str:
    dashes = f" .curve.s-{name} {{ stroke-dasharray: {dash}; }}" if dash else ""
    return (
        f".s-{name} {{ stroke: {colour}; }} .fill.s-{name} {{ stroke: none; fill: {colour}; "
        f"}}{dashes}\n"
    )


def _mode_rules(report: Report) -> str:
    """Return the colours and dashes of the disk and of every mode."""
    rules = [_class_rules("disk", "var(--disk)")]
    for family, colours in COLOURS.items():
        count = sum(result.mode.family == family for result in report.modes)
        for number in range(count):
            if number < len(colours):
                colour = f"var(--{colours[number]})"
            else:
                colour = (
                    f"hsl({(HUES[family] + GOLDEN_ANGLE * (number - len(colours) + 1)) % 360:.0f} "
                    "55% 52%)"
                )
            rules.append(_class_rules(f"{family[0]}{number}", colour, DASHES[number % len(DASHES)]))
    return "".join(rules)


def page_of(report: Report) -> str:
    """Return the page, which is also well-formed XML."""
    disk, machine = report.disk, report.machine
    rows = [Bar(DISK.capitalize(), "s-disk", disk.rate)]
    rows += [Bar(done.mode.title, _style(report, done), done.rate) for done in report.modes]
    rounds = "1 round" if report.rounds == 1 else f"{report.rounds} rounds"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>actionqueue: fsync policies on this disk</title>
<style>{STYLE}{_mode_rules(report)}</style></head><body>
<h1>What durability costs on this disk</h1>
<p class="soft">actionqueue {escape(machine.actionqueue)} · {escape(_moment(report.started_at))} ·
{rounds} of {report.seconds_a_round:g} s a mode, in turn · one sync of the disk alone: median
{duration(disk.latency.p50_ns)}, 99th percentile {duration(disk.latency.p99_ns)}</p>
{_warning(machine)}<h2>Throughput</h2>
<p>Commands a second: the bar is the median of the rounds, the line goes from the slowest to the
fastest. The axis is logarithmic: each line of the grid is ten times the one before.
{escape(DISK.capitalize())}: writing {disk.write_bytes} bytes and syncing, without this library.</p>
{bars(rows)}
<h2>Latency</h2>
<p>How long a call took, by percentile: at 99, one call in a hundred took longer. Both axes are
logarithmic, to show the slowest calls. The dashed line is {DISK}.</p>
<div class="panels">{_panels(report)}</div>
<h2>What each survives</h2>
<p>“At risk” is the most events that were seen acknowledged but not yet durable: a power loss at
that moment would have taken them. An acknowledged command survives the end of the process in every
mode, also after SIGKILL.</p>
{_table(report.modes)}
<h2>Measured on</h2>
{_facts(machine)}
<p class="soft">The workload takes tasks and their runs through their whole life, ten commands each,
built as they are submitted. Each mode starts on an empty queue in each round. Figures of a shared
or virtual machine spread; look at the ratios, and at the lines in the bars, before the figures
themselves.</p>
</body></html>
"""


def _warning(machine: Machine) -> str:
    return f"<p><b>{escape(IN_MEMORY)}</b></p>\n" if machine.is_in_memory else ""


def _moment(started_at: str) -> str:
    return datetime.fromisoformat(started_at).strftime("%Y-%m-%d %H:%M UTC")


def _style(report: Report, result: ModeResult) -> str:
    """Return the CSS class of a mode, which has its own colour and dash within its family."""
    family = [other.mode.name for other in report.modes if other.mode.family == result.mode.family]
    return f"s-{result.mode.family[0]}{family.index(result.mode.name)}"


def _panels(report: Report) -> str:
    latencies = [report.disk.latency, *(done.latency for done in report.modes)]
    axis = LogAxis.over(
        value
        for latency in latencies
        for value in (max(1, latency.curve[0][1]), max(1, latency.curve[-1][1]))
    )
    # A curve ends at the last single call, so the chart needs nines up to there.
    nines = max(1, min(NINES, max(math.ceil(math.log10(latency.count)) for latency in latencies)))
    shown = (
        (family, [done for done in report.modes if done.mode.family == family])
        for family in FAMILIES
    )
    return "".join(
        _panel(family, results, report, axis, nines) for family, results in shown if results
    )


def _panel(
    family: str, results: Sequence[ModeResult], report: Report, axis: LogAxis, nines: int
) -> str:
    title, text = FAMILIES[family]
    lines = [Curve(DISK, "s-disk", report.disk.latency.curve)]
    lines += [Curve(done.mode.title, _style(report, done), done.latency.curve) for done in results]
    legend = "".join(f"<li>{swatch(line.style)}{escape(line.title)}</li>" for line in lines)
    return (
        f'<section><h3>{title}</h3><p class="soft">{escape(text)}</p>'
        f'{curves(lines, axis, nines)}<ul class="legend">{legend}</ul></section>'
    )


COLUMNS = ("commands / s", "p50", "p99", "p99.9", "commands a sync", "at risk")
TEXT_COLUMNS = ("survives a killed process", "survives a power loss")


def _table(results: Sequence[ModeResult]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("mode", *COLUMNS)) + "".join(
        f'<th class="text">{name}</th>' for name in TEXT_COLUMNS
    )
    rows = "".join(_row(done) for done in results)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(result: ModeResult) -> str:
    mode, latency = result.mode, result.latency
    values = [
        rate_text(result.rate.median),
        *percentile_texts(latency),
        "no sync" if result.commands_a_sync is None else f"{result.commands_a_sync:,.1f}",
        f"{result.at_risk_max:,}",
    ]
    cells = "".join(
        f'<td data-label="{name}">{escape(value)}</td>'
        for name, value in zip(COLUMNS, values, strict=True)
    )
    texts = zip(TEXT_COLUMNS, (mode.survives_kill, mode.survives_power_loss), strict=True)
    cells += "".join(
        f'<td class="text" data-label="{name}">{escape(text)}</td>' for name, text in texts
    )
    return f"<tr><td>{escape(mode.title)}</td>{cells}</tr>"


def _facts(machine: Machine) -> str:
    facts = {
        "processor": f"{machine.processor}, {machine.cores} cores to use",
        "memory": f"{machine.memory_bytes / 2**30:.1f} GiB" if machine.memory_bytes else "unknown",
        "system": machine.system,
        "Python": machine.python,
        "file system": machine.file_system,
        "device": machine.device,
        "load before": f"{machine.load:.2f}",
    }
    return (
        "<dl>"
        + "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
        + "</dl>"
    )
