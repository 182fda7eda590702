"""The identifier types: UUIDs that cannot be mistaken for each other."""

from _wal_native.ids import (
    ActorId,
    AttemptId,
    Identifier,
    LedgerEntryId,
    RunId,
    SubscriptionId,
    TaskId,
    TenantId,
)

__all__ = [
    "ActorId",
    "AttemptId",
    "Identifier",
    "LedgerEntryId",
    "RunId",
    "SubscriptionId",
    "TaskId",
    "TenantId",
]
