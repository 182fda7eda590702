"""The engine room: a C core and thin Cython modules over it. Private; use :mod:`actionqueue`.

All of them are in one shared object, so that there is one core with one of each of its global
states. Python looks for a file of each module's own name; the finder here leads it to that object.
They import nothing of the package above: :mod:`_wal_native.above`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType

from _wal_native import above

MODULES = frozenset(
    {
        "arrays",
        "buffers",
        "columns",
        "events",
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
        "work",
    }
)
NAMED_BY_PICKLES = frozenset({"ids", "outcome"})
"""They can be imported before the package above, because they need nothing of it for that."""
SHARED_OBJECT = "native"


class _Finder:
    """Finds the native modules in the shared object."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        if package != __name__ or module not in MODULES:
            return None
        if not above.is_provided and module not in NAMED_BY_PICKLES:
            raise ImportError(f"import actionqueue, not {name}")
        found = PathFinder.find_spec(f"{package}.{SHARED_OBJECT}", path)
        if found is None or found.origin is None:
            return None
        loader = ExtensionFileLoader(name, found.origin)
        spec = ModuleSpec(name, loader, origin=found.origin)
        spec.has_location = True
        return spec


sys.meta_path.insert(0, _Finder)  # before files of these names that an older build has left


def _imports_of_the_extensions() -> None:
    """Name what the extensions import, for programs that freeze others. Nothing calls this.

    Those programs read Python code only.
    """
    import datetime  # noqa: ICN001 -- as the extensions do
    import decimal
    import enum
    import errno
    import operator
    import socket
    import threading
    import types
    import typing
    import uuid

    import msgspec
    import msgspec.structs

    import _wal_native.above
    import _wal_native.native  # type: ignore[import-not-found]  # the shared object, no module
    import _wal_native.weak_list
