"""Errors of a replicated log store: what an engine refused, or no longer answers for."""

from __future__ import annotations

from actionqueue.errors.base import ActionQueueError, Written
from actionqueue.texts import told


class StoreError(ActionQueueError):
    """Base of the errors of a :class:`actionqueue.stores.LogStore`."""


class FencedError(StoreError):
    """Another writer has taken the log over. Nothing was written, and nothing ever will be.

    The writer's term is over. What it has appended before stays.
    """

    holder: str
    """The name under which the other writer holds the log; empty where it is not known."""
    epoch: int
    """The epoch of its term, or of the newest one."""
    message = (
        "another writer, {holder!r}, has taken the log over in epoch {epoch}; open the queue again "
        "to stand by, or to take it back"
    )


class TermHeldError(StoreError):
    """Another writer holds the log, and still held it when the campaign's time was over."""

    holder: str
    message = "{holder!r} holds the log; stand by, or campaign without a timeout"


class OutcomeUnknownError(StoreError):
    """The engine's answer is lost: the group may be in the log, or not.

    ``campaign(resume=term)`` settles it, and ``outcome`` says then which it is.
    """

    cause: BaseException | None = None
    """What the client or the engine said."""
    written = Written.UNKNOWN

    def __str__(self) -> str:
        why = "" if self.cause is None else f" ({told(self.cause)})"
        return f"the answer of the engine is lost{why}; resume the term and ask for the outcome"


class StoreUnavailableError(StoreError):
    """The engine cannot be reached, has no majority, or refuses the caller. Nothing was written.

    A caller is refused that has no rights to the log, or to make one.
    """

    cause: BaseException | None = None
    """What the client said last."""

    def __str__(self) -> str:
        why = "" if self.cause is None else f": {told(self.cause)}"
        return (
            "the engine cannot be reached, has no majority, or refuses the caller, which may lack "
            f"rights{why}"
        )


class StoreUnsafeError(StoreError):
    """The engine's settings do not keep what a store acknowledges. Nothing was written."""

    reason: str
    message = "the engine would lose what it acknowledges: {reason}"


class StoreFullError(StoreError):
    """The engine takes no more data. Nothing was written; trim the log, or give it more room."""

    reason: str
    message = "the engine is full: {reason}; trim the log, or give the engine more room"


class TrimmedError(StoreError):
    """The log no longer goes back so far. The newest snapshot holds what was dropped."""

    after: int
    """The sequence behind which events were asked for."""
    trimmed_to: int
    """The last sequence that may be missing."""
    message = (
        "the log begins behind sequence {trimmed_to}, and events behind {after} were asked for; "
        "begin with the newest snapshot"
    )


class AcknowledgedLostError(StoreError):
    """The engine has lost what it had acknowledged: a node without it was promoted, for instance.

    The log is not opened for writing. What the lost events were, this process may still know.
    """

    first: int
    last: int
    """The sequences that were acknowledged and are gone."""
    message = (
        "the engine had acknowledged the events {first} to {last} and no longer has them: a node "
        "that lacked them was promoted, or something else than a store deleted them; stop all "
        "writers, and look for the node or the backup that has them"
    )


class UnknownLogError(StoreError):
    """The engine has no log of this name."""

    log: str
    message = "the engine has no log {log!r}; actionqueue store init makes one"


class DamagedGroupError(StoreError):
    """A group of the log is not what a writer has appended, or is not the next one."""

    sequence: int
    """Of the event where the group was expected."""
    reason: str
    message = (
        "the store's group at event {sequence} is of no use: {reason}; another program may have "
        "changed the log"
    )


class OtherLogError(StoreError):
    """A directory belongs to another log than the store's, or to none. Nothing was changed."""

    path: str
    reason: str
    message = "{path} {reason}; open another directory"


class StandbyError(StoreError):
    """The queue stands by while another writer holds the log. The command was not looked at."""

    holder: str
    """The name of the log's last writer; empty where it has had none."""

    def __str__(self) -> str:
        why = f": {self.holder!r} holds the log, or did" if self.holder else ""
        return (
            f"the queue stands by{why}; wait_until_active() returns when this queue has taken the "
            "log over"
        )
