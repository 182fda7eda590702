"""The short way through the lane: which commands take it, and that nothing but its speed tells it
from the long one.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

import actionqueue as aq
from actionqueue import lane
from tests.support.queues import task_create


def lifecycle() -> list[aq.MutationCommand]:
    """Every kind of command that a scheduler submits all day, in an order that is accepted."""
    task = aq.TaskSpec(payload=b"payload")
    run = aq.RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    first, second = aq.AttemptId(), aq.AttemptId()
    step = aq.RunStateTransitionCommand
    return [
        aq.TaskCreateCommand(None, task, 1),
        aq.RunCreateCommand(None, run),
        aq.RunRescheduleCommand(None, run.id, 2, 7, 1),
        step(None, run.id, "scheduled", "ready", 2),
        aq.LeaseAcquireCommand(None, run.id, "one", 10, 2),
        aq.LeaseExpireCommand(None, run.id, "one", 10, 11),
        aq.LeaseAcquireCommand(None, run.id, "two", 20, 12),
        aq.LeaseReleaseCommand(None, run.id, "two", 20, 13),
        aq.LeaseAcquireCommand(None, run.id, "three", 30, 14),
        step(None, run.id, "ready", "leased", 14),
        step(None, run.id, "leased", "running", 15),
        aq.AttemptStartCommand(None, run.id, first, 15),
        aq.LeaseHeartbeatCommand(None, run.id, "three", 40, 16),
        aq.AttemptFinishCommand(None, run.id, first, aq.AttemptOutcome.suspended(b"so far"), 17),
        aq.RunSuspendCommand(None, run.id, "waits", 17),
        aq.RunResumeCommand(None, run.id, 18),
        step(None, run.id, "ready", "leased", 18),
        step(None, run.id, "leased", "running", 18),
        aq.AttemptStartCommand(None, run.id, second, 19),
        aq.AttemptFinishCommand(None, run.id, second, aq.AttemptOutcome.failure("no luck"), 20),
        step(None, run.id, "running", "failed", 20),
    ]


@pytest.fixture
def no_python_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> NoReturn:
        raise AssertionError(f"the lane in Python was asked for {arguments}")

    monkeypatch.setattr(lane, "validate", refuse)


@pytest.mark.usefixtures("no_python_lane")
def test_what_a_scheduler_submits_all_day_needs_no_python(tmp_path: Path) -> None:
    with (
        aq.open(tmp_path / "one", durability="deferred") as one,
        aq.open(tmp_path / "many", durability="deferred") as many,
    ):
        commands = lifecycle()
        outcomes = [one.submit(command) for command in commands]
        assert [outcome.sequence for outcome in outcomes] == list(range(1, len(commands) + 1))
        assert many.submit_many(commands) == outcomes
        with many.batch() as batch:
            for command in lifecycle():
                batch.submit(command)
        assert batch.outcomes[-1].sequence == 2 * len(commands)


def test_an_explicit_sequence_must_be_the_next(tmp_path: Path) -> None:
    with aq.open(tmp_path, durability="deferred") as queue:
        assert queue.submit(aq.TaskCreateCommand(1, aq.TaskSpec(payload=b""), 1)).sequence == 1
        for wrong in (0, 1, 3, 2**64 - 1):
            with pytest.raises(aq.NonMonotonicSequence):
                queue.submit(aq.TaskCreateCommand(wrong, aq.TaskSpec(payload=b""), 1))
        with pytest.raises(aq.NonMonotonicSequence) as refusal:
            queue.submit_many([task_create(), aq.TaskCreateCommand(2, aq.TaskSpec(payload=b""), 1)])
        assert refusal.value.batch_index == 1
        assert queue.sequence == 1


def test_a_refusal_in_a_batch_leaves_nothing_of_it(tmp_path: Path) -> None:
    """Also where accepted commands stand before and behind one that takes the long way."""
    with aq.open(tmp_path, durability="deferred") as queue:
        commands = lifecycle()
        for index in range(len(commands)):
            wrong = [
                *commands[:index],
                aq.EnginePauseCommand(None, 1),
                *commands[index:],
                commands[0],
            ]
            with pytest.raises(aq.TaskAlreadyExists) as refusal:
                queue.submit_many(wrong)
            assert refusal.value.batch_index == len(commands) + 1
            assert queue.sequence == 0
            assert queue.projection.counts().tasks == 0
        assert (
            len(queue.submit_many([aq.EnginePauseCommand(None, 1), *commands])) == len(commands) + 1
        )


def test_the_outcomes_of_actors_and_the_platform_lead_to_what_changed(tmp_path: Path) -> None:
    """Found in the projection with nothing but what the outcome says."""
    actor, tenant, entry = aq.ActorId(), aq.TenantId(), aq.LedgerEntryId()
    looks: list[tuple[aq.MutationCommand, Callable[[aq.Projection, Any], Any], Any]] = [
        (
            aq.ActorRegisterCommand(None, aq.ActorRegistration(actor, "worker", ["cpu"], 5), 1),
            lambda projection, applied: projection.actor(applied.actor_id).registered_at,
            1,
        ),
        (
            aq.ActorHeartbeatCommand(None, actor, 2),
            lambda projection, applied: projection.actor(applied.actor_id).last_heartbeat_at,
            2,
        ),
        (
            aq.ActorDeregisterCommand(None, actor, 3),
            lambda projection, applied: projection.actor(applied.actor_id).deregistered_at,
            3,
        ),
        (
            aq.TenantCreateCommand(None, aq.TenantRegistration(tenant, "one"), 4),
            lambda projection, applied: projection.tenant(applied.tenant_id).created_at,
            4,
        ),
        (
            aq.RoleAssignCommand(None, actor, aq.Role.AUDITOR, tenant, 5),
            lambda projection, applied: (
                projection.role(applied.actor_id, applied.tenant_id).role == applied.role,
                applied.role,
            ),
            (True, aq.Role.AUDITOR),
        ),
        (
            aq.CapabilityGrantCommand(None, actor, aq.Capability.CAN_REVIEW, tenant, 6),
            lambda projection, applied: (
                projection.capability_grant(
                    applied.actor_id, applied.tenant_id, applied.capability
                ).granted_at
            ),
            6,
        ),
        (
            aq.CapabilityRevokeCommand(None, actor, aq.Capability.CAN_REVIEW, tenant, 7),
            lambda projection, applied: (
                projection.capability_grant(
                    applied.actor_id, applied.tenant_id, applied.capability
                ).revoked_at
            ),
            7,
        ),
        (
            aq.LedgerAppendCommand(None, aq.LedgerEntry(entry, tenant, "key", None, b"paid", 0), 8),
            lambda projection, applied: [
                line.timestamp
                for line in projection.ledger()
                if (line.entry_id, line.tenant_id) == (applied.entry_id, applied.tenant_id)
            ],
            [8],
        ),
    ]
    with aq.open(tmp_path / "one by one", durability="deferred") as queue:
        for command, look, expected in looks:
            assert look(queue.projection, queue.submit(command).applied) == expected
    with aq.open(tmp_path / "as one", durability="deferred") as queue:
        outcomes = queue.submit_many([command for command, _, _ in looks])
        for outcome, (_, look, expected) in zip(outcomes, looks, strict=True):
            assert look(queue.projection, outcome.applied) == expected


def test_an_outcome_tells_what_changed_whoever_made_it(tmp_path: Path) -> None:
    with aq.open(tmp_path, durability="deferred") as queue:
        command = task_create()
        outcome = queue.submit(command)
        same = aq.MutationOutcome(1, aq.AppliedTaskCreate(command.task_spec.id))
        assert outcome == same
        assert hash(outcome) == hash(same)
        assert repr(outcome) == repr(same)
        assert pickle.loads(pickle.dumps(outcome)) == same
        assert outcome != aq.MutationOutcome(2, same.applied)
        assert outcome != aq.MutationOutcome(1, aq.AppliedEnginePause())
        assert outcome != (1, same.applied)
        match outcome:
            case aq.MutationOutcome(sequence, aq.AppliedTaskCreate(task_id)):
                assert (sequence, task_id) == (1, command.task_spec.id)
            case _:
                raise AssertionError(outcome)
        with pytest.raises(AttributeError):
            outcome.sequence = 2  # type: ignore[misc]
        with pytest.raises(TypeError):
            aq.MutationOutcome("1", same.applied)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            aq.MutationOutcome()  # type: ignore[call-arg]
