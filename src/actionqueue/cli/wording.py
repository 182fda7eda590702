"""The texts of errors and warnings in a shell.

They name commands where the library's own texts name its calls and options.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from actionqueue.cli.output import printable
from actionqueue.errors import (
    CompactedError,
    DisplacedError,
    HistoryChangedError,
    LockedError,
    LogWriteError,
    NotAQueueError,
    OpenIOError,
    PartialDurabilityError,
    PoisonedError,
    TimestampWarning,
    UnsafeDirectoryWarning,
    UnsupportedFormatError,
)

__all__ = ["describe", "say", "say_warning"]

READING = frozenset({"due", "dump", "log", "runs", "stats", "verify", "why"})
_REMOVED = "the current directory was removed; go to another one, or give paths that begin with /"
RIGHTS = frozenset({errno.EACCES, errno.EPERM})


def describe(error: BaseException, command: str | None) -> str:  # noqa: C901, PLR0911, PLR0912
    """Return what an error says to the user of a command, or of an unknown one (None)."""
    match error:
        case LockedError():
            return _lock(error)
        case NotAQueueError(quarantine=None):
            return (
                f"there is no queue at {error.path}; look at the path, or make one with "
                "`actionqueue submit DIR`"
            )
        case NotAQueueError():
            return (
                f"there is no queue at {error.path} any more: a repair could keep nothing of it "
                f"and moved everything to {error.quarantine}; `actionqueue log --salvage DIR` "
                "prints the events that can be read there; `actionqueue submit DIR` begins a new "
                "queue at sequence 1"
            )
        case OpenIOError(operation="resolve", errno=errno.ENOENT):
            return _REMOVED
        case OpenIOError() if command in READING and error.errno in RIGHTS:
            return f"{error.what}; give this user the right to read there"
        case OpenIOError() if error.errno in {*RIGHTS, errno.EROFS}:
            needed = (
                "make the file system writable"
                if error.errno == errno.EROFS
                else "give this user the right to write there"
            )
            return (
                f"{error.what}; the queue was not opened; {needed}; `actionqueue dump`, `log`, "
                "`stats` and `verify` only read"
            )
        case UnsupportedFormatError():
            what = (
                f"{error.path} has format {error.version}"
                if error.event_kind is None
                else f"{error.path} has an event of kind {error.event_kind}"
            )
            return f"{what}, which this version of actionqueue does not know; upgrade it"
        case CompactedError():
            first = error.first_sequence
            return (
                f"the log of {error.path} begins at sequence {first}, what came before is in its "
                "snapshot; `actionqueue dump DIR` prints what all of it adds up to; ask for the "
                f"log from {first} on"
            )
        case HistoryChangedError():
            return (
                f"the log in {error.path} has no event {error.sequence}, or another one than was "
                "read: it ends before, or was replaced, restored or repaired; run the command "
                "again, without --from to see what there is"
            )
        case DisplacedError():
            return (
                f"the directory at {error.path} is not the one that the command has opened, which "
                "was moved, removed or replaced; nothing was written there; run the command "
                "again for the directory where it is now"
            )
        case LogWriteError():
            return (
                f"{error.what}; the next command that opens the queue for writing recovers what "
                "the disk holds"
            )
        case PartialDurabilityError():
            cause = describe(error.cause, command)
            return (
                f"event {error.sequence} was appended but not synced ({cause}); `actionqueue dump "
                "DIR` shows what survived"
            )
        case PoisonedError():
            why = "" if error.cause is None else f" ({describe(error.cause, command)})"
            return f"an earlier write or sync failed{why}; run the command again to recover"
        case OSError() if error.strerror:
            return _system_call(error)
        case MemoryError():
            return "there is not enough memory"
    return str(error)


def _system_call(error: OSError) -> str:
    name = None if error.filename is None else os.fsdecode(error.filename)
    if error.errno == errno.ENOENT and not (name is not None and Path(name).is_absolute()):
        try:
            Path.cwd()
        except FileNotFoundError:
            return _REMOVED
    return f"{'standard input or output' if name is None else name}: {error.strerror}"


def _lock(error: LockedError) -> str:
    holder = "another process" if error.pid is None else f"process {error.pid}"
    host = "" if error.host is None else f" on {error.host}"
    since = "" if error.started is None else f" since {error.since}"
    is_open = f"{Path(error.path).parent.as_posix()} is in use: {holder}{host} has it open{since}"
    return (
        f"{is_open}; try again when it is closed; `actionqueue dump`, `log` and `stats` can look "
        "at it meanwhile"
    )


def say(kind: str, message: str) -> None:
    """Print one line on standard error, whatever the message holds."""
    line = printable(" ".join(message.split()))
    with suppress(OSError):  # the terminal may be closed by now
        print(f"actionqueue: {kind}: {line}", file=sys.stderr)


def say_warning(message: Warning | str, category: type[Warning]) -> bool:
    """Print a warning of the library as one line; return False for any other warning."""
    if not issubclass(category, (TimestampWarning, UnsafeDirectoryWarning)):
        return False
    say("warning", str(message))
    return True
