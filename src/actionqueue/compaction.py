"""Snapshots and compaction: what keeps a log from growing for ever, and a restart from taking longer and longer."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import msgspec

from _wal_native.log import Log
from _wal_native.progress import Progress
from _wal_native.snapshot import compact
from actionqueue.clock import now
from actionqueue.errors import (
    ActionQueueError,
    ClosedError,
    ForkedError,
    InvalidFieldError,
    PoisonedError,
    ReentrantCallError,
    StoppedError,
)
from actionqueue.policy_fields import whole_number
from actionqueue.recovery import RecoveryReport

__all__ = ["CompactionPolicy", "CompactionReport", "Progress", "SnapshotReport"]

CHECK_SECONDS = 1.0
RETRY_SECONDS_MAX = 3600.0
TURN_SECONDS = 0.0005
"""How long retention keeps out of the lane between two slices. Without that it took it again before one who waited for it was awake."""

_logger = logging.getLogger("actionqueue")


class CompactionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a queue compacts itself in the background, and what it then forgets. None switches a part off.

    A compaction begins when as many bytes of records were appended as ``log_bytes`` says, or as the last snapshot has if that is more; or
    when the last one, or the opening of the queue, is ``age_seconds`` ago and something was appended since.
    """

    log_bytes: int | None = 256 * 1024 * 1024
    """Bytes of records since the last snapshot."""
    age_seconds: int | None = None
    """Seconds since the last snapshot, or since the queue was opened."""
    retention_seconds: int | None = None
    """Finished runs, and the tasks that they leave without any, are forgotten this many seconds after their end; but not while another
    task depends on theirs. None: never."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if value is None:
                continue
            number = whole_number("CompactionPolicy", field, value)
            if number < 0:
                raise InvalidFieldError("CompactionPolicy", field, value, "must be a whole number from 0, or None")
            msgspec.structs.force_setattr(self, field, number)


class SnapshotReport(msgspec.Struct, frozen=True, kw_only=True):
    """What :meth:`ActionQueue.snapshot` did."""

    sequence: int
    """The newest snapshot holds the projection as of this event; 0 where there is none, for want of an event."""
    is_new: bool
    """Whether it was made by this call; an older one may already have had everything that is durable."""
    file_bytes: int
    """Its size."""
    replayed_events: int
    """Events behind the snapshot before, which were read from the log to make it."""
    seconds: float


class CompactionReport(SnapshotReport, frozen=True, kw_only=True):
    """What :meth:`ActionQueue.compact` did."""

    kept_sequence: int
    """The log was kept from behind this event on, which the older of the two snapshots holds; 0: all of it."""
    purged_runs: int
    purged_tasks: int
    dropped_segments: int
    dropped_snapshots: int
    dropped_bytes: int
    """Size of the files that were removed."""


class Compactor:
    """The compactions of one open queue: one at a time, by callers or by a thread that watches the policy.

    It knows the queue by functions only, which raise ClosedError when the queue is gone, and its log by a weak reference, so that it does
    not keep it alive.
    """

    def __init__(
        self,
        directory: str,
        policy: CompactionPolicy | None,
        *,
        log: Callable[[], Log | None],
        recovery: RecoveryReport,
        appended_bytes: Callable[[], int],
        purge: Callable[[int, int], tuple[int, int, int]],
        sync: Callable[[], None],
        renew: Callable[[int], None],
    ) -> None:
        self._directory = directory
        self._log = log
        self._policy = policy
        self._appended_bytes = appended_bytes
        self._purge = purge
        self._sync = sync
        self._renew = renew
        # Reentrant: a signal handler may run in its owner just before or after the compaction, and would wait for itself.
        self._turn = threading.RLock()
        self._owner: int | None = None  # the thread that is compacting
        self._process = os.getpid()
        self._progress: Progress | None = None
        # Not an Event, whose lock stays taken for good where a signal's handler raises between its lines.
        self._is_stopped = False
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._mark = -recovery.bytes  # appended bytes at the last snapshot; what was there at the start counts too
        self._snapshot_sequence = recovery.snapshot_sequence
        self._snapshot_bytes = _size_of_snapshot(directory, recovery.snapshot_sequence)
        self._last_at = time.monotonic()
        self._retry_at = 0.0
        self._retry_seconds = 0.0
        self._last_report: CompactionReport | None = None
        self._last_error: Exception | None = None

    def start(self) -> None:
        """Begin to watch the policy, if there is one."""
        policy = self._policy
        if policy is not None and (policy.log_bytes is not None or policy.age_seconds is not None):
            # A daemon, so that a queue that nobody closes does not keep the process from ending.
            threading.Thread(target=self._watch, name="actionqueue-compaction", daemon=True).start()

    def _watch(self) -> None:
        while not self._is_stopped:
            try:
                self._wake.get(timeout=CHECK_SECONDS)
            except Empty:
                self.run_if_due()

    def run(self, *, drops_segments: bool, retention_seconds: int | None, progress: Progress | None) -> CompactionReport:
        """Make a snapshot, and drop what it makes superfluous if asked to. Waits for a compaction that is under way."""
        if self._owner == threading.get_ident():
            raise ReentrantCallError
        with self._turn:
            try:
                self._owner = threading.get_ident()
                self._progress = progress = progress or Progress()
                report = self._run(drops_segments, retention_seconds, progress)
            except (ClosedError, ForkedError, PoisonedError, StoppedError):
                raise
            except (ActionQueueError, MemoryError) as error:
                self._last_error = error
                raise
            finally:
                self._progress = None
                self._owner = None
        self._last_report = report
        self._last_error = None
        return report

    def _run(self, drops_segments: bool, retention_seconds: int | None, progress: Progress) -> CompactionReport:  # noqa: FBT001
        started, today = time.perf_counter(), now()
        self._ensure_running(progress)  # looked at when stop() can already find the progress
        purged_runs = purged_tasks = 0
        if retention_seconds is not None and today >= retention_seconds:
            purged_runs, purged_tasks = self._purge_all(today - retention_seconds, progress)
        self._sync()  # a snapshot holds what is durable
        appended = self._appended_bytes()
        self._ensure_running(progress)  # the queue may have gone with one of these calls
        log = self._log()
        if log is None:
            raise ClosedError
        found = compact(self._directory, log, now=today, drops_segments=drops_segments, progress=progress)
        self._mark, self._last_at = appended, time.monotonic()
        self._snapshot_sequence, self._snapshot_bytes = found["sequence"], found["file_size"]
        self._ensure_running(progress)
        self._renew(found["sequence"])
        return CompactionReport(
            sequence=found["sequence"],
            is_new=found["is_new"],
            file_bytes=found["file_size"],
            replayed_events=found["replayed_events"],
            kept_sequence=found["kept_sequence"],
            purged_runs=purged_runs,
            purged_tasks=purged_tasks,
            dropped_segments=found["dropped_segments"],
            dropped_snapshots=found["dropped_snapshots"],
            dropped_bytes=found["dropped_bytes"],
            seconds=time.perf_counter() - started,
        )

    def _purge_all(self, cutoff: int, progress: Progress) -> tuple[int, int]:
        """Forget what ended by then, a slice at a time, so that submitters get their turns."""
        runs = tasks = place = 0
        while True:
            some_runs, some_tasks, place = self._purge(cutoff, place)
            runs, tasks = runs + some_runs, tasks + some_tasks
            if place == 0:
                return runs, tasks
            self._ensure_running(progress)
            time.sleep(TURN_SECONDS)

    def _ensure_running(self, progress: Progress) -> None:
        if self._is_stopped:
            raise ClosedError
        if progress.is_canceled:
            raise StoppedError

    def run_if_due(self) -> None:
        """Compact by the policy. A failure is kept and logged, and tried again after a while that grows."""
        policy = self._policy
        try:
            if policy is None or not self._is_due(policy):
                return
            self.run(drops_segments=True, retention_seconds=policy.retention_seconds, progress=None)
        except ClosedError:
            self._is_stopped = True
        except (PoisonedError, StoppedError):
            pass  # whom it concerns was told
        except (ActionQueueError, MemoryError) as error:
            self._retry_seconds = min(max(CHECK_SECONDS, 2 * self._retry_seconds), RETRY_SECONDS_MAX)
            self._retry_at = time.monotonic() + self._retry_seconds
            _logger.warning("compaction of %s failed: %s; next try in %.0f s", self._directory, error, self._retry_seconds)
        else:
            self._retry_seconds = 0.0

    def _is_due(self, policy: CompactionPolicy) -> bool:
        instant = time.monotonic()
        if instant < self._retry_at:
            return False
        appended = self._appended_bytes() - self._mark
        if policy.log_bytes is not None and appended >= max(policy.log_bytes, self._snapshot_bytes, 1):
            return True
        return policy.age_seconds is not None and instant - self._last_at >= policy.age_seconds and appended > 0

    def stats(self) -> dict[str, Any]:
        """Return what is known of the newest snapshot, and why the last compaction failed, if it did."""
        report, error = self._last_report, self._last_error
        return {
            "snapshot_sequence": self._snapshot_sequence,
            "snapshot_bytes": self._snapshot_bytes,
            "snapshot_ns": 0 if report is None else round(report.seconds * 1e9),
            "snapshot_error": None if error is None else str(error),
        }

    def stop(self) -> None:
        """Cancel what is under way, wait for its end, and let nothing more begin."""
        if self._owner == threading.get_ident():
            raise ReentrantCallError
        self._cancel()
        with self._turn:
            pass

    def abandon(self) -> None:
        """Do the same for a queue that nobody refers to any more, or whose process ends: in whatever thread that is noticed."""
        if os.getpid() != self._process:
            return  # in a forked child, which has neither the thread nor the right to wait for it
        self._cancel()
        if self._owner != threading.get_ident():
            with self._turn:
                pass

    def _cancel(self) -> None:
        self._is_stopped = True
        self._wake.put(None)
        progress = self._progress
        if progress is not None:
            progress.cancel()


def _size_of_snapshot(directory: str, sequence: int) -> int:
    """Return the size of the snapshot that the queue was opened from; 0 where there was none, or where it can't be told any more.

    It only says when a policy's next compaction is due, which is no reason to fail an open that has succeeded.
    """
    if sequence == 0:
        return 0
    try:
        return Path(directory, "snapshots", f"{sequence:020d}.snap").stat().st_size
    except OSError:
        return 0
