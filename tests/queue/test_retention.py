"""What retention covers, in a queue: the same live, replayed, from a snapshot and for a reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue import retention
from actionqueue.inspection import verify
from actionqueue.json.projection import projection_to_json
from tests.support.queues import open_small, replayed, state_of, wait_until

NOW = 1_700_000_000
S = aq.RunState


@pytest.fixture(autouse=True)
def _the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aq.clock, "now", lambda: NOW)


def run_of(
    queue: aq.ActionQueue, task: aq.TaskSpec, *, scheduled_at: int = 1, ended_at: int | None = 2
) -> aq.RunId:
    """Make a run of a task, which is canceled at a time."""
    run = aq.RunInstance.scheduled(task.id, scheduled_at=scheduled_at, created_at=1)
    queue.submit(aq.RunCreateCommand(None, run))
    if ended_at is not None:
        queue.submit(aq.RunStateTransitionCommand(None, run.id, S.SCHEDULED, S.CANCELED, ended_at))
    return run.id


def task_of(queue: aq.ActionQueue, policy: aq.RunPolicy | None = None) -> aq.TaskSpec:
    task = aq.TaskSpec(payload=b"x", run_policy=policy or aq.Once())
    queue.submit(aq.TaskCreateCommand(None, task, 1))
    return task


def check_everywhere(
    path: Path, make: Callable[[aq.ActionQueue], aq.CompactionReport]
) -> aq.CompactionReport:
    """Do something to a queue, and compare what it leaves live with what the log and the snapshot
    lead to.
    """
    with open_small(path) as queue:
        report = make(queue)
        live = state_of(queue)
        tasks = queue.projection.tasks()
        with aq.open(path, readonly=True) as reader:
            assert (projection_to_json(reader.projection), reader.projection.tasks()) == (
                live,
                tasks,
            )
    model = replayed(path)
    assert model.to_json() == live
    assert [(task["runs_created"], task["last_run_at"]) for task in model.tasks.values()] == [
        (task.runs_created, task.last_run_at) for task in tasks
    ]
    verify(path)
    with open_small(path) as queue:
        assert queue.recovery.snapshot_sequence == report.sequence
        assert (state_of(queue), queue.projection.tasks()) == (live, tasks)
    for snapshot in (path / "snapshots").iterdir():
        snapshot.unlink()
    with open_small(path) as queue:
        assert queue.recovery.snapshot_sequence == 0
        assert (state_of(queue), queue.projection.tasks()) == (live, tasks)
    return report


def test_deregistered_actors_and_canceled_subscriptions_are_forgotten_at_the_cutoff(
    path: Path,
) -> None:
    kept, gone, again, tenant = aq.ActorId(), aq.ActorId(), aq.ActorId(), aq.TenantId()
    subscriptions = [aq.SubscriptionId() for _ in range(3)]

    def make(queue: aq.ActionQueue) -> aq.CompactionReport:
        for actor in (kept, gone, again):
            queue.submit(
                aq.ActorRegisterCommand(None, aq.ActorRegistration(actor, "one", ("a",), 10), 1)
            )
            queue.submit(aq.RoleAssignCommand(None, actor, aq.Role.OPERATOR, tenant, 1))
            queue.submit(
                aq.CapabilityGrantCommand(None, actor, aq.Capability.CAN_SUBMIT, tenant, 1)
            )
        for actor, time in ((kept, NOW - 99), (gone, NOW - 100), (again, 5)):
            queue.submit(aq.ActorDeregisterCommand(None, actor, time))
        queue.submit(
            aq.ActorRegisterCommand(None, aq.ActorRegistration(again, "one", ("a",), 10), 6)
        )
        task = task_of(queue)
        for subscription in subscriptions:
            queue.submit(
                aq.SubscriptionCreateCommand(
                    None, subscription, task.id, aq.EventFilter.custom("k"), 1
                )
            )
        for subscription, time in zip(subscriptions, (NOW - 99, NOW - 100), strict=False):
            queue.submit(aq.SubscriptionCancelCommand(None, subscription, time))
        report = queue.compact(retention_seconds=100)
        assert (
            report.purged_runs,
            report.purged_tasks,
            report.purged_subscriptions,
            report.purged_actors,
        ) == (0, 0, 1, 1)
        projection = queue.projection
        assert [actor.actor_id for actor in projection.actors()] == [kept, again]
        assert (
            [role.actor_id for role in projection.roles()]
            == [kept, again]
            == [grant.actor_id for grant in projection.capability_grants()]
        )
        assert projection.actor(gone) is projection.role(gone, tenant) is None
        assert projection.capability_grant(gone, tenant, aq.Capability.CAN_SUBMIT) is None
        assert [row.subscription_id for row in projection.subscriptions()] == [
            subscriptions[0],
            subscriptions[2],
        ]
        with pytest.raises(aq.UnknownSubscription):
            queue.submit(aq.SubscriptionCancelCommand(None, subscriptions[1], NOW))
        return report

    check_everywhere(path, make)


def test_an_actor_that_registers_again_begins_without_roles(path: Path) -> None:
    actor, tenant = aq.ActorId(), aq.TenantId()
    with open_small(path) as queue:
        queue.submit(
            aq.ActorRegisterCommand(None, aq.ActorRegistration(actor, "one", ("a",), 10), 1)
        )
        queue.submit(aq.RoleAssignCommand(None, actor, aq.Role.OPERATOR, tenant, 1))
        queue.submit(aq.ActorDeregisterCommand(None, actor, 2))
        queue.compact(retention_seconds=0)
        queue.submit(
            aq.ActorRegisterCommand(None, aq.ActorRegistration(actor, "again", ("a",), 10), 3)
        )
        assert queue.projection.role(actor, tenant) is None
        record = queue.projection.actor(actor)
        assert record is not None
        assert (record.registration.identity, record.deregistered_at) == ("again", None)


def test_forgotten_actors_give_their_memory_back(path: Path) -> None:
    with aq.open(path, durability="deferred", compaction=None) as queue:
        for _ in range(3000):
            actor = aq.ActorId()
            queue.submit(
                aq.ActorRegisterCommand(
                    None, aq.ActorRegistration(actor, "one" * 30, ("a",), 10), 1
                )
            )
            queue.submit(aq.ActorDeregisterCommand(None, actor, 2))
        before = queue.projection.counts().memory_bytes
        assert queue.compact(retention_seconds=0).purged_actors == 3000
        assert queue.projection.counts().memory_bytes < before / 3


# --- Recurring tasks ------------------------------------------------------------------------------


def test_a_run_for_an_earlier_time_takes_the_last_time_back_no_further(path: Path) -> None:
    made = aq.TaskSpec(payload=b"x", run_policy=aq.Cron("@hourly"))
    with aq.open(path, compaction=None) as queue:
        queue.submit(aq.TaskCreateCommand(None, made, 1))
        for scheduled_at, last_run_at in ((7200, 7200), (3600, 7200), (10800, 10800)):
            run = aq.RunInstance.scheduled(
                made.id, scheduled_at=scheduled_at, created_at=scheduled_at
            )
            queue.submit(aq.RunCreateCommand(None, run))
            assert queue.projection.task(made.id).last_run_at == last_run_at
        queue.snapshot()
    with aq.open(path) as queue:
        assert queue.projection.task(made.id).last_run_at == 10800


def test_how_many_runs_a_task_had_and_the_time_of_the_last_survive_retention(path: Path) -> None:
    """So that a scheduler that asks it ends with ``max_occurrences`` runs, whatever was forgotten
    meanwhile.
    """
    made = aq.TaskSpec(payload=b"x", run_policy=aq.Cron("@hourly", max_occurrences=5))

    def plan(queue: aq.ActionQueue) -> int | None:
        """Create the next run, as a scheduler does, and end it."""
        record = queue.projection.task(made.id)
        assert record is not None
        policy = record.spec.run_policy
        assert isinstance(policy, aq.Cron)
        if policy.max_occurrences is not None and record.runs_created >= policy.max_occurrences:
            return None
        [time] = policy.next_occurrences_after(record.last_run_at or record.created_at, 1)
        run_of(queue, made, scheduled_at=time, ended_at=time)
        return time

    def make(queue: aq.ActionQueue) -> aq.CompactionReport:
        queue.submit(aq.TaskCreateCommand(None, made, 1))
        record = queue.projection.task(made.id)
        assert record is not None
        assert (record.runs_created, record.last_run_at) == (0, None)
        assert [plan(queue) for _ in range(2)] == [3600, 7200]
        report = queue.compact(retention_seconds=0)
        assert (report.purged_runs, report.purged_tasks) == (2, 0)
        return report

    check_everywhere(path, make)
    repaired = path.with_name("repaired")
    (repaired / "snapshots").mkdir(parents=True)
    with open_small(path) as queue:
        sequence = queue.snapshot().sequence
        name = f"{sequence:020}.snap"
        (repaired / "snapshots" / name).write_bytes((path / "snapshots" / name).read_bytes())
        assert [plan(queue) for _ in range(4)] == [10800, 14400, 18000, None]
        report = queue.compact(retention_seconds=0)
        assert (report.purged_runs, report.purged_tasks) == (3, 1)
        assert queue.projection.task(made.id) is None
    aq.repair(repaired, accept_data_loss=True)
    with open_small(repaired) as queue:
        assert [plan(queue) for _ in range(4)] == [10800, 14400, 18000, None]


@pytest.mark.parametrize(
    "policy",
    [aq.Repeat(2, 60), aq.Cron("@hourly", max_occurrences=2), aq.Cron("0 0 0 1 1 * 2020-2022")],
    ids=lambda policy: str(policy)[:6],
)
def test_a_recurring_task_that_is_over_is_forgotten_once_its_runs_are(
    path: Path, policy: aq.RunPolicy
) -> None:
    def make(queue: aq.ActionQueue) -> aq.CompactionReport:
        over, going_on, pending = (
            task_of(queue, each) for each in (policy, aq.Cron("@hourly"), policy)
        )
        for task in (over, over, going_on, going_on, going_on, pending):
            run_of(queue, task, ended_at=NOW - 100)
        run_of(queue, pending, ended_at=None)
        first = queue.compact(retention_seconds=101)
        assert (first.purged_runs, first.purged_tasks) == (0, 0)
        report = queue.compact(retention_seconds=100)
        assert (report.purged_runs, report.purged_tasks) == (6, 1)
        assert queue.projection.task_ids() == [going_on.id, pending.id]
        assert [task.runs_created for task in queue.projection.tasks()] == [3, 2]
        return report

    check_everywhere(path, make)


def test_a_failure_while_a_schedule_is_asked_forgets_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_small(path) as queue:
        task_of(queue, aq.Cron("0 0 0 1 1 * 2020"))
        before = queue.sequence
        monkeypatch.setattr("actionqueue.model.cron.expressions.parse", lambda _text: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            queue.compact(retention_seconds=0)
        assert queue.sequence == before
        monkeypatch.undo()
        monkeypatch.setattr(aq.clock, "now", lambda: NOW)
        assert queue.compact(retention_seconds=0).purged_tasks == 1


# --- Dependencies ---------------------------------------------------------------------------------


def test_tasks_that_are_over_keep_neither_each_other_nor_what_they_depended_on(path: Path) -> None:
    def make(queue: aq.ActionQueue) -> aq.CompactionReport:
        circle = [task_of(queue) for _ in range(3)]
        young, waiting, needed = (task_of(queue) for _ in range(3))
        for task in (*circle, needed):
            run_of(queue, task, ended_at=NOW - 100)
        run_of(queue, young, ended_at=NOW - 99)
        for task, other in zip(circle, (*circle[1:], circle[0]), strict=True):
            queue.submit(aq.DependencyDeclareCommand(None, task.id, (other.id, task.id), 1))
        queue.submit(aq.DependencyDeclareCommand(None, waiting.id, (needed.id,), 1))
        queue.submit(aq.DependencyDeclareCommand(None, young.id, (needed.id,), 1))
        report = queue.compact(retention_seconds=100)
        assert (report.purged_runs, report.purged_tasks) == (3, 3)
        assert queue.projection.task_ids() == [young.id, waiting.id, needed.id]
        assert len(queue.projection.runs_of_task(needed.id)) == 1
        assert queue.projection.dependency_pairs() == [
            (waiting.id, needed.id),
            (young.id, needed.id),
        ]
        queue.submit(aq.TaskCancelCommand(None, waiting.id, NOW - 99))
        report = queue.compact(retention_seconds=99)
        assert (report.purged_runs, report.purged_tasks) == (2, 3)
        return report

    check_everywhere(path, make)


def many_dependents(queue: aq.ActionQueue, count: int) -> tuple[aq.TaskSpec, list[aq.TaskSpec]]:
    """Make a task that is over, and many that are, and depend on it."""
    task, *dependents = (aq.TaskSpec(payload=b"x") for _ in range(count + 1))
    queue.submit_many(
        [aq.TaskCreateCommand(None, spec, 1) for spec in (task, *dependents)], "deferred"
    )
    queue.submit_many(
        [aq.DependencyDeclareCommand(None, spec.id, (task.id,), 1) for spec in dependents],
        "deferred",
    )
    queue.submit_many([aq.TaskCancelCommand(None, spec.id, 1) for spec in (task, *dependents)])
    return task, dependents


def test_a_task_with_very_many_dependents_is_forgotten_behind_them(path: Path) -> None:
    with open_small(path) as queue:
        task, dependents = many_dependents(queue, 5000)
        before = queue.sequence
        report = queue.compact(retention_seconds=0)
        assert (report.purged_tasks, queue.projection.counts().tasks) == (5001, 0)
        purges = [
            event
            for event in queue.follow(after=before, timeout=0)
            if isinstance(event, aq.RunsPurged)
        ]
        assert len(purges) > 1
        assert purges[-1].task_ids == (task.id,)
        assert {task_id for event in purges[:-1] for task_id in event.task_ids} == {
            dependent.id for dependent in dependents
        }
    assert verify(path)["snapshots"] == [before + len(purges)]


def test_a_task_waits_for_very_many_dependents_that_are_needed_themselves(path: Path) -> None:
    with open_small(path) as queue:
        task, dependents = many_dependents(queue, 5000)
        waiting = task_of(queue)
        queue.submit(
            aq.DependencyDeclareCommand(
                None, waiting.id, [dependent.id for dependent in dependents], 1
            )
        )
        assert queue.compact(retention_seconds=0).purged_tasks == 0
        assert queue.projection.task(task.id) is not None
        queue.submit(aq.TaskCancelCommand(None, waiting.id, 2))
        report = queue.compact(retention_seconds=0)
        assert (report.purged_tasks, queue.projection.counts().tasks) == (5002, 0)
    verify(path)


def test_searches_in_a_row_come_to_an_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where others go on ending tasks as fast as they are forgotten."""
    with open_small(path) as queue:
        purge, calls = queue._compactor._purge, list[None]()

        def purge_beside_others(
            what: retention.Retention, place: retention.Place
        ) -> retention.Forgotten:
            calls.append(None)
            task = task_of(queue)
            queue.submit(aq.TaskCancelCommand(None, task.id, 1))
            event, place, _ = purge(what, place)
            return event, place, True

        monkeypatch.setattr(queue._compactor, "_purge", purge_beside_others)
        assert (
            queue.compact(retention_seconds=0).purged_tasks == retention.SEARCHES_MAX == len(calls)
        )


# --- The ledger -----------------------------------------------------------------------------------


def append(queue: aq.ActionQueue, key: str, time: int) -> None:
    entry = aq.LedgerEntry(aq.LedgerEntryId(), aq.TenantId(), key, None, b"p", time)
    queue.submit(aq.LedgerAppendCommand(None, entry, time))


def test_the_ledger_is_kept_unless_its_own_retention_says_otherwise(path: Path) -> None:
    def make(queue: aq.ActionQueue) -> aq.CompactionReport:
        for key, time in (("a", NOW - 100), ("b", 5), ("c", NOW - 99), ("d", 5)):
            append(queue, key, time)
        task = task_of(queue)
        run_of(queue, task, ended_at=NOW - 500)
        assert queue.compact(retention_seconds=501).purged_ledger_entries == 0
        report = queue.compact(ledger_retention_seconds=100)
        assert (report.purged_runs, report.purged_ledger_entries) == (0, 2)
        assert [line.ledger_key for line in queue.projection.ledger()] == ["c", "d"]
        assert queue.compact(retention_seconds=0).purged_ledger_entries == 0
        return queue.compact(retention_seconds=0, ledger_retention_seconds=100)

    check_everywhere(path, make)
    with open_small(path) as queue:
        with pytest.raises(ValueError, match="ledger_retention_seconds"):
            queue.compact(ledger_retention_seconds=-1)
        with pytest.raises(TypeError):
            queue.compact(ledger_retention_seconds="1")  # type: ignore[arg-type]


def test_the_policys_retention_of_the_ledger(path: Path) -> None:
    with open_small(
        path, aq.CompactionPolicy(log_bytes=None, ledger_retention_seconds=100)
    ) as queue:
        append(queue, "old", 5)
        append(queue, "young", NOW)
        run_of(queue, task_of(queue))
        queue._compactor._retention_at = 0.0
        queue._compactor._retention_clock = retention.RetentionClock(newest_change=0)
        wait_until(lambda: [line.ledger_key for line in queue.projection.ledger()] == ["young"])
        assert queue.projection.counts().runs == 1


def test_a_forgotten_ledger_gives_its_memory_back(path: Path) -> None:
    with aq.open(path, durability="deferred", compaction=None) as queue:
        for number in range(3000):
            append(queue, f"key-{number}" * 10, 5)
        before = queue.projection.counts().memory_bytes
        assert queue.compact(ledger_retention_seconds=0).purged_ledger_entries == 3000
        assert queue.projection.counts().memory_bytes < before / 3


# --- Identifiers that are used again --------------------------------------------------------------


def test_without_tombstones_a_client_that_tries_again_runs_its_job_twice(path: Path) -> None:
    with open_small(path) as queue:
        task = task_of(queue)
        run_of(queue, task)
        with pytest.raises(aq.TaskAlreadyExists):
            queue.submit(aq.TaskCreateCommand(None, task, 1))
        queue.compact(retention_seconds=0)
        queue.submit(aq.TaskCreateCommand(None, task, 1))
        assert queue.projection.tombstones() == []


def test_a_tombstone_refuses_the_identifier_for_its_time(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = aq.TaskSpec(payload=b"x")
    create = aq.TaskCreateCommand(None, task, 1)

    def check_refused(queue: aq.ActionQueue) -> None:
        for submit in (
            lambda: queue.submit(create),
            lambda: queue.submit_many([create]),
            lambda: queue.submit(create, "deferred"),
        ):
            with pytest.raises(aq.TaskForgotten) as refusal:
                submit()
            assert (refusal.value.task_id, refusal.value.until) == (task.id, NOW + 500)
        assert queue.projection.tombstones() == [aq.Tombstone(task.id, NOW + 500)]
        assert queue.projection.forgotten_until(task.id) == NOW + 500
        assert queue.projection.counts().tombstones == 1

    def make(queue: aq.ActionQueue) -> aq.CompactionReport:
        queue.submit(create)
        run_of(queue, task)
        report = queue.compact(retention_seconds=0, tombstone_seconds=500)
        assert (report.purged_runs, report.purged_tasks) == (1, 1)
        check_refused(queue)
        return report

    check_everywhere(path, make)
    with open_small(path) as queue:
        check_refused(queue)
        monkeypatch.setattr(aq.clock, "now", lambda: NOW + 499)
        queue.compact(retention_seconds=0)
        check_refused(queue)
        monkeypatch.setattr(aq.clock, "now", lambda: NOW + 500)
        queue.compact()  # forgets nothing, and so drops none either
        check_refused(queue)
        queue.compact(retention_seconds=0)
        assert queue.projection.forgotten_until(task.id) is None
        queue.submit(create)
    with open_small(path) as queue, pytest.raises(ValueError, match="tombstone_seconds"):
        queue.compact(tombstone_seconds=-1)


def test_the_policys_tombstones_are_also_made_by_hand(path: Path) -> None:
    with open_small(path, aq.CompactionPolicy(log_bytes=None, tombstone_seconds=500)) as queue:
        first, second = task_of(queue), task_of(queue)
        run_of(queue, first)
        queue.compact(retention_seconds=0)
        run_of(queue, second)
        queue.compact(retention_seconds=0, tombstone_seconds=0)
        assert queue.projection.tombstones() == [aq.Tombstone(first.id, NOW + 500)]
    with open_small(
        path,
        aq.CompactionPolicy(log_bytes=None, retention_seconds=100, tombstone_seconds=2**64 - 1),
    ) as queue:
        third = task_of(queue)
        run_of(queue, third)
        queue._compactor._retention_at = 0.0
        queue._compactor._retention_clock = retention.RetentionClock(newest_change=0)
        wait_until(lambda: queue.projection.task(third.id) is None)
        assert queue.projection.tombstones()[-1] == aq.Tombstone(third.id, 2**64 - 1)


def test_dropped_tombstones_give_their_memory_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with aq.open(path, durability="deferred", compaction=None) as queue:
        for _ in range(3000):
            queue.submit(aq.TaskCancelCommand(None, task_of(queue).id, 2))
        queue.compact(retention_seconds=0, tombstone_seconds=5)
        counts = queue.projection.counts()
        assert (counts.tasks, counts.tombstones) == (0, 3000)
        monkeypatch.setattr(aq.clock, "now", lambda: NOW + 5)
        queue.compact(retention_seconds=0)
        assert queue.projection.counts().tombstones == 0
        assert queue.projection.counts().memory_bytes < counts.memory_bytes / 3
