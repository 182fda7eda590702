"""Rows of arrays as events."""

from typing import Any, TypeAlias, final

from actionqueue.model import AttemptId, RunId, RunState

from .log import Log

_Refused: TypeAlias = tuple[
    int,
    RunId,
    RunState | None,
    RunState,
    RunState,
    AttemptId,
    AttemptId | None,
    int,
    int | None,
    int,
]

@final
class RefusedRows:
    """The rows of a call that were refused, in their order, with what the errors for them say."""

    def __len__(self) -> int: ...
    def row(self, index: int, /) -> int:
        """The number of the refused row at this place. IndexError."""

    def codes(self, row_count: int, /) -> bytearray:
        """A status code (16 bits) for each row of the call, 0 for the accepted ones."""

    def find(self, row: int, /) -> _Refused | None:
        """What is known of a refused row; None for an accepted one.

        A tuple: the status code; of the row the run; of the run its state, None where there is no such run; of the row the previous and
        the new state, and the attempt; of the run the active attempt, if any; of the row the expiry; of the run its lease's expiry, if it
        has one; and the bytes of the record, where it is too large. What the row's kind does not have is zero.
        """

@final
class Rows:
    """The rows that one call submits."""

    def __new__(cls, owner: str, kind: int) -> Rows: ...
    @property
    def owner(self) -> str: ...
    @property
    def refused(self) -> RefusedRows: ...
    def __len__(self) -> int: ...
    def add_to(self, log: Log, rows_max: int, stops: bool, /) -> bool:
        """Add up to `rows_max` more rows to the log's open batch; return whether more are left.

        A refused row is noted in :attr:`refused`; with `stops` it is the last that is looked at. After an exception the batch must be
        rolled back: MemoryError, RecordTooLarge where the rows do not fit into one batch, InvalidFieldError where the arrays were
        changed since they were checked.
        """

def transitions(run_ids: Any, previous_states: Any, new_states: Any, timestamps: Any, /) -> Rows:
    """The rows of ``submit_transitions``, checked."""

def lease_heartbeats(run_ids: Any, owners: Any, expiries: Any, timestamps: Any, /) -> Rows:
    """The rows of ``submit_lease_heartbeats``, checked."""

def attempt_starts(run_ids: Any, attempt_ids: Any, timestamps: Any, /) -> Rows:
    """The rows of ``submit_attempt_starts``, checked."""

def attempt_finishes(
    run_ids: Any, attempt_ids: Any, results: Any, timestamps: Any, outputs: Any, errors: Any, /
) -> Rows:
    """The rows of ``submit_attempt_finishes``, checked."""
