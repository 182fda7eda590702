"""Reads wheels, and says what in them is not as users need it: more exported names than Python's
entry points, libraries that a system may not have, a tag that promises too much, files that are
missing or do not belong there, more than 2 MB.
"""

from __future__ import annotations

import fnmatch
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import lief

from tests.support.places import ROOT
from tests.wheels.targets import Target, digits

BYTES_MAX = 2_000_000
HEADING = f"{'wheel':<58} {'MB':>5} {'exports':>7} loads"
MODULES = sorted(path.stem for path in (ROOT / "src" / "_wal_native").glob("*.pyx"))
ENTRY_POINTS = {f"PyInit_{name}" for name in MODULES}
MADE_BY_MACOS_LINKER = {"__dso_handle", "_mh_dylib_header"}
MACHINES = {
    "linux-x86_64": "X86_64",
    "linux-aarch64": "AARCH64",
    "win-amd64": "AMD64",
    "win-arm64": "ARM64",
    "macosx-10.15-x86_64": "X86_64",
    "macosx-11.0-arm64": "ARM64",
}

lief.logging.disable()  # it tells of every odd byte


@dataclass(frozen=True)
class Report:
    """What is in a wheel, and what is wrong with it."""

    line: str
    faults: tuple[str, ...]


def exported(file: Path) -> set[str]:
    """Return the names that a shared object gives to others, of any system's format."""
    binary = lief.parse(file)
    if isinstance(binary, lief.PE.Binary):
        exports = binary.get_export()
        return {str(entry.name) for entry in exports.entries if entry.name} if exports else set()
    if isinstance(binary, lief.MachO.Binary):
        names = {str(symbol.name).removeprefix("_") for symbol in binary.exported_symbols}
        return names - MADE_BY_MACOS_LINKER
    return {str(symbol.name) for symbol in binary.exported_symbols}


def loaded(file: Path) -> set[str]:
    """Return the libraries that a shared object loads."""
    binary = lief.parse(file)
    if isinstance(binary, lief.MachO.Binary):
        kinds = lief.MachO.LoadCommand.TYPE
        return {
            str(library.name) for library in binary.libraries if library.command != kinds.ID_DYLIB
        }
    if isinstance(binary, lief.PE.Binary):
        return {str(imported.name).lower() for imported in binary.imports}
    return {str(library) for library in binary.libraries}


def versions_needed(file: Path) -> set[tuple[int, ...]]:
    """Return the versions of glibc's symbols that a shared object needs."""
    text = file.read_bytes()
    found = re.findall(rb"GLIBC_(\d+(?:\.\d+)+)\0", text)
    return {tuple(map(int, version.split(b"."))) for version in found}


def machine(file: Path) -> str:
    """Return the processor that a shared object is for."""
    binary = lief.parse(file)
    if isinstance(binary, lief.PE.Binary):
        return str(binary.header.machine).rpartition(".")[2]
    if isinstance(binary, lief.MachO.Binary):
        return str(binary.header.cpu_type).rpartition(".")[2]
    return str(binary.header.machine_type).rpartition(".")[2]


def search_paths(file: Path) -> set[str]:
    """Return the directories in which a shared object looks for libraries before the system's."""
    binary = lief.parse(file)
    if isinstance(binary, lief.ELF.Binary):
        kinds = lief.ELF.DynamicEntry.TAG
        return {
            str(entry)
            for entry in binary.dynamic_entries
            if entry.tag in {kinds.RPATH, kinds.RUNPATH}
        }
    if isinstance(binary, lief.MachO.Binary):
        return {str(path.path) for path in binary.rpaths}
    return set()


def expected_files() -> set[str]:
    """Return what of the sources is in every wheel."""
    source = ROOT / "src"
    packages = [*source.glob("actionqueue/**/*.py"), *source.glob("_wal_native/*.py")]
    typed = [*source.glob("_wal_native/*.pyi"), *source.glob("*/py.typed")]
    alone = [source / "_actionqueue_start.py"]
    return {path.relative_to(source).as_posix() for path in [*packages, *typed, *alone]}


def report(target: Target, version: str, wheel: Path) -> Report:
    """Read a wheel."""
    faults = []
    place = ROOT / "build" / "wheels" / "read"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        file_name = f"_wal_native/native{target.suffix.format(digits=digits(version))}"
        if file_name not in names:
            return Report(f"{wheel.name:<58}", (f"{file_name} is not in it",))
        shared_object = Path(archive.extract(file_name, place))
    about = {name for name in names if ".dist-info/" in name}
    odd = names - about - expected_files() - {file_name}
    missing = expected_files() - names
    faults += [f"{name} does not belong there" for name in sorted(odd)]
    faults += [f"{name} is missing" for name in sorted(missing)]
    entries, libraries = exported(shared_object), loaded(shared_object)
    if entries != ENTRY_POINTS:
        faults.append(f"exports differ: {sorted(entries ^ ENTRY_POINTS)[:9]}")
    allowed = [pattern.format(digits=digits(version)) for pattern in target.libraries]
    foreign = {
        library
        for library in libraries
        if not any(fnmatch.fnmatchcase(library, pattern) for pattern in allowed)
    }
    if foreign:
        faults.append(f"loads {sorted(foreign)}")
    if paths := search_paths(shared_object):
        faults.append(f"looks for libraries in {sorted(paths)}")
    if machine(shared_object) != MACHINES[target.host]:
        faults.append(f"is for {machine(shared_object)}")
    glibc = max(versions_needed(shared_object), default=())
    if "manylinux" in target.tag and glibc > (2, 17):
        faults.append(f"needs glibc {'.'.join(map(str, glibc))}")
    tag = f"cp{digits(version)}-cp{digits(version)}-"
    if tag not in wheel.name or target.tag not in wheel.name:
        faults.append(f"its name lacks {tag}...{target.tag}")
    size = wheel.stat().st_size
    if size > BYTES_MAX:
        faults.append(f"has {size} bytes, and may have {BYTES_MAX}")
    shown = ", ".join(sorted(library.rpartition("/")[2] for library in libraries))
    line = f"{wheel.name:<58} {size / 1e6:5.2f} {len(entries):7} {shown}"
    return Report(line, tuple(faults))
