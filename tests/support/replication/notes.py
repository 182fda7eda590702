"""What writers note of what they did, each in a file of its own, and what can be told from it.

A note is a line of words. The first says what it is, the second when it was made, by the clock that
all processes of the machine share.
"""

from __future__ import annotations

import hashlib
import os
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import actionqueue as aq
from _wal_native.snapshot import image_digest

OPENED = "opened"
"""The queue is open. It may stand by."""
ACTIVE = "active"
"""The queue is the log's writer: epoch, last sequence, digest of the projection."""
ACKNOWLEDGED = "acknowledged"
"""The store has an event, as Immediate promises: sequence, payload's hash."""
REFUSED = "refused"
"""An event was not acknowledged: payload's hash, what is said of what was written, the error's
class, its cause's class, its text."""
PROJECTION = "projection"
"""The queue is quiet: last sequence, digest of the projection."""
TROUBLE = "trouble"
"""What keeps events from the store, by ``stats()``, has changed: its text, or nothing."""
ENDED = "ended"
"""The queue was closed, or could not be opened: the error or nothing."""


class Note(NamedTuple):
    kind: str
    at: float
    words: tuple[str, ...]


class Acknowledgement(NamedTuple):
    at: float
    sequence: int
    payload: str
    writer: str


def hash_of(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()[:16]


def digest_of(projection: aq.Projection) -> str:
    return "-".join(map(str, image_digest(projection)))


class NoteWriter:
    """A file that notes are added to: those of one call together, by one call of the system."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def add(self, kind: str, *words: object) -> None:
        self.add_all(kind, [words])

    def add_all(self, kind: str, rows: list[tuple[object, ...]]) -> None:
        begin = f"{kind} {time.monotonic():.6f}"
        lines = [" ".join([begin, *("_".join(str(word).split()) for word in row)]) for row in rows]
        data = "".join(f"{line}\n" for line in lines).encode()
        assert os.write(self._descriptor, data) == len(data)


class NoteReader:
    """Reads the notes of one writer as they are added."""

    def __init__(self, path: Path) -> None:
        self.writer = path.stem
        self._path = path
        self._read = 0
        self.notes: list[Note] = []
        self.acknowledged: list[Acknowledgement] = []

    def look(self) -> None:
        """Read the whole lines that are new; one may be on its way."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._read += end
        for line in data[:end].decode().splitlines():
            kind, at, *words = line.split(" ")
            if kind == ACKNOWLEDGED:
                sequence, payload = words
                self.acknowledged.append(
                    Acknowledgement(float(at), int(sequence), payload, self.writer)
                )
            else:
                self.notes.append(Note(kind, float(at), tuple(words)))

    def last(self, *kinds: str, since: float = 0.0) -> Note | None:
        """Return the last note of these kinds that was made after a time."""
        return next(
            (each for each in reversed(self.notes) if each.kind in kinds and each.at > since), None
        )


def longest_pause(acknowledged: list[Acknowledgement], begin: float, end: float) -> float:
    """Return the longest time between two acknowledgements: from the last one before a fault to the
    first one after it, unless there was a second pause.

    ``begin`` is when the fault came, ``end`` a moment when all was well again.
    """
    moments = sorted(each.at for each in acknowledged if each.at <= end)
    before = [moment for moment in moments if moment <= begin]
    moments = [*before[-1:], *(moment for moment in moments if moment > begin)]
    return max((later - earlier for earlier, later in pairwise(moments)), default=end - begin)
