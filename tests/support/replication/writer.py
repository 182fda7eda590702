"""A queue whose log is in a store, in a process of its own that may be killed at any moment.

``python -m tests.support.replication.writer STORE FOLDER NAME`` stands by, submits groups of
Immediate tasks once it is the writer, and notes what was acknowledged before it goes on. Where it
was put aside it stands by again. After SIGUSR1 it submits nothing more, and notes what its
projection holds; SIGTERM ends it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import actionqueue as aq
from actionqueue import stores
from tests.support.replication import notes

GROUP_MAX = 8
PAUSE_SECONDS = 0.005
RETRY_SECONDS = 0.1
LOOK_SECONDS = 0.1

wanted = {"quiet": False, "end": False}


def opened_store(text: str) -> Any:
    """Return the store that a text of JSON is about: its class, and what that is called with."""
    name, where, log = json.loads(text)
    return getattr(stores, name)(where, log=log)


class Writer:
    def __init__(self, store: str, folder: Path, name: str) -> None:
        self._store = store
        self._path = folder / name
        self._name = name
        self._notes = notes.NoteWriter(folder / f"{name}.notes")
        self._random = Random(f"{name} {os.getpid()}")
        self._number = 0
        self._queue: Any = None
        threading.Thread(target=self._tell_trouble, daemon=True).start()

    def _tell_trouble(self) -> None:
        """Note the trouble, also of a queue whose call waits, for a person that asks why."""
        known = None
        while True:
            time.sleep(LOOK_SECONDS)
            queue = self._queue
            try:
                trouble = queue and queue.stats()["store"]["trouble"]
            except aq.ActionQueueError:
                continue
            if trouble != known:
                known = trouble
                self._notes.add(notes.TROUBLE, trouble or "")

    def run(self) -> None:
        while not wanted["end"]:
            try:
                queue = aq.open(
                    self._path, store=opened_store(self._store), standby=True, holder=self._name
                )
            except aq.StoreError as error:
                self._notes.add(notes.ENDED, type(error).__name__, error)
                time.sleep(RETRY_SECONDS)
                continue
            self._notes.add(notes.OPENED)
            self._queue = queue
            self._use(queue)

    def _use(self, queue: Any) -> None:
        try:
            self._write(queue)
        except (aq.PartialDurabilityError, aq.PoisonedError):
            queue.projection.counts_by_state()  # it stays readable
        try:
            self._queue = None
            queue.close()
        except aq.ActionQueueError as error:
            self._notes.add(notes.ENDED, type(error).__name__, error)
        else:
            self._notes.add(notes.ENDED)

    def _write(self, queue: Any) -> None:
        is_active = False
        while not wanted["end"]:
            if wanted["quiet"]:
                self._be_quiet(queue)
            elif is_active:
                self._submit(queue)
                time.sleep(PAUSE_SECONDS)
            elif queue.wait_until_active(LOOK_SECONDS):
                is_active = True
                epoch = queue.stats()["store"]["epoch"]
                self._notes.add(
                    notes.ACTIVE, epoch, queue.sequence, notes.digest_of(queue.projection)
                )

    def _submit(self, queue: Any) -> None:
        payloads = [self._payload() for _ in range(self._random.randint(1, GROUP_MAX))]
        commands = [
            aq.TaskCreateCommand(None, aq.TaskSpec(payload=each), aq.now()) for each in payloads
        ]
        try:
            outcomes = queue.submit_many(commands, "immediate")
        except aq.ActionQueueError as error:
            words = (error.written.value, type(error).__name__, type(error.cause).__name__, error)
            self._notes.add_all(
                notes.REFUSED, [(notes.hash_of(payload), *words) for payload in payloads]
            )
            raise
        rows: list[tuple[object, ...]] = [
            (outcome.sequence, notes.hash_of(payload))
            for outcome, payload in zip(outcomes, payloads, strict=True)
        ]
        self._notes.add_all(notes.ACKNOWLEDGED, rows)

    def _payload(self) -> bytes:
        self._number += 1
        begin = f"{self._name} {os.getpid()} {self._number} ".encode()
        return begin + self._random.randbytes(self._random.randint(0, 200))

    def _be_quiet(self, queue: Any) -> None:
        sequence = queue.sequence
        digest = notes.digest_of(queue.projection)
        if sequence == queue.sequence:
            self._notes.add(notes.PROJECTION, sequence, digest)
        time.sleep(LOOK_SECONDS)


def main() -> None:
    def note(what: str) -> Any:
        return lambda *_: wanted.update({what: True})

    signal.signal(signal.SIGUSR1, note("quiet"))
    signal.signal(signal.SIGTERM, note("end"))
    store, folder, name = sys.argv[1:]
    Writer(store, Path(folder), name).run()


if __name__ == "__main__":
    main()
