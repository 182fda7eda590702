"""What keeps the log of an open queue short and its memory small: snapshots and compactions.

The compactor makes them, and asks here for what has to happen in the lane: forgetting what has
ended, and going on with a projection that holds no memory for it.
"""

from __future__ import annotations

from _wal_native.reader import LogFollower
from _wal_native.snapshot import read_snapshot
from actionqueue.clock import now
from actionqueue.compaction import CompactionReport, Progress, SnapshotReport
from actionqueue.compactor import Compactor
from actionqueue.errors import ClosedError, PoisonedError, WriterError
from actionqueue.lane import QueueLane
from actionqueue.policy_fields import number_from_0, progress_or_none
from actionqueue.projection import Projection
from actionqueue.retention import Forgotten, Place, Retention

PURGE_ROWS = 2048
"""Rows that retention looks at in one go, while it holds the lane."""

RENEWAL_ROWS_MIN = 1000
"""The memory of fewer forgotten runs, tasks, subscriptions, actors and lines of the ledger is not
worth a renewal of the projection."""
RENEWAL_EVENTS_MAX = 10_000
"""The most events that a renewal of the projection replays while it holds the lane, without a
sync."""
RENEWAL_ROUNDS_MAX = 20
"""How often a renewal tries to come as near as that to the submitters. After that it leaves the
matter to the next compaction."""


class MaintainedLane(QueueLane):
    """What keeps its log short and its memory small."""

    _path: str
    _compactor: Compactor
    _forgotten_rows: int
    """Rows that were forgotten since the projection was loaded."""

    def snapshot(self, *, progress: Progress | None = None) -> SnapshotReport:
        """Make everything durable, and write the projection to a snapshot file.

        The next open need not replay what came before. The queue makes the snapshot from the log on
        the disk, with a second projection in memory while that lasts; submitters don't wait for it.
        It keeps two snapshots, or one while the disk has no room for two.

        Args:
            progress: Tells another thread how far the snapshot is, and lets it cancel. Ctrl-C in
                the main thread ends it too.

        Raises:
            InvalidFieldError: An argument is out of range. InvalidFieldTypeError: It is of another
                type. Nothing was done.
            SnapshotError: A system call failed. CorruptLogError: The log on the disk does not
                verify. StoppedError: A caller canceled it, or the queue is being closed.
                MemoryError. DisplacedError: The directory was moved, removed or replaced under the
                open queue. None of them harms the open queue, its log, or an older snapshot, nor
                what stands in the directory's place.
            PartialDurabilityError: The sync of the log failed; the handle is poisoned.
            PoisonedError, ClosedError, ForkedError: The handle is no longer usable.
        """
        self._ensure_usable()
        self._ensure_not_in_query()
        made = self._compactor.run(
            drops_segments=False, progress=progress_or_none("snapshot", progress)
        )
        return SnapshotReport(
            **{name: getattr(made, name) for name in SnapshotReport.__struct_fields__}
        )

    def compact(
        self,
        *,
        retention_seconds: int | None = None,
        ledger_retention_seconds: int | None = None,
        tombstone_seconds: int | None = None,
        progress: Progress | None = None,
    ) -> CompactionReport:
        """Make a snapshot, and drop the segments that the older of the two snapshots covers.

        So one damaged snapshot loses nothing. While the disk has no room for that, the queue keeps
        only the newest snapshot and the log behind it.

        Args:
            retention_seconds: Before that, forget what ended at least this long ago: runs, the
                tasks that they leave without any, canceled subscriptions, deregistered actors (see
                :class:`CompactionPolicy`); None forgets nothing.
            ledger_retention_seconds: Likewise, forget lines from the start of the ledger on, up to
                the first that is younger than this.
            tombstone_seconds: How long the queue refuses the identifiers of the tasks that it
                forgets now; None: as the queue's policy says.
            progress: As in :meth:`snapshot`.

        Raises what :meth:`snapshot` raises.
        """
        given = {
            "retention_seconds": retention_seconds,
            "ledger_retention_seconds": ledger_retention_seconds,
            "tombstone_seconds": tombstone_seconds,
        }
        seconds = {name: number_from_0("compact", name, value) for name, value in given.items()}
        progress = progress_or_none("compact", progress)
        self._ensure_usable()
        self._ensure_not_in_query()
        return self._compactor.run(drops_segments=True, progress=progress, **seconds)

    def _purge(self, what: Retention, place: Place) -> Forgotten:
        """Forget what has ended among some rows, from a place on; zeros are the first place.

        Returns the event that says what that was, or None; where to go on, zeros after the last
        row; and whether it put off a task for its many dependents.
        """
        return self._in_lane(self._append_purge, what, place)

    def _append_purge(self, what: Retention, place: Place) -> Forgotten:
        event, place, has_put_off = self._projection.find_finished(
            what.cutoff,
            PURGE_ROWS,
            place,
            timestamp=now(),
            ledger_cutoff=what.ledger_cutoff,
            today=what.today,
            kept_until=what.kept_until,
        )
        if event is not None:
            self._log.submit_frugally(event)
            self._forgotten_rows += len(event.run_ids) + len(event.task_ids)
            self._forgotten_rows += (
                len(event.subscription_ids)
                + len(event.actor_ids)
                + event.ledger_entries
                + event.tombstones
            )
        return event, place, has_put_off

    def _renew(self, sequence: int) -> None:
        """Where retention forgot much, go on with a projection loaded from a snapshot.

        That one holds no memory for what was forgotten.
        """
        counts = self._projection.counts()
        kept = (
            counts.runs
            + counts.tasks
            + counts.subscriptions
            + counts.actors
            + counts.ledger
            + counts.tombstones
        )
        if self._forgotten_rows < max(kept, RENEWAL_ROWS_MIN):
            return
        fresh = Projection()
        read_snapshot(self._path, sequence, fresh)
        follower = LogFollower(self._path, fresh.latest_sequence)
        for _ in range(RENEWAL_ROUNDS_MAX):
            follower.trust(self._write_out())
            # Most of what came meanwhile, while submitters go on.
            follower.replay(fresh, is_private=True)
            if self._in_lane(self._take_over, fresh, follower):
                return

    def _take_over(self, fresh: Projection, follower: LogFollower) -> bool:
        if self.sequence - follower.sequence > RENEWAL_EVENTS_MAX:
            return False
        follower.trust(self._write_out())
        follower.replay(fresh, is_private=True)
        self._projection.take_over(fresh)
        self._forgotten_rows = 0
        return True

    def _write_out(self) -> int:
        """Write the events so far to the log's files, without a sync; return the last sequence."""
        try:
            return self._log.write_out()
        except (WriterError, PoisonedError, ClosedError):
            self._wait_durable(None)  # it fails too, and its error says why
            raise

    def _newest_change(self) -> int:
        return self._projection.newest_change()
