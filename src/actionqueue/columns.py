"""Columns: many commands of one kind as NumPy arrays in one call, and the projection as arrays.

:meth:`ActionQueue.submit_transitions` and its three siblings submit columns, and say what the
arrays must be. They make no Python object for a row; the rules and the errors are those of single
commands. Submitting needs no NumPy, for any contiguous buffer of the right type will do; the calls
that return arrays do (``pip install 'actionqueue[numpy]'``).

Identifiers in arrays have the dtype ``V16``. Never use ``S16``: it drops zero bytes at the end.
States and results are ``uint8`` codes, in the order of :class:`RunState` and
:class:`AttemptResultKind`; times are ``uint64``, Unix seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec

from _wal_native.arrays import (
    ATTEMPT_LAYOUT,
    RUN_LAYOUT,
    TASK_LAYOUT,
    read_records,
    read_run_ids,
)
from _wal_native.columns import RefusedRows, Rows
from _wal_native.log import Log
from _wal_native.status import status_name
from _wal_native.table import StateTable
from actionqueue.arrays import (
    id_array,
    ids_from_array,
    new_ids,
    numpy_module,
    offsets_and_data,
    result_codes,
    state_codes,
    states_from_codes,
)
from actionqueue.errors import (
    InvalidFieldError,
    RecordTooLarge,
    ValidationError,
)
from actionqueue.limits import PAYLOAD_SIZE_MAX, SEQUENCE_MAX, U32_MAX
from actionqueue.model import (
    AttemptFinishCommand,
    AttemptId,
    AttemptOutcome,
    AttemptStartCommand,
    LeaseHeartbeatCommand,
    MutationCommand,
    RunId,
    RunRescheduleCommand,
    RunState,
    RunStateTransitionCommand,
)
from actionqueue.model.base import validate
from actionqueue.model.queries import ProjectionQueries
from actionqueue.policy_fields import number_up_to, whole_number
from actionqueue.texts import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "ColumnOutcome",
    "ProjectionColumns",
    "id_array",
    "ids_from_array",
    "new_ids",
    "offsets_and_data",
    "refusal_name",
    "result_codes",
    "state_codes",
    "states_from_codes",
]

ROWS_AT_ONCE = 8192
"""Rows that a call applies before other threads and signals get their turn: about a
millisecond."""


# --- Submitting -----------------------------------------------------------------------------------


class ColumnOutcome:
    """The outcome of one call: which of its rows were accepted."""

    __slots__ = ("_refused", "_rows", "count", "first_sequence")

    first_sequence: int
    """Sequence of the first accepted row's event; the others follow without a gap, in the order of
    the rows. 0 if no row was accepted."""
    count: int
    """The number of accepted rows."""

    def __init__(
        self, owner: str, row_count: int, first_sequence: int, refused: RefusedRows
    ) -> None:
        self._rows = (owner, row_count)
        self._refused = refused
        self.count = row_count - len(refused)
        self.first_sequence = first_sequence if self.count else 0

    @property
    def last_sequence(self) -> int:
        """Sequence of the last accepted row's event; 0 if no row was accepted."""
        return self.first_sequence + self.count - 1 if self.count else 0

    @property
    def refused_count(self) -> int:
        """The number of refused rows."""
        return len(self._refused)

    @property
    def refused(self) -> NDArray[np.uint16] | None:
        """A status code for each row, 0 where it was accepted; None if every row was.

        :func:`refusal_name` names the codes. Each call makes a new array, of one item a row.
        """
        if not len(self._refused):
            return None
        numpy = numpy_module()
        return cast(
            "NDArray[np.uint16]", numpy.frombuffer(self._refused.codes(self._rows[1]), numpy.uint16)
        )

    @property
    def sequences(self) -> NDArray[np.uint64]:
        """The sequence of each row's event; 0 for a refused row.

        Each call makes a new array, of one item a row.
        """
        numpy = numpy_module()
        codes = self.refused
        accepted = numpy.ones(self._rows[1], bool) if codes is None else codes == 0
        sequences = numpy.zeros(len(accepted), numpy.uint64)
        sequences[accepted] = numpy.arange(
            self.first_sequence, self.first_sequence + self.count, dtype=numpy.uint64
        )
        return cast("NDArray[np.uint64]", sequences)

    def error(self, row: int) -> ValidationError | None:
        """Return the error that ``submit`` would have raised for the row's command at its turn.

        Returns None for an accepted row. Raises IndexError if there is no such row,
        InvalidFieldTypeError for a value that is no whole number.
        """
        index = whole_number("error", "row", row, "must be the number of a row, from 0")
        if not 0 <= index < self._rows[1]:
            raise IndexError(f"there is no row {shown(row)}; the call had {self._rows[1]}")
        known = self._refused.find(index)
        return (
            None
            if known is None
            else _error_of(self._rows[0], _Refused(*known)).at_batch_index(index)
        )

    def raise_for_refusal(self) -> None:
        """Raise the error of the first refused row, if there is one."""
        if self.refused_count:
            raise cast("ValidationError", self.error(self._refused.row(0)))

    def __repr__(self) -> str:
        return (
            f"ColumnOutcome(first_sequence={self.first_sequence}, count={self.count}, "
            f"refused_count={self.refused_count})"
        )


def stops_at_refusal(on_refusal: str) -> bool:
    """Return whether a call ends with the first refused row.

    Raises InvalidFieldError for anything but "raise" and "report".
    """
    if not isinstance(on_refusal, str) or str.__str__(on_refusal) not in {"raise", "report"}:
        raise InvalidFieldError("submit", "on_refusal", on_refusal, 'must be "raise" or "report"')
    return str.__str__(on_refusal) == "raise"


def append_rows(log: Log, rows: Rows, *, stops: bool) -> ColumnOutcome:
    """In the lane, append the rows that the projection allows as one batch.

    With ``stops``, append all of them or none. Raises what appending a batch does, and with
    ``stops`` the ValidationError of the first refused row.
    """
    first_sequence = log.table.latest_sequence + 1
    try:
        log.batch_begin()  # inside, so that an interrupt after it undoes it
        _add(rows, log, stops=stops)
        outcome = ColumnOutcome(rows.owner, len(rows), first_sequence, rows.refused)
        if stops:
            outcome.raise_for_refusal()
        log.batch_commit()
    except BaseException:
        log.batch_rollback()
        raise
    return outcome


def _add(rows: Rows, log: Log, *, stops: bool) -> None:
    # In a function of its own (tests/unit/test_loops.py): what a signal's handler raises where a
    # loop goes back runs no except block in the same function in CPython 3.13.
    while rows.add_to(log, ROWS_AT_ONCE, stops):
        pass  # other threads and signals get their turn here


class _Refused(NamedTuple):
    """A refused row and the state of its run: everything that the row's error says."""

    status: int
    run_id: RunId
    state: RunState | None
    previous_state: RunState
    new_state: RunState
    attempt_id: AttemptId
    active_attempt_id: AttemptId | None
    expiry: int
    lease_expiry: int | None
    payload_size: int


class _RunAtItsTurn:
    """Answers validation's queries for the run of a refused row, as it was at the row's turn."""

    def __init__(self, row: _Refused) -> None:
        self._row = row
        self._rule = refusal_name(row.status)

    @property
    def latest_sequence(self) -> int:
        return SEQUENCE_MAX if self._rule == "sequence" else 0

    def run_state(self, _run_id: RunId) -> RunState | None:
        return self._row.state

    def active_attempt_id(self, _run_id: RunId) -> AttemptId | None:
        return self._row.active_attempt_id

    def attempt_was_used(self, _run_id: RunId, _attempt_id: AttemptId) -> bool:
        return self._rule == "attempt_reused"

    def attempt_count(self, _run_id: RunId) -> int:
        return U32_MAX if self._rule == "attempt_count" else 0

    def active_lease(self, _run_id: RunId) -> tuple[str, int] | None:
        expiry = self._row.lease_expiry
        return (
            None
            if expiry is None
            else ("another" if self._rule == "lease_owner" else _OWNER, expiry)
        )


_OWNER = ""


def _command_of(owner: str, row: _Refused) -> MutationCommand:
    """Return a command that the rules refuse as they did the row.

    It leaves out what no error mentions: times, owners and outcomes.
    """
    if owner == "submit_transitions":
        return RunStateTransitionCommand(None, row.run_id, row.previous_state, row.new_state, 0)
    if owner == "submit_reschedules":
        return RunRescheduleCommand(None, row.run_id, 0, 0, 0)
    if owner == "submit_lease_heartbeats":
        return LeaseHeartbeatCommand(None, row.run_id, _OWNER, row.expiry, 0)
    if owner == "submit_attempt_starts":
        return AttemptStartCommand(None, row.run_id, row.attempt_id, 0)
    return AttemptFinishCommand(None, row.run_id, row.attempt_id, AttemptOutcome.success(), 0)


def _error_of(owner: str, row: _Refused) -> ValidationError:
    try:
        validate(_command_of(owner, row), cast("ProjectionQueries", _RunAtItsTurn(row)))
    except ValidationError as error:
        return error
    if row.payload_size:
        return RecordTooLarge(row.payload_size, PAYLOAD_SIZE_MAX)
    raise SystemError(
        f"validation allows a row of {owner} that the core refused as {refusal_name(row.status)}"
    )


def refusal_name(code: int) -> str:
    """Return the name of a code in :attr:`ColumnOutcome.refused`, such as ``"previous_state"``.

    ``"ok"`` for 0, ``"unknown"`` for a number that is no code. Raises InvalidFieldError for a
    number that is not from 0 to 65535, InvalidFieldTypeError for a value that is no whole number.
    """
    number = number_up_to("refusal_name", "code", code, 2**16 - 1, "must be a code from 0 to 65535")
    return status_name(number).removeprefix("refused_")


# --- Reading --------------------------------------------------------------------------------------


class ProjectionColumns(msgspec.Struct, frozen=True, eq=False):
    """Tasks, runs and attempts at one moment, as structured arrays in the order of their creation.

    The arrays are read-only and stay as they are while the queue goes on. An absent value is zero,
    and a flag says so. The projection's other queries return what has no fixed size (payloads,
    owners, outputs).
    """

    sequence: int
    """Sequence of the last applied event."""
    tasks: NDArray[np.void]
    """task_id, created_at, is_canceled, canceled_at, run_count."""
    runs: NDArray[np.void]
    """run_id, task_id, state, effective_priority, attempt_count, has_active_attempt,
    active_attempt_id, created_at, scheduled_at, last_state_change_at, has_lease, lease_expiry,
    lease_acquired_at, lease_updated_at."""
    attempts: NDArray[np.void]
    """attempt_id, run_id, started_at, is_finished, finished_at, result (255 until finished),
    detail_size (bytes of the output or error)."""


def read_columns(table: StateTable) -> ProjectionColumns:
    """Return the table as arrays."""
    numpy = numpy_module()
    sequence, tasks, runs, attempts = read_records(table)
    return ProjectionColumns(
        sequence,
        numpy.frombuffer(tasks, numpy.dtype(TASK_LAYOUT)),
        numpy.frombuffer(runs, numpy.dtype(RUN_LAYOUT)),
        numpy.frombuffer(attempts, numpy.dtype(ATTEMPT_LAYOUT)),
    )


def read_run_id_array(table: StateTable, state: RunState | None) -> NDArray[np.void]:
    """Return the identifiers of the table's runs in a state, or of all."""
    numpy = numpy_module()
    return cast("NDArray[np.void]", numpy.frombuffer(read_run_ids(table, state), "V16"))
