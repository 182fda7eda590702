"""What a scheduler does all day, in one native call a step. Times are Unix seconds."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, final, overload

from actionqueue.model import AttemptId, MutationCommand, RunId, TaskId, TaskSpec
from actionqueue.scheduler.claim_columns import ClaimColumns
from actionqueue.scheduler.shared import Shared

from .lane import Lane
from .turn import Turn

_Claim = TypeVar("_Claim")

@final
class ClaimRows:
    """What a claim of many runs gives, as the memory of arrays, a row for each run.

    The identifiers have 16 bytes a row. ``numbers`` has five numbers of 64 bits a row: that of the
    attempt; where in ``data`` the task's encoded specification begins and ends; where in ``data``
    its payload begins, and the payload's size.
    """

    @property
    def task_ids(self) -> bytearray: ...
    @property
    def run_ids(self) -> bytearray: ...
    @property
    def attempt_ids(self) -> bytearray: ...
    @property
    def numbers(self) -> bytearray: ...
    @property
    def data(self) -> bytearray: ...

@final
class SchedulersTurn(Turn):
    """The turn of a queue's schedulers, in which a thread takes the queue's lane.

    So the turn comes first, and a thread that is in the lane already, or in a query for whose end
    the lane's holder waits, is refused: a finalizer or a signal's handler calls from there.
    """

    def __init__(self, queue: Lane) -> None: ...

class Step:
    """What a step adds to its batch."""

@final
class Work(Generic[_Claim]):
    """The steps over a queue, in the turn of its schedulers.

    Each takes ``changes``, a function that returns what happens to runs, as commands, for the
    step's items and its time: specifications for :meth:`add`, claims for the others. All raise what
    :meth:`actionqueue.ActionQueue.submit_many` raises but for its refusals.
    """

    def __init__(
        self,
        queue: Lane,
        shared: Shared,
        make_claim: Callable[[TaskId, RunId, AttemptId, str, int, int, int, bytes], _Claim],
        /,
    ) -> None:
        """Take a queue, and what makes a claim of the eight fields that a run's claim has."""

    def add(
        self,
        specs: list[TaskSpec],
        scheduled_at: int,
        now: int,
        changes: Callable[[list[TaskSpec], int], list[MutationCommand]],
        /,
    ) -> int:
        """Create tasks, each with its first run, which has the task's 16 bytes.

        Returns the last sequence; 0 with nothing done where a task's policy is not Once.

        Raises:
            RefusedEventError: A task's or a run's identifier is taken.
            RecordTooLarge, InvalidFieldError: A task, or all together, are over a limit.
        """

    def append(self, step: Step, changes: Callable[..., list[MutationCommand]], /) -> int:
        """Append what a step says, and return the last sequence. The caller is in the turn."""

    @overload
    def claim(
        self,
        owner: str,
        limit: int,
        capabilities: frozenset[str] | None,
        expiry: int,
        now: int,
        changes: Callable[[list[_Claim], int], list[MutationCommand]],
        into: list[_Claim],
        /,
    ) -> int:
        """Claim up to ``limit`` ready runs that nothing blocks, and append them to a list.

        Or to ClaimRows. Returns the last sequence, 0 without a claim. ``capabilities`` is a
        frozenset, or None for all runs. Of runs with one concurrency key the first is claimed.
        There are none while the engine is paused. After an exception some of the claims may be
        held, or all, or none.
        """

    @overload
    def claim(
        self,
        owner: str,
        limit: int,
        capabilities: frozenset[str] | None,
        expiry: int,
        now: int,
        changes: Callable[[list[ClaimRows], int], list[MutationCommand]],
        into: ClaimRows,
        /,
    ) -> int: ...
    def complete_rows(
        self,
        claims: ClaimColumns,
        outputs: Any,
        now: int,
        changes: Callable[[list[bytes], int], list[MutationCommand]],
        /,
    ) -> int:
        """Complete what a claim as columns has: its ``owner``, ``run_ids`` and ``attempt_ids``.

        ``outputs`` is bytes for all rows, a pair of arrays (offsets, data), or None. Returns and
        raises what :meth:`complete` does, and InvalidFieldError or InvalidFieldTypeError for arrays
        of another type or layout.
        """

    def complete(
        self,
        claims: list[_Claim],
        outputs: list[bytes] | None,
        now: int,
        changes: Callable[[list[_Claim], int], list[MutationCommand]],
        /,
    ) -> int:
        """Complete the runs of claims, and return the last sequence, 0 without a claim.

        ``outputs`` has bytes for each, or is None.

        Raises:
            ClaimLost: A claim is not held.
            RecordTooLarge, InvalidFieldError: A result, or all together, are over a limit.
        """
