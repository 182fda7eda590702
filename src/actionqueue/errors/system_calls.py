"""What a failed system call means, and what to do about it."""

from __future__ import annotations

import errno as errno_codes
import os


def ensure_from_system(error: OSError) -> None:
    """Raise an error again that no system call has raised: those have a number.

    A signal's handler may raise a TimeoutError, which is an OSError, too.
    """
    if error.errno is None:
        raise error


def failed_call(operation: str, path: str, number: int) -> str:
    """Return which call failed, and why, without the remedy."""
    return f"{operation} failed on {path}: {_why(operation, number)}"


def _why(operation: str, number: int) -> str:
    """Return what an errno means; for a file of the wrong kind, also what stands there."""
    kind = {
        errno_codes.ELOOP: "a symbolic link stands there, and none is followed",
        errno_codes.EMLINK: "the file has a second name, a hard link; make it a copy",
        errno_codes.EISDIR: "a directory stands where a file should",
        errno_codes.EINVAL: "it is no regular file",
    }.get(number)
    text = f"{os.strerror(number)} (errno {number})"
    if operation == "follow" and number == errno_codes.ENOENT:
        return f"{text}: a symbolic link that leads nowhere; make its target first, or remove it"
    if operation == "resolve" and number == errno_codes.ENOENT:
        return (
            f"{text}: the working directory was removed; go to another one, or give a path that "
            "begins with /"
        )
    return f"{text}: {kind}" if kind is not None and operation == "open" else text


_MOVED = (
    "put the queue's directory back where it was opened, or close the queue and open it where it is"
)
_RIGHTS = "give this process the right to write there"

_REMEDIES = {
    "ENOSPC": "free space",
    "EDQUOT": "free space, or get more of the disk's quota",
    "EFBIG": "raise the limit on the size of files (ulimit -f)",
    "EMFILE": "raise the limit of open files (ulimit -n), or close some",
    "ENFILE": "close files: the system has no more to give",
    "ENOMEM": "free memory",
    "EACCES": _RIGHTS,
    "EPERM": _RIGHTS,
    "EBUSY": "let go of the file in the program that holds it (a virus scanner, a backup)",
    "EROFS": "make the file system writable",
    "ENOENT": _MOVED,
    "ENOTDIR": _MOVED,
    "ESTALE": _MOVED,
    "EIO": "look at the disk",
}
"""What to do about a failed system call, by the errno's name: a system may lack some of them."""

_CANNOT_WRITE = {"EACCES", "EPERM", "EROFS"}


def _name(number: int) -> str:
    """Return an errno's name, which Windows gives in its own spelling for some: WSAESTALE."""
    return errno_codes.errorcode.get(number, "").removeprefix("WSA")


def remedy(number: int) -> str:
    """Return what to do about a call that failed for an open queue."""
    return _REMEDIES.get(_name(number), "mend the cause")


def remedy_for_opening(number: int) -> str:
    """Return what to do about a call that failed before the queue was open, or an empty text.

    A queue that is not open yet was not moved away; and what of the wrong kind stands at the path
    was said with the failure.
    """
    name = _name(number)
    known = _REMEDIES.get(name, _MOVED)
    text = "" if known is _MOVED else f"; {known}"
    return text + (
        "; with readonly=True the right to read is enough" if name in _CANNOT_WRITE else ""
    )
