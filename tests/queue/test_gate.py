"""No call of the package keeps the interpreter's lock while it waits for the disk, or for a lock
that is held meanwhile.

The disk stands behind a gate: each system call returns only after another Python thread has run
since it began. See ``gate.c``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GATE = Path(__file__).parent / "gate.c"

PROGRAM = """
import asyncio, ctypes, sys, threading, time
from pathlib import Path
import numpy as np
import actionqueue as aq
from actionqueue.aio import open_async
from actionqueue.inspection import verify

gate = ctypes.CDLL(None)
ticks = ctypes.c_ulong.in_dll(gate, "gate_ticks")
is_closed = ctypes.c_int.in_dll(gate, "gate_is_closed")
found = (ctypes.c_char * 64).in_dll(gate, "gate_found")
directory = Path(sys.argv[1])
SMALL = {"segment_size": 65536, "ring_size": 65536}
is_done = False


def tick():
    while not is_done:
        ticks.value += 1
        time.sleep(0)


def task(size=0):
    return aq.TaskCreateCommand(None, aq.TaskSpec(payload=bytes(size)), 1)


def submit(queue):
    for size in (0, 9_000, 70_000):
        for durability in ("deferred", "immediate"):
            queue.submit(task(size), durability)


def submit_many(queue):
    for size in (0, 9_000, 70_000):
        queue.submit_many([task(size)] * 0 + [task(size), task()], "deferred")
        queue.submit_many([task(size), task()], "immediate")


def submit_columns(queue):
    created = aq.TaskSpec(payload=b"")
    queue.submit(aq.TaskCreateCommand(None, created, 1))
    runs = [aq.RunInstance.scheduled(created.id, scheduled_at=1, created_at=1) for _ in range(50)]
    queue.submit_many([aq.RunCreateCommand(None, run) for run in runs])
    ids = np.frombuffer(b"".join(run.id.bytes for run in runs), np.uint8).reshape(-1, 16)
    queue.submit_transitions(ids, "scheduled", "canceled", 2)


def look(queue):
    queue.stats(), queue.sequence, queue.durable_sequence, queue.is_poisoned, repr(queue)
    queue.projection.counts(), queue.projection.columns(), list(queue.projection.tasks())[:3]


def read(queue):
    with aq.open(queue.path, readonly=True) as reader:
        queue.submit(task())
        queue.sync()
        reader.refresh()
        reader.projection.counts()


def follow(queue):
    events = queue.follow(after=max(0, queue.sequence - 3), timeout=10)
    for _ in range(3):
        next(events)
    events.close()


WORKS = {
    "submit": submit,
    "submit_many": submit_many,
    "columns": submit_columns,
    "sync": lambda queue: queue.sync(),
    "look": look,
    "read": read,
    "follow": follow,
    "snapshot": lambda queue: queue.snapshot(),
    "compact": lambda queue: queue.compact(retention_seconds=0),
    "refused": lambda queue: open_again(queue.path),
}


def open_again(path):
    try:
        aq.open(path)
    except aq.LockedError:
        pass


def lives():
    with aq.open(directory / "lives", **SMALL) as queue:
        queue.submit(task())
    queue = aq.open(directory / "lives", **SMALL, sync=aq.SyncPolicy(records=3, milliseconds=5))
    for _ in range(10):
        queue.submit(task(3000), "deferred")
    del queue                               # dropped, not closed
    aq.open(directory / "lives", **SMALL).close()
    verify(directory / "lives")
    aq.repair(directory / "lives", accept_data_loss=False)


async def use_asyncio():
    async with open_async(directory / "asyncio", **SMALL) as queue:
        await asyncio.gather(*[queue.submit(task(5000)) for _ in range(20)])


def main():
    ticker = threading.Thread(target=tick)
    ticker.start()
    compaction = aq.CompactionPolicy(log_bytes=2**18, retention_seconds=10)
    queue = aq.open(directory / "queue", **SMALL, compaction=compaction)
    for _ in range(5):
        queue.submit(task())
    is_closed.value = 1
    for name, work in WORKS.items():        # each alone
        work(queue)
        if found.value:
            return f"{name}: {found.value.decode()}"
    for work in (lives, lambda: asyncio.run(use_asyncio())):
        work()
        if found.value:
            return f"lives, asyncio: {found.value.decode()}"
    # And each beside a thread that appends more than the ring takes, again and again.
    for name, work in WORKS.items():
        is_over = threading.Event()

        def load():
            while not is_over.is_set():
                queue.submit(task(70_000), "deferred")

        beside = threading.Thread(target=load)
        beside.start()
        work(queue)
        is_over.set()
        beside.join()
        if found.value:
            return f"{name} beside a large append: {found.value.decode()}"
    queue.close()
    return f"close: {found.value.decode()}" if found.value else ""


try:
    said = main()
finally:
    is_closed.value = 0
    is_done = True
calls = ctypes.c_ulong.in_dll(gate, "gate_calls").value
print(said or f"{calls} calls")
"""


@pytest.mark.platform("linux")
def test_other_threads_run_while_the_disk_works(tmp_path: Path) -> None:
    gate = tmp_path / "gate.so"
    compiler = os.environ.get("CC", "cc")
    built = subprocess.run(
        [compiler, "-std=c11", "-O1", "-shared", "-fPIC", "-o", str(gate), str(GATE), "-ldl"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert built.returncode == 0, built.stderr
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={**os.environ, "LD_PRELOAD": str(gate)},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" calls\n"), done.stdout
    assert int(done.stdout.split()[0]) > 500
