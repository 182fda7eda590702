"""Sessions that keep account of what they were promised, and the disks that a power loss may leave
of them.

A :class:`Session` runs steps against a log and notes what was acknowledged; :func:`crash_images`
runs one and yields, for every I/O call that it makes, disks as a power loss at that call may leave
them, each with what was promised by then. :func:`check_recovered` is the judge: what comes back is
a gap-free prefix of whole batches that includes everything that was promised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.core.log_driver import CoreError, Log
from tests.support.core.memory_io import Call, Disk, Loss, MemoryIo, NoLoss, RandomLoss

Unit = tuple[bytes, ...]


@dataclass
class Account:
    """What a session has asked for and been promised."""

    units: list[Unit] = field(default_factory=list)
    """Appended batches in order. The last one may be in flight."""
    acknowledged: int = 0
    """Events whose append has returned: a killed process must not lose them."""
    durable: int = 0
    """Events that were reported durable: a power loss must not lose them."""

    def copy(self) -> Account:
        return Account(list(self.units), self.acknowledged, self.durable)

    def prefixes(self) -> list[list[bytes]]:
        """Return every list of events that recovery may come to."""
        found: list[list[bytes]] = [[]]
        for unit in self.units:
            found.append(found[-1] + list(unit))
        return found


def check_recovered(found: list[bytes], account: Account, at_least: int) -> None:
    assert found in account.prefixes(), f"no prefix of what was appended: {len(found)} events"
    assert len(found) >= at_least, f"{at_least} events were promised, {len(found)} came back"


class Session:
    """A process, or several one after the other, that use one log."""

    def __init__(self, disk: Disk, account: Account | None = None, **options: Any) -> None:
        self.disk = disk
        self.options = options
        self.account = account or Account()
        self.io: MemoryIo | None = None
        self.log: Log | None = None
        self.watch: Callable[[Call], None] | None = None
        self.next_seed = 1

    def open(self, io: MemoryIo | None = None) -> None:
        """Open as a new process; what is found must be right, and is durable from then on."""
        self.io = io or MemoryIo(
            self.disk, maps=self.options.get("maps", True), seed=self.next_seed
        )
        self.next_seed += 1
        self.io.before_call = self.watch
        self.log = Log(
            self.io, **{name: value for name, value in self.options.items() if name != "maps"}
        )
        check_recovered(self.log.recovered, self.account, self.account.acknowledged)
        assert self.log.last_sequence == self.log.durable_sequence == len(self.log.recovered)
        self.settle(self.log.recovered)

    def settle(self, found: list[bytes]) -> None:
        """Go on from what a recovery has found: what is missing is gone for good."""
        while sum(map(len, self.account.units)) > len(found):
            self.account.units.pop()
        self.account.acknowledged = self.account.durable = len(found)

    def append(self, *entries: bytes) -> None:
        assert self.log is not None
        before = self.log.last_sequence
        self.account.units.append(entries)
        try:
            assert self.log.append(*entries) == before + len(entries)
        except CoreError as error:
            if error.status != "poisoned":  # nothing was written; poisoned, it may have been
                self.account.units.pop()
            assert self.log.last_sequence == before
            raise
        self.account.acknowledged = self.log.last_sequence

    def sync(self) -> None:
        assert self.log is not None
        self.log.sync()
        assert self.log.durable_sequence == self.log.last_sequence
        self.account.durable = self.log.durable_sequence

    def commit(self, *entries: bytes) -> None:
        self.append(*entries)
        self.sync()

    def close(self) -> None:
        assert self.log is not None
        self.log.close()
        self.account.durable = self.account.acknowledged

    def kill(self) -> None:
        """End the process; the disk, page cache included, stays."""
        if self.log is not None:
            self.log.kill()
        elif self.io is not None:
            self.io.kill()

    def check_io(self) -> None:
        """The core did nothing that it must never do."""
        assert self.io is not None
        assert not self.io.mistakes, self.io.mistakes


@dataclass(frozen=True)
class CrashImage:
    """A disk after a power loss, and what was promised before it."""

    call: Call
    disk: Disk
    account: Account


def crash_images(
    session: Session, run: Callable[[Session], None], *, losses: Callable[[Call], Iterable[Loss]]
) -> Iterator[CrashImage]:
    """Yield the images of a session's run, with the losses that are chosen for each call."""
    images: list[CrashImage] = []

    def watch(call: Call) -> None:
        images.extend(
            CrashImage(call, session.disk.after_power_loss(loss), session.account.copy())
            for loss in losses(call)
        )

    session.watch = watch
    run(session)
    session.check_io()
    yield from images


def sampled_losses(random: Random, count: int) -> Callable[[Call], Iterable[Loss]]:
    """Choose everything, nothing, and `count` random subsets of what is not stable."""
    return lambda _call: [
        Loss(),
        NoLoss(),
        *(RandomLoss(Random(random.random())) for _ in range(count)),
    ]


def numbered(number: int, size: int = 8) -> bytes:
    """Return data that tells entries apart."""
    return (f"{number:08d}".encode() * (size // 8 + 1))[:size]


def long_run(session: Session) -> None:
    """Every kind of step: creation, shared and single syncs, batches, rotation, a record larger
    than the ring, clean and unclean ends.
    """
    session.open()
    session.commit(numbered(1))
    session.append(numbered(2))
    session.commit(numbered(3), numbered(4, 700), numbered(5))
    for number in range(6, 11):
        session.append(numbered(number, 14_000))
    session.sync()
    session.append(numbered(11, 70_000))
    session.append(numbered(12))
    session.commit(numbered(13, 40_000), numbered(14, 40_000))
    session.append(numbered(15, 3000), numbered(16))
    session.close()
    session.open()
    session.commit(numbered(17))
    session.append(numbered(18), numbered(19, 1000))
    session.append(numbered(20))
    session.kill()
    session.open()
    session.append(numbered(21))
    session.close()
    session.open()
    session.close()


def events(first: int, last: int, size: int = 8) -> list[tuple[int, bytes]]:
    """Return numbered events with their sequences."""
    return [(number, numbered(number, size)) for number in range(first, last + 1)]
