"""Every error that the library raises, with typed fields.

All derive from :class:`ActionQueueError`. Two errors are equal when they have the same type and the
same fields. Errors can be pickled and copied, and their texts can be printed whatever values they
hold. Each says in :attr:`ActionQueueError.written` whether the refused or failed command may be in
the log.
"""

from __future__ import annotations

import errno as errno_codes
import os
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

from _wal_native.above import provide
from actionqueue.texts import Rows, host_name, moment, rows_text, shown, told
from actionqueue.vocabulary import vocabulary

if TYPE_CHECKING:
    from actionqueue.model import AttemptId, BudgetDimension, RunId, RunState, SubscriptionId, TaskId

__all__ = [
    "ActionQueueError",
    "ActiveAttemptBlocksTransition",
    "AppendError",
    "ApplyError",
    "AttemptCountOverflow",
    "AttemptFinishAttemptMismatch",
    "AttemptFinishMissingActive",
    "AttemptFinishRequiresRunning",
    "AttemptFinishUnknownRun",
    "AttemptIdReused",
    "AttemptStartAlreadyActive",
    "AttemptStartRequiresRunning",
    "AttemptStartUnknownRun",
    "BudgetNotAllocated",
    "ClosedError",
    "CompactedError",
    "CorruptLogError",
    "DisplacedError",
    "EmptyDependencyList",
    "EngineAlreadyPaused",
    "EngineNotPaused",
    "EngineResumeBeforePause",
    "ForkedError",
    "HistoryChangedError",
    "InvalidFieldError",
    "InvalidFieldTypeError",
    "InvalidTransition",
    "LeaseAlreadyActive",
    "LeaseExpiryMismatch",
    "LeaseHeartbeatExpiryRegression",
    "LeaseInvalidRunState",
    "LeaseMissingActive",
    "LeaseOwnerMismatch",
    "LeaseUnknownRun",
    "LeaseValidationEvent",
    "LockedError",
    "LogCloseError",
    "LogSpaceError",
    "LogWriteError",
    "MalformedEventError",
    "MutationError",
    "NonMonotonicSequence",
    "NotAQueueError",
    "OpenError",
    "OpenIOError",
    "PartialDurabilityError",
    "PoisonedError",
    "PreviousStateMismatch",
    "RecordTooLarge",
    "ReentrantCallError",
    "RefusedEventError",
    "RunAlreadyExists",
    "RunCreateNotFresh",
    "RunCreateRequiresScheduled",
    "RunResumeRequiresSuspended",
    "RunSuspendRequiresRunning",
    "SequenceOverflow",
    "SnapshotError",
    "StoppedError",
    "SubscriptionAlreadyCanceled",
    "SubscriptionAlreadyExists",
    "TaskAlreadyCanceled",
    "TaskAlreadyExists",
    "TaskForgotten",
    "TimestampWarning",
    "UnknownRun",
    "UnknownSubscription",
    "UnknownTask",
    "UnsafeDirectoryWarning",
    "UnsupportedFormatError",
    "ValidationError",
    "WriterError",
    "Written",
]


@vocabulary("written")
class Written(StrEnum):
    """Whether the command's event may be in the log after an error."""

    NO = "no"
    """The log is as it was."""
    YES = "yes"
    """The event is in the log, and a restart will replay it."""
    UNKNOWN = "unknown"
    """The event may or may not survive a restart; reopening the queue shows which."""


@vocabulary("event")
class LeaseValidationEvent(StrEnum):
    """Which lease command an error is about."""

    ACQUIRE = "acquire"
    HEARTBEAT = "heartbeat"
    EXPIRE = "expire"
    RELEASE = "release"


@dataclass_transform(eq_default=False)
class ActionQueueError(Exception):
    """Base of all errors of this library.

    A subclass declares its fields as annotations, in the order of its constructor's arguments. The
    error's text is the template ``message``, filled with the fields.
    """

    message: ClassVar[str] = ""
    fields: ClassVar[tuple[str, ...]] = ()
    """Names of the error's fields, in the order of the constructor's arguments."""
    written = Written.NO
    """Whether the command's event may be in the log."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = tuple(
            name for name, kind in cls.__annotations__.items() if "ClassVar" not in str(kind)
        )
        inherited = next(
            (base.fields for base in cls.__mro__[1:] if issubclass(base, ActionQueueError)), ()
        )
        cls.fields = inherited + own

    def __init__(self, *values: Any, **named: Any) -> None:
        cls = type(self)
        names = cls.fields
        if len(values) > len(names):
            raise TypeError(f"{cls.__name__} takes {len(names)} fields, got {len(values)}")
        for name in names[len(values) :]:
            try:
                values += (named.pop(name) if name in named else getattr(cls, name),)
            except AttributeError:
                raise TypeError(f"{cls.__name__} lacks the field {name!r}") from None
        if named:
            raise TypeError(f"{cls.__name__} has no further field {', '.join(named)}")
        # args hold every field, so pickling and copying need nothing else
        super().__init__(*values)
        for name, value in zip(names, values, strict=True):
            setattr(self, name, value)
            if name == "cause" and isinstance(value, BaseException):
                self.__cause__ = value

    def __str__(self) -> str:
        return self.message.format_map({name: told(getattr(self, name)) for name in self.fields})

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={shown(getattr(self, name))}" for name in self.fields)
        return f"{type(self).__name__}({values})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActionQueueError) or type(other) is not type(self):
            return NotImplemented
        return [_comparable(value) for value in self.args] == [
            _comparable(value) for value in other.args
        ]

    def __hash__(self) -> int:
        return hash(type(self))  # fields may hold values that cannot be hashed


def _comparable(value: object) -> object:
    """Return what a comparison looks at: exceptions of other libraries compare by identity only."""
    if isinstance(value, BaseException) and not isinstance(value, ActionQueueError):
        return (type(value), value.args)
    return value


# --- Values that a constructor refuses ------------------------------------------------------------


class InvalidFieldError(ActionQueueError, ValueError):
    """A constructor, a query or a call with arrays does not accept a value. Nothing was changed."""

    type_name: str
    """Name of the type, such as ``"TaskConstraints"``, or of the call."""
    field: str
    value: Any
    reason: str

    def __str__(self) -> str:
        return f"{self.type_name}.{self.field}: {self.reason}, got {shown(self.value)}"


class InvalidFieldTypeError(InvalidFieldError, TypeError):
    """A constructor, a query or a call with arrays does not accept a value of this type."""


# --- Commands that the authority refuses ----------------------------------------------------------


class MutationError(ActionQueueError):
    """Base of the errors of submitting a command."""


class ValidationError(MutationError):
    """Base of the refusals: the command is valid in itself, but not now.

    The log and the projection are untouched.
    """

    batch_index: ClassVar[int | None] = None
    """Position of the refused command in its batch, from 0; None where it was submitted alone. It
    is not one of the fields."""

    def at_batch_index(self, index: int) -> Self:
        """Note the command's position in its batch."""
        self.__dict__["batch_index"] = index
        return self

    def __str__(self) -> str:
        return self._in_batch(super().__str__())

    def _in_batch(self, text: str) -> str:
        return (
            text
            if self.batch_index is None
            else f"command {self.batch_index} of the batch (from 0): {text}"
        )


def _ways_on(state: RunState) -> str:
    """Return where a run may go from a state, by the rules that validation and replay share."""
    from _wal_native.rules import transition_is_valid  # noqa: PLC0415 -- it imports the errors
    from actionqueue.model import RunState  # noqa: PLC0415

    states = [other.value for other in RunState if transition_is_valid(state, other)]
    return f"it may go to {', '.join(states)}" if states else "it goes nowhere: the run has ended"


def _states_for_lease(event: LeaseValidationEvent) -> str:
    """Return the states in which the rules allow a lease command."""
    from _wal_native.rules import state_allows  # noqa: PLC0415 -- it imports the errors
    from actionqueue.model import EventKind, RunState  # noqa: PLC0415

    kind = {
        LeaseValidationEvent.ACQUIRE: EventKind.LEASE_ACQUIRED,
        LeaseValidationEvent.HEARTBEAT: EventKind.LEASE_HEARTBEAT,
    }.get(event, EventKind.LEASE_RELEASED)
    return ", ".join(state.value for state in RunState if state_allows(kind, state))


class SequenceOverflow(ValidationError):
    """The log is at the last sequence there is (``actionqueue.limits.SEQUENCE_MAX``, 2**64 - 1)."""

    message = "the log is at sequence 2**64 - 1, the last that an event can have; start a new queue"


class NonMonotonicSequence(ValidationError):
    """The command's explicit sequence is not the next one."""

    expected: int
    provided: int
    message = (
        "the next sequence is {expected}, the command says {provided}; leave it None to take the "
        "next one"
    )


class UnknownRun(ValidationError):
    """There is no such run."""

    run_id: RunId
    message = "there is no run {run_id}; create it first"


class UnknownTask(ValidationError):
    """There is no such task."""

    task_id: TaskId
    message = "there is no task {task_id}; create it first"


class TaskAlreadyExists(ValidationError):
    """A task with this identifier was created before."""

    task_id: TaskId
    message = "task {task_id} exists already; use a new identifier"


class TaskForgotten(ValidationError):
    """Retention has forgotten the task with this identifier; a tombstone keeps the identifier."""

    task_id: TaskId
    until: int
    """When retention drops the tombstone, at the earliest, in Unix seconds."""
    message = (
        "task {task_id} was there already and was forgotten; its identifier is refused until "
        "{until} at least: use a new identifier"
    )


class TaskAlreadyCanceled(ValidationError):
    """The task was canceled before."""

    task_id: TaskId
    message = "task {task_id} was canceled already"


class EngineAlreadyPaused(ValidationError):
    """The engine is paused."""

    message = "the engine is paused already"


class EngineNotPaused(ValidationError):
    """The engine is not paused."""

    message = "the engine is not paused, so it cannot be resumed"


class RunAlreadyExists(ValidationError):
    """A run with this identifier was created before."""

    run_id: RunId
    message = "run {run_id} exists already; use a new identifier"


class RunCreateRequiresScheduled(ValidationError):
    """A run enters the queue in the state scheduled only."""

    run_id: RunId
    state: RunState
    message = "run {run_id} must be created as scheduled, not as {state}"


class PreviousStateMismatch(ValidationError):
    """The run is not in the state that the command expects."""

    run_id: RunId
    expected: RunState
    actual: RunState
    message = "run {run_id} is {actual}, the command expects {expected}; read its state again"


class InvalidTransition(ValidationError):
    """No run goes from the one state to the other."""

    run_id: RunId
    from_: RunState
    to: RunState

    def __str__(self) -> str:
        return self._in_batch(
            f"run {self.run_id} cannot go from {self.from_} to {self.to}; from {self.from_} "
            f"{_ways_on(self.from_)}"
        )


class AttemptStartUnknownRun(ValidationError):
    """An attempt cannot start on a run that does not exist."""

    run_id: RunId
    message = "an attempt cannot start: there is no run {run_id}"


class AttemptStartRequiresRunning(ValidationError):
    """An attempt starts on a running run only."""

    run_id: RunId
    state: RunState
    message = "an attempt cannot start: run {run_id} is {state}, not running"


class AttemptStartAlreadyActive(ValidationError):
    """The run has an active attempt, and never has two."""

    run_id: RunId
    active_attempt_id: AttemptId
    message = (
        "an attempt cannot start: attempt {active_attempt_id} of run {run_id} is still active; "
        "finish it first"
    )


class AttemptFinishUnknownRun(ValidationError):
    """An attempt cannot finish on a run that does not exist."""

    run_id: RunId
    message = "an attempt cannot finish: there is no run {run_id}"


class AttemptFinishRequiresRunning(ValidationError):
    """An attempt finishes on a running run only."""

    run_id: RunId
    state: RunState
    message = "an attempt cannot finish: run {run_id} is {state}, not running"


class AttemptFinishMissingActive(ValidationError):
    """The run has no active attempt."""

    run_id: RunId
    message = "an attempt cannot finish: run {run_id} has no active attempt"


class AttemptFinishAttemptMismatch(ValidationError):
    """Another attempt of the run is active."""

    run_id: RunId
    expected_attempt_id: AttemptId
    provided_attempt_id: AttemptId
    message = (
        "attempt {provided_attempt_id} cannot finish: the active attempt of run {run_id} is "
        "{expected_attempt_id}"
    )


class LeaseUnknownRun(ValidationError):
    """A lease command names a run that does not exist."""

    run_id: RunId
    event: LeaseValidationEvent
    message = "lease {event}: there is no run {run_id}"


class LeaseInvalidRunState(ValidationError):
    """The run's state does not allow the lease command."""

    run_id: RunId
    event: LeaseValidationEvent
    state: RunState

    def __str__(self) -> str:
        allowed = _states_for_lease(self.event)
        return self._in_batch(
            f"lease {self.event}: run {self.run_id} is {self.state}; it is allowed in {allowed}"
        )


class LeaseAlreadyActive(ValidationError):
    """The run has a lease; a command must release or expire it first."""

    run_id: RunId
    message = "lease acquire: run {run_id} has a lease already; release or expire it first"


class LeaseMissingActive(ValidationError):
    """The run has no lease."""

    run_id: RunId
    event: LeaseValidationEvent
    message = "lease {event}: run {run_id} has no lease"


class LeaseOwnerMismatch(ValidationError):
    """The run's lease belongs to another owner."""

    run_id: RunId
    event: LeaseValidationEvent
    message = "lease {event}: the lease of run {run_id} belongs to another owner"


class LeaseExpiryMismatch(ValidationError):
    """A command closes a lease with the lease's exact expiry only."""

    run_id: RunId
    event: LeaseValidationEvent
    expected_expiry: int
    provided_expiry: int
    message = (
        "lease {event}: the lease of run {run_id} expires at {expected_expiry}, the command says "
        "{provided_expiry}"
    )


class LeaseHeartbeatExpiryRegression(ValidationError):
    """A heartbeat never lowers a lease's expiry."""

    run_id: RunId
    previous_expiry: int
    proposed_expiry: int
    message = (
        "lease heartbeat: the lease of run {run_id} expires at {previous_expiry}, not before "
        "({proposed_expiry})"
    )


class EmptyDependencyList(ValidationError):
    """The dependency declaration names no prerequisite."""

    task_id: TaskId
    message = "the dependency declaration of task {task_id} names no prerequisite"


class RunSuspendRequiresRunning(ValidationError):
    """Only a running run can be suspended."""

    run_id: RunId
    state: RunState
    message = "run {run_id} cannot be suspended: it is {state}, not running"


class RunResumeRequiresSuspended(ValidationError):
    """Only a suspended run can be resumed."""

    run_id: RunId
    state: RunState
    message = "run {run_id} cannot be resumed: it is {state}, not suspended"


class BudgetNotAllocated(ValidationError):
    """The task has no budget of this dimension."""

    task_id: TaskId
    dimension: BudgetDimension
    message = "task {task_id} has no {dimension} budget; allocate one first"


class SubscriptionAlreadyExists(ValidationError):
    """A subscription with this identifier was created before."""

    subscription_id: SubscriptionId
    message = "subscription {subscription_id} exists already; use a new identifier"


class UnknownSubscription(ValidationError):
    """There is no such subscription."""

    subscription_id: SubscriptionId
    message = "there is no subscription {subscription_id}; create it first"


class SubscriptionAlreadyCanceled(ValidationError):
    """The subscription was canceled before."""

    subscription_id: SubscriptionId
    message = "subscription {subscription_id} was canceled already"


# --- Refusals that keep out of the log what the projection would not take -------------------------


class ActiveAttemptBlocksTransition(ValidationError):
    """A run with an active attempt goes from running to canceled only."""

    run_id: RunId
    from_: RunState
    to: RunState
    active_attempt_id: AttemptId
    message = (
        "run {run_id} cannot go from {from_} to {to} while attempt {active_attempt_id} is active; "
        "finish the attempt first, or cancel the run"
    )


class EngineResumeBeforePause(ValidationError):
    """The engine cannot resume at a time before its pause."""

    paused_at: int
    resumed_at: int
    message = (
        "the engine was paused at {paused_at} and cannot be resumed at {resumed_at}, before that"
    )


class AttemptIdReused(ValidationError):
    """The run had an attempt with this identifier before."""

    run_id: RunId
    attempt_id: AttemptId
    message = (
        "run {run_id} had attempt {attempt_id} before; start the new one with a new identifier"
    )


class AttemptCountOverflow(ValidationError):
    """The run has as many attempts as 32 bits count."""

    run_id: RunId
    message = "run {run_id} has 2**32 - 1 attempts, the most it can have; create a new run"


class RunCreateNotFresh(ValidationError):
    """The run has a past: one of its fields is not what a new run has."""

    run_id: RunId
    field: str
    value: Any
    message = "run {run_id} is not new: {field} is {value}; build it with RunInstance.scheduled"


class RecordTooLarge(ValidationError):
    """The command's record or one of its fields is larger than a reader accepts, in bytes."""

    size: int
    limit: int
    message = "the record takes {size} bytes, the limit is {limit}; keep large payloads elsewhere"


# --- Failures of the lane after validation --------------------------------------------------------


class AppendError(MutationError):
    """The writer failed to append the event. The projection is untouched.

    ``written`` is what the writer's error says.
    """

    cause: BaseException
    message = "the event was not appended ({cause}); nothing was applied"

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.written = cause.written if isinstance(cause, ActionQueueError) else Written.UNKNOWN


class PartialDurabilityError(MutationError):
    """The event was appended, but not made durable: it may or may not survive a restart."""

    sequence: int
    cause: BaseException
    message = (
        "event {sequence} was appended but not synced ({cause}); reopen the queue to see whether "
        "it survived"
    )
    written = Written.UNKNOWN


class ApplyError(MutationError):
    """The event is in the log, but the projection refused it."""

    sequence: int
    cause: BaseException
    message = (
        "event {sequence} is in the log, but the projection refused it ({cause}); reopen the queue"
    )
    written = Written.YES


class RefusedEventError(ActionQueueError):
    """An event breaks a rule of the projection. The projection is exactly as it was."""

    rule: str
    """The rule's name in lower snake case, such as ``"previous_state"``."""
    sequence: int
    message = "the projection refuses event {sequence}: {rule}"


class MalformedEventError(ActionQueueError):
    """The bytes do not decode to an event."""

    reason: str = "the payload does not decode"
    kind: int | None = None
    sequence: int | None = None

    def __str__(self) -> str:
        about = [
            f"{name} {value}"
            for name, value in (("kind", self.kind), ("sequence", self.sequence))
            if value is not None
        ]
        return f"malformed event{' (' + ', '.join(about) + ')' if about else ''}: {self.reason}"


# --- Opening and the handle's life ----------------------------------------------------------------


class OpenError(ActionQueueError):
    """Base of the errors of opening a queue. Nothing on disk was changed."""


class LockedError(OpenError):
    """Another handle holds the queue. What the lock file does not say of the holder is None."""

    path: str
    pid: int | None = None
    host: str | None = None
    started: int | None = None
    """When the holder opened the queue, in Unix seconds."""

    @property
    def since(self) -> str | None:
        """``started`` as text for people."""
        return None if self.started is None else moment(self.started)

    def __str__(self) -> str:
        holder = "another handle" if self.pid is None else f"process {self.pid}"
        where = "" if self.host is None else f" on {self.host}"
        since = "" if self.started is None else f" since {self.since}"
        # The opener looks at the lock file first: a queue held by its folder lost that file.
        why = ", although its LOCK was removed or replaced" if self.path.endswith("/wal") else ""
        return (
            f"{self.path} is held by {holder}{where}{since}{why}; close it there first, or open it "
            "with readonly=True to read"
        )


_REASONS = {
    "header_invalid": "the file's header is not as it was written",
    "header_copies_differ": "both copies of the segment's header are valid, and they differ",
    "file_size": "the file is not as long as its header says",
    "other_log": "the file belongs to another queue",
    "segment_missing": "a file of the log is gone",
    "segment_duplicate": "two files have the same segment's number",
    "link": "the segment does not go on from the one before it",
    "ring_missing": "the file `ring` is gone, and the log was not closed",
    "record_invalid": "a record that was on stable storage is not as it was written",
    "record_count": "the segment holds other events than the next one says",
    "batch": "a batch is broken where no interrupted write breaks it",
    "payload": "a record is as it was written, but is no event",
    "refused_event": "an event is as it was written, but breaks a rule",
    "history_missing": "the log does not go back to the first event, and no snapshot stands in",
    "directory": "something else stands in the place of one of the queue's directories",
    "torn": "an append was cut short",
    "snapshot_invalid": "the snapshot is not as it was written",
    "snapshot_ahead": "the log ends before the snapshot does",
    "snapshot_differs": "the snapshot is not what the log adds up to",
    "unreadable": "the disk does not give the bytes back",
}
"""What each reason's code means, in plain words."""


class CorruptLogError(OpenError):
    """The log is damaged, and an interrupted write cannot have done it. What is unknown is None."""

    path: str
    segment: int | None
    offset: int | None
    """Where the damaged record starts in the segment, in bytes."""
    reason: str
    first_sequence: int | None = None
    last_sequence: int | None = None
    """The first and the last sequence at stake: from ``actionqueue verify`` exactly what a repair
    would give up, else what the opener knew without reading further. The last is None where the log
    does not say how far it went."""
    unreadable: Rows | None = None
    """From ``actionqueue verify``: the first and the last sequence of each range of events that
    can't be read."""
    given_up: Rows | None = None
    """From ``actionqueue verify``: the same of the events that can be read, but lie behind those,
    so that a repair would give them up."""

    @property
    def meaning(self) -> str:
        """The reason in plain words."""
        return _REASONS.get(self.reason.split(" ", 1)[0], "")

    def __str__(self) -> str:
        where = "" if self.segment is None else f", segment {self.segment}"
        where += "" if self.offset is None else f", offset {self.offset}"
        meaning = f", {self.meaning}" if self.meaning else ""
        return f"{self.path}{where}: {self.reason}{meaning}{self._stake()}; {self._advice()}"

    def _stake(self) -> str:
        if self.unreadable is None:
            if self.first_sequence is None:
                return ""
            first, last = self.first_sequence, self.last_sequence
            rows = f"from {first} on" if last is None else rows_text(((first, last),))
            return (
                f"; sequences at stake, as far as was read: {rows} (`actionqueue verify DIR` says "
                "exactly)"
            )
        if not self.unreadable and not self.given_up:
            return "; every event that is known of can be read"
        lost = (
            f"; sequences that can't be read: {rows_text(self.unreadable)}"
            if self.unreadable
            else "; every event can be read"
        )
        return lost + (
            f"; readable, but given up by a repair: {rows_text(self.given_up)}"
            if self.given_up
            else ""
        )

    def _advice(self) -> str:
        match self.reason.split(" ", 1)[0]:
            case "snapshot_invalid":
                return (
                    "the queue opens without this snapshot if an older one or the log has "
                    "everything; the next compaction replaces it"
                )
            case "snapshot_differs":
                return (
                    "it was not made from this log; copy the directory, move the snapshot away, "
                    "and verify again"
                )
            case "directory":
                return (
                    "nothing was changed, and a repair leaves this alone: put the directory "
                    "itself there, moved or copied back from where it is; links are followed to "
                    "a queue, not inside it"
                )
        return (
            "nothing was changed; copy the directory, then let `actionqueue repair DIR` say what "
            "can be kept"
        )


class UnsupportedFormatError(OpenError):
    """The queue was written by a newer version of the library."""

    path: str
    version: int
    message = "{path} has format {version}, which this version does not know; upgrade the library"


class CompactedError(OpenError):
    """The log no longer has the events that were asked for: a snapshot covers them."""

    path: str
    first_sequence: int
    """The oldest event that the log still has."""
    message = (
        "the log of {path} begins at sequence {first_sequence}, what came before is in its "
        "snapshot; read that, and go on from there"
    )


class HistoryChangedError(OpenError):
    """The log at the path is not the one that the position was taken in, or its history is not.

    It was replaced, restored or repaired.
    """

    path: str
    sequence: int = 0
    """The position: the last event that was read."""
    message = (
        "the log in {path} is not the one, or has not the history, that event {sequence} was "
        "read in: it was replaced, restored or repaired, or the position is another queue's; "
        "read the projection again and follow from there"
    )


class NotAQueueError(OpenError):
    """There is no queue at this path."""

    path: str
    quarantine: str | None = None
    """Where a repair has moved everything that was here, if it could keep nothing."""

    def __str__(self) -> str:
        if self.quarantine is not None:
            return (
                f"there is no queue at {self.path} any more: a repair could keep nothing of it "
                f"and moved everything to {self.quarantine}; `actionqueue log --salvage DIR` "
                "prints the events that can be read there; opening it for writing begins a new "
                "queue at sequence 1"
            )
        return (
            f"there is no queue at {self.path}; look at the path, or open it for writing without "
            "create=False to make one"
        )


class OpenIOError(OpenError):
    """A system call failed that opening needs."""

    operation: str
    path: str
    errno: int

    @property
    def what(self) -> str:
        """Which call failed, and why, without the remedy."""
        return f"{self.operation} failed on {self.path}: {_why(self.operation, self.errno)}"

    def __str__(self) -> str:
        name = errno_codes.errorcode.get(self.errno, "")
        # A queue that is not open yet was not moved away; and _why has said what of the wrong kind
        # stands at the path.
        remedy = (
            f"; {_remedy(self.errno)}"
            if name in _REMEDIES and _REMEDIES[name] is not _MOVED
            else ""
        )
        remedy += (
            "; with readonly=True the right to read is enough" if name in _CANNOT_WRITE else ""
        )
        return f"{self.what}; the queue was not opened{remedy}"


def _why(operation: str, number: int) -> str:
    """Return what an errno means; for a file of the wrong kind, also what stands there."""
    kind = {
        errno_codes.ELOOP: "a symbolic link stands there, and none is followed",
        errno_codes.EMLINK: "the file has a second name, a hard link; make it a copy",
        errno_codes.EISDIR: "a directory stands where a file should",
        errno_codes.EINVAL: "it is no regular file",
    }.get(number)
    text = f"{os.strerror(number)} (errno {number})"
    if operation == "follow" and number == errno_codes.ENOENT:
        return f"{text}: a symbolic link that leads nowhere; make its target first, or remove it"
    if operation == "resolve" and number == errno_codes.ENOENT:
        return (
            f"{text}: the working directory was removed; go to another one, or give a path that "
            "begins with /"
        )
    return f"{text}: {kind}" if kind is not None and operation == "open" else text


_MOVED = (
    "put the queue's directory back where it was opened, or close the queue and open it where it is"
)
_RIGHTS = "give this process the right to write there"

_REMEDIES = {
    "ENOSPC": "free space",
    "EDQUOT": "free space, or get more of the disk's quota",
    "EFBIG": "raise the limit on the size of files (ulimit -f)",
    "EMFILE": "raise the limit of open files (ulimit -n), or close some",
    "ENFILE": "close files: the system has no more to give",
    "ENOMEM": "free memory",
    "EACCES": _RIGHTS,
    "EPERM": _RIGHTS,
    "EROFS": "make the file system writable",
    "ENOENT": _MOVED,
    "ENOTDIR": _MOVED,
    "ESTALE": _MOVED,
    "EIO": "look at the disk",
}
"""What to do about a failed system call, by the errno's name: a system may lack some of them."""

_CANNOT_WRITE = {"EACCES", "EPERM", "EROFS"}


def _remedy(number: int) -> str:
    return _REMEDIES.get(errno_codes.errorcode.get(number, ""), "mend the cause")


class WriterError(ActionQueueError):
    """Base of the errors of the native writer."""


class _SystemCallError(WriterError):
    """A system call failed that the writer needs."""

    operation: str
    path: str
    errno: int
    advice: ClassVar[str]
    """What to do; ``{remedy}`` stands for what the errno asks for."""

    @property
    def what(self) -> str:
        """Which call failed, and why, without the remedy."""
        return f"{self.operation} failed on {self.path}: {_why(self.operation, self.errno)}"

    def __str__(self) -> str:
        return f"{self.what}; {self.advice.format(remedy=_remedy(self.errno))}"


class LogWriteError(_SystemCallError):
    """A write or a sync of the log failed. The handle takes no further commands."""

    written = Written.UNKNOWN
    advice = "reopen the queue to recover what the disk holds"


class LogSpaceError(_SystemCallError):
    """The writer could not make the next segment, mostly for want of room.

    Nothing was written, and the caller can submit the command again.
    """

    advice = "nothing was written; {remedy}, then submit again"


class DisplacedError(WriterError):
    """The queue's directory was moved, removed or replaced under the open handle.

    Nothing was written to what stands at its path now. Submitting a command then poisons the
    handle: what it acknowledged before is in the directory that it was opened in, if that still
    exists. A snapshot or a compaction only fails.
    """

    path: str
    message = (
        "the directory at {path} is not the one that this queue was opened in, which was moved, "
        "removed or replaced; nothing was written there; close the queue, and open it where its "
        "directory is now"
    )


class SnapshotError(_SystemCallError):
    """A snapshot or a compaction failed.

    The queue stays open, and its log and older snapshots are as good as before.
    """

    advice = "the log and older snapshots are as they were; {remedy}, then try again"


class StoppedError(ActionQueueError):
    """A long operation stopped on request, or because the queue is being closed.

    Nothing of it has appeared.
    """

    message = "stopped before it was done; nothing was changed"


class LogCloseError(_SystemCallError):
    """Closing could not write the mark of a clean close.

    Every event is on stable storage, and the queue is released.
    """

    written = Written.YES
    advice = "every event is on stable storage and the queue is released; the next open recovers it"


class ClosedError(ActionQueueError):
    """The handle was closed."""

    message = "the queue was closed; open it again"


class ReentrantCallError(ActionQueueError):
    """The thread entered the lane from inside a call of its own.

    A signal handler, a finalizer, a writer or a projection did so.
    """

    message = (
        "entered from inside a call of the same thread (by a signal handler?); submit after that "
        "call"
    )


class PoisonedError(ActionQueueError):
    """Since an earlier failure it is unknown what the log holds: the handle takes no commands."""

    cause: BaseException | None = None

    def __str__(self) -> str:
        why = "" if self.cause is None else f" ({told(self.cause)})"
        return f"an earlier write or sync failed{why}; close the queue and open it again to recover"


class ForkedError(ActionQueueError):
    """The handle belongs to the parent process."""

    message = (
        "the queue was opened before a fork and belongs to the parent process; open it in the "
        "child after that"
    )


class TimestampWarning(UserWarning):
    """Runs ended more than a century after the clock's time.

    Their timestamps are not in seconds, but perhaps in milliseconds.
    """


class UnsafeDirectoryWarning(UserWarning):
    """Other users may put files into the queue's directory and take its own away.

    They may write to it, or it belongs to another user. A group of the owner alone (the primary
    one, with the user's name and no other member) does not count as another user.
    """


# Native modules raise these errors, and name values in them.
provide({name: globals()[name] for name in __all__})
provide({"host_name": host_name, "shown": shown})
