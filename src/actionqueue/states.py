"""Run states, attempt results and durability: the small vocabularies, in the order of their codes in the log."""

from __future__ import annotations

from enum import StrEnum

from actionqueue.vocabulary import vocabulary

__all__ = ["AttemptResultKind", "DurabilityPolicy", "RunState"]


@vocabulary("state")
class RunState(StrEnum):
    """Where a run is in its life."""

    SCHEDULED = "scheduled"
    READY = "ready"
    LEASED = "leased"
    RUNNING = "running"
    RETRY_WAIT = "retry_wait"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def is_terminal(self) -> bool:
        """Whether a run never leaves this state: completed, failed and canceled."""
        return self in _TERMINAL


_TERMINAL = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.CANCELED})


@vocabulary("result")
class AttemptResultKind(StrEnum):
    """How an attempt ended."""

    SUCCESS = "success"
    FAILURE = "failure"
    TIMEOUT = "timeout"
    SUSPENDED = "suspended"


@vocabulary("durability")
class DurabilityPolicy(StrEnum):
    """When a submitted command is on stable storage."""

    IMMEDIATE = "immediate"
    """Before ``submit`` returns: it survives a killed process and a power loss."""
    DEFERRED = "deferred"
    """At the next sync: until then it survives a killed process, but not a power loss."""
