"""What CONTRIBUTING.md says of a new command: its own example, under other names, makes another
one in a copy of the project.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

import actionqueue as aq
from tests.support.places import ROOT
from tests.support.project import copy_of_the_project, directories_of_tools, run

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
NAMES = {
    "RUN_RESCHEDULED": "RUN_POSTPONED",
    "run_rescheduled": "run_postponed",
    "RunRescheduled": "RunPostponed",
    "RunReschedule": "RunPostpone",
    "run_reschedule": "run_postpone",
    f"({aq.EventKind.RUN_RESCHEDULED.value}, ": f"({max(aq.EventKind) + 1}, ",
}
PROGRAM = """
import sys, actionqueue as aq
from actionqueue.json.commands import command_from_json, command_to_json

assert aq.RunPostponed.kind is aq.EventKind.RUN_POSTPONED is max(aq.EventKind)
task = aq.TaskSpec(payload=b"x")
run = aq.RunInstance.scheduled(task.id, scheduled_at=9, created_at=1)
command = aq.RunPostponeCommand(None, run.id, 70, -3, 5)
assert command_from_json(command_to_json(command)) == command
assert command_to_json(command)["type"] == "run_postpone"
with aq.open(sys.argv[1]) as queue:
    queue.submit_many([aq.TaskCreateCommand(None, task, 1), aq.RunCreateCommand(None, run)])
    applied = queue.submit(command).applied
    assert applied == aq.AppliedRunPostpone(run.id, 70, -3)
with aq.open(sys.argv[1]) as queue:
    found = queue.projection.run(run.id)
    assert (found.scheduled_at, found.effective_priority, found.state) == (70, -3, "scheduled")
    queue.submit(aq.RunStateTransitionCommand(None, run.id, "scheduled", "canceled", 6))
    try:
        queue.submit(command)
    except aq.errors.InvalidTransition:
        print("as the page says")
with aq.open(sys.argv[1], readonly=True) as queue:
    assert queue.projection.run(run.id).scheduled_at == 70
"""


def blocks_of_the_page() -> list[str]:
    """Return the page's pieces of code, under the new names."""
    page = PAGE.partition("\n## A new command\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^   ```\w+\n(.*?)^   ```$", page, re.MULTILINE | re.DOTALL)
    renamed = []
    for block in blocks:
        for old, new in NAMES.items():
            block = block.replace(old, new)  # noqa: PLW2901
        renamed.append(re.sub(r"^   ", "", block, flags=re.MULTILINE))
    return renamed


def insert(file: Path, before: str, text: str) -> None:
    content = file.read_text("utf-8")
    assert before in content, f"{file} has no {before!r}"
    file.write_text(content.replace(before, text + before, 1), "utf-8")


@pytest.mark.platform("sources")
@pytest.mark.package
@pytest.mark.timeout(1800)
def test_a_command_is_added_by_the_page_alone(tmp_path: Path) -> None:
    source = copy_of_the_project(tmp_path / "source")
    kind, apply, python = blocks_of_the_page()
    event, legal = kind.split("LEGAL_IN(")
    core = source / "src" / "_wal_native" / "core"
    insert(core / "event" / "events.def", "\nLEGAL_IN(", event)
    insert(core / "event" / "events.def", "\n#undef EVENT", f"LEGAL_IN({legal}")
    insert(core / "table" / "apply.c", "static aqw_status apply(", apply + "\n")
    case = "    case AQW_RUN_POSTPONED: return run_postponed(table, event);\n"
    insert(core / "table" / "apply.c", "    case AQW_RUNS_PURGED:", case)
    family = source / "src" / "actionqueue" / "model" / "runs.py"
    names = ["AppliedRunPostpone", "RunPostponeCommand", "RunPostponed"]
    insert(family, '    "AppliedRunCreate",', "".join(f'    "{name}",\n' for name in names))
    with family.open("a", encoding="utf-8") as file:
        file.write("\n\n" + python)

    # A build with assertions compiles faster.
    paths = os.pathsep.join(directories_of_tools(tmp_path))
    environment = os.environ | {"PYTHONPATH": paths, "ACTIONQUEUE_DEBUG": "1"}
    build = (sys.executable, "setup.py", "--quiet", "build_clib", "build_ext", "--inplace")
    run(*build, cwd=source, env=environment)
    environment["PYTHONPATH"] = str(source / "src")
    program = (sys.executable, "-c", PROGRAM, str(tmp_path / "queue"))
    assert run(*program, cwd=tmp_path, env=environment) == "as the page says\n"
