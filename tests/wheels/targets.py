"""The systems and versions of Python that have a wheel."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A system and processor: what compiles for it, and what its Pythons are called."""

    name: str
    tag: str
    """The platform in the name of its wheels."""
    triple: str
    """What the cross compiler calls it."""
    host: str
    """What its Python says that it is (``sysconfig.get_platform``)."""
    suffix: str
    """How the names of its extensions end; ``{digits}`` stands for the version of Python."""
    headers: tuple[str, ...]
    """Whose Python's headers are taken: the first that there is for the version. They are the same
    for all processors of a system, in what an extension uses of them.
    """
    links: tuple[str, ...] = ()
    libraries: frozenset[str] = frozenset()
    """What its extensions may load, as it stands in the file; ``{digits}`` as above."""

    @property
    def system(self) -> str:
        return self.host.partition("-")[0].rstrip("0123456789")


GLIBC = frozenset({"libc.so.6", "libpthread.so.0"})
SYSTEM_LIBRARY = frozenset({"/usr/lib/libSystem.B.dylib"})
WINDOWS = frozenset(
    {"kernel32.dll", "advapi32.dll", "bcrypt.dll", "python{digits}.dll", "api-ms-win-crt-*"}
)
TARGETS = (
    Target(
        "Linux, x86-64, glibc 2.17",
        "manylinux_2_17_x86_64",
        "x86_64-linux-gnu.2.17",
        "linux-x86_64",
        ".cpython-{digits}-x86_64-linux-gnu.so",
        ("linux-x86_64",),
        libraries=GLIBC,
    ),
    Target(
        "Linux, ARM64, glibc 2.17",
        "manylinux_2_17_aarch64",
        "aarch64-linux-gnu.2.17",
        "linux-aarch64",
        ".cpython-{digits}-aarch64-linux-gnu.so",
        ("linux-arm64", "linux-x86_64"),
        libraries=GLIBC,
    ),
    Target(
        "Linux, x86-64, musl 1.2",
        "musllinux_1_2_x86_64",
        "x86_64-linux-musl",
        "linux-x86_64",
        ".cpython-{digits}-x86_64-linux-musl.so",
        ("linux-x86_64",),
        libraries=frozenset({"libc.musl-x86_64.so.1"}),
    ),
    Target(
        "Linux, ARM64, musl 1.2",
        "musllinux_1_2_aarch64",
        "aarch64-linux-musl",
        "linux-aarch64",
        ".cpython-{digits}-aarch64-linux-musl.so",
        ("linux-arm64", "linux-x86_64"),
        libraries=frozenset({"libc.musl-aarch64.so.1"}),
    ),
    Target(
        "Windows, x86-64",
        "win_amd64",
        "x86_64-windows-gnu",
        "win-amd64",
        ".cp{digits}-win_amd64.pyd",
        ("windows-x86_64",),
        libraries=WINDOWS,
    ),
    Target(
        "Windows, ARM64",
        "win_arm64",
        "aarch64-windows-gnu",
        "win-arm64",
        ".cp{digits}-win_arm64.pyd",
        ("windows-x86_64",),
        libraries=WINDOWS,
    ),
    Target(
        "macOS 10.15, x86-64",
        "macosx_10_15_x86_64",
        "x86_64-macos.10.15",
        "macosx-10.15-x86_64",
        ".cpython-{digits}-darwin.so",
        ("macosx-x86_64",),
        ("-undefined", "dynamic_lookup"),
        SYSTEM_LIBRARY,
    ),
    Target(
        "macOS 11, ARM64",
        "macosx_11_0_arm64",
        "aarch64-macos.11.0",
        "macosx-11.0-arm64",
        ".cpython-{digits}-darwin.so",
        ("macosx-arm64", "macosx-x86_64"),
        ("-undefined", "dynamic_lookup"),
        SYSTEM_LIBRARY,
    ),
)

VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def digits(version: str) -> str:
    """Return a version as it stands in names of files: ``314``."""
    return version.replace(".", "")


def chosen(*parts: str) -> list[tuple[Target, str]]:
    """Return the targets and versions whose tags contain one of some texts, such as ``cp314-win``
    or ``musl``.
    """
    return [
        (target, version)
        for version in VERSIONS
        for target in TARGETS
        if any(part in f"cp{digits(version)}-{target.tag}" for part in parts)
    ]
