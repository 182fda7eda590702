"""The native extensions; everything else about the package is in pyproject.toml.

Builds for developers, each switched by an environment variable that is 0 or 1 and nothing else:

ACTIONQUEUE_DEBUG=1      no optimisation, assertions on
ACTIONQUEUE_SANITIZE=1   address and undefined-behaviour sanitizers
ACTIONQUEUE_COVERAGE=1   gcov counters in the C core
ACTIONQUEUE_WERROR=1     warnings in the C core are errors (CI)
"""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = Path("src/_wal_native")
CORE = NATIVE / "core"
EXTENSIONS = (
    "arrays",
    "buffers",
    "codec",
    "columns",
    "fault",
    "fields",
    "ids",
    "lane",
    "log",
    "outcome",
    "progress",
    "reader",
    "rules",
    "snapshot",
    "status",
    "table",
    "turn",
)


def switch(name: str) -> bool:
    """Read a build switch strictly: a misspelt value must not quietly mean yes or no."""
    value = os.environ.get(name, "0")
    if value not in {"0", "1"}:
        sys.exit(f"{name} must be 0 or 1, not {value!r}")
    return value == "1"


def compiler_options() -> tuple[list[str], list[str], list[tuple[str, str | None]]]:
    """Return the compiler arguments, linker arguments and macros that the switches ask for."""
    debug, sanitize = switch("ACTIONQUEUE_DEBUG"), switch("ACTIONQUEUE_SANITIZE")
    coverage, werror = switch("ACTIONQUEUE_COVERAGE"), switch("ACTIONQUEUE_WERROR")
    if sys.platform == "win32":
        if sanitize or coverage:
            sys.exit("the sanitizer and coverage builds need gcc or clang")
        # MSVC has <stdatomic.h> from Visual Studio 2022 17.5 on, behind this switch.
        return ["/std:c11", "/experimental:c11atomics", "/O2", *(["/W3", "/WX"] if werror else [])], [], []
    compile_args = ["-std=c11", "-fvisibility=hidden", "-pthread"]
    link_args = ["-pthread"]
    compile_args += ["-O0", "-g"] if debug else ["-O3", "-g1"]
    macros: list[tuple[str, str | None]] = [] if debug else [("NDEBUG", None)]
    if sanitize:
        flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
        compile_args += flags
        link_args += flags
    if coverage:
        compile_args += ["--coverage", "-O0"]
        link_args += ["--coverage"]
    return compile_args, link_args, macros


COMPILE_ARGS, LINK_ARGS, MACROS = compiler_options()
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion"] if sys.platform != "win32" else []
if switch("ACTIONQUEUE_WERROR") and sys.platform != "win32":
    WARNINGS.append("-Werror")

core = (
    "aqw_core",
    {
        "sources": sorted(str(path) for path in CORE.rglob("*.c")),
        "include_dirs": [str(CORE)],
        "macros": MACROS,
        "cflags": COMPILE_ARGS + WARNINGS,
        "obj_deps": {"": sorted(str(path) for path in CORE.rglob("*.h"))},
    },
)

# Where core/os/io_windows.c has random numbers and the access lists of directories from.
LIBRARIES = ["bcrypt", "advapi32"] if sys.platform == "win32" else []

extensions = [
    Extension(
        f"_wal_native.{name}",
        sources=[str(NATIVE / f"{name}.pyx")],
        include_dirs=[str(CORE)],
        define_macros=MACROS,
        extra_compile_args=COMPILE_ARGS,
        extra_link_args=LINK_ARGS,
        libraries=LIBRARIES,
        depends=sorted(str(path) for path in [*CORE.rglob("*.[ch]"), *NATIVE.glob("*.pxi")]),
    )
    for name in EXTENSIONS
]


class BuildExtensions(build_ext):
    """Runs Cython when extensions are built, and not when only metadata is read."""

    def finalize_options(self) -> None:
        """Put the generated C files in the place of the .pyx files."""
        self.distribution.ext_modules = cythonize(
            extensions,
            include_path=["src"],
            compiler_directives={"language_level": 3, "nonecheck": True, "auto_pickle": False, "freethreading_compatible": False},
            build_dir="build/cython",
            quiet=True,
        )
        super().finalize_options()


setup(libraries=[core], ext_modules=extensions, cmdclass={"build_ext": BuildExtensions})
