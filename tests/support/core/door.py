"""The second door onto the C core: ``lib`` and ``ffi``, made by cffi from the core's own sources
and headers.

The declarations are those that Cython gets: ``src/_wal_native_declarations.py`` reads them from the
headers, and says from which, so there is no copy of a prototype to keep in step.

The core is compiled with warnings as errors and kept in a cache directory under a name that is a
digest of everything that went into it, so a stale build is never used. ``ACTIONQUEUE_TEST_CACHE``
names another directory; ``ACTIONQUEUE_TEST_CORE`` names another core to build, a changed copy of
this one; ``ACTIONQUEUE_SANITIZE=1`` builds with the address and undefined-behaviour sanitizers (run
Python with libasan preloaded). Assertions (``base/assert.h``) are on; ``ACTIONQUEUE_DEBUG=0``
builds without them, as users' builds are.

A function pointer of a C struct is set from Python with ``ffi.callback``::

    @ffi.callback("int(void *, int64_t)")
    def sync(context, handle): ...

    table.sync = sync          # keep a reference to `sync` for as long as C may call it
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
from distutils.ccompiler import new_compiler
from distutils.sysconfig import customize_compiler
from pathlib import Path
from typing import Any

import cffi
import setuptools  # noqa: F401  (provides distutils)

from tests.support import places

SOURCES = places.ROOT / "src"
CORE = Path(os.environ.get("ACTIONQUEUE_TEST_CORE") or SOURCES / "_wal_native" / "core")
DECLARATIONS = SOURCES / "_wal_native_declarations.py"
# Tests that stand in as allocators need these.
C_LIBRARY = "void *calloc(size_t count, size_t size);\nvoid free(void *block);\n"
COUNTED_MEMORY = Path(__file__).with_name("counted_memory.c")
COUNTED_MEMORY_SURFACE = """
void aqw_test_memory_fail(long number, int for_good);
long aqw_test_memory_failures(void);
long aqw_test_memory_blocks(void);
long aqw_test_memory_largest(int begins_again);
"""


def switch(name: str, usual: str) -> bool:
    value = os.environ.get(name, usual)
    if value not in {"0", "1"}:
        raise ValueError(f"{name} must be 0 or 1, not {value!r}")
    return value == "1"


def sanitized() -> bool:
    return switch("ACTIONQUEUE_SANITIZE", "0")


def assertion_flag() -> str:
    """Return what turns assertions on or off, behind Python's own arguments, which turn them
    off.
    """
    mark = "/" if sys.platform == "win32" else "-"
    return f"{mark}{'U' if switch('ACTIONQUEUE_DEBUG', '1') else 'D'}NDEBUG"


def core_flags() -> list[str]:
    if sys.platform == "win32":
        return ["/std:c11", "/experimental:c11atomics", "/O2", "/W3", "/WX", assertion_flag()]
    flags = ["-std=c11", "-O1", "-g", "-pthread", assertion_flag()]
    if not os.environ.get("ACTIONQUEUE_TEST_CORE"):  # a changed copy may leave something unused
        flags += ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
    return flags + sanitizer_flags()


def sanitizer_flags() -> list[str]:
    if not sanitized():
        return []
    return [
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
        "-fno-omit-frame-pointer",
    ]


# --- Building -------------------------------------------------------------------------------------


def digest_of_sources() -> str:
    digest = hashlib.sha256()
    for part in (sys.version, sys.platform, cffi.__version__, *core_flags()):
        digest.update(part.encode() + b"\0")
    for path in (Path(__file__), DECLARATIONS, COUNTED_MEMORY, *sorted(CORE.rglob("*.*"))):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:24]


def compile_core(directory: Path) -> list[str]:
    """Compile every C file of the core over the memory that tests count; return the object
    files.
    """
    compiler = new_compiler()
    customize_compiler(compiler)
    sources = sorted(str(path) for path in CORE.rglob("*.c"))
    flags = [*core_flags(), *pic()]
    renamed = [(name, f"aqw_test_{name}") for name in ("malloc", "calloc", "realloc", "free")]
    objects: list[str] = compiler.compile(
        sources,
        output_dir=str(directory),
        include_dirs=[str(CORE)],
        macros=renamed,
        extra_postargs=flags,
    )
    objects += compiler.compile(
        [str(COUNTED_MEMORY)], output_dir=str(directory), extra_postargs=flags
    )
    return objects


def pic() -> list[str]:
    return [] if sys.platform == "win32" else ["-fPIC"]


def build(name: str, directory: Path) -> Path:
    reader = module_at(DECLARATIONS, "_wal_native_declarations")
    headers = reader.public_headers(CORE)
    builder = cffi.FFI()
    builder.cdef(
        C_LIBRARY + COUNTED_MEMORY_SURFACE + "\n".join(reader.in_c(header) for header in headers),
        packed=False,
    )
    builder.set_source(
        name,
        "#include <stdlib.h>\n"
        + COUNTED_MEMORY_SURFACE
        + "\n".join(f'#include "{header.name}"' for header in headers),
        include_dirs=[str(CORE)],
        extra_objects=compile_core(directory),
        libraries=["bcrypt", "advapi32"] if sys.platform == "win32" else [],
        extra_link_args=[] if sys.platform == "win32" else ["-pthread", *sanitizer_flags()],
    )
    return Path(builder.compile(tmpdir=str(directory)))


def module_at(path: Path, name: str) -> Any:
    """Import a module from a file that Python would not find, or not in this version."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load() -> Any:
    """Return the extension module, built unless the cache has it."""
    name = f"aqw_core_{digest_of_sources()}"
    cache = places.cache_directory()
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    target = cache / f"{name}{suffix}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            # This happens at once, so that another process finds the file whole or not at all.
            build(name, Path(directory)).replace(target)
    return module_at(target, name)


_module = load()
ffi: Any = _module.ffi
lib: Any = _module.lib
