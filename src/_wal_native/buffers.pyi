"""Callers' arrays, whose types and layouts are checked before their items are read.

The other native modules use them. Nothing here is for Python.
"""

from typing import final

@final
class Buffer:
    """The memory of a caller's array, held as long as this object lives."""
