"""The compactions of an open queue: those that callers ask for, and those by the queue's policy."""

from __future__ import annotations

import os
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from _wal_native.log import Log
from _wal_native.progress import Progress
from _wal_native.snapshot import compact
from _wal_native.turn import Turn
from actionqueue import clock, threads
from actionqueue.compaction import CompactionPolicy, CompactionReport
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
from actionqueue.growth import CHECK_SECONDS, LogGrowth
from actionqueue.recovery import RecoveryReport
from actionqueue.retention import (
    Forgotten,
    Place,
    Retention,
    RetentionClock,
    ages,
    forget,
    odd_timestamps,
)
from actionqueue.retry import Retry
from actionqueue.texts import told

DROPPED = ("dropped_segments", "dropped_snapshots", "dropped_bytes")
OVERDUE = 2
"""An opening compacts where the log has at least this many times the bytes that the policy allows:
earlier openings did not get to a compaction."""
RETENTION_SHARE = 100
"""Retention waits between two searches for at least this many times as long as the last one
took."""


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
        self._policy = policy
        self._growth = LogGrowth(directory, policy, log, recovery)
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
        if ages(policy):
            # Before the first submit, which may bring changes by a clock that is ahead.
            self._retention_clock = RetentionClock(self._newest_change())
        if self._growth.is_wasteful or self._growth.is_too_large(OVERDUE):
            self._compact_in_the_opening(progress or Progress())

    def start(self) -> None:
        """Begin to watch the policy, if there is a policy."""
        policy = self._policy
        if policy is not None and any(
            getattr(policy, field) is not None for field in policy.__struct_fields__
        ):
            threads.start("actionqueue-compaction", self._watch, self._directory)

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
        return self._growth.seconds_to_the_next_look()

    @property
    def is_compacting(self) -> bool:
        """Whether a compaction or retention is at work."""
        return self._progress is not None

    def wait_for_references(self, progress: Progress | None) -> None:
        """Return when the background thread has let go of the queue: a dropped queue then closes.

        A compaction has a reference only while it calls the queue. If it goes on after such a call,
        the queue was not dropped: that would have ended the compaction.

        Raises StoppedError where the progress is canceled meanwhile.
        """
        if not self._calling.is_mine:
            self._calling.wait(progress)
        if not self.is_compacting:
            self.wait_for_the_look(progress)

    def wait_for_the_look(self, progress: Progress | None = None) -> None:
        """Return when the background thread has no reference to the queue."""
        if not self._looking.is_mine:
            self._looking.wait(progress)

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
        seconds = (retention_seconds, ledger_retention_seconds, tombstone_seconds)
        work = (self._run_and_note, drops_segments, seconds, progress or Progress())
        return self._turn.run_long(progress, *work)

    def _run_and_note(
        self,
        drops_segments: bool,  # noqa: FBT001
        seconds: tuple[int | None, int | None, int | None],
        progress: Progress,
    ) -> CompactionReport:
        self._progress = progress
        today = clock.now()
        try:
            report = self._run(drops_segments, Retention.at(today, today, *seconds), progress)
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
        started, today = time.perf_counter(), clock.now()
        self._ensure_running(progress)  # only now, when stop() can already find the progress
        purged, dropped = Counter[str](), Counter[str]()
        if what is not None:
            self._warn_of_timestamps(today)
            if drops_segments:
                purged, dropped = self._forget_making_room(what, progress)
            else:
                purged = self._forget_now(what, progress)
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
        taken = self._growth.taken_bytes()
        self._ensure_running(progress)  # the queue may have gone with one of these calls
        found = compact(
            self._directory,
            self._growth.log(),
            now=today,
            drops_segments=drops_segments,
            progress=progress,
        )
        self._growth.note_snapshot(found["sequence"], found["file_size"], taken)
        return found

    def _forget_making_room(
        self, what: Retention, progress: Progress
    ) -> tuple[Counter[str], Counter[str]]:
        """Forget; if the disk has no room to do so, first drop what snapshots cover.

        Returns what was forgotten, and what was dropped.
        """
        try:
            return self._forget_now(what, progress), Counter()
        except AppendError as error:
            if not isinstance(error.cause, LogSpaceError):
                raise
            dropped = self._drop(clock.now(), progress, error)
        return self._forget_now(what, progress), dropped

    def _forget_now(self, what: Retention, progress: Progress) -> Counter[str]:
        return forget(self._purge, what, lambda: self._ensure_running(progress))

    def _drop(self, today: int, progress: Progress, refusal: AppendError) -> Counter[str]:
        """Drop what snapshots cover before anything is forgotten, or raise the refusal."""
        try:
            found = self._make(today, progress, drops_segments=True)
        except SnapshotError:
            raise refusal from None
        return Counter({name: found[name] for name in DROPPED})

    def _warn_of_timestamps(self, today: int) -> None:
        text = self._odd_timestamps(today)
        if text is not None:
            warnings.warn(text, TimestampWarning, stacklevel=5)

    def _log_odd_timestamps(self) -> None:
        """Do the same in the background, with the application's logging.

        A warning may be an error there, and the filters are the process's: they must stay.
        """
        text = self._odd_timestamps(clock.now())
        if text is not None:
            self._log_warning("%s", text)

    def _log_warning(self, text: str, *arguments: object) -> None:
        """Log; if the application's logging raises, note it for stats() and go on."""
        try:
            import logging  # noqa: PLC0415 -- it takes long, and most queues have nothing to log

            logging.getLogger("actionqueue").warning(text, *arguments)
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
        text = odd_timestamps(self._directory, self._newest_change(), today)
        self._has_warned = text is not None
        return text

    def forget_if_due(self, progress: Progress | None = None) -> None:
        """Forget what the policy's retention covers by now, also where no compaction is due."""
        policy = self._policy
        instant = time.monotonic()
        retention_clock = self._retention_clock
        if (
            policy is None
            or retention_clock is None
            or instant < self._retention_at
            or self._forgetting.is_put_off
        ):
            return
        self._turn.run_long(
            progress, self._forget, retention_clock.now(), policy, progress or Progress()
        )
        taken = time.monotonic() - instant
        self._retention_at = instant + max(
            CHECK_SECONDS, RETENTION_SHARE * taken, min(60, min(ages(policy)) / 100)
        )

    def _forget(self, today: int, policy: CompactionPolicy, progress: Progress) -> None:
        if self._is_stopped:
            return
        self._progress = progress
        try:
            self._log_odd_timestamps()
            what = Retention.at(
                today,
                clock.now(),
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
        growth = self._growth
        if not self._compacting.is_put_off and (growth.is_too_large() or growth.is_too_old()):
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

    def stats(self) -> dict[str, Any]:
        """Return the newest snapshot's figures, and why the last compaction failed, if it did."""
        report = self._last_report
        return {
            "snapshot_sequence": self._growth.snapshot_sequence,
            "snapshot_bytes": self._growth.snapshot_bytes,
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
