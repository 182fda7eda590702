from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from errno import ENOSPC
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len

import actionqueue as aq
from actionqueue.bench.machine import machine_of
from actionqueue.demo import tasks
from actionqueue.demo.files import choose_trouble, standard_library
from actionqueue.demo.messages import Trouble
from actionqueue.demo.proof import fingerprint, prove
from actionqueue.demo.report import Screen
from actionqueue.demo.run import Options, _show_speed, plan_of
from actionqueue.demo.run import run as run_here
from actionqueue.demo.tasks import ATTEMPTS_MAX, SWEEP, task_id_of
from actionqueue.inspection import iterate_records, read_projection
from tests.support import places
from tests.support.command_line import SECONDS_MAX, run, started, strike

FILES = 60
SEED = 3
EXAMPLE = places.ROOT / "examples" / "scheduler.py"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory and output of a demo that went well."""
    home = tmp_path_factory.mktemp("demo") / "home"
    ended = run(
        "demo",
        "--directory",
        home,
        "--files",
        FILES,
        "--workers",
        3,
        "--seed",
        SEED,
        env=os.environ | {"COLUMNS": "80"},
    )
    assert (ended.code, ended.error) == (0, "")
    return home, ended.output


@pytest.fixture
def home(shown: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy of the demo's directory, to do things to."""
    return Path(shutil.copytree(shown[0], tmp_path / "home"))


def paths() -> list[str]:
    return standard_library(FILES, SEED)


def failed_statements(home: Path, live: str | None = None) -> set[str]:
    queue = home / "queue"
    live = fingerprint(read_projection(queue)) if live is None else live
    statements = prove(
        queue, home / "acknowledged.jsonl", paths(), choose_trouble(paths(), SEED), live
    )
    return {statement.text for statement in statements if not statement.holds}


# --- The demo as it is ----------------------------------------------------------------------------


def test_everything_that_was_announced_happened(shown: tuple[Path, str]) -> None:
    home, output = shown
    assert "✗  " not in output
    assert output.count(" ✓ ") == 10
    assert output.count("kill -9") == 2
    *story, command = output.splitlines()
    assert max(map(cell_len, story)) <= 79
    assert re.search(r"Speed: [\d,]+ jobs a second, ", output)
    assert command == f"  actionqueue stats {home / 'queue'}"
    names = [record.name for record in iterate_records(home / "queue")]
    for name in (
        "engine_paused",
        "engine_resumed",
        "budget_allocated",
        "budget_replenished",
        "lease_expired",
    ):
        assert name in names


def test_the_proof_can_be_repeated(home: Path) -> None:
    assert failed_statements(home) == set()


def test_every_file_is_accounted_for(home: Path) -> None:
    """The same as the proof says, read from the projection instead of the events."""
    projection = read_projection(home / "queue")
    trouble = choose_trouble(paths(), SEED)
    for path in paths():
        (one,) = projection.runs_of_task(task_id_of(path))
        results = [attempt.result for attempt in projection.attempts(one.id) or ()]
        assert results.count(aq.AttemptResultKind.SUCCESS) == (one.state is aq.RunState.COMPLETED)
        assert one.is_terminal
        if path == trouble.fails_always:
            assert one.state is aq.RunState.FAILED
            assert results.count(aq.AttemptResultKind.FAILURE) == ATTEMPTS_MAX
        if path == trouble.hangs:
            assert results[0] is aq.AttemptResultKind.TIMEOUT
    assert len(projection.task_ids()) == FILES + 1


def test_the_outputs_are_right(home: Path) -> None:
    projection = read_projection(home / "queue")
    completed = projection.run_ids(aq.RunState.COMPLETED)
    for run_id in completed[::10]:
        one = projection.run(run_id)
        assert one is not None
        task = projection.task(one.task_id)
        assert task is not None
        source = Path(os.fsdecode(task.spec.payload.data)).read_bytes()
        (output,) = (
            attempt.output
            for attempt in projection.attempts(run_id) or ()
            if attempt.output is not None
        )
        assert json.loads(output)["lines"] == len(source.splitlines())


def test_the_kept_queue_is_sound(home: Path) -> None:
    assert run("verify", home / "queue", "--json").objects[0]["is_clean"]


# --- The proof notices ----------------------------------------------------------------------------


def change_record(home: Path, change: Callable[[list[str]], None]) -> None:
    record = home / "acknowledged.jsonl"
    entries = record.read_text("utf-8").splitlines(keepends=True)
    change(entries)
    record.write_text("".join(entries))


def test_an_acknowledged_step_that_is_not_in_the_log(home: Path) -> None:
    change_record(home, lambda entries: entries.append('[["engine_paused"]]\n'))
    assert failed_statements(home) == {"Everything acknowledged is in the log"}


@pytest.mark.parametrize(
    "kind", ["task_created", "lease_acquired", "attempt_finished", "budget_consumed"]
)
def test_an_acknowledged_step_that_is_not_as_it_was(home: Path, kind: str) -> None:
    def otherwise(entries: list[str]) -> None:
        line = next(i for i, entry in enumerate(entries) if f'"{kind}"' in entry)
        facts = json.loads(entries[line])
        changed = next(fact for fact in facts if fact[0] == kind)
        changed[-1] += "0"
        entries[line] = json.dumps(facts) + "\n"

    change_record(home, otherwise)
    assert failed_statements(home) == {"Everything acknowledged is in the log"}


def test_nothing_acknowledged_proves_nothing(home: Path) -> None:
    change_record(home, lambda entries: entries.clear())
    assert failed_statements(home) == {"Everything acknowledged is in the log"}


def test_another_projection_than_the_schedulers(home: Path) -> None:
    assert failed_statements(home, live="another") == {"Replaying gives the same projection"}


def submit(home: Path, make: Callable[[aq.Projection], list[aq.MutationCommand]]) -> None:
    with aq.open(home / "queue") as queue:
        queue.submit_many(make(queue.projection))


def second_run(path: str, result: aq.AttemptOutcome, end: aq.RunState) -> list[aq.MutationCommand]:
    one = aq.RunInstance.scheduled(task_id_of(path), scheduled_at=1, created_at=1)
    attempt = aq.AttemptId()
    states = (aq.RunState.SCHEDULED, aq.RunState.READY, aq.RunState.LEASED, aq.RunState.RUNNING)
    steps = [aq.RunStateTransitionCommand(None, one.id, *pair, 1) for pair in pairwise(states)]
    return [
        aq.RunCreateCommand(None, one),
        *steps,
        aq.AttemptStartCommand(None, one.id, attempt, 1),
        aq.AttemptFinishCommand(None, one.id, attempt, result, 1),
        aq.RunStateTransitionCommand(None, one.id, aq.RunState.RUNNING, end, 1),
    ]


def test_a_file_that_was_done_twice(home: Path) -> None:
    submit(
        home,
        lambda _: second_run(paths()[0], aq.AttemptOutcome.success(b"x"), aq.RunState.COMPLETED),
    )
    assert failed_statements(home) == {"One task and one run for every file"}


def test_a_completed_run_without_success(home: Path) -> None:
    submit(
        home, lambda _: second_run(paths()[0], aq.AttemptOutcome.failure(""), aq.RunState.COMPLETED)
    )
    assert "Every sound file completed exactly once" in failed_statements(home)


def test_a_file_that_was_given_up_too_early(home: Path) -> None:
    submit(
        home, lambda _: second_run(paths()[0], aq.AttemptOutcome.failure(""), aq.RunState.FAILED)
    )
    assert "Every other file failed, with a reason" in failed_statements(home)


def test_a_lease_in_a_pause_and_without_budget(home: Path) -> None:
    def lease(projection: aq.Projection) -> list[aq.MutationCommand]:
        budget = projection.budget(SWEEP, aq.BudgetDimension.TOKEN)
        assert budget is not None
        one = aq.RunInstance.scheduled(task_id_of(paths()[0]), scheduled_at=1, created_at=1)
        return [
            aq.EnginePauseCommand(None, 1),
            aq.BudgetConsumeCommand(None, SWEEP, aq.BudgetDimension.TOKEN, budget.limit, 1),
            aq.RunCreateCommand(None, one),
            aq.RunStateTransitionCommand(None, one.id, aq.RunState.SCHEDULED, aq.RunState.READY, 1),
            aq.LeaseAcquireCommand(None, one.id, "w", 1, 1),
        ]

    submit(home, lease)
    assert {
        "Nothing was leased while paused",
        "Nothing was leased without budget",
    } <= failed_statements(home)


@pytest.mark.parametrize(
    ("finisher", "ends", "holds"),
    [("another", True, True), ("hangs", True, False), ("another", False, False)],
)
def test_on_a_slow_machine(tmp_path: Path, finisher: str, ends: bool, holds: bool) -> None:
    """The lease of a worker that is only slow expires, and it takes the same run again: all is
    well, as long as that comes to an end.
    """
    time = 1000
    files = ["/lib/hangs.py", "/lib/slow.py"]
    with aq.open(tmp_path / "queue") as queue:
        scheduler = aq.Scheduler(queue, lease_seconds=3, clock=lambda: time)
        list(tasks.plan(scheduler, files, budget=1000))
        for owner in ("hangs", "slow"):
            scheduler.claim(owner)
        time += 3
        assert len(scheduler.tick().expired) == 2
        time += 1
        scheduler.tick()
        for owner, takes in ((finisher, True), ("slow", ends)):
            (again,) = scheduler.claim(owner)
            if takes:
                scheduler.complete(again, b"output")
        live = fingerprint(queue.projection)
    (tmp_path / "record").touch()
    statements = prove(
        tmp_path / "queue", tmp_path / "record", files, Trouble(files[0], "", frozenset()), live
    )
    text = "What the killed had begun was finished"
    assert [statement.holds for statement in statements if statement.text == text] == [holds]


def test_all_of_the_trouble_comes_while_there_is_work_left(tmp_path: Path) -> None:
    files = standard_library(20, SEED)
    sizes = sorted(Path(path).stat().st_size for path in files)
    for workers in (1, 2, 64):
        plan = plan_of(tmp_path, files, Options(worker_count=workers))
        assert 1 <= plan.worker_count <= min(workers, 5)
        # A lease is asked for while all but these are done, and one is left: the budget is used up
        # by then.
        assert 0 < plan.first_budget <= sum(sizes[: -plan.worker_count - 1])


# --- The demo that goes wrong ---------------------------------------------------------------------


def test_an_interrupt_ends_every_process(tmp_path: Path) -> None:
    with started(
        *("demo", "--directory", tmp_path / "home", "--files", FILES),
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "kill -9" in line:
                break
        if sys.platform == "win32":
            strike(process, signal.SIGINT)
        else:
            os.killpg(process.pid, signal.SIGINT)
        # The pipes end when the last process that has them does.
        _, error = process.communicate(timeout=SECONDS_MAX)
    assert (process.returncode, error) == (130, "")
    assert run("verify", tmp_path / "home" / "queue").code == 0


def test_a_scheduler_that_dies_by_itself_fails_the_demo(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "queue").write_text("a file where the scheduler wants a directory")
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom actionqueue.demo.run import Options, run\n"
        "if __name__ == '__main__':\n"
        f"    sys.exit(not run(Options(directory=Path(sys.argv[1]), file_count={FILES})))\n"
    )
    ended = run(home, program=[sys.executable, str(script)])
    assert ended.code == 1
    assert ended.error.startswith("The demo failed: the scheduler stopped: ")
    assert str(home / "queue") in ended.error
    assert ended.error.count("\n") == 1  # no traceback


def test_a_disk_without_room_for_the_measurement_leaves_the_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> float:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr("actionqueue.demo.run.jobs_per_second", refuse)
    assert run_here(Options(directory=tmp_path / "home", file_count=20))
    assert "Speed: not measured: [Errno" in capsys.readouterr().out


def test_a_measurement_in_memory_promises_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = msgspec.structs.replace(machine_of(tmp_path), is_in_memory=True)
    monkeypatch.setattr("actionqueue.demo.run.machine_of", lambda _: machine)
    with Screen(1) as screen:
        _show_speed(tmp_path, screen)
    shown = " ".join(capsys.readouterr().out.split())
    assert "file system is in memory" in shown
    assert "on disk" not in shown


def test_a_scheduler_that_does_not_live_to_begin_fails_the_demo(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif '--multiprocessing-fork' in sys.orig_argv:\n    os._exit(3)\n"
    )
    ended = run("demo", "--files", 20, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert ended.code == 1
    assert ended.error.endswith("The demo failed: the scheduler ended without a kill.\n")


# --- The example ----------------------------------------------------------------------------------


def test_the_example_runs_and_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "queue")]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(4)]
        process.kill()
    assert first[1:] == [f"job {number}: JOB {number}, completed\n" for number in range(3)]
    second = subprocess.run(
        command, capture_output=True, encoding="utf-8", check=True, timeout=SECONDS_MAX
    ).stdout
    assert "job 0" not in second
    assert second.endswith("9 completed, 1 failed\n")
    third = subprocess.run(
        command, capture_output=True, encoding="utf-8", check=True, timeout=SECONDS_MAX
    ).stdout.splitlines()
    assert third[1:] == ["9 completed, 1 failed"]


def test_the_example_needs_no_directory() -> None:
    ended = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        capture_output=True,
        encoding="utf-8",
        check=True,
        timeout=SECONDS_MAX,
    )
    assert ended.stdout.endswith("9 completed, 1 failed\n")
    assert len(EXAMPLE.read_text("utf-8").splitlines()) <= 80
