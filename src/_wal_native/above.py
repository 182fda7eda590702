"""What the native modules take from the package above them: its errors, value types and events.

They import nothing of that package. It provides these names before it imports a native module that
needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

is_provided = False
"""Whether the package above was imported: it provides its errors before all else."""


def provide(names: Mapping[str, Any]) -> None:
    """Have native modules find these names here."""
    globals().update(names, is_provided=True)
