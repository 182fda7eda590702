"""All hypothesis strategies: identifiers, domain types, commands, events, and streams of plausible commands.

``COMMANDS`` and ``EVENTS`` hold one strategy for each kind. What they build is valid in itself and otherwise arbitrary;
``command_streams`` builds commands that mostly fit what came before them.
"""

from __future__ import annotations

from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st

from actionqueue import commands as c
from actionqueue import events as e
from actionqueue.actor import ActorRegistration, DepartmentId
from actionqueue.budget import BudgetDimension
from actionqueue.errors import ValidationError
from actionqueue.ids import (
    ActorId,
    AttemptId,
    Identifier,
    LedgerEntryId,
    RunId,
    SubscriptionId,
    TaskId,
    TenantId,
)
from actionqueue.mapping import event_of
from actionqueue.platform import Capability, LedgerEntry, Role, TenantRegistration
from actionqueue.run import AttemptOutcome, RunInstance
from actionqueue.run_policy import Cron, Once, Repeat, RunPolicy
from actionqueue.states import AttemptResultKind, RunState
from actionqueue.subscription import EventFilter
from actionqueue.task import (
    ConcurrencyKeyHoldPolicy,
    SafetyLevel,
    TaskConstraints,
    TaskMetadata,
    TaskPayload,
    TaskSpec,
)
from actionqueue.validation import validate
from command_source import CommandSource
from model import Model

# --- Numbers, texts, bytes -------------------------------------------------------------------------------------------

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


def tuples_of(strategy: st.SearchStrategy[Any], *, min_size: int = 0) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, min_size=min_size, max_size=4).map(tuple)


# --- Identifiers -----------------------------------------------------------------------------------------------------


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

# --- Domain types ----------------------------------------------------------------------------------------------------

run_states = st.sampled_from(RunState)
dimensions = st.sampled_from(BudgetDimension)

cron_expressions = st.sampled_from(
    ["* * * * * *", "0 30 9 * * 2-6 *", "*/5 0 0 1,15 JAN-MAR ? 2030", "0 0 12 ? * SUN", "@hourly", "@yearly"]
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
metadata = st.builds(TaskMetadata, tags=tuples_of(texts), priority=i32s, description=optional(texts))
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

new_runs = st.builds(RunInstance.scheduled, task_ids, id=run_ids, scheduled_at=timestamps, created_at=timestamps)
any_runs = st.builds(RunInstance, run_ids, task_ids, run_states, optional(attempt_ids), u32s, timestamps, timestamps, i32s, timestamps)
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
departments = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=32)  # at most 128 bytes
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
roles = st.sampled_from([Role.OPERATOR, Role.AUDITOR, Role.GATEKEEPER]) | non_empty_texts.map(Role.custom)
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
ledger_entries = st.builds(LedgerEntry, ledger_entry_ids, tenant_ids, non_empty_texts, optional(actor_ids), blobs, timestamps)

# --- Commands --------------------------------------------------------------------------------------------------------


def _command(command_type: Any, *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(command_type, optional_sequences, *fields, timestamps)


COMMANDS: dict[type[c.MutationCommand], st.SearchStrategy[Any]] = {
    c.TaskCreateCommand: _command(c.TaskCreateCommand, task_specs),
    c.RunCreateCommand: st.builds(c.RunCreateCommand, optional_sequences, new_runs | any_runs),
    c.RunStateTransitionCommand: _command(c.RunStateTransitionCommand, run_ids, run_states, run_states),
    c.AttemptStartCommand: _command(c.AttemptStartCommand, run_ids, attempt_ids),
    c.AttemptFinishCommand: _command(c.AttemptFinishCommand, run_ids, attempt_ids, attempt_outcomes),
    c.LeaseAcquireCommand: _command(c.LeaseAcquireCommand, run_ids, texts, timestamps),
    c.LeaseHeartbeatCommand: _command(c.LeaseHeartbeatCommand, run_ids, texts, timestamps),
    c.LeaseExpireCommand: _command(c.LeaseExpireCommand, run_ids, texts, timestamps),
    c.LeaseReleaseCommand: _command(c.LeaseReleaseCommand, run_ids, texts, timestamps),
    c.EnginePauseCommand: _command(c.EnginePauseCommand),
    c.EngineResumeCommand: _command(c.EngineResumeCommand),
    c.TaskCancelCommand: _command(c.TaskCancelCommand, task_ids),
    c.DependencyDeclareCommand: _command(c.DependencyDeclareCommand, task_ids, tuples_of(task_ids)),
    c.RunSuspendCommand: _command(c.RunSuspendCommand, run_ids, optional(texts)),
    c.RunResumeCommand: _command(c.RunResumeCommand, run_ids),
    c.BudgetAllocateCommand: _command(c.BudgetAllocateCommand, task_ids, dimensions, u64s),
    c.BudgetConsumeCommand: _command(c.BudgetConsumeCommand, task_ids, dimensions, u64s),
    c.BudgetReplenishCommand: _command(c.BudgetReplenishCommand, task_ids, dimensions, u64s),
    c.SubscriptionCreateCommand: _command(c.SubscriptionCreateCommand, subscription_ids, task_ids, event_filters),
    c.SubscriptionCancelCommand: _command(c.SubscriptionCancelCommand, subscription_ids),
    c.SubscriptionTriggerCommand: _command(c.SubscriptionTriggerCommand, subscription_ids),
    c.ActorRegisterCommand: _command(c.ActorRegisterCommand, registrations),
    c.ActorDeregisterCommand: _command(c.ActorDeregisterCommand, actor_ids),
    c.ActorHeartbeatCommand: _command(c.ActorHeartbeatCommand, actor_ids),
    c.TenantCreateCommand: _command(c.TenantCreateCommand, tenant_registrations),
    c.RoleAssignCommand: _command(c.RoleAssignCommand, actor_ids, roles, tenant_ids),
    c.CapabilityGrantCommand: _command(c.CapabilityGrantCommand, actor_ids, capabilities, tenant_ids),
    c.CapabilityRevokeCommand: _command(c.CapabilityRevokeCommand, actor_ids, capabilities, tenant_ids),
    c.LedgerAppendCommand: _command(c.LedgerAppendCommand, ledger_entries),
}
commands: st.SearchStrategy[c.MutationCommand] = st.one_of(list(COMMANDS.values()))

# --- Events ----------------------------------------------------------------------------------------------------------


def _event(event_type: Any, *fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(event_type, sequences, *fields, timestamps)


_lease = (run_ids, texts, timestamps)
_budget = (task_ids, dimensions, u64s)
_results_with_output = st.sampled_from([AttemptResultKind.SUCCESS, AttemptResultKind.SUSPENDED])
_results_with_error = st.sampled_from([AttemptResultKind.FAILURE, AttemptResultKind.TIMEOUT])
_outputs = optional(st.binary(min_size=1, max_size=60))

EVENTS: dict[type[e.Event], st.SearchStrategy[Any]] = {
    e.TaskCreated: _event(e.TaskCreated, task_specs),
    e.RunCreated: st.builds(e.RunCreated, sequences, new_runs),
    e.RunStateChanged: _event(e.RunStateChanged, run_ids, run_states, run_states),
    e.AttemptStarted: _event(e.AttemptStarted, run_ids, attempt_ids),
    e.AttemptFinished: st.one_of(
        _event(e.AttemptFinished, run_ids, attempt_ids, _results_with_output, st.none(), _outputs),
        _event(e.AttemptFinished, run_ids, attempt_ids, _results_with_error, texts, st.none()),
    ),
    e.TaskCanceled: _event(e.TaskCanceled, task_ids),
    e.RunCanceled: _event(e.RunCanceled, run_ids),
    e.LeaseAcquired: _event(e.LeaseAcquired, *_lease),
    e.LeaseHeartbeat: _event(e.LeaseHeartbeat, *_lease),
    e.LeaseExpired: _event(e.LeaseExpired, *_lease),
    e.LeaseReleased: _event(e.LeaseReleased, *_lease),
    e.EnginePaused: _event(e.EnginePaused),
    e.EngineResumed: _event(e.EngineResumed),
    e.DependencyDeclared: _event(e.DependencyDeclared, task_ids, tuples_of(task_ids)),
    e.RunSuspended: _event(e.RunSuspended, run_ids, optional(texts)),
    e.RunResumed: _event(e.RunResumed, run_ids),
    e.BudgetAllocated: _event(e.BudgetAllocated, *_budget),
    e.BudgetConsumed: _event(e.BudgetConsumed, *_budget),
    e.BudgetExhausted: _event(e.BudgetExhausted, task_ids, dimensions),
    e.BudgetReplenished: _event(e.BudgetReplenished, *_budget),
    e.SubscriptionCreated: _event(e.SubscriptionCreated, subscription_ids, task_ids, event_filters),
    e.SubscriptionTriggered: _event(e.SubscriptionTriggered, subscription_ids),
    e.SubscriptionCanceled: _event(e.SubscriptionCanceled, subscription_ids),
    e.ActorRegistered: _event(
        e.ActorRegistered,
        actor_ids,
        non_empty_texts,
        tuples_of(non_empty_texts, min_size=1),
        optional(departments),
        positive_u64s,
        optional(tenant_ids),
    ),
    e.ActorDeregistered: _event(e.ActorDeregistered, actor_ids),
    e.ActorHeartbeat: _event(e.ActorHeartbeat, actor_ids),
    e.TenantCreated: _event(e.TenantCreated, tenant_ids, non_empty_texts),
    e.RoleAssigned: _event(e.RoleAssigned, actor_ids, roles, tenant_ids),
    e.CapabilityGranted: _event(e.CapabilityGranted, actor_ids, capabilities, tenant_ids),
    e.CapabilityRevoked: _event(e.CapabilityRevoked, actor_ids, capabilities, tenant_ids),
    e.RunsPurged: st.builds(
        e.RunsPurged,
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
    e.LedgerEntryAppended: _event(e.LedgerEntryAppended, ledger_entry_ids, tenant_ids, non_empty_texts, optional(actor_ids), blobs),
}
events: st.SearchStrategy[e.Event] = st.one_of(list(EVENTS.values()))

# --- Streams ---------------------------------------------------------------------------------------------------------


def command_sources(*, poison: bool = True) -> st.SearchStrategy[CommandSource]:
    """Return sources of plausible commands whose every choice is hypothesis', so that failures shrink."""
    return st.randoms(use_true_random=False).map(lambda random: CommandSource(random, poison=poison))


def build_stream(random: Random, length: int, *, poison: bool = True) -> tuple[list[c.MutationCommand], Model]:
    """Return plausible commands, most of them acceptable, and the model after the acceptable ones."""
    model = Model()
    stream: list[c.MutationCommand] = []
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


def command_streams(*, max_size: int = 40, poison: bool = True) -> st.SearchStrategy[list[c.MutationCommand]]:
    """Return streams of plausible commands, most of which are acceptable at their place."""
    return st.builds(
        lambda random, length: build_stream(random, length, poison=poison)[0],
        st.randoms(use_true_random=False),
        st.integers(1, max_size),
    )
