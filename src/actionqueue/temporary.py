"""Temporary directories of the demo and of benchmarks: they go even when a signal comes."""

from __future__ import annotations

import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["temporary_directory"]

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""What asks a process to end: SIGBREAK is Windows' for Ctrl-Break and for a console that closes."""


@contextmanager
def temporary_directory(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Make a directory, and remove it in the end.

    While it exists, SIGTERM and SIGHUP raise SystemExit in the main thread, with 128 plus the
    signal's number as the exit code, as in a shell; Windows' SIGBREAK counts as SIGTERM. A signal
    that the process already ignores or handles stays so. In other threads the call changes no
    signal.
    """
    ending = _Ending()
    try:
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            try:
                ending.raise_from_now_on()
                yield made
            finally:
                ending.raise_no_more()
        finally:  # a second time, for a signal that comes just before the line above
            shutil.rmtree(made)
    finally:
        ending.let_go()
    ending.raise_late()


class _Ending:
    """The first signal: it is raised at once, or later if that would leave the directory behind."""

    def __init__(self) -> None:
        self._number: int | None = None
        self._raises = False
        self._watched: list[int] = []
        if threading.current_thread() is threading.main_thread():
            self._watched = [
                number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL
            ]
        for number in self._watched:
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._number is None:
            self._number = number
            if self._raises:
                self.raise_late()

    def raise_from_now_on(self) -> None:
        """Raise a signal where it comes, also one that has come before."""
        self._raises = True
        self.raise_late()

    def raise_no_more(self) -> None:
        """Only note signals."""
        self._raises = False

    def let_go(self) -> None:
        """Leave signals to the system again."""
        for number in self._watched:
            signal.signal(number, signal.SIG_DFL)

    def raise_late(self) -> None:
        """Raise a noted signal, unless another exception is under way."""
        if self._number is not None:
            is_break = self._number == getattr(signal, "SIGBREAK", None)
            raise SystemExit(128 + (signal.SIGTERM if is_break else self._number))
