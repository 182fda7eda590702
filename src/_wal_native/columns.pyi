"""Rows of arrays as events. Times and expiries are Unix seconds."""

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
    """The refused rows of a call, in their order, with what the errors for them say."""

    def __len__(self) -> int: ...
    def row(self, index: int, /) -> int:
        """Return the number of the refused row at this place; both numbers begin with 0.

        Raises IndexError where fewer rows were refused.
        """

    def codes(self, row_count: int, /) -> bytearray:
        """Return a status code (16 bits) for each row of the call, 0 for an accepted row."""

    def find(self, row: int, /) -> _Refused | None:
        """Return what is known of a refused row, as a tuple; None for an accepted row.

        The tuple has the status code; the row's run; that run's state, or None where there is no
        such run; the row's previous and new state, and its attempt; the run's active attempt, or
        None; the row's expiry; the expiry of the run's lease, or None; and the size of a record
        that is too large, in bytes. What rows of this kind do not have is zero.
        """

@final
class Rows:
    """The rows that one call submits."""

    def __new__(cls, owner: str, kind: int) -> Rows: ...
    @property
    def owner(self) -> str:
        """The name of the call, which errors show."""

    @property
    def refused(self) -> RefusedRows:
        """The rows that were refused so far."""

    def __len__(self) -> int: ...
    def add_to(self, log: Log, rows_max: int, stops: bool, /) -> bool:
        """Add up to `rows_max` more rows to the log's open batch; return whether more are left.

        A refused row goes into :attr:`refused`. With `stops`, the call ends with the first refused
        row. After an exception the caller must roll the batch back.

        Raises:
            RuntimeError: No batch is open.
            MemoryError: There is no memory for the rows.
            RecordTooLarge: The rows do not fit into one batch.
            InvalidFieldError: The arrays were changed after they were checked.
        """

def transitions(run_ids: Any, previous_states: Any, new_states: Any, timestamps: Any, /) -> Rows:
    """Return the rows of ``submit_transitions``, checked.

    Raises InvalidFieldTypeError or InvalidFieldError for the first argument, or row of it, whose
    type, layout or value a command could not have.
    """

def reschedules(
    run_ids: Any, scheduled_times: Any, effective_priorities: Any, timestamps: Any, /
) -> Rows:
    """Return the rows of ``submit_reschedules``, checked.

    Raises InvalidFieldTypeError or InvalidFieldError for the first argument, or row of it, whose
    type, layout or value a command could not have.
    """

def lease_heartbeats(run_ids: Any, owners: Any, expiries: Any, timestamps: Any, /) -> Rows:
    """Return the rows of ``submit_lease_heartbeats``, checked.

    Raises InvalidFieldTypeError or InvalidFieldError for the first argument, or row of it, whose
    type, layout or value a command could not have.
    """

def attempt_starts(run_ids: Any, attempt_ids: Any, timestamps: Any, /) -> Rows:
    """Return the rows of ``submit_attempt_starts``, checked.

    Raises InvalidFieldTypeError or InvalidFieldError for the first argument, or row of it, whose
    type, layout or value a command could not have.
    """

def attempt_finishes(
    run_ids: Any, attempt_ids: Any, results: Any, timestamps: Any, outputs: Any, errors: Any, /
) -> Rows:
    """Return the rows of ``submit_attempt_finishes``, checked.

    Raises InvalidFieldTypeError or InvalidFieldError for the first argument, or row of it, whose
    type, layout or value a command could not have.
    """
