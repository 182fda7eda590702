"""Completion in shells: what their scripts ask for, by the variables that these set, and what they
are told.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command_line import PROGRAM, Ended, assert_fails, make_queue, run

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_ACTIONQUEUE_COMPLETE"


def ask(shell: str, *words: str, cwd: Path) -> list[str]:
    """Return what may stand in place of the last word."""
    asked = {VARIABLE: f"{shell}_complete", "COMP_WORDS": " ".join(["actionqueue", *words])}
    asked["COMP_CWORD"] = words[-1] if shell == "fish" else str(len(words))
    ended = run(cwd=cwd, env=os.environ | asked)
    assert (ended.code, ended.error) == (0, "")
    match shell:
        case "bash":  # kind,value
            return [line.partition(",")[2] for line in ended.output.splitlines() if line]
        case "fish":  # kind,value and a tab before the help
            return [
                line.partition(",")[2].partition("\t")[0]
                for line in ended.output.splitlines()
                if line
            ]
        case _:  # kind, value and help on lines of their own
            return ended.output.splitlines()[1::3]


def kinds(shell: str, *words: str, cwd: Path) -> str:
    asked = {VARIABLE: f"{shell}_complete", "COMP_WORDS": " ".join(["actionqueue", *words])}
    asked["COMP_CWORD"] = words[-1] if shell == "fish" else str(len(words))
    return run(cwd=cwd, env=os.environ | asked).output.splitlines()[0].partition(",")[0]


# The script for bash differs with bash's version, which click asks it for.
@pytest.mark.parametrize(
    "shell", [pytest.param("bash", marks=pytest.mark.platform("bash")), "zsh", "fish"]
)
def test_the_script_asks_by_the_variable(shell: str) -> None:
    ended = run(env=os.environ | {VARIABLE: f"{shell}_source"})
    assert (ended.code, ended.error) == (0, "")
    assert f"{VARIABLE}={shell}_complete" in ended.output
    assert "actionqueue" in ended.output


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["st"], ["stats", "store"]),
        (["s"], ["snapshot", "stats", "store", "submit"]),
        (["submit", "queue", "--du"], ["--durability"]),
        (["submit", "queue", "--durability", "i"], ["immediate"]),
        (["log", "queue", "--f"], ["--from", "--follow"]),
        (["repair", "queue", "--acc"], ["--accept-data-loss"]),
        (["nonsense", "x"], []),
    ],
    ids=" ".join,
)
def test_commands_options_and_their_values(
    tmp_path: Path, shell: str, words: list[str], expected: list[str]
) -> None:
    assert ask(shell, *words, cwd=tmp_path) == expected
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", ["dump", "log", "submit", "verify"])
def test_the_queue_is_a_directory(tmp_path: Path, shell: str, name: str) -> None:
    """Whose names the shell knows best."""
    make_queue(tmp_path / "queue", 1)
    before = sorted(tmp_path.rglob("*"))
    assert kinds(shell, name, "qu", cwd=tmp_path) == "dir"
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("instruction", ["tcsh_source", "bash", "bash_mend", "\x1b[31m"])
def test_an_instruction_that_no_shell_gives(instruction: str) -> None:
    assert_fails(run(env=os.environ | {VARIABLE: instruction}), 2, VARIABLE, "fish_source")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "words",
    [{}, {"COMP_WORDS": "actionqueue st"}, {"COMP_WORDS": "actionqueue st", "COMP_CWORD": "two"}],
)
def test_an_instruction_without_the_words(shell: str, words: dict[str, str]) -> None:
    if shell == "fish" and words.get("COMP_CWORD"):
        return  # there it is the word
    assert_fails(run(env=os.environ | {VARIABLE: f"{shell}_complete"} | words), 2, f"{VARIABLE}=")


def test_without_an_instruction_the_command_runs() -> None:
    assert run("--version", env=os.environ | {VARIABLE: ""}).code == 0


def test_without_the_extra_completion_says_so(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('none', name='click')\n")
    ended: Ended = run(
        program=PROGRAM, env=os.environ | {VARIABLE: "bash_complete", "PYTHONPATH": str(tmp_path)}
    )
    assert_fails(ended, 9, "pip install 'actionqueue[cli]'")
