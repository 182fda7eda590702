"""Claims of many runs as NumPy arrays: no Python object for a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from _wal_native.arrays import unpack_ids
from _wal_native.work import ClaimRows
from actionqueue.arrays import numpy_module
from actionqueue.errors import InvalidFieldTypeError
from actionqueue.model import (
    AttemptId,
    MutationCommand,
    RunId,
    RunState,
    RunStateTransitionCommand,
    TaskId,
)
from actionqueue.policy_fields import whole_number
from actionqueue.scheduler.arguments import Id
from actionqueue.scheduler.claims import Claim
from actionqueue.texts import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ClaimColumns"]


class ClaimColumns(msgspec.Struct, frozen=True, eq=False):
    """Runs that an owner works on, a row for each: what :meth:`Scheduler.claim_columns` returns.

    The arrays have an item for each row, and identifiers the dtype V16. :meth:`claim` makes a
    :class:`Claim` of a row, for calls that take one.
    """

    owner: str
    started_at: int
    """When the attempts began, in Unix seconds."""
    lease_expiry: int
    """When the scheduler may give the runs to another owner, in Unix seconds, unless a heartbeat
    comes before."""
    task_ids: NDArray[np.void]
    run_ids: NDArray[np.void]
    attempt_ids: NDArray[np.void]
    attempts: NDArray[np.uint64]
    """The attempts' numbers, from 1."""
    data: NDArray[np.uint8]
    """All bytes of all rows."""
    payload_starts: NDArray[np.uint64]
    """Where each row's payload begins in ``data``."""
    payload_sizes: NDArray[np.uint64]
    """The bytes of each row's payload."""
    _spec_starts: NDArray[np.uint64]
    _spec_ends: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.run_ids)

    def payload(self, row: int) -> bytes:
        """Return the payload of a row's task. Raises IndexError where there is no such row."""
        self._check(row)
        begin = int(self.payload_starts[row])
        return self.data[begin : begin + int(self.payload_sizes[row])].tobytes()

    def claim(self, row: int) -> Claim:
        """Return a row as a claim. Raises IndexError where there is no such row."""
        self._check(row)
        return Claim(
            unpack_ids(self.task_ids[row : row + 1], TaskId)[0],
            unpack_ids(self.run_ids[row : row + 1], RunId)[0],
            unpack_ids(self.attempt_ids[row : row + 1], AttemptId)[0],
            self.owner,
            int(self.attempts[row]),
            self.started_at,
            self.lease_expiry,
            self.data[int(self._spec_starts[row]) : int(self._spec_ends[row])].tobytes(),
        )

    def claims(self) -> list[Claim]:
        """Return all rows as claims."""
        return [self.claim(row) for row in range(len(self))]

    def select(self, rows: Any) -> ClaimColumns:
        """Return some of the rows: a slice, an array of their numbers, or one of booleans.

        Raises IndexError for numbers that no row has, InvalidFieldTypeError for anything else.
        """
        numpy = numpy_module()
        reason = "must be a slice, an array of row numbers, or one of booleans"
        if not isinstance(rows, slice):
            rows = numpy.asarray(rows)
            if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "biu"):
                raise InvalidFieldTypeError("select", "rows", rows, reason)
            if not rows.size:
                rows = rows.astype(numpy.intp)
        arrays = {field: getattr(self, field)[rows] for field in _ARRAYS_OF_ROWS}
        return msgspec.structs.replace(
            self, **{field: numpy.ascontiguousarray(array) for field, array in arrays.items()}
        )

    def _check(self, row: int) -> None:
        number = whole_number("ClaimColumns", "row", row, "must be the number of a row, from 0")
        if not 0 <= number < len(self):
            raise IndexError(f"there is no row {shown(row)}; there are {len(self)}")

    def __repr__(self) -> str:
        return f"<ClaimColumns of {len(self)} runs by {self.owner!r}, until {self.lease_expiry}>"


_ARRAYS_OF_ROWS = (
    "task_ids",
    "run_ids",
    "attempt_ids",
    "attempts",
    "payload_starts",
    "payload_sizes",
    "_spec_starts",
    "_spec_ends",
)


def columns_of(rows: ClaimRows, owner: str, started_at: int, lease_expiry: int) -> ClaimColumns:
    """Return what the native step gave as arrays."""
    numpy = numpy_module()
    numbers = numpy.frombuffer(rows.numbers, numpy.uint64).reshape(-1, 5)
    return ClaimColumns(
        owner,
        started_at,
        lease_expiry,
        numpy.frombuffer(rows.task_ids, "V16"),
        numpy.frombuffer(rows.run_ids, "V16"),
        numpy.frombuffer(rows.attempt_ids, "V16"),
        numbers[:, 0],
        numpy.frombuffer(rows.data, numpy.uint8),
        numbers[:, 3],
        numbers[:, 4],
        numbers[:, 1],
        numbers[:, 2],
    )


def begun_rows(claimed: Iterable[ClaimRows], now: int) -> list[MutationCommand]:
    """Return what happens to the runs of a new claim, as commands."""
    return [
        RunStateTransitionCommand(None, run_id, previous, state, now)
        for rows in claimed
        for run_id in _each(RunId, bytes(rows.run_ids))
        for previous, state in (
            (RunState.READY, RunState.LEASED),
            (RunState.LEASED, RunState.RUNNING),
        )
    ]


def completed_rows(completed: Iterable[bytes], now: int) -> list[MutationCommand]:
    """Return what happens to completed runs, of which this has the bytes, as commands."""
    return [
        RunStateTransitionCommand(None, run_id, RunState.RUNNING, RunState.COMPLETED, now)
        for packed in completed
        for run_id in _each(RunId, packed)
    ]


def held_rows(run_ids: bytes, attempt_ids: bytes) -> list[tuple[RunId, AttemptId]]:
    """Return what the rows of a claim hold."""
    return list(zip(_each(RunId, run_ids), _each(AttemptId, attempt_ids), strict=True))


def _each(kind: type[Id], packed: bytes) -> list[Id]:
    return [kind(packed[begin : begin + 16]) for begin in range(0, len(packed), 16)]
