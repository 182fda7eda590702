"""The C table against the slow model, and its promises: all or nothing, exact rollback, no memory
lost.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue import (
    ActorId,
    AttemptId,
    AttemptResultKind,
    BudgetDimension,
    Capability,
    EventFilter,
    Role,
    RunId,
    RunInstance,
    RunState,
    SubscriptionId,
    TaskSpec,
    TenantId,
)
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import status_name
from tests.support.core.table_driver import SEED, EventSource, Memory, Table, as_c, dump_of
from tests.support.core.table_events import apply_to, every_kind, numbered, path_to
from tests.support.model import Model

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
randoms = st.randoms(use_true_random=False)

S = RunState


@pytest.fixture
def task() -> TaskSpec:
    return TaskSpec(payload=b"payload")


@pytest.fixture
def run(task: TaskSpec) -> RunInstance:
    return RunInstance.scheduled(task.id, scheduled_at=5, created_at=5)


# --- Against the model ----------------------------------------------------------------------------


@PATIENT
@given(randoms, st.integers(1, 120))
def test_agrees_with_the_model_and_a_refused_event_changes_nothing(
    random: Random, length: int
) -> None:
    model, source = Model(), EventSource(random)
    with Table() as table:
        for _ in range(length):
            event = source.next(model)
            before = None if model.latest_sequence % 7 else table.dump()
            answer = table.apply(event)
            assert answer == apply_to(model, event), event
            if answer != "ok" and before is not None:
                assert table.dump() == before
        assert table.dump() == dump_of(model)


def test_agrees_with_the_model_over_a_long_stream() -> None:
    refusals = {name for name in dir(lib) if name.startswith("AQW_REFUSED_")}
    refusals -= {"AQW_REFUSED_LAST", "AQW_REFUSED_RUN_NOT_FRESH", "AQW_REFUSED_ATTEMPT_COUNT"}
    refusals -= {"AQW_REFUSED_NO_DEPENDENCIES", "AQW_REFUSED_TASK_CANCELED"}  # rare; tested below
    awaited = {name.removeprefix("AQW_").lower() for name in refusals}
    model, source = Model(), EventSource(Random(20))
    with Table() as table:
        for number in range(60_000):
            if number >= 6000 and not awaited:
                break
            event = source.next(model)
            answer = table.apply(event)
            assert answer == apply_to(model, event), event
            awaited.discard(answer)
        assert table.dump() == dump_of(model)
    assert not awaited


def test_many_rows_of_every_kind_stay_found(table: Table) -> None:
    """Past several growths of every index, in the middle of moving entries."""
    sequence = 0
    model = Model()
    tenant = TenantId()
    previous = TaskSpec(payload=b"first")
    for i in range(2500):
        task = TaskSpec(payload=b"x", parent_task_id=previous.id)
        run = RunInstance.scheduled(task.id, scheduled_at=i, created_at=i)
        actor = ActorId()
        events: list[aq.Event] = [
            aq.TaskCreated(0, task, i),
            aq.RunCreated(0, run),
            aq.BudgetAllocated(0, task.id, BudgetDimension.TOKEN, i, i),
            aq.SubscriptionCreated(0, SubscriptionId(), task.id, EventFilter.custom("key"), i),
            aq.ActorRegistered(0, actor, "identity", ("a",), None, 1, None, i),
            aq.TenantCreated(0, TenantId(), "name", i),
            aq.RoleAssigned(0, actor, Role.OPERATOR, tenant, i),
            aq.CapabilityGranted(0, actor, Capability.custom("x"), tenant, i),
        ]
        if i:
            events.append(aq.DependencyDeclared(0, task.id, (previous.id, task.id, previous.id), i))
        for event in numbered(*events, first=sequence + 1):
            sequence = event.sequence
            assert table.apply(event) == "ok"
            model.apply_event(event)
        previous = task
    assert table.dump() == dump_of(model)


# --- Rules that a random stream seldom meets ------------------------------------------------------


def test_a_gap_in_the_sequence_is_legal(table: Table, task: TaskSpec) -> None:
    table.must_apply(aq.TaskCreated(7, task, 1))
    assert table.apply(aq.TaskCanceled(7, task.id, 2)) == "refused_sequence"
    assert table.apply(aq.TaskCanceled(3, task.id, 2)) == "refused_sequence"
    table.must_apply(aq.TaskCanceled(2**64 - 1, task.id, 2))
    assert table.apply(aq.EnginePaused(2**64 - 1, 2)) == "refused_sequence"


def test_sequence_zero_is_refused(table: Table) -> None:
    assert table.apply(aq.EnginePaused(0, 1)) == "refused_sequence"


def test_closing_the_lease_of_a_leased_run_makes_it_ready_without_a_trace(
    table: Table, task: TaskSpec, run: RunInstance
) -> None:
    table.must_apply(
        *numbered(
            aq.TaskCreated(0, task, 1),
            aq.RunCreated(0, run),
            *path_to(run, S.READY),
            aq.LeaseAcquired(0, run.id, "", 50, 11),
            aq.RunStateChanged(0, run.id, S.READY, S.LEASED, 12),
            aq.LeaseReleased(0, run.id, "", 50, 13),
        )
    )
    view = table.view("run", 1)
    assert view.state == lib.AQW_READY
    assert view.last_state_change_at == 12
    assert not view.has_lease
    assert [entry.to_state for entry in table.chain("history", view.first_history)] == [
        lib.AQW_READY,
        lib.AQW_LEASED,
    ]
    table.must_apply(aq.RunStateChanged(9, run.id, S.READY, S.LEASED, 14))


def test_a_canceled_run_leaves_its_attempt_unfinished(
    table: Table, task: TaskSpec, run: RunInstance
) -> None:
    events = numbered(
        aq.TaskCreated(0, task, 1),
        aq.RunCreated(0, run),
        *path_to(run, S.READY, S.LEASED, S.RUNNING),
        aq.AttemptStarted(0, run.id, AttemptId(), 20),
    )
    table.must_apply(*events, aq.RunCanceled(50, run.id, 21))
    view = table.view("run", 1)
    assert (view.has_active_attempt, view.attempt_count) == (0, 1)
    assert not table.view("attempt", view.first_attempt).is_finished


def test_consumption_saturates(table: Table, task: TaskSpec) -> None:
    token = BudgetDimension.TOKEN
    table.must_apply(
        *numbered(
            aq.TaskCreated(0, task, 1),
            # There is no allocation: this is recorded and changes nothing.
            aq.BudgetConsumed(0, task.id, token, 5, 1),
            aq.BudgetAllocated(0, task.id, token, 2**64 - 1, 3),
            aq.BudgetConsumed(0, task.id, token, 2**64 - 2, 4),
        )
    )
    assert not table.view("budget", 1).is_exhausted
    table.must_apply(aq.BudgetConsumed(9, task.id, token, 2**64 - 1, 5))
    assert (table.view("budget", 1).consumed, table.view("budget", 1).is_exhausted) == (
        2**64 - 1,
        1,
    )


def test_a_limit_of_zero_is_exhausted_by_consuming_nothing(table: Table, task: TaskSpec) -> None:
    time = BudgetDimension.TIME_SECS
    table.must_apply(
        *numbered(
            aq.TaskCreated(0, task, 1),
            aq.BudgetAllocated(0, task.id, time, 0, 2),
            aq.BudgetConsumed(0, task.id, time, 0, 3),
        )
    )
    assert table.view("budget", 1).is_exhausted


def test_what_is_unknown_is_ignored_or_refused(table: Table, task: TaskSpec) -> None:
    cost = BudgetDimension.COST_CENTS
    table.must_apply(
        *numbered(
            aq.BudgetExhausted(0, task.id, cost, 1),
            aq.SubscriptionTriggered(0, SubscriptionId(), 1),
            aq.ActorHeartbeat(0, ActorId(), 1),
            aq.ActorDeregistered(0, ActorId(), 1),
            aq.CapabilityRevoked(0, ActorId(), Capability.CAN_SUBMIT, TenantId(), 1),
        )
    )
    refused: list[tuple[aq.Event, str]] = [
        (aq.BudgetConsumed(9, task.id, cost, 1, 1), "unknown_task"),
        (
            aq.RunCreated(9, RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)),
            "unknown_task",
        ),
        (aq.DependencyDeclared(9, task.id, (), 1), "no_dependencies"),
        (aq.DependencyDeclared(9, task.id, (task.id,), 1), "unknown_task"),
        (aq.TaskCanceled(9, task.id, 1), "unknown_task"),
        (aq.RunResumed(9, RunId(), 1), "unknown_run"),
        (aq.SubscriptionCanceled(9, SubscriptionId(), 1), "unknown_subscription"),
    ]
    for event, rule in refused:
        assert table.apply(event) == f"refused_{rule}"
    table.must_apply(aq.TaskCreated(9, task, 1), aq.TaskCanceled(10, task.id, 1))
    assert table.apply(aq.TaskCanceled(11, task.id, 1)) == "refused_task_canceled"
    assert (
        table.apply(aq.BudgetReplenished(11, task.id, cost, 1, 1)) == "refused_budget_not_allocated"
    )


def test_an_unknown_kind_is_an_invalid_argument(table: Table) -> None:
    for kind in (0, lib.AQW_EVENT_KIND_LAST + 1, 255):
        event = ffi.new("aqw_event *", {"sequence": 1, "kind": kind})
        assert lib.aqw_table_apply(table.table, event) == lib.AQW_INVALID_ARGUMENT
    assert lib.aqw_table_latest_sequence(table.table) == 0


# --- All or nothing, memory -----------------------------------------------------------------------


def test_the_events_of_this_file_are_of_every_kind() -> None:
    assert {event.kind for event in every_kind()} == set(aq.EventKind)


@pytest.mark.parametrize("in_batch", [False, True], ids=["single", "batch"])
def test_without_memory_an_event_changes_nothing(in_batch: bool) -> None:
    """Before each event, every allocation that it needs is made to fail once."""
    memory = Memory()
    with Table(memory) as table:
        for event in every_kind():
            if in_batch:
                assert table.begin() == "ok"
            before = table.dump()
            for successes in range(100):
                memory.fail_after(successes)
                answer = table.apply(event)
                memory.fail_after(None)
                if answer == "ok":
                    break
                assert answer == "no_memory"
                assert table.dump() == before
            assert answer == "ok"
            table.commit()
    assert not memory.live


def test_a_batch_that_ran_out_of_memory_can_be_rolled_back() -> None:
    events = every_kind()
    memory = Memory()
    with Table(memory) as table:
        table.must_apply(*events[:20])
        before = table.dump()
        for successes in range(200):
            table.begin()
            memory.fail_after(successes)
            answers = [table.apply(event) for event in events[20:]]
            memory.fail_after(None)
            table.rollback()
            assert table.dump() == before
            if "no_memory" not in answers:
                break
        assert set(answers) == {"ok"}
        table.must_apply(*events[20:])
    assert not memory.live


def test_no_table_without_memory() -> None:
    memory = Memory()
    memory.fail_after(0)
    assert lib.aqw_table_new(memory.functions, SEED) == ffi.NULL


def test_all_memory_is_returned_also_with_an_open_batch() -> None:
    memory = Memory()
    table = Table(memory)
    events = every_kind()
    table.must_apply(*events[:25])
    table.begin()
    table.must_apply(*events[25:])
    table.close()
    assert not memory.live


def test_a_finished_run_takes_less_than_500_bytes(table: Table) -> None:
    """With its task of 100 payload bytes, six history entries, an attempt with 32 bytes of output,
    and its share of all indexes.
    """
    count = 30_000
    task = TaskSpec(payload=b"x" * 100)
    run = RunInstance.scheduled(task.id, scheduled_at=5, created_at=5)
    attempt = AttemptId()
    events = [
        as_c(event)
        for event in (
            aq.TaskCreated(1, task, 1),
            aq.RunCreated(1, run),
            *path_to(run, S.READY, S.LEASED, S.RUNNING),
            aq.AttemptStarted(1, run.id, attempt, 1),
            aq.AttemptFinished(1, run.id, attempt, AttemptResultKind.SUCCESS, None, b"x" * 32, 1),
            aq.RunStateChanged(1, run.id, S.RUNNING, S.RETRY_WAIT, 1),
            aq.RunStateChanged(1, run.id, S.RETRY_WAIT, S.FAILED, 1),
        )
    ]
    sequence = 0
    for number in range(count):
        for event, _payload in events:
            fields = getattr(event, "as")
            sequence += 1
            event.sequence = sequence
            # Each kind's first field is its identifier.
            ffi.memmove(ffi.addressof(fields), number.to_bytes(16, "big"), 16)
            if event.kind == lib.AQW_RUN_CREATED:
                ffi.memmove(fields.run_created.task_id, number.to_bytes(16, "big"), 16)
            assert lib.aqw_table_apply(table.table, event) == lib.AQW_OK
    assert table.counts.memory_bytes / count < 500


def test_memory_does_not_grow_with_what_is_replaced(task: TaskSpec, run: RunInstance) -> None:
    """Leases come and go, actors, tenants and roles are replaced, for as long as a queue lives."""
    actor, tenant = ActorId(), TenantId()
    with Table() as table:
        table.must_apply(
            *numbered(aq.TaskCreated(0, task, 1), aq.RunCreated(0, run), *path_to(run, S.READY))
        )
        sizes = []
        for turn in range(300):
            if turn % 3 == 0:
                table.begin()
            table.must_apply(
                *numbered(
                    aq.LeaseAcquired(0, run.id, "owner" * 100, 9, 1),
                    aq.TenantCreated(0, tenant, "name" * 50, 1),
                    aq.LeaseReleased(0, run.id, "owner" * 100, 9, 1),
                    aq.ActorRegistered(
                        0, actor, "identity" * 50, ("capability",), None, 5, None, 1
                    ),
                    aq.RoleAssigned(0, actor, Role.custom("role" * 50), tenant, 1),
                    first=100 + turn * 10,
                )
            )
            table.commit()
            sizes.append(table.counts.memory_bytes)
        assert sizes[-1] == sizes[10]


# --- Batches --------------------------------------------------------------------------------------


@PATIENT
@given(randoms, st.integers(0, 60), st.integers(1, 60))
def test_rollback_restores_the_table_exactly(
    random: Random, before_count: int, batch_count: int
) -> None:
    model, source = Model(), EventSource(random)
    memory = Memory()
    with Table(memory) as table:
        for _ in range(before_count):
            event = source.next(model)
            assert table.apply(event) == apply_to(model, event)
        for is_kept in (False, True, False):
            before, kept = table.dump(), model.copy()
            assert table.begin() == "ok"
            for _ in range(batch_count):
                event = source.next(model)
                assert table.apply(event) == apply_to(model, event)
            assert table.dump() == dump_of(model)
            if is_kept:
                table.commit()
                continue
            table.rollback()
            model = kept
            assert table.dump() == before
        for _ in range(20):  # what comes after a rollback finds nothing of it
            event = source.next(model)
            assert table.apply(event) == apply_to(model, event)
        assert table.dump() == dump_of(model)
    assert not memory.live


def test_rollback_of_every_kind_on_top_of_every_kind() -> None:
    events = every_kind()
    for split in range(len(events)):
        with Table() as table:
            table.must_apply(*events[:split])
            before = table.dump()
            table.begin()
            table.must_apply(*events[split:])
            table.rollback()
            assert table.dump() == before
            table.must_apply(*events[split:])


def test_rollback_past_growing_indexes(table: Table) -> None:
    tasks = [TaskSpec(payload=b"x") for _ in range(3000)]
    table.must_apply(*numbered(*(aq.TaskCreated(0, task, 1) for task in tasks[:100])))
    before = table.dump()
    for _ in range(2):
        table.begin()
        table.must_apply(
            *numbered(*(aq.TaskCreated(0, task, 1) for task in tasks[100:]), first=101)
        )
        table.rollback()
        assert table.dump() == before
        assert not any(table.find("task", task.id.bytes) for task in tasks[100:])


def test_batches_do_not_nest_and_ends_without_a_batch_do_nothing(
    table: Table, task: TaskSpec
) -> None:
    table.must_apply(aq.TaskCreated(1, task, 1))
    before = table.dump()
    table.rollback()
    table.commit()
    assert table.dump() == before
    assert table.begin() == "ok"
    assert table.begin() == "invalid_argument"
    table.must_apply(aq.TaskCanceled(2, task.id, 1))
    table.rollback()
    assert table.dump() == before


# --- Attempts -------------------------------------------------------------------------------------


def test_an_attempt_id_is_used_once_in_a_run_but_may_be_used_by_another(
    table: Table, task: TaskSpec
) -> None:
    attempt = AttemptId()
    sequence = 1
    table.must_apply(aq.TaskCreated(sequence, task, 1))
    for row in (1, 2):
        run = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
        events = numbered(
            aq.RunCreated(0, run),
            *path_to(run, S.READY, S.LEASED, S.RUNNING),
            aq.AttemptStarted(0, run.id, attempt, 2),
            aq.AttemptFinished(0, run.id, attempt, AttemptResultKind.TIMEOUT, "", None, 3),
            first=sequence + 1,
        )
        table.must_apply(*events)
        sequence = events[-1].sequence
        assert (
            table.apply(aq.AttemptStarted(sequence + 1, run.id, attempt, 4))
            == "refused_attempt_reused"
        )
        assert lib.aqw_table_run_had_attempt(table.table, row, attempt.bytes)
        assert not lib.aqw_table_run_had_attempt(table.table, row, AttemptId().bytes)
    view = table.view("attempt", 1)  # an empty error is an error, unlike an empty output
    assert (view.error.data != ffi.NULL, view.error.size, view.output.data) == (True, 0, ffi.NULL)


def test_an_attempt_id_that_many_runs_share(table: Table, task: TaskSpec) -> None:
    attempt, sequence = AttemptId(), 1
    table.must_apply(aq.TaskCreated(sequence, task, 1))
    for number in range(400):
        run = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
        events: list[aq.Event] = [aq.RunCreated(0, run)]
        if number % 2:
            events += [
                *path_to(run, S.READY, S.LEASED, S.RUNNING),
                aq.AttemptStarted(0, run.id, attempt, 2),
            ]
        table.must_apply(*numbered(*events, first=sequence + 1))
        sequence += len(events)
    had = [lib.aqw_table_run_had_attempt(table.table, row, attempt.bytes) for row in range(1, 401)]
    assert had == [0, 1] * 200


def test_statuses_of_c_events_that_no_decoder_yields(table: Table, task: TaskSpec) -> None:
    event, payload = as_c(aq.TaskCreated(1, task, 1))
    created = getattr(event, "as").task_created
    event.spec_is_valid = 0
    created.spec.size = lib.AQW_PAYLOAD_SIZE_MAX + 1
    assert status_name(lib.aqw_table_apply(table.table, event)) == "too_large"
    created.spec.size = 1
    assert status_name(lib.aqw_table_apply(table.table, event)) == "malformed_event"
    assert table.counts.tasks == 0
    assert payload is not None
