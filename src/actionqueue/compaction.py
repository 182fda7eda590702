"""Snapshots and compaction: they bound the size of the log and the time of a restart."""

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
"""How often the thread looks at the policy. It looks sooner where the log grows so fast that a
compaction is due before that."""
CHECK_SECONDS_MIN = 0.02
RETRY_SECONDS_MAX = 3600.0
DROPPED = ("dropped_segments", "dropped_snapshots", "dropped_bytes")
OVERDUE = 2
"""An opening compacts where the log has at least this many times the bytes that the policy allows:
earlier openings did not get to a compaction."""
WASTE_SEGMENTS = 8
WASTE_BYTES = 1024 * 1024
"""After an unclean end an opening compacts from this many segments behind the snapshot on, and this
many bytes of them without a record."""
PURGED = ("run_ids", "task_ids", "subscription_ids", "actor_ids")
Place: TypeAlias = tuple[int, int, int]
PLACE_FIRST: Place = (0, 0, 0)
"""Where a search for what retention may forget begins, and where it stands at its end."""
Forgotten: TypeAlias = tuple[RunsPurged | None, Place, bool]
"""What a slice of a search has forgotten, where to go on, and whether it has put off a task for its
many dependents."""
SEARCHES_MAX = 16
"""How often in a row retention searches everything. It searches again where it put off tasks and
forgot others that may have depended on them."""
TURN_SECONDS = 0.0005
"""How long retention keeps out of the lane between two slices. Without that it would take the lane
again before a waiting submitter is awake."""

RETENTION_SHARE = 100
"""Retention waits between two searches for at least this many times as long as the last one
took."""
CATCH_UP = 24
"""The clock of the policy's retention runs at most this many times as fast as time passes;
:class:`RetentionClock` says why."""
CENTURY_SECONDS = 100 * 365 * 86400

_logger = logging.getLogger("actionqueue")


class CompactionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a queue compacts itself in the background, and what it then forgets.

    None switches a part off. A compaction begins when the log's segments have grown by
    ``log_bytes``, or by the size of the last snapshot if that is more. That counts records, the
    pads of ``sector_size``, and the ends of segments that no record fitted into. A compaction also
    begins when the last one, or the opening of the queue, is ``age_seconds`` ago and the log has
    grown since. The queue looks at the policy as soon as it is open, and then once a second, or
    sooner where the log grows fast.

    The opening itself compacts, and forgets what is due, where it finds at least twice as many
    bytes behind the snapshot: processes that end before their compactions do leave that much. After
    an unclean end it also compacts where earlier ones have left many nearly empty segments.
    """

    log_bytes: int | None = 256 * 1024 * 1024
    """Bytes of log since the last snapshot, as they lie in the segments."""
    age_seconds: int | None = None
    """Seconds since the last snapshot, or since the opening of the queue."""
    retention_seconds: int | None = None
    """The queue forgets rows this many seconds after their end, also where nothing else happens.
    None: never.

    It forgets finished runs, and the tasks that these leave without any and that get no more by
    their policy, except while an unfinished task depends on a run's task; canceled subscriptions;
    and deregistered actors with their roles and capabilities. The wall clock decides, but it can't
    make time pass more than 24 times as fast as it does: where it jumps ahead, the queue does not
    forget at once what has just ended."""

    ledger_retention_seconds: int | None = None
    """The queue forgets the first lines of the ledger, as long as they are this many seconds old,
    by the same clock; a line with a later time keeps the lines behind it. None: the queue keeps the
    ledger, which grows without bound."""

    tombstone_seconds: int | None = None
    """The queue keeps the identifiers of forgotten tasks as tombstones for this many seconds more,
    and refuses a new task that has one with :class:`~actionqueue.TaskForgotten`. The next retention
    after that drops them, oldest first. Of more than ``actionqueue.limits.TOMBSTONE_COUNT_MAX`` it
    drops the oldest at once. None: a new task may use the identifier at once."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            msgspec.structs.force_setattr(
                self, field, number_from_0("CompactionPolicy", field, getattr(self, field))
            )


class SnapshotReport(msgspec.Struct, frozen=True, kw_only=True):
    """What :meth:`ActionQueue.snapshot` did."""

    sequence: int
    """The newest snapshot holds the projection as of this event; 0 where there is no snapshot,
    because the log has no event."""
    is_new: bool
    """Whether this call made the snapshot; an older one may already have had everything that is
    durable."""
    file_bytes: int
    """The snapshot's size."""
    replayed_events: int
    """Events that the call read from the log, behind the snapshot before, to make this one."""
    seconds: float


class CompactionReport(SnapshotReport, frozen=True, kw_only=True):
    """What :meth:`ActionQueue.compact` did."""

    kept_sequence: int
    """The queue keeps the log behind this event, which the older of the two snapshots holds; 0: all
    of it."""
    purged_runs: int
    purged_tasks: int
    purged_subscriptions: int
    """Subscriptions that were forgotten by themselves, not with their tasks."""
    purged_actors: int
    purged_ledger_entries: int
    dropped_segments: int
    dropped_snapshots: int
    dropped_bytes: int
    """Size of the removed files."""


class Retention(NamedTuple):
    """What to forget: what ended, and lines of the ledger, up to these times in Unix seconds.

    None forgets nothing of it.
    """

    cutoff: int | None
    ledger_cutoff: int | None
    today: int
    """Tombstones that end by then are dropped."""
    kept_until: int | None
    """When the tombstones made now end; None makes no tombstones."""

    @classmethod
    def at(
        cls,
        today: int,
        retention_seconds: int | None,
        ledger_retention_seconds: int | None,
        tombstone_seconds: int | None,
    ) -> Self | None:
        """Return what to forget by these ages on a day; None where that is nothing."""
        cutoff, ledger_cutoff = (
            None if age is None or age > today else today - age
            for age in (retention_seconds, ledger_retention_seconds)
        )
        if cutoff is None and ledger_cutoff is None:
            return None
        kept_until = (
            min(max(today, now()) + tombstone_seconds, U64_MAX) if tombstone_seconds else None
        )
        return cls(cutoff, ledger_cutoff, today, kept_until)


class RetentionClock:
    """What time it is for the policy's retention.

    A machine may start, or go on, with a clock that is far ahead, and retention would forget what
    ended a moment ago. So this clock begins at the latest change of a run in the log or, without
    any, at the wall clock. It follows the wall clock, ahead at most ``CATCH_UP`` times as fast as
    time passes, and back at once. After the queue was closed for long it lags for a while.
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


class Retry:
    """When to try again after a failure in the background: after a while that grows."""

    def __init__(self) -> None:
        self._at = self._seconds = 0.0

    @property
    def is_put_off(self) -> bool:
        """Whether it is too early."""
        return time.monotonic() < self._at

    def put_off(self) -> float:
        """Note a failure, and return the seconds until the next try."""
        self._seconds = min(max(CHECK_SECONDS, 2 * self._seconds), RETRY_SECONDS_MAX)
        self._at = time.monotonic() + self._seconds
        return self._seconds

    def succeed(self) -> None:
        """Begin with short whiles again."""
        self._seconds = 0.0


class Compactor:
    """The compactions of one open queue, one at a time.

    Callers ask for them, or a thread that watches the policy. The compactor knows the queue by
    functions only, which raise ClosedError when the queue is gone, and its log by a weak reference,
    so that it does not keep it alive.
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
        # Each call refers to the queue while it runs, and takes the turn `_calling` for as long.
        calling = self._calling = Turn()
        self._purge: Callable[[Retention, Place], Forgotten] = lambda what, place: calling.run(
            purge, what, place
        )
        self._sync: Callable[[], None] = lambda: calling.run(sync)
        self._renew: Callable[[int], None] = lambda sequence: calling.run(renew, sequence)
        self._newest_change: Callable[[], int] = lambda: calling.run(newest_change)
        self._retention_clock: RetentionClock | None = None
        self._retention_at = 0.0  # when to look next for what to forget, on the monotonic clock
        self._has_warned = False
        self._turn = Turn()
        self._looking = Turn()  # the background thread has it while it looks at the queue
        self._process = os.getpid()
        self._progress: Progress | None = None
        # Not an Event: its lock stays taken for good if a signal's handler raises between its
        # lines.
        self._is_stopped = False
        self._wake: SimpleQueue[None] = SimpleQueue()
        # Bytes that the log's segments had taken at the last snapshot. The log of the opening
        # counts too, by its records or by the files that these take; but of the segment in which
        # the snapshot ends only the records behind it count.
        files = _sizes_of_segments(directory, recovery.segments + (not recovery.is_clean))
        self._mark = -max(
            recovery.replayed_bytes, sum(files[1 if recovery.snapshot_sequence else 0 : -1])
        )
        self._snapshot_sequence = recovery.snapshot_sequence
        self._snapshot_bytes = _size_of_snapshot(directory, recovery.snapshot_sequence)
        # Every unclean end may leave a nearly empty segment, and a process that is killed again and
        # again never gets to its policy. So its openings make the snapshots that let those segments
        # go, each for as much waste as the snapshot takes.
        waste = sum(files) - recovery.bytes
        self._is_wasteful = (
            not recovery.is_clean
            and len(files) >= WASTE_SEGMENTS
            and waste > max(WASTE_BYTES, recovery.bytes, self._snapshot_bytes)
        )
        self._last_at = time.monotonic()
        # When, and how many bytes the log had taken then.
        self._looked_at: tuple[float, int] | None = None
        self._compacting, self._forgetting = Retry(), Retry()
        self._last_report: CompactionReport | None = None
        self._failed_to_forget: str | None = None
        # The text only: an exception's traceback would keep the queue alive.
        self._last_error: str | None = None

    def begin(self, progress: Progress | None) -> None:
        """Do what the policy asks of the opening, if there is a policy."""
        policy = self._policy
        if policy is None:
            return
        if _ages(policy):
            # Before the first submit, which may bring changes by a clock that is ahead.
            self._retention_clock = RetentionClock(self._newest_change())
        if self._is_wasteful or self._log_is_due(policy, OVERDUE):
            self._compact_in_the_opening(progress or Progress())

    def start(self) -> None:
        """Begin to watch the policy, if there is a policy."""
        policy = self._policy
        if policy is not None and any(
            getattr(policy, field) is not None for field in policy.__struct_fields__
        ):
            # A daemon, so that an unclosed queue does not keep the process from ending.
            threading.Thread(target=self._watch, name="actionqueue-compaction", daemon=True).start()

    def _watch(self) -> None:
        patience = CHECK_SECONDS
        while not self._is_stopped:
            try:  # at once, because a process may end within a second
                patience = self._looking.run(self._look)
            except ClosedError:
                return  # the queue is closed, or gone
            except BaseException as error:  # noqa: BLE001 -- whatever it is, the thread goes on
                self._note_also(error)
            with suppress(Empty):
                self._wake.get(timeout=patience)

    def _look(self) -> float:
        """Do what is due, and return how long to wait then.

        Meanwhile the thread may have the last reference to the queue.
        """
        if self._is_stopped:
            raise ClosedError
        try:
            self.forget_if_due()
        except ClosedError:
            raise
        except BaseException as error:  # noqa: BLE001 -- whatever it is, a compaction may succeed
            self._note_failure_to_forget(error)
        self.run_if_due()
        return self._seconds_to_the_next_look()

    def _taken_bytes(self) -> int:
        """Return what the log's segments have grown by, without a reference to the queue."""
        log = self._log()
        if log is None:
            raise ClosedError
        return int(log.stats()["taken_bytes"])

    @property
    def is_compacting(self) -> bool:
        """Whether a compaction or retention is at work."""
        return self._progress is not None

    def wait_for_references(self) -> None:
        """Return when the background thread has let go of the queue: a dropped queue then closes.

        A compaction has a reference only while it calls the queue. If it goes on after such a call,
        the queue was not dropped: that would have ended the compaction.
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
        """Return the time until a compaction is due, if the log goes on growing at its pace.

        The pace is that since the last look.
        """
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
        """Make a snapshot, and drop what it covers if asked to, after any compaction under way."""
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

    def _run(
        self,
        drops_segments: bool,  # noqa: FBT001
        what: Retention | None,
        progress: Progress,
    ) -> CompactionReport:
        started, today = time.perf_counter(), now()
        self._ensure_running(progress)  # only now, when stop() can already find the progress
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
        found = compact(
            self._directory, log, now=today, drops_segments=drops_segments, progress=progress
        )
        self._mark, self._last_at = taken, time.monotonic()
        self._snapshot_sequence, self._snapshot_bytes = found["sequence"], found["file_size"]
        return found

    def _forget_making_room(
        self, what: Retention, progress: Progress
    ) -> tuple[Counter[str], Counter[str]]:
        """Forget; if the disk has no room to do so, first drop what snapshots cover.

        Returns what was forgotten, and what was dropped.
        """
        try:
            return self._purge_all(what, progress), Counter()
        except AppendError as error:
            if not isinstance(error.cause, LogSpaceError):
                raise
            dropped = self._drop(now(), progress, error)
        return self._purge_all(what, progress), dropped

    def _drop(self, today: int, progress: Progress, refusal: AppendError) -> Counter[str]:
        """Drop what snapshots cover before anything is forgotten, or raise the refusal."""
        try:
            found = self._make(today, progress, drops_segments=True)
        except SnapshotError:
            raise refusal from None
        return Counter({name: found[name] for name in DROPPED})

    def _purge_all(self, what: Retention, progress: Progress) -> Counter[str]:
        """Forget what ended by the cutoff; return how many rows of each kind.

        It does so a slice at a time, so that submitters get their turns. It puts off a task with
        very many dependents until it has forgotten the finished ones, so the task may take another
        search.
        """
        purged = Counter[str]()
        for _ in range(SEARCHES_MAX):
            found, has_put_off = self._search(what, progress)
            purged += found
            if not (has_put_off and found["task_ids"]):
                break
        return purged

    def _search(self, what: Retention, progress: Progress) -> tuple[Counter[str], bool]:
        """Search everything once; return what was forgotten, and whether a task was put off."""
        purged, place, has_put_off = Counter[str](), PLACE_FIRST, False
        while True:
            event, place, puts_off = self._purge(what, place)
            has_put_off |= puts_off
            if event is not None:
                purged += Counter(
                    {name: len(getattr(event, name)) for name in PURGED}
                    | {"ledger_entries": event.ledger_entries}
                )
            if place == PLACE_FIRST:
                return purged, has_put_off
            self._ensure_running(progress)
            time.sleep(TURN_SECONDS)

    def _warn_of_timestamps(self, today: int) -> None:
        text = self._odd_timestamps(today)
        if text is not None:
            warnings.warn(text, TimestampWarning, stacklevel=5)

    def _log_odd_timestamps(self) -> None:
        """Do the same in the background, with the application's logging.

        A warning may be an error there, and the filters are the process's: they must stay.
        """
        text = self._odd_timestamps(now())
        if text is not None:
            self._log_warning("%s", text)

    def _log_warning(self, text: str, *arguments: object) -> None:
        """Log; if the application's logging raises, note it for stats() and go on."""
        try:
            _logger.warning(text, *arguments)
        except Exception as error:  # noqa: BLE001 -- its filters and handlers may raise anything
            self._note_also(error)

    def _note_also(self, error: BaseException) -> None:
        """Let stats() report this, unless it has the failure of a compaction to report.

        That says more than what logging it has raised.
        """
        self._last_error = self._last_error or told(error)

    def _odd_timestamps(self, today: int) -> str | None:
        """Return a warning, once, where runs ended in a far future: retention never gets there."""
        if self._has_warned:
            return None
        newest = self._newest_change()
        if newest <= today + CENTURY_SECONDS:
            return None
        self._has_warned = True
        text = (
            f"runs of {self._directory} changed their state at {newest}, which is no time in Unix "
            f"seconds near the clock's {today};"
        )
        return text + " retention does not forget what ends in the future"

    def forget_if_due(self, progress: Progress | None = None) -> None:
        """Forget what the policy's retention covers by now, also where no compaction is due."""
        policy = self._policy
        instant = time.monotonic()
        clock = self._retention_clock
        if (
            policy is None
            or clock is None
            or instant < self._retention_at
            or self._forgetting.is_put_off
        ):
            return
        self._turn.run(self._forget, clock.now(), policy, progress or Progress())
        taken = time.monotonic() - instant
        self._retention_at = instant + max(
            CHECK_SECONDS, RETENTION_SHARE * taken, min(60, min(_ages(policy)) / 100)
        )

    def _forget(self, today: int, policy: CompactionPolicy, progress: Progress) -> None:
        if self._is_stopped:
            return
        self._progress = progress
        try:
            self._log_odd_timestamps()
            what = Retention.at(
                today,
                policy.retention_seconds,
                policy.ledger_retention_seconds,
                policy.tombstone_seconds,
            )
            if what is not None:
                self._forget_making_room(what, progress)
        except (ClosedError, ForkedError, PoisonedError, StoppedError):
            pass  # the callers' own calls say so
        except (AppendError, SnapshotError) as error:
            self._note_failure_to_forget(error)
        else:
            self._forgetting.succeed()
            if self._failed_to_forget is not None and self._failed_to_forget == self._last_error:
                self._last_error = None  # this failure is over, a failure of a compaction is not
        finally:
            self._progress = None

    def _ensure_running(self, progress: Progress) -> None:
        if self._is_stopped:
            raise ClosedError
        if progress.is_canceled:
            raise StoppedError

    def run_if_due(self) -> None:
        """Compact by the policy. After a failure note and log it, and try again after a while."""
        policy = self._policy
        if policy is not None and self._is_due(policy):
            self._try_to_run()

    def _compact_in_the_opening(self, progress: Progress) -> None:
        """Compact before the opening returns.

        A failure does not fail the opening: stats() reports it, and the policy tries again. Raises
        StoppedError.
        """
        try:
            self.forget_if_due(progress)
            self.run(drops_segments=True, progress=progress)
        except (ActionQueueError, MemoryError) as error:
            if progress.is_canceled:  # by the caller, or by what a signal's handler has raised
                raise
            self._last_error = told(error)

    def _try_to_run(self) -> None:
        try:
            self.run(drops_segments=True, progress=None)  # forget_if_due() ran just before
        except ClosedError:
            self._is_stopped = True
        except (PoisonedError, StoppedError):
            pass  # the callers' own calls say so
        except BaseException as error:  # noqa: BLE001 -- whatever it is, a later try may succeed
            self._note_failure("compaction of", error, self._compacting)
        else:
            self._compacting.succeed()

    def _note_failure_to_forget(self, error: BaseException) -> None:
        self._failed_to_forget = told(error)
        self._note_failure("forgetting in", error, self._forgetting)

    def _note_failure(self, what: str, error: BaseException, retry: Retry) -> None:
        """Keep a failure in the background for stats(), log it, and put off the next try."""
        self._last_error = told(error)
        seconds = retry.put_off()
        self._log_warning(
            "%s %s failed: %s; next try in %.0f s", what, self._directory, self._last_error, seconds
        )

    def _is_due(self, policy: CompactionPolicy) -> bool:
        instant = time.monotonic()
        if self._compacting.is_put_off:
            return False
        if self._log_is_due(policy):
            return True
        is_old = policy.age_seconds is not None and instant - self._last_at >= policy.age_seconds
        return is_old and self._taken_bytes() > self._mark

    def _log_is_due(self, policy: CompactionPolicy, times: int = 1) -> bool:
        """Whether the log behind the last snapshot is this many times as large as allowed."""
        if policy.log_bytes is None:
            return False
        return self._taken_bytes() - self._mark >= times * max(
            policy.log_bytes, self._snapshot_bytes, 1
        )

    def stats(self) -> dict[str, Any]:
        """Return the newest snapshot's figures, and why the last compaction failed, if it did."""
        report = self._last_report
        return {
            "snapshot_sequence": self._snapshot_sequence,
            "snapshot_bytes": self._snapshot_bytes,
            "snapshot_ns": 0 if report is None else round(report.seconds * 1e9),
            "snapshot_error": self._last_error,
        }

    def stop(self) -> None:
        """Cancel a compaction under way, wait for its end, and let no other begin."""
        self.ensure_outside()
        self._cancel()
        self._turn.wait()
        self.wait_for_the_look()

    def ensure_outside(self) -> None:
        """Raise ReentrantCallError in the compacting thread, which would wait for itself."""
        if self._turn.is_mine:
            raise ReentrantCallError

    def abandon(self) -> None:
        """Do the same, in any thread, when the queue's last reference goes or its process ends."""
        if os.getpid() != self._process:
            return  # a forked child has neither the thread nor the right to wait for it
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
    """Return after how many seconds the policy forgets; an empty list where it never does."""
    return [
        age
        for age in (policy.retention_seconds, policy.ledger_retention_seconds)
        if age is not None
    ]


def _sizes_of_segments(directory: str, count: int) -> list[int]:
    """Return the sizes of the newest segments, oldest first; an empty list if a look fails.

    They only say when a compaction is due.
    """
    wal = Path(directory, "wal")
    newest = sorted(name for name in names_in(str(wal)) if name.endswith(".log"))[-count:]
    try:
        return [(wal / name).lstat().st_size for name in newest]
    except OSError:
        return []


def _size_of_snapshot(directory: str, sequence: int) -> int:
    """Return the size of the snapshot that the queue was opened from; 0 without one.

    Where a look at the file fails it is 0 too: the size only says when a policy's next compaction
    is due, which is no reason to fail an open that has succeeded.
    """
    if sequence == 0:
        return 0
    try:
        return Path(directory, "snapshots", f"{sequence:020d}.snap").stat().st_size
    except OSError:
        return 0
