"""What the documents show must be true: the README's program runs, and every link leads
somewhere.
"""

import ast
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from _wal_native.rules import transition_is_valid
from actionqueue import RunState
from tests.support import places

TOP = places.ROOT
DOCUMENTS = sorted(
    [
        *TOP.glob("*.md"),
        *TOP.glob("docs/*.md"),
        *TOP.glob("examples/*.md"),
        *TOP.glob("benchmarks/*.md"),
    ]
)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )


def test_the_program_in_the_readme_runs(tmp_path: Path) -> None:
    program = blocks(TOP / "README.md", "python")[0]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    refused, state, recovered = done.stdout.splitlines()
    assert "leased" in refused
    assert state.startswith("leased Lease(owner='worker-1'")
    assert recovered.startswith("replayed 5 events from 1 segment after a clean close")


def test_the_programs_first_screen_is_short() -> None:
    assert len(blocks(TOP / "README.md", "python")[0].splitlines()) <= 25


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (document.parent / target).exists(), target


def test_the_list_of_files_names_every_file_of_the_core() -> None:
    text = (TOP / "docs" / "inside.md").read_text("utf-8")
    patterns = [
        re.escape(name).replace(r"\*", ".*") for name in re.findall(r"`core/([\w*./]+)`", text)
    ]
    core = TOP / "src" / "_wal_native" / "core"
    for path in core.rglob("*.*"):
        name = path.relative_to(core).as_posix()
        assert any(re.fullmatch(pattern, name) for pattern in patterns), name


# --- What the queue refuses, and what is the scheduler's ------------------------------------------

SECTION = "What the queue refuses, what is yours"
LINK = "docs/guide.md#what-the-queue-refuses-what-is-yours"

PROMISES = {
    "identifiers of tasks and runs": (),
    "states": (),
    "attempts": (),
    "`max_attempts`": ("TaskConstraints.max_attempts",),
    "`timeout_secs`": ("TaskConstraints.timeout_secs",),
    "leases": ("LeaseAcquireCommand", "LeaseExpireCommand", "Lease.expiry"),
    "`concurrency_key`, its hold policy": (
        "TaskConstraints.concurrency_key",
        "TaskConstraints.concurrency_key_hold_policy",
        "ConcurrencyKeyHoldPolicy",
    ),
    "`safety_level`": ("TaskConstraints.safety_level", "SafetyLevel"),
    "`required_capabilities`": (
        "TaskConstraints.required_capabilities",
        "ActorRegistration.capabilities",
    ),
    "`priority`, `effective_priority`, tags": (
        "TaskMetadata.priority",
        "RunInstance.effective_priority",
        "TaskMetadata.tags",
    ),
    "run policy (`Once`, `Repeat`, `Cron`)": (
        "TaskSpec.run_policy",
        "RunPolicy",
        "Once",
        "Repeat",
        "Repeat.count",
        "Repeat.interval_secs",
        "Cron",
        "Cron.max_occurrences",
    ),
    "`scheduled_at`": ("RunInstance.scheduled_at",),
    "dependencies": ("DependencyDeclareCommand",),
    "`parent_task_id`, `tenant_id`": ("TaskSpec.parent_task_id", "TaskSpec.tenant_id"),
    "canceling a task": ("TaskCancelCommand",),
    "budgets": ("BudgetAllocateCommand", "BudgetRecord.limit"),
    "subscriptions": ("EventFilter",),
    "engine paused": ("EnginePauseCommand",),
    "actors, tenants, roles, capabilities, ledger": (
        "Role",
        "Capability",
        "ActorRegistration.heartbeat_interval_secs",
    ),
    "timestamps": (),
}
"""Of each row of the table what promises, or could be taken to promise, what only the scheduler
does.
"""


def docstrings() -> dict[str, str]:
    """Return the docstrings of every class of the library, and of its fields, by name."""
    found = {}
    for path in (TOP / "src" / "actionqueue").rglob("*.py"):
        for cls in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(cls, ast.ClassDef):
                found[cls.name] = ast.get_docstring(cls) or ""
                for field, text in pairwise(cls.body):
                    if (
                        isinstance(field, ast.AnnAssign)
                        and isinstance(text, ast.Expr)
                        and isinstance(text.value, ast.Constant)
                    ):
                        found[f"{cls.name}.{field.target.id}"] = text.value.value
    return found


def test_what_only_the_scheduler_keeps_leads_to_the_table_that_says_so() -> None:
    found = docstrings()
    for promises in PROMISES.values():
        for name in promises:
            assert LINK in found[name], name
    guide = (TOP / "docs" / "guide.md").read_text("utf-8")
    assert f"\n## {SECTION}\n" in guide
    assert SECTION.lower().replace(",", "").replace(" ", "-") == LINK.partition("#")[2]
    table = guide.partition(f"## {SECTION}\n")[2].partition("\n### ")[0]
    rows = [
        line.split(" | ")[0].removeprefix("| ")
        for line in table.splitlines()
        if line.startswith("| ")
    ]
    assert rows[1:] == list(PROMISES)


def test_the_picture_of_the_states_is_that_of_the_rules() -> None:
    """Each arrow of the picture, read by its place, and each line of the list below it."""
    readme, guide = ((TOP / name).read_text("utf-8") for name in ("README.md", "docs/guide.md"))
    every_block = re.findall(r"^```(\w*)\n(.*?)^```\n", readme, re.MULTILINE | re.DOTALL)
    (picture,) = [
        block for language, block in every_block if not language and "retry_wait" in block
    ]
    assert f"```\n{picture}```" in guide
    listed = {
        (match[1], to)
        for match in re.finditer(
            r"^(\w+) {2,}([\w, ]+)$", guide.partition("### The nine states")[2], re.MULTILINE
        )
        if match[1] in set(RunState)
        for to in match[2].split(", ")
    }
    assert {to for _, to in listed} <= set(RunState)
    valid = {(a, b) for a in RunState for b in RunState if transition_is_valid(a, b)}
    assert {pair for pair in valid if pair[1] != "canceled"} == listed
    assert {pair[0] for pair in valid if pair[1] == "canceled"} == set(RunState) - {
        "completed",
        "failed",
        "canceled",
    }
    assert arrows_of(picture.splitlines()) == listed


HEADS = {(0, 1): ">", (0, -1): "<", (1, 0): "v", (-1, 0): "^"}
LINES = {(0, 1): "-+", (0, -1): "-+", (1, 0): "|+", (-1, 0): "|+"}


def arrows_of(lines: list[str]) -> set[tuple[str, str]]:
    """Follow the lines of the picture from each state to the states at which arrows' heads are."""
    places = {
        (row, column): name[0]
        for row, line in enumerate(lines)
        for name in re.finditer(r"\w\w+", line)
        for column in range(*name.span())
    }
    found = set()
    for (row, column), state in places.items():
        for down, right in HEADS:
            gap = 2 if right else 1  # a space stands between a state and its line
            found |= {
                (state, end)
                for end in ends_of(
                    lines, places, (row + down, column + gap * right), (down, right), state
                )
            }
    return found


def ends_of(
    lines: list[str],
    places: dict[tuple[int, int], str],
    place: tuple[int, int],
    way: tuple[int, int],
    state: str,
) -> set[str]:
    (row, column), (down, right) = place, way
    sign = lines[row][column] if 0 <= row < len(lines) and 0 <= column < len(lines[row]) else " "
    if places.get((row, column)) == state or places.get((row - down, column - right)) not in {
        None,
        state,
    }:
        return set()  # inside its own name, or begun in another's
    if sign == HEADS[way]:
        ends = [places.get((row + down * reach, column + right * reach)) for reach in (1, 2)]
        return {end for end in ends if end is not None}
    onwards = (row + down, column + right)
    if sign == HEADS[-down, -right]:  # a line that leads here: away only where it has two heads
        while (
            0 <= onwards[0] < len(lines)
            and 0 <= onwards[1] < len(lines[onwards[0]])
            and lines[onwards[0]][onwards[1]] == LINES[way][0]
        ):
            onwards = (onwards[0] + down, onwards[1] + right)
        is_two_headed = (
            lines[onwards[0]][onwards[1] : onwards[1] + 1] == HEADS[way]
            if 0 <= onwards[0] < len(lines)
            else False
        )
        return ends_of(lines, places, onwards, way, state) if is_two_headed else set()
    if sign == "+":
        turns = [turn for turn in HEADS if turn != (-down, -right)]
        return {
            end
            for turn in turns
            for end in ends_of(lines, places, (row + turn[0], column + turn[1]), turn, state)
        }
    return ends_of(lines, places, onwards, way, state) if sign in LINES[way] else set()
