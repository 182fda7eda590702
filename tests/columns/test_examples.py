"""What the guide and the benchmark show runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

import actionqueue as aq
from tests.support import places
from tests.support.columns import add_run, add_runs, small_queue

TOP = places.ROOT


def test_the_guides_example() -> None:
    section = (
        (TOP / "docs" / "guide.md").read_text("utf-8").split("## Columns")[1].split("\n## ")[0]
    )
    program = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)[0]
    with small_queue() as queue:
        add_runs(queue, 3)
        mine = aq.columns.id_array([add_run(queue, "running"), add_run(queue, "running")])
        results = aq.columns.result_codes(["success", "failure"])
        names = {"q": queue, "aq": aq, "mine": mine, "results": results, "outputs": [b"out", None]}
        exec(program, names)  # noqa: S102 -- the document's own program
        assert queue.projection.counts_by_state()[aq.RunState.READY] == 3
        assert np.array_equal(queue.projection.columns().attempts["result"], results)


def test_the_benchmark_measures_every_way(tmp_path: Path) -> None:
    (disk := tmp_path / "disk").mkdir()
    found = tmp_path / "found.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.columns",
        "--rows",
        "60",
        "--rows-a-call",
        "40",
        "--rounds",
        "2",
    ]
    subprocess.run(
        [*command, "--directory", str(disk), "--json", str(found)],
        capture_output=True,
        encoding="utf-8",
        check=True,
        cwd=TOP,
    )
    ways = {(row["name"], row["ratio_to"]) for row in json.loads(found.read_text("utf-8"))["rows"]}
    expected = {
        ("transition: read objects", ""),
        ("transition: read columns", "transition: read objects"),
    }
    for kind in ("transition", "heartbeat", "attempt start", "attempt finish"):
        expected |= {
            (f"{kind}: submit", ""),
            (f"{kind}: submit_many", f"{kind}: submit"),
            (f"{kind}: columns", f"{kind}: submit_many"),
        }
    assert ways == expected
    assert list(disk.iterdir()) == []
