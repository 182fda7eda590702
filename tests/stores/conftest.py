from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from actionqueue.stores.protocol import LogStore
from tests.support.stores import servers
from tests.support.stores.memory import Engine, MemoryStore

numbers = count(1)


class Logs:
    """New logs in one engine, and stores on them."""

    def __init__(self, make: Callable[[str], LogStore]) -> None:
        self._make = make
        self._stack = ExitStack()
        self.log = f"log {next(numbers)}"

    def open(self) -> Any:
        """Return one more store on the log."""
        store = self._make(self.log)
        self._stack.callback(store.close)
        return store

    def made(self) -> Any:
        """Make the log, and return a store on it."""
        store = self.open()
        assert store.initialize()
        return store

    def close(self) -> None:
        self._stack.close()


def _in_memory() -> Iterator[Callable[[str], LogStore]]:
    engine = Engine()
    yield lambda log: MemoryStore(engine, log=log)


def _in_postgres() -> Iterator[Callable[[str], LogStore]]:
    from actionqueue.stores import PostgresStore

    with tempfile.TemporaryDirectory(prefix="aq-") as directory:
        cluster = servers.Postgres(Path(directory), standbys=1)
        try:
            yield lambda log: PostgresStore(cluster.conninfo, log=log)
        finally:
            cluster.stop()


def _in_etcd() -> Iterator[Callable[[str], LogStore]]:
    from actionqueue.stores import EtcdStore

    with tempfile.TemporaryDirectory(prefix="aq-") as directory:
        cluster = servers.Etcd(Path(directory), 1)
        try:
            yield lambda log: EtcdStore(cluster.endpoints, log=log)
        finally:
            cluster.stop()


ENGINES = {"memory": _in_memory, "postgres": _in_postgres, "etcd": _in_etcd}


@pytest.fixture(
    scope="module",
    params=[
        "memory",
        pytest.param("postgres", marks=pytest.mark.system("postgres")),
        pytest.param("etcd", marks=pytest.mark.system("etcd")),
    ],
)
def engine(request: pytest.FixtureRequest) -> Iterator[Callable[[str], LogStore]]:
    """What makes stores in an engine, each with the name of its log."""
    yield from ENGINES[request.param]()


@pytest.fixture
def logs(engine: Callable[[str], LogStore]) -> Iterator[Logs]:
    made = Logs(engine)
    yield made
    made.close()
