"""Snapshots of a writer on their way into the store, and what the store can drop after them."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _wal_native.snapshot import list_snapshots, read_snapshot
from actionqueue import threads
from actionqueue.directory import snapshot_path
from actionqueue.errors import (
    ClosedError,
    CorruptLogError,
    ForkedError,
    OpenIOError,
)
from actionqueue.replication.note import sync_directory
from actionqueue.replication.shipper import Shipper
from actionqueue.stores.protocol import LogStore, SnapshotInfo
from actionqueue.texts import told

__all__ = ["Uploader", "fetch"]

LOOK_SECONDS = 1.0
PIECE_BYTES = 1 << 20
BYTES_A_SECOND = 20 << 20
"""Appends of events take longer beside a snapshot that goes as fast as it can."""


class Uploader:
    """Puts each new snapshot of the directory into the store, and trims the log there."""

    def __init__(self, directory: str, store: LogStore, shipper: Shipper) -> None:
        self._directory = directory
        self._store = store
        self._shipper = shipper
        self._stop = threading.Event()
        self._uploaded = -1
        self.trouble: str | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look for snapshots. Raises OpenIOError if the system gives no thread."""
        self._thread = threads.start("actionqueue-uploader", self._run, self._directory)

    def stop(self) -> None:
        """End the thread; a snapshot that is on its way is not seen by any reader."""
        self._stop.set()
        # The last reference to a queue may go in any of its threads.
        if self._thread not in {None, threading.current_thread()}:
            self._thread.join(LOOK_SECONDS)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
                self.trouble = None
            except (ClosedError, ForkedError):
                return
            except BaseException as error:  # noqa: BLE001 -- the store's own, too; the log goes on
                self.trouble = f"snapshot: {told(error)}"

    def _look(self) -> None:
        newest = max(_sequences(self._directory), default=0)
        if newest <= self._uploaded:
            return
        there = [info.sequence for info in self._store.snapshots()]
        if newest > max(there, default=0):
            path = snapshot_path(self._directory, newest)
            # One that a disk has damaged would take the place of what the trim drops.
            read_snapshot(self._directory, newest)
            self._store.put_snapshot(self._shipper.term, newest, self._pieces(path), _digest(path))
            there = [newest, *there]
        self._uploaded = newest
        if len(there) > 1:
            self._store.trim(self._shipper.term, there[1] + 1)

    def _pieces(self, path: str) -> Iterator[bytes]:
        with Path(path).open("rb") as file:
            yield from _paced(file, self._stop)


def fetch(store: LogStore, info: SnapshotInfo, directory: str) -> None:
    """Put a snapshot of the store into a queue's directory, under its own name.

    Raises CorruptLogError where it is not what its writer has put there, OpenIOError, and what the
    store raises.
    """
    folder = Path(directory, "snapshots")
    temporary = folder / "snapshot.tmp"
    digest = hashlib.sha256()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            _write_all(file, digest, store.get_snapshot(info))
        if digest.digest() != info.digest:
            raise CorruptLogError(str(temporary), None, None, "snapshot", None, info.sequence)
        path = snapshot_path(directory, info.sequence)
        temporary.replace(path)
        sync_directory(str(folder))
        _verify(directory, info.sequence, Path(path))
    except OSError as error:
        raise OpenIOError("write", str(temporary), error.errno or 0) from error


def _verify(directory: str, sequence: int, path: Path) -> None:
    """Remove a snapshot that its writer has put there damaged, and raise CorruptLogError."""
    try:
        read_snapshot(directory, sequence)
    except CorruptLogError:
        path.unlink()
        raise


def _write_all(file: Any, digest: Any, pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        digest.update(piece)
        file.write(piece)
    file.flush()
    os.fsync(file.fileno())


def _paced(file: Any, stop: threading.Event) -> Iterator[bytes]:
    started, sent = time.monotonic(), 0
    while piece := file.read(PIECE_BYTES):
        yield piece
        sent += len(piece)
        wait = started + sent / BYTES_A_SECOND - time.monotonic()
        if stop.wait(max(wait, 0.0)):
            raise ClosedError


def _digest(path: str) -> bytes:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        hashlib.file_digest(file, lambda: digest)
    return digest.digest()


def _sequences(directory: str) -> list[int]:
    return list_snapshots(directory) if Path(directory, "snapshots").is_dir() else []
