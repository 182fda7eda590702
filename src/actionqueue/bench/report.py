"""The findings of a comparison: JSON with everything, CSV with a line a mode."""

from __future__ import annotations

import csv
import io
from typing import Any

import msgspec

from actionqueue.bench.machine import Machine
from actionqueue.bench.modes import Mode
from actionqueue.bench.spread import Latency, Spread

__all__ = ["CSV_COLUMNS", "Disk", "ModeResult", "Report", "Round", "csv_of", "json_of"]


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one round of one mode."""

    commands: int
    seconds: float
    syncs: int


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """Writing a record's bytes into a preallocated file and syncing it, without this library."""

    write_bytes: int
    rate: Spread
    """Syncs a second."""
    latency: Latency


class ModeResult(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a mode over all rounds."""

    mode: Mode
    rate: Spread
    """Commands a second, of each round."""
    latency: Latency
    """The times of one call of submit; with groups, of submit_many."""
    commands_a_sync: float | None
    """None if the mode synced nothing."""
    bytes_a_command: float
    at_risk_max: int
    """The most events that the benchmark saw acknowledged but not durable at one time."""
    rounds: list[Round]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison of fsync policies."""

    kind: str = "actionqueue fsync policies"
    format: int = 1
    """It goes up when a field changes its meaning or goes away."""
    started_at: str
    """ISO 8601, in UTC."""
    machine: Machine
    rounds: int
    seconds_a_round: float
    disk: Disk
    modes: list[ModeResult]


CSV_COLUMNS = (
    "mode",
    "title",
    "commands_per_second_median",
    "commands_per_second_min",
    "commands_per_second_max",
    "submit_p50_ns",
    "submit_p99_ns",
    "submit_p999_ns",
    "submit_max_ns",
    "commands_per_sync",
    "bytes_per_command",
    "at_risk_max",
    "survives_kill",
    "survives_power_loss",
)


def json_of(report: Report) -> bytes:
    """Return the report as JSON, indented."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def csv_of(report: Report) -> str:
    """Return the report as CSV (RFC 4180): a heading, the disk alone, then a line a mode."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CSV_COLUMNS)
    disk = report.disk
    writer.writerow(
        [
            "disk",
            "write and sync, without this library",
            *_figures(disk.rate, disk.latency),
            1,
            disk.write_bytes,
            0,
            "",
            "",
        ]
    )
    for result in report.modes:
        mode = result.mode
        a_sync = "" if result.commands_a_sync is None else round(result.commands_a_sync, 3)
        row = [
            mode.name,
            mode.title,
            *_figures(result.rate, result.latency),
            a_sync,
            round(result.bytes_a_command, 2),
            result.at_risk_max,
        ]
        writer.writerow([*row, mode.survives_kill, mode.survives_power_loss])
    return text.getvalue()


def _figures(rate: Spread, latency: Latency) -> list[Any]:
    rates = [round(value, 1) for value in (rate.median, rate.minimum, rate.maximum)]
    return [
        *rates,
        latency.p50_ns,
        latency.p99_ns,
        latency.p999_ns if latency.has_p999 else "",
        latency.max_ns,
    ]
