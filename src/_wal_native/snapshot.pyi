"""Snapshots, compaction and repair of a queue's directory."""

from typing import Any

from .log import Log
from .progress import Progress
from .table import StateTable

def compact(
    directory: str, log: Log, *, now: int, drops_segments: bool, progress: Progress | None = None
) -> dict[str, Any]:
    """Make a snapshot of everything durable, and keep two.

    With `drops_segments` it drops the segments that the older snapshot covers. `log` is the open
    log of that directory, `now` is in Unix seconds. Returns a dict. Raises SnapshotError,
    DisplacedError, CorruptLogError, StoppedError or MemoryError; the queue stays open and whole.
    """

def repair(
    directory: str,
    *,
    accepts_data_loss: bool,
    now: int = 0,
    holder: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Find out what a repair would do, or do it. Returns a dict.

    Without a `holder` it takes no lock, and only looks. `now` is in Unix seconds. "verified" has
    the first and the last sequence of every range of events, after the snapshot, whose records
    verify, in the order of the log. Raises the OpenError family, StoppedError or MemoryError, and
    ValueError for a repair without a holder.
    """

def list_snapshots(directory: str) -> list[int]:
    """Return the sequences of the snapshots in the directory, valid or not, newest first.

    Raises the OpenError family where the directory cannot be read.
    """

def read_snapshot(
    directory: str,
    sequence: int,
    table: StateTable | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Verify one snapshot, and load it into the empty table where the caller gives one.

    Returns a dict. Raises CorruptLogError where the snapshot does not verify, else the OpenError
    family, and StoppedError where `progress` was canceled.
    """

def snapshot_counts(directory: str, sequence: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Return what a snapshot says of itself, for the price of its first block.

    That is a dict like that of `read_snapshot`, and a dict with the number of rows of each kind.
    Raises CorruptLogError where the header or that block does not verify.
    """

def load_newest_snapshot(
    directory: str, table: StateTable, *, progress: Progress | None = None
) -> tuple[dict[str, Any] | None, Exception | None]:
    """Load the newest snapshot that verifies into the empty table.

    Returns a dict, or None without a snapshot that verifies; and the CorruptLogError for a newer
    snapshot that does not verify, or None. Raises the OpenError family, StoppedError, MemoryError.
    """

def image_digest(table: StateTable) -> tuple[int, int]:
    """Return a checksum (CRC32C) and the size in bytes of everything that the table holds.

    They are equal for equal projections.
    """

def take_completions(to: StateTable, of: StateTable) -> None:
    """Have a table that no other thread uses know the forgotten completed runs that another knows.

    A snapshot of a version before the one that keeps them does not say which these are.
    """
