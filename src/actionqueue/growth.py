"""How far a queue's log has grown since its last snapshot, and when a compaction is due."""

from __future__ import annotations

import time
from collections.abc import Callable

from _wal_native.log import Log
from actionqueue.compaction import CompactionPolicy
from actionqueue.directory import size_of_snapshot, sizes_of_segments
from actionqueue.errors import ClosedError
from actionqueue.recovery import RecoveryReport

CHECK_SECONDS = 1.0
"""How often the thread looks at the policy. It looks sooner where the log grows so fast that a
compaction is due before that."""
CHECK_SECONDS_MIN = 0.02
WASTE_SEGMENTS = 8
WASTE_BYTES = 1024 * 1024
"""After an unclean end an opening compacts from this many segments behind the snapshot on, and this
many bytes of them without a record."""


class LogGrowth:
    """What the log's segments have grown by since the last snapshot, held against a policy.

    It knows the log by a weak reference, so that it does not keep the queue alive.
    """

    def __init__(
        self,
        directory: str,
        policy: CompactionPolicy | None,
        log: Callable[[], Log | None],
        recovery: RecoveryReport,
    ) -> None:
        self._policy = CompactionPolicy(log_bytes=None) if policy is None else policy
        self._log = log
        self.snapshot_sequence = recovery.snapshot_sequence
        self.snapshot_bytes = size_of_snapshot(directory, recovery.snapshot_sequence)
        # Bytes that the log's segments had taken at the last snapshot. The log of the opening
        # counts too, by its records or by the files that these take; but of the segment in which
        # the snapshot ends only the records behind it count.
        files = sizes_of_segments(directory, recovery.segments + (not recovery.is_clean))
        self._mark = -max(
            recovery.replayed_bytes, sum(files[1 if recovery.snapshot_sequence else 0 : -1])
        )
        # Every unclean end may leave a nearly empty segment, and a process that is killed again and
        # again never gets to its policy. So its openings make the snapshots that let those segments
        # go, each for as much waste as the snapshot takes.
        waste = sum(files) - recovery.bytes
        self.is_wasteful = (
            not recovery.is_clean
            and len(files) >= WASTE_SEGMENTS
            and waste > max(WASTE_BYTES, recovery.bytes, self.snapshot_bytes)
        )
        self._last_at = time.monotonic()
        # When, and how many bytes the log had taken then.
        self._looked_at: tuple[float, int] | None = None

    def log(self) -> Log:
        """Return the log. Raises ClosedError when the queue is gone."""
        log = self._log()
        if log is None:
            raise ClosedError
        return log

    def taken_bytes(self) -> int:
        """Return what the log's segments have grown by since the opening."""
        return int(self.log().stats()["taken_bytes"])

    def note_snapshot(self, sequence: int, size: int, taken: int) -> None:
        """Begin again from a snapshot that was made when the segments had grown by this much."""
        self._mark, self._last_at = taken, time.monotonic()
        self.snapshot_sequence, self.snapshot_bytes = sequence, size

    def is_too_large(self, times: int = 1) -> bool:
        """Tell whether the log behind the snapshot is this many times as large as allowed."""
        most = self._bytes_until_due()
        return most is not None and self.taken_bytes() - self._mark >= times * most

    def is_too_old(self) -> bool:
        """Tell whether the snapshot is, and the log has grown since."""
        age, instant = self._policy.age_seconds, time.monotonic()
        return (
            age is not None and instant - self._last_at >= age and self.taken_bytes() > self._mark
        )

    def seconds_to_the_next_look(self) -> float:
        """Return the time until a compaction is due, if the log goes on growing at its pace.

        The pace is that since the last look.
        """
        before, taken = self._looked_at, (time.monotonic(), self.taken_bytes())
        self._looked_at = taken
        most = self._bytes_until_due()
        if most is None or before is None or taken[1] <= before[1]:
            return CHECK_SECONDS
        left = self._mark + most - taken[1]
        seconds = (taken[0] - before[0]) * left / (taken[1] - before[1])
        return min(CHECK_SECONDS, max(CHECK_SECONDS_MIN, seconds)) if left > 0 else CHECK_SECONDS

    def _bytes_until_due(self) -> int | None:
        allowed = self._policy.log_bytes
        return None if allowed is None else max(allowed, self.snapshot_bytes, 1)
