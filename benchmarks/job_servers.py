"""The job queues over a server that jobs.py compares: rq over Redis, procrastinate over PostgreSQL.

Each measurement starts a server of its own, with its data on the disk to measure and its socket in
a temporary directory, and stops it in the end. No port is opened.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.job_queues import PAYLOAD, PAYLOAD_TEXT, Add, How, Jobs, Queue, in_threads, perform

__all__ = ["OVER_SERVERS"]

SECONDS_TO_STOP = 30
LINES_KEPT = 20
POSTGRES_FOLDERS = "/usr/lib/postgresql/*/bin"
USERS = ("postgres", "nobody")
"""PostgreSQL refuses to run as root: then it runs as the first of these that there is."""


def _program(name: str, folders: str = "") -> str:
    """Return a program on the path, or in the last of the folders that have it.

    Raises FileNotFoundError where there is none.
    """
    others = sorted(Path("/").glob(f"{folders}/{name}".lstrip("/"))) if folders else []
    program = shutil.which(name) or (str(others[-1]) if others else None)
    if program is None:
        elsewhere = f" or in {folders}" if folders else ""
        raise FileNotFoundError(f"there is no {name} on the path{elsewhere}")
    return program


@contextmanager
def _server(command: list[str], ready: str, ending: signal.Signals, **how: Any) -> Iterator[None]:
    """Run a server, from when it says that it is ready; stop it in the end.

    Raises RuntimeError with its last words where it ends before.
    """
    process = subprocess.Popen(  # noqa: S603 -- a fixed command
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **how,
    )
    try:
        stream = process.stdout
        if stream is None:
            raise AssertionError
        said: deque[str] = deque(maxlen=LINES_KEPT)
        for line in stream:
            said.append(line)
            if ready in line:
                break
        else:
            raise RuntimeError(f"{command[0]} does not start: {''.join(said)}")
        # A server that nothing reads from would wait once the pipe is full.
        reader = threading.Thread(target=said.extend, args=(stream,), daemon=True)
        reader.start()
        try:
            yield
        finally:
            process.send_signal(ending)
            process.wait(SECONDS_TO_STOP)
            reader.join()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _short_directory(stack: ExitStack) -> Path:
    """Make a directory whose name is short enough for a socket's."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aq-")))


# --- rq -------------------------------------------------------------------------------------------


class _Rq:
    """A server, and the queue in it."""

    def __init__(self, directory: Path, how: How, stack: ExitStack) -> None:
        self._how = how
        self._stack = stack
        program = _program("redis-server")
        self._socket = _short_directory(stack) / "redis"
        command = [program, "--port", "0", "--unixsocket", str(self._socket)]
        command += ["--dir", str(directory.resolve()), "--save", "", "--appendonly", "yes"]
        command += ["--appendfsync", "always" if how.is_synced else "everysec"]
        stack.enter_context(_server(command, "eady to accept connections", signal.SIGTERM))
        self._rq: Any = import_module("rq")
        self._times: list[float] = []
        self._worker_class = _worker_class(self._times, is_main_thread=how.threads == 1)
        self._connections = [self._connect() for _ in range(how.threads)]

    def _connect(self) -> Any:
        redis: Any = import_module("redis")
        return self._stack.enter_context(redis.Redis(unix_socket_path=str(self._socket)))

    def adder(self) -> Add:
        queue = self._rq.Queue(connection=self._connect())
        prepare, group = self._rq.Queue.prepare_data, self._how.group

        def add(jobs: int) -> None:
            for begin in range(0, jobs, group):
                size = min(group, jobs - begin)
                if group == 1:
                    queue.enqueue(perform, PAYLOAD)
                else:
                    queue.enqueue_many([prepare(perform, (PAYLOAD,)) for _ in range(size)])

        return add

    def work(self, jobs: int) -> float:
        self._times.clear()
        in_threads([self._until_empty(connection) for connection in self._connections], jobs)
        return max(self._times) - min(self._times)

    def _until_empty(self, connection: Any) -> Add:
        worker = self._worker_class([self._rq.Queue(connection=connection)], connection=connection)
        return lambda _jobs: worker.work(burst=True, logging_level="WARNING")


def _worker_class(times: list[float], *, is_main_thread: bool) -> Any:
    """Return rq's worker in this process, which notes when it begins and ends its work."""
    simple: Any = import_module("rq").SimpleWorker
    penalty: Any = import_module("rq.timeouts").BaseDeathPenalty

    class NoTimeout(penalty):  # type: ignore[misc]
        """A time-out takes a signal, which only the main thread gets."""

        def setup_death_penalty(self) -> None: ...

        def cancel_death_penalty(self) -> None: ...

    class Worker(simple):  # type: ignore[misc]
        if not is_main_thread:
            death_penalty_class = NoTimeout

        def _install_signal_handlers(self) -> None:
            """Leave the process's handlers as they are."""

        def bootstrap(self, *arguments: Any, **named: Any) -> None:
            super().bootstrap(*arguments, **named)
            times.append(perf_counter())

        def teardown(self) -> None:
            times.append(perf_counter())
            super().teardown()

    return Worker


def rq_jobs(directory: Path, how: How) -> Jobs:
    """Enqueue, and let workers work until the queue is empty."""
    with ExitStack() as stack:
        queue = _Rq(directory, how, stack)
        return Jobs(queue.adder, queue.work, stack.pop_all().close)


# --- procrastinate --------------------------------------------------------------------------------


def _other_user() -> tuple[int, int] | None:
    """Return the user and the group as which PostgreSQL has to run; None for the own ones."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    import pwd  # noqa: PLC0415 -- not on every system

    present = {entry.pw_name: (entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall()}
    return next((present[user] for user in USERS if user in present), None)


@contextmanager
def _postgres(directory: Path, socket: Path, *, is_synced: bool) -> Iterator[None]:
    """Make a database in a new directory, and run its server."""
    initdb, postgres = (_program(name, POSTGRES_FOLDERS) for name in ("initdb", "postgres"))
    data = directory / "postgres"
    data.mkdir(mode=0o700)
    how: dict[str, Any] = {"cwd": "/", "env": {**os.environ, "LC_ALL": "C"}}
    user = _other_user()
    if user is not None:
        for path in (data, socket):
            shutil.chown(path, *user)
        for path in (directory, directory.parent):  # temporary ones, so far open to root only
            path.chmod(0o711)
        how |= {"user": user[0], "group": user[1], "extra_groups": []}
    made = subprocess.run(  # noqa: S603 -- a fixed command
        [initdb, "-D", str(data.resolve()), "-U", "jobs", "-A", "trust", "-E", "UTF8"],
        capture_output=True,
        text=True,
        check=False,
        **how,
    )
    if made.returncode:
        raise RuntimeError(f"initdb fails: {made.stderr or made.stdout}")
    command = [postgres, "-D", str(data.resolve()), "-k", str(socket), "-h", ""]
    command += ["-c", f"synchronous_commit={'on' if is_synced else 'off'}"]
    with _server(command, "ready to accept connections", signal.SIGINT, **how):
        yield


def procrastinate_jobs(directory: Path, how: How) -> Jobs:
    """Defer, and let a worker do what there is, as many jobs at a time as there are threads."""
    with ExitStack() as stack:
        socket = _short_directory(stack)
        stack.enter_context(_postgres(directory, socket, is_synced=how.is_synced))
        procrastinate: Any = import_module("procrastinate")
        options = {
            "conninfo": f"host={socket} user=jobs dbname=postgres",
            "min_size": how.threads,
            "max_size": how.threads + 2,
        }
        app = procrastinate.App(connector=procrastinate.SyncPsycopgConnector(**options))

        @app.task(name="job")  # type: ignore[untyped-decorator]
        async def job(payload: str) -> None:
            perform(payload)

        stack.enter_context(app.open())
        app.schema_manager.apply_schema()
        working = app.with_connector(procrastinate.PsycopgConnector(**options))

        def add(jobs: int) -> None:
            for begin in range(0, jobs, how.group):
                size = min(how.group, jobs - begin)
                if how.group == 1:
                    job.defer(payload=PAYLOAD_TEXT)
                else:
                    job.batch_defer(*({"payload": PAYLOAD_TEXT} for _ in range(size)))

        async def work_until_empty() -> float:
            async with working.open_async():
                began = perf_counter()
                await working.run_worker_async(
                    wait=False,
                    concurrency=how.threads,
                    listen_notify=False,
                    install_signal_handlers=False,
                )
                return perf_counter() - began

        return Jobs(
            lambda: add, lambda _jobs: asyncio.run(work_until_empty()), stack.pop_all().close
        )


# Whether they sync as they promise was looked at as job_peers.py says. With the settings of
# Immediate, each job more took 15 fdatasync in Redis for rq, which sends about as many commands
# (14 in groups), and 3.0 in PostgreSQL for procrastinate (2.0 in groups, whose additions share
# one). With the settings of Deferred Redis synced once a second, and PostgreSQL 7 to 17 times in
# all besides what making the database takes.
OVER_SERVERS = [
    Queue(
        "rq",
        "rq",
        rq_jobs,
        deferred="SimpleWorker over Redis: appendonly yes, appendfsync everysec",
        immediate="SimpleWorker over Redis: appendonly yes, appendfsync always",
        groups="enqueue_many",
    ),
    Queue(
        "procrastinate",
        "procrastinate",
        procrastinate_jobs,
        deferred="PostgreSQL: synchronous_commit off, so a killed server may lose the last 0.6 "
        "seconds; it keeps no output",
        immediate="PostgreSQL: synchronous_commit on; it keeps no output",
        groups="batch_defer",
    ),
]
"""The queues that need a server."""
