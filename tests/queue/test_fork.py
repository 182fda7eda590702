"""A queue that is open when its process forks: it stays the parent's, and the child can do it no
harm.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import mmap
import multiprocessing
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import lane
from actionqueue.errors import ForkedError, LockedError, Written
from tests.support.queues import (
    CHILD_SECONDS,
    SMALL,
    in_child,
    leave_with,
    log_bytes,
    replayed,
    state_of,
    task_create,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


ENTRIES: dict[str, Callable[[aq.ActionQueue], Any]] = {
    "submit": lambda queue: queue.submit(task_create()),
    "submit deferred": lambda queue: queue.submit(task_create(), "deferred"),
    "submit_many": lambda queue: queue.submit_many([task_create()]),
    "batch": lambda queue: queue.batch().__exit__(None, None, None),
    "sync": lambda queue: queue.sync(),
    "stats": lambda queue: queue.stats(),
    "durable_sequence": lambda queue: queue.durable_sequence,
    "with": lambda queue: queue.__enter__(),
}


def refusals(queue: aq.ActionQueue) -> dict[str, str]:
    """Return what each entry raises."""
    said: dict[str, str] = {}
    for name, entry in ENTRIES.items():
        try:
            entry(queue)
        except ForkedError as error:
            said[name] = "forked" if error.written is Written.NO else "forked, but written"
        except BaseException as error:
            said[name] = repr(error)
        else:
            said[name] = "accepted"
    return said


ALL_REFUSED = dict.fromkeys(ENTRIES, "forked")


def test_every_entry_refuses_in_the_child_and_the_parent_goes_on(tmp_path: Path) -> None:
    with aq.open(tmp_path, **SMALL) as queue:
        queue.submit(task_create())
        queue.submit(task_create(), "deferred")
        before = log_bytes(tmp_path)

        def child() -> Any:
            said = refusals(queue)
            queue.close()
            queue.close()
            with pytest.raises(ForkedError):
                queue.submit(task_create())
            return said, state_of(queue), queue.sequence, repr(queue)

        said, state, sequence, text = in_child(child)
        assert said == ALL_REFUSED
        assert (state, sequence) == (state_of(queue), 2)
        assert "forked" in text
        assert log_bytes(tmp_path) == before
        for _ in range(10):
            queue.submit(task_create(b"x" * 30_000))
        with pytest.raises(LockedError):
            aq.open(tmp_path)
    with aq.open(tmp_path) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == 12


def test_a_grandchild_is_refused_too(tmp_path: Path) -> None:
    with aq.open(tmp_path) as queue:
        assert in_child(lambda: in_child(lambda: refusals(queue))) == ALL_REFUSED
        assert queue.submit(task_create()).sequence == 1


def test_closing_and_collecting_in_the_child_does_nothing_to_the_parent(tmp_path: Path) -> None:
    queue = aq.open(tmp_path)
    queue.submit(task_create(), "deferred")
    before = log_bytes(tmp_path)
    holder = [queue]
    del queue

    def child() -> None:
        holder[0].close()
        holder.clear()
        gc.collect()

    in_child(child)
    assert log_bytes(tmp_path) == before
    assert holder[0].submit(task_create()).sequence == 2
    with pytest.raises(LockedError):
        aq.open(tmp_path)
    holder[0].close()
    assert replayed(tmp_path).latest_sequence == 2


FINALIZING_CHILD = """
import os, sys
import actionqueue as aq

queue = aq.open(sys.argv[1])
task = lambda: aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x"), 1)
queue.submit(task(), "deferred")
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0
    assert queue.submit(task()).sequence == 2
    try:
        aq.open(sys.argv[1])
    except aq.LockedError as error:
        assert error.pid == os.getpid()
    else:
        raise AssertionError("the child gave the lock away")
    queue.submit(task(), "deferred")
    print("parent", queue.sequence)
    queue.close()
"""


def test_a_child_that_ends_like_any_program_leaves_the_parent_unharmed(tmp_path: Path) -> None:
    """The child finalizes its interpreter, as a forked worker that returns does."""
    warnings = ["-W", "error::ResourceWarning", "-W", "ignore:This process:DeprecationWarning"]
    program = [sys.executable, *warnings, "-c", FINALIZING_CHILD, str(tmp_path)]
    ended = subprocess.run(
        program, capture_output=True, encoding="utf-8", timeout=CHILD_SECONDS, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "parent 3\n", "")
    assert replayed(tmp_path).latest_sequence == 3


def test_the_child_may_open_queues_of_its_own(tmp_path: Path) -> None:
    queue = aq.open(tmp_path / "parent")
    queue.submit(task_create())

    def child() -> int:
        with pytest.raises(LockedError) as refusal:
            aq.open(tmp_path / "parent")
        assert refusal.value.pid == os.getppid()
        with aq.open(tmp_path / "child", **SMALL) as mine:
            mine.submit_many([task_create(b"x" * 20_000) for _ in range(9)])
            return mine.submit(task_create()).sequence

    assert in_child(child) == 10
    queue.close()

    def successor() -> int:
        with aq.open(tmp_path / "parent") as mine:
            return mine.submit(task_create()).sequence

    assert in_child(successor) == 2
    assert replayed(tmp_path / "child").latest_sequence == 10


def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(tmp_path: Path) -> None:
    told, tell = os.pipe()
    answers, answer = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            queue = aq.open(tmp_path)
            queue.submit(task_create(), "deferred")
            if os.fork() == 0:
                os.write(answer, b"here")
                os.close(tell)
                os.read(told, 1)  # until the test has looked
                os.write(answer, b"done" if refusals(queue) == ALL_REFUSED else b"no..")
            else:
                os.read(answers, 4)
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(0)
    os.close(told)
    os.close(answer)
    assert os.WIFSIGNALED(os.waitpid(parent, 0)[1])
    try:
        with aq.open(tmp_path) as queue:
            assert queue.sequence == 1
            assert not queue.recovery.is_clean
            assert queue.submit(task_create()).sequence == 2
    finally:
        os.close(tell)
    assert select.select([answers], [], [], CHILD_SECONDS)[0]
    assert os.read(answers, 4) == b"done"
    os.close(answers)
    assert replayed(tmp_path).latest_sequence == 2


class Blocker:
    """Stands where commands that the core does not take by itself are validated, and holds a thread
    there until it is let go.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = threading.Event(), threading.Event()
        self.validate = lane.validate
        monkeypatch.setattr(lane, "validate", self)

    def __call__(self, *arguments: Any) -> int:
        self.reached.set()
        assert self.go.wait(CHILD_SECONDS)
        return self.validate(*arguments)


@pytest.mark.parametrize("call", ["submit", "submit_many"])
def test_a_fork_while_another_thread_is_inside_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with aq.open(tmp_path) as queue:
        queue.submit(task_create())
        blocker = Blocker(monkeypatch)
        pause = aq.EnginePauseCommand(None, 1)
        if call == "submit":
            thread = threading.Thread(target=queue.submit, args=(pause,))
        else:
            thread = threading.Thread(
                target=queue.submit_many, args=([task_create(), task_create(), pause],)
            )
        thread.start()
        assert blocker.reached.wait(CHILD_SECONDS)
        try:
            said, sequence, count = in_child(
                lambda: (refusals(queue), queue.sequence, len(queue.projection.tasks()))
            )
        finally:
            blocker.go.set()
            thread.join()
        assert said == ALL_REFUSED
        # A batch that was on its way is the parent's; the child never sees a part of it.
        assert (sequence, count) == (1, 1)
        assert queue.sequence == (2 if call == "submit" else 4)


def test_many_forks_under_load(directory: Path) -> None:
    queue = aq.open(directory, **SMALL)
    is_done = threading.Event()
    acknowledged: list[int] = []

    def work(durability: str, size: int) -> None:
        while not is_done.is_set():
            outcomes = queue.submit_many([task_create(bytes(size)), task_create()], durability)
            acknowledged.extend(outcome.sequence for outcome in outcomes)
            acknowledged.append(queue.submit(task_create(), durability).sequence)
            queue.projection.task_ids()

    loads = [("immediate", 10), ("deferred", 10), ("deferred", 9000), ("deferred", 70_000)]
    threads = [threading.Thread(target=work, args=load) for load in loads]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            said, sequence = in_child(lambda: (refusals(queue), queue.projection.latest_sequence))
            assert said == ALL_REFUSED
            assert 0 <= sequence <= queue.sequence
    finally:
        is_done.set()
        for thread in threads:
            thread.join()
    state = state_of(queue)
    queue.close()
    assert sorted(acknowledged) == list(range(1, queue.sequence + 1))
    assert replayed(directory).to_json() == state


def test_a_child_forked_while_another_thread_opens_queues_keeps_no_lock(directory: Path) -> None:
    """Only what the child inherits counts: it sleeps in a read until the test has looked."""
    is_done = threading.Event()
    failures: list[BaseException] = []

    def open_and_close() -> None:
        number = 0
        while not is_done.is_set() and not failures:
            path = directory / str(number % 5)
            number += 1
            for _ in range(2):
                try:
                    aq.open(path, **SMALL).close()
                except LockedError as error:
                    failures.append(error)

    thread = threading.Thread(target=open_and_close)
    thread.start()
    children: list[int] = []
    told, tell = os.pipe()
    try:
        for _ in range(60):
            child = os.fork()
            if child == 0:
                os.close(tell)
                os.read(told, 1)
                os._exit(0)
            children.append(child)
    finally:
        is_done.set()
        thread.join()
        os.close(tell)
        os.close(told)
        for child in children:
            os.waitpid(child, 0)
    assert failures == []


def child_of_multiprocessing(queue: aq.ActionQueue, answers: Any) -> None:
    answers.put((refusals(queue), queue.sequence))


def test_multiprocessing_with_fork(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with aq.open(tmp_path) as queue:
        queue.submit(task_create())
        answers = context.SimpleQueue()
        child = context.Process(target=child_of_multiprocessing, args=(queue, answers))
        child.start()
        assert answers.get() == (ALL_REFUSED, 1)
        child.join()
        assert child.exitcode == 0
        with context.Pool(2) as pool:
            assert pool.map(os.path.isdir, [str(tmp_path)] * 8) == [True] * 8
        assert queue.submit(task_create()).sequence == 2
    assert replayed(tmp_path).latest_sequence == 2


def test_a_fork_in_the_middle_of_a_batch_leaves_the_child_the_projection_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a callback of the collector, or a signal's handler, in the thread that applies the
    batch.

    CPython 3.14 makes and drops all of a batch without a collection. So one is begun where the last
    command is validated, if none has come before.
    """
    with aq.open(tmp_path / "queue", durability="deferred", compaction=None) as queue:
        queue.submit(task_create())
        entries = [
            aq.LedgerEntry(aq.LedgerEntryId(), aq.TenantId(), "k", None, b"", 1)
            for _ in range(5000)
        ]
        commands = [aq.LedgerAppendCommand(None, entry, 1) for entry in entries]
        children: list[int] = []
        read_end, write_end = os.pipe()

        def fork(phase: str, _info: dict[str, int]) -> None:
            if (
                phase == "start"
                and not children
                and queue._lane.is_taken
                and queue.projection.latest_sequence > 1
            ):
                children.append(os.fork())

        def validate_with_a_collection(command: aq.MutationCommand, *others: Any) -> int:
            if command is commands[-1] and not children:
                gc.collect()
            return validate(command, *others)

        validate = lane.validate
        monkeypatch.setattr(lane, "validate", validate_with_a_collection)
        threshold = gc.get_threshold()
        gc.set_threshold(50)
        gc.callbacks.append(fork)
        refused = False
        try:
            queue.submit_many(commands)
        except aq.ForkedError:
            refused = True
        finally:
            gc.callbacks.remove(fork)
            gc.set_threshold(*threshold)
        assert children
        if children == [0]:
            os.close(read_end)
            leave_with(
                write_end,
                lambda: (refused, queue.projection.latest_sequence, len(queue.projection.ledger())),
            )
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            said = pickle.loads(pipe.read())
        os.waitpid(children[0], 0)
        assert said == (True, (True, 1, 0))
        assert queue.sequence == 5001


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="the collector calls nothing in the middle of a query"
)
def test_a_projection_without_a_queue_is_changed_in_a_child_whose_parent_was_in_a_query() -> None:
    projection = aq.Projection()
    for number in range(1, 400):
        projection.apply_event(aq.TaskCreated(number, aq.TaskSpec(payload=b"x"), 1))
    is_inside, may_go, kept = threading.Event(), threading.Event(), list[object]()

    def stay(phase: str, _info: dict[str, int]) -> None:
        if phase != "start" or threading.current_thread() is not asking or is_inside.is_set():
            return
        try:
            projection.ensure_not_in_query()
        except aq.ReentrantCallError:
            is_inside.set()
            may_go.wait(60)

    def ask() -> None:
        while not is_inside.is_set():
            kept.append(projection.read_tasks())

    asking = threading.Thread(target=ask)
    threshold = gc.get_threshold()
    gc.set_threshold(5)
    gc.callbacks.append(stay)
    try:
        asking.start()
        assert is_inside.wait(60)

        def work() -> int:
            gc.callbacks.remove(stay)
            projection.apply_event(aq.TaskCreated(400, aq.TaskSpec(payload=b"x"), 1))
            return projection.latest_sequence

        assert in_child(work) == 400
    finally:
        may_go.set()
        asking.join()
        gc.callbacks.remove(stay)
        gc.set_threshold(*threshold)


@pytest.mark.platform("linux")
def test_a_fault_in_memory_of_the_childs_own_is_none_of_the_parents_ring(tmp_path: Path) -> None:
    with aq.open(tmp_path / "queue") as queue:
        if not queue.stats()["is_ring_mapped"]:
            pytest.skip("the ring is not mapped on this file system")
        lines = Path("/proc/self/maps").read_text("utf-8").splitlines()
        start, end = next(
            (int(at, 16) for at in line.split()[0].split("-"))
            for line in lines
            if line.endswith("/queue/ring")
        )
        own = tmp_path / "own"
        own.write_bytes(bytes(end - start))
        child = os.fork()
        if child == 0:
            try:
                faulthandler.disable()  # what it would say belongs into no output of the suite
                library = ctypes.CDLL(None)
                library.mmap.restype = ctypes.c_void_p
                library.mmap.argtypes = [
                    ctypes.c_void_p,
                    ctypes.c_size_t,
                    ctypes.c_int,
                    ctypes.c_int,
                    ctypes.c_int,
                    ctypes.c_long,
                ]
                descriptor = os.open(own, os.O_RDWR)
                # The flags hold MAP_FIXED.
                library.mmap(
                    start, end - start, mmap.PROT_READ, mmap.MAP_SHARED | 0x10, descriptor, 0
                )
                os.truncate(own, 0)
                ctypes.string_at(start, 1)
            finally:
                os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGBUS


def test_a_child_keeps_what_the_application_has_opened_since(tmp_path: Path) -> None:
    """Also under the numbers that the queue had for a while: to look through its directories, and
    for files that it has closed.
    """

    def is_open(descriptor: int) -> bool:
        try:
            os.fstat(descriptor)
        except OSError:
            return False
        return True

    with aq.open(tmp_path, ring_size=65536, segment_size=65536, compaction=None) as queue:
        for _ in range(4):
            queue.submit_many([task_create(b"x" * 2000) for _ in range(40)])
            queue.compact()
        list(aq.follow(tmp_path, after=queue.sequence, timeout=0))
        aq.open(tmp_path, readonly=True).close()
        taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(100)]
        try:
            assert (
                in_child(lambda: [descriptor for descriptor in taken if not is_open(descriptor)])
                == []
            )
            assert all(map(is_open, taken))
        finally:
            for descriptor in taken:
                os.close(descriptor)
