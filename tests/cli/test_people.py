"""What people read: it fits a terminal of 80 columns, and times are dates."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest
from rich.cells import cell_len

import actionqueue as aq
from actionqueue.cli.application import application
from actionqueue.inspection import iterate_records
from actionqueue.limits import U64_MAX
from tests.support.command_line import lines, run, shown_on_a_terminal
from tests.support.vectors import STREAMS, stream

NOON = 1_000_000_000 + 36_800
NOON_TEXT = "2001-09-09T12:00:00Z"
WIDE = "工人" * 80
COMMANDS = application.list_commands(click.Context(application))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue with something of every kind."""
    directory = tmp_path_factory.mktemp("recorded") / "queue"
    assert (
        run(
            "submit", directory, stdin=lines(*(line["command"] for line in stream(STREAMS[1])))
        ).code
        == 0
    )
    return directory


@pytest.fixture
def leased(tmp_path: Path) -> Path:
    """A queue with a leased run, paused, at noon; the owner is longer than a line, and the lease
    ends with time itself.
    """
    path = tmp_path / "queue"
    task = aq.TaskSpec(payload=b"")
    run_instance = aq.RunInstance.scheduled(task.id, scheduled_at=NOON, created_at=NOON)
    with aq.open(path) as queue:
        queue.submit(aq.TaskCreateCommand(None, task, NOON))
        queue.submit(aq.RunCreateCommand(None, run_instance))
        queue.submit(
            aq.RunStateTransitionCommand(None, run_instance.id, "scheduled", "ready", NOON)
        )
        queue.submit(aq.LeaseAcquireCommand(None, run_instance.id, WIDE, U64_MAX, NOON))
        queue.submit(aq.EnginePauseCommand(None, NOON))
    return path


def widest(text: str) -> int:
    return max(map(cell_len, text.splitlines()))


@pytest.mark.platform("terminals")
@pytest.mark.parametrize("command", ["dump", "log", "stats"])
@pytest.mark.parametrize("columns", [80, 60])
def test_no_line_is_wider_than_the_terminal(
    recorded: Path, leased: Path, command: str, columns: int
) -> None:
    for queue in (recorded, leased):
        shown = re.sub(
            "\x1b\\[[0-9;?]*[a-z]", "", shown_on_a_terminal(command, queue, columns=columns)
        )
        assert widest(shown) <= columns
        assert "…" not in shown or command == "log"


@pytest.mark.platform("terminals")
def test_a_folded_line_of_the_log_says_all_of_it(recorded: Path, leased: Path) -> None:
    for queue in (recorded, leased):
        piped = run("log", queue).output
        folded = shown_on_a_terminal("log", queue, columns=80)
        assert "".join(folded.split()) == "".join(piped.split())
        assert len(piped.splitlines()) == sum(1 for _ in iterate_records(queue))
        begins = [line for line in folded.splitlines() if not line.startswith(" " * 12)]
        assert len(begins) == len(piped.splitlines())


def test_what_is_no_terminal_gets_tables_of_80_columns(leased: Path) -> None:
    assert widest(run("dump", leased).output) <= 80


def test_times_are_dates(leased: Path) -> None:
    overview = run("dump", leased).output
    assert f"engine paused since {NOON_TEXT}" in overview
    run_line = next(
        line for line in overview.splitlines() if " ready " in line and NOON_TEXT in line
    )
    assert len(run_line) <= 80
    log = run("log", leased).output
    for name in ("timestamp", "created_at", "scheduled_at", "last_state_change_at"):
        assert f"{name}={NOON_TEXT}" in log
    assert str(NOON) not in overview + log


def test_a_number_that_is_no_time_is_shown_as_it_is(leased: Path) -> None:
    assert f"expiry={U64_MAX}" in run("log", leased).output
    assert str(U64_MAX) in run("dump", leased).output


def test_programs_get_unix_seconds(leased: Path) -> None:
    events = [entry["event"] for entry in run("log", leased, "--json").objects if entry["event"]]
    assert events[0]["timestamp"] == NOON
    assert (
        NOON_TEXT
        not in run("dump", leased, "--json").output + run("dump", leased, "--jsonl").output
    )


@pytest.mark.platform("terminals")
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_fits_a_terminal(command: tuple[str, ...]) -> None:
    assert widest(shown_on_a_terminal(*command, "--help", columns=80)) <= 80


@pytest.mark.parametrize("size", ["0", "", "-1", "x", "\u00b2", "9" * 5000])
def test_a_size_that_is_none_is_not_taken(leased: Path, size: str) -> None:
    usual = run("stats", leased).output
    ended = run("stats", leased, env=os.environ | {"COLUMNS": size, "LINES": size})
    assert (ended.code, ended.error, ended.output) == (0, "", usual)
