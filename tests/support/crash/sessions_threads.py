"""Sessions of two threads for the enumerator: importing this adds them to :mod:`sessions`.

The threads meet at a call that one of them makes, and go on one after the other, so that the same
run makes the same disks.
"""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

from tests.support.core.crash_images import numbered
from tests.support.core.log_driver import CoreError
from tests.support.core.memory_io import Call, Disk, MemoryIo
from tests.support.crash.sessions import HALF, RecordedSession, scenario

LOOK_EVERY_S = 0.005
LOOKS = 10
"""A thread that sleeps as often as it is looked at, while nobody keeps it from going on, waits for
what the other one does.
"""


class MeetingIo(MemoryIo):
    """An I/O table whose next sync of a segment fails, and not before a second thread has done what
    it can meanwhile.
    """

    def __init__(self, disk: Disk, **options: Any) -> None:
        super().__init__(disk, background=True, **options)
        self.other: threading.Thread | None = None

    def _enter(self, name: str, arguments: tuple[Any, ...]) -> int:
        other = self.other
        if other is None or name != "sync" or not self._path_of(arguments[0]).endswith(".log"):
            return super()._enter(name, arguments)
        self.other = None
        with self._mutex:
            if self.before_call is not None:
                self.before_call(Call(len(self.calls), name, self._path_of(arguments[0])))
            file = self._file(arguments[0])
            file.lose()  # what this sync was to write: no other sync writes it again
        other.start()
        looks = 0
        while other.is_alive() and looks < LOOKS:
            other.join(LOOK_EVERY_S)
            looks = looks + 1 if is_asleep(other) else 0
        with self._mutex:
            self._failed_syncs.add(file)
        return errno.EIO


def is_asleep(thread: threading.Thread) -> bool:
    try:
        state = (
            Path(f"/proc/self/task/{thread.native_id}/stat")
            .read_text()
            .rpartition(")")[2]
            .split()[0]
        )
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state == "S"


@scenario()
def a_sync_beside_one_that_fails(session: RecordedSession) -> None:
    """A thread appends and wants it durable while another one's sync is in flight, which then
    fails: neither is told that it is.
    """
    io = MeetingIo(session.disk, maps=session.options.get("maps", True), seed=session.next_seed)
    session.open(io)
    session.commit(numbered(1, HALF))
    session.append(numbered(2, HALF))
    told: list[int] = []

    def append_and_sync() -> None:
        session.append(numbered(3, HALF))
        assert session.log is not None
        try:
            session.log.sync(3)
            told.append(session.log.durable_sequence)
        except CoreError as error:
            told.append(-1)
            assert error.status == "poisoned"

    io.other = other = threading.Thread(target=append_and_sync)
    answer = session.answer(session.sync)
    other.join()
    session.account.durable = max([session.account.durable, *told])
    session.note("after two syncs, of which the first failed")
    assert answer == "poisoned"
    session.kill()
    session.open()
    session.commit(numbered(4, HALF))
    session.append(numbered(5, HALF))
