from typing import Any

from .log import Log
from .progress import Progress
from .table import StateTable

def compact(
    directory: str, log: Log, *, now: int, drops_segments: bool, progress: Progress | None = None
) -> dict[str, Any]: ...
def repair(
    directory: str,
    *,
    accepts_data_loss: bool,
    now: int = 0,
    holder: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]: ...
def list_snapshots(directory: str) -> list[int]: ...
def read_snapshot(
    directory: str,
    sequence: int,
    table: StateTable | None = None,
    *,
    progress: Progress | None = None,
) -> dict[str, Any]: ...
def snapshot_counts(directory: str, sequence: int) -> tuple[dict[str, Any], dict[str, int]]: ...
def load_newest_snapshot(
    directory: str, table: StateTable, *, progress: Progress | None = None
) -> tuple[dict[str, Any] | None, Exception | None]: ...
def image_digest(table: StateTable) -> tuple[int, int]: ...
