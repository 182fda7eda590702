from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.replication.queue import ReplicatedQueue
from tests.support.stores.memory import Engine, MemoryStore


class Site:
    """One engine with one log, and queues on it in directories of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = Engine()
        MemoryStore(self.engine).initialize()
        self._open: list[Any] = []
        self.stores: dict[ReplicatedQueue, MemoryStore] = {}

    @property
    def log(self) -> Any:
        return self.engine.logs["actionqueue"]

    def store(self) -> MemoryStore:
        return MemoryStore(self.engine)

    def open(self, name: str | None = "a", **options: Any) -> ReplicatedQueue:
        store = self.store()
        path = None if name is None else self.folder / name
        queue = aq.open(path, store=store, **options)
        self.stores[queue] = store
        self._open.append(queue)
        return queue

    def read(self) -> Any:
        """Return a reader of all that is durable."""
        reader = aq.open(store=self.store(), readonly=True)
        self._open.append(reader)
        return reader

    def cut(self, queue: ReplicatedQueue, *, is_cut: bool = True) -> None:
        """Cut a queue off from the engine, or connect it again."""
        self.stores[queue].is_cut = is_cut

    def kill(self, queue: ReplicatedQueue, name: str) -> None:
        """Leave the files as SIGKILL would, in another directory, and end the queue there."""
        shutil.copytree(queue.path, self.folder / name)
        self.cut(queue)
        self.engine.logs["actionqueue"].seen = 0.0  # as if its lease were over

    def close(self) -> None:
        for each in reversed(self._open):
            each._outbox_seconds = 0.01  # what is cut off by now need not be waited for
            with contextlib.suppress(aq.ActionQueueError):
                each.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()
