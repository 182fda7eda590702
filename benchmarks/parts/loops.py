"""Builds loops.c with the C core, as setup.py does, and offers its functions as ``lib``."""

from __future__ import annotations

import importlib.util
import re
import tempfile
from pathlib import Path
from typing import Any

import cffi

__all__ = ["ffi", "lib"]

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "src" / "_wal_native" / "core"


def _build() -> Any:
    header = re.sub(
        r"^#.*$|/\*.*?\*/", "", (HERE / "loops.h").read_text("utf-8"), flags=re.MULTILINE
    )
    builder = cffi.FFI()
    builder.cdef(header)
    builder.set_source(
        "aqw_loops",
        '#include "loops.h"',
        sources=[str(HERE / "loops.c"), *sorted(str(path) for path in CORE.rglob("*.c"))],
        include_dirs=[str(CORE), str(HERE)],
        define_macros=[("NDEBUG", None)],
        extra_compile_args=["-std=c11", "-O3", "-fvisibility=hidden", "-pthread"],
        extra_link_args=["-pthread"],
    )
    with tempfile.TemporaryDirectory() as directory:
        path = builder.compile(tmpdir=directory)
        spec = importlib.util.spec_from_file_location("aqw_loops", path)
        if spec is None or spec.loader is None:
            raise ImportError(path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


_module = _build()
ffi = _module.ffi
lib = _module.lib
