"""Every error that the library raises, with typed fields.

All derive from :class:`ActionQueueError`. Two errors are equal when they have the same type and the
same fields. Errors can be pickled and copied. Each says in :attr:`ActionQueueError.written` whether
the refused or failed command may be in the log. The tree of them::

    ActionQueueError                      base.py
    |-- InvalidFieldError                 values.py     a value that a call does not accept
    |   `-- InvalidFieldTypeError                       ... nor any other of its type
    |-- MalformedEventError                             bytes that are no event
    |-- RefusedEventError                               an event that the projection refuses
    |-- MutationError                     base.py       submitting a command
    |   |-- ValidationError               refusals.py   the projection does not allow it now:
    |   |   |-- UnknownRun, TaskAlreadyExists ...       one class for each reason
    |   |   `-- SchedulingError           scheduling.py a scheduler does not do it now:
    |   |       `-- AttemptsExhausted, ClaimLost ...
    |   |-- AppendError                   writing.py    it was not appended
    |   |-- PartialDurabilityError                      it was appended, but not synced
    |   `-- ApplyError                                  it was appended, but not applied
    |-- OpenError                         opening.py    opening and reading a queue:
    |   `-- LockedError, CorruptLogError ...            one class for each reason
    |-- WriterError                       writing.py    the native writer
    |   |-- LogWriteError, LogSpaceError, LogCloseError, SnapshotError
    |   `-- DisplacedError
    |-- StoreError                        stores.py     a log in a replicated engine:
    |   `-- FencedError, OutcomeUnknownError ...          one class for each reason
    `-- ClosedError, PoisonedError, ForkedError, ReentrantCallError, StoppedError
                                          handle.py     the open queue takes no such call

Where a failure is one of a system call, ``system_calls.py`` says what it means and what to do.
"""

from __future__ import annotations

from _wal_native.above import provide
from actionqueue.errors.base import *
from actionqueue.errors.handle import *
from actionqueue.errors.opening import *
from actionqueue.errors.refusals import *
from actionqueue.errors.scheduling import *
from actionqueue.errors.stores import *
from actionqueue.errors.system_calls import ensure_from_system
from actionqueue.errors.values import *
from actionqueue.errors.writing import *
from actionqueue.texts import host_name, shown

__all__ = [
    "AcknowledgedLostError",
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
    "AttemptsExhausted",
    "BudgetNotAllocated",
    "ClaimLost",
    "ClosedError",
    "CompactedError",
    "CorruptLogError",
    "DamagedGroupError",
    "DependencyCycle",
    "DisplacedError",
    "EmptyDependencyList",
    "EngineAlreadyPaused",
    "EngineNotPaused",
    "EngineResumeBeforePause",
    "FencedError",
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
    "NotWaitingForTime",
    "OpenError",
    "OpenIOError",
    "OtherLogError",
    "OutcomeUnknownError",
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
    "SchedulingError",
    "SequenceOverflow",
    "SnapshotError",
    "StandbyError",
    "StoppedError",
    "StoreError",
    "StoreFullError",
    "StoreUnavailableError",
    "StoreUnsafeError",
    "SubscriptionAlreadyCanceled",
    "SubscriptionAlreadyExists",
    "TaskAlreadyCanceled",
    "TaskAlreadyExists",
    "TaskForgotten",
    "TermHeldError",
    "TimestampWarning",
    "TrimmedError",
    "UnknownLogError",
    "UnknownRun",
    "UnknownSubscription",
    "UnknownTask",
    "UnsafeDirectoryWarning",
    "UnsupportedFormatError",
    "ValidationError",
    "WriterError",
    "Written",
]

# Pickles name the package, in whichever of its files a class is.
for _name in __all__:
    globals()[_name].__module__ = __name__
del _name

# Native modules raise these errors, and name values in them.
provide({name: globals()[name] for name in __all__})
provide({"ensure_from_system": ensure_from_system, "host_name": host_name, "shown": shown})
