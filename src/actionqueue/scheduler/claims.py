"""Claims: what a worker holds while it works on a run."""

from __future__ import annotations

import msgspec

from _wal_native.events import task_spec_from_bytes
from actionqueue.model import AttemptId, RunId, TaskId, TaskSpec

__all__ = ["Claim"]


class Claim(msgspec.Struct, eq=False):
    """A run that an owner works on, with the lease and the attempt that make it the owner's alone.

    :meth:`Scheduler.claim` makes it. It may be pickled, and a copy is as good as the original: two
    claims are equal when they are of the same attempt. A copy does not see later heartbeats in
    :attr:`lease_expiry`.
    """

    task_id: TaskId
    run_id: RunId
    attempt_id: AttemptId
    owner: str
    attempt: int
    """The attempt's number, from 1. Attempts that were suspended or released do not count."""
    started_at: int
    """When the attempt began, in Unix seconds."""
    lease_expiry: int
    """When the scheduler may give the run to another owner, in Unix seconds, unless a heartbeat
    comes before."""
    encoded_spec: bytes
    """The task's specification, as the log has it."""
    _spec: TaskSpec | None = None

    @property
    def spec(self) -> TaskSpec:
        """The task's specification."""
        spec = self._spec
        if spec is None:
            spec = self._spec = task_spec_from_bytes(self.task_id, self.encoded_spec)
        return spec

    @property
    def payload(self) -> bytes:
        """The task's payload."""
        return self.spec.payload.data

    @property
    def deadline(self) -> int | None:
        """When the attempt has taken too long, in Unix seconds; None without a time-out."""
        timeout = self.spec.constraints.timeout_secs
        return None if timeout is None else self.started_at + timeout

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Claim) and (self.run_id, self.attempt_id) == (
            other.run_id,
            other.attempt_id,
        )

    def __hash__(self) -> int:
        return hash(self.attempt_id)

    def __repr__(self) -> str:
        return (
            f"<Claim of run {self.run_id} by {self.owner!r}, attempt {self.attempt}, "
            f"until {self.lease_expiry}>"
        )
