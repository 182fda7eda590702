"""What ends a snapshot or a compaction that is under way: closing, cancelling, signals, forks, the
last reference.
"""

from __future__ import annotations

import copy
import gc
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import compactor, growth
from actionqueue.inspection import verify
from tests.support import every_step
from tests.support.compaction import WAIT_SECONDS, Gate, Worker, snapshots
from tests.support.queues import dropping, fill, in_child, open_small, task_create, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


# --- What ends one that is under way --------------------------------------------------------------


@pytest.mark.parametrize("call", ["snapshot", "compact"])
def test_closing_cancels_what_is_under_way(path: Path, gate: Gate, call: str) -> None:
    queue = open_small(path)
    fill(queue, 20)
    worker = Worker(getattr(queue, call))
    gate.began.wait(WAIT_SECONDS)
    waiting = Worker(getattr(queue, call))
    queue.close()
    assert not queue._compactor._turn.is_taken  # it is over when the queue's lock is let go
    assert isinstance(worker.result(), aq.StoppedError)
    assert isinstance(waiting.result(), aq.ClosedError)
    assert list((path / "snapshots").iterdir()) == [] if (path / "snapshots").exists() else True
    with open_small(path) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == 20


def test_closing_cancels_the_thread_that_compacts_by_itself(
    path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "CHECK_SECONDS", 0.01)
    queue = open_small(path, aq.CompactionPolicy(log_bytes=1))
    fill(queue, 20)
    gate.began.wait(WAIT_SECONDS)
    queue.close()
    wait_until(lambda: gate.threads[0] not in {thread.ident for thread in threading.enumerate()})
    assert snapshots(path) == []


def test_progress_is_told_and_can_cancel(path: Path, gate: Gate) -> None:
    with open_small(path) as queue:
        fill(queue, 40)
        progress = aq.Progress()
        worker = Worker(lambda: queue.snapshot(progress=progress))
        gate.began.wait(WAIT_SECONDS)
        progress.cancel()
        assert isinstance(worker.result(), aq.StoppedError)
        assert snapshots(path) == []
        assert queue.stats()["snapshot_error"] is None
        with pytest.raises(aq.StoppedError):
            queue.compact(progress=progress)
        gate.may_go.set()
        progress = aq.Progress()
        report = queue.compact(progress=progress)
        assert progress.done >= report.file_bytes > 0
        assert not progress.is_canceled


@pytest.mark.parametrize("call", ["snapshot", "compact"])
def test_a_cancel_ends_the_wait_for_another_ones_compaction(
    path: Path, gate: Gate, call: str
) -> None:
    with open_small(path) as queue:
        fill(queue, 20)
        worker = Worker(queue.compact)
        gate.began.wait(WAIT_SECONDS)
        progress = aq.Progress()
        waiting = Worker(lambda: getattr(queue, call)(progress=progress))
        progress.cancel()
        assert isinstance(waiting.result(), aq.StoppedError)
        assert len(gate.threads) == 1
        gate.may_go.set()
        assert worker.result().sequence == 20


def test_a_cancel_ends_the_wait_of_an_opening_for_the_compacting_thread(path: Path) -> None:
    """The thread may be letting go of a dropped queue, so a second opening waits for its look."""
    with open_small(path) as queue:
        compactor = queue._compactor
        looks, may_go = threading.Event(), threading.Event()
        looking = Worker(
            lambda: compactor._looking.run(lambda: (looks.set(), may_go.wait(WAIT_SECONDS)))
        )
        assert looks.wait(WAIT_SECONDS)
        progress = aq.Progress()
        opening = Worker(lambda: open_small(path, progress=progress))
        progress.cancel()
        assert isinstance(opening.result(), aq.StoppedError)
        may_go.set()
        looking.result()


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_progress_is_no_value(copied: Callable[[aq.Progress], object]) -> None:
    class Own(aq.Progress):
        pass

    for cls in (aq.Progress, Own):
        with pytest.raises(TypeError, match=f"a {cls.__name__} belongs to one call .* make a new"):
            copied(cls())


def test_nobody_who_submits_waits_for_a_snapshot(path: Path, gate: Gate) -> None:
    with open_small(path) as queue:
        fill(queue, 20)
        worker = Worker(queue.compact)
        gate.began.wait(WAIT_SECONDS)
        for durability in ("immediate", "deferred"):
            queue.submit(task_create(b"y" * 50_000), durability)  # over the end of a segment
            queue.submit_many([task_create(), task_create()], durability)
        assert queue.projection.counts().tasks == 26
        gate.may_go.set()
        assert worker.result().sequence >= 20


def test_one_at_a_time(path: Path, gate: Gate) -> None:
    with open_small(path) as queue:
        fill(queue, 20)
        workers = [Worker(queue.compact), Worker(queue.snapshot), Worker(queue.compact)]
        gate.began.wait(WAIT_SECONDS)
        assert len(gate.threads) == 1
        gate.may_go.set()
        assert [worker.result().sequence for worker in workers] == [20, 20, 20]
        assert sorted(worker.ended.is_new for worker in workers) == [False, False, True]


def test_a_queue_that_nobody_refers_to_is_closed_at_once(path: Path) -> None:
    gc.disable()
    try:
        queue = open_small(path, aq.CompactionPolicy(log_bytes=1))
        queue.submit(task_create())
        queue.snapshot()
        with dropping(path):
            del queue
        with open_small(path) as queue:
            assert queue.recovery.is_clean
    finally:
        gc.enable()


@pytest.mark.parametrize("place", ["compact", "sync", "taken_bytes"])
def test_a_queue_that_nobody_refers_to_any_more_does_not_compact_on(
    path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Else two processes could write snapshots into one directory."""
    monkeypatch.setattr(growth, "CHECK_SECONDS", 0.01)
    queue = open_small(path, aq.CompactionPolicy(log_bytes=1))
    compactor = queue._compactor
    reached, may_go = threading.Event(), threading.Event()
    if place != "compact":
        part, name = (
            (compactor._growth, place) if place == "taken_bytes" else (compactor, f"_{place}")
        )
        real = getattr(part, name)

        def pause() -> Any:
            found = real()
            if compactor._turn.is_taken:
                reached.set()
                may_go.wait(WAIT_SECONDS)
            return found

        monkeypatch.setattr(part, name, pause)
    else:
        reached = gate.began
    fill(queue, 20)
    assert reached.wait(WAIT_SECONDS)
    with dropping(path):
        if place == "compact":
            del queue
        else:
            releaser = threading.Thread(
                target=lambda: (wait_until(lambda: compactor._is_stopped), may_go.set())
            )
            releaser.start()
            del queue
            releaser.join()
    with open_small(path) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == 20
        assert snapshots(path) == []
        assert not compactor._turn.is_taken


def test_the_last_reference_may_be_the_threads_own(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue is then closed in the middle of a compaction, by the thread that compacts."""
    monkeypatch.setattr(growth, "CHECK_SECONDS", 0.01)
    queue = open_small(path, aq.CompactionPolicy(log_bytes=1))
    compactor = queue._compactor
    held, may_go = threading.Event(), threading.Event()
    sync = aq.ActionQueue.sync

    def hold(self: aq.ActionQueue) -> None:
        sync(self)
        held.set()
        may_go.wait(WAIT_SECONDS)

    from actionqueue.queue import _method

    compactor._sync = _method(queue, hold)
    queue.submit(task_create())
    assert held.wait(WAIT_SECONDS)
    with dropping(path):
        del queue
        may_go.set()
        wait_until(
            lambda: (
                not [
                    thread
                    for thread in threading.enumerate()
                    if thread.name == "actionqueue-compaction"
                ]
            )
        )
    assert caplog.records == []
    with open_small(path) as queue:
        assert queue.recovery.is_clean
        assert snapshots(path) == []


def test_a_process_that_ends_in_the_middle_ends(path: Path) -> None:
    code = """
import sys, threading
import actionqueue as aq
from actionqueue import compactor, growth

compact, began = compactor.compact, threading.Event()

def wait(*arguments, progress, **options):
    began.set()
    while not progress.is_canceled:
        pass
    return compact(*arguments, progress=progress, **options)

compactor.compact = wait
growth.CHECK_SECONDS = 0.01
queue = aq.open(sys.argv[1], compaction=aq.CompactionPolicy(log_bytes=1))
queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x" * 200_000), 1))
began.wait()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert snapshots(path) == []
    with open_small(path) as queue:
        assert queue.sequence == 1


# --- Signals and forks ----------------------------------------------------------------------------


@pytest.fixture
def on_signal() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Return a function that sets what SIGTERM does."""
    before = signal.getsignal(signal.SIGTERM)
    yield lambda call: signal.signal(signal.SIGTERM, lambda _number, _frame: call()) and None
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("call", ["close", "snapshot", "compact"])
def test_a_call_from_a_handler_inside_a_snapshot_is_refused(
    path: Path, on_signal: Any, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    compact = compactor.compact

    def compact_with_a_signal(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return compact(*arguments, **options)

    monkeypatch.setattr(compactor, "compact", compact_with_a_signal)
    refusals: list[type[BaseException]] = []

    def handle() -> None:
        with pytest.raises(aq.ReentrantCallError) as refusal:
            getattr(queue, call)()
        refusals.append(refusal.type)

    on_signal(handle)
    with open_small(path) as queue:
        queue.submit(task_create())
        assert queue.snapshot().is_new
        assert refusals == [aq.ReentrantCallError]
        assert queue.submit(task_create()).sequence == 2


AT_EVERY_STEP = """
import sys
import actionqueue as aq
from tests.support.every_step import AtStep

said = set()


def make_call():
    try:
        getattr(queue, sys.argv[2])()
    except (aq.ReentrantCallError, aq.ClosedError) as error:
        said.add(type(error).__name__)


step = 0
while True:
    with aq.open(sys.argv[1], compaction=None) as queue:
        sequence = queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1)).sequence
        try:
            with AtStep(step, make_call) as steps:
                assert queue.snapshot().sequence == sequence
        except aq.ClosedError:
            assert sys.argv[2] == "close"
    if steps.is_past:
        break
    step += 3
assert "ReentrantCallError" in said, said
print(step)
"""


@pytest.mark.parametrize("call", ["close", "snapshot", "compact"])
def test_a_call_from_a_handler_at_every_step_of_a_snapshot(path: Path, call: str) -> None:
    """It is answered or refused, and never waits for its own thread."""
    code, printed, complaints = every_step.run(AT_EVERY_STEP, path, call, seconds=120)
    assert (code, complaints) == (0, "")
    assert int(printed) > 100


@pytest.mark.platform("signals")
def test_closing_from_a_handler_while_the_thread_waits_for_another_ones_compaction(
    path: Path, on_signal: Any, gate: Gate
) -> None:
    queue = open_small(path)
    fill(queue, 20)
    worker = Worker(queue.compact)
    gate.began.wait(WAIT_SECONDS)
    on_signal(queue.close)
    main = threading.main_thread()
    striker = threading.Timer(0.05, lambda: signal.pthread_kill(main.ident or 0, signal.SIGTERM))
    striker.start()
    with pytest.raises(aq.ClosedError):
        queue.snapshot()
    striker.join()
    assert isinstance(worker.result(), aq.StoppedError)
    assert queue.is_closed


@pytest.mark.platform("fork")
def test_a_fork_in_the_middle(path: Path, gate: Gate) -> None:
    with open_small(path, aq.CompactionPolicy(log_bytes=None, age_seconds=10**6)) as queue:
        fill(queue, 20)
        worker = Worker(queue.compact)
        gate.began.wait(WAIT_SECONDS)
        gone = [queue]

        def work() -> list[str]:
            said = []
            for call in (queue.snapshot, queue.compact, queue.stats):
                try:
                    call()
                except aq.ForkedError as error:
                    said.append(type(error).__name__)
            queue.close()
            gone.clear()
            gc.collect()
            return said

        assert in_child(work) == ["ForkedError"] * 3
        in_child(queue._compactor.abandon)
        gate.may_go.set()
        assert worker.result().sequence == 20
        assert queue.submit(task_create(), "immediate").sequence == 21
    assert verify(path)["snapshots"] == [20]
