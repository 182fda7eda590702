"""Builds the self-test for other systems and processors, and runs it where something here can run
it.

Everything is compiled with warnings as errors by the cross compiler of the ``ziglang`` package.
Windows runs under wine, ARM64 and a big-endian machine under qemu's user mode, musl as it is; macOS
and Windows on ARM are compiled and linked only. Then one log is handed from machine to machine,
each of which reads what the others have written, killed ones among them, and writes on.

``python tests/core/selftest/ports.py [DIRECTORY]``: the directory, ``build/ports`` by default,
keeps the programs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SOURCE = HERE.parents[2] / "src" / "_wal_native"
CORE = SOURCE / "core"
CORE_SOURCES = sorted(CORE.rglob("*.c"))
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
STRESS_EVENTS = 100
RELAY_TURNS = 9
SECONDS_MAX = 600


@dataclass(frozen=True)
class Target:
    """A system and processor, what it must say of itself, and what runs its programs here."""

    name: str
    triple: str
    machine: str = ""
    runner: tuple[str, ...] | None = None
    """None: nothing here runs it. Empty: it runs as it is."""
    links: bool = True
    """Whether a whole program is made, not only its objects: for some targets that means compiling
    a C library first.
    """

    @property
    def is_windows(self) -> bool:
        return "windows" in self.triple

    def path(self, path: Path) -> str:
        """Return a path as the target's programs take it."""
        return f"Z:{path}" if self.is_windows else str(path)


LITTLE = "byte order: little; checksum instruction: used; ring: mapped"
PORTABLE = "byte order: little; checksum instruction: none; ring: mapped"
"""The run-time library of this compiler always says that an x86-64 has no such instruction; so the
portable code is tested here.
"""
BIG = "byte order: big; checksum instruction: none; ring: mapped"
TARGETS = [
    Target("Linux, x86-64, musl", "x86_64-linux-musl", PORTABLE, ()),
    Target("Linux, ARM64, musl", "aarch64-linux-musl", LITTLE, ("qemu-aarch64",)),
    Target("Linux, s390x, musl: big-endian", "s390x-linux-musl", BIG, ("qemu-s390x",)),
    Target("Windows, x86-64", "x86_64-windows-gnu", LITTLE, ("wine",)),
    Target("Windows, ARM64", "aarch64-windows-gnu", links=False),
    Target("macOS, x86-64", "x86_64-macos"),
    Target("macOS, ARM64", "aarch64-macos"),
    Target("Linux, ARM64, glibc 2.17", "aarch64-linux-gnu.2.17", links=False),
    Target("Linux, ARM64 in big-endian mode, glibc", "aarch64_be-linux-gnu", links=False),
]


def check_tools() -> None:
    missing = [
        target.runner[0]
        for target in TARGETS
        if target.runner and shutil.which(target.runner[0]) is None
    ]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; run: make system-packages")


def run(command: list[str], **options: object) -> str:
    """Run a program; whatever it says when it fails is shown."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=SECONDS_MAX, **options
    )  # type: ignore[call-overload]
    if done.returncode != 0:
        sys.exit(
            f"{' '.join(command[:6])} ... failed with {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return str(done.stdout)


def compiler(target: Target) -> list[str]:
    return [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        target.triple,
        "-std=c11",
        "-O1",
        "-g0",
        *WARNINGS,
        f"-I{SOURCE}",
    ]


def compile_only(target: Target, sources: list[Path], directory: Path) -> None:
    """One after the other: given many, the compiler would put the objects together, which not every
    format allows.
    """
    made = directory / f"object-{target.triple}"
    for source in sources:
        run([*compiler(target), f"-I{CORE}", f"-I{HERE}", "-c", "-o", str(made), str(source)])
    made.unlink()


def link(target: Target, name: str, sources: list[Path], directory: Path) -> Path:
    program = directory / f"{name}-{target.triple}{'.exe' if target.is_windows else ''}"
    libraries = ["-lbcrypt", "-ladvapi32"] if target.is_windows else []
    run(
        [
            *compiler(target),
            f"-I{CORE}",
            f"-I{HERE}",
            "-o",
            str(program),
            *map(str, [*sources, *CORE_SOURCES]),
            *libraries,
        ]
    )
    return program


def environment(home: Path) -> dict[str, str]:
    """Wine keeps its registry and drives in a directory of its own; it needs no screen."""
    without = {"DISPLAY", "WAYLAND_DISPLAY"}
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return {
        **kept,
        "WINEPREFIX": str(home / "wine"),
        "WINEDEBUG": "-all",
        "WINEDLLOVERRIDES": "mscoree,mshtml=",
    }


def check_on(target: Target, selftest: Path, stress: Path, home: Path) -> str:
    """Run the self-test and the threads; return what the machine said of itself."""
    assert target.runner is not None
    place = home / target.triple
    text = run([*target.runner, str(selftest), "check", target.path(place)], env=environment(home))
    machine, *checks = text.splitlines()
    if (
        not machine.startswith(target.machine)
        or not checks
        or not all(line.startswith("ok ") for line in checks)
    ):
        sys.exit(f"{target.name}: not what was expected\n{text}")
    arguments = [target.path(home / f"stress-{target.triple}"), str(STRESS_EVENTS)]
    if run([*target.runner, str(stress), *arguments], env=environment(home)) != "ok\n":
        sys.exit(f"{target.name}: the threads did not say ok")
    return f"{len(checks)} checks and the threads passed; {machine}"


def hand_on(programs: list[tuple[Target, Path]], home: Path) -> None:
    """Let the machines write one log in turns, so that each reads what each other one has
    written.
    """
    queue = home / "relay"
    count = len(programs)
    for turn in range(RELAY_TURNS):
        # Forwards in the first round, backwards in the second: so neighbours differ.
        index = turn % count if turn // count % 2 == 0 else count - 2 - turn % count
        target, program = programs[index]
        assert target.runner is not None
        said = run(
            [*target.runner, str(program), "relay", target.path(queue), str(turn)],
            env=environment(home),
        )
        print(f"  {target.name}: {said.strip()}", flush=True)


def timed(name: str, work: Callable[[], str]) -> None:
    started = time.monotonic()
    said = work()
    print(f"{name}: {said} ({time.monotonic() - started:.0f} s)", flush=True)


def main(directory: Path) -> None:
    check_tools()
    directory.mkdir(parents=True, exist_ok=True)
    golden = directory / "golden.c"
    run([sys.executable, str(HERE / "golden.py"), str(golden)])
    sources = [golden, *sorted(HERE.glob("*.c"))]
    stress = HERE.with_name("stress.c")
    programs: list[tuple[Target, Path]] = []
    with tempfile.TemporaryDirectory(prefix="actionqueue-ports-") as made:
        home = Path(made)

        def visit(target: Target) -> str:
            if not target.links:
                compile_only(target, CORE_SOURCES, directory)
                return "compiled"
            selftest, threads = (
                link(target, "selftest", sources, directory),
                link(target, "stress", [stress], directory),
            )
            if target.runner is None:
                return "compiled and linked"
            programs.append((target, selftest))
            return check_on(target, selftest, threads, home)

        for target in TARGETS:
            timed(target.name, lambda target=target: visit(target))  # type: ignore[misc]
        print("one log, from machine to machine:")
        hand_on(programs, home)
    print(f"{len(TARGETS)} targets compiled, {len(programs)} of them run")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/ports"))
