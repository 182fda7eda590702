"""The job queues without a server that jobs.py compares with this project.

Each is used as its documentation shows. Its entry says which settings give the promise, and what
they promise less.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.job_queues import (
    PAYLOAD,
    PAYLOAD_TEXT,
    Add,
    How,
    Jobs,
    Queue,
    found,
    perform,
    worker_of,
)

__all__ = ["PEERS"]

BUSY_SECONDS = 60
ACKED_AT_ONCE = 100
"""After so many jobs persist-queue is asked to forget those that are done, as its documentation
asks of its users: it looks for the next job from the first one on."""


def huey_jobs(directory: Path, how: How) -> Jobs:
    """Do what huey's consumer does in its workers: dequeue and execute, which stores the result."""
    huey: Any = import_module("huey").SqliteHuey(
        filename=str(directory / "jobs.db"), fsync=how.is_synced, timeout=BUSY_SECONDS
    )
    task = huey.task()(perform)

    def add(jobs: int) -> None:
        for _ in range(jobs):
            task(PAYLOAD)

    def work(jobs: int) -> None:
        for _ in range(jobs):
            huey.execute(found(huey.dequeue()))

    return Jobs(lambda: add, worker_of(lambda: work, how), huey.storage.close)


class _LiteQueue:
    """A thread's connection; groups are transactions."""

    def __init__(self, directory: Path, how: How) -> None:
        self._queue: Any = import_module("litequeue").LiteQueue(
            directory / "jobs.db", timeout=BUSY_SECONDS
        )
        self._queue.conn.execute(f"PRAGMA synchronous = {'FULL' if how.is_synced else 'NORMAL'}")
        self._group = how.group

    def _together(self) -> AbstractContextManager[object]:
        if self._group == 1:
            return nullcontext()
        together: AbstractContextManager[object] = self._queue.transaction(mode="IMMEDIATE")
        return together

    def add(self, jobs: int) -> None:
        for begin in range(0, jobs, self._group):
            with self._together():
                for _ in range(begin, min(begin + self._group, jobs)):
                    self._queue.put(PAYLOAD_TEXT)

    def work(self, jobs: int) -> None:
        for begin in range(0, jobs, self._group):
            done = []
            for _ in range(begin, min(begin + self._group, jobs)):
                message = found(self._queue.pop())
                perform(message.data)
                done.append(message.message_id)
            with self._together():
                for message_id in done:
                    self._queue.done(message_id)

    def close(self) -> None:
        self._queue.close()


def litequeue_jobs(directory: Path, how: How) -> Jobs:
    """Put, pop and done, with a connection a thread."""
    connections: list[_LiteQueue] = []

    def connect() -> _LiteQueue:
        connections.append(_LiteQueue(directory, how))
        return connections[-1]

    def close() -> None:
        for connection in connections:
            connection.close()

    return Jobs(lambda: connect().add, worker_of(lambda: connect().work, how), close)


def persist_queue_jobs(directory: Path, how: How) -> Jobs:
    """Put, get and ack; or, in groups, put and get, and say once a group that it is done."""
    module = import_module("persistqueue")
    if how.group > 1:
        queue: Any = module.SQLiteQueue(str(directory), auto_commit=False, timeout=BUSY_SECONDS)
    else:
        queue = module.SQLiteAckQueue(str(directory), multithreading=True, timeout=BUSY_SECONDS)
    # It has no setting for this; SQLite's own default is FULL.
    queue._putter.execute(  # noqa: SLF001
        f"PRAGMA synchronous = {'FULL' if how.is_synced else 'NORMAL'}"
    )
    if how.group > 1:
        add, work = _persist_queue_groups(queue, how.group)
        return Jobs(lambda: add, worker_of(lambda: work, how), queue.close)

    def add(jobs: int) -> None:
        for _ in range(jobs):
            queue.put(PAYLOAD)

    def work(jobs: int) -> None:
        for number in range(1, jobs + 1):
            job = queue.get(block=False, raw=True)
            perform(job["data"])
            queue.ack(id=job["pqid"])
            if number % ACKED_AT_ONCE == 0:
                queue.clear_acked_data(max_delete=ACKED_AT_ONCE, keep_latest=0)

    return Jobs(lambda: add, worker_of(lambda: work, how), queue.close)


def _persist_queue_groups(queue: Any, group: int) -> tuple[Add, Add]:
    """Return what adds jobs, and what works on them and forgets a group at a time."""

    def add(jobs: int) -> None:
        for _ in range(jobs):
            queue.put(PAYLOAD)

    def work(jobs: int) -> None:
        for begin in range(0, jobs, group):
            for _ in range(begin, min(begin + group, jobs)):
                perform(found(queue.get(block=False)))
            queue.task_done()

    return add, work


def apscheduler_jobs(directory: Path, how: How) -> Jobs:
    """Add jobs that are due at once while the scheduler is paused, then let it do them all."""
    sqlalchemy: Any = import_module("sqlalchemy")
    events: Any = import_module("apscheduler.events")
    engine = sqlalchemy.create_engine(
        f"sqlite:///{directory / 'jobs.db'}", connect_args={"timeout": BUSY_SECONDS}
    )

    def set_up(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'FULL' if how.is_synced else 'NORMAL'}")

    sqlalchemy.event.listen(engine, "connect", set_up)
    store = import_module("apscheduler.jobstores.sqlalchemy").SQLAlchemyJobStore(engine=engine)
    pool = import_module("apscheduler.executors.pool").ThreadPoolExecutor(how.threads)
    scheduler: Any = import_module("apscheduler.schedulers.background").BackgroundScheduler(
        jobstores={"default": store},
        executors={"default": pool},
        job_defaults={"misfire_grace_time": None},
        timezone="UTC",
    )
    ends = threading.Semaphore(0)
    # A job is over when it is removed from the store, too, which may be before or after it ran.
    scheduler.add_listener(
        lambda _: ends.release(), events.EVENT_JOB_EXECUTED | events.EVENT_JOB_REMOVED
    )
    scheduler.start(paused=True)

    def add(jobs: int) -> None:
        for _ in range(jobs):
            scheduler.add_job(perform, args=[PAYLOAD])

    def work(jobs: int) -> float:
        began = perf_counter()
        scheduler.resume()
        for _ in range(2 * jobs):
            if not ends.acquire(timeout=BUSY_SECONDS):
                raise LookupError("a job was added, and does not run")
        taken = perf_counter() - began
        scheduler.pause()
        return taken

    return Jobs(lambda: add, work, scheduler.shutdown)


# Whether they sync as they promise was looked at once, with
#
#     strace -f -c -e trace=fsync,fdatasync,msync,sync_file_range
#
# over 100 and 200 jobs, one call each. With the settings of Immediate, each job more took 3.0
# fdatasync in huey, litequeue and persist-queue, for the addition, the claim and the end, as it did
# in actionqueue, and 2.0 in APScheduler, which writes nothing when a job begins. In groups
# litequeue took 1.0, for the claim, persist-queue 1.0, for the addition, and actionqueue 3.4 for
# each hundred jobs, one a step at least. With the settings of Deferred no queue synced by the job:
# each process took 4 to 16 in all, for SQLite's checkpoints and for opening and closing.
PEERS = [
    Queue(
        "huey",
        "huey",
        huey_jobs,
        deferred="SqliteHuey(fsync=False): WAL, synchronous OFF, so a power loss may damage the "
        "file; a job whose worker is killed is lost",
        immediate="SqliteHuey(fsync=True): WAL, synchronous FULL; a job whose worker is killed is "
        "lost",
    ),
    Queue(
        "litequeue",
        "litequeue",
        litequeue_jobs,
        deferred="WAL, synchronous NORMAL, its own setting; it keeps no output",
        immediate="WAL, synchronous FULL; it keeps no output",
        groups="put and done, in a transaction",
    ),
    Queue(
        "persist-queue",
        "persistqueue",
        persist_queue_jobs,
        deferred="SQLiteAckQueue: WAL, synchronous NORMAL; it keeps no output",
        immediate="SQLiteAckQueue: WAL, synchronous FULL; it keeps no output",
        groups="SQLiteQueue(auto_commit=False): each put is committed, what was got by task_done; "
        "a claim leaves no trace, so that two processes may do a job at once",
    ),
    Queue(
        "APScheduler",
        "apscheduler",
        apscheduler_jobs,
        deferred="SQLAlchemyJobStore: WAL, synchronous NORMAL; it keeps no output, and a job whose "
        "worker is killed is lost",
        immediate="SQLAlchemyJobStore: WAL, synchronous FULL; it keeps no output, and a job whose "
        "worker is killed is lost",
    ),
]
