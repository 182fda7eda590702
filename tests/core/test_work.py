"""A scheduler's native steps: the events are those of commands, and memory may run out anywhere."""

from __future__ import annotations

from typing import Any

import pytest

import actionqueue as aq
from _wal_native.events import encode_event
from actionqueue import AttemptId, AttemptResultKind, RunId, RunState, TaskSpec
from actionqueue.scheduler.recurrence import new_run
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import Batch, status_name
from tests.support.core.table_driver import Memory, Table, as_c

NOW = 1000
S = RunState


class Work:
    """An aqw_work over a table and a batch."""

    def __init__(self, table: Table) -> None:
        self.table, self.batch = table, Batch()
        self.kept: list[Any] = []
        self.work = ffi.new(
            "aqw_work *", {"table": table.table, "batch": self.batch.batch, "now": NOW}
        )

    def bytes_of(self, data: bytes) -> dict[str, Any]:
        self.kept.append(ffi.new("uint8_t[]", data or b"\0"))
        return {"data": self.kept[-1], "size": len(data)}

    def add(self, spec: TaskSpec, scheduled_at: int) -> str:
        encoded, _payload = as_c(aq.TaskCreated(1, spec, NOW))
        part = getattr(encoded, "as").task_created.spec
        task = ffi.new("aqw_new_task *")
        task.task_id = task.run_id = list(spec.id.bytes)
        task.spec, task.priority = part, spec.metadata.priority
        task.scheduled_at = scheduled_at
        return str(status_name(lib.aqw_work_add(self.work, task)))

    def held(self, run_id: RunId, attempt_id: AttemptId, owner: bytes) -> Any:
        held = ffi.new("aqw_held *", {"owner": self.bytes_of(owner)})
        held.run_id, held.attempt_id = list(run_id.bytes), list(attempt_id.bytes)
        return held

    def claim(self, run_id: RunId, attempt_id: AttemptId, owner: bytes = b"owner") -> str:
        held = self.held(run_id, attempt_id, owner)
        return str(status_name(lib.aqw_work_claim(self.work, held, NOW + 30)))

    def complete(self, run_id: RunId, attempt_id: AttemptId, output: bytes) -> str:
        held = self.held(run_id, attempt_id, b"owner")
        given = ffi.new("aqw_bytes *", self.bytes_of(output))
        return str(status_name(lib.aqw_work_complete(self.work, held, given[0])))

    def is_held(self, run_id: RunId, attempt_id: AttemptId, owner: bytes) -> bool:
        held = self.held(run_id, attempt_id, owner)
        return bool(lib.aqw_work_is_held(self.table.table, held))

    def begin(self) -> None:
        lib.aqw_batch_reset(self.batch.batch)
        assert lib.aqw_table_begin(self.table.table) == lib.AQW_OK

    def records(self) -> list[tuple[int, bytes]]:
        """Return the kinds and payloads in the batch."""
        batch, at, found = self.batch.batch, 0, []
        data = bytes(ffi.buffer(batch.data, batch.size)) if batch.size else b""
        while at < len(data):
            shape = int.from_bytes(data[at + 4 : at + 8], "little")
            size = shape & 0xFFFFFF
            found.append((shape >> 24, data[at + 16 : at + 16 + size]))
            at += 16 + size + -size % 4
        return found


def events_of(spec: TaskSpec, at: int, attempt_id: AttemptId, output: bytes) -> list[aq.Event]:
    """The events of commands for the same."""
    run_id = RunId(spec.id.bytes)
    run = new_run(run_id, spec, at, NOW)
    success = AttemptResultKind.SUCCESS
    return [
        aq.TaskCreated(1, spec, NOW),
        aq.RunCreated(2, run),
        aq.RunStateChanged(3, run_id, S.SCHEDULED, S.READY, NOW),
        aq.RunStateChanged(4, run_id, S.READY, S.LEASED, NOW),
        aq.LeaseAcquired(5, run_id, "owner", NOW + 30, NOW),
        aq.RunStateChanged(6, run_id, S.LEASED, S.RUNNING, NOW),
        aq.AttemptStarted(7, run_id, attempt_id, NOW),
        aq.AttemptFinished(8, run_id, attempt_id, success, None, output or None, NOW),
        aq.RunStateChanged(9, run_id, S.RUNNING, S.COMPLETED, NOW),
    ]


@pytest.mark.parametrize("output", [b"", b"output"])
def test_the_events_are_those_of_commands(output: bytes) -> None:
    spec = TaskSpec(payload=b"payload", metadata=aq.TaskMetadata(priority=-7))
    run_id, attempt_id = RunId(spec.id.bytes), AttemptId()
    events = events_of(spec, NOW, attempt_id, output)
    with Table() as table, Table() as expected:
        work = Work(table)
        work.begin()
        assert work.add(spec, NOW) == "ok"
        assert work.claim(run_id, attempt_id) == "ok"
        assert work.complete(run_id, attempt_id, output) == "ok"
        lib.aqw_table_commit(table.table)
        for event in events:
            expected.must_apply(event)
        assert table.dump() == expected.dump()
        assert work.records() == [(event.kind, encode_event(event)) for event in events]


def test_a_run_for_later_stays_scheduled() -> None:
    spec = TaskSpec(payload=b"")
    with Table() as table:
        work = Work(table)
        work.begin()
        assert work.add(spec, NOW + 1) == "ok"
        assert [kind for kind, _ in work.records()] == [1, 2]
        lib.aqw_table_commit(table.table)


def test_a_claim_is_held_by_its_attempt_and_its_owner() -> None:
    spec = TaskSpec(payload=b"")
    run_id, attempt_id = RunId(spec.id.bytes), AttemptId()
    with Table() as table:
        work = Work(table)
        assert not work.is_held(run_id, attempt_id, b"owner")
        work.begin()
        assert work.add(spec, NOW) == "ok"
        assert not work.is_held(run_id, attempt_id, b"owner")
        assert work.claim(run_id, attempt_id) == "ok"
        assert work.is_held(run_id, attempt_id, b"owner")
        for owner in (b"", b"owne", b"owner2", b"other"):
            assert not work.is_held(run_id, attempt_id, owner)
        assert not work.is_held(run_id, AttemptId(), b"owner")
        assert work.complete(run_id, attempt_id, b"") == "ok"
        assert not work.is_held(run_id, attempt_id, b"owner")
        lib.aqw_table_commit(table.table)


def test_an_attempt_without_a_lease_is_held() -> None:
    """A raw command has released it."""
    spec = TaskSpec(payload=b"")
    run_id, attempt_id = RunId(spec.id.bytes), AttemptId()
    with Table() as table:
        for event in events_of(spec, NOW, attempt_id, b"")[:7]:
            table.must_apply(event)
        table.must_apply(aq.LeaseReleased(8, run_id, "owner", NOW + 30, NOW))
        assert Work(table).is_held(run_id, attempt_id, b"anyone")


def test_refusals_are_the_rules() -> None:
    spec = TaskSpec(payload=b"")
    run_id, attempt_id = RunId(spec.id.bytes), AttemptId()
    with Table() as table:
        for event in events_of(spec, NOW + 5, attempt_id, b"")[:2]:
            table.must_apply(event)
        work, before = Work(table), table.dump()
        for step, status in (
            (lambda: work.claim(RunId(), attempt_id), "refused_unknown_run"),
            (lambda: work.claim(run_id, attempt_id), "refused_previous_state"),
            (lambda: work.add(spec, NOW), "refused_task_exists"),
            (lambda: work.complete(run_id, attempt_id, b""), "refused_attempt_state"),
        ):
            work.begin()
            assert step() == status
            lib.aqw_table_rollback(table.table)
            assert table.dump() == before


def test_there_is_no_event_after_the_last() -> None:
    spec = TaskSpec(payload=b"")
    with Table() as table:
        table.must_apply(aq.TaskCreated(2**64 - 2, TaskSpec(payload=b""), 1))
        work = Work(table)
        work.begin()
        assert work.add(spec, NOW) == "refused_sequence"
        assert work.work.event.sequence == 0
        lib.aqw_table_rollback(table.table)


def test_memory_that_runs_out_leaves_the_table_as_it_was() -> None:
    spec = TaskSpec(payload=b"x" * 100)
    run_id, attempt_id = RunId(spec.id.bytes), AttemptId()
    memory = Memory()
    with Table(memory) as table:
        table.must_apply(aq.TaskCreated(1, TaskSpec(payload=b""), 1))
        before = table.dump()
        work = Work(table)
        for allocations in range(1000):
            memory.fail_after(allocations)
            statuses = []
            if lib.aqw_table_begin(table.table) == lib.AQW_OK:
                lib.aqw_batch_reset(work.batch.batch)
                for step in (
                    lambda: work.add(spec, NOW),
                    lambda: work.claim(run_id, attempt_id),
                    lambda: work.complete(run_id, attempt_id, b"out"),
                ):
                    statuses.append(step())
                    if statuses[-1] != "ok":
                        break
            memory.fail_after(None)
            lib.aqw_table_rollback(table.table)
            assert table.dump() == before
            if statuses == ["ok"] * 3:
                break
            assert statuses[-1:] in ([], ["no_memory"])
        else:
            raise AssertionError("it never succeeded")
        assert allocations > 0
    assert not memory.live
