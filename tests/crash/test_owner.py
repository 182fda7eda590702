"""What root makes in a queue of another user is that user's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.errors import UnsafeDirectoryWarning
from tests.support.crash.children import Line, run
from tests.support.queues import IN_MEMORY, task_create

pytestmark = [
    pytest.mark.system("root"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

USER, GROUP = 12345, 23456


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of that user's, which it can reach."""
    with tempfile.TemporaryDirectory(prefix="actionqueue-", dir=IN_MEMORY) as made:
        os.chown(made, USER, GROUP)
        yield Path(made)


def test_a_service_opens_its_queue_after_an_operators_commands(home: Path) -> None:
    path = home / "queue"

    def serve(line: Line) -> None:
        os.setgid(GROUP)
        os.setuid(USER)
        with aq.open(path) as queue:
            queue.submit(task_create())
            queue.snapshot()
            line.say(queue.sequence)

    assert run(serve) == [(1,)]
    for command in (
        ["compact"],
        ["snapshot"],
        ["stats", "--json"],
        ["compact", "--retention-seconds", "0"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "actionqueue", command[0], str(path), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    with aq.open(path) as queue:
        queue.submit(task_create())
        queue.compact()
    made = [path, *path.rglob("*")]
    assert {(file.lstat().st_uid, file.lstat().st_gid) for file in made} == {(USER, GROUP)}
    assert run(serve) == [(3,)]


def test_what_root_makes_for_itself_is_its_own(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        queue.submit(task_create())
    assert {file.lstat().st_uid for file in (tmp_path / "queue").rglob("*")} == {0}


def test_a_user_is_warned_of_another_users_directory(home: Path) -> None:
    os.chown(home, USER + 1, GROUP)
    # All may make files in it; only its owner may also rename or remove those of others.
    home.chmod(0o1777)

    def serve(line: Line) -> None:
        os.setgid(GROUP)
        os.setuid(USER)
        with pytest.warns(
            UnsafeDirectoryWarning, match=f"belongs to user {USER + 1}, not to {USER}"
        ):
            aq.open(home).close()
        line.say("warned")

    assert run(serve) == [("warned",)]


def test_root_is_not_warned_of_the_queues_of_others(home: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnsafeDirectoryWarning)
        aq.open(home).close()
