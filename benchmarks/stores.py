"""The stores that peers.py compares, each behind two calls: connect, for a thread, and close."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import actionqueue as aq

__all__ = ["PEERS", "RECORD", "Peer", "Store"]

RECORD = bytes(range(128))
BUSY_SECONDS = 60
MAP_BYTES = 1 << 34


class Store(NamedTuple):
    """An open store."""

    connect: Callable[[], Callable[[bytes], object]]
    """Returns a thread's function for putting a record, which returns when the record is as safe as
    the mode says."""
    close: Callable[[], object]


class Peer(NamedTuple):
    """A store, and what a program needs to use it."""

    name: str
    requirement: str
    """For pip; empty if the store needs nothing."""
    module: str
    open: Callable[[Path, bool], Store]
    """Takes a new directory, and whether to sync every record."""


def _numbered(put: Callable[[bytes, bytes], object]) -> Callable[[], Callable[[bytes], object]]:
    """Turn a put with a key into one that numbers the records; `next` of a count is atomic."""
    numbers = count()
    return lambda: lambda record: put(next(numbers).to_bytes(8, "big"), record)


def _close_all(connections: list[sqlite3.Connection]) -> None:
    for connection in connections:
        connection.close()


# FBT001: all stores have this signature.
def actionqueue_store(directory: Path, is_synced: bool) -> Store:  # noqa: FBT001
    """Create tasks with the record as their payload."""
    queue = aq.open(directory, durability="immediate" if is_synced else "deferred", compaction=None)
    submit = queue.submit
    return Store(
        lambda: lambda record: submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=record), 1)),
        queue.close,
    )


def plain_file(directory: Path, is_synced: bool) -> Store:  # noqa: FBT001
    """Append to a file that grows."""
    descriptor = os.open(directory / "records", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def put(record: bytes) -> None:
        os.write(descriptor, record)
        if is_synced:
            os.fdatasync(descriptor)

    return Store(lambda: put, lambda: os.close(descriptor))


def sqlite_store(directory: Path, is_synced: bool) -> Store:  # noqa: FBT001
    """Insert rows, one a transaction, in WAL mode, with a connection a thread."""
    connections: list[sqlite3.Connection] = []

    def connect() -> Callable[[bytes], object]:
        path = directory / "records.db"
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        connections.append(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if is_synced else 'NORMAL'}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS records (number INTEGER PRIMARY KEY, data BLOB NOT NULL)"
        )
        execute = connection.execute
        return lambda record: execute("INSERT INTO records (data) VALUES (?)", (record,))

    return Store(connect, lambda: _close_all(connections))


def lmdb_store(directory: Path, is_synced: bool) -> Store:  # noqa: FBT001
    """Put one record a transaction."""
    environment: Any = import_module("lmdb").open(
        str(directory), map_size=MAP_BYTES, sync=is_synced, metasync=is_synced
    )

    def put(key: bytes, record: bytes) -> None:
        with environment.begin(write=True) as transaction:
            transaction.put(key, record, append=False)

    return Store(_numbered(put), environment.close)


def rocksdict_store(directory: Path, is_synced: bool) -> Store:  # noqa: FBT001
    """Put bytes, with the write-ahead log on, which is the default."""
    module: Any = import_module("rocksdict")
    database = module.Rdict(str(directory / "records"), module.Options(raw_mode=True))
    how = module.WriteOptions()
    how.sync = is_synced
    return Store(_numbered(lambda key, record: database.put(key, record, how)), database.close)


def plyvel_store(directory: Path, is_synced: bool) -> Store:  # noqa: FBT001
    """Put bytes into LevelDB."""
    database: Any = import_module("plyvel").DB(str(directory / "records"), create_if_missing=True)
    return Store(
        _numbered(lambda key, record: database.put(key, record, sync=is_synced)), database.close
    )


def litequeue_store(directory: Path, is_synced: bool) -> Store:  # noqa: FBT001
    """Put messages, with a connection a thread."""
    module: Any = import_module("litequeue")
    queues: list[Any] = []

    def connect() -> Callable[[bytes], object]:
        queue = module.LiteQueue(directory / "records.db", timeout=BUSY_SECONDS)
        if is_synced:
            queue.conn.execute("PRAGMA synchronous = FULL")
        queues.append(queue)
        return lambda record: queue.put(record.decode("latin-1"))

    return Store(connect, lambda: _close_all([queue.conn for queue in queues]))


def persist_queue_store(directory: Path, is_synced: bool) -> Store:  # noqa: FBT001
    """Put objects into its queue of files, or for syncs into its queue over SQLite.

    The former syncs only at the end of a file, the latter each object.
    """
    module: Any = import_module("persistqueue")
    if is_synced:
        queue = module.FIFOSQLiteQueue(str(directory), multithreading=True, auto_commit=True)
        return Store(lambda: queue.put, queue.close)
    files = module.Queue(str(directory / "records"), tempdir=str(directory))
    return Store(lambda: files.put, lambda: None)


def diskcache_store(directory: Path, is_synced: bool) -> Store:  # noqa: FBT001
    """Push values onto a cache that never forgets."""
    full, normal = 2, 1
    cache: Any = import_module("diskcache").Cache(
        str(directory),
        eviction_policy="none",
        size_limit=MAP_BYTES,
        sqlite_synchronous=full if is_synced else normal,
    )
    return Store(lambda: cache.push, cache.close)


PEERS = [
    Peer("actionqueue", "", "actionqueue", actionqueue_store),
    Peer("plain file", "", "os", plain_file),
    Peer("sqlite3", "", "sqlite3", sqlite_store),
    Peer("lmdb", "lmdb==3.0.0", "lmdb", lmdb_store),
    Peer("rocksdict", "rocksdict==0.3.29", "rocksdict", rocksdict_store),
    Peer("plyvel", "plyvel==1.5.1", "plyvel", plyvel_store),
    Peer("litequeue", "litequeue==0.9", "litequeue", litequeue_store),
    Peer("persist-queue", "persist-queue==1.1.0", "persistqueue", persist_queue_store),
    Peer("diskcache", "diskcache==5.6.3", "diskcache", diskcache_store),
]
