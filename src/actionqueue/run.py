"""Runs, the scheduled occurrences of a task, and how their attempts end."""

from typing import Annotated, ClassVar, Self

from msgspec.structs import force_setattr

from _wal_native.fields import NotNilRule, PresenceRule
from actionqueue.errors import InvalidFieldError
from actionqueue.fields import I32, U32, Blob, Checked, Text, Timestamp
from actionqueue.ids import AttemptId, RunId, TaskId
from actionqueue.states import AttemptResultKind, RunState

__all__ = ["AttemptOutcome", "RunInstance"]

# Looking a member up on its class costs as much as building the rest of a run or an outcome.
_SCHEDULED = RunState.SCHEDULED
_READY = RunState.READY
_SUCCESS = AttemptResultKind.SUCCESS
_FAILURE = AttemptResultKind.FAILURE
_TIMEOUT = AttemptResultKind.TIMEOUT
_SUSPENDED = AttemptResultKind.SUSPENDED


class RunInstance(Checked, frozen=True, gc=False):
    """A run as the projection keeps it. New ones are made by :meth:`scheduled` or :meth:`ready`."""

    id: Annotated[RunId, NotNilRule()]
    task_id: Annotated[TaskId, NotNilRule()]
    state: RunState
    current_attempt_id: AttemptId | None
    attempt_count: U32
    created_at: Timestamp
    scheduled_at: Timestamp
    """When the scheduler is to make it ready; before is taken too: docs/guide.md#what-the-queue-refuses-what-is-yours."""
    effective_priority: I32
    """The scheduler is to run higher ones first; no query orders by it: docs/guide.md#what-the-queue-refuses-what-is-yours."""
    last_state_change_at: Timestamp

    @classmethod
    def scheduled(cls, task_id: TaskId, *, scheduled_at: int, created_at: int, id: RunId | None = None) -> Self:
        """Return a new run in the state scheduled, with a new identifier unless one is given.

        Times are Unix seconds. Raises InvalidFieldError for nil identifiers.
        """
        return cls(
            RunId() if id is None else id,
            task_id,
            _SCHEDULED,
            None,
            0,
            created_at,
            scheduled_at,
            0,
            created_at,
        )

    @classmethod
    def ready(
        cls,
        task_id: TaskId,
        *,
        scheduled_at: int,
        created_at: int,
        effective_priority: int,
        id: RunId | None = None,
    ) -> Self:
        """Return a new run in the state ready, which no queue accepts: it takes new runs as scheduled only.

        Raises InvalidFieldError for nil identifiers, and where the run is scheduled for after its creation.
        """
        run = cls(
            RunId() if id is None else id,
            task_id,
            _READY,
            None,
            0,
            created_at,
            scheduled_at,
            effective_priority,
            created_at,
        )
        if scheduled_at > created_at:
            reason = f"a run that is ready cannot be scheduled for after its creation at {created_at}"
            raise InvalidFieldError("RunInstance", "scheduled_at", scheduled_at, reason)
        return run

    @property
    def is_terminal(self) -> bool:
        """Whether the run is completed, failed or canceled."""
        return self.state.is_terminal


class AttemptOutcome(Checked, frozen=True, gc=False):
    """How an attempt ended.

    Success and suspended may carry output bytes (no bytes are no output) and never an error; failure and timeout carry
    an error, which may be empty, and never output.
    """

    result: AttemptResultKind
    error: Text | None = None
    output: Blob | None = None

    _together: ClassVar[PresenceRule] = PresenceRule(
        "result", {"error": (_FAILURE, _TIMEOUT), "output": (_SUCCESS, _SUSPENDED)}, required=("error",)
    )

    def _check_together(self) -> None:
        if self.result is _SUCCESS or self.result is _SUSPENDED:
            if self.error is not None:
                raise InvalidFieldError("AttemptOutcome", "error", self.error, f"{self.result} carries no error")
            if self.output is not None and not self.output:
                force_setattr(self, "output", None)
        elif self.error is None:
            raise InvalidFieldError("AttemptOutcome", "error", None, f"{self.result} needs an error")
        elif self.output is not None:
            raise InvalidFieldError("AttemptOutcome", "output", self.output, f"{self.result} carries no output")

    @classmethod
    def success(cls, output: bytes | None = None) -> Self:
        """Return the outcome of an attempt that did its work."""
        return cls(_SUCCESS, None, output)

    @classmethod
    def failure(cls, error: str) -> Self:
        """Return the outcome of an attempt that failed."""
        return cls(_FAILURE, error)

    @classmethod
    def timeout(cls, error: str) -> Self:
        """Return the outcome of an attempt that took too long."""
        return cls(_TIMEOUT, error)

    @classmethod
    def suspended(cls, output: bytes | None = None) -> Self:
        """Return the outcome of an attempt that stopped to go on later."""
        return cls(_SUSPENDED, None, output)
