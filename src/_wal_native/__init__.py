"""The engine room: a C core and thin Cython modules over it. Private; use :mod:`actionqueue`.

All of them are in one shared object, so that there is one core with one of each of its global
states. Python looks for a file of each module's own name; the finder here leads it to that object.
They import nothing of the package above: :mod:`_wal_native.above`.

A process loads that object once, and its modules keep the classes that they were given first. So
both packages stay, whatever is taken out of ``sys.modules``, and no second interpreter gets them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

from _wal_native import above

if TYPE_CHECKING:
    from importlib.abc import Loader
else:
    Loader = object  # the real one takes as long to import as all of this package's modules

MODULES = frozenset(
    {
        "arrays",
        "buffers",
        "columns",
        "events",
        "fault",
        "fields",
        "group",
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


def _ensure_main_interpreter() -> None:
    """Raise ImportError in any other interpreter of the process.

    There the shared object would not load, or, if it came first, not in the main one any more.
    """
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters = import_module(name)
        except ImportError:
            continue
        if interpreters.get_current() != interpreters.get_main():
            raise ImportError(
                "actionqueue can be imported in the main interpreter of a process only, not in "
                "another one; do so there, or in a process of its own"
            )
        return


class _Finder:
    """Finds the native modules in the shared object, and both packages where they were before."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if target is None and (kept := above.kept_module(name)) is not None:
            return ModuleSpec(name, _Keeper(kept), origin=kept.__file__)
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


class _Keeper(Loader):
    """Loads a module that was imported before: it is the same one."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._spec = module.__spec__

    def create_module(self, _spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


_ensure_main_interpreter()
sys.meta_path.insert(0, _Finder)  # before files of these names that an older build has left
above.keep(sys.modules[__name__])


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
