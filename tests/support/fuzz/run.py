"""Runs the fuzz targets, and what goes with them::

    python -m tests.support.fuzz.run fuzz [TARGET ...]      each for FUZZ_SECONDS (default 60);
    prints a table python -m tests.support.fuzz.run valgrind [TARGET ...]  every corpus, the core's
    self-test and the threads' stress programs under memcheck python -m tests.support.fuzz.run merge
    [TARGET ...]     adds what was found to the corpora, and keeps what is needed of them

New inputs are kept in build/fuzz/corpus/, findings in build/fuzz/findings/. The exit status is 1
where there is a finding.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.fuzz.programs import CORPUS, TARGETS, build
from tests.support.places import CORE, ROOT, TESTS, plain_environment

OUTPUT = ROOT / "build" / "fuzz"
MEMORY_MB = 2048
ALLOCATION_MB = 512
INPUT_SIZE_MAX = 4096
INPUT_SECONDS_MAX = 120  # a busy machine may stop for a while; the table tells the slowest input
CORPUS_FILE_SIZE_MAX = 1200
KEPT = ("seed-", "found-")


@dataclass
class Result:
    target: str
    runs: int
    seconds: float
    edges: int
    edges_all: int
    inputs: int
    slowest_s: int
    findings: list[Path]

    def row(self) -> tuple[str, ...]:
        share = f"{self.edges}/{self.edges_all}" if self.edges_all else str(self.edges)
        return (
            self.target,
            str(self.runs),
            f"{self.runs / self.seconds:.0f}",
            share,
            str(self.inputs),
            str(self.slowest_s),
            str(len(self.findings)),
        )


def last_number(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def fuzz_seconds() -> int:
    return int(os.environ.get("FUZZ_SECONDS", "60"))


def fuzz(
    target: str, command: Sequence[str | Path], seconds: int, corpora: Sequence[Path]
) -> Result:
    """Run a program of libFuzzer's for so long. What it finds is kept below OUTPUT."""
    found, findings = OUTPUT / "corpus" / target, OUTPUT / "findings" / target
    found.mkdir(parents=True, exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    started = time.monotonic()
    # Leaks are looked for where the corpora run (test_corpus.py, make valgrind): looking stops all
    # threads, again and again here, and on a busy machine some were never let go on.
    options = [
        "-detect_leaks=0",
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_SIZE_MAX}",
        "-len_control=20",
        f"-timeout={INPUT_SECONDS_MAX}",
        f"-report_slow_units={INPUT_SECONDS_MAX}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-malloc_limit_mb={ALLOCATION_MB}",
        "-print_final_stats=1",
        f"-artifact_prefix={findings}/",
    ]
    run = subprocess.run(
        [*command, *options, found, *corpora],
        capture_output=True,
        text=True,
        errors="replace",
        env={**plain_environment(), "ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=16"},
        check=False,
    )
    new = sorted(set(findings.iterdir()) - before)
    if run.returncode != 0 or new:
        print(f"--- {target}\n{run.stderr[-6000:]}", file=sys.stderr)
    return Result(
        target,
        last_number(r"number_of_executed_units: (\d+)", run.stderr),
        time.monotonic() - started,
        last_number(r" cov: (\d+)", run.stderr),
        last_number(r"\((\d+) inline 8-bit counters\)", run.stderr),
        sum(1 for _ in found.iterdir()),
        last_number(r"slowest_unit_time_sec: *(\d+)", run.stderr),
        new or ([findings] if run.returncode != 0 else []),
    )


def print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *others = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join([first.strip().ljust(widths[0]), *others]))


def report(results: list[Result]) -> int:
    """Print the table; return 1 where there is a finding."""
    head = ("target", "runs", "runs/s", "edges", "inputs", "slowest s", "findings")
    print_table([head, *(result.row() for result in results)])
    for path in [path for result in results for path in result.findings]:
        print(f"finding: {path}")
    return any(result.findings for result in results)


def fuzz_all(targets: list[str]) -> int:
    programs = build("fuzz")
    results = [
        fuzz(target, [programs[target]], fuzz_seconds(), [CORPUS / target]) for target in targets
    ]
    return report(results)


def merge(target: str, program: Path) -> None:
    """Keep of the corpus and of what was found the inputs that reach something new, the small ones
    first.
    """
    with tempfile.TemporaryDirectory() as directory:
        sources = [path for path in (CORPUS / target, OUTPUT / "corpus" / target) if path.exists()]
        small, merged = Path(directory) / "small", Path(directory) / "merged"
        small.mkdir()
        merged.mkdir()
        for path in (path for source in sources for path in source.iterdir()):
            if path.parent == CORPUS / target or path.stat().st_size <= CORPUS_FILE_SIZE_MAX:
                shutil.copy(path, small / path.name)
        # edges, not how often each.
        options = ["-set_cover_merge=1", "-use_counters=0", f"-max_len={1 << 20}"]
        subprocess.run(
            [program, *options, merged, small],
            check=True,
            capture_output=True,
            env=plain_environment(),
        )
        for path in (CORPUS / target).iterdir():
            if not path.name.startswith(KEPT):
                path.unlink()
        for path in merged.iterdir():
            if not path.name.startswith(KEPT):
                shutil.copy(path, CORPUS / target / path.name[:12])
    kept = list((CORPUS / target).iterdir())
    print(f"{target}: {len(kept)} inputs, {sum(path.stat().st_size for path in kept)} bytes")


def merge_all(targets: list[str]) -> int:
    programs = build("fuzz")
    for target in targets:
        merge(target, programs[target])
    return 0


STRESS = ("stress", "stress_readers")
MEMCHECK = [
    "valgrind",
    "--quiet",
    "--error-exitcode=99",
    "--leak-check=full",
    "--show-leak-kinds=all",
    "--errors-for-leak-kinds=all",
    "--track-fds=no",
]


def stress_program(name: str, directory: Path) -> Path:
    program = directory / name
    source = TESTS / "core" / f"{name}.c"
    command = [
        os.environ.get("CC", "cc"),
        "-std=c11",
        "-O1",
        "-g",
        "-pthread",
        f"-I{CORE}",
        "-o",
        program,
        source,
    ]
    subprocess.run([*command, *sorted(CORE.rglob("*.c"))], check=True)
    return program


def selftest_program(directory: Path) -> Path:
    """Build the core's self-test in plain C, with the golden files in it."""
    selftest, golden, program = (
        TESTS / "core" / "selftest",
        directory / "golden.c",
        directory / "selftest",
    )
    subprocess.run([sys.executable, selftest / "golden.py", golden], check=True)
    flags = ["-std=c11", "-O1", "-g", "-pthread", f"-I{CORE}", f"-I{selftest}"]
    sources = [golden, *sorted(selftest.glob("*.c")), *sorted(CORE.rglob("*.c"))]
    subprocess.run([os.environ.get("CC", "cc"), *flags, "-o", program, *sources], check=True)
    return program


def valgrind_all(targets: list[str]) -> int:
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: run `make system-packages`", file=sys.stderr)
        return 1
    programs = build("plain")
    rows = [("program", "inputs", "seconds", "errors")]
    with tempfile.TemporaryDirectory() as directory:
        commands = {target: [programs[target], CORPUS / target] for target in targets}
        for name in STRESS:
            commands[name] = [
                stress_program(name, Path(directory)),
                Path(directory) / f"queue-{name}",
                Path("60"),
            ]
        commands["selftest"] = [
            selftest_program(Path(directory)),
            Path("check"),
            Path(directory) / "selftest-place",
        ]
        for name, command in commands.items():
            started = time.monotonic()
            # The self-test abandons logs on purpose, and keeps them in reach.
            kinds = (
                ["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]
                if name == "selftest"
                else []
            )
            run = subprocess.run(
                [*MEMCHECK, *kinds, *command], capture_output=True, text=True, check=False
            )
            failed = run.returncode != 0
            rows.append(
                (
                    name,
                    str(run.stdout.count("\nok  "))
                    if name == "selftest"
                    else run.stdout.split(" ")[0].strip(),
                    f"{time.monotonic() - started:.0f}",
                    "yes" if failed else "none",
                )
            )
            if failed:
                print(f"--- {name}\n{run.stderr[-6000:]}", file=sys.stderr)
    print_table(rows)
    return any(row[-1] == "yes" for row in rows)


COMMANDS = {"fuzz": fuzz_all, "valgrind": valgrind_all, "merge": merge_all}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in COMMANDS or not set(arguments[1:]) <= set(TARGETS):
        print(__doc__, file=sys.stderr)
        print("targets:", *TARGETS, file=sys.stderr)
        return 2
    return int(COMMANDS[arguments[0]](arguments[1:] or TARGETS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
