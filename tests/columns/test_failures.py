"""What comes in between: interrupts, failing appends, arrays that change, other threads, a crash.
All of a call happened, or none of it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import actionqueue as aq
from _wal_native.columns import attempt_finishes, attempt_starts, lease_heartbeats, transitions
from actionqueue.errors import (
    AppendError,
    InvalidFieldError,
    LogWriteError,
    PoisonedError,
    RecordTooLarge,
    ReentrantCallError,
)
from actionqueue.limits import BATCH_SIZE_MAX
from tests.support import every_step
from tests.support.columns import OPTIONS, add_run, add_runs, small_queue
from tests.support.queues import (
    copy_of,
    file_size_limit,
    has_failed,
    in_child,
    replayed,
    state_of,
    wait_until,
)

COUNT = 400


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[aq.ActionQueue]:
    """Scheduled runs, of which a call takes a few at a time."""
    monkeypatch.setattr("actionqueue.columns.ROWS_AT_ONCE", 64)
    with small_queue() as made:
        add_runs(made, COUNT)
        yield made


class Between:
    """Rows for a queue, and something that happens each time before some of them are added."""

    def __init__(self, rows: Any, happens: Callable[[int], None]) -> None:
        self.rows = rows
        self.happens = happens
        self.turns = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rows, name)

    def __len__(self) -> int:
        return len(self.rows)

    def add_to(self, *arguments: Any) -> bool:
        self.happens(self.turns)
        self.turns += 1
        return bool(self.rows.add_to(*arguments))


def submit(
    queue: aq.ActionQueue, rows: Any, happens: Callable[[int], None], on_refusal: str = "raise"
) -> Any:
    return queue._submit_rows(Between(rows, happens), on_refusal, None)  # type: ignore[arg-type]


def raising(error: BaseException, turn: int) -> Callable[[int], None]:
    def happens(now: int) -> None:
        if now == turn:
            raise error

    return happens


# --- Interrupts and failures ----------------------------------------------------------------------


@pytest.mark.parametrize("on_refusal", ["raise", "report"])
@pytest.mark.parametrize("turn", [0, 1, 6])
def test_an_interrupt_undoes_the_call(queue: aq.ActionQueue, on_refusal: str, turn: int) -> None:
    run_ids = queue.projection.run_id_array()
    before, appended = state_of(queue), queue.stats()["appended_records"]
    with pytest.raises(KeyboardInterrupt):
        submit(queue, transitions(run_ids, 0, 1, 1), raising(KeyboardInterrupt(), turn), on_refusal)
    assert state_of(queue) == before
    assert queue.stats()["appended_records"] == appended
    assert queue.submit_transitions(run_ids, 0, 1, 1).first_sequence == queue.sequence - COUNT + 1


def test_a_signal_handler_meets_a_whole_table_and_no_second_call(queue: aq.ActionQueue) -> None:
    """Handlers run between some rows and the next ones: they may ask the projection, and may not
    submit.
    """
    run_ids = queue.projection.run_id_array()
    seen: list[int] = []

    def handler(*_arguments: object) -> None:
        seen.append(queue.projection.counts_by_state()[aq.RunState.READY])
        with pytest.raises(ReentrantCallError):
            queue.submit_transitions(run_ids, 0, 1, 1)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        submit(
            queue, transitions(run_ids, 0, 1, 1), lambda _turn: signal.raise_signal(signal.SIGTERM)
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [*range(0, COUNT, 64)]
    assert queue.projection.counts_by_state()[aq.RunState.READY] == COUNT


EVERY_STEP = """
import sys
import actionqueue as aq
from actionqueue import columns
from tests.support.columns import OPTIONS, add_runs
from tests.support.every_step import BehindCalls

columns.ROWS_AT_ONCE = 2
queue = aq.open(sys.argv[1], **OPTIONS)
step = ready = 0
is_past = False
while not is_past:
    run_ids = add_runs(queue, 6)
    before = queue.sequence
    try:
        with BehindCalls(step) as at:
            queue.submit_transitions(run_ids, 0, 1, 1)
    except KeyboardInterrupt:
        pass
    assert queue.sequence in (before, before + 6), (step, queue.sequence - before)
    assert queue.stats()["last_sequence"] == queue.sequence
    ready += queue.sequence - before
    assert queue.projection.counts_by_state()[aq.RunState.READY] == ready
    is_past = at.is_past
    step += 1
queue.close()
print(step, ready)
"""


def test_a_handler_that_raises_at_any_step_leaves_all_of_a_call_or_nothing(tmp_path: Path) -> None:
    code, printed, complaints = every_step.run(EVERY_STEP, tmp_path / "queue", seconds=250)
    assert (code, complaints) == (0, "")
    steps, ready = map(int, printed.split())
    assert steps > 10
    with aq.open(tmp_path / "queue", **OPTIONS) as queue:
        assert queue.projection.counts_by_state()[aq.RunState.READY] == ready


@pytest.mark.platform("fork", "limits")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_call_that_is_the_first_to_hear_of_a_failed_sync_poisons_the_handle(
    tmp_path: Path,
) -> None:
    def work() -> None:
        queue = aq.open(tmp_path / "queue", **OPTIONS, sync=aq.SyncPolicy(records=1))
        run_ids = add_runs(queue, 2)
        queue.sync()
        with file_size_limit(0):
            queue.submit_transitions(run_ids[:1], 0, 1, 1)
            wait_until(lambda: has_failed(queue))
        before = state_of(queue)
        with pytest.raises(PoisonedError) as refusal:
            queue.submit_transitions(run_ids[1:], 0, 1, 1)
        assert isinstance(refusal.value.cause, LogWriteError)
        assert queue.projection.poisoned_by is refusal.value.cause
        assert "poisoned" in repr(queue)
        assert state_of(queue) == before
        queue.close()

    in_child(work)


@pytest.mark.platform("fork", "limits")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("on_refusal", ["raise", "report"])
def test_an_append_that_fails_undoes_the_call(tmp_path: Path, on_refusal: Any) -> None:
    import resource  # not on Windows

    def work() -> int:
        queue = aq.open(tmp_path / "queue", **{**OPTIONS, "segment_size": 2**20})
        run_ids = add_runs(queue, 2000)
        queue.sync()
        before = state_of(queue)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (queue.stats()["segment_used"] + 10_000, limits[1])
        )
        with pytest.raises(AppendError) as failure:  # more than the ring holds, so written at once
            queue.submit_transitions(run_ids, 0, 1, 1, on_refusal=on_refusal)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert isinstance(failure.value.cause, LogWriteError)
        assert queue.is_poisoned
        assert state_of(queue) == before
        with pytest.raises(PoisonedError):
            queue.submit_transitions(run_ids, 0, 1, 1)
        queue.close()
        return queue.sequence

    sequence = in_child(work)
    assert replayed(tmp_path / "queue").latest_sequence == sequence
    with aq.open(tmp_path / "queue", **OPTIONS) as queue:
        assert queue.projection.counts_by_state()[aq.RunState.SCHEDULED] == 2000
        queue.submit_transitions(queue.projection.run_id_array(), 0, 1, 1)


def test_more_bytes_than_a_batch_holds() -> None:
    output = bytes(13_000_000)
    count = BATCH_SIZE_MAX // len(output) + 1
    with small_queue(segment_size=2**20) as queue:
        run_ids = [add_run(queue, "running") for _ in range(count)]
        ids, attempt_ids = aq.columns.id_array(run_ids), aq.columns.new_ids(aq.AttemptId, count)
        queue.submit_attempt_starts(ids, attempt_ids, 1)
        before = queue.sequence, queue.projection.columns().attempts.tobytes()
        with pytest.raises(RecordTooLarge) as refusal:
            queue.submit_attempt_finishes(
                ids, attempt_ids, "success", 1, outputs=output, on_refusal="report"
            )
        assert refusal.value.limit == BATCH_SIZE_MAX
        assert BATCH_SIZE_MAX < refusal.value.size < BATCH_SIZE_MAX + len(output)
        assert refusal.value.batch_index == count - 1
        assert (queue.sequence, queue.projection.columns().attempts.tobytes()) == before
        assert queue.submit_attempt_finishes(ids, attempt_ids, "success", 1).count == count


@pytest.mark.parametrize("durability", ["immediate", "deferred"])
def test_durable_when_asked_for(queue: aq.ActionQueue, durability: str) -> None:
    run_ids = queue.projection.run_id_array()
    syncs = queue.stats()["syncs"]
    outcome = queue.submit_transitions(run_ids, 0, 1, 1, durability=durability)
    assert (queue.durable_sequence == outcome.last_sequence) == (durability == "immediate")
    assert (queue.stats()["syncs"] == syncs + 1) == (durability == "immediate")


@pytest.mark.parametrize("cut", range(3))
def test_a_kill_leaves_all_of_a_call_or_none(
    queue: aq.ActionQueue, tmp_path: Path, cut: int
) -> None:
    """What is on the disk while a call is under way, and behind it, opens to a queue without a part
    of a call.
    """
    run_ids = queue.projection.run_id_array()
    submit(
        queue,
        transitions(run_ids, 0, 1, 1),
        lambda turn: None if turn != cut else copy_of(queue.path, tmp_path / "within").touch(),
    )
    copy_of(queue.path, tmp_path / "behind")
    for name, ready in (("within", 0), ("behind", COUNT)):
        with aq.open(tmp_path / name, **OPTIONS) as again:
            assert again.projection.counts_by_state()[aq.RunState.READY] == ready


# --- Arrays that change ---------------------------------------------------------------------------


def codes_change(rows: dict[str, Any]) -> Any:
    rows["codes"] = np.zeros(COUNT, np.uint8)
    return transitions(rows["run_ids"], rows["codes"], 1, 1)


def results_change(rows: dict[str, Any]) -> Any:
    rows["codes"] = np.zeros(COUNT, np.uint8)
    return attempt_finishes(rows["run_ids"], rows["attempt_ids"], rows["codes"], 1, None, None)


def texts_change(rows: dict[str, Any]) -> Any:
    rows["offsets"], rows["data"] = (
        np.array(column) for column in aq.columns.offsets_and_data(["w"] * COUNT)
    )
    return lease_heartbeats(rows["run_ids"], (rows["offsets"], rows["data"]), 20, 1)


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str, int]] = {
    "a state": (codes_change, "codes", 200),
    "a result": (results_change, "codes", 200),
    "a result that needs an error": (results_change, "codes", 1),
    "an offset": (texts_change, "offsets", 2**63),
    "a text": (texts_change, "data", 0xFF),
}


@pytest.mark.parametrize("name", CHANGES)
def test_arrays_that_change_while_they_are_read(queue: aq.ActionQueue, name: str) -> None:
    """Another thread may write to an array after it was checked. The call fails as a whole, or
    takes the values for what they are.
    """
    make, array, value = CHANGES[name]
    run_ids = queue.projection.run_id_array()
    queue.submit_transitions(run_ids, 0, 1, 1)
    for run_id in queue.projection.run_ids():
        queue.submit(aq.LeaseAcquireCommand(None, run_id, "w", 10, 1))
    queue.submit_transitions(run_ids, 1, 2, 1)
    queue.submit_transitions(run_ids, 2, 3, 1)
    attempt_ids = aq.columns.new_ids(aq.AttemptId, COUNT)
    queue.submit_attempt_starts(run_ids, attempt_ids, 1)
    arrays: dict[str, Any] = {"run_ids": run_ids, "attempt_ids": attempt_ids}
    rows = make(arrays)

    def happens(turn: int) -> None:
        if turn == 2:
            arrays[array][200] = value

    before, appended = state_of(queue), queue.stats()["appended_records"]
    with pytest.raises(InvalidFieldError, match="changed while the call was reading"):
        submit(queue, rows, happens, "report")
    assert state_of(queue) == before
    assert queue.stats()["appended_records"] == appended
    assert queue.submit_lease_heartbeats(run_ids, "w", 20, 1).count == COUNT


def test_arrays_may_change_behind_the_call(queue: aq.ActionQueue) -> None:
    run_ids = queue.projection.run_id_array().copy()
    rows = attempt_starts(run_ids, aq.columns.new_ids(aq.AttemptId, COUNT), 1)
    assert len(rows) == COUNT
    queue.submit_transitions(run_ids, 0, 1, 1)
    run_ids[:] = np.zeros(COUNT, "V16")
    expected = state_of(queue)
    queue.close()
    assert replayed(queue.path).to_json() == expected


# --- Other threads --------------------------------------------------------------------------------


QUESTIONS: dict[str, Callable[[aq.Projection], int]] = {
    "counts_by_state": lambda projection: projection.counts_by_state()[aq.RunState.READY],
    "columns": lambda projection: int(np.count_nonzero(projection.columns().runs["state"])),
    "the sequence of columns": lambda projection: projection.columns().sequence - 2 * COUNT,
    "run_id_array": lambda projection: len(projection.run_id_array(aq.RunState.READY)),
    "run_ids": lambda projection: len(projection.run_ids(aq.RunState.READY)),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_other_thread_sees_a_part_of_a_call(queue: aq.ActionQueue, name: str) -> None:
    """A thread that asks while a call is under way gets its answer when that is over."""
    run_ids = queue.projection.run_id_array()
    answers: list[int] = []
    askers: list[threading.Thread] = []

    def ask(is_asking: threading.Event) -> None:
        # The thread that waits for this needs the GIL to go on, so the question comes first.
        is_asking.set()
        answers.append(QUESTIONS[name](queue.projection))

    def happens(_turn: int) -> None:
        is_asking = threading.Event()
        askers.append(threading.Thread(target=ask, args=(is_asking,)))
        askers[-1].start()
        is_asking.wait()

    submit(queue, transitions(run_ids, 0, 1, 1), happens)
    for asker in askers:
        asker.join()
    assert answers == [COUNT] * 7


def test_calls_of_many_threads_stay_whole(queue: aq.ActionQueue) -> None:
    run_ids = queue.projection.run_id_array()
    parts = [run_ids[begin : begin + 100].copy() for begin in range(0, COUNT, 100)]
    outcomes: list[aq.ColumnOutcome] = []

    def work(part: Any) -> None:
        for previous, new in (("scheduled", "ready"), ("ready", "leased"), ("leased", "running")):
            outcomes.append(
                queue.submit_transitions(part, previous, new, 1, durability="immediate")
            )

    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    firsts = sorted(outcome.first_sequence for outcome in outcomes)
    assert firsts == [*range(2 * COUNT + 1, 5 * COUNT, 100)]
    assert queue.projection.counts_by_state()[aq.RunState.RUNNING] == COUNT
    expected = state_of(queue)
    queue.close()
    assert replayed(queue.path).to_json() == expected
