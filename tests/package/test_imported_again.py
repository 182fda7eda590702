"""Importing the package a second time in a process, and in other interpreters of it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.project import run

PURGED_AND_IMPORTED = """
import importlib, pickle, sys
import actionqueue as first
import actionqueue.aio, actionqueue.inspection

def is_ours(name):
    return name.partition(".")[0] in {packages}

before = {{name: module for name, module in sys.modules.items() if is_ours(name)}}
for name in before:
    del sys.modules[name]
for name in sorted(before, reverse=sys.argv[2] == "reverse"):
    assert importlib.import_module(name) is before[name], name
    assert before[name].__spec__.loader is not None

import actionqueue as second
assert second is first
task = second.TaskSpec(payload=b"x")
with second.open(sys.argv[1]) as queue:
    queue.submit(second.TaskCreateCommand(None, task, 1))
    queue.submit_many([second.TaskCreateCommand(None, second.TaskSpec(payload=b"y"), 1)])
with second.open(sys.argv[1]) as queue:
    print(queue.sequence, pickle.loads(pickle.dumps(task)) == queue.projection.task(task.id).spec)
"""


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize(
    "packages", [("actionqueue", "_wal_native"), ("actionqueue",), ("_wal_native",)], ids="-".join
)
def test_what_was_taken_out_of_the_modules_comes_back(
    tmp_path: Path, packages: tuple[str, ...], order: str
) -> None:
    """Reloaders and test runners do that. The native modules keep the classes of the first time."""
    program = PURGED_AND_IMPORTED.format(packages=packages)
    printed = run(sys.executable, "-c", program, str(tmp_path / "queue"), order, cwd=tmp_path)
    assert printed == "2 True\n"


def test_an_import_that_failed_halfway_is_not_mixed_with_another_one(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["actionqueue.wait_reasons"] = None
for _ in range(2):
    try:
        import actionqueue
    except ImportError as error:
        print(error)
    for name in [name for name in sys.modules if name.partition(".")[0] == "actionqueue"]:
        del sys.modules[name]
"""
    first, second = run(sys.executable, "-c", program, cwd=tmp_path).splitlines()
    assert "wait_reasons" in first
    assert second.endswith("it can't be imported again there, only in a new process")


IN_ANOTHER_INTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

def import_there():
    program = "import sys; sys.path[:] = " + repr(sys.path) + "\\nimport " + sys.argv[1]
    other = interpreters.create()
    try:
        excuse = str(interpreters.run_string(other, program) or "")
    except Exception as error:
        excuse = str(error)
    interpreters.destroy(other)
    return "in the main interpreter of a process only" in excuse

print(import_there())
import actionqueue
actionqueue.open(sys.argv[2]).close()
print(import_there())
"""


@pytest.mark.parametrize("name", ["actionqueue", "actionqueue.model", "_wal_native.ids"])
def test_only_the_main_interpreter_imports_it(tmp_path: Path, name: str) -> None:
    """Another one that comes first is refused, too, and takes nothing away from the main one."""
    path = str(tmp_path / "queue")
    printed = run(sys.executable, "-c", IN_ANOTHER_INTERPRETER, name, path, cwd=tmp_path)
    assert printed == "True\nTrue\n"
