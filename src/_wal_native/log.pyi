"""The log of an open queue. Sequences count events from 1; sizes are in bytes."""

from typing import Any, final

from actionqueue.model import Event, MutationCommand
from actionqueue.sync_policy import SyncPolicy

from .outcome import MutationOutcome
from .progress import Progress
from .table import StateTable
from .turn import Turn

DEFAULT_SEGMENT_SIZE: int
"""Of a full segment's file, in bytes."""
DEFAULT_RING_SIZE: int
"""Of the ring's file, in bytes."""

@final
class Log:
    """An open log, which :func:`open_log` makes.

    Appends and batches come one at a time. Any thread may call everything else. After the close
    appends raise ClosedError. In a forked child each call raises ForkedError.
    """

    @property
    def table(self) -> StateTable:
        """The table to which the log applies its events."""

    def own_table(self, lane: Turn) -> None:
        """Make the table this log's alone, so that only the log changes it.

        While the log applies a batch, queries wait for their turn in the lane.
        """

    def ensure_not_in_query(self) -> None:
        """Raise ReentrantCallError where a query of this thread is under way.

        A change that it asks for now would wait for itself.
        """

    def append(self, event: Event) -> None:
        """Append an event without applying it. Raises what :meth:`submit` raises."""

    def flush(self) -> None:
        """Return when every appended event is on stable storage. Raises as :meth:`sync` does."""

    def submit(self, event: Event) -> None:
        """Append an event and apply it to the table, in one step.

        No signal and no other thread comes between the two.

        Raises:
            RecordTooLarge, RefusedEventError, LogSpaceError, MemoryError: Nothing has changed.
            LogWriteError: Bytes may have reached the file.
            PoisonedError, ClosedError, ForkedError: The log takes no events; nothing has changed.
            ReentrantCallError: A query of this thread is under way; nothing has changed.
        """

    def submit_frugally(self, event: Event) -> None:
        """Submit an event that makes room.

        Where the disk is full, it takes a smaller segment than other events may have.
        """

    def batch_begin(self) -> None:
        """Begin a batch: until its commit, a rollback undoes what :meth:`batch_add` applies.

        Raises ValueError where a batch is open, ReentrantCallError in a query of this thread.
        """

    def batch_add(self, event: Event) -> None:
        """Apply an event and stage it for the append.

        After an exception the caller must roll the batch back.
        """

    def batch_extend(
        self, commands: list[MutationCommand], index: int, outcomes: list[MutationOutcome] | None
    ) -> int:
        """Add commands from an index on, and append their outcomes to `outcomes`, if not None.

        This goes on as long as the rules accept a command and the lane need not look at it. Returns
        the index of the first command that was left; the batch is as if it had not been tried.
        """

    def batch_commit(self) -> bool:
        """Append the batch as one. After an exception the caller must roll it back.

        Returns whether there was anything to append. Does nothing where no batch is open.
        """

    def batch_rollback(self) -> None:
        """Undo the open batch. Does nothing where no batch is open."""

    def sync(self, sequence: int | None) -> None:
        """Return when every event up to `sequence` is on stable storage.

        None means every event so far. Callers share syncs. Raises LogWriteError or PoisonedError
        where the events may not be durable.
        """

    store_failure: BaseException | None
    """Why the store takes nothing more, where that poisoned the log."""

    def try_sync(self, seconds: float) -> bool:
        """Wait until the store has every event, but no longer; return whether it has them."""

    def ship_from(self, sequence: int) -> None:
        """Say what the store has when shipping begins: every event up to a sequence."""

    def begin_shipping(self, seconds: float) -> int | None:
        """Wait until events are to go to the store, or so long; return the last one's sequence.

        They are in the segments' files then. Returns None where nothing waits for the store. Raises
        ClosedError after :meth:`stop_shipping`, PoisonedError.
        """

    def acknowledge(self, sequence: int) -> None:
        """Count every event up to a sequence as durable: the store has them."""

    def fail_shipping(self, error: BaseException) -> None:
        """Poison the log with an error: the store takes nothing more from it."""

    def stop_shipping(self) -> None:
        """End what :meth:`begin_shipping` waits for, and what waits for the store."""

    def append_for(self, seconds: float) -> None:
        """Have appends wait from so long on, until this is called again."""

    @property
    def log_uuid(self) -> bytes:
        """The log's UUID, 16 bytes."""

    def take_in(self, data: bytes) -> str:
        """Apply and append what a group has after the last event, a batch as one.

        All of it counts as durable then. Returns in words why it can't be taken in, or an empty
        text. Raises what an append raises.
        """

    def write_out(self) -> int:
        """Write what was appended so far to the segment's file, without a sync.

        Returns the sequence of the last event.
        """

    @property
    def last_sequence(self) -> int:
        """Sequence of the last appended event; 0 before the first."""

    @property
    def durable_sequence(self) -> int:
        """Every event up to this sequence is on stable storage."""

    def ensure_open(self) -> None:
        """Raise ForkedError, ClosedError or PoisonedError unless the log takes appends."""

    def stats(self) -> dict[str, Any]:
        """Return counters and positions as a dict; sizes in bytes, times in nanoseconds."""

    def close(self) -> None:
        """Sync, write the close marker, and let go of files and lock. A second close does nothing.

        A poisoned log only lets go. Raises LogCloseError where only the marker is missing,
        PoisonedError where a sync of the policy's thread failed and no call has raised that yet.
        """

    def abandon(self) -> None:
        """Let the log go in a forked child, and undo the batch that the parent was applying."""

def open_log(
    directory: str,
    table: StateTable,
    *,
    may_create: bool,
    segment_size: int,
    ring_size: int,
    sector_size: int,
    now: int,
    holder: str,
    sync: SyncPolicy | None = None,
    progress: Progress | None = None,
    store_log: bytes | None = None,
    batch_size_max: int = 0,
) -> tuple[Log, dict[str, Any]]:
    """Open or create the queue in a directory (a real path), and replay it into the empty table.

    Sizes are in bytes, `now` in Unix seconds. `sync` is the SyncPolicy, or None for one that never
    syncs. Returns the log, and the recovery report as a dict.

    In the main thread, signals' handlers run now and then. What a handler raises ends the recovery,
    and is raised.

    Raises:
        OpenError: The queue does not open; the error's class says why.
        ValueError: An option is out of range.
        StoppedError: `progress` was canceled.
        MemoryError: There is no memory for the table.
    """

def abandon_all() -> None:
    """Let the parent's logs go in a forked child, which has closed its descriptors of them."""
