"""What the native modules take from the package above them: its errors, value types and events.

They import nothing of that package. It provides these names before it imports a native module that
needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

is_provided = False
"""Whether the package above was imported: it provides its errors before all else."""

_packages: dict[str, ModuleType] = {}


def provide(names: Mapping[str, Any]) -> None:
    """Have native modules find these names here.

    Raises ImportError for another object of a name: native modules may have the first one already.
    """
    mine = globals()
    mine.update(is_provided=True)
    for name, value in names.items():
        if mine.setdefault(name, value) is not value:
            raise ImportError(
                "an import of actionqueue in this process has failed halfway, and its modules were "
                "removed; it can't be imported again there, only in a new process"
            )


def keep(package: ModuleType) -> None:
    """Have later imports of a package that is complete find it, and its modules."""
    _packages[package.__name__] = package


def kept_module(name: str) -> ModuleType | None:
    """Return the module of this name that was imported before, or None."""
    package, *path = name.split(".")
    module: Any = _packages.get(package)
    for part in path:
        module = vars(module).get(part) if isinstance(module, ModuleType) else None
    is_it = isinstance(module, ModuleType) and module.__name__ == name
    return module if is_it else None
