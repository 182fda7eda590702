"""The engine, which a scheduler may pause."""

from _wal_native.rules import resume_precedes_pause
from actionqueue.errors import EngineAlreadyPaused, EngineNotPaused, EngineResumeBeforePause
from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import U64, Timestamp
from actionqueue.model.queries import ProjectionQueries

__all__ = [
    "AppliedEnginePause",
    "AppliedEngineResume",
    "EnginePauseCommand",
    "EnginePaused",
    "EngineResumeCommand",
    "EngineResumed",
]


class EnginePaused(Event, frozen=True):
    """The engine was paused."""

    kind = EventKind.ENGINE_PAUSED
    timestamp: int


class AppliedEnginePause(AppliedMutation, frozen=True):
    """The engine was paused."""

    name = "engine_pause"


@registered
class EnginePauseCommand(MutationCommand, frozen=True, gc=False):
    """Pause the engine.

    Commands are taken as before: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    becomes = EnginePaused
    tells = AppliedEnginePause

    sequence: U64 | None
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        if projection.is_engine_paused():
            raise EngineAlreadyPaused


class EngineResumed(Event, frozen=True):
    """The engine was resumed."""

    kind = EventKind.ENGINE_RESUMED
    timestamp: int


class AppliedEngineResume(AppliedMutation, frozen=True):
    """The engine was resumed."""

    name = "engine_resume"


@registered
class EngineResumeCommand(MutationCommand, frozen=True, gc=False):
    """Resume the paused engine, at a time not before its pause."""

    becomes = EngineResumed
    tells = AppliedEngineResume

    sequence: U64 | None
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        if not projection.is_engine_paused():
            raise EngineNotPaused
        paused_at = projection.engine_paused_at()
        if paused_at is not None and resume_precedes_pause(paused_at, self.timestamp):
            raise EngineResumeBeforePause(paused_at=paused_at, resumed_at=self.timestamp)
