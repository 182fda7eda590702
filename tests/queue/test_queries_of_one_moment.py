"""Each query answers from one moment, with whole batches only, whatever runs while it makes its
objects.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from tests.support.queues import PATIENCE_S, task_create, wait_until

ROWS = 400
TENANT = aq.TenantId()
ACTORS = [aq.ActorId() for _ in range(ROWS)]
PAST = 1_000


def roles(text: str) -> list[Any]:
    return [
        aq.RoleAssignCommand(None, actor, aq.Role.custom(text), TENANT, PAST) for actor in ACTORS
    ]


def finished_runs(count: int) -> list[Any]:
    commands: list[Any] = []
    for _ in range(count):
        task = aq.TaskSpec(payload=b"x")
        run = aq.RunInstance.scheduled(task.id, scheduled_at=PAST, created_at=PAST)
        cancel = aq.RunStateTransitionCommand(None, run.id, "scheduled", "canceled", PAST)
        commands += [aq.TaskCreateCommand(None, task, PAST), aq.RunCreateCommand(None, run), cancel]
    return commands


QUERIES: dict[str, Callable[[aq.Projection], Any]] = {
    "roles": lambda p: p.roles(),
    "capability_grants": lambda p: p.capability_grants(),
    "tasks": lambda p: p.tasks(),
    "runs": lambda p: [p.run(run) for run in p.run_ids()],
    "run_ids": lambda p: p.run_ids("canceled"),
    "array": lambda p: p.run_id_array("canceled"),
    "columns": lambda p: p.columns(),
    "counts": lambda p: p.counts(),
}


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[aq.ActionQueue]:
    with aq.open(tmp_path / "queue", compaction=None, durability="deferred") as queue:
        queue.submit_many(roles("good"))
        grants = [
            aq.CapabilityGrantCommand(None, actor, aq.Capability.custom("c"), TENANT, PAST)
            for actor in ACTORS
        ]
        queue.submit_many(grants)
        yield queue


@contextmanager
def changing(*works: Callable[[], Any]) -> Iterator[list[BaseException]]:
    """Do works in threads of their own until the block ends."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def repeat(work: Callable[[], Any]) -> None:
        while not stop.is_set():
            try:
                work()
            except (aq.ValidationError, aq.ReentrantCallError):
                pass
            except BaseException as error:
                failed.append(error)
                return

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield failed
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_rows_of_a_refused_batch_are_never_seen(queue: aq.ActionQueue) -> None:
    evil = [*roles("evil")[::-1], aq.TaskCancelCommand(None, aq.TaskId(), PAST)]
    with changing(lambda: queue.submit_many(evil)) as failed:
        for _ in range(300):
            assert {role.role.text for role in queue.projection.roles()} == {"good"}
    assert not failed


@pytest.mark.parametrize("name", QUERIES)
def test_queries_beside_every_kind_of_change(queue: aq.ActionQueue, name: str) -> None:
    """The renewal of the projection frees the memory of the old one."""
    evil = [*roles("evil"), aq.TaskCancelCommand(None, aq.TaskId(), PAST)]

    def purge() -> None:
        queue.submit_many(finished_runs(700))
        queue.compact(retention_seconds=0)

    with changing(
        purge, lambda: queue.submit_many(evil), lambda: queue.submit(task_create())
    ) as failed:
        for _ in range(60):
            QUERIES[name](queue.projection)
            assert len(queue.projection.roles()) == ROWS
    assert not failed


@pytest.mark.parametrize("name", QUERIES)
def test_what_the_collector_calls_in_a_query_changes_nothing_under_it(
    queue: aq.ActionQueue, name: str
) -> None:
    queue.submit_many(finished_runs(50))
    told: list[str] = []

    def call(_phase: str, _info: dict[str, int]) -> None:
        if len(told) > 200:
            return
        told.append("")
        works = (
            lambda: queue.submit(task_create()),
            lambda: queue.submit_many(roles("evil")),
            lambda: queue.compact(retention_seconds=0),
            queue.projection.roles,
        )
        for work in works:
            try:
                work()
            except aq.ReentrantCallError:
                told[-1] = "refused"

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    gc.callbacks.append(call)
    try:
        for _ in range(20):
            QUERIES[name](queue.projection)
    finally:
        gc.callbacks.remove(call)
        gc.set_threshold(*threshold)
    assert told or name == "counts"  # which makes nothing that the collector tracks
    assert len(queue.projection.roles()) == ROWS
    queue.submit(task_create())


def test_arrays_that_a_finalizer_asks_for_in_a_query_wait_for_no_thread_that_waits_for_it(
    queue: aq.ActionQueue,
) -> None:
    queue.submit_many(finished_runs(50))
    is_inside, answers, kept = threading.Event(), list[int](), list[Any]()

    def pause() -> None:
        is_inside.wait(PATIENCE_S)
        queue.submit(aq.EnginePauseCommand(None, PAST))

    pauser = threading.Thread(target=pause)
    pauser.start()

    def call(phase: str, _info: dict[str, int]) -> None:
        if phase != "start" or threading.current_thread() is pauser or is_inside.is_set():
            return
        try:
            queue.projection.ensure_not_in_query()
        except aq.ReentrantCallError:
            is_inside.set()
        else:
            return
        # The pauser has the lane, and waits for the end of this query.
        wait_until(lambda: queue._lane.is_taken)
        answers.append(len(queue.projection.run_id_array()))
        answers.append(len(queue.projection.columns().runs))

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    gc.callbacks.append(call)
    try:
        while not is_inside.is_set():
            # Tuples that were let go would be used again, and call for no collection.
            kept.append(queue.projection.read_roles())
    finally:
        gc.callbacks.remove(call)
        gc.set_threshold(*threshold)
    pauser.join(PATIENCE_S)
    assert not pauser.is_alive()
    runs = queue.projection.counts().runs
    assert answers == [runs, runs]
