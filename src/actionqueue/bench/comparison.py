"""Measure all modes in turn, round by round, and the disk's own sync with them."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from actionqueue.bench.disk import FLOOR_BYTES, floor_in
from actionqueue.bench.machine import Machine, machine_of
from actionqueue.bench.modes import NOTHING_IN_MEMORY, Mode
from actionqueue.bench.report import Disk, ModeResult, Report, Round
from actionqueue.bench.rounds import Limit, Measured, measure_round
from actionqueue.bench.spread import Latency, Spread
from actionqueue.temporary import temporary_directory

__all__ = ["compare"]

Tell = Callable[[int, int, str], None]
"""compare() calls it before each part: parts done, parts in all, and the next part's title."""


def compare(modes: list[Mode], directory: Path, *, rounds: int, limit: Limit, tell: Tell) -> Report:
    """Measure every mode in every round, and return the report.

    The modes take turns, and each round begins with another one, so that other work of the machine
    meets all of them. The call writes everything to a new directory within the given one, and
    removes it in the end, also after Ctrl-C, SIGTERM and SIGHUP, on Windows Ctrl-Break.

    Raises what opening a queue and submitting raise; OSError if it cannot write to the directory.
    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    with temporary_directory("actionqueue-bench-", directory) as base:
        machine = machine_of(base)
        measured: dict[str, list[Measured]] = {mode.name: [] for mode in modes}
        floors: list[array[int]] = []
        total = rounds * (len(modes) + 1)
        with floor_in(base) as floor:
            for number in range(rounds):
                done = number * (len(modes) + 1)
                tell(done, total, "the disk alone")
                floors.append(array("Q"))
                floor.commit_many(floors[-1], seconds=limit.seconds, count_max=limit.commands)
                turn = number % len(modes)
                for place, mode in enumerate(modes[turn:] + modes[:turn], 1):
                    tell(done + place, total, mode.title)
                    measured[mode.name].append(measure_round(mode, base, limit))
            tell(total, total, "done")
    return Report(
        started_at=started_at,
        machine=machine,
        rounds=rounds,
        seconds_a_round=limit.seconds,
        disk=_disk(floors),
        modes=[_result(_where_it_was(mode, machine), measured[mode.name]) for mode in modes],
    )


def _where_it_was(mode: Mode, machine: Machine) -> Mode:
    return (
        msgspec.structs.replace(mode, survives_power_loss=NOTHING_IN_MEMORY)
        if machine.is_in_memory
        else mode
    )


def _disk(floors: list[array[int]]) -> Disk:
    return Disk(
        write_bytes=FLOOR_BYTES,
        rate=Spread.of(len(times) * 1e9 / sum(times) for times in floors),
        latency=Latency.of(latency for times in floors for latency in times),
    )


def _result(mode: Mode, rounds: list[Measured]) -> ModeResult:
    commands = sum(done.commands for done in rounds)
    return ModeResult(
        mode=mode,
        rate=Spread.of(done.rate for done in rounds),
        latency=Latency.of(latency for done in rounds for latency in done.latencies_ns),
        commands_a_sync=commands / syncs if (syncs := sum(done.syncs for done in rounds)) else None,
        bytes_a_command=sum(done.record_bytes for done in rounds) / commands,
        at_risk_max=max(done.at_risk_max for done in rounds),
        rounds=[
            Round(commands=done.commands, seconds=done.seconds, syncs=done.syncs) for done in rounds
        ],
    )
