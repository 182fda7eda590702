"""The engine, which a scheduler may pause."""

from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import U64, Timestamp

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
    """Pause the engine. Commands are taken as before: docs/guide.md#what-the-queue-refuses-what-is-yours."""

    becomes = EnginePaused
    tells = AppliedEnginePause

    sequence: U64 | None
    timestamp: Timestamp


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
