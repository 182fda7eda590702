"""Processes that are made while a queue is open, in every way that there is: the queue stays the
parent's.
"""

from __future__ import annotations

import concurrent.futures
import copy
import ctypes
import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import actionqueue as aq
from actionqueue.errors import ForkedError, LockedError
from tests.support.crash import ledger
from tests.support.queues import in_child, task_create

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

ROW = "fork with the log open"
PROGRAMS = Path(__file__).parent / "programs"
START_METHODS = ("fork", "spawn", "forkserver")


def test_forks_under_load(directory: Path, long_form: bool) -> None:
    forks = 1000 if long_form else 15
    program = [
        sys.executable,
        "-W",
        "error::ResourceWarning",
        str(PROGRAMS / "forks_under_load.py"),
        str(directory),
        str(forks),
    ]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    ended_well, sequence = map(int, ended.stdout.split())
    assert ended_well == forks
    # The long form's log grows so that it is compacted under way: recovery refuses gaps by itself.
    with aq.open(directory / "queue", readonly=True) as found:
        assert found.projection.latest_sequence == sequence
    ledger.record(ROW, forks, forks - ended_well)


LOOK = """
import os, sys
def is_open(number):
    try:
        return bool(os.fstat(number))
    except OSError:
        return False
here = {(os.stat(path).st_dev, os.stat(path).st_ino) for path in sys.argv[1:]}
print([n for n in range(3, 256) if is_open(n) and (os.fstat(n).st_dev, os.fstat(n).st_ino) in here])
"""


@pytest.mark.parametrize(
    "way", ["subprocess", "subprocess with a hook", "posix_spawn", "fork and exec"]
)
def test_a_program_that_is_started_inherits_nothing(tmp_path: Path, way: str) -> None:
    with aq.open(tmp_path / "queue") as queue:
        queue.submit(task_create())
        files = [str(place) for place in (tmp_path / "queue").rglob("*")]
        program = [sys.executable, "-c", LOOK, *files]
        with (tmp_path / "said").open("w+") as said:
            if way.startswith("subprocess"):
                hook = (lambda: None) if "hook" in way else None
                subprocess.run(program, stdout=said, check=True, close_fds=False, preexec_fn=hook)
            elif way == "posix_spawn":
                redirect = [(os.POSIX_SPAWN_DUP2, said.fileno(), 1)]
                child = os.posix_spawn(program[0], program, os.environ, file_actions=redirect)
                assert os.waitpid(child, 0)[1] == 0
            else:
                child = os.fork()
                if child == 0:
                    os.dup2(said.fileno(), 1)
                    os.execv(program[0], program)  # noqa: S606
                assert os.waitpid(child, 0)[1] == 0
            said.seek(0)
            assert said.read() == "[]\n"
        assert queue.submit(task_create()).sequence == 2
    ledger.record(ROW, 1)


def test_a_daemon_takes_the_queue_over_when_the_parent_has_closed_it(tmp_path: Path) -> None:
    """The double fork of a daemon: the grandchild outlives both, and begins anew."""
    told, tell = os.pipe()
    answers, answer = os.pipe()
    queue = aq.open(tmp_path / "queue")
    queue.submit(task_create())
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                with pytest.raises(ForkedError):
                    queue.submit(task_create())
                queue.close()
                with pytest.raises(LockedError):
                    aq.open(tmp_path / "queue")
                os.write(answer, b"1")
                os.close(tell)
                os.read(told, 1)  # until the parent has closed
                with aq.open(tmp_path / "queue") as mine:
                    os.write(answer, b"%d" % mine.submit(task_create()).sequence)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(answers, 1) == b"1"
    assert queue.submit(task_create()).sequence == 2
    queue.close()
    os.close(tell)
    assert os.read(answers, 1) == b"3"
    for descriptor in (told, answers, answer):
        os.close(descriptor)
    ledger.record(ROW, 2)


def test_a_fork_that_python_does_not_know_of(tmp_path: Path) -> None:
    """Made by a C library: no hook of the interpreter's runs, and the child has nothing of the
    queue's all the same.
    """
    with aq.open(tmp_path / "queue") as queue, aq.open(tmp_path / "queue", readonly=True) as reader:
        queue.submit(task_create())
        here = {
            (place.stat().st_dev, place.stat().st_ino) for place in (tmp_path / "queue").rglob("*")
        }
        child = ctypes.PyDLL(None).fork()
        if child == 0:
            status = 1
            try:
                left = [number for number in range(3, 256) if identity_of(number) in here]
                with pytest.raises(ForkedError):
                    queue.submit(task_create())
                with pytest.raises(ForkedError):
                    reader.refresh()
                status = 0 if left == [] else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert queue.submit(task_create()).sequence == 2
        reader.refresh()
        assert reader.projection.latest_sequence == 2
    ledger.record(ROW, 1)


def identity_of(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def refused_by(path: str) -> int | None:
    """In a worker: return who holds the queue."""
    try:
        aq.open(path).close()
    except LockedError as error:
        return error.pid
    return None


def own_queue(path: str) -> int:
    with aq.open(path) as queue:
        return queue.submit(task_create()).sequence


@pytest.mark.parametrize("method", START_METHODS)
def test_workers_are_told_who_holds_the_queue(tmp_path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    with aq.open(tmp_path / "queue") as queue:
        queue.submit(task_create())
        with context.Pool(2) as pool:
            assert pool.map(refused_by, [queue.path] * 6, chunksize=1) == [os.getpid()] * 6
            paths = [str(tmp_path / str(number)) for number in range(4)]
            assert pool.map(own_queue, paths, chunksize=1) == [1] * 4
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            assert list(executor.map(refused_by, [queue.path] * 6)) == [os.getpid()] * 6
        assert queue.submit(task_create()).sequence == 2
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        assert list(executor.map(own_queue, [queue.path] * 3)) == [3, 4, 5]
    ledger.record(ROW, 19, note="multiprocessing: " + ", ".join(START_METHODS))


@pytest.mark.parametrize("method", START_METHODS)
def test_a_queue_is_not_sent_to_another_process(tmp_path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    with aq.open(tmp_path) as queue:
        pool = context.Pool(1)
        with pool, pytest.raises(TypeError, match="open it by its path"):
            pool.map(print, [queue])
        if method != "fork":  # a forked process has it already, and is refused
            with pytest.raises(TypeError, match="open it by its path"):
                context.Process(target=print, args=(queue,)).start()
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="open it by its path"):
                attempt(queue)
        assert queue.submit(task_create()).sequence == 1


def test_a_hook_that_closes_the_queue_before_a_fork_and_opens_it_after(tmp_path: Path) -> None:
    """As a pre-fork server does. The hook was registered before the library's own, so it runs
    inside them.
    """
    program = """
import os, sys
queue = None
def before():
    queue.close()
def after_in_parent():
    global queue
    queue = aq.open(sys.argv[1], segment_size=65536)
os.register_at_fork(before=before, after_in_parent=after_in_parent)
import actionqueue as aq
after_in_parent()
for number in range(20):
    for _ in range(5):
        queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b"x" * 10_000), 1), "deferred")
    child = os.fork()
    if child == 0:
        try:
            queue.submit(aq.EnginePauseCommand(None, 1))
        except aq.ForkedError:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print(queue.sequence)
"""
    quietly = ["-W", "ignore:This process:DeprecationWarning"]
    command = [sys.executable, *quietly, "-c", program, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("100\n", "")


def test_opening_different_queues_at_once(directory: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        paths = [str(directory / str(number)) for number in range(8)]
        for _ in range(5):
            assert list(executor.map(own_queue, paths))
    assert in_child(lambda: [own_queue(path) for path in paths]) == [6] * 8
