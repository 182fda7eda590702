from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.cli.exit_codes import MEANINGS, ExitCode, exit_code_of
from tests.support.command_line import (
    READING,
    assert_fails,
    lines,
    make_queue,
    patched,
    pause_and_resume,
    run,
)

WRITING = ("submit", "snapshot", "compact", "repair")
COMMANDS = ("bench", "demo", *WRITING, *READING)
UNWRITABLE = "import os; os.dup2(os.open(os.devnull, os.O_RDONLY), 1)"

BAD_USAGE = {
    "no command": [],
    "unknown command": ["mend"],
    "unknown option": ["--fast"],
    **{f"{name} without directory": [name] for name in (*WRITING, *READING)},
    **{f"{name} with two directories": [name, "a", "b"] for name in (*WRITING, *READING)},
    **{f"{name} of a file": [name, __file__] for name in (*WRITING, *READING)},
    **{f"{name} with an unknown option": [name, "a", "--fast"] for name in COMMANDS},
    "unknown durability": ["submit", "a", "--durability", "sometimes"],
    "option without value": ["submit", "a", "--durability"],
    "a negative retention": ["compact", "a", "--retention-seconds", "-1"],
    "log from no number": ["log", "a", "--from", "x"],
    "log from a negative number": ["log", "a", "--from", "-1"],
    "too few files": ["demo", "--files", "3"],
    "no workers": ["demo", "--workers", "0"],
    "demo in a directory with files": ["demo", "--directory", str(Path(__file__).parent)],
    "bench without a directory": ["bench", "--directory", "missing"],
    "bench of no mode": ["bench", "--only", "sometimes"],
    "bench of no rounds": ["bench", "--rounds", "0"],
    "bench of no time": ["bench", "--seconds", "0"],
    "bench of no thread": ["bench", "--threads", "0"],
    "demo in a file": ["demo", "--directory", __file__],
}


@pytest.mark.parametrize("arguments", BAD_USAGE.values(), ids=BAD_USAGE)
def test_bad_usage(tmp_path: Path, arguments: list[str]) -> None:
    ended = run(*arguments, cwd=tmp_path)
    assert ended.output == ""
    assert_fails(ended, 2, "--help")
    assert not list(tmp_path.iterdir())


def test_help_names_every_command_and_exit_code() -> None:
    ended = run("--help")
    assert (ended.code, ended.error) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in ended.output
    for code, meaning in MEANINGS.items():
        assert f"{code:>5}  {meaning}\n" in ended.output
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    ended = run(name, "--help")
    assert (ended.code, ended.error) == (0, "")
    assert ended.output.startswith(f"Usage: actionqueue {name} ")


def test_the_version() -> None:
    assert run("--version") == (0, f"actionqueue {aq.__version__}\n", "")


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_one_line_says_what_to_install(tmp_path: Path, missing: str) -> None:
    (tmp_path / f"{missing}.py").write_text(
        f"raise ModuleNotFoundError('none', name={missing!r})\n"
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    ended = run("verify", tmp_path, env=os.environ | {"PYTHONPATH": paths})
    assert_fails(ended, 9, "pip install 'actionqueue[cli]'")


def test_the_library_does_not_import_the_extra() -> None:
    code = "import sys, actionqueue, actionqueue.cli.entry\n"
    code += "assert not {'click', 'rich'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "form", [(name, *more) for name in READING for more in ((), ("--json",))], ids=" ".join
)
def test_output_that_cannot_be_written(tmp_path: Path, form: tuple[str, ...]) -> None:
    make_queue(tmp_path / "queue")
    with aq.open(tmp_path / "queue") as queue:  # a run that is due, so that there is output
        task = aq.TaskSpec(payload=b"x")
        run_of_it = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
        queue.submit(aq.TaskCreateCommand(None, task, 1))
        queue.submit(aq.RunCreateCommand(None, run_of_it))
    ended = run(form[0], tmp_path / "queue", *form[1:], program=patched(UNWRITABLE))
    assert_fails(ended, 7, f"standard input or output: {os.strerror(errno.EBADF)}")


def test_verdicts_that_cannot_be_written(tmp_path: Path) -> None:
    ended = run(
        "submit", tmp_path / "queue", stdin=lines(*pause_and_resume(1)), program=patched(UNWRITABLE)
    )
    assert_fails(ended, 7, f"standard input or output: {os.strerror(errno.EBADF)}")
    assert run("verify", tmp_path / "queue", "--json").objects[0]["is_clean"]


@pytest.mark.platform("shell")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("name", [*WRITING, *READING])
def test_closed_standard_streams_do_not_reach_the_queue(
    tmp_path: Path, name: str, closed: str
) -> None:
    make_queue(tmp_path / "queue")
    command = f'exec "{sys.executable}" -m actionqueue {name} "{tmp_path / "queue"}" {closed}'
    assert (
        subprocess.run(
            ["sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, check=False
        ).returncode
        == 0
    )
    assert run("verify", tmp_path / "queue", "--json").objects[0]["events"] == 20


def test_exit_codes_of_errors() -> None:
    expected = {
        aq.LockedError("LOCK"): 4,
        aq.CorruptLogError("queue", 1, 2, "checksum"): 5,
        aq.MalformedEventError(): 5,
        aq.NotAQueueError("queue"): 6,
        aq.UnsupportedFormatError("queue", 2): 6,
        aq.OpenIOError("open", "queue", 13): 7,
        aq.AppendError(aq.LogSpaceError("write", "log", 28)): 8,
        aq.LogCloseError("write", "log", 28): 7,
        aq.SnapshotError("write", "snapshot", 28): 7,
        aq.CompactedError("queue", 7): 10,
        aq.PartialDurabilityError(1, aq.LogWriteError("fdatasync", "log", 5)): 8,
    }
    assert {error: int(exit_code_of(error)) for error in expected} == expected


@pytest.mark.parametrize(
    "text", ["pid=12\nhost=a\x1b[31m\nstarted=99999999999999999999\n", "", "\xff\x00"]
)
def test_a_lock_file_that_was_tampered_with_still_gives_one_line(tmp_path: Path, text: str) -> None:
    with aq.open(tmp_path / "queue"):
        (tmp_path / "queue" / "LOCK").write_text(text, encoding="latin-1")
        ended = run("verify", tmp_path / "queue")
    assert_fails(ended, 4, "is in use")
    assert ended.error[:-1].isprintable()


@pytest.mark.parametrize("start", ["_actionqueue_start", "actionqueue.cli.entry"])
def test_the_collector_works_while_a_command_does(start: str) -> None:
    """It leaves alone what was imported, which takes a third of a short command's time."""
    told = "print(gc.isenabled(), gc.get_freeze_count() > 0, file=sys.stderr)"
    code = f"import atexit, gc, sys\natexit.register(lambda: {told})\n"
    ended = run(
        "stats",
        "--help",
        program=[sys.executable, "-c", f"{code}import {start} as start; start.main()"],
    )
    assert (ended.code, ended.error) == (0, "True True\n")
