"""A queue's directory, in the form that the core takes."""

from __future__ import annotations

import errno
import ntpath
import os
import re
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
from actionqueue.errors.system_calls import ensure_from_system
from actionqueue.texts import host_name, shown

__all__ = [
    "directory_to_open",
    "existing_directory",
    "first_sequences",
    "has_writer",
    "holder_text",
    "lock_path",
    "read_undisturbed",
    "real_directory",
    "size_of_snapshot",
    "sizes_of_segments",
    "snapshot_path",
]

READ_TRIES = 10
PAUSE_SECONDS_MAX = 0.1
CALLERS_OF_OPEN = 5
"""Frames from a warning here up to the caller of :func:`actionqueue.open`."""

_REFUSED_BY_WINDOWS = re.compile(r'[\x00-\x1f<>:"|?*]')
_SEGMENT = re.compile(r"[0-9]{20}-([0-9]{20})\.log")

Result = TypeVar("Result")


def real_directory(path: str | os.PathLike[str]) -> str:
    """Return the real path, so that the queue stays where it is when the working directory changes.

    Raises OpenIOError where the system does not tell it.
    """
    directory = _text_of(path)
    try:
        real = os.path.realpath(directory)
    except OSError as error:  # a relative path, and the working directory was removed
        ensure_from_system(error)
        raise OpenIOError("resolve", directory, error.errno or errno.EIO) from error
    return real.replace(os.sep, "/")  # on Windows too: the core takes paths apart at the slash


def _text_of(path: str | os.PathLike[str]) -> str:
    directory = os.fspath(path) if isinstance(path, (str, bytes, os.PathLike)) else None
    if not isinstance(directory, str):
        raise TypeError(f"path must be a str or a path-like of str, got {shown(path)}")
    directory = str.__str__(directory)  # a subclass of str may have odd comparisons
    if not directory:
        raise ValueError('path is empty; "." is the working directory')
    if (wrong := what_no_path_has(directory)) is not None:
        raise ValueError(
            f"path must be text that the file system takes, without {wrong}, got {shown(path)}"
        )
    return directory


def what_no_path_has(text: str) -> str | None:
    """Return what a text has that no path of this system can have, in words; None if nothing."""
    try:
        # Windows' own encoding lets lone surrogates through, and the core's calls do not.
        is_one = b"\0" not in (os.fsencode(text) if os.name == "posix" else text.encode())
    except UnicodeEncodeError:
        is_one = False
    if not is_one:
        return "NUL or lone surrogates"
    if os.name == "nt" and _REFUSED_BY_WINDOWS.search(ntpath.splitdrive(text)[1]):
        # The system would say that there is no such file. What follows a colon is no name in it
        # either, but the name of another stream of the same file.
        return 'control characters and the signs < > : " | ? * in names'
    return None


def directory_to_open(path: str | os.PathLike[str]) -> str:
    """Return the real path of a writer's directory, which need not exist yet.

    Warns of a directory that other users may write to. Raises OpenIOError for a symbolic link that
    leads nowhere: the writer would create a queue where the link happens to point.
    """
    directory = real_directory(path)
    given = Path(_text_of(path))
    for place in (*reversed(given.parents), given):
        try:
            if place.is_symlink():
                place.stat()
        except OSError as error:
            ensure_from_system(error)
            raise OpenIOError("follow", str(place), error.errno or errno.EIO) from error
    _warn_of_others(directory)
    return directory


def _warn_of_others(directory: str) -> None:
    if os.name != "posix":
        return
    try:
        status = Path(directory).stat()
    except OSError as error:  # the directory does not exist yet, or does not open
        ensure_from_system(error)
        return
    if not stat.S_ISDIR(status.st_mode):
        return
    what = None
    if _others_may_write(directory, status):
        what = f"is writable by others (mode {stat.S_IMODE(status.st_mode):04o}); chmod go-w"
    # Root looks after queues of others, and leaves them their owners.
    elif status.st_uid != os.geteuid() != 0:
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
    """Tell whether a directory's group is its owner's alone.

    Many distributions make such a group for each user, with the umask 002: it has the user's name,
    is the user's primary group, and has no other member. False where the system does not tell; for
    root's group, in which containers run other users; and where the directory has an access control
    list, because the mode's bits for the group are only the sum of that.
    """
    if status.st_gid == 0 or _has_access_list(directory):
        return False
    try:
        import grp  # noqa: PLC0415 -- Windows has neither
        import pwd  # noqa: PLC0415

        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except (ImportError, KeyError):
        return False
    except OSError as error:
        ensure_from_system(error)
        return False
    is_own = owner.pw_gid == status.st_gid and owner.pw_name == group.gr_name
    return is_own and set(group.gr_mem) <= {owner.pw_name}


def _has_access_list(directory: str) -> bool:
    """Tell whether a directory has a POSIX access control list; True where the look fails."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        os.getxattr(directory, "system.posix_acl_access")
    except OSError as error:
        ensure_from_system(error)
        return error.errno not in (errno.ENODATA, errno.ENOTSUP)
    return True


def existing_directory(path: str | os.PathLike[str]) -> str:
    """Return the real path of an existing directory, or raise NotAQueueError.

    Raises OpenIOError where the system does not tell whether it exists.
    """
    directory = real_directory(path)
    try:
        if not stat.S_ISDIR(Path(directory).stat().st_mode):
            raise NotAQueueError(directory)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotAQueueError(directory) from None
        ensure_from_system(error)
        raise OpenIOError("open", directory, error.errno or errno.EIO) from error
    return directory


def holder_text() -> str:
    """Return the lock file's text, which names this process as the holder of the queue."""
    return f"pid={os.getpid()}\nhost={host_name()}\nstarted={now()}\n"


def lock_path(directory: str) -> str:
    """Return the path of a queue's lock file."""
    return Path(directory, "LOCK").as_posix()


def has_writer(directory: str) -> bool:
    """Return whether a writer holds the queue at this moment."""
    return lock_is_held(lock_path(directory))


def read_undisturbed(directory: str, read: Callable[[], Result]) -> Result:
    """Return what a reading without a lock returns; read again after a failure by a writer's doing.

    A writer that comes or goes, rotates or compacts while the reader reads one file after the other
    can make the files not fit one another. Without a writer meanwhile, the failure is real.
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
    """Return what the files of a queue take on the disk, in bytes.

    It leaves out files that it cannot look at, and may miss those that come and go meanwhile.
    """
    total = 0
    for folder in ("", "wal", "snapshots", "quarantine"):
        # os.path is faster than pathlib, and a queue may have thousands of files.
        # Without a slash at its end: Windows' listing finds nothing there.
        place = f"{directory}/{folder}" if folder else directory
        for name in names_in(place):
            try:
                status = os.lstat(os.path.join(place, name))  # noqa: PTH118
            except OSError as error:
                ensure_from_system(error)
                continue
            if stat.S_ISREG(status.st_mode):
                total += status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size
    return total


def snapshot_path(directory: str, sequence: int) -> str:
    """Return the path of the snapshot as of this event."""
    return Path(directory, "snapshots", f"{sequence:020d}.snap").as_posix()


def size_of_snapshot(directory: str, sequence: int) -> int:
    """Return the size of the snapshot as of this event; 0 without one, or if the look fails."""
    try:
        return Path(snapshot_path(directory, sequence)).stat().st_size if sequence else 0
    except OSError as error:
        ensure_from_system(error)
        return 0


def sizes_of_segments(directory: str, count: int) -> list[int]:
    """Return the sizes of the newest segments, oldest first; an empty list if a look fails."""
    wal = Path(directory, "wal")
    newest = sorted(name for name in names_in(str(wal)) if name.endswith(".log"))[-count:]
    try:
        return [(wal / name).lstat().st_size for name in newest]
    except OSError as error:
        ensure_from_system(error)
        return []


def first_sequences(directory: str) -> list[int]:
    """Return the sequence with which each segment of the log begins, in the segments' order."""
    names = sorted(file.name for file in Path(directory, "wal").iterdir())
    matches = (_SEGMENT.fullmatch(name) for name in names)
    return [int(match[1]) for match in matches if match is not None]


def _traces(directory: str) -> list[tuple[str, int, int, int]]:
    """Return what a writer changes: opening replaces the ring, closing and compacting do more."""
    found: list[tuple[str, int, int, int]] = []
    for folder in ("", "wal", "snapshots"):
        try:
            for entry in os.scandir(Path(directory, folder)):
                status = entry.stat(follow_symlinks=False)
                found.append(
                    (f"{folder}/{entry.name}", status.st_ino, status.st_size, status.st_mtime_ns)
                )
        except OSError as error:  # the folder does not exist, or a file has just gone
            ensure_from_system(error)
            found.append((folder, 0, 0, 0))
    return sorted(found)
