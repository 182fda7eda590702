"""What the tests of snapshots and compaction of an open queue share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import actionqueue as aq
from actionqueue import compactor
from tests.support.queues import wait_until

if TYPE_CHECKING:
    import pytest

WAIT_SECONDS = 60


def names(path: Path, folder: str) -> list[str]:
    return (
        sorted(file.name for file in (path / folder).iterdir() if file.suffix != ".tmp")
        if (path / folder).exists()
        else []
    )


def snapshots(path: Path) -> list[int]:
    return [int(name.removesuffix(".snap")) for name in names(path, "snapshots")]


def first_sequences(path: Path) -> list[int]:
    return [int(name.removesuffix(".log").split("-")[1]) for name in names(path, "wal")]


def run_to_the_end(queue: aq.ActionQueue, time: int) -> aq.RunId:
    """Make a task with one run that is canceled at this time."""
    task = aq.TaskSpec(payload=b"")
    run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    queue.submit(aq.TaskCreateCommand(None, task, 1))
    queue.submit(aq.RunCreateCommand(None, run))
    queue.submit(aq.RunStateTransitionCommand(None, run.id, "scheduled", "canceled", time))
    return run.id


class Gate:
    """Holds compactions at their beginning until they are let go or canceled."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began = threading.Event()
        self.may_go = threading.Event()
        self.threads: list[int] = []
        self._compact = compactor.compact
        monkeypatch.setattr(compactor, "compact", self._compact_when_let_go)

    def _compact_when_let_go(
        self, *arguments: Any, progress: aq.Progress, **options: Any
    ) -> dict[str, Any]:
        self.threads.append(threading.get_ident())
        self.began.set()
        wait_until(lambda: self.may_go.is_set() or progress.is_canceled)
        return self._compact(*arguments, progress=progress, **options)


class Worker:
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self.ended: Any = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.ended = self._call()
        except BaseException as error:
            self.ended = error

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()
        return self.ended
