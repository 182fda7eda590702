"""The sessions whose crashes are enumerated: every kind of step, alone and in histories of several
processes.

A session is a function that drives a :class:`RecordedSession`. To add a step, give that class a
method; to add a session, write a function and decorate it. Steps use entries of different numbers
throughout, so that what comes back can be told apart; most are of the same size, so that what was
dropped lies exactly where new records go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.core.crash_images import Account, Session, numbered
from tests.support.core.log_driver import CoreError, entry_of_size
from tests.support.core.memory_io import Call, Disk, Loss, MemoryIo, NoLoss, RandomLoss, home
from tests.support.crash.disk_states import States

Image = dict[str, bytes]
HALF = 300
"""Two records of this size share a sector, and some span two."""


@dataclass(frozen=True)
class Moment:
    """A point of a session: what a crash there may leave, and what was promised by then."""

    where: str
    states: States
    alive: Image
    """What a mere kill leaves."""
    account: Account
    is_new_life: bool = False
    """The machine ended just before."""


@dataclass
class Snapshots:
    """Bytes of files, kept once as long as they do not change."""

    kept: dict[str, bytes] = field(default_factory=dict)

    def of(self, path: str, data: bytearray) -> bytes:
        if self.kept.get(path) != data:
            self.kept[path] = bytes(data)
        return self.kept[path]


class RecordedSession(Session):
    """A session that notes a moment before every I/O call, after every write and after every
    step.
    """

    def __init__(
        self, disk: Disk | None = None, account: Account | None = None, **options: Any
    ) -> None:
        super().__init__(disk or home(), account, **options)
        self.moments: list[Moment] = []
        self.failing: tuple[str, str, int] | None = None
        """The operation, end of path and errno of the call that fails next."""
        self.during_sync: list[tuple[bytes, ...]] = []
        """What another thread appends while a sync is in flight: before the disk has it, and
        after.
        """
        self.padding = int(options.get("sector_size", 0))
        self.watch = self.before_call
        self.process: MemoryIo
        self._snapshots = Snapshots()

    # --- Noting -----------------------------------------------------------------------------------

    def note(self, where: str, *, is_new_life: bool = False) -> None:
        states = States.of(self.disk, self.padding)
        for number, (file, data) in enumerate(states.stable.items()):
            states.stable[file] = self._snapshots.of(
                f"stable {number} {file.name}", bytearray(data)
            )
        alive = {
            path: self._snapshots.of(path, file.content) for path, file in self.disk.files.items()
        }
        self.moments.append(Moment(where, states, alive, self.account.copy(), is_new_life))

    def before_call(self, call: Call) -> None:
        self.note(f"before call {call.index}: {call.operation} {call.path}")
        assert self.io is not None
        if (
            self.failing is not None
            and call.operation == self.failing[0]
            and call.path.endswith(self.failing[1])
        ):
            self.io.fail(call.index, self.failing[2])
            self.failing = None
        self.append_during(call)

    def after_call(self, call: Call) -> None:
        if call.operation == "write":
            self.note(f"after call {call.index}: write {call.path}")
        self.append_during(call)

    def append_during(self, call: Call) -> None:
        if (
            self.during_sync
            and self.log is not None
            and call.operation == "sync"
            and call.path.endswith(".log")
        ):
            Session.append(self, *self.during_sync.pop(0))
            self.note("after an append during a sync")

    # --- Steps ------------------------------------------------------------------------------------

    def open(self, io: MemoryIo | None = None) -> None:
        self.log = None
        io = io or MemoryIo(self.disk, maps=self.options.get("maps", True), seed=self.next_seed)
        io.after_call = self.after_call
        self.process = io
        super().open(io)
        self.note("after open")

    def append(self, *entries: bytes) -> None:
        super().append(*entries)
        self.note("after append")

    def sync(self) -> None:
        assert self.log is not None
        last = self.log.last_sequence
        self.log.sync()
        assert self.log.durable_sequence >= last
        self.account.durable = self.log.durable_sequence
        self.note("after sync")

    def compact(self, *, drops_segments: bool = True) -> None:
        assert self.log is not None
        self.log.compact(drops_segments=drops_segments)
        self.note("after a compaction")

    def close(self) -> None:
        super().close()
        self.note("after close")

    def kill(self) -> None:
        super().kill()
        self.note("after kill")

    def answer(self, step: Callable[[], None]) -> str:
        """Run a step; return what the log answers."""
        try:
            step()
        except CoreError as failure:
            return failure.status
        return "ok"

    def fails(self, step: Callable[[], None], operation: str, path: str, error: int) -> str:
        """Run a step in which a call fails; return what the log answers."""
        self.failing = (operation, path, error)
        return self.answer(step)

    def power_loss(self, loss: Loss) -> None:
        """End the process and the machine; the next step finds what the loss leaves."""
        if self.io is not None and not self.io.is_dead:
            super().kill()
        self.disk = self.disk.after_power_loss(loss)
        self.account.acknowledged = self.account.durable
        self._snapshots = Snapshots()
        self.note("after a power loss", is_new_life=True)


# --- The sessions ---------------------------------------------------------------------------------

Script = Callable[[RecordedSession], None]
MODES: dict[str, dict[str, Any]] = {
    "mapped": {},
    "not mapped": {"maps": False},
    "padded": {"sector_size": 512},
    "large sectors": {"sector_size": 4096},
}


@dataclass(frozen=True)
class Scenario:
    name: str
    script: Script
    options: dict[str, Any]

    def run(self, mode: str) -> RecordedSession:
        """Run the session to its end and return it with its moments."""
        session = RecordedSession(**{**self.options, **MODES[mode]})
        self.script(session)
        session.check_io()
        session.kill()
        return session


SCENARIOS: dict[str, Scenario] = {}


def scenario(**options: Any) -> Callable[[Script], Script]:
    """Register a session. Options are those of :func:`tests.support.core.log_driver.options`."""

    def add(script: Script) -> Script:
        name = script.__name__.replace("_", " ")
        SCENARIOS[name] = Scenario(name, script, options)
        return script

    return add


def entries(first: int, count: int, size: int = HALF) -> tuple[bytes, ...]:
    return tuple(numbered(number, size) for number in range(first, first + count))


@scenario()
def creation(session: RecordedSession) -> None:
    session.open()
    session.power_loss(Loss())
    session.open()
    session.commit(*entries(1, 1))


@scenario()
def single_syncs(session: RecordedSession) -> None:
    session.open()
    for number in range(1, 5):
        session.commit(numbered(number, HALF))


@scenario()
def deferred_and_barrier(session: RecordedSession) -> None:
    session.open()
    session.commit(numbered(1, HALF))
    for number in range(2, 6):
        session.append(numbered(number, HALF))
    session.sync()
    for number in range(6, 10):
        session.append(numbered(number, HALF))


@scenario()
def shared_syncs(session: RecordedSession) -> None:
    """Others append while a sync is in flight: what it made durable is what was there before it."""
    session.open()
    session.during_sync = [(numbered(2, HALF),), entries(3, 2)]
    session.commit(numbered(1, HALF))
    session.append(numbered(5, HALF))
    session.during_sync = [(numbered(6, HALF),)]
    session.sync()


@scenario()
def batches(session: RecordedSession) -> None:
    session.open()
    session.commit(*entries(1, 3))
    session.append(*entries(4, 3))
    session.append(numbered(7, HALF))
    session.append(*entries(8, 2))
    session.sync()
    session.append(*entries(10, 4))


@scenario()
def rotation(session: RecordedSession) -> None:
    session.open()
    session.commit(numbered(1, 50_000))
    for number in range(2, 5):
        session.append(numbered(number, 2_500))
    session.append(*entries(5, 2))
    session.commit(numbered(7, 45_000))
    session.append(numbered(8, 12_000))
    session.append(numbered(9, HALF))


@scenario()
def a_record_larger_than_the_ring(session: RecordedSession) -> None:
    session.open()
    session.append(numbered(1, HALF))
    session.append(numbered(2, 70_000))
    session.append(numbered(3, HALF))
    session.sync()
    session.commit(numbered(4, 34_000), numbered(5, 34_000))


@scenario(segment_size=2**18)
def a_large_record_behind_others(session: RecordedSession) -> None:
    """It is written at once, and so is what waits in the ring before it."""
    session.open()
    session.commit(numbered(1, HALF))
    session.append(numbered(2, HALF))
    session.append(numbered(3, 70_000))
    session.append(numbered(4, HALF))
    session.sync()
    session.append(numbered(5, HALF))


@scenario(segment_size=2**18)
def a_ring_that_wraps(session: RecordedSession) -> None:
    """Old records lie in the ring where new ones go."""
    session.open()
    for number in range(1, 8):
        session.append(numbered(number, 9_600))
    session.sync()
    for number in range(8, 11):
        session.append(numbered(number, 9_600))
    session.kill()
    session.open()
    session.append(numbered(11, 9_600))


@scenario()
def clean_ends(session: RecordedSession) -> None:
    session.open()
    session.append(*entries(1, 2))
    session.close()
    session.open()
    session.close()
    session.open()
    session.append(numbered(3, HALF))
    session.append(numbered(4, HALF))
    session.commit(numbered(5, HALF))
    session.append(numbered(6, HALF))
    session.close()


@scenario()
def unclean_ends(session: RecordedSession) -> None:
    session.open()
    session.commit(numbered(1, HALF))
    session.append(*entries(2, 2))
    session.append(numbered(4, HALF))
    session.kill()
    session.open()
    session.append(numbered(5, HALF))
    session.kill()
    session.open()
    session.commit(numbered(6, HALF))
    session.append(numbered(7, HALF))
    session.close()
    session.open()
    session.append(numbered(8, HALF))


@scenario()
def power_losses(session: RecordedSession) -> None:
    """A history in which every process ends with the machine."""
    random = Random(3)
    number = 1
    losses: list[Loss] = [
        Loss(),
        RandomLoss(random),
        NoLoss(),
        RandomLoss(random),
        RandomLoss(random),
        Loss(),
    ]
    for loss in losses:
        session.open()
        session.commit(numbered(number, HALF))
        for later in range(number + 1, number + 5):
            session.append(numbered(later, HALF))
        number += 5
        session.power_loss(loss)
    session.open()


@scenario()
def a_failed_sync(session: RecordedSession) -> None:
    """The sync fails and loses its bytes, of which reads know nothing; then another process goes
    on.
    """
    session.open()
    session.commit(numbered(1, HALF))
    session.append(numbered(2, HALF))
    assert session.fails(session.sync, "sync", ".log", 5) == "poisoned"
    session.note("after a failed sync")
    session.kill()
    session.open()
    session.commit(numbered(3, HALF))
    session.append(numbered(4, HALF))


@scenario()
def a_failed_write(session: RecordedSession) -> None:
    """A write of records fails; nothing goes on behind it."""
    session.open()
    session.commit(numbered(1, HALF))
    session.append(numbered(2, 40_000))
    assert (
        session.fails(lambda: session.commit(numbered(3, HALF)), "write", ".log", 5) == "poisoned"
    )
    session.note("after a failed write")
    assert session.answer(lambda: session.append(numbered(4, HALF))) == "poisoned"
    session.kill()
    session.open()
    session.commit(numbered(5, HALF))


@scenario()
def full_segments(session: RecordedSession) -> None:
    """Segments that are filled as far as they can be, and one that would have to be filled a little
    further.
    """
    for first, beyond in ((1, 0), (4, 16)):
        session.open()
        session.commit(numbered(first, 40_000))
        assert session.log is not None
        room = session.log.stats.segment_size - session.log.stats.segment_used - 2 * 16
        session.append(
            entry_of_size(room - (session.padding + 16 if session.padding else 0) + beyond)
        )
        session.close()
        session.open()
        session.append(numbered(first + 2, HALF))
        session.close()


@scenario()
def a_failed_close(session: RecordedSession) -> None:
    """The marker's sync fails: it looks written. The next process must not build on it."""
    session.open()
    session.commit(numbered(1, HALF))
    assert session.fails(session.close, "sync", ".log", 5) == "io_error"
    session.note("after a failed close")
    session.kill()
    session.open()
    session.commit(numbered(2, HALF))
    session.append(numbered(3, HALF))


@scenario()
def a_full_disk(session: RecordedSession) -> None:
    """A segment can't be prepared; the append is refused, and another one later works."""
    session.open()
    session.append(numbered(1, 50_000))
    assert (
        session.fails(lambda: session.append(numbered(2, 9_000)), "write", ".tmp", 28) == "no_space"
    )
    session.note("after a refused append")
    session.append(numbered(3, HALF))
    session.commit(numbered(4, 9_000))
    session.append(numbered(5, HALF))


@scenario()
def snapshots(session: RecordedSession) -> None:
    """Snapshots of a log that goes on, with events that are not durable and must not be in them;
    nothing is dropped.
    """
    session.open()
    session.commit(*entries(1, 2))
    session.append(numbered(3, HALF))
    session.compact(drops_segments=False)
    session.append(numbered(4, HALF))
    session.commit(numbered(5, HALF))
    session.compact(drops_segments=False)
    session.append(numbered(6, HALF))
    session.kill()
    session.open()
    session.compact(drops_segments=False)
    session.append(numbered(7, HALF))


@scenario()
def compaction(session: RecordedSession) -> None:
    """Segments are dropped behind the older of two snapshots."""
    session.open()
    for number in range(1, 6):
        session.commit(numbered(number, 26_000))
    session.compact()
    session.append(numbered(6, HALF))
    session.commit(numbered(7, 26_000))
    session.compact()
    session.append(numbered(8, HALF))
    session.kill()
    session.open()
    session.commit(numbered(9, HALF))
    session.compact()
    session.append(numbered(10, HALF))
    session.close()
    session.open()
    session.compact()
    session.append(numbered(11, HALF))


@scenario()
def a_failed_compaction(session: RecordedSession) -> None:
    """A compaction that failed is tried again by the same process: what the first one left may not
    be durable.
    """
    session.open()
    session.commit(numbered(1, 50_000))
    session.commit(numbered(2, 50_000))
    assert session.fails(session.compact, "sync_directory", "/queue", 5) == "io_error"
    session.commit(numbered(3, HALF))
    assert session.fails(session.compact, "sync_directory", "/snapshots", 5) == "io_error"
    session.compact()
    session.commit(numbered(4, 50_000))
    assert session.fails(session.compact, "sync_directory", "/wal", 5) == "io_error"
    session.compact()
    session.append(numbered(5, HALF))
