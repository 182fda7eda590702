"""All hypothesis strategies: identifiers, domain types, commands, events, and streams of plausible
commands.

``COMMANDS`` and ``EVENTS`` hold one strategy for each kind. What they build is valid in itself and
otherwise arbitrary; ``command_streams`` builds commands that mostly fit what came before them.
"""

from __future__ import annotations

from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

import actionqueue as aq
from actionqueue import (
    ActorId,
    ActorRegistration,
    AttemptId,
    AttemptOutcome,
    AttemptResultKind,
    BudgetDimension,
    Capability,
    ConcurrencyKeyHoldPolicy,
    Cron,
    DepartmentId,
    EventFilter,
    Identifier,
    LedgerEntry,
    LedgerEntryId,
    Once,
    Repeat,
    Role,
    RunId,
    RunInstance,
    RunPolicy,
    RunState,
    SafetyLevel,
    SubscriptionId,
    TaskConstraints,
    TaskId,
    TaskMetadata,
    TaskPayload,
    TaskSpec,
    TenantId,
    TenantRegistration,
)
from actionqueue.errors import ValidationError
from actionqueue.model.base import event_of, validate
from tests.support.command_source import CommandSource
from tests.support.model import Model

# --- Numbers, texts, bytes ------------------------------------------------------------------------

u64s = st.integers(0, 2**64 - 1)
u32s = st.integers(0, 2**32 - 1)
i32s = st.integers(-(2**31), 2**31 - 1)
positive_u64s = st.integers(1, 2**64 - 1)
positive_u32s = st.integers(1, 2**32 - 1)
timestamps = st.one_of(st.integers(0, 2000), u64s)
sequences = positive_u64s
optional_sequences = st.none() | u64s
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
non_empty_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
blobs = st.binary(max_size=60)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def tuples_of(
    strategy: st.SearchStrategy[Any], *, min_size: int = 0
) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, min_size=min_size, max_size=4).map(tuple)


# --- Identifiers ----------------------------------------------------------------------------------


AnyId = TypeVar("AnyId", bound=Identifier)


def ids(id_type: type[AnyId], *, is_nil_allowed: bool = True) -> st.SearchStrategy[AnyId]:
    """Return identifiers, often from a small pool, so that they meet."""
    pool = st.integers(1, 4).map(lambda number: number.to_bytes(16, "big"))
    any_bytes = st.binary(min_size=16, max_size=16).filter(lambda data: is_nil_allowed or any(data))
    return st.one_of(pool, pool, any_bytes).map(id_type.from_bytes)


task_ids = ids(TaskId, is_nil_allowed=False)
run_ids = ids(RunId, is_nil_allowed=False)
attempt_ids = ids(AttemptId)
actor_ids = ids(ActorId)
tenant_ids = ids(TenantId)
ledger_entry_ids = ids(LedgerEntryId)
subscription_ids = ids(SubscriptionId)

# --- Domain types ---------------------------------------------------------------------------------

run_states = st.sampled_from(RunState)
dimensions = st.sampled_from(BudgetDimension)

cron_expressions = st.sampled_from(
    [
        "* * * * * *",
        "0 30 9 * * 2-6 *",
        "*/5 0 0 1,15 JAN-MAR ? 2030",
        "0 0 12 ? * SUN",
        "@hourly",
        "@yearly",
        "CRON_TZ=Europe/Zurich 0 30 2 13 * |FRI",
    ]
)
run_policies: st.SearchStrategy[RunPolicy] = st.one_of(
    st.just(Once()),
    st.builds(Repeat, positive_u32s, positive_u64s),
    st.builds(Cron, cron_expressions, optional(positive_u32s)),
)
constraints = st.builds(
    TaskConstraints,
    max_attempts=positive_u32s,
    timeout_secs=optional(positive_u64s),
    concurrency_key=optional(non_empty_texts),
    concurrency_key_hold_policy=st.sampled_from(ConcurrencyKeyHoldPolicy),
    safety_level=st.sampled_from(SafetyLevel),
    required_capabilities=optional(tuples_of(non_empty_texts, min_size=1)),
)
metadata = st.builds(
    TaskMetadata, tags=tuples_of(texts), priority=i32s, description=optional(texts)
)
task_specs = st.builds(
    TaskSpec,
    id=task_ids,
    payload=st.builds(TaskPayload, blobs, optional(texts)),
    run_policy=run_policies,
    constraints=constraints,
    metadata=metadata,
    parent_task_id=optional(ids(TaskId)),
    tenant_id=optional(tenant_ids),
)

new_runs = st.builds(
    RunInstance.scheduled, task_ids, id=run_ids, scheduled_at=timestamps, created_at=timestamps
)
any_runs = st.builds(
    RunInstance,
    run_ids,
    task_ids,
    run_states,
    optional(attempt_ids),
    u32s,
    timestamps,
    timestamps,
    i32s,
    timestamps,
)
attempt_outcomes = st.one_of(
    st.builds(AttemptOutcome.success, optional(blobs)),
    st.builds(AttemptOutcome.failure, texts),
    st.builds(AttemptOutcome.timeout, texts),
    st.builds(AttemptOutcome.suspended, optional(blobs)),
)

event_filters: st.SearchStrategy[EventFilter] = st.one_of(
    st.builds(EventFilter.task_completed, ids(TaskId)),
    st.builds(EventFilter.run_state_changed, ids(TaskId), run_states),
    st.builds(EventFilter.budget_threshold, ids(TaskId), dimensions, st.integers(0, 100)),
    st.builds(EventFilter.custom, texts),
)
# A department takes at most 128 bytes.
departments = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=32)
registrations = st.builds(
    ActorRegistration,
    actor_ids,
    non_empty_texts,
    tuples_of(non_empty_texts, min_size=1),
    positive_u64s,
    optional(departments.map(DepartmentId)),
    optional(tenant_ids),
)
tenant_registrations = st.builds(TenantRegistration, tenant_ids, non_empty_texts)
roles = st.sampled_from([Role.OPERATOR, Role.AUDITOR, Role.GATEKEEPER]) | non_empty_texts.map(
    Role.custom
)
capabilities = st.one_of(
    st.sampled_from(
        [
            Capability.CAN_SUBMIT,
            Capability.CAN_EXECUTE,
            Capability.CAN_REVIEW,
            Capability.CAN_APPROVE,
            Capability.CAN_CANCEL,
        ]
    ),
    non_empty_texts.map(Capability.custom),
)
ledger_entries = st.builds(
    LedgerEntry,
    ledger_entry_ids,
    tenant_ids,
    non_empty_texts,
    optional(actor_ids),
    blobs,
    timestamps,
)

# --- Commands -------------------------------------------------------------------------------------


def _command(command_type: Any, *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(command_type, optional_sequences, *fields, timestamps)


COMMANDS: dict[type[aq.MutationCommand], st.SearchStrategy[Any]] = {
    aq.TaskCreateCommand: _command(aq.TaskCreateCommand, task_specs),
    aq.RunCreateCommand: st.builds(aq.RunCreateCommand, optional_sequences, new_runs | any_runs),
    aq.RunStateTransitionCommand: _command(
        aq.RunStateTransitionCommand, run_ids, run_states, run_states
    ),
    aq.AttemptStartCommand: _command(aq.AttemptStartCommand, run_ids, attempt_ids),
    aq.AttemptFinishCommand: _command(
        aq.AttemptFinishCommand, run_ids, attempt_ids, attempt_outcomes
    ),
    aq.LeaseAcquireCommand: _command(aq.LeaseAcquireCommand, run_ids, texts, timestamps),
    aq.LeaseHeartbeatCommand: _command(aq.LeaseHeartbeatCommand, run_ids, texts, timestamps),
    aq.LeaseExpireCommand: _command(aq.LeaseExpireCommand, run_ids, texts, timestamps),
    aq.LeaseReleaseCommand: _command(aq.LeaseReleaseCommand, run_ids, texts, timestamps),
    aq.EnginePauseCommand: _command(aq.EnginePauseCommand),
    aq.EngineResumeCommand: _command(aq.EngineResumeCommand),
    aq.TaskCancelCommand: _command(aq.TaskCancelCommand, task_ids),
    aq.DependencyDeclareCommand: _command(
        aq.DependencyDeclareCommand, task_ids, tuples_of(task_ids)
    ),
    aq.RunSuspendCommand: _command(aq.RunSuspendCommand, run_ids, optional(texts)),
    aq.RunResumeCommand: _command(aq.RunResumeCommand, run_ids),
    aq.RunRescheduleCommand: _command(aq.RunRescheduleCommand, run_ids, timestamps, i32s),
    aq.BudgetAllocateCommand: _command(aq.BudgetAllocateCommand, task_ids, dimensions, u64s),
    aq.BudgetConsumeCommand: _command(aq.BudgetConsumeCommand, task_ids, dimensions, u64s),
    aq.BudgetReplenishCommand: _command(aq.BudgetReplenishCommand, task_ids, dimensions, u64s),
    aq.SubscriptionCreateCommand: _command(
        aq.SubscriptionCreateCommand, subscription_ids, task_ids, event_filters
    ),
    aq.SubscriptionCancelCommand: _command(aq.SubscriptionCancelCommand, subscription_ids),
    aq.SubscriptionTriggerCommand: _command(aq.SubscriptionTriggerCommand, subscription_ids),
    aq.ActorRegisterCommand: _command(aq.ActorRegisterCommand, registrations),
    aq.ActorDeregisterCommand: _command(aq.ActorDeregisterCommand, actor_ids),
    aq.ActorHeartbeatCommand: _command(aq.ActorHeartbeatCommand, actor_ids),
    aq.TenantCreateCommand: _command(aq.TenantCreateCommand, tenant_registrations),
    aq.RoleAssignCommand: _command(aq.RoleAssignCommand, actor_ids, roles, tenant_ids),
    aq.CapabilityGrantCommand: _command(
        aq.CapabilityGrantCommand, actor_ids, capabilities, tenant_ids
    ),
    aq.CapabilityRevokeCommand: _command(
        aq.CapabilityRevokeCommand, actor_ids, capabilities, tenant_ids
    ),
    aq.LedgerAppendCommand: _command(aq.LedgerAppendCommand, ledger_entries),
}
commands: st.SearchStrategy[aq.MutationCommand] = st.one_of(list(COMMANDS.values()))

KINDS: dict[type[aq.MutationCommand], tuple[type[aq.Event], type[aq.AppliedMutation], str]] = {
    aq.TaskCreateCommand: (aq.TaskCreated, aq.AppliedTaskCreate, "task_create"),
    aq.RunCreateCommand: (aq.RunCreated, aq.AppliedRunCreate, "run_create"),
    aq.RunStateTransitionCommand: (
        aq.RunStateChanged,
        aq.AppliedRunStateTransition,
        "run_state_transition",
    ),
    aq.AttemptStartCommand: (aq.AttemptStarted, aq.AppliedAttemptStart, "attempt_start"),
    aq.AttemptFinishCommand: (aq.AttemptFinished, aq.AppliedAttemptFinish, "attempt_finish"),
    aq.LeaseAcquireCommand: (aq.LeaseAcquired, aq.AppliedLeaseAcquire, "lease_acquire"),
    aq.LeaseHeartbeatCommand: (aq.LeaseHeartbeat, aq.AppliedLeaseHeartbeat, "lease_heartbeat"),
    aq.LeaseExpireCommand: (aq.LeaseExpired, aq.AppliedLeaseExpire, "lease_expire"),
    aq.LeaseReleaseCommand: (aq.LeaseReleased, aq.AppliedLeaseRelease, "lease_release"),
    aq.EnginePauseCommand: (aq.EnginePaused, aq.AppliedEnginePause, "engine_pause"),
    aq.EngineResumeCommand: (aq.EngineResumed, aq.AppliedEngineResume, "engine_resume"),
    aq.TaskCancelCommand: (aq.TaskCanceled, aq.AppliedTaskCancel, "task_cancel"),
    aq.DependencyDeclareCommand: (
        aq.DependencyDeclared,
        aq.AppliedDependencyDeclare,
        "dependency_declare",
    ),
    aq.RunSuspendCommand: (aq.RunSuspended, aq.AppliedRunSuspend, "run_suspend"),
    aq.RunResumeCommand: (aq.RunResumed, aq.AppliedRunResume, "run_resume"),
    aq.RunRescheduleCommand: (aq.RunRescheduled, aq.AppliedRunReschedule, "run_reschedule"),
    aq.BudgetAllocateCommand: (aq.BudgetAllocated, aq.AppliedBudgetAllocate, "budget_allocate"),
    aq.BudgetConsumeCommand: (aq.BudgetConsumed, aq.AppliedBudgetConsume, "budget_consume"),
    aq.BudgetReplenishCommand: (
        aq.BudgetReplenished,
        aq.AppliedBudgetReplenish,
        "budget_replenish",
    ),
    aq.SubscriptionCreateCommand: (
        aq.SubscriptionCreated,
        aq.AppliedSubscriptionCreate,
        "subscription_create",
    ),
    aq.SubscriptionCancelCommand: (
        aq.SubscriptionCanceled,
        aq.AppliedSubscriptionCancel,
        "subscription_cancel",
    ),
    aq.SubscriptionTriggerCommand: (
        aq.SubscriptionTriggered,
        aq.AppliedSubscriptionTrigger,
        "subscription_trigger",
    ),
    aq.ActorRegisterCommand: (aq.ActorRegistered, aq.AppliedActorRegister, "actor_register"),
    aq.ActorDeregisterCommand: (
        aq.ActorDeregistered,
        aq.AppliedActorDeregister,
        "actor_deregister",
    ),
    aq.ActorHeartbeatCommand: (aq.ActorHeartbeat, aq.AppliedActorHeartbeat, "actor_heartbeat"),
    aq.TenantCreateCommand: (aq.TenantCreated, aq.AppliedTenantCreate, "tenant_create"),
    aq.RoleAssignCommand: (aq.RoleAssigned, aq.AppliedRoleAssign, "role_assign"),
    aq.CapabilityGrantCommand: (
        aq.CapabilityGranted,
        aq.AppliedCapabilityGrant,
        "capability_grant",
    ),
    aq.CapabilityRevokeCommand: (
        aq.CapabilityRevoked,
        aq.AppliedCapabilityRevoke,
        "capability_revoke",
    ),
    aq.LedgerAppendCommand: (aq.LedgerEntryAppended, aq.AppliedLedgerAppend, "ledger_append"),
}
"""What each command becomes in the log, what it tells, and its name in JSON."""

# --- Events ---------------------------------------------------------------------------------------


def _event(event_type: Any, *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(event_type, sequences, *fields, timestamps)


_lease = (run_ids, texts, timestamps)
_budget = (task_ids, dimensions, u64s)
_results_with_output = st.sampled_from([AttemptResultKind.SUCCESS, AttemptResultKind.SUSPENDED])
_results_with_error = st.sampled_from([AttemptResultKind.FAILURE, AttemptResultKind.TIMEOUT])
_outputs = optional(st.binary(min_size=1, max_size=60))

EVENTS: dict[type[aq.Event], st.SearchStrategy[Any]] = {
    aq.TaskCreated: _event(aq.TaskCreated, task_specs),
    aq.RunCreated: st.builds(aq.RunCreated, sequences, new_runs),
    aq.RunStateChanged: _event(aq.RunStateChanged, run_ids, run_states, run_states),
    aq.AttemptStarted: _event(aq.AttemptStarted, run_ids, attempt_ids),
    aq.AttemptFinished: st.one_of(
        _event(aq.AttemptFinished, run_ids, attempt_ids, _results_with_output, st.none(), _outputs),
        _event(aq.AttemptFinished, run_ids, attempt_ids, _results_with_error, texts, st.none()),
    ),
    aq.TaskCanceled: _event(aq.TaskCanceled, task_ids),
    aq.RunCanceled: _event(aq.RunCanceled, run_ids),
    aq.LeaseAcquired: _event(aq.LeaseAcquired, *_lease),
    aq.LeaseHeartbeat: _event(aq.LeaseHeartbeat, *_lease),
    aq.LeaseExpired: _event(aq.LeaseExpired, *_lease),
    aq.LeaseReleased: _event(aq.LeaseReleased, *_lease),
    aq.EnginePaused: _event(aq.EnginePaused),
    aq.EngineResumed: _event(aq.EngineResumed),
    aq.DependencyDeclared: _event(aq.DependencyDeclared, task_ids, tuples_of(task_ids)),
    aq.RunRescheduled: _event(aq.RunRescheduled, run_ids, timestamps, i32s),
    aq.RunSuspended: _event(aq.RunSuspended, run_ids, optional(texts)),
    aq.RunResumed: _event(aq.RunResumed, run_ids),
    aq.BudgetAllocated: _event(aq.BudgetAllocated, *_budget),
    aq.BudgetConsumed: _event(aq.BudgetConsumed, *_budget),
    aq.BudgetExhausted: _event(aq.BudgetExhausted, task_ids, dimensions),
    aq.BudgetReplenished: _event(aq.BudgetReplenished, *_budget),
    aq.SubscriptionCreated: _event(
        aq.SubscriptionCreated, subscription_ids, task_ids, event_filters
    ),
    aq.SubscriptionTriggered: _event(aq.SubscriptionTriggered, subscription_ids),
    aq.SubscriptionCanceled: _event(aq.SubscriptionCanceled, subscription_ids),
    aq.ActorRegistered: _event(
        aq.ActorRegistered,
        actor_ids,
        non_empty_texts,
        tuples_of(non_empty_texts, min_size=1),
        optional(departments),
        positive_u64s,
        optional(tenant_ids),
    ),
    aq.ActorDeregistered: _event(aq.ActorDeregistered, actor_ids),
    aq.ActorHeartbeat: _event(aq.ActorHeartbeat, actor_ids),
    aq.TenantCreated: _event(aq.TenantCreated, tenant_ids, non_empty_texts),
    aq.RoleAssigned: _event(aq.RoleAssigned, actor_ids, roles, tenant_ids),
    aq.CapabilityGranted: _event(aq.CapabilityGranted, actor_ids, capabilities, tenant_ids),
    aq.CapabilityRevoked: _event(aq.CapabilityRevoked, actor_ids, capabilities, tenant_ids),
    aq.RunsPurged: st.builds(
        aq.RunsPurged,
        sequences,
        tuples_of(run_ids),
        tuples_of(task_ids, min_size=1),
        timestamps,
        tuples_of(subscription_ids),
        tuples_of(actor_ids),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
        optional(u64s),
    ),
    aq.LedgerEntryAppended: _event(
        aq.LedgerEntryAppended,
        ledger_entry_ids,
        tenant_ids,
        non_empty_texts,
        optional(actor_ids),
        blobs,
    ),
}
events: st.SearchStrategy[aq.Event] = st.one_of(list(EVENTS.values()))

# --- Streams --------------------------------------------------------------------------------------


def command_sources(*, poison: bool = True) -> st.SearchStrategy[CommandSource]:
    """Return sources of plausible commands whose every choice is hypothesis', so that failures
    shrink.
    """
    return st.randoms(use_true_random=False).map(
        lambda random: CommandSource(random, poison=poison)
    )


def build_stream(
    random: Random, length: int, *, poison: bool = True
) -> tuple[list[aq.MutationCommand], Model]:
    """Return plausible commands, most of them acceptable, and the model after the acceptable
    ones.
    """
    model = Model()
    stream: list[aq.MutationCommand] = []
    source = CommandSource(random, poison=poison)
    for _ in range(length):
        command = source.next(model)
        stream.append(command)
        try:
            sequence = validate(command, model)
        except ValidationError:
            continue
        model.apply_event(event_of(command, sequence))
    return stream, model


def command_streams(
    *, max_size: int = 40, poison: bool = True
) -> st.SearchStrategy[list[aq.MutationCommand]]:
    """Return streams of plausible commands, most of which are acceptable at their place."""
    return st.builds(
        lambda random, length: build_stream(random, length, poison=poison)[0],
        st.randoms(use_true_random=False),
        st.integers(1, max_size),
    )
