"""Runs the Python targets under atheris, each for FUZZ_SECONDS (default 60), and prints a table:
``python -m tests.support.fuzz.run_python [TARGET ...]``.

The same with ``--child TARGET OPTIONS`` is one of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.support.places import DATA, TESTS

MODULE = "tests.support.fuzz.run_python"
DICTIONARY = TESTS / "fuzz" / "json.dict"


def child(target: str, options: list[str]) -> None:
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["actionqueue", "json"]):
        from tests.support.fuzz.python_targets import TARGETS
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()


def line_seeds(directory: Path) -> Path:
    """Write one recorded command of each type to a directory of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in sorted((DATA / "vectors").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            command = json.loads(line)["command"]
            (directory / command["type"]).write_text(json.dumps(command), "utf-8")
    return directory


def main(targets: list[str]) -> int:
    from tests.support.fuzz.programs import CORPUS
    from tests.support.fuzz.run import OUTPUT, fuzz, fuzz_seconds, report

    seeds = {
        "submit_line": [line_seeds(OUTPUT / "lines")],
        "cron_expression": [],
        "payload": [CORPUS / "event"],
        "part": [CORPUS / "parts"],
    }
    results = []
    for target in targets or seeds:
        command = [sys.executable, "-m", MODULE, "--child", target, f"-dict={DICTIONARY}"]
        results.append(fuzz(f"python-{target}", command, fuzz_seconds(), seeds[target]))
    return report(results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(sys.argv[1:]))
