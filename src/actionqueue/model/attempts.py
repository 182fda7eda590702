"""Attempts to execute a run, and how they end."""

from enum import StrEnum
from typing import ClassVar, Self

from msgspec.structs import force_setattr

from _wal_native.fields import PresenceRule
from _wal_native.rules import attempt_count_is_full, state_allows
from actionqueue.errors import (
    AttemptCountOverflow,
    AttemptFinishAttemptMismatch,
    AttemptFinishMissingActive,
    AttemptFinishRequiresRunning,
    AttemptFinishUnknownRun,
    AttemptIdReused,
    AttemptStartAlreadyActive,
    AttemptStartRequiresRunning,
    AttemptStartUnknownRun,
    InvalidFieldError,
)
from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import U64, Blob, Checked, Text, Timestamp
from actionqueue.model.ids import AttemptId, RunId
from actionqueue.model.queries import ProjectionQueries
from actionqueue.vocabulary import vocabulary

__all__ = [
    "AppliedAttemptFinish",
    "AppliedAttemptStart",
    "AttemptFinishCommand",
    "AttemptFinished",
    "AttemptOutcome",
    "AttemptResultKind",
    "AttemptStartCommand",
    "AttemptStarted",
]


@vocabulary("result")
class AttemptResultKind(StrEnum):
    """How an attempt ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    SUSPENDED = "suspended"


# Looking a member up on its class costs as much as building the rest of an outcome.
_SUCCESS = AttemptResultKind.SUCCESS
_FAILURE = AttemptResultKind.FAILURE
_TIMEOUT = AttemptResultKind.TIMEOUT
_SUSPENDED = AttemptResultKind.SUSPENDED


class AttemptOutcome(Checked, frozen=True, gc=False):
    """How an attempt ended.

    Success and suspended may carry output bytes (no bytes are no output) and never an error;
    failure and timeout carry an error, which may be empty, and never output.
    """

    result: AttemptResultKind
    error: Text | None = None
    output: Blob | None = None

    _together: ClassVar[PresenceRule] = PresenceRule(
        "result",
        {"error": (_FAILURE, _TIMEOUT), "output": (_SUCCESS, _SUSPENDED)},
        required=("error",),
    )

    def _check_together(self) -> None:
        if self.result is _SUCCESS or self.result is _SUSPENDED:
            if self.error is not None:
                raise InvalidFieldError(
                    "AttemptOutcome", "error", self.error, f"{self.result} carries no error"
                )
            if self.output is not None and not self.output:
                force_setattr(self, "output", None)
        elif self.error is None:
            raise InvalidFieldError(
                "AttemptOutcome", "error", None, f"{self.result} needs an error"
            )
        elif self.output is not None:
            raise InvalidFieldError(
                "AttemptOutcome", "output", self.output, f"{self.result} carries no output"
            )

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


class AttemptStarted(Event, frozen=True):
    """An attempt of a run started."""

    kind = EventKind.ATTEMPT_STARTED
    run_id: RunId
    attempt_id: AttemptId
    timestamp: int


class AppliedAttemptStart(AppliedMutation, frozen=True):
    """An attempt started."""

    name = "attempt_start"
    run_id: RunId
    attempt_id: AttemptId


@registered
class AttemptStartCommand(MutationCommand, frozen=True, gc=False):
    """Start an attempt of a running run."""

    becomes = AttemptStarted
    tells = AppliedAttemptStart
    takes_short_way = True

    sequence: U64 | None
    run_id: RunId
    attempt_id: AttemptId
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        run_id = self.run_id
        state = projection.run_state(run_id)
        if state is None:
            raise AttemptStartUnknownRun(run_id=run_id)
        if not state_allows(AttemptStarted.kind, state):
            raise AttemptStartRequiresRunning(run_id=run_id, state=state)
        active = projection.active_attempt_id(run_id)
        if active is not None:
            raise AttemptStartAlreadyActive(run_id=run_id, active_attempt_id=active)
        if projection.attempt_was_used(run_id, self.attempt_id):
            raise AttemptIdReused(run_id=run_id, attempt_id=self.attempt_id)
        if attempt_count_is_full(projection.attempt_count(run_id)):
            raise AttemptCountOverflow(run_id=run_id)


class AttemptFinished(Event, frozen=True):
    """The active attempt of a run finished."""

    kind = EventKind.ATTEMPT_FINISHED
    run_id: RunId
    attempt_id: AttemptId
    result: AttemptResultKind
    error: str | None
    output: bytes | None
    timestamp: int


class AppliedAttemptFinish(AppliedMutation, frozen=True):
    """An attempt finished."""

    name = "attempt_finish"
    run_id: RunId
    attempt_id: AttemptId
    outcome: AttemptOutcome


@registered
class AttemptFinishCommand(MutationCommand, frozen=True, gc=False):
    """Finish the active attempt of a running run."""

    becomes = AttemptFinished
    tells = AppliedAttemptFinish
    takes_short_way = True

    sequence: U64 | None
    run_id: RunId
    attempt_id: AttemptId
    outcome: AttemptOutcome
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        run_id = self.run_id
        state = projection.run_state(run_id)
        if state is None:
            raise AttemptFinishUnknownRun(run_id=run_id)
        if not state_allows(AttemptFinished.kind, state):
            raise AttemptFinishRequiresRunning(run_id=run_id, state=state)
        active = projection.active_attempt_id(run_id)
        if active is None:
            raise AttemptFinishMissingActive(run_id=run_id)
        if active != self.attempt_id:
            raise AttemptFinishAttemptMismatch(
                run_id=run_id, expected_attempt_id=active, provided_attempt_id=self.attempt_id
            )

    def _event(self, sequence: int) -> AttemptFinished:
        outcome = self.outcome
        return AttemptFinished(
            sequence,
            self.run_id,
            self.attempt_id,
            outcome.result,
            outcome.error,
            outcome.output,
            self.timestamp,
        )

    @property
    def result(self) -> AttemptResultKind:
        """How the attempt ended."""
        return self.outcome.result

    @property
    def error(self) -> str | None:
        """The error of a failure or a timeout."""
        return self.outcome.error

    @property
    def output(self) -> bytes | None:
        """The output of a success or a suspension."""
        return self.outcome.output
