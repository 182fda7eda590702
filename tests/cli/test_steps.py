"""``why``, and the commands that change a queue as a scheduler does."""

from __future__ import annotations

from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue import RunId, RunState, TaskId, inspection
from tests.support.command_line import assert_fails, run

UNKNOWN = "00000000-0000-4000-8000-000000000001"


class Queue:
    """A task that is claimed, one that waits for its key and for a retry, and one after it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with aq.open(path, durability="deferred") as opened:
            scheduler = aq.Scheduler(opened, clock=lambda: 1000)
            self.failing = scheduler.add(b"x", max_attempts=3)
            self.after = scheduler.add(b"x", depends_on=[self.failing])
            [claim] = scheduler.claim("worker")
            scheduler.fail(claim, "no", retry_at=5000)
            self.holding = scheduler.add(b"x", concurrency_key="key")
            self.waiting = scheduler.add(b"x", concurrency_key="key")
            scheduler.claim("worker")

    def state(self, task_id: TaskId) -> RunState | None:
        projection = inspection.read_projection(self.path)
        return projection.run_state(run_of(task_id))


def run_of(task_id: TaskId) -> RunId:
    return aq.run_id_of(task_id, 0)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "queue")


def test_why_a_run_waits(queue: Queue) -> None:
    said = run("why", queue.path, run_of(queue.waiting))
    assert (said.code, said.error) == (0, "")
    holder = run_of(queue.holding)
    assert f"waits: the run {holder} holds its concurrency key" in said.output.splitlines()
    said = run("why", queue.path, run_of(queue.failing))
    assert "waits: it is to be tried again at 5000 (" in said.output
    assert "it waits for nothing: it was started" in run("why", queue.path, holder).output
    assert run("resume", queue.path).code == 0


def test_why_for_programs(queue: Queue) -> None:
    [shown] = run("why", queue.path, run_of(queue.after), "--json").objects
    assert shown == {
        "run_id": str(run_of(queue.after)),
        "state": "ready",
        "reasons": [
            {
                "kind": "prerequisite",
                "text": f"the prerequisite {queue.failing} is not met",
                "task_id": str(queue.failing),
            }
        ],
    }


def test_the_engine_is_paused_and_resumed(queue: Queue) -> None:
    assert run("pause", queue.path) == (0, "", "")
    assert run("pause", queue.path).code == 0
    assert inspection.read_projection(queue.path).engine.is_paused
    assert "the engine is paused" in run("why", queue.path, run_of(queue.after)).output
    assert run("resume", queue.path) == (0, "", "")
    assert run("resume", queue.path).code == 0
    assert not inspection.read_projection(queue.path).engine.is_paused


def test_a_task_is_canceled_with_what_waits_for_it(queue: Queue) -> None:
    said = run("cancel", queue.path, queue.failing)
    assert said.code == 0
    assert set(said.output.split()) == {str(queue.failing), str(queue.after)}
    assert queue.state(queue.failing) is queue.state(queue.after) is RunState.CANCELED
    assert "it is at its end" in run("why", queue.path, run_of(queue.after)).output
    assert run("cancel", queue.path, queue.failing) == (0, "", "")


def test_a_run_is_tried_again_now(queue: Queue) -> None:
    assert run("retry", queue.path, run_of(queue.failing)) == (0, "", "")
    assert queue.state(queue.failing) is RunState.READY
    assert "nothing keeps it" in run("why", queue.path, run_of(queue.failing)).output
    assert_fails(run("retry", queue.path, run_of(queue.failing)), 12, "retry_wait")


def test_a_run_gets_another_time_and_priority(queue: Queue) -> None:
    run_id = run_of(queue.failing)
    assert run("reschedule", queue.path, run_id, "--at", "7000", "--priority", "-3").code == 0
    changed = inspection.read_projection(queue.path).run(run_id)
    assert changed is not None
    assert (changed.scheduled_at, changed.effective_priority) == (7000, -3)
    said = run("reschedule", queue.path, run_of(queue.holding), "--priority", "1")
    assert_fails(said, 12, "running")


def test_a_run_that_waits_for_no_time_gets_no_other_one(queue: Queue) -> None:
    """What is printed says so, and what else may be done."""
    run_id = run_of(queue.waiting)
    said = run("reschedule", queue.path, run_id, "--at", "7000", "--priority", "3")
    assert_fails(said, 12, f"run {run_id} is ready and waits for no time")
    assert "another priority" in said.error
    assert "cannot go from" not in said.error
    unchanged = inspection.read_projection(queue.path).run(run_id)
    assert unchanged is not None
    assert unchanged.effective_priority == 0
    assert run("reschedule", queue.path, run_id, "--priority", "3") == (0, "", "")


@pytest.mark.parametrize("command", ["why", "cancel", "retry", "reschedule"])
def test_what_is_unknown_is_named(queue: Queue, command: str) -> None:
    more = ["--priority", "1"] if command == "reschedule" else []
    before = run("dump", queue.path).output
    assert_fails(run(command, queue.path, UNKNOWN, *more), 2, UNKNOWN)
    assert_fails(run(command, queue.path, "x y", *more), 2, "'x y'")
    assert run("dump", queue.path).output == before


def test_reschedule_wants_something_to_change(queue: Queue) -> None:
    assert_fails(run("reschedule", queue.path, run_of(queue.failing)), 2, "--priority")


@pytest.mark.parametrize("command", ["pause", "resume", "cancel", "retry", "reschedule", "why"])
def test_no_queue_is_made(tmp_path: Path, command: str) -> None:
    arguments = [] if command in {"pause", "resume"} else [UNKNOWN]
    more = ["--priority", "1"] if command == "reschedule" else []
    assert run(command, tmp_path / "absent", *arguments, *more).code == 6
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("command", ["pause", "resume", "cancel", "retry", "reschedule"])
def test_an_open_queue_is_left_alone(queue: Queue, command: str) -> None:
    arguments = [] if command in {"pause", "resume"} else [run_of(queue.failing)]
    more = ["--priority", "1"] if command == "reschedule" else []
    with aq.open(queue.path):
        assert_fails(run(command, queue.path, *arguments, *more), 4, "in use")
        assert run("why", queue.path, run_of(queue.failing)).code == 0
