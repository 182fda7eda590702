"""CPython for systems that this machine is not, from packages of a Maven repository: the
interpreters of the ``org.bytedeco:cpython`` artifacts, which are built from CPython's own sources,
with the usual compiler of each system.

``directory("3.14", "windows-x86_64")`` fetches one if it is not there yet. The packages' checksums
are kept here, so that every machine tests with the same interpreters. ``mvn``, which fetches them,
is among what ``make system-packages`` installs.
"""

from __future__ import annotations

import hashlib
import inspect
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.places import cache_directory
from tests.wheels.targets import digits

RELEASES = {
    "3.11": "3.11.3-1.5.9",
    "3.12": "3.12.1-1.5.10",
    "3.13": "3.13.5-1.5.12",
    "3.14": "3.14.3-1.5.13",
}
CHECKSUMS = {
    ("3.11", "linux-arm64"): "c98d023d4f79bdae2fb8973443324e48bb39e5b8f149a24e9d0317eb165d7925",
    ("3.11", "linux-x86_64"): "668b42f6a8b1a9789de7d3ca54a81fefb754cd8e885554b42858bbcbc0dd497c",
    ("3.11", "macosx-x86_64"): "223aed1538351b9df68781f60afa865c5ca6cc640353cb5d46b4706049cec5e4",
    ("3.11", "windows-x86_64"): "3263a50b256447bb7b9e604d6587627e419891370fc33b94469e6a06ff4de834",
    ("3.12", "linux-arm64"): "4876e6a9eb45c4e2faf7c9f9ef8cb9f16a462c45c3440d4c2e15e6acc8f4e0df",
    ("3.12", "linux-x86_64"): "a135fcf4dc01adebf7ea439252276fc3196db80f7e0dd3da0b61f1ec489b68bd",
    ("3.12", "macosx-x86_64"): "536045fa9d1b892b5ec2453d3d785eb44daa58ffa246fb04c0e28590283cf0e4",
    ("3.12", "windows-x86_64"): "e69bc4491c311e19ea7169bafc5efbbe03b980d69c6962b049daf1fcb4913391",
    ("3.13", "linux-x86_64"): "50ad91aa0baa57f0235bb666b87d8bf2a44e215d28c250de1030502906af143b",
    ("3.13", "macosx-arm64"): "b9ccb29cafe9c0f9bf341fa1573ac0f112d3557c13c398115ab91926091fdc0a",
    ("3.13", "macosx-x86_64"): "0c79e881075b8d7752be384a429a8b53d14ba00d939a7d04074deb1b1d3db19c",
    ("3.13", "windows-x86_64"): "cfe5502ffa7ea369be707b6d88bf68344732a7800450665080fb4267c01bfeae",
    ("3.14", "linux-arm64"): "75d0ac8f457bdb2d6b684796c282ce4da1e0c377a02b954de2c718f80901a15f",
    ("3.14", "linux-x86_64"): "eb5f1a6fe2dc498ac18927189a37f28a47b0ba06ae6bd85112eff023fe2eb46f",
    ("3.14", "macosx-arm64"): "49a3055dc8f182744736f0c832f7637f0d515da7830b2049fa7da9f86220dbb1",
    ("3.14", "macosx-x86_64"): "16f6d92143248378b57cee445924b2c3388020abfc8982ffb6a6ba64d6d7bb23",
    ("3.14", "windows-x86_64"): "3291bf3d8f405335ac21dbe55780521fdfd295b0f9f43f7e6e8c55bedd709cb3",
}


def exists(version: str, system: str) -> bool:
    """Tell whether there is an interpreter of a version for a system."""
    return (version, system) in CHECKSUMS


def directory(version: str, system: str) -> Path:
    """Return the directory of an interpreter, and fetch it if it is not there.

    Its name tells how it was made runnable, so that one that older code made is not taken.
    """
    way = hashlib.sha256(inspect.getsource(make_runnable).encode()).hexdigest()[:8]
    place = cache_directory() / "interpreters" / f"{RELEASES[version]}-{system}-{way}"
    if not place.exists():
        package = fetched(version, system)
        part = place.with_name(f"{place.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        inside = f"org/bytedeco/cpython/{system}/"
        with zipfile.ZipFile(package) as archive:
            archive.extractall(
                part, [name for name in archive.namelist() if name.startswith(inside)]
            )
        made = part / inside
        if system == "linux-x86_64":
            make_runnable(made, version, place)
        made.rename(place)
        shutil.rmtree(part)
        package.unlink()
    return place


def fetched(version: str, system: str) -> Path:
    """Fetch the package of an interpreter, and check that it is the known one."""
    kept = cache_directory() / "interpreters"
    artifact = f"org.bytedeco:cpython:{RELEASES[version]}:jar:{system}"
    if shutil.which("mvn") is None:
        sys.exit("mvn is missing, which fetches interpreters: make system-packages")
    done = subprocess.run(
        ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={artifact}",
         f"-DoutputDirectory={kept}", "-Dtransitive=false"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    package = kept / f"cpython-{RELEASES[version]}-{system}.jar"
    if done.returncode != 0 or not package.exists():
        sys.exit(f"mvn could not fetch {artifact}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    checksum = hashlib.sha256(package.read_bytes()).hexdigest()
    if checksum != CHECKSUMS[version, system]:
        package.unlink()
        sys.exit(f"{artifact} has the checksum {checksum}, which is not the known one")
    return package


def make_runnable(place: Path, version: str, later: Path) -> None:
    """Let the programs of an unpacked Linux interpreter find its libraries where they will be.

    The path is absolute, because an environment may hold a copy of the program.
    """
    for name in place.glob("bin/*"):
        name.chmod(0o755)
    for library in place.glob("libffi.so.*"):  # its extensions look for libraries beside themselves
        shutil.copy(library, place / f"lib/python{version}/lib-dynload")
    subprocess.run(
        [tool("patchelf"), "--force-rpath", "--set-rpath", str(later),
         place / f"bin/python{version}"],
        check=True,
    )  # fmt: skip


def tool(name: str) -> str:
    """Return the path of a program of this environment, whose ``bin`` need not be on the path."""
    return str(Path(sys.executable).with_name(name))


def headers(version: str, systems: tuple[str, ...]) -> Path:
    """Return the directory of ``Python.h`` for the first of some systems that has an interpreter
    of a version.
    """
    system = next(system for system in systems if exists(version, system))
    place = directory(version, system) / "include"
    return place if system.startswith("windows") else place / f"python{version}"


def program(version: str) -> Path:
    """Return an interpreter that runs on this machine, with ``venv`` and ``pip``."""
    return directory(version, "linux-x86_64") / f"bin/python{version}"


def import_library(version: str) -> Path:
    """Return the library that Windows extensions for x86-64 link with."""
    return directory(version, "windows-x86_64") / "libs" / f"python{digits(version)}.lib"


def private_apt(place: Path, *more: str) -> list[str]:
    """Return the beginning of a command of apt that keeps its lists and files in a directory of its
    own, so that the machine's own stay as they are.
    """
    for name in ("state", "cache", "packages"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "status").touch()
    settings = {
        "Dir::State": place / "state",
        "Dir::State::status": place / "status",
        "Dir::Cache": place / "cache",
        "APT::Sandbox::User": "root",
    }
    return ["apt-get", "-qq", *[f"-o{name}={value}" for name, value in settings.items()], *more]


def libraries_of_arm64() -> Path:
    """Return the root of a file system with the C library for ARM64, and what else the interpreters
    load: from Debian's packages, unpacked and not installed.
    """
    wanted = ("libc6", "libgcc-s1", "zlib1g", "libffi8")
    place = cache_directory() / "-".join(("debian-arm64", *wanted))
    if not (place / "ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        apt = private_apt(place, "-oAPT::Architecture=arm64", "-oAPT::Architectures=arm64")
        subprocess.run([*apt, "update"], check=True)
        subprocess.run([*apt, "download", *wanted], check=True, cwd=place / "packages")
        for package in place.glob("packages/*.deb"):
            subprocess.run(["dpkg", "-x", package, place / "root"], check=True)
        (place / "ready").touch()
    return place / "root"
