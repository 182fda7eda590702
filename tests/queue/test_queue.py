"""The public face of an open queue: what each call returns, and how each refusal looks."""

from __future__ import annotations

import copy
import ctypes
import gc
import inspect
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from _wal_native.events import encode_event
from _wal_native.log import open_log
from actionqueue import limits
from actionqueue.errors import (
    ClosedError,
    InvalidFieldTypeError,
    NonMonotonicSequence,
    RecordTooLarge,
    TaskAlreadyExists,
    UnknownTask,
    ValidationError,
    Written,
)
from actionqueue.inspection import iterate_records
from actionqueue.model.base import event_of
from tests.support.queues import REFUSED, SMALL, log_bytes, replayed, state_of, task_create

# --- The example of the design --------------------------------------------------------------------


def test_a_task_and_its_run_from_creation_to_success(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        assert queue.recovery.is_created
        task = aq.TaskSpec(payload=b"work", constraints=aq.TaskConstraints(max_attempts=3))
        outcome = queue.submit(aq.TaskCreateCommand(None, task, aq.now()))
        assert outcome == aq.MutationOutcome(1, aq.AppliedTaskCreate(task.id))
        run = aq.RunInstance.scheduled(task.id, scheduled_at=5, created_at=4)
        with queue.batch() as batch:
            batch.submit(aq.RunCreateCommand(None, run))
            batch.submit(aq.RunStateTransitionCommand(None, run.id, "scheduled", "ready", 6))
        assert [outcome.sequence for outcome in batch.outcomes] == [2, 3]
        assert batch.outcomes[1].applied == aq.AppliedRunStateTransition(
            run.id, aq.RunState.SCHEDULED, aq.RunState.READY
        )
        attempt = aq.AttemptId()
        queue.submit(
            aq.LeaseAcquireCommand(None, run.id, "worker", 100, 7),
            durability=aq.DurabilityPolicy.DEFERRED,
        )
        queue.submit_many(
            [
                aq.RunStateTransitionCommand(None, run.id, "ready", "leased", 8),
                aq.RunStateTransitionCommand(None, run.id, "leased", "running", 8),
                aq.AttemptStartCommand(None, run.id, attempt, 9),
            ],
            durability="deferred",
        )
        queue.submit(
            aq.AttemptFinishCommand(None, run.id, attempt, aq.AttemptOutcome.success(b"done"), 10),
            "deferred",
        )
        assert queue.durable_sequence == 3
        queue.sync()
        assert queue.durable_sequence == queue.sequence == 8
        assert queue.projection.run_state(run.id) is aq.RunState.RUNNING
        assert queue.projection.active_lease(run.id) == ("worker", 100)
        assert queue.projection.attempts(run.id) == [
            aq.AttemptRecord(attempt, 9, 10, aq.AttemptResultKind.SUCCESS, None, b"done")
        ]
        before = state_of(queue)
    with aq.open(str(tmp_path / "queue")) as queue:
        assert state_of(queue) == before


def test_the_signatures_are_those_of_the_design() -> None:
    assert list(inspect.signature(aq.open).parameters) == [
        "path", "durability", "readonly", "create", "segment_size", "ring_size", "sector_size",
        "compaction", "sync", "progress", "store", "standby", "holder", "takeover_seconds",
        "outbox_seconds",
    ]  # fmt: skip
    kinds = [parameter.kind for parameter in inspect.signature(aq.open).parameters.values()]
    assert (
        kinds == [inspect.Parameter.POSITIONAL_OR_KEYWORD] + [inspect.Parameter.KEYWORD_ONLY] * 14
    )
    assert list(inspect.signature(aq.ActionQueue.submit).parameters) == [
        "self",
        "command",
        "durability",
    ]
    assert list(inspect.signature(aq.ActionQueue.submit_many).parameters) == [
        "self",
        "commands",
        "durability",
    ]
    assert list(inspect.signature(aq.ActionQueue.batch).parameters) == ["self", "durability"]
    assert (
        inspect.signature(aq.open).parameters["durability"].default is aq.DurabilityPolicy.IMMEDIATE
    )


# --- Durability and sequences ---------------------------------------------------------------------


def test_sequence_and_durable_sequence_of_a_new_queue(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        assert queue.sequence == queue.durable_sequence == 0
        queue.sync()
        assert queue.sequence == queue.durable_sequence == 0


def test_an_immediate_command_makes_those_before_it_durable_too(tmp_path: Path) -> None:
    with aq.open(tmp_path, durability="deferred") as queue:
        for expected in (1, 2, 3):
            assert queue.submit(task_create()).sequence == expected
        assert (queue.sequence, queue.durable_sequence) == (3, 0)
        queue.submit(task_create(), "immediate")
        assert (queue.sequence, queue.durable_sequence) == (4, 4)
        queue.submit_many([task_create(), task_create()], "immediate")
        assert (queue.sequence, queue.durable_sequence) == (6, 6)


def test_the_queues_durability_is_immediate_unless_said_otherwise(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        queue.submit(task_create())
        assert queue.durable_sequence == 1
        with queue.batch() as batch:
            batch.submit(task_create())
        assert queue.durable_sequence == 2
        with queue.batch("deferred") as batch:
            batch.submit(task_create())
        assert queue.durable_sequence == 2
        assert queue.sequence == 3


def test_closing_makes_everything_durable(tmp_path: Path) -> None:
    queue = aq.open(tmp_path, durability="deferred")
    queue.submit(task_create())
    queue.close()
    assert queue.durable_sequence == queue.sequence == 1
    with aq.open(tmp_path) as queue:
        assert queue.durable_sequence == 1
        assert queue.recovery.durable_sequence == 1


def test_an_explicit_sequence_must_be_the_next(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        for wrong in (0, 2, 2**64 - 1):
            with pytest.raises(NonMonotonicSequence) as refusal:
                queue.submit(aq.EnginePauseCommand(wrong, 1))
            assert (refusal.value.expected, refusal.value.provided) == (1, wrong)
            assert refusal.value.batch_index is None
            assert refusal.value.written is Written.NO
        assert queue.submit(aq.EnginePauseCommand(1, 1)).sequence == 1
        assert [
            outcome.sequence
            for outcome in queue.submit_many(
                [aq.EngineResumeCommand(2, 1), aq.EnginePauseCommand(3, 1)]
            )
        ] == [2, 3]
        with pytest.raises(NonMonotonicSequence) as refusal:
            queue.submit_many([aq.EngineResumeCommand(4, 1), aq.EnginePauseCommand(4, 1)])
        assert (refusal.value.expected, refusal.value.provided, refusal.value.batch_index) == (
            5,
            4,
            1,
        )
        assert queue.sequence == 3


@pytest.mark.parametrize("durability", ["", "Immediate", "sometimes", 1])
def test_a_durability_that_is_none(tmp_path: Path, durability: Any) -> None:
    with pytest.raises(ValueError, match="DurabilityPolicy"):
        aq.open(tmp_path / "other", durability=durability)
    assert not (tmp_path / "other").exists()
    with aq.open(tmp_path / "queue") as queue:
        for call in (
            lambda: queue.submit(task_create(), durability),
            lambda: queue.submit_many([task_create()], durability),
        ):
            with pytest.raises(ValueError, match="DurabilityPolicy"):
                call()
        assert queue.sequence == 0


# --- Refusals -------------------------------------------------------------------------------------


def test_a_refused_command_changes_nothing(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        queue.submit(task_create(), "deferred")
        before, files = state_of(queue), log_bytes(tmp_path)
        unknown = aq.TaskId()
        with pytest.raises(UnknownTask) as refusal:
            queue.submit(aq.TaskCancelCommand(None, unknown, 1))
        assert refusal.value == UnknownTask(unknown)
        assert refusal.value.written is Written.NO
        assert isinstance(refusal.value, ValidationError)
        assert (state_of(queue), log_bytes(tmp_path)) == (before, files)
        assert queue.submit(task_create()).sequence == 2


@pytest.mark.parametrize("payload_size", [10, 70_000, 300_000])
@pytest.mark.parametrize("position", [0, 1, 7])
def test_a_refused_batch_changes_nothing(tmp_path: Path, position: int, payload_size: int) -> None:
    with aq.open(tmp_path, **SMALL) as queue:
        known = task_create()
        queue.submit(known)
        queue.submit(task_create(), "deferred")
        before, files = state_of(queue), log_bytes(tmp_path)
        commands: list[aq.MutationCommand] = [task_create(b"x" * payload_size) for _ in range(7)]
        commands.insert(position, known)
        with pytest.raises(TaskAlreadyExists) as refusal:
            queue.submit_many(commands)
        assert refusal.value.batch_index == position
        assert refusal.value.task_id == known.task_spec.id
        with pytest.raises(TaskAlreadyExists) as refusal, queue.batch() as batch:
            for command in commands:
                batch.submit(command)
        assert refusal.value.batch_index == position
        assert (state_of(queue), log_bytes(tmp_path)) == (before, files)
        assert queue.submit(task_create()).sequence == 3
    assert replayed(tmp_path).latest_sequence == 3


def test_each_command_of_a_batch_is_validated_against_those_before_it(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        queue.submit_many(
            [
                aq.EnginePauseCommand(None, 5),
                aq.EngineResumeCommand(None, 5),
                aq.EnginePauseCommand(None, 7),
            ]
        )
        assert queue.projection.is_engine_paused()
        with pytest.raises(ValidationError) as refusal:
            queue.submit_many([aq.EngineResumeCommand(None, 7), REFUSED])
        assert refusal.value.batch_index == 1
        assert queue.projection.is_engine_paused()


def test_what_is_no_command(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        for wrong in (None, "task_create", object(), aq.TaskCreateCommand, aq.EnginePaused(1, 1)):
            with pytest.raises(InvalidFieldTypeError):
                queue.submit(wrong)
            with pytest.raises(InvalidFieldTypeError):
                queue.submit_many([task_create(), wrong])
            with pytest.raises(TypeError), queue.batch() as batch:
                batch.submit(wrong)
        with pytest.raises(TypeError):
            queue.submit_many(5)
        assert queue.sequence == 0
        assert queue.submit_many([]) == []
        assert queue.submit(task_create()).sequence == 1


def test_the_largest_record_and_one_byte_more(tmp_path: Path) -> None:
    limit = limits.PAYLOAD_SIZE_MAX
    overhead = len(encode_event(event_of(task_create(bytes(limit // 2)), 1))) - limit // 2
    largest, larger = task_create(bytes(limit - overhead)), task_create(bytes(limit - overhead + 1))
    with aq.open(tmp_path, durability="deferred") as queue:
        with pytest.raises(RecordTooLarge) as refusal:
            queue.submit(larger)
        assert refusal.value == RecordTooLarge(limit + 1, limit)
        assert refusal.value.written is Written.NO
        with pytest.raises(RecordTooLarge) as refusal:
            queue.submit_many([task_create(), larger])
        assert refusal.value.batch_index == 1
        assert queue.sequence == 0
        queue.submit(largest)
        queue.submit_many([task_create(), largest_again(largest)])
        assert queue.sequence == 3
    with aq.open(tmp_path) as queue:
        kept = queue.projection.task(largest.task_spec.id)
        assert kept is not None
        assert kept.spec == largest.task_spec


def largest_again(command: aq.TaskCreateCommand) -> aq.TaskCreateCommand:
    return aq.TaskCreateCommand(
        None, aq.TaskSpec(payload=command.task_spec.payload), command.timestamp
    )


def test_a_batch_over_the_size_limit_says_which_limit(tmp_path: Path) -> None:
    with aq.open(tmp_path, durability="deferred") as queue:
        payload = bytes(limits.PAYLOAD_SIZE_MAX - 200)
        count = limits.BATCH_SIZE_MAX // len(payload) + 1
        with pytest.raises(RecordTooLarge) as refusal:
            queue.submit_many([task_create(payload) for _ in range(count)])
        assert refusal.value.limit == limits.BATCH_SIZE_MAX
        assert refusal.value.size > limits.BATCH_SIZE_MAX
        assert refusal.value.batch_index == count - 1
        assert queue.sequence == 0
        assert queue.stats()["appended_records"] == 0


# --- Batches --------------------------------------------------------------------------------------


def test_a_batch_is_empty_until_its_block_ends(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        with queue.batch() as batch:
            assert len(batch) == 0
            batch.submit(task_create())
            assert len(batch) == 1
            assert queue.sequence == 0
            with pytest.raises(RuntimeError):
                _ = batch.outcomes
            queue.submit(task_create())
        assert [outcome.sequence for outcome in batch.outcomes] == [2]
        with queue.batch() as batch:
            pass
        assert batch.outcomes == []


def test_a_batch_whose_block_raises_is_not_submitted(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        with pytest.raises(KeyError), queue.batch() as batch:
            batch.submit(task_create())
            raise KeyError
        assert queue.sequence == 0
        with pytest.raises(RuntimeError):
            _ = batch.outcomes


def test_a_batch_is_submitted_once(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        with queue.batch() as batch:
            batch.submit(aq.TenantCreateCommand(None, aq.TenantRegistration(aq.TenantId(), "t"), 1))
        with pytest.raises(RuntimeError):
            batch.submit(task_create())
        with pytest.raises(RuntimeError), batch:
            pass
        assert queue.sequence == 1


def test_a_batch_has_one_sync_and_is_marked_in_the_log(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        queue.submit_many([task_create() for _ in range(50)])
        assert queue.stats()["syncs"] == 1
        queue.submit_many([task_create()])
    marks = [record.batch for record in aq_records(tmp_path)]
    assert marks == ["open"] * 49 + ["end", None]


def aq_records(path: Path) -> list[Any]:
    return [record for record in iterate_records(path) if record.is_event]


def test_commands_are_taken_from_any_iterable_outside_the_queues_lock(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:

        def commands() -> Any:
            queue.submit(task_create(), "deferred")
            yield task_create()
            queue.submit(task_create(), "deferred")

        assert [outcome.sequence for outcome in queue.submit_many(commands())] == [3]
        with pytest.raises(ZeroDivisionError):
            queue.submit_many(task_create() for number in (1, 0) if 1 // number)
        assert queue.sequence == 3


def test_the_caller_keeps_its_list(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        commands = [task_create(), task_create()]
        kept = list(commands)
        queue.submit_many(commands)
        assert commands == kept
        assert all(command.sequence is None for command in commands)


# --- Closing --------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[aq.ActionQueue], Any]] = {
    "submit": lambda queue: queue.submit(task_create()),
    "submit deferred": lambda queue: queue.submit(task_create(), "deferred"),
    "submit_many": lambda queue: queue.submit_many([task_create()]),
    "submit_many of nothing": lambda queue: queue.submit_many([]),
    "batch": lambda queue: queue.batch().__exit__(None, None, None),
    "sync": lambda queue: queue.sync(),
    "stats": lambda queue: queue.stats(),
    "with": lambda queue: queue.__enter__(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_closed_queue_refuses(tmp_path: Path, call: Callable[[aq.ActionQueue], Any]) -> None:
    queue = aq.open(tmp_path)
    queue.submit(task_create())
    assert not queue.is_closed
    queue.close()
    queue.close()
    assert queue.is_closed
    assert not queue.is_poisoned
    for _ in range(2):
        with pytest.raises(ClosedError) as refusal:
            call(queue)
        assert refusal.value.written is Written.NO
    assert queue.sequence == queue.durable_sequence == 1
    assert len(queue.projection.tasks()) == 1
    assert queue.recovery.is_created
    assert "closed" in repr(queue)


def test_leaving_the_with_block_closes_also_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(KeyError), aq.open(tmp_path) as queue:
        queue.submit(task_create(), "deferred")
        raise KeyError
    assert queue.is_closed
    with aq.open(tmp_path) as queue:
        assert queue.sequence == 1


def test_the_projection_outlives_its_queue(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        command = task_create()
        queue.submit(command)
        projection = queue.projection
    del queue
    gc.collect()
    assert projection.task_exists(command.task_spec.id)


def test_a_queue_is_neither_pickled_nor_copied(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        for wanted in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError):
                wanted(queue)


def open_files() -> int:
    """Return how many descriptors, on Windows handles, this process has."""
    if sys.platform == "win32":
        process, count = ctypes.windll.kernel32.GetCurrentProcess, ctypes.c_ulong()
        process.restype = ctypes.c_void_p
        assert ctypes.windll.kernel32.GetProcessHandleCount(
            ctypes.c_void_p(process()), ctypes.byref(count)
        )
        return count.value
    descriptors = Path(f"/proc/{os.getpid()}/fd")
    return len(list((descriptors if descriptors.is_dir() else Path("/dev/fd")).iterdir()))


def test_the_file_descriptors_are_given_back(tmp_path: Path) -> None:
    before = open_files()
    for _ in range(20):
        with aq.open(tmp_path, **SMALL) as queue:
            queue.submit_many([task_create(b"x" * 9000) for _ in range(10)], "deferred")
    assert open_files() == before


def test_the_repr_names_path_state_and_sequence(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        queue.submit(task_create())
        assert repr(queue) == f"<ActionQueue {queue.path!r} open at sequence 1>"


def test_stats_are_counters_and_positions(tmp_path: Path) -> None:
    with aq.open(tmp_path, **SMALL) as queue:
        queue.submit_many([task_create() for _ in range(3)], "deferred")
        stats = queue.stats()
        assert stats["last_sequence"] == 3
        assert stats["durable_sequence"] == 0
        assert stats["appended_records"] == 3
        assert stats["appended_bytes"] == stats["ring_used"] or not stats["is_ring_mapped"]
        assert (stats["segment_size"], stats["ring_size"]) == (65536, 65536)
        for _ in range(8):
            queue.submit(task_create(b"x" * 30_000), "immediate")
        stats = queue.stats()
        assert stats["rotations"] == stats["segment_number"] - 1 >= 3
        assert stats["ring_used"] == 0
        assert stats["sync_ns_total"] >= stats["sync_ns_max"] > 0
        assert stats.pop("snapshot_error") is stats.pop("poisoned_by") is None
        assert stats["sync_events_total"] == stats["last_sequence"] == 11
        assert sum(stats.pop("sync_ns_histogram")) == stats["syncs"] >= stats["sync_groups"] > 0
        assert sum(stats.pop("sync_events_histogram")) == stats["sync_groups"]
        assert stats.pop("history") == queue.history
        assert all(type(value) in {int, bool} for value in stats.values())


def test_the_log_itself_refuses_a_sequence_that_is_not_the_next(tmp_path: Path) -> None:
    """As the writer of any authority, whose projection may know more or less than the log."""
    log, _report = open_log(
        str(tmp_path),
        aq.Projection(),
        may_create=True,
        now=1,
        holder="test",
        sector_size=0,
        **SMALL,
    )
    for wrong in (aq.EnginePaused(2, 1), aq.EnginePaused(0, 1)):
        with pytest.raises(aq.RefusedEventError) as refusal:
            log.append(wrong)
        assert refusal.value == aq.RefusedEventError("sequence", wrong.sequence)
    log.append(aq.EnginePaused(1, 1))
    log.flush()
    assert log.last_sequence == log.durable_sequence == 1
    log.close()
    assert replayed(tmp_path).is_engine_paused()


def test_what_an_application_derives_is_written_as_what_it_is_derived_from(
    tmp_path: Path,
) -> None:
    class Often(aq.Repeat, frozen=True, gc=False):
        pass

    class Note(aq.CustomFilter, frozen=True, gc=False):
        pass

    task = aq.TaskSpec(payload=b"x", run_policy=Often(3, 60))
    subscription = aq.SubscriptionId()
    with aq.open(tmp_path) as queue:
        queue.submit(aq.TaskCreateCommand(None, task, 1))
        queue.submit(aq.SubscriptionCreateCommand(None, subscription, task.id, Note("key"), 1))
    created, subscribed = aq.follow(tmp_path, timeout=0)
    assert created.task_spec.run_policy == aq.Repeat(3, 60)
    assert subscribed.filter == aq.CustomFilter("key")
    assert type(created.task_spec.run_policy) is aq.Repeat


def test_a_batch_has_one_block(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        with queue.batch() as batch:
            batch.submit(task_create())
            with pytest.raises(RuntimeError, match="begin a new one"), batch:
                pass
        assert queue.sequence == 1
        with pytest.raises(RuntimeError, match="begin a new one"), batch:
            pass
        broken = queue.batch()
        with pytest.raises(KeyError), broken:
            broken.submit(task_create())
            raise KeyError
        with pytest.raises(RuntimeError, match="begin a new one"), broken:
            pass
        assert queue.sequence == 1
