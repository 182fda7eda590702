"""What goes wrong is told in one line, in the words of a shell's user, whatever the paths, streams
and environment are.
"""

from __future__ import annotations

import errno
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import errors
from actionqueue.cli.exit_codes import exit_code_of
from actionqueue.cli.wording import describe
from tests.support.command_line import (
    PROGRAM,
    SECONDS_MAX,
    assert_fails,
    make_queue,
    patched,
    run,
    tree,
)

WRITING = ("submit", "snapshot", "compact", "repair")
READING = ("due", "dump", "log", "runs", "verify", "stats")
COMMANDS = (*WRITING, *READING)
FORMS = [
    ("log", "--salvage"),
    ("log", "--follow"),
    ("repair", "--accept-data-loss"),
    *[(name,) for name in COMMANDS],
]
CREATING = ("submit",)

OF_PYTHON = re.compile(
    r"readonly|create=|=True|=False|accept_data_loss|the handle|this process|reopen|open it again"
    r"|projection|Traceback|Error\b|\w\(\)"
)
"""What only makes sense to those that call the library."""


def bad_paths(place: Path) -> dict[str, Path]:
    """Return paths at which there is no queue, and none can be made."""
    (place / "file").write_text("text")
    (place / "dangling").symlink_to("nowhere")
    (place / "loop").symlink_to("loop")
    return {
        "below a file": place / "file" / "queue",
        "a dangling link": place / "dangling",
        "a link to itself": place / "loop",
        "a device": Path(os.devnull),
        "a name that is too long": place / ("x" * 300),
        "a path that is too long": Path("/" + "y/" * 3000),
    }


@pytest.mark.platform("modes")
@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_paths_where_no_queue_can_be(tmp_path: Path, form: tuple[str, ...]) -> None:
    paths = bad_paths(tmp_path)
    before = sorted(tmp_path.iterdir())
    for path in paths.values():
        ended = run(form[0], path, *form[1:])
        assert ended.code in {6, 7}
        assert ended.output == ""
        assert_fails(ended, ended.code)
        assert OF_PYTHON.search(ended.error.replace(str(path), "")) is None, ended.error
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.platform("bad names")
@pytest.mark.parametrize("form", FORMS, ids=" ".join)
@pytest.mark.parametrize("name", ["a|b", "a\nb", "a\udcff", "ab:c"])
def test_names_that_windows_takes_nowhere(tmp_path: Path, name: str, form: tuple[str, ...]) -> None:
    ended = run(form[0], tmp_path / name, *form[1:])
    assert_fails(ended, 2, "A path of this system is without")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", [form for form in FORMS if form[0] not in CREATING], ids=" ".join)
def test_directories_without_a_queue(tmp_path: Path, form: tuple[str, ...]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").write_text("text")
    before = tree(tmp_path)
    names = ["empty", "other", "missing", "no/such/directory"]
    if os.name == "posix":
        names.append("odd\n\x1b[31m\udcff")
    for name in names:
        ended = run(form[0], tmp_path / name, *form[1:])
        assert ended.output == ""
        assert_fails(ended, 6, "there is no queue at", "actionqueue submit DIR")
        assert ended.error[:-1].isprintable()
        assert OF_PYTHON.search(ended.error) is None, ended.error
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "form",
    [*FORMS, ("bench", "--directory"), ("demo", "--directory"), ("bench", "--json-file")],
    ids=" ".join,
)
def test_an_empty_path_is_not_the_current_directory(tmp_path: Path, form: tuple[str, ...]) -> None:
    """It is a variable that is not set, and a queue would be made where nobody looks for it."""
    arguments = [form[0], "", *form[1:]] if form[0] in COMMANDS else [*form, ""]
    ended = run(*arguments, cwd=tmp_path)
    assert_fails(ended, 2, "The path is empty")
    assert list(tmp_path.iterdir()) == []


REMOVED = """
import os, sys
os.mkdir(sys.argv[1])
os.chdir(sys.argv[1])
os.rmdir(sys.argv[1])
os.execv(sys.executable, [sys.executable, "-m", "actionqueue", *sys.argv[2:]])
"""


@pytest.mark.platform("exec")
@pytest.mark.parametrize("form", [*FORMS, ("bench",), ("demo",)], ids=" ".join)
def test_a_current_directory_that_was_removed(tmp_path: Path, form: tuple[str, ...]) -> None:
    more = {
        "bench": ["--only", "system", "--rounds", "1"],
        "demo": ["--files", "20", "--directory", "home"],
    }.get(form[0], ["queue"])
    ended = run(
        str(tmp_path / "gone"), form[0], *more, *form[1:], program=[sys.executable, "-c", REMOVED]
    )
    assert_fails(ended, 7, "the current directory was removed")


@pytest.mark.platform("exec")
@pytest.mark.parametrize("name", COMMANDS)
def test_an_absolute_path_needs_no_current_directory(tmp_path: Path, name: str) -> None:
    make_queue(tmp_path / "queue")
    ended = run(
        str(tmp_path / "gone"), name, tmp_path / "queue", program=[sys.executable, "-c", REMOVED]
    )
    assert (ended.code, ended.error) == (0, "")


# --- The words ------------------------------------------------------------------------------------

CAUSE = aq.LogWriteError("fdatasync", "/queue/wal/1.log", errno.EIO)
ERRORS: list[BaseException] = [
    aq.LockedError("/queue/LOCK", 7, "host", 1),
    aq.LockedError("/queue/wal"),
    aq.CorruptLogError("/queue/wal/1.log", 1, 2, "checksum", 3, 4),
    aq.CorruptLogError("/queue/snapshots/1.snap", None, None, "snapshot_differs"),
    aq.UnsupportedFormatError("/queue", 9),
    aq.CompactedError("/queue", 7),
    aq.HistoryChangedError("/queue", 7),
    aq.NotAQueueError("/queue"),
    aq.NotAQueueError("/queue", "/queue/quarantine"),
    *[
        aq.OpenIOError("open", "/queue/LOCK", getattr(errno, name))
        for name in ("EACCES", "EPERM", "EROFS", "ENOSPC", "EMFILE", "EIO")
    ],
    CAUSE,
    aq.LogSpaceError("fallocate", "/queue/wal/2.log", errno.ENOSPC),
    aq.LogCloseError("write", "/queue/wal/2.log", errno.ENOSPC),
    aq.SnapshotError("write", "/queue/snapshots/1.snap", errno.ENOSPC),
    aq.DisplacedError("/queue"),
    aq.StoppedError(),
    aq.AppendError(aq.LogSpaceError("fallocate", "/queue/wal/2.log", errno.ENOSPC)),
    aq.PartialDurabilityError(5, CAUSE),
    aq.PoisonedError(),
    aq.PoisonedError(CAUSE),
    OSError(errno.ENOSPC, "No space left on device"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("command", [*COMMANDS, None], ids=str)
def test_errors_speak_to_the_users_of_a_shell(error: BaseException, command: str | None) -> None:
    said = describe(error, command)
    assert said.isprintable()
    assert OF_PYTHON.search(said) is None, said
    for value in (getattr(error, field) for field in getattr(error, "fields", ())):
        if isinstance(value, str) and value.startswith("/"):
            assert value.rpartition("/")[0] in said
    if getattr(error, "errno", None) is not None:
        assert os.strerror(error.errno) in said  # type: ignore[attr-defined]


def test_every_reason_not_to_open_has_its_words() -> None:
    """And what a write can fail with. What else there is are refusals of commands, which verdicts
    tell.
    """
    kinds = {
        cls
        for _, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, (errors.OpenError, errors.WriterError))
    }
    assert kinds - {type(error) for error in ERRORS} == {
        errors.OpenError,
        errors.WriterError,
    }


@pytest.mark.parametrize(
    ("command", "needed"),
    [*((name, "read") for name in READING), *((name, "write") for name in WRITING)],
)
def test_the_right_that_is_missing_is_the_one_that_the_command_needs(
    command: str, needed: str
) -> None:
    assert f"give this user the right to {needed} there" in describe(
        aq.OpenIOError("open", "/queue/LOCK", errno.EACCES), command
    )


@pytest.mark.parametrize("name", ["snapshot", "dump"])
def test_no_memory_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    make_queue(tmp_path / "queue")
    patch = "import actionqueue.inspection as i, actionqueue as aq\n"
    patch += (
        "def fail(*arguments, **options): raise MemoryError\naq.open = i.read_projection = fail"
    )
    assert_fails(run(name, tmp_path / "queue", program=patched(patch)), 7, "memory")


@pytest.mark.platform("modes")
def test_a_warning_is_one_line(tmp_path: Path) -> None:
    make_queue(tmp_path / "queue")
    (tmp_path / "queue").chmod(0o777)
    ended = run("snapshot", tmp_path / "queue")
    assert ended.code == 0
    assert ended.error.startswith("actionqueue: warning: the queue's directory")
    assert ended.error.count("\n") == 1


def test_other_warnings_are_pythons(tmp_path: Path) -> None:
    make_queue(tmp_path / "queue")
    patch = "import warnings, actionqueue.inspection as i\nold = i.read_projection\n"
    patch += "def read(path):\n    warnings.warn('odd', RuntimeWarning)\n    return old(path)\n"
    patch += "i.read_projection = read"
    assert "RuntimeWarning: odd" in run("dump", tmp_path / "queue", program=patched(patch)).error


STRICT = os.environ | {"PYTHONWARNINGS": "error"}
"""What somebody sets who tests another program."""


@pytest.mark.platform("modes")
@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_no_warning_ends_a_command(tmp_path: Path, form: tuple[str, ...]) -> None:
    make_queue(tmp_path / "queue")
    (tmp_path / "queue").chmod(0o777)
    more = ("--to", "5") if "--follow" in form else ()
    ended = run(form[0], tmp_path / "queue", *form[1:], *more, env=STRICT)
    assert ended.code == 0, ended
    # The other lines are what a salvage has to say.
    told = [line for line in ended.error.splitlines() if not line.startswith("wal: ")]
    is_warned = form[0] in WRITING and form[0] != "repair"
    assert [line.startswith("actionqueue: warning: the queue's directory") for line in told] == [
        True
    ] * is_warned, told


def test_runs_that_end_in_a_far_future_do_not_end_a_compaction(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        task = aq.TaskSpec(payload=b"")
        job = aq.RunInstance.scheduled(task.id, scheduled_at=2**50, created_at=2**50)
        queue.submit(aq.TaskCreateCommand(None, task, 2**50))
        queue.submit(aq.RunCreateCommand(None, job))
        queue.submit(aq.RunStateTransitionCommand(None, job.id, "scheduled", "canceled", 2**50))
    ended = run("compact", tmp_path / "queue", "--retention-seconds", 5, env=STRICT)
    assert ended.code == 0, ended
    assert ended.error.startswith("actionqueue: warning: runs of ")
    assert ended.error.count("\n") == 1


@pytest.mark.parametrize("category", ["RuntimeWarning", "ResourceWarning", "DeprecationWarning"])
def test_other_warnings_end_no_command_either(tmp_path: Path, category: str) -> None:
    make_queue(tmp_path / "queue")
    patch = "import warnings, actionqueue.inspection as i\nold = i.read_projection\n"
    patch += f"def read(path):\n    warnings.warn('odd', {category})\n    return old(path)\n"
    patch += "i.read_projection = read"
    ended = run("dump", tmp_path / "queue", program=patched(patch), env=STRICT)
    assert ended.code == 0, ended
    assert f"{category}: odd" in ended.error
    quiet = run(
        "dump",
        tmp_path / "queue",
        program=patched(patch),
        env=STRICT | {"PYTHONWARNINGS": f"error,ignore::{category}"},
    )
    assert (quiet.code, quiet.error) == (0, "")


# --- Streams and the environment ------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--files", "20"],
        ["bench", "--only", "system", "--rounds", "1", "--seconds", "0.01"],
    ],
)
def test_a_reader_that_goes_away_is_not_a_failure(tmp_path: Path, arguments: list[str]) -> None:
    with subprocess.Popen(
        [*PROGRAM, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(SECONDS_MAX) == 141
        assert process.stderr.read() == b""


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_environment(tmp_path: Path, name: str) -> None:
    """No HOME, no PATH, no locale."""
    make_queue(tmp_path / "queue")
    # Windows' programs do not start without the place of their system.
    needed = {key: value for key, value in os.environ.items() if key.upper() == "SYSTEMROOT"}
    ended = run(name, tmp_path / "queue", env=needed)
    assert (ended.code, ended.error) == (0, "")


PLAIN: dict[str, str] = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
if sys.platform == "win32":  # it has no locale of that kind
    PLAIN["PYTHONIOENCODING"] = "ascii"


@pytest.mark.parametrize(
    "look",
    [lambda path: ("dump", path), lambda path: ("stats", path), lambda _: ("demo", "--files", 20)],
)
def test_a_locale_without_signs_gets_others(
    tmp_path: Path, look: Callable[[Path], tuple[Any, ...]]
) -> None:
    make_queue_with_a_run(tmp_path / "queue")
    ended = run(*look(tmp_path / "queue"), env=os.environ | PLAIN)
    assert (ended.code, ended.error) == (0, "")
    assert ended.output.isascii()
    assert re.search(r"\\u[0-9a-f]{4}", ended.output) is None
    assert "##########" in ended.output


@pytest.mark.parametrize("name", ["dump", "stats", "log", "verify"])
@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "cp932"])
def test_encodings_that_windows_gives_to_pipes(tmp_path: Path, name: str, encoding: str) -> None:
    """The name of the queue has a sign that they lack."""
    path = tmp_path / "dépôt ☃"
    make_queue_with_a_run(path)
    ended = run(name, path, encoding=encoding, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert (ended.code, ended.error) == (0, "")
    assert run(
        name, path / "no", encoding=encoding, env=os.environ | {"PYTHONIOENCODING": encoding}
    ).error.startswith("actionqueue: error: there is no queue")


def make_queue_with_a_run(path: Path) -> None:
    with aq.open(path) as queue:
        task = aq.TaskSpec(payload=b"")
        queue.submit(aq.TaskCreateCommand(None, task, 1))
        queue.submit(
            aq.RunCreateCommand(
                None, aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
            )
        )


def test_following_from_past_the_end(tmp_path: Path) -> None:
    """It is refused at once: nothing would ever come, where the number is another queue's or from
    before a restore.
    """
    make_queue(tmp_path / "queue")
    ended = run("log", "--follow", "--from", 100, tmp_path / "queue")
    assert_fails(
        ended, exit_code_of(errors.HistoryChangedError("/queue", 99)), "no event 99", "--from"
    )
    assert ended.output == ""
