"""Threads that a queue starts for itself."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

from actionqueue.errors import OpenIOError


def start(name: str, run: Callable[[], None], path: str) -> threading.Thread:
    """Start a thread of the queue at this path. Raises OpenIOError if the system gives none."""
    # A daemon, so that an unclosed queue does not keep the process from ending.
    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        # A signal's handler raised while the thread was starting; the RuntimeError hides it.
        if error.__context__ is not None:
            raise error.__context__ from None
        raise OpenIOError("start a thread", path, errno.EAGAIN) from error
    return thread
