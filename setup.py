"""Builds the native modules; everything else about the package is in pyproject.toml.

An environment variable, which must be 0 or 1, switches each of the builds for developers:

ACTIONQUEUE_DEBUG=1      no optimisation, assertions on (core/base/assert.h)
ACTIONQUEUE_SANITIZE=1   address and undefined-behaviour sanitizers
ACTIONQUEUE_COVERAGE=1   gcov counters in the C core
ACTIONQUEUE_WERROR=1     warnings in the C core are errors (CI)

What the first three compile is kept in a directory of its own below build/, because an object file
does not tell how it was compiled.

A cross compiler builds for another system (tests/wheels): CC names it, and _PYTHON_HOST_PLATFORM
the system.
"""

import os
import re
import sys
import sysconfig
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, "src")  # builds don't look for modules in the project
from _wal_native_declarations import write_kinds, write_pxd

NATIVE = Path("src/_wal_native")
CORE = NATIVE / "core"
DECLARATIONS = Path("build/declarations")
"""Cython finds ``_wal_native.core`` there: what the headers of the core declare."""
KINDS = Path("src/actionqueue/model/kinds.py")
SHARED_OBJECT = "_wal_native.native"
"""All native modules are in this object, so that they share one core and its global state."""
IS_FOR_WINDOWS = sysconfig.get_platform().startswith("win")
IS_MICROSOFTS_COMPILER = sys.platform == "win32"


def switch(name: str) -> bool:
    """Read a build switch strictly: a misspelt value must not silently mean yes or no."""
    value = os.environ.get(name, "0")
    if value not in {"0", "1"}:
        sys.exit(f"{name} must be 0 or 1, not {value!r}")
    return value == "1"


def build_base() -> str:
    """Return the directory for what is compiled with the switches that are on."""
    names = ("DEBUG", "SANITIZE", "COVERAGE")
    kept_apart = [name for name in names if switch(f"ACTIONQUEUE_{name}")]
    return "-".join(["build/with", *kept_apart]).lower() if kept_apart else "build"


def compiler_options() -> tuple[list[str], list[str], list[tuple[str] | tuple[str, str | None]]]:
    """Return the compiler arguments, linker arguments and macros that the switches ask for."""
    debug, sanitize = switch("ACTIONQUEUE_DEBUG"), switch("ACTIONQUEUE_SANITIZE")
    coverage, werror = switch("ACTIONQUEUE_COVERAGE"), switch("ACTIONQUEUE_WERROR")
    # One item undefines: Python's own arguments define it.
    macros: list[tuple[str] | tuple[str, str | None]] = [("NDEBUG",) if debug else ("NDEBUG", None)]
    if IS_MICROSOFTS_COMPILER:
        if sanitize or coverage:
            sys.exit("the sanitizer and coverage builds need gcc or clang")
        # MSVC has <stdatomic.h> from Visual Studio 2022 17.5 on, behind this switch.
        warnings = ["/W3", "/WX"] if werror else []
        return ["/std:c11", "/experimental:c11atomics", "/O2", *warnings], [], macros
    compile_args = ["-std=c11", "-fvisibility=hidden"]
    link_args = []
    if not IS_FOR_WINDOWS:
        compile_args.append("-pthread")
        link_args.append("-pthread")
    compile_args += ["-O0", "-g"] if debug else ["-O3", "-g1"]
    if sanitize:
        flags = [
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=undefined",
            "-fno-omit-frame-pointer",
        ]
        compile_args += flags
        link_args += flags
    if coverage:
        compile_args += ["--coverage", "-O0"]
        link_args += ["--coverage"]
    return compile_args, link_args, macros


COMPILE_ARGS, LINK_ARGS, MACROS = compiler_options()
WARNINGS = (
    ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion"]
    if not IS_MICROSOFTS_COMPILER
    else []
)
if switch("ACTIONQUEUE_WERROR") and not IS_MICROSOFTS_COMPILER:
    WARNINGS.append("-Werror")

core = (
    "aqw_core",
    {
        "sources": sorted(str(path) for path in CORE.rglob("*.c")),
        "include_dirs": [str(CORE)],
        "macros": MACROS,
        "cflags": COMPILE_ARGS + WARNINGS,
        "obj_deps": {"": sorted(str(path) for path in [*CORE.rglob("*.h"), *CORE.rglob("*.def")])},
    },
)

# core/os/io_windows.c takes random numbers and the access lists of directories from these.
LIBRARIES = ["bcrypt", "advapi32"] if IS_FOR_WINDOWS else []

OPTIONS: dict[str, Any] = {
    "include_dirs": [str(CORE)],
    "define_macros": MACROS,
    "extra_compile_args": COMPILE_ARGS,
    "extra_link_args": LINK_ARGS,
    "libraries": LIBRARIES,
    "depends": sorted(str(path) for path in [*CORE.rglob("*.*"), *NATIVE.glob("*.p?[dxi]")]),
}
MODULES = sorted(path.stem for path in NATIVE.glob("*.pyx"))


def index_page() -> str:
    """Return README.md for the index, where a link by path would lead nowhere.

    Each such link becomes one to the file at the release's tag.
    """
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    start = Path("src/actionqueue/__init__.py").read_text("utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"$', start, re.MULTILINE)

    def absolute(link: re.Match[str]) -> str:
        # A picture is taken as the file's bytes; "blob" is the page that shows a file.
        form = "raw" if link["picture"] else "blob"
        return f"{link['name']}({project['urls']['Source']}/{form}/v{version}/{link['path']})"

    by_path = r"(?P<name>(?P<picture>!)?\[[^]]*\])\((?!\w+:|#)(?P<path>[^)\s]+)\)"
    return re.sub(by_path, absolute, Path("README.md").read_text("utf-8"))


class BuildExtensions(build_ext):
    """Makes one shared object of all native modules."""

    def finalize_options(self) -> None:
        """Run Cython when extensions are built, and not when only metadata is read.

        It translates again what depends on a declaration that has changed in a header.
        """
        write_pxd(CORE, DECLARATIONS / "_wal_native" / "core.pxd")
        translated = cythonize(
            [
                Extension(f"_wal_native.{name}", [str(NATIVE / f"{name}.pyx")], **OPTIONS)
                for name in MODULES
            ],
            include_path=["src", str(DECLARATIONS)],
            compiler_directives={
                "language_level": 3,
                "nonecheck": True,
                "auto_pickle": False,
                "freethreading_compatible": False,
            },
            build_dir="build/cython",
            quiet=True,
        )
        sources = [source for module in translated for source in module.sources]
        self.distribution.ext_modules = [Extension(SHARED_OBJECT, sources, **OPTIONS)]
        super().finalize_options()

    def get_export_symbols(self, _extension: Extension) -> list[str]:
        """Name the functions that Python looks for when it imports each of the modules.

        The object itself has no such function.
        """
        return [f"PyInit_{name}" for name in MODULES]

    def build_extension(self, extension: Extension) -> None:
        """Compile as many files at a time as there are processors."""
        compile_in_a_row = self.compiler.compile

        def compile_beside_each_other(sources: list[str], **options: Any) -> list[str]:
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                made = threads.map(lambda source: compile_in_a_row([source], **options), sources)
                return [file for files in made for file in files]

        self.compiler.compile = compile_beside_each_other
        try:
            super().build_extension(extension)
        finally:
            self.compiler.compile = compile_in_a_row


write_kinds(CORE, KINDS)  # at once, because every command of setuptools counts it to the package
# The build replaces this extension; without one there would be nothing to build.
placeholder = Extension(SHARED_OBJECT, [])
setup(
    long_description=index_page(),
    long_description_content_type="text/markdown",
    libraries=[core],
    ext_modules=[placeholder],
    cmdclass={"build_ext": BuildExtensions},
    options={"build": {"build_base": build_base()}},
)
