"""A queue's directory, as the doors to the core take it."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from actionqueue.clock import now
from actionqueue.errors import NotAQueueError

__all__ = ["existing_directory", "holder_text", "real_directory"]


def real_directory(path: str | os.PathLike[str]) -> str:
    """Return the real path, so that the queue stays where it is when the working directory changes."""
    directory = os.fspath(path)
    if not isinstance(directory, str):
        raise TypeError(f"path must be a str or a path-like of str, not of {type(directory).__name__}")
    if not directory:
        raise ValueError('path is empty; "." is the working directory')
    return os.path.realpath(directory).replace(os.sep, "/")  # on Windows too: the core takes paths apart at the slash


def existing_directory(path: str | os.PathLike[str]) -> str:
    """Return the real path of a directory that is there, or raise NotAQueueError."""
    directory = real_directory(path)
    try:
        if not stat.S_ISDIR(Path(directory).stat().st_mode):
            raise NotAQueueError(directory)
    except (FileNotFoundError, NotADirectoryError):
        raise NotAQueueError(directory) from None
    return directory


def holder_text() -> str:
    """Return the lock file's text: who holds the queue."""
    return f"pid={os.getpid()}\nhost={socket.gethostname()}\nstarted={now()}\n"
