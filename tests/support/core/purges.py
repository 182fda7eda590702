"""Tasks and actors that are over, and the events that forget them."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import actionqueue as aq
from actionqueue import (
    ActorId,
    AttemptId,
    AttemptResultKind,
    Cron,
    Once,
    Repeat,
    RunInstance,
    RunPolicy,
    RunState,
    SubscriptionId,
    TaskId,
    TaskSpec,
)
from tests.support.core.finished import PURGED
from tests.support.core.table_driver import Table
from tests.support.core.table_events import path_to

PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)


randoms = st.randoms(use_true_random=False)


S = RunState


POLICIES = (
    Once(),
    Once(),
    Repeat(1, 60),
    Repeat(2, 60),
    Cron("@hourly", None),
    Cron("@hourly", 2),
    Cron("0 0 0 1 1 * 1970,1971", None),
)


def task_with_run(
    *, policy: RunPolicy | None = None, parent: TaskId | None = None
) -> tuple[TaskSpec, RunInstance, list[aq.Event]]:
    """Return a task, a run of it, and the events up to the run's end at time 10."""
    task = TaskSpec(payload=b"x", run_policy=policy or Once(), parent_task_id=parent)
    run = RunInstance.scheduled(task.id, scheduled_at=1, created_at=1)
    attempt = AttemptId()
    events = [
        aq.TaskCreated(0, task, 1),
        aq.RunCreated(0, run),
        *path_to(run, S.READY, S.LEASED, S.RUNNING),
        aq.AttemptStarted(0, run.id, attempt, 2),
        aq.AttemptFinished(0, run.id, attempt, AttemptResultKind.SUCCESS, None, b"out", 3),
        aq.RunStateChanged(0, run.id, S.RUNNING, S.COMPLETED, 10),
    ]
    return task, run, events


def purge(runs: list[Any], tasks: list[Any], sequence: int = PURGED) -> aq.RunsPurged:
    return aq.RunsPurged(
        sequence, tuple(run.id for run in runs), tuple(task.id for task in tasks), 20
    )


def purge_over(
    subscriptions: list[SubscriptionId], actors: list[ActorId], sequence: int = PURGED
) -> aq.RunsPurged:
    return aq.RunsPurged(sequence, (), (), 20, tuple(subscriptions), tuple(actors))


def registered(actor: ActorId, time: int = 1) -> aq.ActorRegistered:
    return aq.ActorRegistered(0, actor, "one", ("a",), None, 1, None, time)


def without_sequence(dump: dict[str, Any]) -> dict[str, Any]:
    return {**dump, "latest_sequence": None}


def refusal(table: Table, event: aq.RunsPurged) -> str:
    before = table.dump()
    status = table.apply(event)
    assert table.dump() == before
    table.begin()
    assert table.apply(event) == status
    assert table.dump() == before
    table.rollback()
    assert table.dump() == before
    return status


def found_event(
    found: dict[str, list[Any]], sequence: int, kept_until: int | None = None
) -> aq.RunsPurged:
    lists = [tuple(found[name]) for name in ("run", "task", "subscription", "actor")]
    return aq.RunsPurged(
        sequence, *lists[:2], 1, *lists[2:], len(found["line"]), len(found["tombstone"]), kept_until
    )
