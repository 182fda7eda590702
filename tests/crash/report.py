"""Prints the table of ``make test-faults``: ``python report.py <file of JSON lines>``. Exits with 1 where something
was lost.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Row:
    """What all notes of one row and test function add up to."""

    tried: int = 0
    lost: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def rows_of(lines: list[str]) -> dict[tuple[str, str], Row]:
    rows: dict[tuple[str, str], Row] = {}
    for line in lines:
        note = json.loads(line)
        row = rows.setdefault((note["row"], note["test"].partition("[")[0]), Row())
        row.tried += note["tried"]
        row.lost += note["lost"]
        row.seconds += note["seconds"]
        if note["note"] and note["note"] not in row.notes:
            row.notes.append(note["note"])
    return rows


def table_of(rows: dict[tuple[str, str], Row]) -> str:
    cells = [("fault", "tried", "lost", "seconds", "command", "note")]
    for (name, test), row in sorted(rows.items()):
        command = f"pytest --long {test}"
        cells.append((name, f"{row.tried:,}", f"{row.lost:,}", f"{row.seconds:.1f}", command, "; ".join(row.notes)))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]) - 1)]
    return "\n".join("  ".join([*map(str.ljust, line, widths), line[-1]]).rstrip() for line in cells)


def main() -> int:
    path = Path(sys.argv[1])
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = rows_of(lines)
    print(table_of(rows))
    return 1 if not rows or any(row.lost for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
