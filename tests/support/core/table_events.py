"""Events for tables: numbered, along a run's path, of every kind; what the model says of one."""

from __future__ import annotations

from itertools import pairwise

import actionqueue as aq
from actionqueue import (
    ActorId,
    AttemptId,
    AttemptResultKind,
    BudgetDimension,
    Capability,
    EventFilter,
    LedgerEntryId,
    Role,
    RunInstance,
    RunState,
    SubscriptionId,
    TaskSpec,
    TenantId,
)
from actionqueue.errors import RefusedEventError
from tests.support.model import Model

S = RunState


def apply_to(model: Model, event: aq.Event) -> str:
    """Return what the table must answer."""
    try:
        model.apply_event(event)
    except RefusedEventError as error:
        return f"refused_{error.rule}"
    return "ok"


def path_to(run: RunInstance, *states: RunState) -> list[aq.Event]:
    """Return the changes of a new run through the states; sequences are filled in by `numbered`."""
    path = [S.SCHEDULED, *states]
    return [aq.RunStateChanged(0, run.id, before, after, 10) for before, after in pairwise(path)]


def numbered(*events: aq.Event, first: int = 1) -> list[aq.Event]:
    return [_with_sequence(event, first + i) for i, event in enumerate(events)]


def _with_sequence(event: aq.Event, sequence: int) -> aq.Event:
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return type(event)(**{**fields, "sequence": sequence})


def every_kind() -> list[aq.Event]:
    """Return events of every kind that can be applied one after the other."""
    task, other = TaskSpec(payload=b"x" * 70_000), TaskSpec(payload=b"y")
    child = TaskSpec(payload=b"z", parent_task_id=task.id)
    sibling = TaskSpec(payload=b"z", parent_task_id=task.id)
    run = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    second = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    attempts = AttemptId(), AttemptId()
    actor, tenant, subscription, token = (
        ActorId(),
        TenantId(),
        SubscriptionId(),
        BudgetDimension.TOKEN,
    )
    gone, unsubscribed = ActorId(), SubscriptionId()
    grant = (actor, Capability.custom("deploy"), tenant)
    lease = (run.id, "owner")
    return numbered(
        aq.TaskCreated(0, task, 1),
        aq.TaskCreated(0, other, 1),
        aq.TaskCreated(0, child, 1),
        aq.TaskCreated(0, sibling, 1),
        aq.RunCreated(0, run),
        aq.RunCreated(0, second),
        *path_to(run, S.READY),
        aq.LeaseAcquired(0, *lease, 90, 1),
        aq.RunStateChanged(0, run.id, S.READY, S.LEASED, 1),
        aq.LeaseHeartbeat(0, *lease, 95, 2),
        aq.RunStateChanged(0, run.id, S.LEASED, S.RUNNING, 2),
        aq.AttemptStarted(0, run.id, attempts[0], 3),
        aq.AttemptFinished(0, run.id, attempts[0], AttemptResultKind.FAILURE, "error", None, 4),
        aq.RunSuspended(0, run.id, "reason", 5),
        aq.RunRescheduled(0, run.id, 7, -1, 5),
        aq.RunResumed(0, run.id, 6),
        aq.LeaseReleased(0, *lease, 95, 6),
        aq.LeaseAcquired(0, *lease, 96, 6),
        aq.LeaseExpired(0, *lease, 96, 6),
        aq.LeaseAcquired(0, *lease, 97, 6),
        aq.RunStateChanged(0, run.id, S.READY, S.LEASED, 7),
        aq.RunStateChanged(0, run.id, S.LEASED, S.RUNNING, 7),
        aq.AttemptStarted(0, run.id, attempts[1], 8),
        aq.AttemptFinished(0, run.id, attempts[1], AttemptResultKind.SUCCESS, None, b"output", 9),
        aq.RunStateChanged(0, run.id, S.RUNNING, S.COMPLETED, 9),
        aq.RunCanceled(0, second.id, 9),
        aq.TaskCanceled(0, task.id, 9),
        aq.DependencyDeclared(0, task.id, (other.id, other.id), 9),
        aq.DependencyDeclared(0, task.id, (other.id, child.id), 9),
        aq.BudgetAllocated(0, task.id, token, 5, 9),
        aq.BudgetConsumed(0, task.id, token, 2, 9),
        aq.BudgetExhausted(0, task.id, token, 9),
        aq.BudgetReplenished(0, task.id, token, 6, 9),
        aq.BudgetAllocated(0, task.id, token, 7, 9),
        aq.SubscriptionCreated(0, subscription, task.id, EventFilter.task_completed(other.id), 9),
        aq.SubscriptionTriggered(0, subscription, 9),
        aq.SubscriptionCanceled(0, subscription, 9),
        aq.ActorRegistered(0, actor, "one", ("a",), None, 1, None, 9),
        aq.ActorHeartbeat(0, actor, 9),
        aq.ActorDeregistered(0, actor, 9),
        aq.ActorRegistered(0, actor, "another", ("a", "b"), "department", 2, tenant, 10),
        aq.TenantCreated(0, tenant, "name", 10),
        aq.TenantCreated(0, tenant, "a longer name", 11),
        aq.RoleAssigned(0, actor, Role.OPERATOR, tenant, 11),
        aq.RoleAssigned(0, actor, Role.custom("captain"), tenant, 12),
        aq.CapabilityGranted(0, *grant, 12),
        aq.CapabilityRevoked(0, *grant, 13),
        aq.CapabilityGranted(0, *grant, 14),
        aq.LedgerEntryAppended(0, LedgerEntryId(), tenant, "key", actor, b"payload", 14),
        aq.ActorRegistered(0, gone, "gone", ("a",), None, 1, None, 14),
        aq.RoleAssigned(0, gone, Role.OPERATOR, tenant, 14),
        aq.RoleAssigned(0, gone, Role.OPERATOR, TenantId(), 14),
        aq.CapabilityGranted(0, gone, *grant[1:], 14),
        aq.ActorDeregistered(0, gone, 14),
        aq.SubscriptionCreated(0, unsubscribed, other.id, EventFilter.task_completed(other.id), 14),
        aq.SubscriptionCanceled(0, unsubscribed, 14),
        aq.RunsPurged(
            0,
            (second.id, run.id),
            (sibling.id, task.id),
            14,
            (unsubscribed, subscription),
            (gone,),
            1,
            0,
            50,
        ),
        aq.RunsPurged(0, (), (), 15, tombstones=1),
        aq.EnginePaused(0, 15),
        aq.EngineResumed(0, 16),
    )
