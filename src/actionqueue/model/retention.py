"""What retention forgets."""

from actionqueue.model.base import Event, EventKind
from actionqueue.model.ids import ActorId, RunId, SubscriptionId, TaskId

__all__ = [
    "RunsPurged",
]


class RunsPurged(Event, frozen=True):
    """What was over, or old, was dropped from the projection.

    These are runs, tasks without runs, subscriptions, actors and lines of the ledger. No command
    makes this event.

    From then on it is as if they had never been there: a purged task takes its prerequisites,
    budgets and subscriptions along, an actor its roles and capabilities, and identifiers may be
    used again, unless ``kept_until`` says otherwise of the tasks'.
    """

    kind = EventKind.RUNS_PURGED
    run_ids: tuple[RunId, ...]
    task_ids: tuple[TaskId, ...]
    timestamp: int
    subscription_ids: tuple[SubscriptionId, ...] = ()
    actor_ids: tuple[ActorId, ...] = ()
    ledger_entries: int = 0
    """How many lines of the ledger, the oldest."""
    tombstones: int = 0
    """How many tombstones, the oldest: identifiers of tasks that were forgotten before, which may
    be used again now."""
    kept_until: int | None = None
    """Where the identifiers of ``task_ids`` become tombstones, which are refused until they are
    dropped: that time, at the earliest."""
