"""How a command ended, for scripts. The same list is at the end of ``actionqueue --help``."""

from __future__ import annotations

from enum import IntEnum

from actionqueue.errors import (
    ActionQueueError,
    CorruptLogError,
    LockedError,
    LogCloseError,
    MutationError,
    NotAQueueError,
    UnsupportedFormatError,
    WriterError,
)

__all__ = ["MEANINGS", "ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """The exit codes. A number never changes its meaning."""

    OK = 0
    NOT_PROVED = 1
    USAGE = 2
    BAD_INPUT = 3
    LOCKED = 4
    CORRUPT = 5
    NOT_A_QUEUE = 6
    SYSTEM = 7
    NOT_WRITTEN = 8
    NOT_INSTALLED = 9
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


MEANINGS = {
    ExitCode.OK: "done; for submit: every line was a command, accepted or refused",
    ExitCode.NOT_PROVED: "demo: the proof failed",
    ExitCode.USAGE: "bad usage",
    ExitCode.BAD_INPUT: "submit: at least one line was no command; all others were submitted",
    ExitCode.LOCKED: "another process has the queue open",
    ExitCode.CORRUPT: "the log is damaged",
    ExitCode.NOT_A_QUEUE: "there is no queue, or a newer version of the library wrote it",
    ExitCode.SYSTEM: "a system call failed: permissions, a full disk, an I/O error",
    ExitCode.NOT_WRITTEN: "submit: a valid command was not written or not made durable; what follows it was not read",
    ExitCode.NOT_INSTALLED: "the command line's own dependencies are missing",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
    ExitCode.OUTPUT_CLOSED: "the reader of the output went away",
}


def exit_code_of(error: ActionQueueError | OSError) -> ExitCode:
    """Return the exit code that an error of the library or the system leads to."""
    match error:
        case LockedError():
            return ExitCode.LOCKED
        case CorruptLogError():
            return ExitCode.CORRUPT
        case NotAQueueError() | UnsupportedFormatError():
            return ExitCode.NOT_A_QUEUE
        case LogCloseError():
            return ExitCode.SYSTEM  # everything was written
        case MutationError() | WriterError():
            return ExitCode.NOT_WRITTEN
        case _:
            return ExitCode.SYSTEM
