"""Tenants, roles, capabilities and the ledger."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

from actionqueue.errors import InvalidFieldError
from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import U64, Blob, Checked, NonEmptyText, Text, Timestamp
from actionqueue.model.forms import Keys, fields_to_json
from actionqueue.model.ids import ActorId, LedgerEntryId, TenantId

__all__ = [
    "AppliedCapabilityGrant",
    "AppliedCapabilityRevoke",
    "AppliedLedgerAppend",
    "AppliedRoleAssign",
    "AppliedTenantCreate",
    "Capability",
    "CapabilityGrantCommand",
    "CapabilityGranted",
    "CapabilityRevokeCommand",
    "CapabilityRevoked",
    "LedgerAppendCommand",
    "LedgerEntry",
    "LedgerEntryAppended",
    "Role",
    "RoleAssignCommand",
    "RoleAssigned",
    "TenantCreateCommand",
    "TenantCreated",
    "TenantRegistration",
]


class TenantRegistration(Checked, frozen=True, gc=False):
    """A tenant and its name."""

    tenant_id: TenantId
    name: NonEmptyText


class TenantCreated(Event, frozen=True):
    """A tenant was created."""

    kind = EventKind.TENANT_CREATED
    tenant_id: TenantId
    name: str
    timestamp: int


class AppliedTenantCreate(AppliedMutation, frozen=True):
    """A tenant was created, or replaced."""

    name = "tenant_create"
    tenant_id: TenantId


@registered
class TenantCreateCommand(MutationCommand, frozen=True, gc=False):
    """Create a tenant, or replace it."""

    becomes = TenantCreated
    tells = AppliedTenantCreate

    sequence: U64 | None
    registration: TenantRegistration
    timestamp: Timestamp

    def _event(self, sequence: int) -> TenantCreated:
        registration = self.registration
        return TenantCreated(sequence, registration.tenant_id, registration.name, self.timestamp)

    def _applied(self) -> AppliedTenantCreate:
        return AppliedTenantCreate(self.registration.tenant_id)

    @classmethod
    def _from_keys(cls, keys: Keys) -> Self:
        sequence, timestamp = keys.take("sequence", None), keys.take("timestamp")
        registration = TenantRegistration(**keys.fields(TenantRegistration))
        return cls(sequence, registration, timestamp)

    def _to_keys(self) -> dict[str, Any]:
        written = fields_to_json(self.registration)
        return {"sequence": self.sequence, **written, "timestamp": self.timestamp}


class _Named(Checked, frozen=True, gc=False):
    """Base of roles and capabilities: one of a few names, or a text of the application's own."""

    NAMES: ClassVar[tuple[str, ...]] = ()
    """The names that ``name`` may have, in the order of their codes in the log; the last is
    ``"custom"``."""

    name: Text
    text: NonEmptyText | None = None
    """The application's own text, where the name is ``"custom"``; else None."""

    def _check_together(self) -> None:
        cls = type(self)
        if self.name not in cls.NAMES:
            raise InvalidFieldError(
                cls.__name__, "name", self.name, f"must be one of {', '.join(cls.NAMES)}"
            )
        if (self.name == "custom") != (self.text is not None):
            raise InvalidFieldError(
                cls.__name__, "text", self.text, "must be given with the name custom, and only then"
            )

    @classmethod
    def custom(cls, text: str) -> Self:
        """Return one of the application's own. Raises InvalidFieldError where the text is empty."""
        return cls("custom", text)

    @classmethod
    def _from_json(cls, where: str, key: str, value: Any) -> Self:
        if isinstance(value, str) and value != "custom":
            return cls(value)
        keys = Keys(f"{where}.{key}", value)
        made = cls.custom(keys.take("custom"))
        keys.finish()
        return made

    def _to_json(self) -> str | dict[str, str]:
        return self.name if self.text is None else {"custom": self.text}


class Role(_Named, frozen=True, gc=False):
    """What an actor is in a tenant.

    It is ``Role.OPERATOR``, ``Role.AUDITOR``, ``Role.GATEKEEPER`` or ``Role.custom(text)``. No
    command asks for it: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    NAMES = ("operator", "auditor", "gatekeeper", "custom")

    OPERATOR: ClassVar["Role"]
    AUDITOR: ClassVar["Role"]
    GATEKEEPER: ClassVar["Role"]


class Capability(_Named, frozen=True, gc=False):
    """What an actor may do in a tenant.

    It is ``Capability.CAN_SUBMIT`` or another of the members, or ``Capability.custom(text)``. No
    command asks for it: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    NAMES = ("can_submit", "can_execute", "can_review", "can_approve", "can_cancel", "custom")

    CAN_SUBMIT: ClassVar["Capability"]
    CAN_EXECUTE: ClassVar["Capability"]
    CAN_REVIEW: ClassVar["Capability"]
    CAN_APPROVE: ClassVar["Capability"]
    CAN_CANCEL: ClassVar["Capability"]


for _kind in (Role, Capability):
    for _name in _kind.NAMES[:-1]:
        setattr(_kind, _name.upper(), _kind(_name))


class RoleAssigned(Event, frozen=True):
    """An actor got its role in a tenant."""

    kind = EventKind.ROLE_ASSIGNED
    actor_id: ActorId
    role: Role
    tenant_id: TenantId
    timestamp: int


class AppliedRoleAssign(AppliedMutation, frozen=True):
    """An actor got its role in a tenant, in place of the one that it had there."""

    name = "role_assign"
    actor_id: ActorId
    role: Role
    tenant_id: TenantId


@registered
class RoleAssignCommand(MutationCommand, frozen=True, gc=False):
    """Give an actor its role in a tenant."""

    becomes = RoleAssigned
    tells = AppliedRoleAssign

    sequence: U64 | None
    actor_id: ActorId
    role: Role
    tenant_id: TenantId
    timestamp: Timestamp


class CapabilityGranted(Event, frozen=True):
    """An actor got a capability in a tenant."""

    kind = EventKind.CAPABILITY_GRANTED
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId
    timestamp: int


class AppliedCapabilityGrant(AppliedMutation, frozen=True):
    """An actor got a capability in a tenant."""

    name = "capability_grant"
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId


@registered
class CapabilityGrantCommand(MutationCommand, frozen=True, gc=False):
    """Grant an actor a capability in a tenant."""

    becomes = CapabilityGranted
    tells = AppliedCapabilityGrant

    sequence: U64 | None
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId
    timestamp: Timestamp


class CapabilityRevoked(Event, frozen=True):
    """An actor lost a capability in a tenant."""

    kind = EventKind.CAPABILITY_REVOKED
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId
    timestamp: int


class AppliedCapabilityRevoke(AppliedMutation, frozen=True):
    """An actor lost a capability in a tenant.

    Of one that was never granted only the log keeps that.
    """

    name = "capability_revoke"
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId


@registered
class CapabilityRevokeCommand(MutationCommand, frozen=True, gc=False):
    """Revoke a capability of an actor in a tenant."""

    becomes = CapabilityRevoked
    tells = AppliedCapabilityRevoke

    sequence: U64 | None
    actor_id: ActorId
    capability: Capability
    tenant_id: TenantId
    timestamp: Timestamp


class LedgerEntry(Checked, frozen=True, gc=False):
    """A line in a tenant's ledger. The log keeps the command's timestamp, not the entry's."""

    entry_id: LedgerEntryId
    tenant_id: TenantId
    ledger_key: NonEmptyText
    actor_id: ActorId | None
    payload: Blob
    timestamp: Timestamp

    if TYPE_CHECKING:

        def __init__(
            self,
            entry_id: LedgerEntryId,
            tenant_id: TenantId,
            ledger_key: str,
            actor_id: ActorId | None,
            payload: bytes | bytearray | memoryview,
            timestamp: int,
        ) -> None: ...


_KEYS = ("entry_id", "tenant_id", "ledger_key", "actor_id", "payload")
"""The fields of an entry as they lie in the command's JSON object."""


class LedgerEntryAppended(Event, frozen=True):
    """An entry was appended to a tenant's ledger."""

    kind = EventKind.LEDGER_ENTRY_APPENDED
    entry_id: LedgerEntryId
    tenant_id: TenantId
    ledger_key: str
    actor_id: ActorId | None
    payload: bytes
    timestamp: int


class AppliedLedgerAppend(AppliedMutation, frozen=True):
    """A tenant's ledger got an entry."""

    name = "ledger_append"
    entry_id: LedgerEntryId
    tenant_id: TenantId


@registered
class LedgerAppendCommand(MutationCommand, frozen=True, gc=False):
    """Append an entry to a tenant's ledger.

    The log keeps this command's timestamp, not the entry's.
    """

    becomes = LedgerEntryAppended
    tells = AppliedLedgerAppend

    sequence: U64 | None
    entry: LedgerEntry
    timestamp: Timestamp

    def _event(self, sequence: int) -> LedgerEntryAppended:
        entry = self.entry
        # The log keeps the command's timestamp, and not the entry's.
        return LedgerEntryAppended(
            sequence,
            entry.entry_id,
            entry.tenant_id,
            entry.ledger_key,
            entry.actor_id,
            entry.payload,
            self.timestamp,
        )

    def _applied(self) -> AppliedLedgerAppend:
        return AppliedLedgerAppend(self.entry.entry_id, self.entry.tenant_id)

    @classmethod
    def _from_keys(cls, keys: Keys) -> Self:
        sequence, timestamp = keys.take("sequence", None), keys.take("timestamp")
        entry_timestamp = keys.take("entry_timestamp", timestamp)
        entry = LedgerEntry(**keys.fields(LedgerEntry, *_KEYS), timestamp=entry_timestamp)
        return cls(sequence, entry, timestamp)

    def _to_keys(self) -> dict[str, Any]:
        written = fields_to_json(self.entry, *_KEYS)
        keys = {"sequence": self.sequence, **written, "timestamp": self.timestamp}
        if self.entry.timestamp != self.timestamp:
            keys["entry_timestamp"] = self.entry.timestamp
        return keys
