"""What a directory says of the store that its log goes to: the file ``store.json``."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

import msgspec

from actionqueue.errors import OpenIOError
from actionqueue.opening import NOTE_NAME
from actionqueue.stores.protocol import Term

__all__ = ["Note", "Tail", "read_note", "write_note"]

NO_TERM = Term(0, 1, "")


class Tail(msgspec.Struct, frozen=True):
    """Events that were acknowledged here as Deferred, and that the log does not have."""

    first: int
    last: int | None
    """None where a damaged directory does not say whether there were any."""
    path: str
    """The file in which they are now, a line of JSON each; or the damaged files."""


class Note(msgspec.Struct, frozen=True):
    """The log, and the last term in which this directory's queue was its writer."""

    log_id: UUID
    term: Term = NO_TERM
    """Its epoch is 0 where the queue was never a writer, or has resigned."""
    acknowledged: int = 0
    """The store has the events up to this one, at least."""
    lost: Tail | None = None
    """What other writers' events took the place of last."""
    begins_again: bool = False
    """The files here are given up: whatever opens them next removes them and begins again."""


def read_note(directory: str) -> Note | None:
    """Return what the directory says; None where it says nothing, or nothing that can be read."""
    path = Path(directory, NOTE_NAME)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OpenIOError("read", str(path), error.errno or 0) from error
    try:
        return msgspec.json.decode(text, type=Note)
    except msgspec.DecodeError:
        return None  # cut short by a power loss: nothing is known of a term


def write_note(directory: str, note: Note) -> None:
    """Have the directory say this from now on, also after a power loss. Raises OpenIOError."""
    path = Path(directory, NOTE_NAME)
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(msgspec.json.encode(note) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(directory)
    except OSError as error:
        raise OpenIOError("write", str(path), error.errno or 0) from error


def sync_directory(path: str) -> None:
    """Make the names in a directory durable, where the system can. Raises OSError."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
