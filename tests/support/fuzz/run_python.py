"""Runs the Python targets under atheris, each for FUZZ_SECONDS (default 60), and prints a table: ``python run_python.py [TARGET ...]``.

``python run_python.py --child TARGET OPTIONS`` is one of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FUZZ = Path(__file__).parent
DICTIONARY = FUZZ / "json.dict"


def child(target: str, options: list[str]) -> None:
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["actionqueue", "json"]):
        from python_targets import TARGETS
    atheris.Setup([sys.argv[0], *options], TARGETS[target])
    atheris.Fuzz()


def line_seeds(directory: Path) -> Path:
    """Write one recorded command of each type to a directory of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in sorted((FUZZ.parent / "data" / "vectors").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            command = json.loads(line)["command"]
            (directory / command["type"]).write_text(json.dumps(command), "utf-8")
    return directory


def main(targets: list[str]) -> int:
    from programs import CORPUS
    from run import OUTPUT, fuzz, fuzz_seconds, report

    seeds = {
        "submit_line": [line_seeds(OUTPUT / "lines")],
        "cron_expression": [],
        "payload": [CORPUS / "event"],
        "part": [CORPUS / "parts"],
    }
    results = []
    for target in targets or seeds:
        command = [sys.executable, __file__, "--child", target, f"-dict={DICTIONARY}"]
        results.append(fuzz(f"python-{target}", command, fuzz_seconds(), seeds[target]))
    return report(results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(sys.argv[1:]))
