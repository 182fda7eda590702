"""Each command becomes its event and its outcome, with every field in its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionqueue import commands as c
from actionqueue import events as e
from actionqueue import outcomes as o
from actionqueue.mapping import applied_of, event_of
from actionqueue.validation import validate
from model import Model
from strategies import COMMANDS

KINDS: dict[type[c.MutationCommand], tuple[type[e.Event], type[o.AppliedMutation], str]] = {
    c.TaskCreateCommand: (e.TaskCreated, o.AppliedTaskCreate, "task_create"),
    c.RunCreateCommand: (e.RunCreated, o.AppliedRunCreate, "run_create"),
    c.RunStateTransitionCommand: (e.RunStateChanged, o.AppliedRunStateTransition, "run_state_transition"),
    c.AttemptStartCommand: (e.AttemptStarted, o.AppliedAttemptStart, "attempt_start"),
    c.AttemptFinishCommand: (e.AttemptFinished, o.AppliedAttemptFinish, "attempt_finish"),
    c.LeaseAcquireCommand: (e.LeaseAcquired, o.AppliedLeaseAcquire, "lease_acquire"),
    c.LeaseHeartbeatCommand: (e.LeaseHeartbeat, o.AppliedLeaseHeartbeat, "lease_heartbeat"),
    c.LeaseExpireCommand: (e.LeaseExpired, o.AppliedLeaseExpire, "lease_expire"),
    c.LeaseReleaseCommand: (e.LeaseReleased, o.AppliedLeaseRelease, "lease_release"),
    c.EnginePauseCommand: (e.EnginePaused, o.AppliedEnginePause, "engine_pause"),
    c.EngineResumeCommand: (e.EngineResumed, o.AppliedEngineResume, "engine_resume"),
    c.TaskCancelCommand: (e.TaskCanceled, o.AppliedTaskCancel, "task_cancel"),
    c.DependencyDeclareCommand: (e.DependencyDeclared, o.AppliedDependencyDeclare, "dependency_declare"),
    c.RunSuspendCommand: (e.RunSuspended, o.AppliedRunSuspend, "run_suspend"),
    c.RunResumeCommand: (e.RunResumed, o.AppliedRunResume, "run_resume"),
    c.BudgetAllocateCommand: (e.BudgetAllocated, o.AppliedBudgetAllocate, "budget_allocate"),
    c.BudgetConsumeCommand: (e.BudgetConsumed, o.AppliedBudgetConsume, "budget_consume"),
    c.BudgetReplenishCommand: (e.BudgetReplenished, o.AppliedBudgetReplenish, "budget_replenish"),
    c.SubscriptionCreateCommand: (e.SubscriptionCreated, o.AppliedSubscriptionCreate, "subscription_create"),
    c.SubscriptionCancelCommand: (e.SubscriptionCanceled, o.AppliedSubscriptionCancel, "subscription_cancel"),
    c.SubscriptionTriggerCommand: (e.SubscriptionTriggered, o.AppliedSubscriptionTrigger, "subscription_trigger"),
    c.ActorRegisterCommand: (e.ActorRegistered, o.AppliedActorRegister, "actor_register"),
    c.ActorDeregisterCommand: (e.ActorDeregistered, o.AppliedActorDeregister, "actor_deregister"),
    c.ActorHeartbeatCommand: (e.ActorHeartbeat, o.AppliedActorHeartbeat, "actor_heartbeat"),
    c.TenantCreateCommand: (e.TenantCreated, o.AppliedTenantCreate, "tenant_create"),
    c.RoleAssignCommand: (e.RoleAssigned, o.AppliedRoleAssign, "role_assign"),
    c.CapabilityGrantCommand: (e.CapabilityGranted, o.AppliedCapabilityGrant, "capability_grant"),
    c.CapabilityRevokeCommand: (e.CapabilityRevoked, o.AppliedCapabilityRevoke, "capability_revoke"),
    c.LedgerAppendCommand: (e.LedgerEntryAppended, o.AppliedLedgerAppend, "ledger_append"),
}


def known_fields(command: c.MutationCommand) -> dict[str, Any]:
    """Return the values that an event or an outcome may take over, by name; the command's own win."""
    values: dict[str, Any] = {}
    for part in ("task_spec", "run_instance", "outcome", "registration", "entry"):
        if hasattr(command, part):
            values |= msgspec.structs.asdict(getattr(command, part))
    if isinstance(command, c.TaskCreateCommand):
        values["task_id"] = command.task_spec.id
    if isinstance(command, c.RunCreateCommand):
        values["run_id"] = command.run_instance.id
    if values.get("department") is not None:
        values["department"] = str(values["department"])  # the log holds the text
    return values | msgspec.structs.asdict(command)


@pytest.mark.parametrize("command_type", KINDS, ids=lambda kind: kind.__name__)
@settings(deadline=None)
@given(data=st.data())
def test_event_and_outcome_take_over_every_field(command_type: type[c.MutationCommand], data: st.DataObject) -> None:
    command = data.draw(COMMANDS[command_type])
    event_type, applied_type, name = KINDS[command_type]
    known = known_fields(command) | {"sequence": 7}
    event, applied = event_of(command, 7), applied_of(command)
    assert (type(event), type(applied), applied.name) == (event_type, applied_type, name)
    for built in (event, applied):
        for field, value in msgspec.structs.asdict(built).items():
            assert value == known[field], field


def test_every_command_and_every_event_of_a_command_is_known() -> None:
    assert KINDS.keys() == COMMANDS.keys() == set(c.MutationCommand.__subclasses__())
    of_no_command = {e.RunCanceled, e.BudgetExhausted, e.RunsPurged}
    assert {event_type for event_type, _, _ in KINDS.values()} | of_no_command == set(e.Event.__subclasses__())


def test_what_is_logged_of_a_command_does_not_depend_on_its_own_sequence() -> None:
    explicit, left_open = c.EnginePauseCommand(1, 5), c.EnginePauseCommand(None, 5)
    assert validate(explicit, Model()) == validate(left_open, Model()) == 1
    assert event_of(explicit, 1) == event_of(left_open, 1) == e.EnginePaused(1, 5)
