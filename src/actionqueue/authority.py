"""The mutation lane with any writer and any projection: validate, map, append, sync, apply.

:class:`StorageMutationAuthority` keeps the strict order: it applies nothing that is not durable
yet. The lane that users open, with shared syncs and recovery, is
:class:`actionqueue.queue.ActionQueue`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, cast

from _wal_native.table import StateTable
from _wal_native.turn import Turn
from actionqueue.errors import (
    AppendError,
    ApplyError,
    ClosedError,
    InvalidFieldError,
    PartialDurabilityError,
    PoisonedError,
    ValidationError,
    Written,
)
from actionqueue.model import Event, MutationCommand, MutationOutcome
from actionqueue.model.base import applied_of, event_of, validate
from actionqueue.model.queries import ProjectionQueries, RequiredQueries
from actionqueue.policy_fields import object_with
from actionqueue.sync_policy import DurabilityPolicy

__all__ = ["MutationProjection", "StorageMutationAuthority", "WalWriter"]

_IMMEDIATE = DurabilityPolicy.IMMEDIATE
_DEFERRED = DurabilityPolicy.DEFERRED

_WRITER_METHODS = ("append", "flush")
_PROJECTION_METHODS = (
    "apply_event",
    "run_state",
    "task_exists",
    "is_task_canceled",
    "is_engine_paused",
    "active_attempt_id",
    "active_lease",
)


class WalWriter(Protocol):
    """Where the authority appends events.

    Calls never overlap: the authority makes them under its lock.
    """

    def append(self, event: Event, /) -> object:
        """Append one event; return when it will survive a killed process, if the writer says so.

        An :class:`~actionqueue.errors.ActionQueueError` tells by its ``written`` whether the event
        may be in the log all the same; after any other exception the authority takes that to be
        unknown. A ``ValidationError`` (``RecordTooLarge``) refuses the event before the writer
        writes anything, and reaches the caller as it is.
        """
        ...

    def flush(self) -> object:
        """Make everything appended so far durable. Any exception says that it may not be."""
        ...


class MutationProjection(RequiredQueries, Protocol):
    """What the authority needs of a projection.

    The further queries of :class:`~actionqueue.model.queries.ProjectionQueries` are optional.
    """

    def apply_event(self, event: Event, /) -> object:
        """Apply an event of the log, wholly or not at all.

        If an interrupt (KeyboardInterrupt) escapes from here, ``latest_sequence`` must tell which
        of the two it was: the authority applies the event again as long as that is below the
        event's sequence.
        """
        ...


W = TypeVar("W", bound=WalWriter)
P = TypeVar("P", bound=MutationProjection)


class StorageMutationAuthority(Generic[W, P]):
    """Takes commands one at a time, from any thread, through a writer and a projection.

    It owns both from its construction on.

    **Failures.** What each stage's failure leaves behind:

    - ``ValidationError``: log and projection are unchanged.
    - ``AppendError``: the projection is unchanged, and so is the log where the error's ``written``
      says no.
    - ``PartialDurabilityError``: the log has the event, which may not survive a restart; the
      projection is unchanged.
    - ``ApplyError``: the log has the event; the projection is as it left itself (the library's own:
      unchanged).

    After a refusal, and after an append that wrote nothing, the lane goes on as before. In all
    other cases log and projection may differ from then on, so every further submit raises
    :class:`~actionqueue.errors.PoisonedError`. The remedy is :meth:`into_parts`, then replaying the
    log into a new projection and building a new authority.

    **Interrupts.** A KeyboardInterrupt (or any other exception that is no ``Exception``) reaches
    the caller at once. What happened to the command depends on where it came:

    - before the append was called: nothing.
    - inside the append, which did not return: unknown, so the authority is poisoned.
    - after the append returned: the event is in the log and takes effect. It waits in a slot, and
      the next caller that enters the lane applies it first. The authority does not repeat an
      interrupted flush: the event becomes durable with the next flush.

    Raises:
        InvalidFieldTypeError: The writer or the projection lacks a method that it needs.
    """

    def __init__(self, writer: W, projection: P) -> None:
        self._writer = object_with("StorageMutationAuthority", "writer", writer, _WRITER_METHODS)
        self._projection = object_with(
            "StorageMutationAuthority", "projection", projection, _PROJECTION_METHODS
        )
        self._queries = _with_defaults(projection)
        self._turn = Turn()
        # The event between append and apply, and a list that is filled once its append returned.
        self._slot: tuple[Event, list[object]] | None = None
        self._failure: BaseException | None = None

    def submit_command(
        self, command: MutationCommand, durability: DurabilityPolicy = DurabilityPolicy.IMMEDIATE
    ) -> MutationOutcome:
        """Take one command through the lane; return when it is applied, and durable if asked for.

        Raises:
            ValidationError: The projection does not allow the command; nothing was changed.
            AppendError: The event was not appended, or that is unknown; its ``written`` says which.
            PartialDurabilityError: The event was appended but not made durable; it is not applied.
            ApplyError: The event is in the log, but the projection did not take it.
            PoisonedError: An earlier command failed, so log and projection may differ.
            ClosedError: The authority was taken apart.
            InvalidFieldError: ``command`` is no command, or ``durability`` no policy.
            ReentrantCallError: The writer, the projection or a signal handler called this from
                inside another call of it.
        """
        is_immediate = durability == _IMMEDIATE
        if not is_immediate and durability != _DEFERRED:
            raise InvalidFieldError(
                "submit_command", "durability", durability, "immediate or deferred is needed"
            )
        self._ensure_not_in_query()
        return self._turn.run(self._submit, command, is_immediate)

    def _submit(
        self,
        command: MutationCommand,
        is_immediate: bool,  # noqa: FBT001
    ) -> MutationOutcome:
        # 0. Settle: first apply what an interrupted call left in the log.
        self._settle()
        # 1. Validate against the projection, which has every event of the log now.
        sequence = validate(command, self._queries)
        # 2. Map to the one canonical event.
        event = event_of(command, sequence)
        # 3. Append it to the log.
        self._append(event)
        # 4. Make it durable, if asked to.
        if is_immediate:
            self._flush(event)
        # 5. Apply it to the projection.
        self._apply(event)
        return MutationOutcome(sequence, applied_of(command))

    @property
    def projection(self) -> P:
        """The projection. It lacks the log's last event while that is under way or waits."""
        return self._projection

    @property
    def writer(self) -> W:
        """The writer. A caller that appends to it directly makes log and projection differ."""
        return self._writer

    @property
    def failure(self) -> BaseException | None:
        """Why the authority refuses further commands; None while it takes them."""
        return self._failure

    def into_parts(self) -> tuple[W, P]:
        """Take the authority apart; it takes no further commands.

        It applies a waiting event first. After a failure the parts come as they are, and
        :attr:`failure` says why.

        Raises:
            ApplyError: The projection did not take the waiting event; calling again returns the
                parts.
        """
        self._ensure_not_in_query()
        self._turn.run(self._end)
        return self._writer, self._projection

    def _ensure_not_in_query(self) -> None:
        """Refuse a finalizer that calls from inside a query of its thread.

        The library's own projection would wait for the end of that query.
        """
        if isinstance(self._projection, StateTable):
            self._projection.ensure_not_in_query()

    def _end(self) -> None:
        if not self._is_in_doubt():
            self._settle()
            self._failure = ClosedError()

    def _is_in_doubt(self) -> bool:
        """Tell whether log and projection may differ by more than a waiting event."""
        return self._failure is not None or (self._slot is not None and not self._slot[1])

    def _settle(self) -> None:
        if self._slot is None and self._failure is None:
            return
        if isinstance(self._failure, ClosedError):
            raise ClosedError
        if self._is_in_doubt():
            error = PoisonedError(self._failure)
            error.add_note(
                f"The projection ends at event {self._projection.latest_sequence}; the log may "
                "hold one more. Take the authority apart, replay the log into a new projection, "
                "and build a new authority."
            )
            raise error
        event, _ = cast("tuple[Event, list[object]]", self._slot)
        if self._projection.latest_sequence < event.sequence:
            self._apply(event)
        self._slot = None

    def _append(self, event: Event) -> None:
        returned: list[object] = []
        appending = map(self._writer.append, (event,))
        self._slot = event, returned
        try:
            # One C call runs append and notes that it returned: no signal handler can run between
            # the two.
            returned.extend(appending)
        except ValidationError:
            self._slot = None
            raise
        except Exception as cause:
            error = AppendError(cause)
            if error.written is Written.NO:
                self._slot = None
            else:
                self._failure = error
            raise error from cause
        except BaseException as interrupt:
            if not returned:
                self._failure = interrupt
            raise
        if not returned:  # extend took a StopIteration from append for the end of its input
            self._failure = AppendError(RuntimeError("the writer's append raised StopIteration"))
            raise self._failure

    def _flush(self, event: Event) -> None:
        try:
            self._writer.flush()
        except Exception as cause:
            self._failure = cause  # at once, so that an interrupt from here on cannot hide it
            self._failure = error = PartialDurabilityError(event.sequence, cause)
            raise error from cause

    def _apply(self, event: Event) -> None:
        try:
            self._projection.apply_event(event)
        except Exception as cause:
            self._failure = cause
            self._failure = error = ApplyError(event.sequence, cause)
            raise error from cause
        self._slot = None


# The answers for a projection without these queries.
_DEFAULTS: dict[str, Callable[..., object]] = {
    "forgotten_until": lambda _task_id: None,
    "attempt_count": lambda _run_id: 0,
    "attempt_was_used": lambda _run_id, _attempt_id: False,
    "engine_paused_at": lambda: None,
    "budget_allocation_exists": lambda _task_id, _dimension: False,
    "subscription_exists": lambda _subscription_id: False,
    "is_subscription_canceled": lambda _subscription_id: False,
}


class _WithDefaults:
    """A projection without some of the optional queries, which answers those with defaults."""

    def __init__(self, projection: RequiredQueries) -> None:
        self._projection = projection

    def __getattr__(self, name: str) -> Any:
        if name in _DEFAULTS:
            return getattr(self._projection, name, _DEFAULTS[name])
        return getattr(self._projection, name)


def _with_defaults(projection: RequiredQueries) -> ProjectionQueries:
    """Return the projection itself if it answers every query, else one that adds the defaults."""
    complete = all(hasattr(projection, name) for name in _DEFAULTS)
    return cast(ProjectionQueries, projection if complete else _WithDefaults(projection))
