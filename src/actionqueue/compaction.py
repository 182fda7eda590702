"""Snapshots and compaction: what keeps a log from growing for ever, and a restart from taking longer and longer."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable

import msgspec

from _wal_native.progress import Progress
from _wal_native.snapshot import compact
from actionqueue.clock import now
from actionqueue.errors import ActionQueueError, ClosedError, InvalidFieldError, ReentrantCallError, StoppedError

__all__ = ["CompactionPolicy", "CompactionReport", "SnapshotReport"]

CHECK_SECONDS = 1.0
RETRY_SECONDS_MAX = 3600.0

_logger = logging.getLogger("actionqueue")


class CompactionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a queue compacts itself in the background, and what it then forgets. None switches a part off.

    A compaction begins when as many bytes of records were appended as ``log_bytes`` says, or as the last snapshot has if that is more; or
    when the last one is ``age_seconds`` old and something was appended since.
    """

    log_bytes: int | None = 256 * 1024 * 1024
    """Bytes of records since the last snapshot."""
    age_seconds: int | None = None
    """Seconds since the last snapshot."""
    retention_seconds: int | None = None
    """Finished runs, and the tasks that they leave without any, are forgotten this many seconds after their end. None: never."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise InvalidFieldError("CompactionPolicy", field, value, "must be a whole number from 0, or None")


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
    """The compactions of one open queue: one at a time, by callers or by a thread that watches the policy."""

    def __init__(
        self,
        directory: str,
        policy: CompactionPolicy | None,
        *,
        log_bytes: int,
        appended_bytes: Callable[[], int],
        purge: Callable[[int], tuple[int, int]],
    ) -> None:
        self._directory = directory
        self._policy = policy
        self._appended_bytes = appended_bytes
        self._purge = purge
        self._turn = threading.Lock()
        self._owner: int | None = None  # the thread whose turn it is
        self._progress: Progress | None = None
        self._is_stopped = threading.Event()
        self._mark = -log_bytes  # appended bytes at the last snapshot; what was there at the start counts too
        self._snapshot_bytes = 0
        self._last_at = time.monotonic()
        self._retry_seconds = 0.0
        self.last_report: CompactionReport | None = None
        self.last_error: Exception | None = None
        if policy is not None and (policy.log_bytes is not None or policy.age_seconds is not None):
            watch = threading.Thread(
                target=_watch, args=(weakref.ref(self), self._is_stopped), name="actionqueue-compaction", daemon=True
            )
            watch.start()

    def run(self, *, drops_segments: bool, retention_seconds: int | None) -> CompactionReport:
        """Make a snapshot, and drop what it makes superfluous if asked to. Waits for a compaction that is under way."""
        if self._owner == threading.get_ident():
            raise ReentrantCallError
        with self._turn:
            self._owner = threading.get_ident()
            try:
                return self._run(drops_segments=drops_segments, retention_seconds=retention_seconds)
            finally:
                self._progress = None
                self._owner = None

    def _run(self, *, drops_segments: bool, retention_seconds: int | None) -> CompactionReport:
        started, today = time.perf_counter(), now()
        self._progress = progress = Progress()
        if self._is_stopped.is_set():  # looked at behind the line above, so that stop() finds the one or the other
            raise ClosedError
        purged_runs = purged_tasks = 0
        if retention_seconds is not None and today >= retention_seconds:
            purged_runs, purged_tasks = self._purge(today - retention_seconds)
        appended = self._appended_bytes()
        found = compact(self._directory, now=today, drops_segments=drops_segments, progress=progress)
        self._mark, self._snapshot_bytes, self._last_at = appended, found["file_size"], time.monotonic()
        report = CompactionReport(
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
        self.last_report = report
        return report

    def run_if_due(self) -> None:
        """Compact by the policy. A failure is kept and logged, and tried again after a while that grows."""
        if self._policy is None or not self._is_due(self._policy):
            return
        try:
            self.run(drops_segments=True, retention_seconds=self._policy.retention_seconds)
        except (StoppedError, ClosedError):
            return
        except (ActionQueueError, MemoryError, OSError) as error:
            self.last_error = error
            self._last_at = time.monotonic()
            self._retry_seconds = min(max(CHECK_SECONDS, 2 * self._retry_seconds), RETRY_SECONDS_MAX)
            _logger.warning("compaction of %s failed: %s; next try in %.0f s", self._directory, error, self._retry_seconds)
        else:
            self.last_error = None
            self._retry_seconds = 0.0

    def _is_due(self, policy: CompactionPolicy) -> bool:
        passed = time.monotonic() - self._last_at
        if passed < self._retry_seconds:
            return False
        appended = self._appended_bytes() - self._mark
        if policy.log_bytes is not None and appended >= max(policy.log_bytes, self._snapshot_bytes, 1):
            return True
        return policy.age_seconds is not None and passed >= policy.age_seconds and appended > 0

    def stop(self) -> None:
        """Cancel what is under way, wait for its end, and let nothing more begin."""
        if self._owner == threading.get_ident():
            raise ReentrantCallError
        self._is_stopped.set()
        progress = self._progress
        if progress is not None:
            progress.cancel()
        with self._turn:
            pass


def _watch(reference: weakref.ref[Compactor], is_stopped: threading.Event) -> None:
    """Look now and then whether a compaction is due, for as long as the queue is open and somebody has it."""
    while not is_stopped.wait(CHECK_SECONDS):
        compactor = reference()
        if compactor is None:
            return
        compactor.run_if_due()
        del compactor
