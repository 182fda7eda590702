"""The messages between the processes of the demo. Pipes carry them, pickled."""

from __future__ import annotations

from enum import Enum

import msgspec

from actionqueue.demo.record import Fact

__all__ = [
    "Acknowledged",
    "Counts",
    "Done",
    "Expired",
    "Finished",
    "Heartbeat",
    "Order",
    "OutOfBudget",
    "Quiet",
    "Recovered",
    "Result",
    "Retried",
    "Started",
    "Stopped",
    "Trouble",
]


class Trouble(msgspec.Struct, frozen=True):
    """Which files make trouble: at the first attempt only, except the one that always fails."""

    hangs: str
    fails_always: str
    fails_once: frozenset[str]


class Counts(msgspec.Struct, frozen=True):
    """The output of an attempt, stored as JSON."""

    lines: int
    functions: int
    classes: int


# --- Between scheduler and worker -----------------------------------------------------------------


class Heartbeat(msgspec.Struct, frozen=True):
    """The worker is alive, and works on its run."""


class Result(msgspec.Struct, frozen=True):
    """The result of the attempt: an output or an error."""

    output: bytes
    """No bytes where there is an error."""
    error: str | None
    size: int
    """Bytes of source that the worker read."""


# --- From supervisor to scheduler -----------------------------------------------------------------


class Order(Enum):
    """An operator's orders; and GO_ON, which confirms a run's end after the orders it caused."""

    PAUSE = "pause"
    RESUME = "resume"
    REPLENISH = "replenish"
    GO_ON = "go on"


# --- From scheduler to supervisor -----------------------------------------------------------------


class Recovered(msgspec.Struct, frozen=True):
    """The scheduler has opened its queue."""

    report: str
    finished: int
    """Runs that had ended before."""


class Acknowledged(msgspec.Struct, frozen=True):
    """What is on disk, because a call of the scheduler has returned."""

    facts: tuple[Fact, ...]


class Started(msgspec.Struct, frozen=True):
    """A worker got a run."""

    worker_pid: int
    path: str
    attempt: int


class Finished(msgspec.Struct, frozen=True):
    """A run came to its end."""

    path: str
    error: str | None
    """Why it failed for good; None if it completed."""


class Retried(msgspec.Struct, frozen=True):
    """An attempt failed; there will be another."""

    path: str


class Expired(msgspec.Struct, frozen=True):
    """A lease ran out; there will be another attempt."""

    path: str
    reason: str
    """It names the owner."""


class Quiet(msgspec.Struct, frozen=True):
    """The engine is paused and no worker works any more."""


class OutOfBudget(msgspec.Struct, frozen=True):
    """The scheduler leases nothing until it gets a new budget."""


class Stopped(msgspec.Struct, frozen=True):
    """The queue does not go on, and the scheduler has ended."""

    reason: str


class Done(msgspec.Struct, frozen=True):
    """Every run has come to its end."""

    fingerprint: str
    """The fingerprint of the scheduler's own projection."""
