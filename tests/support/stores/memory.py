"""A LogStore in memory, the slow and obvious one, with faults that a test asks for.

It is the model of what a store does, and what a queue is tested with where no server is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from uuid import UUID, uuid4

from actionqueue.errors import (
    ClosedError,
    FencedError,
    InvalidFieldError,
    OutcomeUnknownError,
    StoreError,
    StoreUnavailableError,
    TermHeldError,
    TrimmedError,
    UnknownLogError,
)
from actionqueue.stores.arguments import (
    GROUP_SIZE_MAX,
    deadline,
    digest_of,
    ensure_in_order,
    group_of,
    info_of,
    is_over,
    name_of,
    piece_of,
    sequence_of,
    sequences_of,
    term_of,
)
from actionqueue.stores.canary import Canary
from actionqueue.stores.protocol import Head, SnapshotInfo, StoreInfo, Term

LEASE_SECONDS = 0.5


class Log:
    """What the engine has of a log."""

    def __init__(self) -> None:
        self.id: UUID = uuid4()
        self.epoch = 0
        self.holder: str | None = None
        self.owner: MemoryStore | None = None
        self.seen = 0.0
        self.next_sequence = 1
        self.watermark = 0
        self.trimmed_to = 0
        self.groups: list[tuple[int, int, bytes]] = []
        self.snapshots: dict[int, tuple[SnapshotInfo, list[bytes]]] = {}


class Engine:
    """Where logs are: what several stores share."""

    def __init__(self) -> None:
        self.logs: dict[str, Log] = {}
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.clock: Callable[[], float] = time.monotonic


class MemoryStore:
    """A store in an engine, whose calls fail where a test says so."""

    def __init__(self, engine: Engine, *, log: str = "actionqueue") -> None:
        self.engine = engine
        self.name = name_of("MemoryStore", "log", log)
        self.fail_next: str = ""
        """``before`` or ``after``: the next change's answer is lost, and it was not or was carried
        out; ``unavailable``: the next call reaches nothing; ``late``: as ``before``, and the
        campaign behind it fails, and is carried out right before the next change."""
        self.is_cut = False
        """While true, no call reaches the engine."""
        self._canary = Canary()
        self._acknowledged = 0
        self._heard = (0, 0.0)
        self._is_closed = False
        self._delays = False
        self._late: Term | None = None
        """What a campaign resumes that is carried out later."""
        self._own = (0, 0)
        """The term that it resumed, and the epoch that it has made so, unknown to the caller."""

    # --- What there is ----------------------------------------------------------------------------

    def initialize(self) -> bool:
        with self.engine.lock:
            if self.name in self.engine.logs:
                return False
            self.engine.logs[self.name] = Log()
            return True

    def describe(self) -> StoreInfo:
        return StoreInfo(
            engine="memory",
            version="1",
            nodes=(),
            append_bytes_max=GROUP_SIZE_MAX,
            snapshot_bytes_max=None,
            keep_seconds=LEASE_SECONDS / 4,
            warnings=(),
        )

    def _log(self) -> Log:
        if self._is_closed:
            raise ClosedError
        if self.is_cut or self.fail_next == "unavailable":
            self.fail_next = ""
            raise StoreUnavailableError(ConnectionError("a fault"))
        try:
            log = self.engine.logs[self.name]
        except KeyError:
            raise UnknownLogError(self.name) from None
        self._canary.compare(log.next_sequence - 1, self._canary.known)
        return log

    def head(self) -> Head:
        with self.engine.lock:
            log = self._log()
            self._canary.know(log.watermark)
            return Head(
                log.id, log.epoch, log.next_sequence, log.watermark, log.trimmed_to, log.holder
            )

    # --- Terms ------------------------------------------------------------------------------------

    def campaign(
        self, holder: str, *, resume: Term | None = None, timeout: float | None = None
    ) -> Term:
        name_of("campaign", "holder", holder)
        if resume is not None:
            term_of("campaign", resume, "resume")
        until = deadline("campaign", timeout)
        if resume is not None and self._delays:
            self._delays, self._late = False, resume
            raise StoreUnavailableError(ConnectionError("a fault"))
        while True:
            failure: StoreError
            try:
                with self.engine.lock:
                    log = self._log()
                    if resume is not None and (resume.epoch, log.epoch) != self._own:
                        self._ensure_newest(log, resume)
                    now = self.engine.clock()
                    if log.owner in {None, self} or resume or log.seen < now - LEASE_SECONDS:
                        return self._take(log, holder, now)
                    failure = TermHeldError(log.holder or "")
            except StoreUnavailableError as error:
                failure = error
            if is_over(until):
                raise failure
            time.sleep(0.001)

    @staticmethod
    def _ensure_newest(log: Log, term: Term) -> None:
        if log.epoch != term.epoch:
            raise FencedError(log.holder or "", log.epoch)

    def _carry_out(self, log: Log) -> None:
        """Carry out a campaign whose answer was lost."""
        late, self._late = self._late, None
        if late is not None and late.epoch == log.epoch:
            term = self._take(log, late.holder, self.engine.clock())
            self._own = late.epoch, term.epoch

    def _take(self, log: Log, holder: str, now: float) -> Term:
        log.epoch += 1
        log.owner, log.holder, log.seen = self, holder, now
        log.watermark = self._acknowledged = log.next_sequence - 1
        self._canary.know(log.watermark)
        self._heard = (log.epoch, now)
        return Term(log.epoch, log.next_sequence, holder)

    def _change(self, term: Term, change: Callable[[Log], None]) -> None:
        with self.engine.lock:
            if self.is_cut:
                raise OutcomeUnknownError(ConnectionError("a fault"))
            log = self._log()
            fault, self.fail_next = self.fail_next, ""
            if fault in {"before", "late"}:
                self._delays = fault == "late"
                raise OutcomeUnknownError(ConnectionError("a fault"))
            self._carry_out(log)
            self._ensure_newest(log, term)
            change(log)
            if fault == "after":
                raise OutcomeUnknownError(ConnectionError("a fault"))
            self.engine.changed.notify_all()

    def keep(self, term: Term) -> None:
        term_of("keep", term)

        def change(log: Log) -> None:
            log.watermark = self._acknowledged
            log.seen = self.engine.clock()
            self._heard = (term.epoch, log.seen)

        self._change(term, change)

    def valid_until(self, term: Term) -> float:
        term_of("valid_until", term)
        epoch, heard_at = self._heard
        return heard_at + LEASE_SECONDS if epoch == term.epoch else 0.0

    def resign(self, term: Term) -> None:
        term_of("resign", term)

        def change(log: Log) -> None:
            log.epoch += 1
            log.owner = log.holder = None
            log.watermark = log.next_sequence - 1
            self._heard = (0, 0.0)

        with self.engine.lock:
            if self._log().epoch == term.epoch:
                self._change(term, change)

    # --- Groups -----------------------------------------------------------------------------------

    def append(self, term: Term, first: int, last: int, group: bytes) -> None:
        term_of("append", term)
        first, last = sequences_of(first, last)
        group_of("append", group)

        def change(log: Log) -> None:
            if log.groups[-1:] == [(first, last, group)] and log.next_sequence == last + 1:
                return
            if first != log.next_sequence:
                reason = f"must be {log.next_sequence}, where the log goes on"
                raise InvalidFieldError("append", "first", first, reason)
            log.watermark = self._acknowledged
            log.groups.append((first, last, group))
            log.next_sequence = last + 1
            log.seen = self.engine.clock()
            self._heard = (term.epoch, log.seen)

        self._change(term, change)
        self._acknowledged = last
        self._canary.know(last)

    def outcome(self, term: Term, first: int, group: bytes) -> bool:
        term_of("outcome", term)
        first = sequence_of("outcome", "first", first)
        group_of("outcome", group)
        with self.engine.lock:
            log = self._log()
            if log.epoch != term.epoch:
                raise FencedError(log.holder or "", log.epoch)
            return any(begin == first and data == group for begin, _, data in log.groups)

    def read(self, after: int, *, upto: int | None = None) -> Iterator[bytes]:
        after = sequence_of("read", "after", after)
        with self.engine.lock:
            log = self._log()
            upto = log.watermark if upto is None else sequence_of("read", "upto", upto)
            if after < log.trimmed_to:
                raise TrimmedError(after, log.trimmed_to)
            return iter([group for _, last, group in log.groups if after < last <= upto])

    def tail(self, after: int, timeout: float | None) -> Iterator[bytes]:
        after = sequence_of("tail", "after", after)
        until = deadline("tail", timeout)
        while self.head().watermark <= after:
            if is_over(until) or self._is_closed:
                return iter(())
            with self.engine.lock:
                self.engine.changed.wait(0.001)
        return self.read(after)

    # --- Snapshots --------------------------------------------------------------------------------

    def put_snapshot(
        self, term: Term, sequence: int, pieces: Iterable[bytes], digest: bytes
    ) -> None:
        term_of("put_snapshot", term)
        sequence = sequence_of("put_snapshot", "sequence", sequence)
        digest_of(digest)
        given = [piece_of(piece) for piece in pieces]

        def change(log: Log) -> None:
            newest = max(log.snapshots, default=0)
            ensure_in_order(sequence, log.next_sequence, newest)
            there = log.snapshots.get(sequence)
            if there is not None and there[0].epoch == term.epoch:
                return
            info = SnapshotInfo(sequence, term.epoch, len(given), digest)
            log.snapshots[sequence] = (info, given)

        self._change(term, change)

    def snapshots(self) -> list[SnapshotInfo]:
        with self.engine.lock:
            found = self._log().snapshots
            return [found[sequence][0] for sequence in sorted(found, reverse=True)]

    def get_snapshot(self, info: SnapshotInfo) -> Iterator[bytes]:
        info = info_of(info)
        with self.engine.lock:
            log = self._log()
            found = log.snapshots.get(info.sequence)
            if found is None or found[0] != info:
                raise TrimmedError(info.sequence, log.trimmed_to)
            return iter(found[1])

    def trim(self, term: Term, below: int) -> None:
        term_of("trim", term)
        below = sequence_of("trim", "below", below)

        def change(log: Log) -> None:
            if max(log.snapshots, default=-1) < below - 1:
                reason = "must be at most the sequence behind the newest snapshot"
                raise InvalidFieldError("trim", "below", below, reason)
            log.trimmed_to = max(log.trimmed_to, below - 1)
            log.groups = [each for each in log.groups if each[1] >= below]
            log.snapshots = {
                sequence: each for sequence, each in log.snapshots.items() if sequence >= below - 1
            }

        self._change(term, change)

    def close(self) -> None:
        self._is_closed = True
