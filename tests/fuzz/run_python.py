"""Runs the Python targets under atheris, each for FUZZ_SECONDS (default 60), and prints a table: ``python run_python.py [TARGET ...]``.

``python run_python.py --child TARGET OPTIONS`` is one of them.
"""

from __future__ import annotations

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


def main(targets: list[str]) -> int:
    from run import fuzz, fuzz_seconds, report

    results = []
    for target in targets:
        command = [sys.executable, __file__, "--child", target, f"-dict={DICTIONARY}"]
        results.append(fuzz(f"python-{target}", command, fuzz_seconds(), []))
    return report(results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main(sys.argv[1:] or ["submit_line", "cron_expression", "payload", "part"]))
