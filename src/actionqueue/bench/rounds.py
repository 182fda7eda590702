"""One round of one mode: a new queue, the lifecycle workload for some time, and its figures."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from array import array
from pathlib import Path
from time import perf_counter_ns

import msgspec

from actionqueue.bench.modes import Mode
from actionqueue.bench.workload import COMMANDS_A_RUN, Stream, submit_a_run, timed
from actionqueue.opening import open as open_queue
from actionqueue.queue import ActionQueue

__all__ = ["Limit", "Measured", "measure_round"]

WARM_UP = 0.1
"""The part of a round's time for which the queue works before the measurement."""

TIMED_EVERY = {"immediate": 1, "group": 1, "deferred": 16}
"""Every how many runs a worker times each submit: reading the clock twice takes a good part of a
Deferred submit's time, but next to nothing of a sync's."""


class Limit(msgspec.Struct, frozen=True):
    """When a round ends: whichever comes first."""

    seconds: float
    commands: int = sys.maxsize


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one round."""

    commands: int
    seconds: float
    syncs: int
    """Syncs of the log in that time, as the queue counts them."""
    record_bytes: int
    """Bytes of the appended records."""
    at_risk_max: int
    """The most events that the workers saw acknowledged but not durable at one time: a power loss
    would have taken them then."""
    latencies_ns: list[int]
    """How long submits took; in Deferred modes only those of each run that TIMED_EVERY selects."""

    @property
    def rate(self) -> float:
        """Commands a second."""
        return self.commands / self.seconds


def measure_round(mode: Mode, directory: Path, limit: Limit) -> Measured:
    """Measure a mode once, in a new queue in the directory; remove the queue in the end.

    Raises what opening a queue and submitting raise.
    """
    path = Path(tempfile.mkdtemp(prefix="queue-", dir=directory))
    try:
        with open_queue(path, durability=mode.durability, sync=mode.sync, compaction=None) as queue:
            _Worker(
                mode, queue, Limit(limit.seconds * WARM_UP, max(1, int(limit.commands * WARM_UP)))
            ).work()
            queue.sync()
            return _measure(mode, queue, limit)
    finally:
        shutil.rmtree(path)


def _measure(mode: Mode, queue: ActionQueue, limit: Limit) -> Measured:
    workers = [_Worker(mode, queue, limit) for _ in range(mode.threads)]
    before = queue.stats()
    began = perf_counter_ns()
    _run_all(workers)
    ended = perf_counter_ns()
    after = queue.stats()
    return Measured(
        commands=after["last_sequence"] - before["last_sequence"],
        seconds=(ended - began) / 1e9,
        syncs=after["syncs"] - before["syncs"],
        record_bytes=after["appended_bytes"] - before["appended_bytes"],
        at_risk_max=max(worker.at_risk_max for worker in workers),
        latencies_ns=[latency for worker in workers for latency in worker.times],
    )


def _run_all(workers: list[_Worker]) -> None:
    """Run the workers, each in a thread of its own if there are several; raise the first error."""
    if len(workers) == 1:
        workers[0].work()
        return
    threads = [threading.Thread(target=worker.work_in_a_thread, daemon=True) for worker in workers]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:  # Ctrl-C or an ending signal: the rest of the round may be long
        for worker in workers:
            worker.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        raise
    for worker in workers:
        if worker.error is not None:
            raise worker.error


class _Worker:
    """Submits commands in one mode until the limit is reached."""

    def __init__(self, mode: Mode, queue: ActionQueue, limit: Limit) -> None:
        self.times: array[int] = array("Q")
        self.at_risk_max = 0
        self.error: BaseException | None = None
        self._is_stopped = False
        self._mode = mode
        self._queue = queue
        self._limit = limit

    def work_in_a_thread(self) -> None:
        """Work, and keep the error that ends it for the thread that started this one."""
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 -- the joining thread raises it again
            self.error = error

    def stop(self) -> None:
        """End another thread's work early."""
        self._is_stopped = True

    def work(self) -> None:
        """Work to the end."""
        if self._mode.group > 1:
            self._work_in_groups()
        else:
            self._work_one_by_one()

    def _work_one_by_one(self) -> None:
        submit = self._queue.submit
        submit_timed = timed(submit, self.times)
        every = TIMED_EVERY[self._mode.family]
        ends = time.perf_counter() + self._limit.seconds
        for number in range(max(1, self._limit.commands // COMMANDS_A_RUN)):
            if number % every:
                submit_a_run(submit)
            else:
                self._look(submit_a_run(submit_timed).sequence)
            if time.perf_counter() >= ends or self._is_stopped:
                return

    def _work_in_groups(self) -> None:
        stream, group, submit_many = Stream(), self._mode.group, self._queue.submit_many
        ends = time.perf_counter() + self._limit.seconds
        for _ in range(max(1, self._limit.commands // group)):
            commands = stream.take(group)
            began = perf_counter_ns()
            outcomes = submit_many(commands)
            self.times.append(perf_counter_ns() - began)
            self._look(outcomes[-1].sequence)
            if time.perf_counter() >= ends or self._is_stopped:
                return

    def _look(self, acknowledged: int) -> None:
        """Note how far this thread's acknowledged events are ahead of the durable ones.

        Commands for which other threads still wait are not at risk.
        """
        self.at_risk_max = max(self.at_risk_max, acknowledged - self._queue.durable_sequence)
