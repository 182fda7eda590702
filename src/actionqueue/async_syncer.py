"""The thread of a queue for asyncio: it syncs, and wakes the tasks that wait for that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from actionqueue import threads

TRIES = 100
RETRY_SECONDS = 0.01
"""How often, and after how long, the thread tries again to serve a task, where memory is short for
instance."""

Request = tuple[int, asyncio.Future[None]]
Answer = tuple[asyncio.Future[None], BaseException | None]


class Syncer:
    """The thread that syncs for all tasks, while one waits.

    Each sync serves every task that came before the sync began.
    """

    def __init__(self, wait_durable: Callable[[int], None], path: str) -> None:
        self._wait_durable = wait_durable
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._has_ended = False
        self._thread = threads.start("actionqueue-aio", self._run, path)

    def wait(self, sequence: int) -> asyncio.Future[None]:
        """Return a future of the running loop, which is done when the event is durable.

        It fails with PartialDurabilityError if the event will not be.
        """
        future = asyncio.get_running_loop().create_future()
        self._requests.put((sequence, future))
        if self._has_ended:
            # The queue is closed, so this does not wait for the disk.
            self._serve(self._take())
        return future

    def end(self) -> None:
        """Let the thread serve the waiting tasks, and end."""
        self._requests.put(None)

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join()

    def _run(self) -> None:
        taken: list[Request | None] = []
        while None not in taken:
            taken = []
            try:
                taken.append(self._requests.get())
                taken += self._take()
                self._serve(taken)
            except BaseException:  # noqa: BLE001 -- whatever it is, no task must wait for ever
                self._serve_each(taken)
        self._has_ended = True
        # A task that came before that line may have seen a thread that still served.
        self._serve_each(self._take())

    def _take(self) -> list[Request | None]:
        taken: list[Request | None] = []
        with suppress(Empty):
            while True:
                taken.append(self._requests.get_nowait())
        return taken

    def _serve_each(self, taken: list[Request | None]) -> None:
        """Serve one by one, again and again, after serving them together failed on the way."""
        for request in taken:
            for _ in range(TRIES):
                try:
                    self._serve([request])
                    break
                except BaseException:  # noqa: BLE001 -- as above
                    time.sleep(RETRY_SECONDS)

    def _serve(self, taken: list[Request | None]) -> None:
        requests = [request for request in taken if request is not None]
        if not requests:
            return
        answers: dict[asyncio.AbstractEventLoop, list[Answer]] = {}
        error = self._failure_of(max(sequence for sequence, _ in requests))
        for sequence, future in requests:
            # An event that an earlier sync covered is durable, although this sync failed.
            own = None if error is None else self._failure_of(sequence)
            answers.setdefault(future.get_loop(), []).append((future, own))
        for loop, those in answers.items():
            with suppress(RuntimeError):  # the loop was closed, so no task waits there any more
                loop.call_soon_threadsafe(_answer, those)

    def _failure_of(self, sequence: int) -> BaseException | None:
        """Wait until an event is durable; return the error if it will not be."""
        try:
            self._wait_durable(sequence)
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the waiting task gets it
            return error
        return None


def _answer(answers: list[Answer]) -> None:
    for future, error in answers:
        if future.done():  # its task was cancelled
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)
