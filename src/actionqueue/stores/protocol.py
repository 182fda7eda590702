"""What an engine has to do for a log, and the values that its calls take and return."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol
from uuid import UUID

import msgspec

__all__ = ["Head", "LogStore", "SnapshotInfo", "StoreInfo", "Term"]


class Term(msgspec.Struct, frozen=True):
    """The time in which one writer holds a log. No writer of an older term can append any more."""

    epoch: int
    """It rises with each term."""
    first_sequence: int
    """The sequence of the first event that the term may append. All before it is durable."""
    holder: str


class Head(msgspec.Struct, frozen=True):
    """Where a log stands. To look at only: what it says of the end may not be durable yet."""

    log_id: UUID
    epoch: int
    next_sequence: int
    watermark: int
    """Every event up to this sequence is on stable storage of a majority."""
    trimmed_to: int
    """Events up to this sequence may be gone from the log."""
    holder: str | None
    """The last writer that took the log; it may have resigned or be gone."""


class SnapshotInfo(msgspec.Struct, frozen=True):
    """A snapshot that is there as a whole."""

    sequence: int
    """The last event that it holds."""
    epoch: int
    """The term that put it there."""
    piece_count: int
    digest: bytes
    """What was given with it, for the reader to compare."""


class StoreInfo(msgspec.Struct, frozen=True):
    """What an engine is, what it takes, and what its settings do not promise."""

    engine: str
    version: str
    nodes: tuple[str, ...]
    append_bytes_max: int
    """The bytes of a group."""
    snapshot_bytes_max: int | None
    """The bytes of a snapshot; None where only the engine's disk bounds them."""
    keep_seconds: float
    """How often :meth:`LogStore.keep` is to be called."""
    warnings: tuple[str, ...]
    """What does not keep the promise, or may not; empty where nothing was found."""


class LogStore(Protocol):
    """A log in a replicated engine, with one writer at a time.

    The log is a row of groups: bytes, with the sequences of the first and the last event in them.
    Groups follow each other without a gap. A writer appends one group after the other, and one call
    at a time; other calls may come from other threads meanwhile.

    Each call raises :class:`~actionqueue.errors.StoreUnavailableError` where the engine cannot be
    reached, unless it says something else, :class:`~actionqueue.errors.UnknownLogError` where the
    engine has no such log, and :class:`~actionqueue.errors.AcknowledgedLostError` where the engine
    no longer has what it has told this store to be durable.
    """

    def initialize(self) -> bool:
        """Make the log, with what the engine needs for it; return False where it is there."""
        ...

    def describe(self) -> StoreInfo:
        """Say what the engine is, and check its settings."""
        ...

    def head(self) -> Head:
        """Say where the log stands."""
        ...

    def campaign(
        self, holder: str, *, resume: Term | None = None, timeout: float | None = None
    ) -> Term:
        """Take the log, and return the new term. All appends of older terms are refused from now.

        Waits while another writer that is alive holds the log. What the log holds when the call
        returns is on stable storage of a majority.

        Args:
            holder: The name under which others see this writer.
            resume: A term of this writer that ended without another one after it, as by a lost
                connection. The call succeeds only where no other term came since. One that fails
                may be carried out later: call it again, with the same term, before anything else.
            timeout: The most seconds to wait; None for any time. An engine that does not answer
                gets a few seconds more.

        Raises:
            FencedError: With ``resume``: another term came since.
            TermHeldError: The time is over, and another writer holds the log.
            StoreUnavailableError: The time is over, and the engine cannot be reached.
            StoreUnsafeError: The engine's settings do not keep what it acknowledges.
        """
        ...

    def keep(self, term: Term) -> None:
        """Say that the writer is alive; to be called every :attr:`StoreInfo.keep_seconds`.

        Raises what :meth:`append` raises.
        """
        ...

    def valid_until(self, term: Term) -> float:
        """Return until when no other writer takes a term that is kept, by ``time.monotonic``.

        Later another one may have. What it has appended then, this writer does not know. For a
        term that is not this store's newest, or was resigned, it is a time long ago.
        """
        ...

    def append(self, term: Term, first: int, last: int, group: bytes) -> None:
        """Append a group. It is on stable storage of a majority when the call returns.

        A group that is appended again with the same bytes is there once.

        Raises:
            FencedError: Another term came. The group was not written and never will be.
            OutcomeUnknownError: The answer is lost. Resume the term, and ask :meth:`outcome`.
            StoreUnsafeError, StoreFullError: The group was not written.
            InvalidFieldError: The sequences do not go on where the log ends, or the group is larger
                than the engine takes.
        """
        ...

    def outcome(self, term: Term, first: int, group: bytes) -> bool:
        """Return whether a group is in the log whose append's answer was lost.

        ``term`` is the resumed one: a group that is not there now never will be.
        """
        ...

    def read(self, after: int, *, upto: int | None = None) -> Iterator[bytes]:
        """Return the groups, in order, whose last event comes after a sequence.

        The first group may hold events up to that sequence, too.

        Args:
            after: The sequence; 0 for all.
            upto: The last sequence of the groups; None for the watermark. A writer asks up to the
                event before its term's first one, all of which is durable.

        Raises:
            TrimmedError: The log no longer goes back so far.
        """
        ...

    def tail(self, after: int, timeout: float | None) -> Iterator[bytes]:
        """Wait for groups after a sequence, and return them as :meth:`read` does.

        Without any in ``timeout`` seconds there are none; None waits for any time.
        """
        ...

    def put_snapshot(
        self, term: Term, sequence: int, pieces: Iterable[bytes], digest: bytes
    ) -> None:
        """Store a snapshot, which is visible once it is whole.

        One that this term has put there for the same sequence stays as it is.

        Args:
            term: The writer's term.
            sequence: The last event that the snapshot holds. It is in the log, and no newer
                snapshot is there.
            pieces: Its bytes, in pieces of at most 1 MiB.
            digest: At most 64 bytes by which a reader knows it again.

        Raises what :meth:`append` raises.
        """
        ...

    def snapshots(self) -> list[SnapshotInfo]:
        """Return the snapshots that are there, the newest first."""
        ...

    def get_snapshot(self, info: SnapshotInfo) -> Iterator[bytes]:
        """Return a snapshot's pieces.

        Raises TrimmedError where it was dropped meanwhile.
        """
        ...

    def trim(self, term: Term, below: int) -> None:
        """Drop the groups whose events all come before a sequence, and snapshots that end there.

        A snapshot that does not reach to the event before ``below`` is of no use any more. First
        the log says that it is trimmed, then the engine drops the data.

        Raises what :meth:`append` raises.
        """
        ...

    def resign(self, term: Term) -> None:
        """End a term, so that another writer need not wait. Nothing can be appended in it."""
        ...

    def close(self) -> None:
        """Let go of the engine. A term that was not resigned ends by itself, after its time.

        In a child of the process this does nothing. A change that was under way may be made.
        """
        ...
