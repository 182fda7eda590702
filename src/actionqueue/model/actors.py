"""Actors, which execute runs, and what they are capable of."""

from typing import TYPE_CHECKING, Annotated, Any, Self

from _wal_native.fields import ConvertRule, SizeRule
from actionqueue.limits import DEPARTMENT_SIZE_MAX
from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import (
    U64,
    Checked,
    NonEmptyText,
    NonEmptyTexts,
    PositiveU64,
    Timestamp,
)
from actionqueue.model.forms import Keys, fields_to_json
from actionqueue.model.ids import ActorId, TenantId

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ActorDeregisterCommand",
    "ActorDeregistered",
    "ActorHeartbeat",
    "ActorHeartbeatCommand",
    "ActorRegisterCommand",
    "ActorRegistered",
    "ActorRegistration",
    "AppliedActorDeregister",
    "AppliedActorHeartbeat",
    "AppliedActorRegister",
    "DepartmentId",
]


class DepartmentId(Checked, frozen=True, gc=False):
    """The name of a department: 1 to 128 bytes of UTF-8."""

    value: Annotated[str, SizeRule(1, DEPARTMENT_SIZE_MAX)]

    def __str__(self) -> str:
        return self.value


class ActorRegistration(Checked, frozen=True, gc=False):
    """What an actor says about itself. A plain string stands for a department."""

    actor_id: ActorId
    identity: NonEmptyText
    capabilities: NonEmptyTexts
    """What the scheduler is to compare with a task's required capabilities:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    heartbeat_interval_secs: PositiveU64
    """Seconds between the heartbeats that the actor promises, at least 1:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    department: Annotated[DepartmentId, ConvertRule((str,), DepartmentId)] | None = None
    tenant_id: TenantId | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            actor_id: ActorId,
            identity: str,
            capabilities: Sequence[str],
            heartbeat_interval_secs: int,
            department: DepartmentId | str | None = None,
            tenant_id: TenantId | None = None,
        ) -> None: ...


_KEYS = (
    "actor_id",
    "identity",
    "capabilities",
    "department",
    "heartbeat_interval_secs",
    "tenant_id",
)
"""The fields of a registration as they lie in the command's JSON object."""


class ActorRegistered(Event, frozen=True):
    """An actor was registered."""

    kind = EventKind.ACTOR_REGISTERED
    actor_id: ActorId
    identity: str
    capabilities: tuple[str, ...]
    department: str | None
    heartbeat_interval_secs: int
    tenant_id: TenantId | None
    timestamp: int


class AppliedActorRegister(AppliedMutation, frozen=True):
    """An actor was registered, or its registration was replaced."""

    name = "actor_register"
    actor_id: ActorId


@registered
class ActorRegisterCommand(MutationCommand, frozen=True, gc=False):
    """Register an actor, or replace its registration."""

    becomes = ActorRegistered
    tells = AppliedActorRegister

    sequence: U64 | None
    registration: ActorRegistration
    timestamp: Timestamp

    def _event(self, sequence: int) -> ActorRegistered:
        registration = self.registration
        department = registration.department
        return ActorRegistered(
            sequence,
            registration.actor_id,
            registration.identity,
            registration.capabilities,
            None if department is None else department.value,
            registration.heartbeat_interval_secs,
            registration.tenant_id,
            self.timestamp,
        )

    def _applied(self) -> AppliedActorRegister:
        return AppliedActorRegister(self.registration.actor_id)

    @classmethod
    def _from_keys(cls, keys: Keys) -> Self:
        sequence, timestamp = keys.take("sequence", None), keys.take("timestamp")
        fields = keys.fields(ActorRegistration, *_KEYS)
        return cls(sequence, ActorRegistration(**fields), timestamp)

    def _to_keys(self) -> dict[str, Any]:
        written = fields_to_json(self.registration, *_KEYS)
        department = self.registration.department
        written["department"] = None if department is None else department.value
        return {"sequence": self.sequence, **written, "timestamp": self.timestamp}


class ActorDeregistered(Event, frozen=True):
    """An actor left."""

    kind = EventKind.ACTOR_DEREGISTERED
    actor_id: ActorId
    timestamp: int


class AppliedActorDeregister(AppliedMutation, frozen=True):
    """An actor left. Of one that never registered only the log keeps that."""

    name = "actor_deregister"
    actor_id: ActorId


@registered
class ActorDeregisterCommand(MutationCommand, frozen=True, gc=False):
    """Record that an actor left."""

    becomes = ActorDeregistered
    tells = AppliedActorDeregister

    sequence: U64 | None
    actor_id: ActorId
    timestamp: Timestamp


class ActorHeartbeat(Event, frozen=True):
    """An actor was alive."""

    kind = EventKind.ACTOR_HEARTBEAT
    actor_id: ActorId
    timestamp: int


class AppliedActorHeartbeat(AppliedMutation, frozen=True):
    """An actor was alive. Of one that never registered only the log keeps that."""

    name = "actor_heartbeat"
    actor_id: ActorId


@registered
class ActorHeartbeatCommand(MutationCommand, frozen=True, gc=False):
    """Record that an actor is alive."""

    becomes = ActorHeartbeat
    tells = AppliedActorHeartbeat

    sequence: U64 | None
    actor_id: ActorId
    timestamp: Timestamp
