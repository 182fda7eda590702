"""What the native modules take from the package above them: its errors, value types and events.

They import nothing of that package. It provides these names before it imports a native module that
needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def provide(names: Mapping[str, Any]) -> None:
    """Have native modules find these names here."""
    globals().update(names)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(f"{name} was not provided: import actionqueue, not _wal_native")
