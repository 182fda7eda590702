"""A queue's directory, as the doors to the core take it."""

from __future__ import annotations

import errno
import os
import stat
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from _wal_native.reader import lock_is_held, names_in
from actionqueue.clock import now
from actionqueue.errors import (
    CompactedError,
    CorruptLogError,
    NotAQueueError,
    OpenIOError,
    UnsafeDirectoryWarning,
)
from actionqueue.texts import host_name, shown

__all__ = [
    "directory_to_open",
    "existing_directory",
    "has_writer",
    "holder_text",
    "lock_path",
    "read_undisturbed",
    "real_directory",
]

READ_TRIES = 10
PAUSE_SECONDS_MAX = 0.1
CALLERS_OF_OPEN = 5
"""From a warning here up to who called :func:`actionqueue.open`."""

Result = TypeVar("Result")


def real_directory(path: str | os.PathLike[str]) -> str:
    """Return the real path, so that the queue stays where it is when the working directory changes.

    Raises OpenIOError where that can't be told.
    """
    directory = _text_of(path)
    try:
        real = os.path.realpath(directory)
    except OSError as error:  # a relative path, and the working directory was removed
        raise OpenIOError("resolve", directory, error.errno or errno.EIO) from error
    return real.replace(os.sep, "/")  # on Windows too: the core takes paths apart at the slash


def _text_of(path: str | os.PathLike[str]) -> str:
    directory = os.fspath(path) if isinstance(path, (str, bytes, os.PathLike)) else None
    if not isinstance(directory, str):
        raise TypeError(f"path must be a str or a path-like of str, got {shown(path)}")
    directory = str.__str__(directory)  # of a class of its own it may compare as it likes
    if not directory:
        raise ValueError('path is empty; "." is the working directory')
    try:
        is_one = b"\0" not in os.fsencode(directory)
    except UnicodeEncodeError:
        is_one = False
    if not is_one:
        raise ValueError(
            "path must be text that the file system takes, without NUL or lone surrogates, got "
            f"{shown(path)}"
        )
    return directory


def directory_to_open(path: str | os.PathLike[str]) -> str:
    """Return the real path of a writer's directory, which may have to be created, and warn of one that is not its user's alone.

    Raises OpenIOError for a symbolic link that leads nowhere: a queue would be created where that
    happens to point.
    """
    directory = real_directory(path)
    given = Path(_text_of(path))
    for place in (*reversed(given.parents), given):
        try:
            if place.is_symlink():
                place.stat()
        except OSError as error:
            raise OpenIOError("follow", str(place), error.errno or errno.EIO) from error
    _warn_of_others(directory)
    return directory


def _warn_of_others(directory: str) -> None:
    if os.name != "posix":
        return
    try:
        status = Path(directory).stat()
    except OSError:  # it is yet to be made, or cannot be opened
        return
    if not stat.S_ISDIR(status.st_mode):
        return
    what = None
    if _others_may_write(directory, status):
        what = f"is writable by others (mode {stat.S_IMODE(status.st_mode):04o}); chmod go-w"
    elif (
        status.st_uid != os.geteuid() != 0
    ):  # root looks after queues of others, and leaves them their owners
        what = f"belongs to user {status.st_uid}, not to {os.geteuid()}; chown"
    if what is not None:
        text = f"the queue's directory {directory} {what} it, or they can replace the queue's files"
        warnings.warn(text, UnsafeDirectoryWarning, stacklevel=CALLERS_OF_OPEN)


def _others_may_write(directory: str, status: os.stat_result) -> bool:
    if status.st_mode & stat.S_ISVTX:
        return False
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_private_group(directory, status)


def _is_private_group(directory: str, status: os.stat_result) -> bool:
    """Tell whether a directory's group is its owner's own, as many distributions make one for each user, with the umask 002.

    It has the user's name, is the user's primary group, and has no other member. False where that
    can't be told; for root's group, which containers run other users in; and where the directory
    has an access control list, of which the mode's bits for the group are only the sum.
    """
    if status.st_gid == 0 or _has_access_list(directory):
        return False
    try:
        import grp  # noqa: PLC0415 -- Windows has neither
        import pwd  # noqa: PLC0415

        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except (ImportError, KeyError, OSError):
        return False
    is_own = owner.pw_gid == status.st_gid and owner.pw_name == group.gr_name
    return is_own and set(group.gr_mem) <= {owner.pw_name}


def _has_access_list(directory: str) -> bool:
    """Tell whether a directory has an access control list of POSIX; True where that can't be told."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        os.getxattr(directory, "system.posix_acl_access")
    except OSError as error:
        return error.errno not in (errno.ENODATA, errno.ENOTSUP)
    return True


def existing_directory(path: str | os.PathLike[str]) -> str:
    """Return the real path of a directory that is there, or raise NotAQueueError; OpenIOError where that can't be told."""
    directory = real_directory(path)
    try:
        if not stat.S_ISDIR(Path(directory).stat().st_mode):
            raise NotAQueueError(directory)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotAQueueError(directory) from None
        raise OpenIOError("open", directory, error.errno or errno.EIO) from error
    return directory


def holder_text() -> str:
    """Return the lock file's text: who holds the queue."""
    return f"pid={os.getpid()}\nhost={host_name()}\nstarted={now()}\n"


def lock_path(directory: str) -> str:
    """Return the path of a queue's lock file."""
    return str(Path(directory, "LOCK"))


def has_writer(directory: str) -> bool:
    """Return whether a writer holds the queue at this moment."""
    return lock_is_held(lock_path(directory))


def read_undisturbed(directory: str, read: Callable[[], Result]) -> Result:
    """Return what a reading without a lock returns; one that failed is made again where a writer may have been the reason.

    A writer that comes or goes, rotates or compacts while files are read one after the other can
    make them not fit one another. Where nobody was there, what was found is so.
    """
    for attempt in range(READ_TRIES - 1):
        before = None if has_writer(directory) else _traces(directory)
        try:
            return read()
        except (CorruptLogError, CompactedError, NotAQueueError, OpenIOError):
            if before is not None and not has_writer(directory) and _traces(directory) == before:
                raise
        time.sleep(min(PAUSE_SECONDS_MAX, 0.001 * 2**attempt))
    return read()


def disk_bytes(directory: str) -> int:
    """Return what the files of a queue take on the disk, as far as they can be looked at. What comes and goes meanwhile may be missed."""
    total = 0
    for folder in ("", "wal", "snapshots", "quarantine"):
        place = os.path.join(directory, folder)  # noqa: PTH118 -- names, not paths: a queue may have thousands
        for name in names_in(place):
            try:
                status = os.lstat(os.path.join(place, name))  # noqa: PTH118 -- likewise
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                total += status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size
    return total


def _traces(directory: str) -> list[tuple[str, int, int, int]]:
    """Return what differs after a writer was there: opening replaces the ring, closing and compacting change files too."""
    found: list[tuple[str, int, int, int]] = []
    for folder in ("", "wal", "snapshots"):
        try:
            for entry in os.scandir(Path(directory, folder)):
                status = entry.stat(follow_symlinks=False)
                found.append(
                    (f"{folder}/{entry.name}", status.st_ino, status.st_size, status.st_mtime_ns)
                )
        except OSError:  # a folder that is not there, or a file that has just gone
            found.append((folder, 0, 0, 0))
    return sorted(found)
