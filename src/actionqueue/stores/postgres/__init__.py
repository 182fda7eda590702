"""A log in PostgreSQL, 15 or newer, with standbys that answer for each commit.

:mod:`~actionqueue.stores.postgres.schema` has the tables and why no deposed writer can append.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from uuid import uuid4

from actionqueue.errors import (
    AcknowledgedLostError,
    FencedError,
    InvalidFieldError,
    OutcomeUnknownError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    StoreUnsafeError,
    TermHeldError,
    TrimmedError,
    UnknownLogError,
)
from actionqueue.policy_fields import flag
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
from actionqueue.stores.attempts import Attempts
from actionqueue.stores.canary import Canary
from actionqueue.stores.heard import Heard
from actionqueue.stores.postgres import schema
from actionqueue.stores.postgres.check import unsafe_settings, warnings_of
from actionqueue.stores.postgres.servers import Servers
from actionqueue.stores.postgres.session import Answer, LostAnswer, RefusedStatement, Session
from actionqueue.stores.protocol import Head, SnapshotInfo, StoreInfo, Term

__all__ = ["PostgresStore"]

KEEP_SECONDS = 1.0
CAMPAIGN_LOOK_SECONDS = 0.05
TAIL_LOOK_SECONDS = 0.005
IDLE_LOOK_SECONDS = 0.05
GROUPS_AT_ONCE = 32
STEP_MAX = 2**31
"""Epochs rise by up to so much; there is room for billions of terms."""
DISK_FULL = "53100"


class PostgresStore:
    """A :class:`~actionqueue.stores.LogStore` in a PostgreSQL database.

    Needs psycopg (``pip install 'actionqueue[postgres]'``). The servers are yours, and so is what
    promotes a standby; :meth:`describe` checks their settings. No connection is made before the
    first call. The store is not for children of a fork.
    """

    def __init__(
        self, conninfo: str, *, log: str = "actionqueue", unsafe_allow_local: bool = False
    ) -> None:
        """Name the database and the log.

        Args:
            conninfo: libpq's parameters of a connection: ``"host=a,b,c dbname=jobs"``, with all
                nodes; the primary among them is found.
            log: The log's name. A database may have several.
            unsafe_allow_local: True appends although no standby answers for a commit: for tests,
                and for a server whose disk is trusted with everything.

        Raises:
            InvalidFieldError: An argument does not fit.
            ImportError: psycopg is missing.
        """
        name_of("PostgresStore", "log", log)
        self._log = log
        self._is_unsafe = flag("unsafe_allow_local", unsafe_allow_local)
        # Appends wait for neither readers nor snapshots.
        self._servers = _servers(conninfo)
        self._writing, self._reading, self._moving = (
            Session(self._servers, log, purpose) for purpose in ("appends", "reading", "snapshots")
        )
        self._canary = Canary()
        self._acknowledged = 0
        self._heard = Heard()
        self._last_seen = "", time.monotonic()
        """What the writer said last, and when a campaign of this store saw it first."""
        self._last_read = self._last_seen
        """What it said last, and when a reader saw it first."""
        self._steps = Attempts(lambda: 1 + secrets.randbelow(STEP_MAX))
        self._putting = threading.RLock()
        self._closed = threading.Event()

    # --- What there is ----------------------------------------------------------------------------

    def initialize(self) -> bool:
        """Make the tables and the log. See :meth:`LogStore.initialize`."""
        ask = self._writing.ask_of_any_log
        if not _asked(ask, schema.HAS_SCHEMA).rows[0][0]:
            _asked(ask, schema.SCHEMA)
        uuid = uuid4()
        _asked(ask, schema.CREATE_LOG, name=self._log, uuid=uuid)
        # The statement may have been sent twice, and then the first one has made it.
        return bool(_asked(ask, schema.FIND_LOG, name=self._log).rows[0][1] == uuid)

    def describe(self) -> StoreInfo:
        """Check the settings of the primary. See :meth:`LogStore.describe`."""
        settings = _asked(self._reading.ask_of_any_log, schema.SETTINGS)
        standbys = _asked(self._reading.ask_of_any_log, schema.STANDBYS)
        return StoreInfo(
            engine="PostgreSQL",
            version=settings.rows[0][0],
            nodes=tuple(f"{name} ({state}, {sync})" for name, state, sync in standbys.rows),
            append_bytes_max=GROUP_SIZE_MAX,
            snapshot_bytes_max=None,
            keep_seconds=KEEP_SECONDS,
            warnings=warnings_of(settings, standbys),
        )

    def head(self) -> Head:
        """Say where the log stands. See :meth:`LogStore.head`."""
        return self._head(None)

    def _head(self, until: float | None) -> Head:
        known = self._canary.known
        rows = _asked(self._reading.ask, schema.HEAD, until=until).rows
        if not rows:
            raise UnknownLogError(self._log)
        *standing, seen = rows[0]
        self._ensure_life(seen)
        head = Head(*standing)
        self._canary.compare(head.next_sequence - 1, known)
        self._canary.know(head.watermark)
        return head

    def _ensure_life(self, seen: str) -> None:
        """Have the servers looked at where a writer is silent: it may write at another one."""
        last_seen, silent_from = self._last_read
        if seen != last_seen:
            self._last_read = seen, time.monotonic()
        elif time.monotonic() >= silent_from + schema.LEASE_SECONDS:
            self._servers.look()

    # --- Terms ------------------------------------------------------------------------------------

    def campaign(
        self, holder: str, *, resume: Term | None = None, timeout: float | None = None
    ) -> Term:
        """Take the log. See :meth:`LogStore.campaign`."""
        name_of("campaign", "holder", holder)
        if resume is not None:
            term_of("campaign", resume, "resume")
        until = deadline("campaign", timeout)
        resumed = None if resume is None else resume.epoch
        with self._steps.resuming(resumed) as step:
            return self._campaign(holder, until, resumed=resumed, step=step)

    def _campaign(
        self, holder: str, until: float | None, *, resumed: int | None, step: int
    ) -> Term:
        while True:
            failure: StoreError
            try:
                last_seen, silent_from = self._last_seen
                is_silent = time.monotonic() >= silent_from + schema.LEASE_SECONDS
                silent = last_seen if is_silent else None
                term = self._take(holder, until, resumed=resumed, step=step, silent=silent)
                if term is not None:
                    return term
                _, _, other, seen, *_ = self._why_not(until)
                if seen != last_seen:
                    self._last_seen = seen, time.monotonic()
                failure = TermHeldError(other or "")
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                failure = error
            if is_over(until):
                raise failure
            self._closed.wait(CAMPAIGN_LOOK_SECONDS)

    def _take(
        self,
        holder: str,
        until: float | None,
        *,
        resumed: int | None,
        step: int,
        silent: str | None,
    ) -> Term | None:
        """Take the log if it is free; return None where another writer is alive."""
        wanted = () if resumed is None else (resumed, resumed + step)
        if wanted:
            self._ensure_newest(*wanted, until=until)
        which = {"resumed": resumed, "step": step, "silent": silent}
        if not self._asked(schema.LOCK, until=until).rows[0][0]:
            self._asked(schema.END_THE_DEAD, **which, until=until)
            return None
        asked_at, known = time.monotonic(), self._canary.known
        own = self._heard.epoch
        answer = self._changed(schema.CAMPAIGN, **which, holder=holder, own=own, until=until)
        if not answer.rows:
            self._asked(schema.UNLOCK, until=until)
            if wanted:
                self._ensure_newest(*wanted, until=until)
            unsafe = self._unsafe(until)
            if unsafe is not None:
                raise unsafe
            return None
        epoch, next_sequence = answer.rows[0]
        self._canary.compare(next_sequence - 1, known)
        self._canary.know(next_sequence - 1)
        self._acknowledged = next_sequence - 1
        self._heard.begin(epoch, asked_at)
        return Term(epoch, next_sequence, holder)

    def keep(self, term: Term) -> None:
        """Say that the writer is alive. See :meth:`LogStore.keep`."""
        term_of("keep", term)
        self._keep(term)

    def _keep(self, term: Term) -> None:
        asked_at = time.monotonic()
        answer = self._changed(schema.KEEP, epoch=term.epoch, watermark=self._acknowledged)
        if not answer.row_count:
            self._ensure_newest(term.epoch)
            raise self._unsafe() or OutcomeUnknownError(None)
        self._heard.hear(term.epoch, asked_at)

    def valid_until(self, term: Term) -> float:
        """Return until when no other writer takes the log. See :meth:`LogStore.valid_until`."""
        term_of("valid_until", term)
        return self._heard.until(term.epoch, schema.LEASE_SECONDS)

    def resign(self, term: Term) -> None:
        """End a term. See :meth:`LogStore.resign`."""
        term_of("resign", term)
        is_newest = self._heard.end(term.epoch)
        self._changed(schema.RESIGN, epoch=term.epoch, watermark=self._acknowledged)
        if is_newest:
            self._asked(schema.UNLOCK)

    # --- Groups -----------------------------------------------------------------------------------

    def append(self, term: Term, first: int, last: int, group: bytes) -> None:
        """Append a group. See :meth:`LogStore.append`."""
        term_of("append", term)
        first, last = sequences_of(first, last)
        group_of("append", group)
        asked_at = time.monotonic()
        answer = self._changed(
            schema.APPEND,
            epoch=term.epoch,
            first=first,
            last=last,
            watermark=self._acknowledged,
            group=group,
        )
        if answer.row_count != 1:
            self._explain(term, first, last, group)
        self._acknowledged = last
        self._canary.know(last)
        self._heard.hear(term.epoch, asked_at)

    def _explain(self, term: Term, first: int, last: int, group: bytes) -> None:
        """Raise why a group was not appended, unless it is there already."""
        next_sequence = self._ensure_newest(term.epoch)
        unsafe = self._unsafe()
        if unsafe is not None:
            raise unsafe
        if next_sequence == last + 1 and self._has(first, group):
            # What is seen may be on this server alone: an answer to a change covers it.
            return self._keep(term)
        reason = f"must be {next_sequence}, where the log goes on"
        raise InvalidFieldError("append", "first", first, reason)

    def outcome(self, term: Term, first: int, group: bytes) -> bool:
        """Return whether a group is in the log. See :meth:`LogStore.outcome`."""
        term_of("outcome", term)
        first = sequence_of("outcome", "first", first)
        group_of("outcome", group)
        self._ensure_newest(term.epoch)
        return self._has(first, group)

    def _has(self, first: int, group: bytes) -> bool:
        rows = self._asked(schema.OUTCOME, first=first).rows
        return bool(rows) and rows[0][0] == group

    def read(self, after: int, *, upto: int | None = None) -> Iterator[bytes]:
        """Return groups. See :meth:`LogStore.read`."""
        after = sequence_of("read", "after", after)
        head = self.head()
        upto = head.watermark if upto is None else sequence_of("read", "upto", upto)
        if after < head.trimmed_to:
            raise TrimmedError(after, head.trimmed_to)
        # A writer reads on to its term's beginning, which is durable and may be behind it.
        durable = max(head.watermark, self._canary.known)
        return self._read(after, upto, min(upto, durable))

    def _read(self, after: int, upto: int, durable: int) -> Iterator[bytes]:
        found = _asked(self._reading.ask, schema.FIND_FIRST, first=after + 1).rows[0][0]
        first = after + 1 if found is None else found
        while first <= upto:
            rows = _asked(self._reading.ask, schema.READ, first=first, count=GROUPS_AT_ONCE).rows
            for begin, last, group in rows:
                if first > upto:
                    return
                if begin != first:
                    self._explain_hole(after, first, begin - 1)
                if last > upto:
                    return
                if last > after:
                    yield group
                first = last + 1
            if not rows:
                if max(first, after + 1) <= durable:
                    self._explain_hole(after, first, durable)
                return

    def _explain_hole(self, after: int, first: int, last: int) -> None:
        """Raise why groups are missing: a trim came in between, or the engine has lost them."""
        trimmed_to = self.head().trimmed_to
        first = max(first, after + 1)
        if first <= trimmed_to:
            raise TrimmedError(after, trimmed_to)
        raise AcknowledgedLostError(first, last)

    def tail(self, after: int, timeout: float | None) -> Iterator[bytes]:
        """Wait for groups. See :meth:`LogStore.tail`."""
        after = sequence_of("tail", "after", after)
        until = deadline("tail", timeout)
        look = TAIL_LOOK_SECONDS
        while self._head(until).watermark <= after:
            if is_over(until) or self._closed.is_set():
                return iter(())
            self._closed.wait(look)
            look = min(look * 2, IDLE_LOOK_SECONDS)
        return self.read(after)

    # --- Snapshots --------------------------------------------------------------------------------

    def put_snapshot(
        self, term: Term, sequence: int, pieces: Iterable[bytes], digest: bytes
    ) -> None:
        """Store a snapshot. See :meth:`LogStore.put_snapshot`."""
        term_of("put_snapshot", term)
        sequence = sequence_of("put_snapshot", "sequence", sequence)
        digest_of(digest)
        with self._putting:  # two would put their pieces into each other's place
            self._put_snapshot(term, sequence, pieces, digest)

    def _put_snapshot(
        self, term: Term, sequence: int, pieces: Iterable[bytes], digest: bytes
    ) -> None:
        next_sequence = self._ensure_newest(term.epoch)
        newest = self.snapshots()[:1]
        ensure_in_order(sequence, next_sequence, newest[0].sequence if newest else 0)
        where = {"sequence": sequence, "epoch": term.epoch}
        if newest and (newest[0].sequence, newest[0].epoch) == (sequence, term.epoch):
            # It is visible, and stays as it is. This server alone may have it until it answers.
            there = {"count": newest[0].piece_count, "digest": newest[0].digest}
            self._move(term, schema.PUT_MANIFEST, **where, **there)
            return
        count = 0
        for piece in pieces:
            self._move(term, schema.PUT_PIECE, **where, number=count, piece=piece_of(piece))
            count += 1
        self._move(term, schema.PUT_MANIFEST, **where, count=count, digest=digest)
        self._move_all(schema.DROP_OLD_PIECES, epoch=term.epoch)

    def snapshots(self) -> list[SnapshotInfo]:
        """Return the snapshots. See :meth:`LogStore.snapshots`."""
        rows = _asked(self._reading.ask, schema.READ_MANIFESTS).rows
        return [SnapshotInfo(*row) for row in rows]

    def get_snapshot(self, info: SnapshotInfo) -> Iterator[bytes]:
        """Return a snapshot's pieces. See :meth:`LogStore.get_snapshot`."""
        return self._get_snapshot(info_of(info))

    def _get_snapshot(self, info: SnapshotInfo) -> Iterator[bytes]:
        for number in range(info.piece_count):
            rows = _asked(
                self._moving.ask,
                schema.READ_PIECE,
                sequence=info.sequence,
                epoch=info.epoch,
                number=number,
            ).rows
            if not rows:
                raise TrimmedError(info.sequence, self.head().trimmed_to)
            yield rows[0][0]

    def trim(self, term: Term, below: int) -> None:
        """Drop groups. See :meth:`LogStore.trim`."""
        term_of("trim", term)
        below = sequence_of("trim", "below", below)
        answer = _changed(self._moving, schema.TRIM, epoch=term.epoch, below=below)
        if not answer.row_count:
            self._ensure_newest(term.epoch)
            reason = "must be at most the sequence behind the newest snapshot"
            raise InvalidFieldError("trim", "below", below, reason)
        while self._move_all(schema.DROP_GROUPS, below=below).row_count:
            pass
        self._move_all(schema.DROP_SNAPSHOTS, below=below)
        self._move_all(schema.DROP_OLD_PIECES, epoch=term.epoch)

    def _move(self, term: Term, statement: str, **parameters: Any) -> None:
        """Change something of a snapshot in a term that is the newest."""
        if not _changed(self._moving, statement, **parameters).row_count:
            self._ensure_newest(term.epoch)
            raise OutcomeUnknownError(None)

    def _move_all(self, statement: str, **parameters: Any) -> Answer:
        return _changed(self._moving, statement, **parameters)

    def close(self) -> None:
        """Let go of the connections. See :meth:`LogStore.close`."""
        self._closed.set()
        for session in (self._writing, self._reading, self._moving):
            session.close()

    # --- Answers ----------------------------------------------------------------------------------

    def _asked(self, statement: str, **parameters: Any) -> Answer:
        return _asked(self._writing.ask, statement, **parameters)

    def _changed(self, statement: str, **parameters: Any) -> Answer:
        return _changed(self._writing, statement, **parameters, is_unsafe=self._is_unsafe)

    def _ensure_newest(self, *epochs: int, until: float | None = None) -> int:
        """Return where the log goes on. Raise FencedError where a term after these came."""
        known = self._canary.known
        newest, next_sequence, holder, *_ = self._why_not(until)
        self._canary.compare(next_sequence - 1, known)
        if newest not in epochs:
            raise FencedError(holder or "", newest)
        return int(next_sequence)

    def _why_not(self, until: float | None = None) -> tuple[Any, ...]:
        rows = self._asked(schema.WHY_NOT, until=until).rows
        if not rows:
            raise UnknownLogError(self._log)
        return rows[0]

    def _unsafe(self, until: float | None = None) -> StoreUnsafeError | None:
        """Return why the settings keep no promise, if they do not."""
        *_, names, commit, fsync = self._why_not(until)
        reason = "" if self._is_unsafe else unsafe_settings(names, commit, fsync)
        return StoreUnsafeError(reason) if reason else None


def _servers(conninfo: str) -> Servers:
    try:
        return Servers(conninfo)
    except ImportError:
        raise
    except Exception:  # noqa: BLE001, S110 -- whatever the client says of it may quote a password
        pass
    raise InvalidFieldError(
        "PostgresStore",
        "conninfo",
        "...",
        "must be libpq's parameters of a connection, or its URI; it is not shown, since it may "
        "hold a password",
    )


def _asked(ask: Callable[..., Answer], statement: str, **parameters: Any) -> Answer:
    """Ask something that may be asked twice: where a connection has ended, the next one answers."""
    try:
        try:
            return ask(statement, **parameters)
        except LostAnswer:
            return ask(statement, **parameters)
    except LostAnswer as error:
        raise StoreUnavailableError(error) from error
    except RefusedStatement as error:
        raise StoreUnavailableError(error.cause) from error


def _changed(session: Session, statement: str, **parameters: Any) -> Answer:
    """Change something, and trust the answer only where the server said nothing besides.

    A notice says that the commit did not wait for the standbys until they answered.
    """
    try:
        answer = session.ask(statement, **parameters)
    except LostAnswer as error:
        raise OutcomeUnknownError(error) from error
    except RefusedStatement as error:
        if error.state == DISK_FULL:
            raise StoreFullError(str(error.cause).strip()) from error
        raise StoreUnavailableError(error.cause) from error
    if answer.notices:
        session.drop()
        raise OutcomeUnknownError(RuntimeError("; ".join(answer.notices)))
    return answer
