"""``runs`` and ``due``: what waits, and what a scheduler should have done by now."""

from __future__ import annotations

from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue import RunId, RunState
from tests.support.command_line import assert_fails, run

S = RunState


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[RunId]]:
    """Thirty runs: the first is late with its attempt, the second with its lease, two wait."""
    path = tmp_path_factory.mktemp("due") / "queue"
    task = aq.TaskSpec(payload=b"x", constraints=aq.TaskConstraints(timeout_secs=50))
    runs = [
        aq.RunInstance.scheduled(task.id, scheduled_at=1000 + number, created_at=900)
        for number in range(30)
    ]
    ids = [run.id for run in runs]
    with aq.open(path, durability="deferred") as opened:
        opened.submit(aq.TaskCreateCommand(None, task, 900))
        opened.submit_many([aq.RunCreateCommand(None, run) for run in runs])
        for run_id in ids[:28]:
            opened.submit(aq.RunStateTransitionCommand(None, run_id, S.SCHEDULED, S.READY, 1100))
        for run_id in ids[:2]:
            opened.submit(aq.LeaseAcquireCommand(None, run_id, "worker \x1b[31m", 1200, 1100))
            opened.submit(aq.RunStateTransitionCommand(None, run_id, S.READY, S.LEASED, 1100))
        opened.submit(aq.RunStateTransitionCommand(None, ids[0], S.LEASED, S.RUNNING, 1100))
        opened.submit(aq.AttemptStartCommand(None, ids[0], aq.AttemptId(), 1100))
        opened.submit(aq.LeaseHeartbeatCommand(None, ids[0], "worker \x1b[31m", 5000, 1100))
    return path, ids


def test_runs_of_a_state(queue: tuple[Path, list[RunId]]) -> None:
    path, ids = queue
    shown = run("runs", path, "--state", "ready", "--limit", "3")
    assert (shown.code, shown.error) == (0, "")
    lines = shown.output.splitlines()
    assert lines[0] == "3 of 26 ready runs"
    assert [line.split()[0] for line in lines[2:5]] == [str(run_id) for run_id in ids[2:5]]
    assert lines[5] == f"more: --state ready --after {ids[4]}"
    rest = run("runs", path, "--state", "ready", "--limit", "99", "--after", str(ids[4]))
    assert [line.split()[0] for line in rest.output.splitlines()[2:]] == list(map(str, ids[5:28]))
    assert run("runs", path, "--state", "failed").output == "0 failed runs\n"


def test_all_runs_with_their_leases(queue: tuple[Path, list[RunId]]) -> None:
    path, ids = queue
    shown = run("runs", path).output
    assert shown.splitlines()[0] == "20 of 30 runs"
    assert shown.count("leased by worker \\x1b[31m until") == 2
    rows = run("runs", path, "--json", "--limit", "30").objects
    assert [row["id"] for row in rows] == list(map(str, ids))
    assert rows[0]["state"] == "running"
    assert rows[0]["lease"]["owner"] == "worker \x1b[31m"
    assert rows[5]["lease"] is None


def test_what_is_due(queue: tuple[Path, list[RunId]]) -> None:
    path, ids = queue
    rows = run("due", path, "--json", "--at", "1200").objects
    assert [(row["kind"], row["run_id"], row["time"]) for row in rows] == [
        ("run", str(ids[28]), 1028),
        ("run", str(ids[29]), 1029),
        ("lease", str(ids[1]), 1200),
        ("attempt", str(ids[0]), 1150),
    ]
    lines = run("due", path, "--at", "1200", "--limit", "1").output.splitlines()
    assert [line.split()[0] for line in lines] == [
        "run",
        str(ids[28]),
        "more",
        str(ids[1]),
        str(ids[0]),
    ]
    assert lines[2] == "more of these: raise --limit 1"
    assert [row["kind"] for row in run("due", path, "--json").objects[-2:]] == ["lease", "attempt"]


def test_when_something_will_be_due(queue: tuple[Path, list[RunId]], tmp_path: Path) -> None:
    path, _ = queue
    shown = run("due", path, "--at", "0").output
    assert shown == "nothing is due; the next time that a run is due is 1970-01-01T00:17:08Z\n"
    assert run("due", path, "--at", "0", "--json").output == ""
    with aq.open(tmp_path / "empty"):
        pass
    assert run("due", tmp_path / "empty").output == "nothing is due, and nothing will be\n"


@pytest.mark.parametrize(
    "options",
    [
        ("runs", "--limit", "0"),
        ("runs", "--limit", "x"),
        ("runs", "--state", "asleep"),
        ("runs", "--after", "\x1b[31m"),
        ("runs", "--after", "00000000-0000-4000-8000-000000000001"),
        ("due", "--limit", "1000001"),
        ("due", "--at", "-1"),
        ("due", "--at", "tomorrow"),
    ],
    ids=" ".join,
)
def test_what_is_no_such_option(queue: tuple[Path, list[RunId]], options: tuple[str, ...]) -> None:
    ended = run(options[0], queue[0], *options[1:])
    assert ended.output == ""
    assert_fails(ended, 2, options[1])
