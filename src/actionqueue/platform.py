"""Tenants, roles, capabilities and the ledger."""

from typing import TYPE_CHECKING, ClassVar, Self

from actionqueue.errors import InvalidFieldError
from actionqueue.fields import Blob, Checked, NonEmptyText, Text, Timestamp
from actionqueue.ids import ActorId, LedgerEntryId, TenantId

__all__ = ["Capability", "LedgerEntry", "Role", "TenantRegistration"]


class TenantRegistration(Checked, frozen=True, gc=False):
    """A tenant and its name."""

    tenant_id: TenantId
    name: NonEmptyText


class _Named(Checked, frozen=True, gc=False):
    """Base of roles and capabilities: one of a few fixed names, or a text of the application's own."""

    NAMES: ClassVar[tuple[str, ...]] = ()
    """The names that ``name`` may have, in the order of their codes in the log; the last is ``"custom"``."""

    name: Text
    text: NonEmptyText | None = None
    """The application's own text, where the name is ``"custom"``; else None."""

    def _check_together(self) -> None:
        cls = type(self)
        if self.name not in cls.NAMES:
            raise InvalidFieldError(cls.__name__, "name", self.name, f"must be one of {', '.join(cls.NAMES)}")
        if (self.name == "custom") != (self.text is not None):
            raise InvalidFieldError(
                cls.__name__, "text", self.text, "must be given with the name custom, and only then"
            )

    @classmethod
    def custom(cls, text: str) -> Self:
        """Return one of the application's own. Raises InvalidFieldError where the text is empty."""
        return cls("custom", text)


class Role(_Named, frozen=True, gc=False):
    """What an actor is in a tenant: ``Role.OPERATOR``, ``AUDITOR``, ``GATEKEEPER`` or ``Role.custom(text)``.

    No command asks for it: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    NAMES = ("operator", "auditor", "gatekeeper", "custom")

    OPERATOR: ClassVar["Role"]
    AUDITOR: ClassVar["Role"]
    GATEKEEPER: ClassVar["Role"]


class Capability(_Named, frozen=True, gc=False):
    """What an actor may do in a tenant: ``Capability.CAN_SUBMIT``, ... or ``Capability.custom(text)``.

    No command asks for it: docs/guide.md#what-the-queue-refuses-what-is-yours.
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
