"""The lane in Python: from a command to its event in the log, and what a failure makes of a queue.

The short way of a command is :mod:`_wal_native.lane`; what it cannot take comes here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from _wal_native.lane import Lane
from actionqueue.errors import (
    ActionQueueError,
    AppendError,
    ClosedError,
    ForkedError,
    PartialDurabilityError,
    PoisonedError,
    ValidationError,
    WriterError,
)
from actionqueue.model import (
    MutationCommand,
    MutationOutcome,
    SubscriptionCreateCommand,
    SubscriptionId,
)
from actionqueue.model.base import applied_of, event_of, validate
from actionqueue.policy_fields import each
from actionqueue.projection import Projection
from actionqueue.sync_policy import DurabilityPolicy

IMMEDIATE = DurabilityPolicy.IMMEDIATE

P = ParamSpec("P")
R = TypeVar("R")


def cause_of(error: WriterError | PoisonedError) -> BaseException:
    """Return the failure itself: of a poisoned log, the one that poisoned it."""
    cause = error.cause if isinstance(error, PoisonedError) else None
    return error if cause is None else cause


class QueueLane(Lane):
    """What takes commands: a log, its projection, and the lock under which they change together."""

    _projection: Projection
    _subscribed: deque[SubscriptionId] | None = None
    """Where a scheduler has put a list here: the subscriptions that were created since, also those
    of batches that were rolled back. That costs nothing for commands of other kinds."""

    @property
    def durability(self) -> DurabilityPolicy:
        """What :meth:`submit` does unless a call says otherwise."""
        return self._durability

    @property
    def projection(self) -> Projection:
        """The projection. It stays readable when the handle is closed or poisoned.

        A poisoned handle sets ``projection.poisoned_by``.
        """
        return self._projection

    @property
    def sequence(self) -> int:
        """Sequence of the last event that was appended and applied, 0 without one."""
        return self._projection.latest_sequence

    @property
    def durable_sequence(self) -> int:
        """Every event up to this sequence is on stable storage."""
        return self._log.durable_sequence

    @property
    def is_closed(self) -> bool:
        """Whether the handle was closed."""
        return isinstance(self._unusable, ClosedError)

    @property
    def is_poisoned(self) -> bool:
        """Whether an earlier write or sync failed."""
        self._notice_failure()
        return isinstance(self._unusable, PoisonedError)

    def _submit(self, command: MutationCommand) -> int:
        """Take a command through the lane, and return its sequence.

        Lane calls it for a command that needs I/O, that the rules refuse, or of a rare kind.
        """
        return self._in_lane(self._append_one, command)

    def _in_lane(self, work: Callable[P, R], /, *arguments: P.args, **_nothing: P.kwargs) -> R:
        """Call in the lane, return the result, and turn the writer's errors into the queue's."""
        returned: R = self._lane.run(self._guarded, work, arguments)
        return returned

    def _guarded(self, work: Callable[..., R], arguments: tuple[Any, ...]) -> R:
        if self._unusable is not None:
            self._ensure_usable()
        try:
            # Before any rule: the projection of a poisoned handle may have an event that the log
            # has not.
            self._log.ensure_open()
            return work(*arguments)
        except (WriterError, PoisonedError) as error:
            meant = self._meant_by(error)
            if meant is error:
                raise
            raise meant from error

    def _meant_by(self, error: WriterError | PoisonedError) -> ActionQueueError:
        """Return what an error of the writer means to a caller; poison the handle where it must."""
        if isinstance(error, WriterError):
            return self._append_error(error)
        self._poison(cause_of(error))
        return error

    def _append_one(self, command: MutationCommand) -> int:
        sequence = validate(command, self._projection)
        if self._subscribed is None or type(command) is not SubscriptionCreateCommand:
            self._log.submit(event_of(command, sequence))
            return sequence
        # Before, because a signal's handler may raise behind it, and behind it, because a scheduler
        # that looks in between finds nothing. It takes one for nothing, and one twice.
        self._subscribed.append(command.subscription_id)
        self._log.submit(event_of(command, sequence))
        self._subscribed.append(command.subscription_id)
        return sequence

    def submit_many(
        self, commands: Iterable[MutationCommand], durability: DurabilityPolicy | str | None = None
    ) -> list[MutationOutcome]:
        """Submit commands as one, in one append and one sync: all or none, also after a crash.

        The queue validates each command against the state that the commands before it leave. Raises
        what :meth:`submit` raises; a ValidationError then carries the refused command's position in
        ``batch_index``.
        """
        policy = self._durability if durability is None else durability
        if type(policy) is not DurabilityPolicy:  # a look-up costs as much as a small batch
            policy = DurabilityPolicy(policy)
        try:
            batch = list(commands)  # under no lock: an iterable may do anything
        except TypeError:
            each("submit_many", "commands", commands)
            raise
        self._ensure_not_in_query()
        outcomes: list[MutationOutcome] = []
        sequence = self._in_lane(self._append_batch, batch, outcomes)
        if outcomes and policy is IMMEDIATE:
            self._wait_durable(sequence)
        return outcomes

    def sync(self) -> None:
        """Return when every command submitted so far is on stable storage."""
        self._ensure_usable()
        self._wait_durable(None)

    def _append_batch(
        self, commands: list[MutationCommand], outcomes: list[MutationOutcome] | None
    ) -> int:
        """Append commands as one, and return the last sequence.

        Appends what each came to to the outcomes, unless that is None.
        """
        # Keep this short: where memory is exhausted, Python 3.11 enters no handler whose offset is
        # a number from the heap, and tries for ever.
        try:
            self._log.batch_begin()  # inside, so that an interrupt after it undoes it
            self._add_to_batch(commands, outcomes)
            self._log.batch_commit()
        except BaseException:
            self._log.batch_rollback()
            raise
        return self.sequence

    def _add_to_batch(
        self, commands: list[MutationCommand], outcomes: list[MutationOutcome] | None
    ) -> None:
        index = -1
        while (index := self._log.batch_extend(commands, index + 1, outcomes)) < len(commands):
            command = commands[index]
            try:
                sequence = validate(command, self._projection)
                self._log.batch_add(event_of(command, sequence))
            except ValidationError as error:
                raise error.at_batch_index(index) from error.__cause__
            if self._subscribed is not None and type(command) is SubscriptionCreateCommand:
                self._subscribed.append(command.subscription_id)
            if outcomes is not None:
                outcomes.append(MutationOutcome(sequence, applied_of(command)))

    def _ensure_not_in_query(self) -> None:
        """Refuse a call that a collector's callback or a finalizer makes inside its thread's query.

        It would wait for that query.
        """
        self._log.ensure_not_in_query()

    def _append_error(self, error: WriterError) -> AppendError:
        appended = AppendError(error)
        if appended.written != "no":
            self._poison(error)
        return appended

    def _wait_durable(self, sequence: int | None) -> None:
        try:
            self._log.sync(sequence)
        except (WriterError, PoisonedError) as error:
            cause = cause_of(error)
            self._poison(cause)
            raise self._not_durable(sequence, cause) from error
        except ClosedError as error:
            # Another thread closed the queue. A command that still waits is in doubt, because the
            # last sync failed. A sync() may only have come after a close that went well.
            if sequence is None and self._projection.poisoned_by is None:
                raise
            cause = self._projection.poisoned_by or error
            raise self._not_durable(sequence, cause) from error

    def _not_durable(self, sequence: int | None, cause: BaseException) -> PartialDurabilityError:
        return PartialDurabilityError(self.sequence if sequence is None else sequence, cause)

    def _poison(self, cause: BaseException) -> None:
        if self._unusable is None:
            self._unusable = PoisonedError(cause)
            self._projection.poisoned_by = cause

    def _notice_failure(self) -> None:
        """Poison the handle where a sync has failed that no caller waited for."""
        if self._unusable is None:
            try:
                self._log.ensure_open()
            except PoisonedError as error:
                self._poison(cause_of(error))
            except (ClosedError, ForkedError):
                pass  # since the line before: the call that made it so says why

    def _ensure_usable(self) -> None:
        self._notice_failure()
        unusable = self._unusable
        if unusable is not None:
            # A new object each time, because a raised exception collects tracebacks.
            raise type(unusable)(*unusable.args)
