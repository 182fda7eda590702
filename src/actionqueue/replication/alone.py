"""One opening of a directory at a time: it may make the copy there again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from actionqueue.directory import lock_path
from actionqueue.errors import LockedError

try:
    import fcntl
except ImportError:  # Windows, where nothing removes files that a queue has open
    fcntl = None  # type: ignore[assignment]

__all__ = ["alone_in"]


@contextlib.contextmanager
def alone_in(directory: str, *, waits: bool = False) -> Iterator[None]:
    """Let no other opening into a directory meanwhile, where the system can.

    A queue holds its lock while its log is open. An opening that closes a log, to make it again,
    holds nothing for a moment. Raises LockedError; with ``waits``, for a queue whose log is open,
    none: another opening, which finds the log's lock taken, is over soon.
    """
    descriptor = _lock(directory, waits=waits)
    try:
        yield
    finally:
        if descriptor is not None:
            # A child that another thread has forked meanwhile has the lock as well.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _lock(directory: str, *, waits: bool) -> int | None:
    if fcntl is None:
        return None
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return None  # the opening says what is wrong with it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise LockedError(lock_path(directory)) from None
    except OSError:  # a file system that has no such locks
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
