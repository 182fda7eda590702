"""What the log takes at its limits is in snapshots, compactions and repairs too, for every kind of
row, also when it has grown since.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue.errors import RecordTooLarge
from actionqueue.inspection import verify
from actionqueue.json.projection import projection_to_json
from actionqueue.limits import LIST_COUNT_MAX, TEXT_SIZE_MAX
from tests.support.queues import task_create

LATE = 2**64 - 1
"""A time that takes the most bytes beside an early one."""
TENANT = aq.TenantId()
ACTOR = aq.ActorId()
TASK = aq.TaskSpec(payload=b"x")
TEXT = "t" * TEXT_SIZE_MAX


def capabilities(size: int) -> list[str]:
    """Texts of so many bytes together."""
    whole, rest = divmod(size, TEXT_SIZE_MAX)
    return ["c" * TEXT_SIZE_MAX] * whole + (["d" * rest] if rest else [])


def task(size: int) -> list[Any]:
    spec = aq.TaskSpec(payload=bytes(size))
    return [aq.TaskCreateCommand(None, spec, 1), aq.TaskCancelCommand(None, spec.id, LATE)]


def actor(size: int) -> list[Any]:
    registration = aq.ActorRegistration(ACTOR, "a", capabilities(max(1, size)), 1)
    return [
        aq.ActorRegisterCommand(None, registration, 1),
        aq.ActorHeartbeatCommand(None, ACTOR, LATE),
        aq.ActorDeregisterCommand(None, ACTOR, LATE - 1),
    ]


def ledger(size: int) -> list[Any]:
    return [
        aq.LedgerAppendCommand(
            None, aq.LedgerEntry(aq.LedgerEntryId(), TENANT, TEXT, ACTOR, bytes(size), 1), 1
        )
    ]


def running(
    last: Callable[[aq.RunInstance, aq.AttemptId], list[Any]], owner: str = "w"
) -> list[Any]:
    run = aq.RunInstance.scheduled(TASK.id, scheduled_at=LATE, created_at=1)
    attempt = aq.AttemptId()
    steps = [("ready", "leased"), ("leased", "running")]
    return [
        aq.RunCreateCommand(None, run),
        aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", LATE),
        aq.LeaseAcquireCommand(None, run.id, owner, LATE, LATE),
        *(aq.RunStateTransitionCommand(None, run.id, before, after, 1) for before, after in steps),
        aq.AttemptStartCommand(None, run.id, attempt, 1),
        *last(run, attempt),
    ]


def attempt(size: int) -> list[Any]:
    return running(
        lambda run, attempt: [
            aq.AttemptFinishCommand(
                None, run.id, attempt, aq.AttemptOutcome.success(bytes(size)), LATE
            )
        ]
    )


def failure(_size: int) -> list[Any]:
    return running(
        lambda run, attempt: [
            aq.AttemptFinishCommand(None, run.id, attempt, aq.AttemptOutcome.failure(TEXT), LATE)
        ]
    )


def lease(_size: int) -> list[Any]:
    return running(
        lambda run, _attempt: [aq.LeaseHeartbeatCommand(None, run.id, TEXT, LATE, LATE)], owner=TEXT
    )


def dependencies(_size: int) -> list[Any]:
    specs = [aq.TaskSpec(payload=b"p") for _ in range(LIST_COUNT_MAX)]
    declare = aq.DependencyDeclareCommand(None, TASK.id, [spec.id for spec in specs], 1)
    return [*(aq.TaskCreateCommand(None, spec, 1) for spec in specs), declare]


def subscription(_size: int) -> list[Any]:
    made = aq.SubscriptionId()
    return [
        aq.SubscriptionCreateCommand(None, made, TASK.id, aq.EventFilter.custom(TEXT), 1),
        aq.SubscriptionTriggerCommand(None, made, LATE),
        aq.SubscriptionCancelCommand(None, made, LATE),
    ]


def names(_size: int) -> list[Any]:
    return [
        aq.TenantCreateCommand(None, aq.TenantRegistration(TENANT, TEXT), 1),
        aq.RoleAssignCommand(None, ACTOR, aq.Role.custom(TEXT), TENANT, 1),
        aq.CapabilityGrantCommand(None, ACTOR, aq.Capability.custom(TEXT), TENANT, 1),
        aq.CapabilityRevokeCommand(None, ACTOR, aq.Capability.custom(TEXT), TENANT, LATE),
    ]


KINDS = [task, actor, ledger, attempt, failure, lease, dependencies, subscription, names]


def largest(queue: aq.ActionQueue, kind: Callable[[int], list[Any]]) -> list[Any]:
    """Commands of a kind whose record is as large as the queue takes it; a byte more is refused."""
    size = 2**24 - 1
    commands = kind(size)
    if sum(len(repr(command)) for command in kind(0)) > size:
        return commands
    for _ in range(4):
        try:
            queue.submit_many(commands)
        except RecordTooLarge as error:
            size -= error.size - error.limit
            commands = kind(size)
        else:
            return commands
    raise AssertionError("the size is not found")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_is_at_the_limit_goes_through_everything(
    tmp_path: Path, kind: Callable[[int], list[Any]]
) -> None:
    path = tmp_path / "queue"
    with aq.open(path, compaction=None, durability="deferred") as queue:
        queue.submit(aq.TaskCreateCommand(None, TASK, 1))
        largest(queue, kind)
        state = projection_to_json(queue.projection)
        assert queue.snapshot().is_new
        queue.submit(task_create())
        queue.compact()
        queue.submit(task_create())
        queue.compact()
        expected = projection_to_json(queue.projection)
        assert len(str(expected)) >= len(str(state))
        queue.submit(task_create(b"to be damaged"))
        queue.submit(task_create(b"behind it"))
    verify(path)
    with aq.open(path, compaction=None) as queue:
        assert queue.projection.counts().tasks == len(expected["tasks"]) + 2
    newest = max((path / "wal").glob("*.log"))
    data = bytearray(newest.read_bytes())
    data[data.index(b"to be damaged")] ^= 1
    newest.write_bytes(data)
    with pytest.raises(aq.CorruptLogError):
        aq.open(path)
    aq.repair(path, accept_data_loss=True)
    with aq.open(path, compaction=None) as queue:
        assert projection_to_json(queue.projection) == expected
