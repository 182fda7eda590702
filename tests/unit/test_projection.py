"""The projection's public face: applying events and asking."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import actionqueue as aq
from _wal_native.table import StateTable
from actionqueue import (
    ActorId,
    ActorRegistration,
    AttemptId,
    AttemptResultKind,
    BudgetConsumeCommand,
    BudgetDimension,
    Capability,
    EventFilter,
    LedgerEntryId,
    Role,
    RunId,
    RunInstance,
    RunState,
    SubscriptionId,
    TaskId,
    TaskSpec,
    TenantId,
)
from actionqueue.errors import InvalidFieldError, RecordTooLarge, RefusedEventError, ValidationError
from actionqueue.json.projection import projection_to_json
from actionqueue.limits import PAYLOAD_SIZE_MAX
from actionqueue.model.base import event_of, validate
from actionqueue.projection import (
    ActorRecord,
    AttemptRecord,
    BudgetRecord,
    CapabilityGrant,
    EngineStatus,
    HistoryEntry,
    Lease,
    LedgerRecord,
    Projection,
    RoleAssignment,
    SubscriptionRecord,
    TaskRecord,
    TenantRecord,
)
from tests.support.strategies import build_stream

S = RunState
TOKEN = BudgetDimension.TOKEN


class Log:
    """Applies events to a projection and numbers them."""

    def __init__(self) -> None:
        self.projection = Projection()

    def apply(self, event_type: Callable[..., aq.Event], *fields: Any) -> None:
        self.projection.apply_event(event_type(self.projection.latest_sequence + 1, *fields))

    def task(self, **fields: Any) -> TaskSpec:
        spec = TaskSpec(payload=b"payload", **fields)
        self.apply(aq.TaskCreated, spec, 10)
        return spec

    def run(self, task: TaskSpec, *states: RunState) -> RunInstance:
        run = RunInstance.scheduled(task.id, scheduled_at=20, created_at=10)
        self.apply(aq.RunCreated, run)
        before = S.SCHEDULED
        for after in states:
            self.apply(aq.RunStateChanged, run.id, before, after, 30)
            before = after
        return run


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def projection(log: Log) -> Projection:
    return log.projection


def rule_of(projection: Projection, event: aq.Event) -> str:
    """Return the rule by which the event is refused; the projection must be as it was."""
    before = projection_to_json(projection)
    with pytest.raises(RefusedEventError) as raised:
        projection.apply_event(event)
    assert raised.value.sequence == event.sequence
    assert projection_to_json(projection) == before
    return raised.value.rule


# --- Empty ----------------------------------------------------------------------------------------


def test_an_empty_projection_answers_nothing(projection: Projection) -> None:
    task, run, actor, tenant = TaskId(), RunId(), ActorId(), TenantId()
    assert projection.latest_sequence == 0
    single: list[Any] = [
        projection.run_state(run),
        projection.active_attempt_id(run),
        projection.active_lease(run),
        projection.run(run),
        projection.lease(run),
        projection.history(run),
        projection.attempts(run),
        projection.task(task),
        projection.budget(task, TOKEN),
        projection.subscription(SubscriptionId()),
        projection.actor(actor),
        projection.tenant(tenant),
        projection.role(actor, tenant),
        projection.capability_grant(actor, tenant, Capability.CAN_SUBMIT),
        projection.engine_paused_at(),
    ]
    assert single == [None] * len(single)
    several: list[Any] = [
        projection.run_ids(),
        projection.run_ids(S.READY),
        projection.runs_of_task(task),
        projection.tasks(),
        projection.task_ids(),
        projection.dependencies(task),
        projection.dependency_pairs(),
        projection.children_of(task),
        projection.parent_pairs(),
        projection.budgets(),
        projection.subscriptions(),
        projection.actors(),
        projection.tenants(),
        projection.roles(),
        projection.capability_grants(),
        projection.ledger(),
    ]
    assert several == [[]] * len(several)
    assert not projection.task_exists(task)
    assert not projection.is_task_canceled(task)
    assert not projection.is_engine_paused()
    assert not projection.attempt_was_used(run, AttemptId())
    assert not projection.budget_allocation_exists(task, TOKEN)
    assert not projection.subscription_exists(SubscriptionId())
    assert not projection.is_subscription_canceled(SubscriptionId())
    assert projection.attempt_count(run) == 0
    assert projection.counts_by_state() == dict.fromkeys(S, 0)
    assert projection.engine == EngineStatus(False, None, None)


# --- Tasks and runs -------------------------------------------------------------------------------


def test_a_task(log: Log, projection: Projection) -> None:
    parent = TaskId()
    spec = log.task(parent_task_id=parent)
    record = projection.task(spec.id)
    assert record == TaskRecord(spec.id, 10, None, record.encoded_spec if record else b"", 0, None)
    assert record.spec == spec
    assert not record.is_canceled
    log.apply(aq.TaskCanceled, spec.id, 40)
    canceled = projection.task(spec.id)
    assert canceled is not None
    assert (canceled.canceled_at, canceled.is_canceled) == (40, True)
    assert projection.is_task_canceled(spec.id)
    assert projection.tasks() == [canceled]
    assert projection.children_of(parent) == [spec.id]
    assert projection.parent_pairs() == [(parent, spec.id)]


def test_a_run_through_its_life(log: Log, projection: Projection) -> None:
    task = log.task()
    run = log.run(task)
    assert projection.run(run.id) == run
    log.apply(aq.RunStateChanged, run.id, S.SCHEDULED, S.READY, 31)
    log.apply(aq.LeaseAcquired, run.id, "wörker", 90, 32)
    log.apply(aq.RunStateChanged, run.id, S.READY, S.LEASED, 33)
    log.apply(aq.LeaseHeartbeat, run.id, "wörker", 95, 34)
    assert projection.lease(run.id) == Lease("wörker", 95, 32, 34)
    assert projection.active_lease(run.id) == ("wörker", 95)
    log.apply(aq.RunStateChanged, run.id, S.LEASED, S.RUNNING, 35)
    attempt = AttemptId()
    log.apply(aq.AttemptStarted, run.id, attempt, 36)
    assert projection.active_attempt_id(run.id) == attempt
    assert projection.attempts(run.id) == [AttemptRecord(attempt, 36, None, None, None, None)]
    assert (
        rule_of(projection, aq.RunStateChanged(99, run.id, S.RUNNING, S.COMPLETED, 37))
        == "attempt_active"
    )
    log.apply(aq.AttemptFinished, run.id, attempt, AttemptResultKind.SUCCESS, None, b"output", 37)
    assert projection.attempts(run.id) == [
        AttemptRecord(attempt, 36, 37, AttemptResultKind.SUCCESS, None, b"output")
    ]
    assert projection.attempt_was_used(run.id, attempt)
    assert rule_of(projection, aq.AttemptStarted(99, run.id, attempt, 38)) == "attempt_reused"
    log.apply(aq.RunStateChanged, run.id, S.RUNNING, S.COMPLETED, 38)
    assert projection.lease(run.id) is None
    assert projection.run(run.id) == RunInstance(
        run.id, task.id, S.COMPLETED, None, 1, 10, 20, 0, 38
    )
    path = [None, S.SCHEDULED, S.READY, S.LEASED, S.RUNNING, S.COMPLETED]
    times = [10, 31, 33, 35, 38]
    assert projection.history(run.id) == [
        HistoryEntry(before, after, time)
        for before, after, time in zip(path, path[1:], times, strict=False)
        if after
    ]
    assert projection.counts_by_state()[S.COMPLETED] == 1


def test_a_failed_attempt_keeps_its_error_even_an_empty_one(
    log: Log, projection: Projection
) -> None:
    run = log.run(log.task(), S.READY, S.LEASED, S.RUNNING)
    for error in ("broken", ""):
        attempt = AttemptId()
        log.apply(aq.AttemptStarted, run.id, attempt, 1)
        log.apply(aq.AttemptFinished, run.id, attempt, AttemptResultKind.FAILURE, error, None, 2)
        attempts = projection.attempts(run.id)
        assert attempts is not None
        assert attempts[-1] == AttemptRecord(attempt, 1, 2, AttemptResultKind.FAILURE, error, None)
    assert projection.attempt_count(run.id) == 2


def test_runs_of_a_task_come_in_the_order_of_their_identifiers(
    log: Log, projection: Projection
) -> None:
    task, other = log.task(), log.task()
    runs = [log.run(task, S.READY) for _ in range(20)]
    log.run(other)
    assert [run.id for run in projection.runs_of_task(task.id)] == sorted(run.id for run in runs)
    assert projection.run_ids(S.READY) == [run.id for run in runs]
    assert len(projection.run_ids()) == 21


def test_closing_a_lease_makes_a_leased_run_ready(log: Log, projection: Projection) -> None:
    run = log.run(log.task(), S.READY)
    log.apply(aq.LeaseAcquired, run.id, "a", 90, 40)
    log.apply(aq.RunStateChanged, run.id, S.READY, S.LEASED, 41)
    log.apply(aq.LeaseExpired, run.id, "a", 90, 42)
    assert projection.run_state(run.id) is S.READY
    history = projection.history(run.id)
    assert history is not None
    assert history[-1].to_state is S.LEASED
    assert projection.counts_by_state()[S.READY] == 1


def test_what_only_replay_knows(log: Log, projection: Projection) -> None:
    task = log.task()
    run = log.run(task, S.READY, S.LEASED, S.RUNNING)
    attempt = AttemptId()
    log.apply(aq.AttemptStarted, run.id, attempt, 40)
    log.apply(aq.RunCanceled, run.id, 41)
    assert projection.run_state(run.id) is S.CANCELED
    assert projection.active_attempt_id(run.id) is None
    assert projection.attempts(run.id) == [AttemptRecord(attempt, 40, None, None, None, None)]
    assert rule_of(projection, aq.RunCanceled(99, run.id, 42)) == "transition"
    log.apply(aq.BudgetAllocated, task.id, TOKEN, 100, 43)
    log.apply(aq.BudgetExhausted, task.id, TOKEN, 44)
    assert projection.budget(task.id, TOKEN) == BudgetRecord(task.id, TOKEN, 100, 0, 43, True)


def test_dependencies(log: Log, projection: Projection) -> None:
    task, first, second = log.task(), log.task(), log.task()
    log.apply(aq.DependencyDeclared, task.id, (second.id, first.id), 40)
    log.apply(aq.DependencyDeclared, task.id, (first.id, task.id), 41)
    assert projection.dependencies(task.id) == sorted([first.id, second.id, task.id], key=str)
    assert projection.dependency_pairs() == [
        (task.id, second.id),
        (task.id, first.id),
        (task.id, task.id),
    ]
    assert projection.dependencies(first.id) == []


# --- The rest -------------------------------------------------------------------------------------


def test_budgets_and_subscriptions(log: Log, projection: Projection) -> None:
    task = log.task()
    log.apply(aq.BudgetAllocated, task.id, TOKEN, 5, 40)
    log.apply(aq.BudgetConsumed, task.id, TOKEN, 5, 41)
    assert projection.budgets() == [BudgetRecord(task.id, TOKEN, 5, 5, 40, True)]
    assert projection.budget_allocation_exists(task.id, TOKEN)
    assert not projection.budget_allocation_exists(task.id, BudgetDimension.TIME_SECS)
    log.apply(aq.BudgetReplenished, task.id, TOKEN, 7, 42)
    assert projection.budget(task.id, TOKEN) == BudgetRecord(task.id, TOKEN, 7, 0, 40, False)

    subscription, event_filter = SubscriptionId(), EventFilter.budget_threshold(task.id, TOKEN, 80)
    log.apply(aq.SubscriptionCreated, subscription, task.id, event_filter, 43)
    assert projection.subscription_exists(subscription)
    log.apply(aq.SubscriptionCanceled, subscription, 44)
    log.apply(aq.SubscriptionTriggered, subscription, 45)
    expected = SubscriptionRecord(subscription, task.id, event_filter, 43, 45, 44)
    assert projection.subscription(subscription) == expected
    assert projection.subscriptions() == [expected]
    assert projection.is_subscription_canceled(subscription)


def test_actors_and_the_platform(log: Log, projection: Projection) -> None:
    actor, tenant, entry = ActorId(), TenantId(), LedgerEntryId()
    log.apply(aq.ActorRegistered, actor, "vessel", ("compute", "ü"), "deck", 30, tenant, 50)
    log.apply(aq.ActorHeartbeat, actor, 51)
    log.apply(aq.ActorDeregistered, actor, 52)
    registration = ActorRegistration(actor, "vessel", ("compute", "ü"), 30, "deck", tenant)
    assert projection.actor(actor) == ActorRecord(registration, 50, 51, 52)
    assert projection.actors()[0].actor_id == actor
    log.apply(aq.ActorRegistered, actor, "vessel", ("compute",), None, 30, None, 53)
    again = projection.actor(actor)
    assert again is not None
    assert (again.last_heartbeat_at, again.deregistered_at) == (None, None)

    log.apply(aq.TenantCreated, tenant, "acme", 54)
    assert projection.tenant(tenant) == TenantRecord(tenant, "acme", 54)
    assert projection.tenants() == [TenantRecord(tenant, "acme", 54)]
    log.apply(aq.RoleAssigned, actor, Role.AUDITOR, tenant, 55)
    log.apply(aq.RoleAssigned, actor, Role.custom("pilot"), tenant, 56)
    assert projection.role(actor, tenant) == RoleAssignment(actor, tenant, Role.custom("pilot"), 56)
    assert len(projection.roles()) == 1
    log.apply(aq.CapabilityGranted, actor, Capability.CAN_REVIEW, tenant, 57)
    log.apply(aq.CapabilityGranted, actor, Capability.custom("can_review"), tenant, 58)
    log.apply(aq.CapabilityRevoked, actor, Capability.CAN_REVIEW, tenant, 59)
    revoked = CapabilityGrant(actor, tenant, Capability.CAN_REVIEW, 57, 59)
    assert projection.capability_grant(actor, tenant, Capability.CAN_REVIEW) == revoked
    assert [grant.revoked_at for grant in projection.capability_grants()] == [59, None]
    log.apply(aq.LedgerEntryAppended, entry, tenant, "audit", None, b"\x00", 60)
    log.apply(aq.LedgerEntryAppended, entry, tenant, "audit", actor, b"", 61)
    assert projection.ledger() == [
        LedgerRecord(entry, tenant, "audit", None, b"\x00", 60),
        LedgerRecord(entry, tenant, "audit", actor, b"", 61),
    ]


def test_the_engine(log: Log, projection: Projection) -> None:
    log.apply(aq.EnginePaused, 50)
    assert projection.engine == EngineStatus(True, 50, None)
    assert rule_of(projection, aq.EngineResumed(9, 49)) == "resume_before_pause"
    log.apply(aq.EngineResumed, 50)
    assert projection.engine == EngineStatus(False, 50, 50)
    log.apply(aq.EnginePaused, 20)
    assert projection.engine == EngineStatus(True, 20, None)
    assert projection.engine_paused_at() == 20
    assert projection.is_engine_paused()


def test_counts(log: Log, projection: Projection) -> None:
    task = log.task()
    run = log.run(task, S.READY)
    log.apply(aq.LeaseAcquired, run.id, "a", 90, 40)
    counts = projection.counts()
    assert (counts.tasks, counts.runs, counts.history, counts.attempts, counts.leases) == (
        1,
        1,
        2,
        0,
        1,
    )
    assert counts.memory_bytes > 0


# --- What is refused ------------------------------------------------------------------------------


def test_only_fresh_runs_are_created_and_the_other_rules_come_first(
    log: Log, projection: Projection
) -> None:
    task = log.task()
    known = log.run(task)
    shapes: list[tuple[Any, ...]] = [
        (S.READY, None, 0, 10, 10),
        (S.SCHEDULED, AttemptId(), 0, 10, 10),
        (S.SCHEDULED, None, 1, 10, 10),
        (S.SCHEDULED, None, 0, 10, 11),
    ]
    for state, attempt, count, created_at, changed_at in shapes:

        def run(
            run_id: RunId,
            task_id: TaskId,
            shape: tuple[Any, ...] = (state, attempt, count, created_at, 5, 0, changed_at),
        ) -> RunInstance:
            return RunInstance(run_id, task_id, *shape)

        assert rule_of(projection, aq.RunCreated(99, run(RunId(), task.id))) == "run_not_fresh"
        assert rule_of(projection, aq.RunCreated(99, run(known.id, task.id))) == "run_exists"
        assert rule_of(projection, aq.RunCreated(99, run(RunId(), TaskId()))) == "unknown_task"
        assert rule_of(projection, aq.RunCreated(1, run(RunId(), task.id))) == "sequence"


def test_too_large_an_event(projection: Projection) -> None:
    tenant = TenantId()
    event = aq.LedgerEntryAppended(
        1, LedgerEntryId(), tenant, "key", None, bytes(PAYLOAD_SIZE_MAX), 1
    )
    with pytest.raises(RecordTooLarge):
        projection.apply_event(event)
    assert projection.ledger() == []


@pytest.mark.parametrize("event", [None, 1, "event", TaskSpec(payload=b""), object()])
def test_what_is_no_event(projection: Projection, event: Any) -> None:
    with pytest.raises(TypeError):
        projection.apply_event(event)
    assert projection.latest_sequence == 0


@pytest.mark.parametrize(
    "wrong",
    [None, "00" * 16, b"\x00" * 16, 5, TaskId(), AttemptId()],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    "query", ["run_state", "active_attempt_id", "active_lease", "attempt_count", "run", "history"]
)
def test_an_argument_of_the_wrong_type_is_named(
    projection: Projection, query: str, wrong: Any
) -> None:
    with pytest.raises(TypeError, match="run_id"):
        getattr(projection, query)(wrong)


@pytest.mark.parametrize("dimension", list(BudgetDimension), ids=str)
def test_a_dimension_may_be_named(
    log: Log, projection: Projection, dimension: BudgetDimension
) -> None:
    """As in commands."""
    task = log.task()
    log.apply(aq.BudgetAllocated, task.id, dimension, 5, 40)
    for other in BudgetDimension:
        for named in (other, other.value):
            budget = projection.budget(task.id, named)
            assert (
                projection.budget_allocation_exists(task.id, named)
                == (budget is not None)
                == (other is dimension)
            )
            assert budget is None or budget.dimension is dimension


class Named(str):
    """A text of a class of its own."""

    __slots__ = ()


@pytest.mark.parametrize(
    "dimension",
    [
        "",
        "tokens",
        "TOKEN",
        "token\0",
        "\ud800",
        RunState.READY,
        Named("token"),
        0,
        None,
        True,
        b"token",
    ],
    ids=repr,
)
@pytest.mark.parametrize("query", ["budget", "budget_allocation_exists"])
def test_a_dimension_that_is_none_gets_the_answer_that_a_command_gets(
    projection: Projection, query: str, dimension: Any
) -> None:
    with pytest.raises(InvalidFieldError) as of_command:
        BudgetConsumeCommand(None, TaskId(), dimension, 1, 1)
    with pytest.raises(InvalidFieldError) as of_query:
        getattr(projection, query)(TaskId(), dimension)
    assert type(of_query.value) is type(of_command.value)
    assert (of_query.value.type_name, of_query.value.field, of_query.value.value) == (
        query,
        "dimension",
        dimension,
    )
    assert of_query.value.reason == of_command.value.reason


def test_answers_are_copies(log: Log, projection: Projection) -> None:
    run = log.run(log.task(), S.READY)
    history = projection.history(run.id)
    assert history is not None
    history.clear()
    projection.counts_by_state().clear()
    assert len(projection.history(run.id) or []) == 2
    with pytest.raises(AttributeError):
        projection.engine.is_paused = True  # type: ignore[misc]


# --- The whole ------------------------------------------------------------------------------------


def test_the_projection_is_a_state_table() -> None:
    assert isinstance(Projection(), StateTable)


@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=40)
@given(st.randoms(use_true_random=False), st.integers(1, 80))
def test_the_json_form_is_that_of_the_model(random: Random, length: int) -> None:
    commands, model = build_stream(random, length)
    projection = Projection()
    for command in commands:
        try:
            sequence = validate(command, projection)
        except ValidationError:
            continue
        projection.apply_event(event_of(command, sequence))
    assert projection_to_json(projection) == model.to_json()


@pytest.mark.parametrize(
    "act", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"]
)
def test_a_projection_is_not_pickled_and_that_is_said(act):
    with pytest.raises(
        TypeError, match="can't be pickled or copied; open the queue with readonly=True"
    ):
        act(Projection())
