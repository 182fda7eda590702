"""Works on a queue while another process sends signals: ``interrupted.py <directory> <signals>``.

Writes one dot for each signal that has come through as an exception, after looking whether the
queue is what it was, and at the end the projection as JSON and the last acknowledged sequence.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle

import actionqueue as aq
from actionqueue.json.projection import projection_to_json

SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGALRM}
# Without the thread that watches for compactions: what a handler raises in a finalizer, Python
# drops, and the count would be wrong.
OPTIONS = {"segment_size": 65536, "ring_size": 65536, "compaction": None}


class OutOfTimeError(Exception):
    """What a handler of alarms raises in many programs."""


def out_of_time(_number: int, _frame: object) -> None:
    raise OutOfTimeError


def terminate(_number: int, _frame: object) -> None:
    raise SystemExit(143)


def task(payload: bytes = b"") -> aq.TaskCreateCommand:
    return aq.TaskCreateCommand(None, aq.TaskSpec(payload=payload), 1)


@contextmanager
def interruptible() -> Iterator[None]:
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # one may come right here
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


class Worker:
    def __init__(self, path: str) -> None:
        self.path = path
        self.queue = aq.open(path, **OPTIONS)
        self.acknowledged = 0
        self.works: Iterator[Callable[[], None]] = cycle(
            [
                self.submit,
                self.submit_large,
                self.submit_deferred,
                self.submit_many,
                self.sync,
                self.reopen,
            ]
        )

    def submit(self) -> None:
        self.acknowledged = self.queue.submit(task()).sequence

    def submit_large(self) -> None:
        self.acknowledged = self.queue.submit(task(b"x" * 9000)).sequence

    def submit_deferred(self) -> None:
        self.acknowledged = self.queue.submit(task(b"y" * 3000), "deferred").sequence

    def submit_many(self) -> None:
        self.acknowledged = self.queue.submit_many(
            [task(b"batch"), task(b"batch"), task(b"batch")]
        )[-1].sequence

    def sync(self) -> None:
        self.queue.sync()

    def reopen(self) -> None:
        self.queue.close()
        self.queue = aq.open(self.path, **OPTIONS)

    def look(self) -> None:
        """The queue is closed or as usable as before, and holds all that was acknowledged."""
        if self.queue.is_closed:
            self.queue.close()  # an interrupt may have come inside
            self.queue = aq.open(self.path, **OPTIONS)
        queue = self.queue
        assert not queue.is_poisoned
        sequence = queue.sequence
        assert sequence >= self.acknowledged
        assert queue.stats()["last_sequence"] == sequence
        self.acknowledged = queue.submit(task()).sequence
        assert self.acknowledged == sequence + 1
        assert queue.durable_sequence == self.acknowledged


def main() -> None:
    path, count = sys.argv[1], int(sys.argv[2])
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGALRM, out_of_time)
    worker = Worker(path)
    os.write(1, b".")
    came = 0
    while came < count:
        try:
            with interruptible():
                while True:
                    next(worker.works)()
        except (KeyboardInterrupt, SystemExit, OutOfTimeError):
            came += 1
        worker.look()
        os.write(1, b".")
    state = projection_to_json(worker.queue.projection)
    worker.queue.close()
    os.write(1, json.dumps([state, worker.acknowledged]).encode())


if __name__ == "__main__":
    main()
