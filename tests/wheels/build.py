"""Builds the source distribution and, from it, the wheels for every system and version of Python.

``python -m tests.wheels.build [PART ...]``, where a PART is a part of a tag (``cp314-win``):
everything goes to ``dist/``, debug symbols to ``build/wheels/symbols/``. The cross compiler is
Clang of the ``ziglang`` package, which brings the C libraries of all systems. The Python that runs
``setup.py`` is a Linux one of the wheel's version, from which the name of the wheel follows; it
takes the headers of the wheel's own system.

Cython translates once for all, and what needs no Python, the C core, is compiled once a system.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from tests.support.places import ROOT
from tests.wheels import check, interpreters, symbols
from tests.wheels.interpreters import tool
from tests.wheels.targets import Target, chosen, digits

WORK = ROOT / "build" / "wheels"
DIST = ROOT / "dist"
BUILD_TOOLS = ("setuptools>=77", "Cython>=3.1,<4", "wheel")


def run(
    command: list[str | Path], cwd: Path | None = None, environment: dict[str, str] | None = None
) -> str:
    """Run a program, and end with what it says if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(
            f"{' '.join(map(str, command[:8]))} ... failed with {done.returncode}\n"
            f"{done.stdout[-8000:]}{done.stderr[-8000:]}"
        )
    return done.stdout + done.stderr


def source_distribution() -> Path:
    """Build the source distribution, and return the directory of what is in it, unpacked."""
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob("*.tar.gz"):
        old.unlink()
    run([sys.executable, "-m", "build", "--sdist", "--outdir", DIST, ROOT])
    (made,) = DIST.glob("*.tar.gz")
    unpacked = WORK / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(made) as archive:
        archive.extractall(unpacked, filter="data")
    (top,) = unpacked.iterdir()
    tree = WORK / "tree"
    synchronise(top, tree)
    return tree


def synchronise(new: Path, tree: Path) -> None:
    """Make a tree the same as a new one; what did not change keeps its time, so that nothing is
    built twice for it.
    """
    wanted = {path.relative_to(new) for path in new.rglob("*") if path.is_file()}
    for path in wanted:
        old = tree / path
        if not old.exists() or old.read_bytes() != (new / path).read_bytes():
            old.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(new / path, old)
    for old in [path for path in tree.rglob("*") if path.is_file()]:
        path = old.relative_to(tree)
        if path not in wanted and path.parts[0] != "build" and path.name != "kinds.py":
            old.unlink()


def builder(version: str) -> Path:
    """Return a Python of a version with what the build needs."""
    place = WORK / f"python{version}"
    python = place / "bin" / "python"
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        run([interpreters.program(version), "-m", "venv", place])
        run([python, "-m", "pip", "install", "--quiet", *BUILD_TOOLS])
        (place / "ready").touch()
    return python


def windows_library(target: Target, version: str) -> Path:
    """Return the directory of the library that extensions link with instead of Python's DLL."""
    place = WORK / "libraries" / f"{target.host}-{version}"
    library = place / f"python{digits(version)}.lib"
    if not library.exists():
        place.mkdir(parents=True, exist_ok=True)
        names = check.exported(
            interpreters.directory(version, "windows-x86_64") / f"python{digits(version)}.dll"
        )
        definition = place / "python.def"
        definition.write_text(
            f"LIBRARY python{digits(version)}.dll\nEXPORTS\n" + "\n".join(sorted(names)) + "\n"
        )
        machine = "arm64" if target.host == "win-arm64" else "i386:x86-64"
        run([sys.executable, "-m", "ziglang", "dlltool", "-m", machine, "-d", definition,
             "-l", library])  # fmt: skip
    return place


def compiler_environment(target: Target, version: str) -> dict[str, str]:
    """Return the environment in which ``setup.py`` builds for another system."""
    zig = f"{sys.executable} -m ziglang"
    compiler = f"{zig} cc -target {target.triple}"
    links = list(target.links)
    if target.system == "win":
        links += [f"-L{windows_library(target, version)}", f"-lpython{digits(version)}"]
    caches = str(WORK / "zig")
    flags = [f"-I{interpreters.headers(version, target.headers)}"]
    if target.system == "win" and version in {"3.11", "3.12"}:
        flags.append("-DMS_WIN64=")  # their headers say so for Microsoft's compiler only
    if target.system == "macosx":
        flags.append("-g0")  # its linker keeps the signature, which a tool that strips would break
    return {
        **os.environ,
        "ACTIONQUEUE_WERROR": "1",
        "ZIG_GLOBAL_CACHE_DIR": caches,
        "ZIG_LOCAL_CACHE_DIR": caches,
        "CC": compiler,
        "AR": f"{zig} ar",
        "RANLIB": "true",
        "CFLAGS": " ".join(flags),
        "LDSHARED": f"{compiler} -shared",
        "LDFLAGS": " ".join(links),
        "SETUPTOOLS_EXT_SUFFIX": target.suffix.format(digits=digits(version)),
        "_PYTHON_HOST_PLATFORM": target.host,
    }


def wheel(tree: Path, target: Target, version: str) -> Path:
    """Build a wheel, take its debug symbols out, repair its tag, and put it into ``dist/``."""
    raw = WORK / "raw" / f"cp{digits(version)}-{target.tag}"
    shutil.rmtree(raw, ignore_errors=True)
    core = f"build/core-{target.tag}"
    shutil.rmtree(tree / "build" / "lib", ignore_errors=True)
    said = run(
        [builder(version), "setup.py", "-q",
         "build", "--build-base", f"build/{target.tag}-{version}", "--build-lib", "build/lib",
         "build_clib", "--build-temp", core, "--build-clib", core,
         "build_ext", "bdist_wheel", "--dist-dir", raw,
         "--plat-name", target.host.replace("-", "_").replace(".", "_")],
        tree,
        compiler_environment(target, version),
    )  # fmt: skip
    warnings = [line for line in said.splitlines() if re.search(r":\d+:\d+: warning: ", line)]
    if warnings:
        sys.exit(f"{target.name}, {version}: the compiler warns:\n" + "\n".join(warnings))
    (made,) = raw.glob("*.whl")
    with symbols.unpacked(made) as contents:
        shared_object = next(contents.glob("_wal_native/native.*"))
        symbols.split(target, shared_object, WORK / "symbols" / raw.name)
    return repaired(target, made)


def repaired(target: Target, made: Path) -> Path:
    """Let auditwheel say which Linux systems a wheel runs on; others need no repair, because
    nothing that they load is in the wheel.
    """
    if target.system == "linux":
        repaired_place = made.parent / "repaired"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        run(
            [tool("auditwheel"), "repair", "--plat", "auto", "--wheel-dir", repaired_place, made],
            environment={**os.environ, "PATH": path},
        )
        (made,) = repaired_place.glob("*.whl")
    place = DIST / made.name
    shutil.copyfile(made, place)
    return place


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=[""], help="parts of the tags to build")
    parts = parser.parse_args().parts
    targets = chosen(*parts)
    if not targets:
        sys.exit(f"no wheel has {' or '.join(parts)} in its tag")
    WORK.mkdir(parents=True, exist_ok=True)
    tree = source_distribution()
    if parts == [""]:
        for old in DIST.glob("*.whl"):
            old.unlink()
    print(check.HEADING, flush=True)
    wrong = 0
    for target, version in targets:
        begun = time.monotonic()
        report = check.report(target, version, wheel(tree, target, version))
        wrong += bool(report.faults)
        print(f"{report.line} {time.monotonic() - begun:4.0f} s", flush=True)
        for fault in report.faults:
            print(f"  {fault}", flush=True)
    made = sorted([*DIST.glob("*.whl"), *DIST.glob("*.tar.gz")])
    run([tool("check-wheel-contents"), *[path for path in made if path.suffix == ".whl"]])
    run([tool("twine"), "check", "--strict", *made])
    if wrong:
        sys.exit(f"{wrong} of {len(targets)} wheels are not as they should be")


if __name__ == "__main__":
    main()
