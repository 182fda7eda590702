"""The programs of docs/embedding.md, run by the real servers: reloads and killed workers never
leave a queue locked, or lose a task.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import actionqueue as aq
from tests.support import places
from tests.support.queues import replayed

DOCUMENT = places.ROOT / "docs" / "embedding.md"
PATIENCE_S = 60.0


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name, as a socket's must be, that holds the document's programs."""
    with tempfile.TemporaryDirectory(prefix="aq-") as made:
        for program in re.findall(
            r"^```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL
        ):
            name = re.match(r"# ([\w.]+)", program)
            assert name is not None
            (Path(made) / name[1]).write_text(program, "utf-8")
        yield Path(made)


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_S)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(self.path))


class Client:
    """Submits tasks, and notes what was acknowledged by which process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acknowledged: list[int] = []
        self.lock = threading.Lock()

    def submit(self) -> int:
        """Submit one task, again and again while the server is not there; return the worker that
        took it.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            connection = UnixConnection(self.path)
            try:
                connection.request("POST", "/task")
                response = connection.getresponse()
                answer = response.read()
                if response.status == 200:
                    said = json.loads(answer)
                    with self.lock:
                        self.acknowledged.append(said["sequence"])
                    return int(said["pid"])
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.01)

    def submit_until(self, is_enough: Callable[[int], bool]) -> int:
        deadline = time.monotonic() + PATIENCE_S
        while not is_enough(pid := self.submit()):
            assert time.monotonic() < deadline, "no other worker came"
        return pid


@contextmanager
def server(place: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "QUEUE": str(place / "queue"), "PYTHONDONTWRITEBYTECODE": "1"}
    with (place / "said").open("wb") as said:
        running = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=place,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        try:
            yield running
            running.send_signal(signal.SIGTERM)
            running.wait(PATIENCE_S)
        except BaseException as failure:
            failure.add_note((place / "said").read_text("utf-8", "replace")[-4000:])
            raise
        finally:
            running.kill()
            running.wait()


def assert_kept(place: Path, client: Client) -> None:
    """Everything acknowledged is there, once, and the queue was closed."""
    assert sorted(client.acknowledged) == sorted(set(client.acknowledged))
    assert replayed(place / "queue").latest_sequence >= max(client.acknowledged)
    with aq.open(place / "queue") as queue:
        assert queue.recovery.is_clean


def change_and_wait(place: Path, client: Client, before: int) -> int:
    """Change a source until another worker answers: a reloader that has just begun takes the
    sources as it first finds them.
    """
    is_over = threading.Event()

    def change() -> None:
        while True:
            with (place / "opening.py").open("a") as source:
                source.write("# change\n")
            if is_over.wait(1):
                return

    changing = threading.Thread(target=change)
    changing.start()
    try:
        return client.submit_until(lambda pid: pid != before)
    finally:
        is_over.set()
        changing.join()


@pytest.mark.platform("signals")
def test_uvicorn_with_reload(place: Path) -> None:
    client = Client(place / "s")
    with server(
        place,
        "uvicorn",
        "asgi_app:app",
        "--uds",
        str(client.path),
        "--reload",
        "--reload-dir",
        str(place),
    ):
        before = client.submit()
        for _ in range(2):
            before = change_and_wait(place, client, before)
        with suppress(ProcessLookupError):  # the last change may have ended it already
            os.kill(before, signal.SIGKILL)
        change_and_wait(place, client, before)
    assert_kept(place, client)


@pytest.mark.platform("signals")
def test_gunicorn_that_reloads_and_loses_workers(place: Path) -> None:
    client = Client(place / "s")
    with server(
        place, "gunicorn", "wsgi_app:app", "--bind", f"unix:{client.path}", "--no-control-socket"
    ) as master:
        before = client.submit()
        is_done = threading.Event()

        def load() -> None:
            while not is_done.is_set():
                client.submit()

        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for loss in (signal.SIGHUP, signal.SIGKILL, signal.SIGHUP):
                os.kill(master.pid if loss == signal.SIGHUP else before, loss)
                before = client.submit_until(lambda pid, before=before: pid != before)
        finally:
            is_done.set()
            for thread in threads:
                thread.join()
    assert_kept(place, client)


def test_the_worker_pool(place: Path) -> None:
    program = [sys.executable, "pool.py", "queue"]
    done = subprocess.run(
        program, cwd=place, capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "completed\n", "")


def test_a_thousand_tasks(place: Path) -> None:
    program = [sys.executable, "tasks.py", "queue"]
    done = subprocess.run(
        program, cwd=place, capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    tasks, syncs = map(int, re.findall(r"\d+", done.stdout))
    assert tasks == 1000 > 10 * syncs
    assert replayed(place / "queue").latest_sequence == 1000


def test_waiting_for_the_one_before_ends_with_its_name(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(place))
    import opening

    try:
        with aq.open(place / "queue") as queue:
            with pytest.raises(aq.LockedError) as refusal:
                opening.open_when_free(place / "queue", seconds=0.05)
            assert refusal.value.pid == os.getpid()
            waiting = threading.Thread(
                target=lambda: opening.open_when_free(place / "queue").close()
            )
            waiting.start()
            queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1))
        waiting.join(PATIENCE_S)
        assert not waiting.is_alive()
    finally:
        del sys.modules["opening"]


RELOADS = """
import os, sys
import actionqueue as aq
left = int(sys.argv[2])
queue = aq.open(sys.argv[1])
assert queue.recovery.is_created or not queue.recovery.is_clean
assert queue.submit(aq.TaskCreateCommand(None, aq.TaskSpec(payload=b""), 1)).sequence == 11 - left
if left > 1:
    os.execv(sys.executable, [sys.executable, "-c", sys.orig_argv[2], sys.argv[1], str(left - 1)])
queue.close()
"""


@pytest.mark.platform("exec")
def test_a_program_that_replaces_itself_without_closing(tmp_path: Path) -> None:
    """As reloaders do. The process stays the same, and the lock does not."""
    program = [sys.executable, "-c", RELOADS, str(tmp_path / "queue"), "10"]
    done = subprocess.run(
        program, capture_output=True, encoding="utf-8", timeout=PATIENCE_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert replayed(tmp_path / "queue").latest_sequence == 10
