"""How numbers are told to people, in errors and on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

Rows = tuple[tuple[int, int], ...]
"""Runs of sequences: the first and the last of each."""


def moment(seconds: int) -> str:
    """Return Unix seconds as text for people."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):  # a number that is no time, from a lock file that was tampered with
        return str(seconds)


def rows_text(rows: Rows) -> str:
    """Return rows of sequences as text: ``"22, 25 to 36"``."""
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in rows)


def dropped_text(reason: str, size: int, events: int) -> str:
    """Return what does not count behind the log's end, and what of it had been acknowledged."""
    what = f"{size} bytes" if size else "what only the ring held"
    text = f"{what} ({reason})"
    if events:
        text += f", {events} whole events among them, acknowledged as Deferred at most"
    return text
