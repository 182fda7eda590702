"""The scheduler's side of its workers: idle ones, their messages, and new ones for the dead."""

from __future__ import annotations

import itertools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Self

from actionqueue import Claim
from actionqueue.demo.messages import Heartbeat, Result, Trouble
from actionqueue.demo.worker import work

__all__ = ["Crew", "Worker"]

_processes = multiprocessing.get_context("spawn")


class Worker:
    """A worker process. No other has its name, also not after a restart of the scheduler."""

    def __init__(self, number: int, trouble: Trouble) -> None:
        self.claim: Claim | None = None
        self.connection, theirs = _processes.Pipe()
        self.process: SpawnProcess = _processes.Process(
            target=work, args=(theirs, trouble), daemon=True
        )
        self.process.start()
        theirs.close()  # so that the pipe ends when the worker does
        self.name = f"worker-{number}/{os.getpid()}"

    def assign(self, claim: Claim) -> None:
        """Hand over a run. If the worker has died meanwhile, its lease will expire."""
        self.claim = claim
        try:
            self.connection.send(claim)
        except OSError:
            return


class Crew:
    """A constant number of workers."""

    def __init__(self, size: int, trouble: Trouble) -> None:
        self._numbers = itertools.count(1)
        self._trouble = trouble
        self._workers = [self._hire() for _ in range(size)]

    def _hire(self) -> Worker:
        return Worker(next(self._numbers), self._trouble)

    def idle(self) -> list[Worker]:
        """Return the workers without a run."""
        return [worker for worker in self._workers if worker.claim is None]

    @property
    def is_idle(self) -> bool:
        """Whether no worker has a run."""
        return len(self.idle()) == len(self._workers)

    def receive(
        self, others: Sequence[Connection], seconds: float
    ) -> Iterator[tuple[Worker, Heartbeat | Result]]:
        """Wait up to ``seconds`` for a message of a worker or of the others; yield the workers'."""
        lines = [worker.connection for worker in self._workers]
        # On Windows a line does not end where the worker did not live to take its end of it.
        ends = [worker.process.sentinel for worker in self._workers]
        heard = wait([*others, *lines, *ends], seconds)
        for index, worker in enumerate(self._workers):
            if worker.connection in heard:
                try:
                    yield worker, worker.connection.recv()
                except (EOFError, OSError):
                    self._replace(index)
            elif worker.process.sentinel in heard:
                self._replace(index)

    def _replace(self, index: int) -> None:
        self._workers[index].process.join()
        self._workers[index] = self._hire()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()
