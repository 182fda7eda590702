"""Exit codes, which tell scripts how a command ended. ``actionqueue --help`` lists them too."""

from __future__ import annotations

from enum import IntEnum

from actionqueue.errors import (
    ActionQueueError,
    CompactedError,
    CorruptLogError,
    DisplacedError,
    HistoryChangedError,
    LockedError,
    LogCloseError,
    MalformedEventError,
    MutationError,
    NotAQueueError,
    SnapshotError,
    TermHeldError,
    UnknownLogError,
    UnsupportedFormatError,
    ValidationError,
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
    COMPACTED = 10
    HISTORY_CHANGED = 11
    REFUSED = 12
    HUNG_UP = 129
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    TERMINATED = 143


MEANINGS = {
    ExitCode.OK: "done; for submit: every line was a command, accepted or refused",
    ExitCode.NOT_PROVED: "demo: the proof failed; store check: a setting may break the promise",
    ExitCode.USAGE: "bad usage",
    ExitCode.BAD_INPUT: "submit: at least one line was no command; it submitted the others",
    ExitCode.LOCKED: "another process has the queue open, or the store's log",
    ExitCode.CORRUPT: "the log or a snapshot is damaged; repair wants --accept-data-loss",
    ExitCode.NOT_A_QUEUE: "there is no queue, or a newer version of the library wrote it",
    ExitCode.SYSTEM: "a system call failed: rights, a full disk, an I/O error, no memory",
    ExitCode.NOT_WRITTEN: "submit: a command did not become durable; it read no further lines",
    ExitCode.NOT_INSTALLED: "the command line's own dependencies are missing",
    ExitCode.COMPACTED: "log --follow: the log no longer goes back to the requested event",
    ExitCode.HISTORY_CHANGED: "log --follow: the log ends before the event, or has another history",
    ExitCode.REFUSED: "retry, reschedule: the run's state does not allow it",
    ExitCode.HUNG_UP: "ended by SIGHUP, for instance of a closed terminal",
    ExitCode.INTERRUPTED: "interrupted with Ctrl-C",
    ExitCode.OUTPUT_CLOSED: "the reader of the output has gone",
    ExitCode.TERMINATED: "ended by SIGTERM; on Windows by Ctrl-Break",
}


_OF_ERRORS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], ExitCode], ...] = (
    ((LockedError, TermHeldError), ExitCode.LOCKED),
    ((CorruptLogError, MalformedEventError), ExitCode.CORRUPT),
    ((NotAQueueError, UnsupportedFormatError, UnknownLogError), ExitCode.NOT_A_QUEUE),
    (CompactedError, ExitCode.COMPACTED),
    (HistoryChangedError, ExitCode.HISTORY_CHANGED),
    ((DisplacedError, LogCloseError, SnapshotError), ExitCode.SYSTEM),  # every event was written
    (ValidationError, ExitCode.REFUSED),
    ((MutationError, WriterError), ExitCode.NOT_WRITTEN),
)


def exit_code_of(error: ActionQueueError | OSError | MemoryError) -> ExitCode:
    """Return the exit code for an error of the library or the system."""
    return next((code for kinds, code in _OF_ERRORS if isinstance(error, kinds)), ExitCode.SYSTEM)
