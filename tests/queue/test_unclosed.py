"""A queue that goes without having been closed is closed all the same, and warns of it as files do;
no other queue warns.
"""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import actionqueue as aq
from actionqueue import compactor
from tests.support.compaction import Worker
from tests.support.queues import CHILD_SECONDS, SMALL, file_size_limit, in_child, task_create

POLICY = aq.CompactionPolicy(age_seconds=10**6)
"""One whose thread is started."""


def texts_of(work: Callable[[], Any]) -> list[str]:
    """Return the warnings that the work, and a collection behind it, leads to."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        work()
        gc.collect()
    return [f"{warning.category.__name__}: {warning.message}" for warning in seen]


def drop(path: Path, **options: Any) -> None:
    queue = aq.open(path, **options)
    queue.submit(task_create(), "deferred")


@pytest.mark.parametrize(
    "options",
    [{}, {"compaction": POLICY}, {"compaction": None}, {"sync": aq.SyncPolicy(milliseconds=1)}],
)
def test_a_queue_that_is_dropped_open_warns_once_and_is_closed(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "the queue"
    (text,) = texts_of(lambda: drop(path, **options))
    assert text.startswith("ResourceWarning: unclosed queue")
    assert repr(path.as_posix()) in text
    with aq.open(path) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == 1


def test_the_warning_points_at_the_line_that_dropped_the_queue(tmp_path: Path) -> None:
    queue = aq.open(tmp_path)
    with pytest.warns(ResourceWarning) as seen:
        del queue
    assert seen[0].filename == __file__
    line = Path(__file__).read_text("utf-8").splitlines()[seen[0].lineno - 1]
    assert line.strip() == "del queue"


def test_a_warning_that_is_made_an_error_keeps_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(
        sys, "unraisablehook", lambda unraisable: raised.append(unraisable.exc_value)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drop(tmp_path, compaction=POLICY)
        gc.collect()
    (error,) = raised
    assert isinstance(error, ResourceWarning)
    assert tmp_path.as_posix() in str(error)
    with aq.open(tmp_path) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == 1


# --- Queues that were closed, or never open -------------------------------------------------------


def close_it(path: Path) -> None:
    queue = aq.open(path, compaction=POLICY)
    queue.close()


def close_it_twice(path: Path) -> None:
    queue = aq.open(path)
    queue.close()
    queue.close()


def leave_a_block(path: Path) -> None:
    with aq.open(path):
        pass


def leave_a_block_with_an_exception(path: Path) -> None:
    with pytest.raises(KeyError), aq.open(path):
        raise KeyError


def close_it_in_another_thread(path: Path) -> None:
    queue = aq.open(path)
    Worker(queue.close).result()


def fail_to_mark_it_as_closed(path: Path) -> None:
    queue = aq.open(path, durability="deferred", **SMALL)
    queue.submit(task_create())
    queue.sync()
    with file_size_limit(queue.stats()["segment_used"]), pytest.raises(aq.LogCloseError):
        queue.close()


def fail_to_sync_it(path: Path) -> None:
    queue = aq.open(path, durability="deferred", **SMALL)
    queue.submit(task_create())
    with file_size_limit(4096), pytest.raises(aq.PartialDurabilityError):
        queue.close()


def close_one_that_is_poisoned(path: Path) -> None:
    queue = aq.open(path, **SMALL)
    with file_size_limit(4096), pytest.raises(aq.PartialDurabilityError):
        queue.submit(task_create())
    assert queue.is_poisoned
    queue.close()


def read_it(path: Path) -> None:
    leave_a_block(path)
    aq.open(path, readonly=True)


def find_none(path: Path) -> None:
    with pytest.raises(aq.NotAQueueError):
        aq.open(path / "missing", create=False)


def find_it_held(path: Path) -> None:
    with aq.open(path), pytest.raises(aq.LockedError):
        aq.open(path)


def give_a_wrong_option(path: Path) -> None:
    with pytest.raises(ValueError, match="segment_size"):
        aq.open(path, segment_size=1)


def cancel_the_opening(path: Path) -> None:
    with aq.open(path, durability="deferred", ring_size=2 << 20) as queue:
        queue.submit_many([task_create(b"x" * 10_000) for _ in range(200)])
    progress = aq.Progress()
    progress.cancel()
    with pytest.raises(aq.StoppedError):
        aq.open(path, progress=progress)


def get_no_thread(path: Path) -> None:
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(aq.OpenIOError, match="start a thread"),
    ):
        patch.setattr(threading.Thread, "start", no_thread)
        aq.open(path, compaction=POLICY)


def no_thread(_self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def be_interrupted_when_it_is_open(path: Path) -> None:
    """The queue is open already, and its caller does not get it."""

    def interrupted(_self: threading.Thread) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", interrupted)
        aq.open(path, compaction=POLICY)


WITH_LIMITS = pytest.mark.platform("limits")
QUIET = [
    close_it,
    close_it_twice,
    leave_a_block,
    leave_a_block_with_an_exception,
    close_it_in_another_thread,
    pytest.param(fail_to_mark_it_as_closed, marks=WITH_LIMITS),
    pytest.param(fail_to_sync_it, marks=WITH_LIMITS),
    pytest.param(close_one_that_is_poisoned, marks=WITH_LIMITS),
    read_it,
    find_none,
    find_it_held,
    give_a_wrong_option,
    cancel_the_opening,
    get_no_thread,
    be_interrupted_when_it_is_open,
]


@pytest.mark.parametrize("work", QUIET, ids=lambda work: work.__name__)
def test_no_warning(tmp_path: Path, work: Callable[[Path], None]) -> None:
    assert texts_of(lambda: work(tmp_path)) == []
    with aq.open(tmp_path):
        pass


# --- Other processes, and the end of one ----------------------------------------------------------


@pytest.mark.platform("fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_drops_its_parents_queue_without_a_word(tmp_path: Path) -> None:
    holder = [aq.open(tmp_path, compaction=POLICY)]
    try:
        assert in_child(lambda: texts_of(holder.clear)) == []
        assert in_child(lambda: texts_of(lambda: drop(tmp_path / "own"))) != []
    finally:
        holder[0].close()


KEPT_TO_THE_END = """
import sys
import actionqueue as aq

class Holder:
    def __init__(self, path):
        self.queue = aq.open(path, compaction=aq.CompactionPolicy(age_seconds=10**6))
        self.itself = self

holder = Holder(sys.argv[1])
holder.queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1), "deferred")
"""


def ended(path: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *options, "-c", KEPT_TO_THE_END, str(path)],
        capture_output=True,
        encoding="utf-8",
        timeout=CHILD_SECONDS,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize("action", ["default", "error"])
def test_a_queue_that_is_open_when_its_process_ends_warns_while_there_is_something_to_warn_with(
    tmp_path: Path, action: str
) -> None:
    code, said = ended(tmp_path, "-W", f"{action}::ResourceWarning")
    assert code == 0
    assert (
        said.count(f"ResourceWarning: unclosed queue {tmp_path.as_posix()!r}")
        == said.count("unclosed")
        == 1
    )
    with aq.open(tmp_path) as queue:
        assert queue.recovery.is_clean
        assert queue.sequence == 1


def test_the_warning_is_for_developers(tmp_path: Path) -> None:
    """Python shows this category only where it is asked for."""
    assert ended(tmp_path) == (0, "")


def test_tracemalloc_tells_where_the_queue_was_opened(tmp_path: Path) -> None:
    _, said = ended(tmp_path, "-X", "dev", "-X", "tracemalloc=20")
    assert 'File "<string>", lineno 7' in said


def test_a_queue_that_is_dropped_in_a_call_of_its_compaction_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call has the last reference then: the queue is closed when it ends, which the next
    opening of this process waits for.
    """
    called, waited = threading.Event(), threading.Event()
    sync, wait = aq.ActionQueue.sync, compactor.Compactor.wait_for_references

    def slow(queue: aq.ActionQueue) -> None:
        if threading.current_thread().name == "actionqueue-compaction" and not called.is_set():
            called.set()
            assert waited.wait(CHILD_SECONDS)
        sync(queue)

    def noted(compactor: compactor.Compactor, progress: aq.Progress | None) -> None:
        waited.set()
        wait(compactor, progress)

    monkeypatch.setattr(aq.ActionQueue, "sync", slow)
    monkeypatch.setattr(compactor.Compactor, "wait_for_references", noted)

    def leave() -> None:
        queue = aq.open(tmp_path, compaction=aq.CompactionPolicy(log_bytes=1))
        queue.submit(task_create(), "deferred")
        assert called.wait(CHILD_SECONDS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        leave()
        with aq.open(tmp_path, compaction=None) as again:
            assert again.sequence == 1
