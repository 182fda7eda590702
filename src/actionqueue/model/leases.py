"""Leases: who may work on a run, and until when."""

from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import U64, Text, Timestamp
from actionqueue.model.ids import RunId

__all__ = [
    "AppliedLeaseAcquire",
    "AppliedLeaseExpire",
    "AppliedLeaseHeartbeat",
    "AppliedLeaseRelease",
    "LeaseAcquireCommand",
    "LeaseAcquired",
    "LeaseExpireCommand",
    "LeaseExpired",
    "LeaseHeartbeat",
    "LeaseHeartbeatCommand",
    "LeaseReleaseCommand",
    "LeaseReleased",
]


class LeaseAcquired(Event, frozen=True):
    """An owner got a lease on a run."""

    kind = EventKind.LEASE_ACQUIRED
    run_id: RunId
    owner: str
    expiry: int
    timestamp: int


class AppliedLeaseAcquire(AppliedMutation, frozen=True):
    """An owner got a lease."""

    name = "lease_acquire"
    run_id: RunId
    owner: str
    expiry: int


@registered
class LeaseAcquireCommand(MutationCommand, frozen=True, gc=False):
    """Give an owner a lease on a ready or leased run, until the expiry (Unix seconds).

    It stays until a command drops it: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    becomes = LeaseAcquired
    tells = AppliedLeaseAcquire

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp


class LeaseHeartbeat(Event, frozen=True):
    """A lease was extended."""

    kind = EventKind.LEASE_HEARTBEAT
    run_id: RunId
    owner: str
    expiry: int
    timestamp: int


class AppliedLeaseHeartbeat(AppliedMutation, frozen=True):
    """A lease was extended."""

    name = "lease_heartbeat"
    run_id: RunId
    owner: str
    expiry: int


@registered
class LeaseHeartbeatCommand(MutationCommand, frozen=True, gc=False):
    """Extend the owner's lease on a leased or running run to a later expiry."""

    becomes = LeaseHeartbeat
    tells = AppliedLeaseHeartbeat

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp


class LeaseExpired(Event, frozen=True):
    """A lease ran out."""

    kind = EventKind.LEASE_EXPIRED
    run_id: RunId
    owner: str
    expiry: int
    timestamp: int


class AppliedLeaseExpire(AppliedMutation, frozen=True):
    """A lease ran out."""

    name = "lease_expire"
    run_id: RunId
    owner: str
    expiry: int


@registered
class LeaseExpireCommand(MutationCommand, frozen=True, gc=False):
    """Drop a lease, named by its exact owner and expiry.

    Whether it has run out is for the scheduler to know: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    becomes = LeaseExpired
    tells = AppliedLeaseExpire

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp


class LeaseReleased(Event, frozen=True):
    """A lease was given back."""

    kind = EventKind.LEASE_RELEASED
    run_id: RunId
    owner: str
    expiry: int
    timestamp: int


class AppliedLeaseRelease(AppliedMutation, frozen=True):
    """A lease was given back."""

    name = "lease_release"
    run_id: RunId
    owner: str
    expiry: int


@registered
class LeaseReleaseCommand(MutationCommand, frozen=True, gc=False):
    """Give a lease back, named by its exact owner and expiry."""

    becomes = LeaseReleased
    tells = AppliedLeaseRelease

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp
