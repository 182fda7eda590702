"""What the checks of commands ask of a projection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from actionqueue.model.ids import AttemptId, RunId, SubscriptionId, TaskId

if TYPE_CHECKING:
    from actionqueue.model.budgets import BudgetDimension
    from actionqueue.model.runs import RunState

__all__ = ["ProjectionQueries", "RequiredQueries"]


class RequiredQueries(Protocol):
    """What is asked of every projection."""

    @property
    def latest_sequence(self) -> int:
        """Sequence of the last applied event; 0 before the first."""
        ...

    def run_state(self, run_id: RunId, /) -> RunState | None:
        """Return the run's state; None for an unknown run."""
        ...

    def task_exists(self, task_id: TaskId, /) -> bool:
        """Tell whether the task was created."""
        ...

    def is_task_canceled(self, task_id: TaskId, /) -> bool:
        """Tell whether the task was canceled."""
        ...

    def is_engine_paused(self) -> bool:
        """Tell whether the engine is paused."""
        ...

    def active_attempt_id(self, run_id: RunId, /) -> AttemptId | None:
        """Return the run's active attempt, if it has one."""
        ...

    def active_lease(self, run_id: RunId, /) -> tuple[str, int] | None:
        """Return the owner and the expiry (Unix seconds) of the run's lease, if it has one."""
        ...


class ProjectionQueries(RequiredQueries, Protocol):
    """All that is asked of a projection.

    For a projection that lacks the queries declared here,
    :class:`~actionqueue.authority.StorageMutationAuthority` answers as the default in each
    docstring says.
    """

    def forgotten_until(self, task_id: TaskId, /) -> int | None:
        """Return until when (Unix seconds) the identifier of a forgotten task is refused.

        None where it is not. Default: None.
        """
        ...

    def attempt_count(self, run_id: RunId, /) -> int:
        """Return how many attempts the run has started. Default: 0."""
        ...

    def attempt_was_used(self, run_id: RunId, attempt_id: AttemptId, /) -> bool:
        """Tell whether the run ever started this attempt. Default: no."""
        ...

    def engine_paused_at(self) -> int | None:
        """Return when the engine was last paused, in Unix seconds. Default: None, never."""
        ...

    def budget_allocation_exists(self, task_id: TaskId, dimension: BudgetDimension, /) -> bool:
        """Tell whether the task has a budget of this dimension. Default: no."""
        ...

    def subscription_exists(self, subscription_id: SubscriptionId, /) -> bool:
        """Tell whether the subscription was created. Default: no."""
        ...

    def is_subscription_canceled(self, subscription_id: SubscriptionId, /) -> bool:
        """Tell whether the subscription was canceled. Default: no."""
        ...
