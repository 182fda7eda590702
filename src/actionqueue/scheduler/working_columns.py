"""What workers call that take thousands of runs at a time: claims and completions as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from _wal_native.work import ClaimRows
from actionqueue.arrays import numpy_module
from actionqueue.errors import InvalidFieldTypeError
from actionqueue.scheduler.claim_columns import (
    ClaimColumns,
    begun_rows,
    columns_of,
    completed_rows,
    held_rows,
)
from actionqueue.scheduler.working import Working


class WorkingInColumns(Working):
    """Hands runs out as arrays, and takes them back."""

    def claim_columns(
        self, owner: str, limit: int, capabilities: Iterable[str] | None = None
    ) -> ClaimColumns:
        """Claim up to ``limit`` ready runs as :meth:`claim` does, and return them as arrays.

        Where Ctrl-C, or an error, ends the call, the runs are given back.

        Needs NumPy (``pip install 'actionqueue[numpy]'``).

        Args:
            owner: The worker's name, not empty.
            limit: From 1 to 65,536.
            capabilities: What the worker can do; None for everything.

        Raises:
            InvalidFieldError: An argument does not fit.
            RecordTooLarge: A long name for so many leases does not fit into one batch.
            ImportError: NumPy is missing. Nothing was claimed.
        """
        numpy_module()
        limit, able, expiry, now = self._claiming("claim_columns", owner, limit, capabilities)
        rows = ClaimRows()
        try:
            sequence = self._work.claim(owner, limit, able, expiry, now, begun_rows, rows)
            claims = columns_of(rows, owner, now, expiry)
            if sequence:
                self._settle(sequence)
        except BaseException:  # the caller gets no claim
            self._give_back(owner, held_rows(bytes(rows.run_ids), bytes(rows.attempt_ids)), now)
            raise
        return claims

    def complete_columns(self, claims: ClaimColumns, outputs: Any = None) -> None:
        """Complete the runs of all rows of a claim as one step: all or none.

        Args:
            claims: What :meth:`claim_columns` returned, or rows that
                :meth:`ClaimColumns.select` took of it.
            outputs: The attempts' outputs: one bytes for all rows; or a pair of arrays as
                :func:`actionqueue.offsets_and_data` makes them; None for no outputs.

        Raises:
            ClaimLost: One of the claims is no longer held, or comes twice: the error says which.
                Nothing was written.
            InvalidFieldError, InvalidFieldTypeError: An argument does not fit.
            RecordTooLarge: An output, or all together, are over a limit.
        """
        if type(claims) is not ClaimColumns:
            reason = "must be what claim_columns returned"
            raise InvalidFieldTypeError("complete_columns", "claims", claims, reason)
        sequence = self._work.complete_rows(claims, outputs, self._now(), completed_rows)
        if sequence:
            self._settle(sequence)
        else:
            self._ensure_usable()
