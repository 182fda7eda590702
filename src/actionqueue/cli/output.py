"""What commands print: JSON lines, and numbers and texts for people."""

from __future__ import annotations

import sys
from typing import Any

import msgspec

__all__ = ["SIGNS", "count", "print_json", "printable", "size"]

SIGNS = {
    "█": "#",
    "…": "...",
    "•": "*",
    "▶": ">",
    "⏸": "=",
    "⌛": "~",
    "☠": "!",
    "€": "$",
    "✓": "+",
    "✗": "x",
}
SIGNS |= dict.fromkeys("▉▊▋▌▍▎▏", "")
"""What to print for signs that the locale's encoding lacks."""


def print_json(value: Any) -> None:
    """Print a value as one line of JSON in UTF-8."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")


def count(number: int) -> str:
    """Return a number with commas between its thousands."""
    return f"{number:,}"


def size(size_bytes: int) -> str:
    """Return a number of bytes in the unit that suits it."""
    power = min(4, max(0, size_bytes.bit_length() - 1) // 10)
    return f"{size_bytes / 1024**power:.1f} {'KMGT'[power - 1]}iB" if power else f"{size_bytes} B"


def printable(text: str) -> str:
    """Return the text with everything escaped that could control a terminal or break a line."""
    return (
        text
        if text.isprintable()
        else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    )
