"""Builds the fuzz targets: each a program of the core's sources, the harness and one file of
``targets/``.

Kinds of a program:

- ``check`` runs files once through a target, under the address and undefined-behaviour sanitizers,
  with any C compiler (``CC``);
- ``plain`` does so without sanitizers, for valgrind;
- ``fuzz`` is libFuzzer's, and needs clang (``CLANG``, default clang-14: ``make system-packages``
  installs it).

What is built is kept below the tests' cache directory (``ACTIONQUEUE_TEST_CACHE``, as in
``tests/support/core/door.py``), under a digest of everything that went into it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.places import CORE, TESTS, cache_directory, plain_environment

FUZZ = TESTS / "fuzz"
CORPUS = FUZZ / "corpus"
TARGETS = sorted(path.stem for path in (FUZZ / "targets").glob("*.c"))
HARNESS = sorted(path for path in FUZZ.glob("*.c") if path.name != "runner.c")

# The core's memory is counted: core_memory.c.
COUNTED = [f"-D{name}=core_{name}" for name in ("malloc", "calloc", "realloc", "free")]
COMMON = [
    "-std=c11",
    "-g",
    "-pthread",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wconversion",
    "-Werror",
]
SANITIZERS = [
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
    "-fno-omit-frame-pointer",
]
# Comparisons are not traced: the harness makes checksums right, and tracing costs more than it
# finds.
COVERAGE = ["-fsanitize=fuzzer-no-link", "-fno-sanitize-coverage=trace-cmp"]
FLAGS = {
    "check": ["-O1", *SANITIZERS],
    "plain": ["-O1"],
    "fuzz": ["-O2", *SANITIZERS, *COVERAGE],
}


def compiler(kind: str) -> str:
    """Return the compiler for a kind. Raises where clang is missing, and says what to install."""
    if kind != "fuzz":
        return os.environ.get("CC", "cc")
    clang = os.environ.get("CLANG", "clang-14")
    if shutil.which(clang) is None:
        raise FileNotFoundError(
            f"{clang} is not installed: run `make system-packages`, or name another clang in CLANG"
        )
    return clang


def digest_of_sources(kind: str) -> str:
    digest = hashlib.sha256(" ".join([compiler(kind), *COMMON, *COUNTED, *FLAGS[kind]]).encode())
    for path in [*sorted(CORE.rglob("*.*")), *sorted(FUZZ.rglob("*.[ch]"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def run_compiler(kind: str, arguments: Sequence[str | Path], directory: Path) -> None:
    include = [f"-I{CORE}", f"-I{FUZZ}"]
    command = [compiler(kind), *COMMON, *FLAGS[kind], *include, *arguments]
    run = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=600,
        cwd=directory,
        env=plain_environment(),
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(f"{command[0]} failed:\n{run.stderr}")


def compile_all(kind: str, directory: Path) -> None:
    objects = directory / "objects"
    objects.mkdir()
    runner = [] if kind == "fuzz" else [FUZZ / "runner.c"]
    run_compiler(kind, ["-c", *COUNTED, *sorted(CORE.rglob("*.c"))], objects)
    run_compiler(kind, ["-c", *HARNESS, *runner], objects)
    link = ["-fsanitize=fuzzer"] if kind == "fuzz" else []
    for target in TARGETS:
        source = FUZZ / "targets" / f"{target}.c"
        run_compiler(
            kind, [*link, "-o", directory / target, source, *sorted(objects.glob("*.o"))], directory
        )
    shutil.rmtree(objects)


def build(kind: str) -> dict[str, Path]:
    """Return the program of each target, built unless the cache has it."""
    cache = cache_directory()
    made = cache / f"fuzz-{kind}-{digest_of_sources(kind)}"
    with (cache / f"fuzz-{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes of one test run build it once
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=cache) as directory:
                work = Path(directory) / "programs"
                work.mkdir()
                compile_all(kind, work)
                work.rename(made)  # at once: it is whole wherever it is found
    return {target: made / target for target in TARGETS}
