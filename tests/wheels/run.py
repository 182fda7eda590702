"""Installs wheels of ``dist/`` into Pythons of their own systems, and runs the tests there.

``python -m tests.wheels.run [PART ...]``, where a PART is a part of a tag, as for the build:

- Linux, x86-64: a new environment, and every test that ``make test`` runs.
- Windows, x86-64: a Python for Windows under wine, and every test that applies on Windows
  (:mod:`tests.support.platform_needs`) with the one version whose every part this wine can run;
  the smoke check with the others.
- Linux, ARM64: the smoke check, under qemu.
- the others: nothing here runs them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from tests.support.places import ROOT
from tests.wheels import interpreters
from tests.wheels.build import DIST, WORK
from tests.wheels.targets import Target, chosen, digits

SMOKE = ROOT / "tests" / "package" / "smoke.py"
WINE_VERSION = "3.11"
"""From 3.12 on, Python copies files by a call that Debian 12's wine lacks."""
SHORT_ON_WINDOWS = (
    "tests/unit", "tests/conformance", "tests/property", "tests/columns", "tests/aio",
    "tests/queue/test_held_files.py", "tests/queue/test_lane.py", "tests/queue/test_queue.py",
    "tests/queue/test_spawn.py", "tests/queue/test_terminated.py", "tests/queue/test_threads.py",
    "tests/cli/test_submit.py",
)  # fmt: skip
"""What --short runs there: programs start slowly under wine."""
SHORT_ON_LINUX = tuple(
    f"--ignore=tests/{part}"
    for part in (
        "core", "fuzz", "crash/test_planted_bugs.py", "crash/test_crash_images.py",
        "crash/test_damage.py", "crash/test_failing_calls.py",  # these compile the C core by itself
        "package/test_contributing.py",  # builds the package
    )
)  # fmt: skip
"""What --short leaves out there: what does not touch the wheel."""
WINE_INSTEAD = {
    "numpy": "numpy==2.1.3",  # later ones call what Debian 12's wine lacks
    "gunicorn": None,  # not for Windows
}
WINE_ENVIRONMENT = {
    "WINEPREFIX": str(WORK / "wine"),
    "WINEDEBUG": "-all",
    "WINEDLLOVERRIDES": "winedbg.exe=d;mscoree,mshtml=",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def call(command: list[str | Path], **more: str) -> bool:
    """Run a program in the project's directory, with its output shown, and tell whether it
    succeeded.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=ROOT, env={**environment, **more}, check=False)
    return done.returncode == 0


def must(command: list[str | Path], **more: str) -> None:
    """Run a program, and end if it fails."""
    if not call(command, **more):
        sys.exit(f"{' '.join(map(str, command[:6]))} ... failed")


def wheel_of(target: Target, version: str) -> Path:
    """Return the wheel that was built for a system and version."""
    tag = f"cp{digits(version)}-cp{digits(version)}-"
    found = [path for path in DIST.glob(f"*{tag}*.whl") if target.tag in path.name]
    if len(found) != 1:
        sys.exit(f"{DIST} has {len(found)} wheels for {target.name}, Python {version}: make wheels")
    return found[0]


def test_group() -> list[str]:
    """Return what the tests need, as ``pyproject.toml`` says it."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return [str(requirement) for requirement in groups["test"]]


def local_index(wheel: Path, place: Path, python: Path | str, platform: list[str]) -> Path:
    """Make an index, as a directory, of a wheel and of all that it depends on."""
    shutil.rmtree(place, ignore_errors=True)
    must(
        [python, "-m", "pip", "download", "--quiet", "--dest", place, "--only-binary", ":all:",
         *platform, f"{wheel}[cli]", "colorama"]  # click wants it on Windows only
    )  # fmt: skip
    return place


def from_index(index: Path) -> list[str]:
    """Return the arguments with which pip takes the package from an index alone, offline."""
    return ["--no-index", f"--find-links={index}", "actionqueue[cli]", "colorama"]


def on_linux(wheel: Path, version: str, pytest_arguments: list[str]) -> bool:
    """Run the tests in a new environment of this machine."""
    place = WORK / "environments" / version
    shutil.rmtree(place, ignore_errors=True)
    must([interpreters.program(version), "-m", "venv", place])
    python = place / "bin" / "python"
    must([python, "-m", "pip", "install", "--quiet", "--upgrade", "pip>=25.1"])
    index = local_index(wheel, WORK / "index" / wheel.stem, python, [])
    must([python, "-m", "pip", "install", "--quiet", *from_index(index)])
    if not call([python, SMOKE]):
        return False
    must([python, "-m", "pip", "install", "--quiet", "--group", "test"])
    return call([python, "-m", "pytest", *pytest_arguments])


def of_platform(version: str, tags: list[str]) -> list[str]:
    """Return the arguments with which pip chooses wheels for another system."""
    return [
        "--python-version", version, "--implementation", "cp", "--abi", f"cp{digits(version)}",
        *[f"--platform={tag}" for tag in tags],
    ]  # fmt: skip


def install(place: Path, wheel: Path, platform: list[str], more: list[str]) -> None:
    """Install a wheel for another system, from an index of its own, and then more, into a
    directory.
    """
    index = local_index(wheel, WORK / "index" / wheel.stem, sys.executable, platform)
    pip: list[str | Path] = [
        sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:",
        "--target", place, *platform,
    ]  # fmt: skip
    must([*pip, *from_index(index)])
    if more:
        must([*pip, "--upgrade", *more])


def on_windows(wheel: Path, version: str, pytest_arguments: list[str]) -> bool:
    """Run the tests, or the smoke check, in a Python for Windows under wine."""
    if shutil.which("wine") is None:
        sys.exit("wine is missing: make system-packages")
    place = WORK / f"windows-{version}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(interpreters.directory(version, "windows-x86_64"), place)
    is_whole = version == WINE_VERSION
    wanted = []
    if is_whole:
        for requirement in test_group():
            name = requirement.partition("==")[0]
            wanted += [chosen] if (chosen := WINE_INSTEAD.get(name, requirement)) else []
    else:
        # It asks Windows for its name in a way that Debian 12's wine does not survive.
        (place / "lib" / "_wmi.pyd").unlink(missing_ok=True)
    install(place / "lib" / "site-packages", wheel, of_platform(version, ["win_amd64"]), wanted)
    if not (WORK / "wine" / "ready").exists():
        must(["wine", "wineboot", "--init"], **WINE_ENVIRONMENT)
        must(["wine", "winecfg", "-v", "win10"], **WINE_ENVIRONMENT)
        (WORK / "wine" / "ready").touch()
    if not is_whole:
        return wine(place, [SMOKE])
    return wine(place, ["-m", "pytest", "-p", "no:cacheprovider", "-n", "2", *pytest_arguments])


def wine(place: Path, arguments: list[str | Path]) -> bool:
    """Run a Python for Windows.

    Its standard streams must be pipes: wine gives no handles for others.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"DISPLAY", "WAYLAND_DISPLAY", "PYTHONPATH"}
    }
    with subprocess.Popen(
        ["wine", place / "python.exe", *arguments],
        cwd=ROOT,
        env={**environment, **WINE_ENVIRONMENT},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        while piece := process.stdout.read1():
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    return process.returncode == 0


def on_arm64(wheel: Path, version: str) -> bool:
    """Run the smoke check in a Python for ARM64 under qemu."""
    if shutil.which("qemu-aarch64") is None:
        sys.exit("qemu is missing: make system-packages")
    python = interpreters.directory(version, "linux-arm64")
    place = WORK / f"arm64-{version}"
    shutil.rmtree(place, ignore_errors=True)
    tags = ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_28_aarch64"]
    install(place, wheel, of_platform(version, tags), [])
    program = python / "bin" / f"python{version}"
    program.chmod(0o755)
    root = interpreters.libraries_of_arm64()
    found = ":".join(map(str, [python, *root.glob("*/aarch64-linux-gnu")]))
    return call(
        ["qemu-aarch64", "-L", root, "-E", f"LD_LIBRARY_PATH={found}",
         "-E", f"PYTHONPATH={place}", program, SMOKE]
    )  # fmt: skip


def run(target: Target, version: str, pytest_arguments: list[str]) -> str:
    """Run what can run of a wheel, and return how that ended."""
    wheel = wheel_of(target, version)
    if target.tag == "manylinux_2_17_x86_64":
        passed = on_linux(wheel, version, ["-n", "3", *pytest_arguments])
    elif target.tag == "win_amd64":
        passed = on_windows(wheel, version, pytest_arguments)
    elif target.tag == "manylinux_2_17_aarch64" and interpreters.exists(version, "linux-arm64"):
        passed = on_arm64(wheel, version)
    else:
        return "nothing here runs it"
    return "passed" if passed else "FAILED"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=[""], help="parts of the tags to run")
    parser.add_argument("--pytest", default="", help="arguments for pytest")
    parser.add_argument("--short", action="store_true", help="run a part of the tests only")
    arguments = parser.parse_args()
    lines = []
    for target, version in chosen(*arguments.parts):
        print(f"--- {target.name}, Python {version}", flush=True)
        begun = time.monotonic()
        options = arguments.pytest.split()
        if arguments.short:
            options += SHORT_ON_WINDOWS if target.system == "win" else SHORT_ON_LINUX
        ended = run(target, version, options)
        seconds = f"{time.monotonic() - begun:.0f} s"
        lines.append(f"{version}  {target.name:<28} {ended:<20} {seconds:>6}")
    print("\n".join(["---", *lines]))
    if any("FAILED" in line for line in lines):
        sys.exit(1)


if __name__ == "__main__":
    main()
