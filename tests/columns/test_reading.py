"""The projection as arrays: all that they say is what the other queries say, and they stay as they
are.
"""

from __future__ import annotations

import inspect
import re
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import actionqueue as aq
from actionqueue.errors import InvalidFieldError, InvalidFieldTypeError, ValidationError
from actionqueue.model.base import event_of
from tests.support.columns import (
    OPTIONS,
    RESULTS,
    STATES,
    RowSource,
    add_run,
    add_runs,
    small_queue,
    submit_columns,
)
from tests.support.command_source import CommandSource
from tests.support.model import Model
from tests.support.queues import in_child


def id_text(id_type: Any, value: Any) -> Any:
    return id_type(bytes(value))


def runs_of(columns: aq.ProjectionColumns) -> list[tuple[Any, ...]]:
    return [
        (
            aq.RunInstance(
                id_text(aq.RunId, run["run_id"]),
                id_text(aq.TaskId, run["task_id"]),
                STATES[run["state"]],
                id_text(aq.AttemptId, run["active_attempt_id"])
                if run["has_active_attempt"]
                else None,
                int(run["attempt_count"]),
                int(run["created_at"]),
                int(run["scheduled_at"]),
                int(run["effective_priority"]),
                int(run["last_state_change_at"]),
            ),
            tuple(int(run[f"lease_{name}"]) for name in ("expiry", "acquired_at", "updated_at"))
            if run["has_lease"]
            else None,
        )
        for run in columns.runs
    ]


def assert_says_what_the_queries_say(projection: aq.Projection) -> None:
    columns = projection.columns()
    assert columns.sequence == projection.latest_sequence
    run_ids = projection.run_ids()
    leases = [projection.lease(run_id) for run_id in run_ids]
    assert runs_of(columns) == [
        (projection.run(run_id), lease and (lease.expiry, lease.acquired_at, lease.updated_at))
        for run_id, lease in zip(run_ids, leases, strict=True)
    ]
    tasks = projection.tasks()
    assert [tuple(task.item()) for task in columns.tasks] == [
        (
            task.task_id.bytes,
            task.created_at,
            task.is_canceled,
            task.canceled_at or 0,
            len(projection.runs_of_task(task.task_id)),
        )
        for task in tasks
    ]
    expected = {
        (run_id, attempt.attempt_id): (
            attempt.started_at,
            attempt.finished_at is not None,
            attempt.finished_at or 0,
            255 if attempt.result is None else RESULTS.index(attempt.result),
            len((attempt.error or "").encode() or attempt.output or b""),
        )
        for run_id in run_ids
        for attempt in projection.attempts(run_id) or []
    }
    assert {
        (aq.RunId(bytes(row[1])), aq.AttemptId(bytes(row[0]))): row[2:]
        for row in columns.attempts.tolist()
    } == expected
    assert len(columns.attempts) == len(expected)
    for state in (None, *STATES):
        assert aq.columns.ids_from_array(
            projection.run_id_array(state), aq.RunId
        ) == projection.run_ids(state)


@pytest.mark.parametrize("seed", range(4))
def test_arrays_say_what_the_queries_say(seed: int, tmp_path: Path) -> None:
    random, model = Random(seed), Model()
    with aq.open(tmp_path / "queue", **OPTIONS) as queue:
        assert_says_what_the_queries_say(queue.projection)

        def submit(command: aq.MutationCommand) -> None:
            try:
                sequence = queue.submit(command).sequence
            except ValidationError:
                return
            assert sequence == model.latest_sequence + 1
            model.apply_event(event_of(command, sequence))

        CommandSource(random, poison=False).stream(400, model, submit)
        source = RowSource(random, queue.projection)
        for _ in range(20):
            submit_columns(queue, source.commands(30), on_refusal="report")
        assert_says_what_the_queries_say(queue.projection)
        queue.sync()
        reader = aq.open(tmp_path / "queue", readonly=True)
        assert_says_what_the_queries_say(reader.projection)
        assert runs_of(reader.projection.columns()) == runs_of(queue.projection.columns())


def test_what_was_purged_is_left_out() -> None:
    with small_queue() as queue:
        run_ids = [
            add_run(queue, state)
            for state in ("running", "completed", "ready", "canceled", "running")
        ]
        attempt_ids = aq.columns.new_ids(aq.AttemptId, 1)
        last = aq.columns.id_array(run_ids[4:])
        queue.submit_attempt_starts(last, attempt_ids, 1)
        queue.submit_attempt_finishes(last, attempt_ids, "failure", 1, errors="broken")
        queue.submit_transitions(last, "running", "failed", 2)
        queue.submit(aq.AttemptStartCommand(None, run_ids[0], aq.AttemptId(), 1))
        queue.compact(retention_seconds=0)
        columns = queue.projection.columns()
        assert aq.columns.ids_from_array(columns.runs["run_id"].copy(), aq.RunId) == [
            run_ids[0],
            run_ids[2],
        ]
        assert (len(columns.tasks), len(columns.attempts)) == (2, 1)
        assert_says_what_the_queries_say(queue.projection)


def test_views_stay_as_they_are() -> None:
    with small_queue() as queue:
        add_runs(queue, 50)
        columns, ids = queue.projection.columns(), queue.projection.run_id_array()
        kept = [array.tobytes() for array in (columns.tasks, columns.runs, columns.attempts, ids)]
        for view in (columns.tasks, columns.runs, columns.attempts, columns.runs["state"], ids):
            assert not view.flags.writeable
            with pytest.raises(ValueError, match="WRITEABLE"):
                view.flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            columns.runs["state"][0] = 3
        with pytest.raises(AttributeError):
            columns.sequence = 3  # type: ignore[misc]
        queue.submit_transitions(ids, "scheduled", "ready", 9)
        add_runs(queue, 50)
        projection = queue.projection
        queue.close()
        assert [
            array.tobytes() for array in (columns.tasks, columns.runs, columns.attempts, ids)
        ] == kept
        assert (columns.sequence, len(columns.runs)) == (100, 50)
        assert len(projection.columns().runs) == 100  # a closed queue's projection stays readable
        del projection, queue
        assert [
            array.tobytes() for array in (columns.tasks, columns.runs, columns.attempts, ids)
        ] == kept


def test_what_is_there_and_what_it_is_called() -> None:
    with small_queue() as queue:
        columns = queue.projection.columns()
    assert (columns.sequence, len(columns.tasks), len(columns.runs), len(columns.attempts)) == (
        0,
        0,
        0,
        0,
    )
    documentation = inspect.getsource(aq.ProjectionColumns)
    for array in (columns.tasks, columns.runs, columns.attempts):
        listed = ", ".join(array.dtype.names or ())
        assert listed in re.sub(r" \(.*?\)", "", " ".join(documentation.split()))
    assert columns.runs.dtype["run_id"] == np.dtype("V16")
    assert columns.runs.dtype["state"] == np.uint8
    assert columns.runs.dtype["created_at"] == np.uint64
    assert columns.runs.dtype["effective_priority"] == np.int32
    assert columns.runs.dtype["has_lease"] == np.bool_


def test_a_state_is_a_member_its_name_or_its_code() -> None:
    with small_queue() as queue:
        run_ids = add_runs(queue, 3)
        queue.submit_transitions(run_ids[1:], "scheduled", "ready", 1)
        projection = queue.projection
        for state in (aq.RunState.READY, "ready", 1, np.uint8(1)):
            assert projection.run_id_array(state).tobytes() == run_ids[1:].tobytes()
            assert projection.run_ids(state) == aq.columns.ids_from_array(run_ids[1:], aq.RunId)
        for refused in ("bogus", "READY", 9, -1, 2**70):
            for query in (projection.run_ids, projection.run_id_array):
                with pytest.raises(InvalidFieldError, match="state"):
                    query(refused)  # type: ignore[operator]
        for wrong in (True, 1.0, [], b"ready"):
            with pytest.raises(InvalidFieldTypeError, match="RunState"):
                projection.run_ids(wrong)  # type: ignore[arg-type]


def test_submitters_wait_for_a_copy_and_others_do_not() -> None:
    """The copy is made without the interpreter's lock, of a table that stands still: each one is as
    of its sequence.
    """
    with small_queue() as queue:
        run_ids = add_runs(queue, 3000)
        some = aq.columns.ids_from_array(run_ids, aq.RunId)
        begin = queue.sequence

        def submit() -> None:
            for number, run_id in enumerate(some):
                if number % 100 == 0:
                    time.sleep(0.001)  # so that copies come in between on any machine
                queue.submit(aq.RunStateTransitionCommand(None, run_id, "scheduled", "ready", 1))

        def cancel() -> None:
            queue.submit_transitions(run_ids, "ready", "canceled", 1)

        threads = [threading.Thread(target=submit), threading.Thread(target=cancel)]
        threads[0].start()
        sequences = set()
        while threads[0].is_alive():
            columns = queue.projection.columns()
            states = columns.runs["state"]
            done = columns.sequence - begin
            assert (states[:done] == 1).all()
            assert (states[done:] == 0).all()
            assert len(queue.projection.run_id_array("ready")) >= done
            sequences.add(columns.sequence)
        threads[0].join()
        assert len(sequences) > 1
        threads[1].start()
        while threads[1].is_alive():
            # The arrays are from before the whole call, or from behind it.
            assert len(set(queue.projection.columns().runs["state"])) == 1
        threads[1].join()
        assert set(queue.projection.columns().runs["state"]) == {8}


@pytest.mark.platform("fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_in_a_forked_child_the_projection_is_still_read() -> None:
    with small_queue() as queue:
        add_runs(queue, 3)

        def read() -> None:
            assert len(queue.projection.columns().runs) == len(queue.projection.run_id_array()) == 3

        held, may_go = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            may_go.wait()

        holder = threading.Thread(target=queue._lane.run, args=(hold,))
        holder.start()
        held.wait()
        try:
            in_child(read)  # there the thread that holds the lane does not exist
        finally:
            may_go.set()
            holder.join()


def test_a_round_trip_through_arrays() -> None:
    """What is read is what is submitted: a scheduler's loop without an object a row."""
    with small_queue() as queue:
        add_runs(queue, 100)
        runs = queue.projection.columns().runs
        due = runs["run_id"][runs["scheduled_at"] <= 1]
        with pytest.raises(aq.InvalidFieldError, match="ascontiguousarray"):
            queue.submit_transitions(runs["run_id"], "scheduled", "ready", 2)
        queue.submit_transitions(due, "scheduled", "ready", 2)
        assert queue.projection.counts_by_state()[aq.RunState.READY] == 100
