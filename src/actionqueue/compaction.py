"""Snapshots and compaction: they bound the size of the log and the time of a restart."""

from __future__ import annotations

import msgspec

from _wal_native.progress import Progress
from actionqueue.policy_fields import number_from_0

__all__ = ["CompactionPolicy", "CompactionReport", "Progress", "SnapshotReport"]


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
