"""Makes the table of ``make test-faults``: ``python -m tests.support.crash.report NOTES``.

Prints the table; writes it as Markdown to a file, and in the place of the one between the comments
of a page. Exits with 1 where something was lost, a test failed, or a row of the fault model has no
figure, or a smaller one than it asks for.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.crash.ledger import AT_LEAST, ROWS

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
NOTHING = "-"


@dataclass
class Line:
    """What all notes of one test function for one part of a row add up to."""

    row: str
    name: str
    test: str
    tried: int = 0
    lost: int = 0
    has_failed: bool = False
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def cells(self) -> tuple[str, ...]:
        lost = "unknown: a test failed" if self.has_failed else f"{self.lost:,}"
        return (
            self.name,
            f"{self.tried:,}" if self.test else "0",
            lost if self.test else "no figure",
            "; ".join(self.notes),
        )

    @property
    def is_good(self) -> bool:
        return self.tried > 0 and self.lost == 0 and not self.has_failed


def lines_of(notes: list[dict[str, Any]]) -> list[Line]:
    """Return the table's lines in the order of the fault model; those of tests that noted nothing
    before they failed at the end.
    """
    row_of = {name: row for row, names in ROWS.items() for name in names}
    found: dict[tuple[str, str], Line] = {}
    failed: dict[str, float] = {}
    for note in notes:
        test = note["test"].partition("[")[0]
        if note.get("failed"):
            failed[test] = failed.get(test, 0.0) + note["seconds"]
            continue
        line = found.setdefault((note["row"], test), Line(row_of[note["row"]], note["row"], test))
        line.tried += note["tried"]
        line.lost += note["lost"]
        line.seconds += note["seconds"]
        if note["note"] and note["note"] not in line.notes:
            line.notes.append(note["note"])
    for line in found.values():
        line.has_failed = line.test in failed
    noted = {line.test for line in found.values()}
    for test in sorted(failed.keys() - noted):
        found["", test] = Line(
            "", "a test that noted nothing", test, has_failed=True, seconds=failed[test]
        )
    for name, row in row_of.items():
        if not any(line.name == name for line in found.values()):
            found[name, ""] = Line(row, name, "")
    order = {name: number for number, name in enumerate(row_of)}
    return sorted(found.values(), key=lambda line: (order.get(line.name, len(order)), line.test))


def table_of(lines: list[Line]) -> str:
    rows = [("fault", "tried", "lost", "seconds", "command", "note")]
    for line in lines:
        *first, notes = line.cells
        rows.append(
            (
                *first,
                f"{line.seconds:.1f}",
                f"pytest --long {line.test}" if line.test else NOTHING,
                notes,
            )
        )  # type: ignore[arg-type]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join("  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows)


def markdown_of(lines: list[Line]) -> str:
    """Return the same without the seconds, which say more about a machine than about the
    library.
    """
    rows = ["| fault | tried | lost | what that was | `pytest --long` |", "|---|---|---|---|---|"]
    row = None
    for line in lines:
        if line.row != row and line.row and (line.row != line.name or len(ROWS[line.row]) > 1):
            rows.append(f"| **{line.row}** | | | | |")
        row = line.row
        cells = (*line.cells, f"`{line.test}`" if line.test else NOTHING)
        rows.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def put_into(page: Path, table: str) -> None:
    """Replace what stands between the comments of the page."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{page} has no place for the table: {BEGIN} ... {END}"
    page.write_text(f"{before}{begin}\n\n{table}\n{end}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("notes", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--docs", type=Path)
    chosen = parser.parse_args()
    text = chosen.notes.read_text(encoding="utf-8") if chosen.notes.exists() else ""
    lines = lines_of([json.loads(line) for line in text.splitlines()])
    print(table_of(lines))
    if chosen.markdown is not None:
        chosen.markdown.write_text(markdown_of(lines), encoding="utf-8")
    if chosen.docs is not None:
        put_into(chosen.docs, markdown_of(lines))
    wrong = [
        f"{line.name}: {line.cells[2]} ({line.test or NOTHING})"
        for line in lines
        if not line.is_good
    ]
    for name, wanted in AT_LEAST.items():
        tried = sum(line.tried for line in lines if line.name == name)
        if tried < wanted:
            wrong.append(f"{name}: {tried:,} tried, where {wanted:,} are asked for")
    for what in wrong:
        print(f"not proven: {what}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
