"""A queue that was closed and let go is freed, with its table, whatever it was asked before."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import actionqueue as aq
from tests.support.queues import task_create


def tenant_create() -> aq.TenantCreateCommand:
    """A command of a kind that does not go the short way."""
    return aq.TenantCreateCommand(None, aq.TenantRegistration(aq.TenantId(), "name"), 1)


def refused() -> aq.TaskCreateCommand:
    return aq.TaskCreateCommand(10**6, aq.TaskSpec(payload=b""), 1)


def ready_run() -> list[aq.MutationCommand]:
    task = task_create()
    run = aq.RunInstance.scheduled(task.task_spec.id, scheduled_at=1, created_at=1)
    ready = aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", 1)
    return [task, aq.RunCreateCommand(None, run), ready]


def ask(queue: aq.ActionQueue) -> None:
    queue.submit_many(ready_run())
    [(_, _, run_id)] = queue.projection.ready(10, {"gpu"})
    assert queue.projection.why_waiting(run_id) == []
    assert queue.projection.due(10, 10) == []
    assert queue.projection.run_ids("ready") == [run_id]


def follow_half_way(queue: aq.ActionQueue) -> None:
    queue.submit_many([task_create() for _ in range(10)], durability="immediate")
    stream = queue.follow(after=0)
    next(stream)
    stream.close()


def submit_a_refused_batch(queue: aq.ActionQueue) -> None:
    with suppress(aq.ValidationError):
        queue.submit_many([task_create(), refused()])


def submit_what_is_refused(queue: aq.ActionQueue) -> None:
    with suppress(aq.ValidationError):
        queue.submit(refused())


def begin_a_batch(queue: aq.ActionQueue) -> None:
    with suppress(ZeroDivisionError), queue.batch() as batch:
        batch.submit(task_create())
        raise ZeroDivisionError


def schedule(queue: aq.ActionQueue) -> None:
    scheduler = aq.Scheduler(queue)
    task = aq.TaskSpec(payload=b"", constraints=aq.TaskConstraints(concurrency_key="k"))
    scheduler.add(task)
    with suppress(aq.TaskAlreadyExists):
        scheduler.add_many([b"", task])
    scheduler.add_many([b"", b""])
    scheduler.add(b"", concurrency_key="k")
    claims = scheduler.claim("worker", 10)
    scheduler.complete(claims[0])
    with suppress(aq.ClaimLost):
        scheduler.complete_many(claims)
    scheduler.complete_many(claims[1:])
    assert scheduler.claim("worker")
    assert not scheduler.claim("worker")


def schedule_in_columns(queue: aq.ActionQueue) -> None:
    scheduler = aq.Scheduler(queue)
    scheduler.add_many([b"", b""])
    claims = scheduler.claim_columns("worker", 10)
    scheduler.complete_columns(claims.select([0]))
    with suppress(aq.ClaimLost):
        scheduler.complete_columns(claims)


USES: dict[str, Callable[[aq.ActionQueue], object]] = {
    "a command": lambda queue: queue.submit(task_create()),
    "a rare command": lambda queue: queue.submit(tenant_create()),
    "a refused command": submit_what_is_refused,
    "a large command": lambda queue: queue.submit(task_create(bytes(3_000_000))),
    "a batch": lambda queue: queue.submit_many([task_create(), task_create()]),
    "a batch with rare commands": lambda queue: queue.submit_many(
        [task_create(), tenant_create(), task_create(), tenant_create()]
    ),
    "a refused batch": submit_a_refused_batch,
    "a batch that was given up": begin_a_batch,
    "columns": lambda queue: queue.projection.columns(),
    "questions": ask,
    "a stream of events": follow_half_way,
    "a compaction": lambda queue: queue.compact(),
    "a scheduler": schedule,
    "a scheduler, in columns": schedule_in_columns,
    "statistics": lambda queue: queue.stats(),
}


@pytest.mark.parametrize("use", USES)
def test_a_queue_is_freed(use: str, tmp_path: Path) -> None:
    queue = aq.open(tmp_path / "queue", durability="deferred")
    USES[use](queue)
    table = weakref.ref(queue.projection)
    queue.close()
    del queue
    gc.collect()
    assert table() is None


def test_a_reader_is_freed(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        queue.submit_many(ready_run())
        reader = aq.open(tmp_path / "queue", readonly=True)
        queue.submit_many(ready_run())
        reader.refresh()
        assert len(reader.projection.ready(10)) == 2
    table = weakref.ref(reader.projection)
    reader.close()
    del reader
    gc.collect()
    assert table() is None
