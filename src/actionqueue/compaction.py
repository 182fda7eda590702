"""Snapshots and compaction: what keeps a log from growing for ever, and a restart from taking longer and longer."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Self, TypeAlias

import msgspec

from _wal_native.log import Log
from _wal_native.progress import Progress
from _wal_native.reader import names_in
from _wal_native.snapshot import compact
from _wal_native.turn import Turn
from actionqueue.clock import now
from actionqueue.errors import (
    ActionQueueError,
    AppendError,
    ClosedError,
    ForkedError,
    LogSpaceError,
    PoisonedError,
    ReentrantCallError,
    SnapshotError,
    StoppedError,
    TimestampWarning,
)
from actionqueue.limits import U64_MAX
from actionqueue.model import RunsPurged
from actionqueue.policy_fields import number_from_0
from actionqueue.recovery import RecoveryReport
from actionqueue.texts import told

__all__ = ["CompactionPolicy", "CompactionReport", "Progress", "SnapshotReport"]

CHECK_SECONDS = 1.0
"""How often the policy is looked at; it is looked at sooner where the log grows so fast that a compaction is due before that."""
CHECK_SECONDS_MIN = 0.02
RETRY_SECONDS_MAX = 3600.0
DROPPED = ("dropped_segments", "dropped_snapshots", "dropped_bytes")
OVERDUE = 2
"""An opening compacts where the log has at least so many times the bytes that the policy allows: earlier openings did not come to it."""
WASTE_SEGMENTS = 8
WASTE_BYTES = 1024 * 1024
"""From how many segments behind the snapshot, and how many bytes of them without a record, an opening after an unclean end compacts."""
PURGED = ("run_ids", "task_ids", "subscription_ids", "actor_ids")
Place: TypeAlias = tuple[int, int, int]
PLACE_FIRST: Place = (0, 0, 0)
"""Where a search for what may be forgotten begins, and where it is at its end."""
Forgotten: TypeAlias = tuple[RunsPurged | None, Place, bool]
"""What a slice of a search has forgotten, where to go on, and whether it has put off a task for its many dependents."""
SEARCHES_MAX = 16
"""How often in a row everything is searched: again where tasks were put off, and others were forgotten that may have depended on them."""
TURN_SECONDS = 0.0005
"""How long retention keeps out of the lane between two slices. Without that it took it again before one who waited for it was awake."""

RETENTION_SHARE = 100
"""Between two looks for what is due to be forgotten pass at least as many times the time that the last one took."""
CATCH_UP = 24
"""The clock of the policy's retention runs at most so many times as fast as time passes; :class:`RetentionClock` says why."""
CENTURY_SECONDS = 100 * 365 * 86400

_logger = logging.getLogger("actionqueue")


class CompactionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a queue compacts itself in the background, and what it then forgets. None switches a part off.

    A compaction begins when the log's segments have grown by as many bytes as ``log_bytes`` says, or as the last snapshot has if that is
    more: records, the pads of ``sector_size``, and the ends of segments that no record fitted into. It also begins when the last one, or
    the opening of the queue, is ``age_seconds`` ago and something was appended since. The policy is looked at as soon as the queue is open,
    and then once a second, or sooner where the log grows fast.

    The opening itself compacts, and forgets what is due, where it finds at least twice as many bytes behind the snapshot, as processes
    leave that end before a compaction does; and, after an unclean end, where earlier ones have left many segments that are nearly empty.
    """

    log_bytes: int | None = 256 * 1024 * 1024
    """Bytes of log since the last snapshot, as they lie in the segments."""
    age_seconds: int | None = None
    """Seconds since the last snapshot, or since the queue was opened."""
    retention_seconds: int | None = None
    """What is over is forgotten this many seconds after its end, also where nothing else happens. None: never.

    That are finished runs, and the tasks that they leave without any and that will have no more by their policy, but not while a task
    that is not over depends on theirs; canceled subscriptions; and deregistered actors with their roles and capabilities. The wall clock
    decides, but it can't make time pass more than 24 times as fast as it does: where it jumps ahead, what has just ended is not forgotten
    at once."""

    ledger_retention_seconds: int | None = None
    """The lines that the ledger begins with are forgotten, as long as they are this many seconds old, by the same clock; a line with a
    later time keeps those behind it. None: the ledger is kept, and grows without bound."""

    tombstone_seconds: int | None = None
    """The identifiers of forgotten tasks stay as tombstones for this many seconds more: a task that is created with one is refused with
    :class:`~actionqueue.TaskForgotten`. They are dropped by the retention that comes after that, oldest first; and beyond
    ``actionqueue.limits.TOMBSTONE_COUNT_MAX`` of them, the oldest, at once. None: they may be used again at once."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            msgspec.structs.force_setattr(self, field, number_from_0("CompactionPolicy", field, getattr(self, field)))


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
    purged_subscriptions: int
    """Those that went by themselves, not with their tasks."""
    purged_actors: int
    purged_ledger_entries: int
    dropped_segments: int
    dropped_snapshots: int
    dropped_bytes: int
    """Size of the files that were removed."""


class Retention(NamedTuple):
    """What is to be forgotten: what ended, and the lines of the ledger, up to these times in Unix seconds; None forgets nothing of it."""

    cutoff: int | None
    ledger_cutoff: int | None
    today: int
    """Tombstones that were to be kept until then are dropped."""
    kept_until: int | None
    """Until when tombstones are kept that are made now; None makes none."""

    @classmethod
    def at(
        cls, today: int, retention_seconds: int | None, ledger_retention_seconds: int | None, tombstone_seconds: int | None
    ) -> Self | None:
        """Return what these times before and after today come to; None where nothing is to be forgotten."""
        cutoff, ledger_cutoff = (
            None if age is None or age > today else today - age for age in (retention_seconds, ledger_retention_seconds)
        )
        if cutoff is None and ledger_cutoff is None:
            return None
        kept_until = min(max(today, now()) + tombstone_seconds, U64_MAX) if tombstone_seconds else None
        return cls(cutoff, ledger_cutoff, today, kept_until)


class RetentionClock:
    """What time it is for the policy's retention.

    A machine may start, or go on, with a clock that is far ahead, and what ended a moment ago would be forgotten. So this clock begins at
    the latest change of a run that the log knows of, or, without any, at the wall clock. It follows the wall clock, ahead at most
    ``CATCH_UP`` times as fast as time passes, and back at once. After a long time in which the queue was closed it lags for a while.
    """

    def __init__(self, newest_change: int) -> None:
        wall = now()
        self._time = float(min(wall, newest_change) if newest_change else wall)
        self._looked_at = time.monotonic()

    def now(self) -> int:
        """Return Unix seconds."""
        instant = time.monotonic()
        self._time = min(float(now()), self._time + CATCH_UP * (instant - self._looked_at))
        self._looked_at = instant
        return int(self._time)


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
        purge: Callable[[Retention, Place], Forgotten],
        sync: Callable[[], None],
        renew: Callable[[int], None],
        newest_change: Callable[[], int],
    ) -> None:
        self._directory = directory
        self._log = log
        self._policy = policy
        # Each refers to the queue while it is called. `_calling` has a turn for as long.
        calling = self._calling = Turn()
        self._purge: Callable[[Retention, Place], Forgotten] = lambda what, place: calling.run(purge, what, place)
        self._sync: Callable[[], None] = lambda: calling.run(sync)
        self._renew: Callable[[int], None] = lambda sequence: calling.run(renew, sequence)
        self._newest_change: Callable[[], int] = lambda: calling.run(newest_change)
        self._retention_clock: RetentionClock | None = None
        self._retention_at = 0.0  # when to look next for what is due, on the monotonic clock
        self._has_warned = False
        self._turn = Turn()
        self._looking = Turn()  # for as long as the background thread looks at the queue
        self._process = os.getpid()
        self._progress: Progress | None = None
        # Not an Event, whose lock stays taken for good where a signal's handler raises between its lines.
        self._is_stopped = False
        self._wake: SimpleQueue[None] = SimpleQueue()
        # Bytes that the log's segments had taken at the last snapshot. What was there at the start counts too, as records or as the files
        # that these take; of the segment that the snapshot ends in only the records behind that.
        files = _sizes_of_segments(directory, recovery.segments + (not recovery.is_clean))
        self._mark = -max(recovery.replayed_bytes, sum(files[1 if recovery.snapshot_sequence else 0 : -1]))
        self._snapshot_sequence = recovery.snapshot_sequence
        self._snapshot_bytes = _size_of_snapshot(directory, recovery.snapshot_sequence)
        # Every unclean end may leave a segment that is nearly empty, and a process that is killed again and again never comes to its
        # policy: its openings make the snapshots that have those dropped, each for as much waste as the snapshot takes.
        waste = sum(files) - recovery.bytes
        self._is_wasteful = (
            not recovery.is_clean and len(files) >= WASTE_SEGMENTS and waste > max(WASTE_BYTES, recovery.bytes, self._snapshot_bytes)
        )
        self._last_at = time.monotonic()
        self._looked_at: tuple[float, int] | None = None  # when, and how many bytes the log had taken then
        self._retry_at = 0.0
        self._retry_seconds = 0.0
        self._last_report: CompactionReport | None = None
        self._failed_to_forget: str | None = None
        self._last_error: str | None = None  # its text only: an exception's traceback would keep the queue from being dropped

    def begin(self, progress: Progress | None) -> None:
        """Do what the opening owes to the policy, if there is one."""
        policy = self._policy
        if policy is None:
            return
        if _ages(policy):
            # Before the first submit: changes by a clock that is ahead are nothing to begin at.
            self._retention_clock = RetentionClock(self._newest_change())
        if self._is_wasteful or self._log_is_due(policy, OVERDUE):
            self._compact_in_the_opening(progress or Progress())

    def start(self) -> None:
        """Begin to watch the policy, if there is one."""
        policy = self._policy
        if policy is not None and any(getattr(policy, field) is not None for field in policy.__struct_fields__):
            # A daemon, so that a queue that nobody closes does not keep the process from ending.
            threading.Thread(target=self._watch, name="actionqueue-compaction", daemon=True).start()

    def _watch(self) -> None:
        patience = CHECK_SECONDS
        while not self._is_stopped:
            try:  # at once: there are processes that end within a second
                patience = self._looking.run(self._look)
            except ClosedError:
                return  # the queue is closed, or gone
            except BaseException as error:  # noqa: BLE001 -- also what an application's logging raises: the thread must go on
                self._note_also(error)
            with suppress(Empty):
                self._wake.get(timeout=patience)

    def _look(self) -> float:
        """Do what is due, and return how long to wait then. Meanwhile the thread may have the last reference to the queue."""
        if self._is_stopped:
            raise ClosedError
        self.forget_if_due()
        self.run_if_due()
        return self._seconds_to_the_next_look()

    def _taken_bytes(self) -> int:
        """Return what the log's segments have grown by, without a reference to the queue: most looks do without one."""
        log = self._log()
        if log is None:
            raise ClosedError
        return int(log.stats()["taken_bytes"])

    @property
    def is_compacting(self) -> bool:
        """Whether a compaction is under way, or retention at work."""
        return self._progress is not None

    def wait_for_references(self) -> None:
        """Return when the background thread has let go of the queue: one that was dropped is closed then.

        A compaction has a reference in its calls of the queue only. The queue of one that goes on behind such a call was not dropped: that
        would have ended the compaction.
        """
        if not self._calling.is_mine:
            self._calling.wait()
        if not self.is_compacting:
            self.wait_for_the_look()

    def wait_for_the_look(self) -> None:
        """Return when the background thread has no reference to the queue."""
        if not self._looking.is_mine:
            self._looking.wait()

    def _seconds_to_the_next_look(self) -> float:
        """Return how long it takes until a compaction is due, if the log goes on growing as fast as since the last look."""
        before, taken = self._looked_at, (time.monotonic(), self._taken_bytes())
        self._looked_at = taken
        policy = self._policy
        if policy is None or policy.log_bytes is None or before is None or taken[1] <= before[1]:
            return CHECK_SECONDS
        left = self._mark + max(policy.log_bytes, self._snapshot_bytes, 1) - taken[1]
        seconds = (taken[0] - before[0]) * left / (taken[1] - before[1])
        return min(CHECK_SECONDS, max(CHECK_SECONDS_MIN, seconds)) if left > 0 else CHECK_SECONDS

    def run(
        self,
        *,
        drops_segments: bool,
        retention_seconds: int | None = None,
        ledger_retention_seconds: int | None = None,
        tombstone_seconds: int | None = None,
        progress: Progress | None,
    ) -> CompactionReport:
        """Make a snapshot, and drop what it makes superfluous if asked to. Waits for a compaction that is under way."""
        if tombstone_seconds is None and self._policy is not None:
            tombstone_seconds = self._policy.tombstone_seconds
        ages = (retention_seconds, ledger_retention_seconds, tombstone_seconds)
        return self._turn.run(self._run_and_note, drops_segments, ages, progress or Progress())

    def _run_and_note(
        self,
        drops_segments: bool,  # noqa: FBT001
        ages: tuple[int | None, int | None, int | None],
        progress: Progress,
    ) -> CompactionReport:
        self._progress = progress
        try:
            report = self._run(drops_segments, Retention.at(now(), *ages), progress)
        except (ClosedError, ForkedError, PoisonedError, StoppedError):
            raise
        except Exception as error:
            self._last_error = told(error)
            raise
        finally:
            self._progress = None
        self._last_report = report
        self._last_error = None
        return report

    def _run(self, drops_segments: bool, what: Retention | None, progress: Progress) -> CompactionReport:  # noqa: FBT001
        started, today = time.perf_counter(), now()
        self._ensure_running(progress)  # looked at when stop() can already find the progress
        purged, dropped = Counter[str](), Counter[str]()
        if what is not None:
            self._warn_of_timestamps(today)
            if drops_segments:
                purged, dropped = self._forget_making_room(what, progress)
            else:
                purged = self._purge_all(what, progress)
        found = self._make(today, progress, drops_segments=drops_segments)
        dropped += Counter({name: found[name] for name in DROPPED})
        self._ensure_running(progress)
        self._renew(found["sequence"])
        return CompactionReport(
            sequence=found["sequence"],
            is_new=found["is_new"],
            file_bytes=found["file_size"],
            replayed_events=found["replayed_events"],
            kept_sequence=found["kept_sequence"],
            purged_runs=purged["run_ids"],
            purged_tasks=purged["task_ids"],
            purged_subscriptions=purged["subscription_ids"],
            purged_actors=purged["actor_ids"],
            purged_ledger_entries=purged["ledger_entries"],
            dropped_segments=dropped["dropped_segments"],
            dropped_snapshots=dropped["dropped_snapshots"],
            dropped_bytes=dropped["dropped_bytes"],
            seconds=time.perf_counter() - started,
        )

    def _make(self, today: int, progress: Progress, *, drops_segments: bool) -> dict[str, Any]:
        self._sync()  # a snapshot holds what is durable
        taken = self._taken_bytes()
        self._ensure_running(progress)  # the queue may have gone with one of these calls
        log = self._log()
        if log is None:
            raise ClosedError
        found = compact(self._directory, log, now=today, drops_segments=drops_segments, progress=progress)
        self._mark, self._last_at = taken, time.monotonic()
        self._snapshot_sequence, self._snapshot_bytes = found["sequence"], found["file_size"]
        return found

    def _forget_making_room(self, what: Retention, progress: Progress) -> tuple[Counter[str], Counter[str]]:
        """Forget, and where there is no room to do that in drop first what snapshots cover; return what was forgotten, and dropped."""
        try:
            return self._purge_all(what, progress), Counter()
        except AppendError as error:
            if not isinstance(error.cause, LogSpaceError):
                raise
            dropped = self._drop(now(), progress, error)
        return self._purge_all(what, progress), dropped

    def _drop(self, today: int, progress: Progress, refusal: AppendError) -> Counter[str]:
        """Drop what can be dropped before anything is forgotten; raise the refusal where that makes no room."""
        try:
            found = self._make(today, progress, drops_segments=True)
        except SnapshotError:
            raise refusal from None
        return Counter({name: found[name] for name in DROPPED})

    def _purge_all(self, what: Retention, progress: Progress) -> Counter[str]:
        """Forget what ended by then, a slice at a time, so that submitters get their turns; return how many of each that were.

        A task with very many dependents is put off until those that are over were forgotten, so it may take another search.
        """
        purged = Counter[str]()
        for _ in range(SEARCHES_MAX):
            found, has_put_off = self._search(what, progress)
            purged += found
            if not (has_put_off and found["task_ids"]):
                break
        return purged

    def _search(self, what: Retention, progress: Progress) -> tuple[Counter[str], bool]:
        """Search everything once; return how many of each were forgotten, and whether a task was put off."""
        purged, place, has_put_off = Counter[str](), PLACE_FIRST, False
        while True:
            event, place, puts_off = self._purge(what, place)
            has_put_off |= puts_off
            if event is not None:
                purged += Counter({name: len(getattr(event, name)) for name in PURGED} | {"ledger_entries": event.ledger_entries})
            if place == PLACE_FIRST:
                return purged, has_put_off
            self._ensure_running(progress)
            time.sleep(TURN_SECONDS)

    def _warn_of_timestamps(self, today: int) -> None:
        text = self._odd_timestamps(today)
        if text is not None:
            warnings.warn(text, TimestampWarning, stacklevel=5)

    def _log_odd_timestamps(self) -> None:
        """Do the same in the background, where a warning may be an error, and filters must not be touched: they are the process's."""
        text = self._odd_timestamps(now())
        if text is not None:
            self._log_warning("%s", text)

    def _log_warning(self, text: str, *arguments: object) -> None:
        """Log, and go on where the application's logging raises: stats() tells that then."""
        try:
            _logger.warning(text, *arguments)
        except Exception as error:  # noqa: BLE001 -- its filters and handlers may raise anything
            self._note_also(error)

    def _note_also(self, error: BaseException) -> None:
        """Have stats() tell this, unless it has a failure of a compaction to tell, which says more than what logging it has raised."""
        self._last_error = self._last_error or told(error)

    def _odd_timestamps(self, today: int) -> str | None:
        """Return what to say, once, where runs ended in a far future: retention never comes to them."""
        if self._has_warned:
            return None
        newest = self._newest_change()
        if newest <= today + CENTURY_SECONDS:
            return None
        self._has_warned = True
        text = f"runs of {self._directory} changed their state at {newest}, which is no time in Unix seconds near the clock's {today};"
        return text + " retention does not forget what ends in the future"

    def forget_if_due(self, progress: Progress | None = None) -> None:
        """Forget what the policy's retention covers by now, whether or not anything else calls for a compaction."""
        policy = self._policy
        instant = time.monotonic()
        clock = self._retention_clock
        if policy is None or clock is None or instant < max(self._retention_at, self._retry_at):
            return
        self._turn.run(self._forget, clock.now(), policy, progress or Progress())
        taken = time.monotonic() - instant
        self._retention_at = instant + max(CHECK_SECONDS, RETENTION_SHARE * taken, min(60, min(_ages(policy)) / 100))

    def _forget(self, today: int, policy: CompactionPolicy, progress: Progress) -> None:
        if self._is_stopped:
            return
        self._progress = progress
        try:
            self._log_odd_timestamps()
            what = Retention.at(today, policy.retention_seconds, policy.ledger_retention_seconds, policy.tombstone_seconds)
            if what is not None:
                self._forget_making_room(what, progress)
        except (ClosedError, ForkedError, PoisonedError, StoppedError):
            pass  # the calls of those concerned say so
        except (AppendError, SnapshotError) as error:
            self._note_failure("forgetting in", error)
            self._failed_to_forget = self._last_error
        else:
            self._retry_seconds = 0.0
            if self._failed_to_forget is not None and self._failed_to_forget is self._last_error:
                self._last_error = None  # that is over; a failure of a compaction is not
        finally:
            self._progress = None

    def _ensure_running(self, progress: Progress) -> None:
        if self._is_stopped:
            raise ClosedError
        if progress.is_canceled:
            raise StoppedError

    def run_if_due(self) -> None:
        """Compact by the policy. A failure is kept and logged, and tried again after a while that grows."""
        policy = self._policy
        if policy is not None and self._is_due(policy):
            self._try_to_run()

    def _compact_in_the_opening(self, progress: Progress) -> None:
        """Compact before the opening returns, which no failure fails: stats() tells it, and the policy tries again. Raises StoppedError."""
        try:
            self.forget_if_due(progress)
            self.run(drops_segments=True, progress=progress)
        except (ActionQueueError, MemoryError) as error:
            if progress.is_canceled:  # by the caller; or this is what a signal's handler has raised
                raise
            self._last_error = told(error)

    def _try_to_run(self) -> None:
        try:
            self.run(drops_segments=True, progress=None)  # what is due was forgotten just before
        except ClosedError:
            self._is_stopped = True
        except (PoisonedError, StoppedError):
            pass  # whom it concerns was told
        except BaseException as error:  # noqa: BLE001 -- whatever it is, a later try may succeed
            self._note_failure("compaction of", error)
        else:
            self._retry_seconds = 0.0

    def _note_failure(self, what: str, error: BaseException) -> None:
        """Tell of a failure in the background, which stats() keeps, and put off the next try."""
        self._last_error = told(error)
        self._retry_seconds = min(max(CHECK_SECONDS, 2 * self._retry_seconds), RETRY_SECONDS_MAX)
        self._retry_at = time.monotonic() + self._retry_seconds
        self._log_warning("%s %s failed: %s; next try in %.0f s", what, self._directory, self._last_error, self._retry_seconds)

    def _is_due(self, policy: CompactionPolicy) -> bool:
        instant = time.monotonic()
        if instant < self._retry_at:
            return False
        if self._log_is_due(policy):
            return True
        is_old = policy.age_seconds is not None and instant - self._last_at >= policy.age_seconds
        return is_old and self._taken_bytes() > self._mark

    def _log_is_due(self, policy: CompactionPolicy, times: int = 1) -> bool:
        """Whether the log behind the last snapshot is so many times as large as the policy allows."""
        if policy.log_bytes is None:
            return False
        return self._taken_bytes() - self._mark >= times * max(policy.log_bytes, self._snapshot_bytes, 1)

    def stats(self) -> dict[str, Any]:
        """Return what is known of the newest snapshot, and why the last compaction failed, if it did."""
        report = self._last_report
        return {
            "snapshot_sequence": self._snapshot_sequence,
            "snapshot_bytes": self._snapshot_bytes,
            "snapshot_ns": 0 if report is None else round(report.seconds * 1e9),
            "snapshot_error": self._last_error,
        }

    def stop(self) -> None:
        """Cancel what is under way, wait for its end, and let nothing more begin."""
        self.ensure_outside()
        self._cancel()
        self._turn.wait()
        self.wait_for_the_look()

    def ensure_outside(self) -> None:
        """Raise ReentrantCallError in the thread that is compacting: it would wait for itself."""
        if self._turn.is_mine:
            raise ReentrantCallError

    def abandon(self) -> None:
        """Do the same for a queue that nobody refers to any more, or whose process ends: in whatever thread that is noticed."""
        if os.getpid() != self._process:
            return  # in a forked child, which has neither the thread nor the right to wait for it
        self._cancel()
        if not self._turn.is_mine:
            self._turn.wait()
        self.wait_for_the_look()

    def _cancel(self) -> None:
        self._is_stopped = True
        self._wake.put(None)
        progress = self._progress
        if progress is not None:
            progress.cancel()


def _ages(policy: CompactionPolicy) -> list[int]:
    """Return after how many seconds the policy forgets; nothing where it never does."""
    return [age for age in (policy.retention_seconds, policy.ledger_retention_seconds) if age is not None]


def _sizes_of_segments(directory: str, count: int) -> list[int]:
    """Return the sizes of the newest segments, oldest first; none where they can't be told. They only say when a compaction is due."""
    wal = Path(directory, "wal")
    newest = sorted(name for name in names_in(str(wal)) if name.endswith(".log"))[-count:]
    try:
        return [(wal / name).lstat().st_size for name in newest]
    except OSError:
        return []


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
