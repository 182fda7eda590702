"""Actors: who executes runs, and what they are capable of."""

from typing import TYPE_CHECKING, Annotated

from _wal_native.fields import ConvertRule, SizeRule
from actionqueue.fields import Checked, NonEmptyText, NonEmptyTexts, PositiveU64
from actionqueue.ids import ActorId, TenantId
from actionqueue.limits import DEPARTMENT_SIZE_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ActorRegistration", "DepartmentId"]


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
    """What the scheduler is to compare with a task's required capabilities: docs/guide.md#what-the-queue-refuses-what-is-yours."""
    heartbeat_interval_secs: PositiveU64
    """Seconds between the heartbeats that the actor promises, at least 1: docs/guide.md#what-the-queue-refuses-what-is-yours."""
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
