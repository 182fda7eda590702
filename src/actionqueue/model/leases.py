"""Leases: which owner may work on a run, and until when."""

from _wal_native.rules import lease_expiry_regresses, state_allows
from actionqueue.errors import (
    LeaseAlreadyActive,
    LeaseExpiryMismatch,
    LeaseHeartbeatExpiryRegression,
    LeaseInvalidRunState,
    LeaseMissingActive,
    LeaseOwnerMismatch,
    LeaseUnknownRun,
    LeaseValidationEvent,
)
from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import U64, Text, Timestamp
from actionqueue.model.ids import RunId
from actionqueue.model.queries import ProjectionQueries

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


# Members of an enumeration are looked up slowly on Python 3.11, module constants quickly.
_ACQUIRE = LeaseValidationEvent.ACQUIRE
_HEARTBEAT = LeaseValidationEvent.HEARTBEAT
_EXPIRE = LeaseValidationEvent.EXPIRE
_RELEASE = LeaseValidationEvent.RELEASE


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
    takes_short_way = True

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        run_id = self.run_id
        state = projection.run_state(run_id)
        if state is None:
            raise LeaseUnknownRun(run_id=run_id, event=_ACQUIRE)
        if not state_allows(LeaseAcquired.kind, state):
            raise LeaseInvalidRunState(run_id=run_id, event=_ACQUIRE, state=state)
        if projection.active_lease(run_id) is not None:
            raise LeaseAlreadyActive(run_id=run_id)


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
    takes_short_way = True

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        run_id = self.run_id
        state = projection.run_state(run_id)
        if state is None:
            raise LeaseUnknownRun(run_id=run_id, event=_HEARTBEAT)
        if not state_allows(LeaseHeartbeat.kind, state):
            raise LeaseInvalidRunState(run_id=run_id, event=_HEARTBEAT, state=state)
        lease = projection.active_lease(run_id)
        if lease is None:
            raise LeaseMissingActive(run_id=run_id, event=_HEARTBEAT)
        owner, expiry = lease
        if owner != self.owner:
            raise LeaseOwnerMismatch(run_id=run_id, event=_HEARTBEAT)
        if lease_expiry_regresses(expiry, self.expiry):
            raise LeaseHeartbeatExpiryRegression(
                run_id=run_id, previous_expiry=expiry, proposed_expiry=self.expiry
            )


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

    Whether it has run out is for the scheduler to know:
    docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    becomes = LeaseExpired
    tells = AppliedLeaseExpire
    takes_short_way = True

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        _check_close(self, projection, _EXPIRE)


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
    takes_short_way = True

    sequence: U64 | None
    run_id: RunId
    owner: Text
    expiry: Timestamp
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        _check_close(self, projection, _RELEASE)


def _check_close(
    command: LeaseExpireCommand | LeaseReleaseCommand,
    projection: ProjectionQueries,
    event: LeaseValidationEvent,
) -> None:
    run_id = command.run_id
    state = projection.run_state(run_id)
    if state is None:
        raise LeaseUnknownRun(run_id=run_id, event=event)
    if not state_allows(command.becomes.kind, state):
        raise LeaseInvalidRunState(run_id=run_id, event=event, state=state)
    lease = projection.active_lease(run_id)
    if lease is None:
        raise LeaseMissingActive(run_id=run_id, event=event)
    owner, expiry = lease
    if owner != command.owner:
        raise LeaseOwnerMismatch(run_id=run_id, event=event)
    if expiry != command.expiry:
        raise LeaseExpiryMismatch(
            run_id=run_id, event=event, expected_expiry=expiry, provided_expiry=command.expiry
        )
