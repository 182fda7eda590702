"""Ctrl-C while a command still imports what it needs ends it as at any other time: with its exit
code, and without a traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import Ended, make_queue, run

(COMMAND,) = entry_points(group="console_scripts", name="actionqueue")
PROGRAMS = {
    "actionqueue": [
        sys.executable,
        "-c",
        f"import sys\nfrom {COMMAND.module} import {COMMAND.attr} as main\nsys.exit(main())",
    ],
    "python -m actionqueue": [sys.executable, "-m", "actionqueue"],
}
"""The same as what the installer writes, and the other way."""

WITH_THE_FIRST_LOOK = """
import os, sys, _signal
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            sys.meta_path.remove(self)
            _signal.raise_signal(2)
sys.meta_path.insert(0, Finder())
"""
"""Interrupts the process where it first looks for a module."""

IN_THE_CHILDREN = """
import sys, _signal
if "--multiprocessing-fork" in sys.orig_argv:
    _signal.raise_signal(2)
"""
"""Interrupts every process of the demo but the first, before it has imported anything."""


@pytest.fixture
def begun_with(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return the environment in which every Python process begins with certain statements."""

    def environment(statements: str) -> dict[str, str]:
        place = tmp_path / "begin"
        place.mkdir()
        (place / "sitecustomize.py").write_text(statements)
        return os.environ | {"PYTHONPATH": str(place)}

    return environment


def interrupted_at(module: str, name: str, directory: Path, environment: dict[str, str]) -> Ended:
    """Run a command that is interrupted where it begins to import a module."""
    make_queue(directory)
    environment["INTERRUPTED_AT"] = module
    return run("stats", directory, program=PROGRAMS[name], env=environment, **HEEDING)


def as_on_a_terminal() -> None:
    """Heed Ctrl-C, whatever the tests were started by."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


HEEDING: dict[str, Any] = {} if sys.platform == "win32" else {"preexec_fn": as_on_a_terminal}


@pytest.mark.parametrize(
    "module",
    [
        "actionqueue.errors",
        "msgspec",
        "actionqueue.queue",
        "click",
        "actionqueue.cli.stats",
        "rich.table",
    ],
)
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_interrupt_while_it_imports(
    name: str, module: str, tmp_path: Path, begun_with: Callable[[str], dict[str, str]]
) -> None:
    ended = interrupted_at(module, name, tmp_path / "queue", begun_with(WITH_THE_FIRST_LOOK))
    assert ended == (130, "", "")


@pytest.mark.parametrize("name", PROGRAMS)
def test_interrupts_that_are_ignored_stay_so(
    name: str, tmp_path: Path, begun_with: Callable[[str], dict[str, str]]
) -> None:
    """As behind nohup, and in a script's background."""
    ignoring = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{WITH_THE_FIRST_LOOK}"
    ended = interrupted_at("msgspec", name, tmp_path / "queue", begun_with(ignoring))
    assert (ended.code, ended.error) == (0, "")
    assert "last sequence" in ended.output


def test_importing_the_library_leaves_interrupts_alone(tmp_path: Path) -> None:
    code = "import signal, actionqueue, actionqueue.cli.entry\n"
    code += "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    ended = run(program=[sys.executable, "-c", code], cwd=tmp_path, **HEEDING)
    assert ended == (0, "True\n", "")


@pytest.mark.platform("signals")
def test_an_interrupt_while_the_demos_processes_import(
    begun_with: Callable[[str], dict[str, str]],
) -> None:
    """On a terminal all of them get it. It is the first one's, and whoever is asked to end ends by
    that one's word.
    """
    ended = run(
        "demo",
        "--files",
        20,
        "--workers",
        2,
        env=begun_with(IN_THE_CHILDREN),
        **HEEDING,
    )
    assert (ended.code, ended.error) == (0, "")
