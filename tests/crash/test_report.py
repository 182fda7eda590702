"""The table of `make test-faults` hides nothing: a row without a figure, a loss and a failed test
are told, and fail it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import places
from tests.support.crash import ledger

REPORT = [sys.executable, "-m", "tests.support.crash.report"]


def whole() -> list[dict[str, Any]]:
    """Return notes that have a figure for every row."""
    return [
        {
            "row": name,
            "tried": ledger.AT_LEAST.get(name, 7),
            "lost": 0,
            "note": "",
            "test": "t.py::test_a[1]",
            "seconds": 1.0,
        }
        for name in sorted(ledger.NAMES)
    ]


def report(notes: list[dict[str, Any]], tmp_path: Path) -> tuple[int, str, str]:
    """Return the exit status, what was printed, and the table in Markdown."""
    (tmp_path / "notes").write_text("".join(json.dumps(note) + "\n" for note in notes))
    command = [*REPORT, str(tmp_path / "notes"), "--markdown", str(tmp_path / "table.md")]
    done = subprocess.run(
        command, env=places.environment(), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr, (tmp_path / "table.md").read_text()


def test_a_table_with_every_figure_passes(tmp_path: Path) -> None:
    status, printed, table = report([*whole(), *whole()], tmp_path)
    assert status == 0
    for name in ledger.NAMES:
        assert f"| {name} | {2 * ledger.AT_LEAST.get(name, 7):,} | 0 |" in table
        assert name in printed


def test_a_row_without_a_figure_fails(tmp_path: Path) -> None:
    status, printed, table = report(
        [note for note in whole() if note["row"] != "fork with the log open"], tmp_path
    )
    assert status == 1
    assert "not proven: fork with the log open: no figure" in printed
    assert "| fork with the log open | 0 | no figure |" in table


def test_less_than_the_fault_model_asks_for_fails(tmp_path: Path) -> None:
    assert ledger.AT_LEAST.keys() <= ledger.NAMES
    for name, wanted in ledger.AT_LEAST.items():
        status, printed, _ = report(
            [{**note, "tried": note["tried"] - (note["row"] == name)} for note in whole()], tmp_path
        )
        assert status == 1
        assert (
            f"not proven: {name}: {wanted - 1:,} tried, where {wanted:,} are asked for" in printed
        )


def test_a_loss_fails(tmp_path: Path) -> None:
    status, printed, _ = report(
        [{**note, "lost": note["row"] == "power loss"} for note in whole()], tmp_path
    )
    assert status == 1
    assert "not proven: power loss: 1 " in printed


def test_a_failed_test_fails_every_row_that_it_noted(tmp_path: Path) -> None:
    failed = {"failed": True, "test": "t.py::test_a[2]", "seconds": 1.0}
    status, _, table = report([*whole(), failed], tmp_path)
    assert status == 1
    assert table.count("unknown: a test failed") == len(ledger.NAMES)
    status, printed, table = report([*whole(), {**failed, "test": "t.py::test_b"}], tmp_path)
    assert status == 1
    assert table.count("unknown: a test failed") == 1
    assert "t.py::test_b" in printed


def test_the_table_goes_between_the_comments_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n\n<!-- faults: begin -->\n\nwhat was there\n\n<!-- faults: end -->\nafter\n"
    )
    (tmp_path / "notes").write_text("")
    for _ in range(2):
        subprocess.run(
            [*REPORT, str(tmp_path / "notes"), "--docs", str(page)],
            env=places.environment(),
            capture_output=True,
            check=False,
        )
    text = page.read_text()
    assert text.startswith("before\n\n<!-- faults: begin -->\n\n| fault |")
    assert text.endswith("|\n\n<!-- faults: end -->\nafter\n")
    assert "what was there" not in text
