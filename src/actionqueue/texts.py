"""How errors and the command line tell people values, numbers and the system's texts."""

from __future__ import annotations

import math
import os
import reprlib
import threading
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_9999_ENDS = 253_402_300_799
"""Its last second, in Unix seconds."""

Rows = tuple[tuple[int, int], ...]
"""Runs of sequences: the first and the last of each."""


class _Shown(reprlib.Repr):
    def repr_int(self, x: int, level: int) -> str:
        """Return a number, or how long it is: Python writes none of thousands of digits."""
        # First, because newer CPythons, as 3.14.3, have a text of their own with an address in it.
        try:
            str(x)
        except ValueError:
            return f"<a number of about {int(math.log10(abs(x))) + 1} digits>"
        return super().repr_int(x, level)


_shown = _Shown()

NESTED_MAX = 3
"""How deep errors are shown inside of each other.

The value of one may lead back to it, by more than one way.
"""


class _Nesting(threading.local):
    depth = 0


_nesting = _Nesting()


def shown(value: object) -> str:
    """Return what a message says of a user's value: its beginning and its end.

    It says something of any value, and raises nothing.
    """
    if _nesting.depth == NESTED_MAX:
        return f"<{type(value).__name__}>"
    _nesting.depth += 1
    try:
        return _shown.repr(value)
    except Exception:  # noqa: BLE001 -- the value's own code, which may raise anything
        return f"<{type(value).__name__} without a text>"
    finally:
        _nesting.depth -= 1


def told(value: object) -> str:
    """Return the value as text, or what :func:`shown` says where it gives none."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 -- as above
        return shown(value)
    return text or (type(value).__name__ if isinstance(value, BaseException) else "")


def moment(seconds: int) -> str:
    """Return Unix seconds as text for people: ISO 8601, in UTC.

    Behind the year 9999, where times in another unit lie, it is the number.
    """
    if not 0 <= seconds <= _YEAR_9999_ENDS:
        return str(seconds)
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


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


def _name_on_windows() -> str:
    import socket  # noqa: PLC0415 -- it takes long, and other systems do without it

    try:
        return socket.gethostname()
    except OSError as error:
        if error.errno is None:  # no system call has failed: a signal's handler raised it
            raise
        return "unknown"
    except UnicodeError:
        return "unknown"


def host_name() -> str:
    """Return this machine's name as one line of UTF-8, whatever its bytes and the locale."""
    name = os.uname().nodename if hasattr(os, "uname") else _name_on_windows()
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text) or "unknown"
