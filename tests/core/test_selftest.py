"""The core's self-test in plain C, built and run on this machine. `make test-ports` runs it on
others.
"""

from __future__ import annotations

import os
import subprocess
import sys
from distutils.ccompiler import new_compiler
from distutils.sysconfig import customize_compiler
from pathlib import Path

import pytest

from tests.support import places
from tests.support.core.door import CORE, core_flags, sanitizer_flags

pytestmark = pytest.mark.timeout(900)  # the whole core is compiled

SELFTEST = Path(__file__).with_name("selftest")


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The golden files as C."""
    made = tmp_path_factory.mktemp("golden") / "golden.c"
    subprocess.run([sys.executable, SELFTEST / "golden.py", made], check=True)
    return made


@pytest.fixture(scope="module")
def program(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("selftest")
    sources = [
        str(golden),
        *map(str, sorted(SELFTEST.glob("*.c"))),
        *map(str, sorted(CORE.rglob("*.c"))),
    ]
    compiler = new_compiler()
    customize_compiler(compiler)
    objects = compiler.compile(
        sources,
        output_dir=str(directory),
        include_dirs=[str(CORE), str(SELFTEST)],
        extra_postargs=core_flags(),
    )
    libraries = ["bcrypt", "advapi32"] if sys.platform == "win32" else ["pthread"]
    compiler.link_executable(
        objects,
        "selftest",
        output_dir=str(directory),
        libraries=libraries,
        extra_postargs=sanitizer_flags(),
    )
    return directory / compiler.executable_filename("selftest")


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120
    )


def test_every_check_passes(program: Path, tmp_path: Path) -> None:
    done = run(program, "check", tmp_path / "place")
    assert (done.returncode, done.stderr) == (0, "")
    machine, *checks = done.stdout.splitlines()
    assert machine.startswith(f"byte order: {sys.byteorder}; ")
    assert len(checks) == 20
    assert all(line.startswith("ok  ") for line in checks)


def test_a_log_is_handed_on(program: Path, tmp_path: Path) -> None:
    for turn in range(5):
        done = run(program, "relay", tmp_path / "queue", turn)
        assert (done.returncode, done.stderr) == (0, ""), turn


def test_a_failed_check_is_told(program: Path, tmp_path: Path) -> None:
    """The second turn is not the first one's continuation."""
    done = run(program, "relay", tmp_path / "queue", 1)
    assert done.returncode == 1
    assert "session_events(s) is 0, not 60" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Microsoft's compiler has no thread sanitizer")
def test_every_check_passes_under_the_thread_sanitizer(golden: Path, tmp_path: Path) -> None:
    """Not compiled with its warnings as errors, which say that it can't follow fences."""
    program = tmp_path / "selftest"
    flags = ["-std=c11", "-O1", "-g", "-pthread", "-fsanitize=thread", f"-I{CORE}", f"-I{SELFTEST}"]
    sources = [golden, *sorted(SELFTEST.glob("*.c")), *sorted(CORE.rglob("*.c"))]
    # The library to preload is another sanitizer's.
    environment = places.plain_environment()
    subprocess.run(
        [os.environ.get("CC", "cc"), *flags, "-o", program, *sources], check=True, env=environment
    )
    done = subprocess.run(
        [program, "check", tmp_path / "place"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**environment, "TSAN_OPTIONS": "halt_on_error=1 second_deadlock_stack=1"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("ok  ") == 20
