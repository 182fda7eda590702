"""Columns in the core: row by row they are single events, in whatever pieces they are walked, and
also where memory runs out.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import AttemptId, AttemptResultKind, RunId, RunInstance, RunState, TaskSpec
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import status_name
from tests.support.core.table_driver import Memory, Table, as_c, id_of

S = RunState
SEQUENCE_MAX = 2**64 - 1
KINDS = (
    aq.EventKind.RUN_STATE_CHANGED,
    aq.EventKind.LEASE_HEARTBEAT,
    aq.EventKind.ATTEMPT_STARTED,
    aq.EventKind.ATTEMPT_FINISHED,
)
STATES = tuple(RunState)
RESULTS = tuple(AttemptResultKind)


def runs_in_every_state(count: int) -> list[aq.Event]:
    """Events that make runs, some leased and with an attempt."""
    events: list[aq.Event] = []
    paths = [
        [],
        [S.READY],
        [S.READY, S.LEASED],
        [S.READY, S.LEASED, S.RUNNING],
        [S.READY, S.LEASED, S.RUNNING, S.COMPLETED],
    ]
    for number in range(count):
        task, run_id = TaskSpec(payload=b""), run_of(number)
        events.append(aq.TaskCreated(0, task, 1))
        events.append(
            aq.RunCreated(
                0, RunInstance.scheduled(task.id, scheduled_at=1, created_at=1, id=run_id)
            )
        )
        state = S.SCHEDULED
        for new in paths[number % len(paths)]:
            events.append(aq.RunStateChanged(0, run_id, state, new, 1))
            state = new
            if new is S.READY:
                events.append(aq.LeaseAcquired(0, run_id, "owner", 10, 1))
            if new is S.RUNNING and number % 10 == 8:
                events.append(aq.AttemptStarted(0, run_id, AttemptId(bytes(15) + b"\1"), 1))
            elif new is S.RUNNING and number % 2:
                events.append(aq.AttemptStarted(0, run_id, AttemptId(bytes(15) + b"\7"), 1))
                events.append(
                    aq.AttemptFinished(
                        0, run_id, AttemptId(bytes(15) + b"\7"), RESULTS[0], None, None, 1
                    )
                )
    return events


def run_of(number: int) -> RunId:
    return RunId((number + 1).to_bytes(8, "little") + bytes(8))


def filled(events: Sequence[aq.Event], memory: Memory | None = None, *, first: int = 1) -> Table:
    table = Table(memory)
    for sequence, event in enumerate(events, first):
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        table.must_apply(type(event)(**{**fields, "sequence": sequence}))
    return table


class Rows:
    """Random rows of one kind: as columns for the core, and one by one as events."""

    def __init__(self, random: Random, kind: aq.EventKind, count: int, run_count: int) -> None:
        self.kind, self.count = kind, count
        numbers = random.choices(range(run_count + 1), k=count)
        states = [(0, 1, 2, 3, 6)[number % 5] for number in numbers]
        self.values: dict[str, list[Any]] = {
            "run_ids": [run_of(number).bytes for number in numbers],
            "timestamps": [random.randrange(2**63) for _ in range(count)],
            "previous_states": [
                state if random.random() < 0.8 else random.randrange(9) for state in states
            ],
            "new_states": [
                min(state + 1, 8) if random.random() < 0.8 else random.randrange(9)
                for state in states
            ],
            "expiries": [random.randrange(8, 13) for _ in range(count)],
            "attempt_ids": [bytes(15) + bytes([random.randrange(4)]) for _ in range(count)],
            "results": [random.randrange(4) for _ in range(count)],
            "owners": [random.choice([b"owner", b"owner", b"other"]) for _ in range(count)],
            "details": [random.choice([b"", b"detail"]) for _ in range(count)],
        }
        self.kept: list[Any] = []
        self.columns = ffi.new("aqw_columns *", {"kind": kind, "count": count})
        for name in ("run_ids", "attempt_ids"):
            self._set(name, b"".join(self.values[name]), 16)
        for name in ("timestamps", "expiries"):
            self._set(
                name,
                b"".join(
                    ffi.buffer(ffi.new("uint64_t *", value))[:] for value in self.values[name]
                ),
                8,
            )
        for name in ("previous_states", "new_states", "results"):
            self._set(name, bytes(self.values[name]), 1)
        self._set_bytes("owners", self.values["owners"])
        self._set_bytes(
            "errors",
            [self.detail(row) or b"" if self.has_error(row) else b"" for row in range(count)],
        )
        self._set_bytes(
            "outputs",
            [self.detail(row) or b"" if not self.has_error(row) else b"" for row in range(count)],
        )

    def has_error(self, row: int) -> bool:
        return self.values["results"][row] in {1, 2}

    def detail(self, row: int) -> bytes | None:
        return self.values["details"][row] or (b"" if self.has_error(row) else None)

    def _keep(self, data: bytes) -> Any:
        self.kept.append(ffi.new("uint8_t[]", data or b"\0"))
        return self.kept[-1]

    def _set(self, name: str, data: bytes, size: int) -> None:
        column = getattr(self.columns, name)
        column.data, column.step = self._keep(data), size

    def _set_bytes(self, name: str, values: list[bytes]) -> None:
        column = getattr(self.columns, name)
        offsets = [sum(map(len, values[:row])) for row in range(len(values) + 1)]
        column.data, column.size, column.offset_size = self._keep(b"".join(values)), offsets[-1], 4
        column.offsets = self._keep(
            b"".join(ffi.buffer(ffi.new("uint32_t *", offset))[:] for offset in offsets)
        )

    def event(self, row: int, sequence: int) -> aq.Event:
        value = {name: values[row] for name, values in self.values.items()}
        run_id, time = RunId(value["run_ids"]), value["timestamps"]
        if self.kind == aq.EventKind.RUN_STATE_CHANGED:
            return aq.RunStateChanged(
                sequence,
                run_id,
                STATES[value["previous_states"]],
                STATES[value["new_states"]],
                time,
            )
        if self.kind == aq.EventKind.LEASE_HEARTBEAT:
            return aq.LeaseHeartbeat(
                sequence, run_id, value["owners"].decode(), value["expiries"], time
            )
        attempt_id = AttemptId(value["attempt_ids"])
        if self.kind == aq.EventKind.ATTEMPT_STARTED:
            return aq.AttemptStarted(sequence, run_id, attempt_id, time)
        detail = self.detail(row)
        error = None if detail is None or not self.has_error(row) else detail.decode()
        return aq.AttemptFinished(
            sequence,
            run_id,
            attempt_id,
            RESULTS[value["results"]],
            error,
            None if self.has_error(row) else detail,
            time,
        )


class Walk:
    """A walk over rows, into a table and a batch."""

    def __init__(self, rows: Rows, table: Table, *, stops: bool = False) -> None:
        self.rows, self.table = rows, table
        self.refused = ffi.new("aqw_refused_row[]", max(rows.count, 1))
        self.walk = ffi.new("aqw_columns_walk *", {"refused": self.refused, "stops": stops})
        self.batch = ffi.new("aqw_batch *")

    def add(self, end: int) -> str:
        return status_name(
            lib.aqw_columns_add(self.rows.columns, end, self.table.table, self.batch, self.walk)
        )

    @property
    def refusals(self) -> dict[int, str]:
        return {
            self.refused[i].row: status_name(self.refused[i].status)
            for i in range(self.walk.refused_count)
        }

    @property
    def staged(self) -> bytes:
        return sealed(self.batch)

    def close(self) -> None:
        lib.aqw_batch_free(self.batch)


def sealed(batch: Any) -> bytes:
    """Return the batch's records as they would be written to the beginning of a log."""
    place = ffi.new("aqw_place *")
    lib.aqw_batch_seal(batch, place, 8192, 0, 0)
    return bytes(ffi.buffer(batch.data, batch.size)) if batch.size else b""


def staged_one_by_one(rows: Rows, table: Table) -> tuple[bytes, dict[int, str]]:
    """Apply the rows as single events; return what a batch of the accepted ones holds, and the
    refusals.
    """
    batch = ffi.new("aqw_batch *")
    refusals = {}
    for row in range(rows.count):
        c_event, payload = as_c(rows.event(row, lib.aqw_table_latest_sequence(table.table) + 1))
        answer = status_name(lib.aqw_table_apply(table.table, c_event))
        if answer == "ok":
            assert lib.aqw_batch_add(batch, c_event) == lib.AQW_OK
        else:
            refusals[row] = answer
        del payload
    staged = sealed(batch)
    lib.aqw_batch_free(batch)
    return staged, refusals


PIECES = ([1], [7], [24], [16, 8], [1000])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("seed", range(len(PIECES)))
def test_rows_are_single_events_in_whatever_pieces(kind: aq.EventKind, seed: int) -> None:
    random = Random(seed)
    past = runs_in_every_state(40)
    rows = Rows(random, kind, 300, 40)
    with filled(past) as one_by_one, filled(past) as table:
        staged, refusals = staged_one_by_one(rows, one_by_one)
        assert 0 < len(refusals) < rows.count
        walk = Walk(rows, table)
        fault = ffi.new("aqw_column_fault *")
        assert status_name(lib.aqw_columns_check(rows.columns, fault)) == "ok"
        assert table.begin() == "ok"
        while walk.walk.next < rows.count:
            assert walk.add(min(rows.count, walk.walk.next + random.choice(PIECES[seed]))) == "ok"
        table.commit()
        assert (walk.staged, walk.refusals) == (staged, refusals)
        assert table.dump() == one_by_one.dump()
        walk.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_walk_that_stops_ends_behind_the_first_refusal(kind: aq.EventKind) -> None:
    past = runs_in_every_state(40)
    rows = Rows(Random(1), kind, 300, 40)
    with filled(past) as one_by_one, filled(past) as table:
        _, refusals = staged_one_by_one(rows, one_by_one)
        before = table.dump()
        walk = Walk(rows, table, stops=True)
        table.begin()
        assert walk.add(rows.count) == "ok"
        first = min(refusals)
        assert (walk.walk.next, walk.refusals) == (first + 1, {first: refusals[first]})
        table.rollback()
        assert table.dump() == before
        walk.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_memory_that_runs_out_undoes_the_call(kind: aq.EventKind) -> None:
    """Each allocation of the table fails in its turn, and each of the batch."""
    past = runs_in_every_state(500)
    rows = Rows(Random(2), kind, 2000, 500)
    memory = Memory()
    with filled(past, memory) as table:
        before = table.dump()
        for number in range(1, 100):
            table.begin()
            walk = Walk(rows, table)
            memory.fail_after(number - 1)
            answer = walk.add(rows.count)
            memory.fail_after(None)
            walk.close()
            table.rollback()
            assert table.dump() == before
            if answer == "ok":
                break
            assert answer == "no_memory"
        assert number > 1
        for number in range(1, 100):
            table.begin()
            walk = Walk(rows, table)
            lib.aqw_test_memory_fail(number, 0)
            answer = walk.add(rows.count)
            lib.aqw_test_memory_fail(-1, 0)
            walk.close()
            table.rollback()
            assert table.dump() == before
            if answer == "ok":
                break
            assert answer == "no_memory"
    assert not memory.live


def test_there_is_a_last_sequence() -> None:
    past = runs_in_every_state(5)
    rows = Rows(Random(3), aq.EventKind.LEASE_HEARTBEAT, 3, 5)
    with filled(past, first=SEQUENCE_MAX - len(past)) as table:
        rows._set("run_ids", run_of(2).bytes * 3, 16)
        rows._set_bytes("owners", [b"owner"] * 3)
        rows._set(
            "expiries", b"".join(ffi.buffer(ffi.new("uint64_t *", 20))[:] for _ in range(3)), 8
        )
        walk = Walk(rows, table)
        table.begin()
        assert walk.add(3) == "ok"
        assert walk.refusals == {1: "refused_sequence", 2: "refused_sequence"}
        assert (walk.batch.count, walk.batch.first_sequence) == (1, SEQUENCE_MAX)
        walk.close()


def test_a_refused_row_says_what_its_run_was_like() -> None:
    past = runs_in_every_state(4)
    active = AttemptId(bytes(15) + b"\1")
    rows = Rows(Random(4), aq.EventKind.ATTEMPT_STARTED, 2, 4)
    with filled([*past, aq.AttemptStarted(0, run_of(3), active, 1)]) as table:
        rows._set("run_ids", run_of(3).bytes + run_of(99).bytes, 16)
        rows._set("attempt_ids", bytes(16) + active.bytes, 16)
        walk = Walk(rows, table)
        table.begin()
        assert walk.add(2) == "ok"
        known, unknown = walk.refused[0], walk.refused[1]
        assert (known.row, status_name(known.status), known.state) == (
            0,
            "refused_attempt_already_active",
            lib.AQW_RUNNING,
        )
        assert (id_of(RunId, known.run_id), id_of(AttemptId, known.attempt_id)) == (
            run_of(3),
            AttemptId(bytes(16)),
        )
        assert (known.has_active_attempt, id_of(AttemptId, known.active_attempt_id)) == (1, active)
        assert (known.has_lease, known.lease_expiry) == (1, 10)
        assert (unknown.row, status_name(unknown.status), unknown.state) == (
            1,
            "refused_unknown_run",
            lib.AQW_STATE_NONE,
        )
        assert (unknown.has_active_attempt, unknown.has_lease) == (0, 0)
        walk.close()


def test_records_do_not_pass_their_capacity() -> None:
    with filled(runs_in_every_state(40)) as table:
        for kind, count in (("run", 40), ("task", 40), ("attempt", table.counts.attempts)):
            copy = getattr(lib, f"aqw_table_copy_{kind}s")
            for capacity in (0, 1, count - 1, count, count + 5):
                records = ffi.new(f"aqw_{kind}_record[]", count + 6)
                ffi.memmove(records, b"\xee" * ffi.sizeof(records), ffi.sizeof(records))
                copied = copy(table.table, records, capacity)
                assert copied == min(capacity, count)
                rest = bytes(ffi.buffer(records))[copied * ffi.sizeof(f"aqw_{kind}_record") :]
                assert set(rest) == {0xEE}
        ids = ffi.new("uint8_t[]", 16 * 8)
        assert lib.aqw_table_copy_run_ids(table.table, lib.AQW_READY, ids, 8) == 8
        assert lib.aqw_table_copy_run_ids(table.table, lib.AQW_READY, ids, 3) == 3
        assert lib.aqw_table_copy_run_ids(table.table, lib.AQW_SUSPENDED, ids, 8) == 0
