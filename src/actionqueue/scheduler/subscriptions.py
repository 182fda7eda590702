"""Subscriptions: what a batch of commands makes happen, and which runs that resumes.

The index knows every subscription of the projection, also those of raw commands: the lane notes
each one that is created. So a step costs a look-up for each change of state, and nothing where
there are no subscriptions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator
from typing import TypeAlias

from actionqueue.model import (
    BudgetConsumeCommand,
    BudgetDimension,
    BudgetThresholdFilter,
    CustomFilter,
    EventFilter,
    LeaseExpireCommand,
    LeaseReleaseCommand,
    MutationCommand,
    RunCreateCommand,
    RunId,
    RunResumeCommand,
    RunState,
    RunStateChangedFilter,
    RunStateTransitionCommand,
    RunSuspendCommand,
    SubscriptionId,
    SubscriptionTriggerCommand,
    TaskCompletedFilter,
    TaskId,
)
from actionqueue.projection import Projection

Occurrence: TypeAlias = tuple[str, object, object]
"""What a subscription may wait for: its kind, and what the filter names."""

READY = RunState.READY
SUSPENDED = RunState.SUSPENDED
COMPLETED = RunState.COMPLETED
LEASED = RunState.LEASED
LEASE_ENDS = (LeaseExpireCommand, LeaseReleaseCommand)


def _custom(key: str) -> Occurrence:
    return "custom", key, None


def _occurrence_of(event_filter: EventFilter) -> Occurrence:
    match event_filter:
        case TaskCompletedFilter(task_id=task_id):
            return "completed", task_id, None
        case RunStateChangedFilter(task_id=task_id, state=state):
            return "state", task_id, state
        case BudgetThresholdFilter(task_id=task_id, dimension=dimension):
            return "budget", task_id, dimension
        case CustomFilter(key=key):
            return _custom(key)
    raise TypeError(f"no filter: {event_filter!r}")


class Subscriptions:
    """The subscriptions of a projection that are not canceled, by what they wait for."""

    def __init__(self, projection: Projection, created: deque[SubscriptionId]) -> None:
        """Read those there are. The lane adds the others to ``created``."""
        self._projection = projection
        self.created = created
        """Those that were created since the last look."""
        self.waiting: dict[Occurrence, dict[SubscriptionId, TaskId]] = {}
        created.extend(each.subscription_id for each in projection.subscriptions())

    def signal(self, key: str, commands: list[MutationCommand], now: int) -> list[SubscriptionId]:
        """Add what a custom key triggers to commands; return the subscriptions.

        What follows from that is left to :meth:`extend`.
        """
        if self.created:
            self._take_created()
        triggered: dict[SubscriptionId, TaskId] = {}
        self._trigger(_custom(key), _Batch(self._projection, commands), triggered, now)
        return list(triggered)

    def extend(self, commands: list[MutationCommand], now: int) -> None:
        """Add what a batch triggers to its commands.

        Each subscription is triggered once a batch at most. The suspended runs of its task become
        ready, which may trigger more.
        """
        if self.created:
            self._take_created()
        if not self.waiting:
            return
        batch = _Batch(self._projection, commands)
        triggered: dict[SubscriptionId, TaskId] = {}
        for command in commands:  # it grows meanwhile
            for occurrence in batch.occurrences_of(command, self.waiting):
                self._trigger(occurrence, batch, triggered, now)

    def _trigger(
        self,
        occurrence: Occurrence,
        batch: _Batch,
        triggered: dict[SubscriptionId, TaskId],
        now: int,
    ) -> None:
        found = self.waiting.get(occurrence)
        if found is None:
            return
        for subscription_id, task_id in list(found.items()):
            if self._is_gone(subscription_id):
                del found[subscription_id]
            elif subscription_id not in triggered and (
                occurrence[0] != "budget" or self._is_crossed(subscription_id, batch)
            ):
                triggered[subscription_id] = task_id
                batch.commands.append(SubscriptionTriggerCommand(None, subscription_id, now))
                batch.resume_suspended(task_id, now)
        if not found:
            del self.waiting[occurrence]

    def _take_created(self) -> None:
        while self.created:
            subscription_id = self.created[0]
            record = self._projection.subscription(subscription_id)
            if record is not None and record.canceled_at is None:
                those = self.waiting.setdefault(_occurrence_of(record.filter), {})
                those[subscription_id] = record.task_id
            self.created.popleft()  # last: a signal's handler may raise in between

    def _is_gone(self, subscription_id: SubscriptionId) -> bool:
        return self._projection.is_subscription_canceled(
            subscription_id
        ) or not self._projection.subscription_exists(subscription_id)

    def _is_crossed(self, subscription_id: SubscriptionId, batch: _Batch) -> bool:
        """Whether the batch's consumption takes a budget from below the filter's share to it."""
        record = self._projection.subscription(subscription_id)
        if record is None or not isinstance(record.filter, BudgetThresholdFilter):
            return False
        of = record.filter
        budget = self._projection.budget(of.task_id, of.dimension)
        if budget is None:
            return False
        before = budget.consumed
        after = before + batch.consumed(of.task_id, of.dimension)
        share = budget.limit * of.threshold_pct
        return not _reaches(before, share) and _reaches(after, share)


def _reaches(consumed: int, share: int) -> bool:
    return consumed > 0 and consumed * 100 >= share


class _Batch:
    """Commands that are not applied yet, and the states to which they take runs."""

    def __init__(self, projection: Projection, commands: list[MutationCommand]) -> None:
        self._projection = projection
        self.commands = commands
        self._states: dict[RunId, RunState] = {}
        self._tasks: dict[RunId, TaskId] = {}
        self._released: set[RunId] = set()
        """Runs that the batch suspends only to make them ready, as a worker gives one back."""
        self._unleased: set[RunId] = set()
        """Leased runs, which the end of their lease makes ready."""
        for command in commands:
            if type(command) is RunCreateCommand:
                self._tasks[command.run_instance.id] = command.run_instance.task_id
            elif (change := _change_of(command)) is not None:
                run_id, state = change
                if type(command) is RunResumeCommand and self._states.get(run_id) is SUSPENDED:
                    self._released.add(run_id)
                self._states[run_id] = state
            elif isinstance(command, LEASE_ENDS) and self._state_of(command.run_id) is LEASED:
                self._unleased.add(command.run_id)
                self._states[command.run_id] = READY

    def occurrences_of(
        self, command: MutationCommand, waiting: Container[Occurrence]
    ) -> Iterator[Occurrence]:
        """Yield what a command of the batch makes happen, as far as something waits for it."""
        if type(command) is BudgetConsumeCommand:
            yield "budget", command.task_id, command.dimension
            return
        change = _change_of(command)
        if type(command) is RunSuspendCommand and command.run_id in self._released:
            return
        if isinstance(command, LEASE_ENDS) and command.run_id in self._unleased:
            change = command.run_id, READY
        task_id = None if change is None else self._task_of(change[0])
        if change is None or task_id is None:
            return
        yield "state", task_id, change[1]
        completed: Occurrence = "completed", task_id, None
        if change[1].is_terminal and completed in waiting and self._is_completed(task_id):
            yield completed

    def consumed(self, task_id: TaskId, dimension: BudgetDimension) -> int:
        """Return how much of a budget the batch consumes."""
        return sum(
            command.amount
            for command in self.commands
            if type(command) is BudgetConsumeCommand
            and (command.task_id, command.dimension) == (task_id, dimension)
        )

    def resume_suspended(self, task_id: TaskId, now: int) -> None:
        """Make the task's suspended runs ready, those that the batch leaves suspended."""
        for run in self._projection.read_runs_of_task(task_id):
            if self._states.get(run.id, run.state) is SUSPENDED:
                self._states[run.id] = READY
                self.commands.append(RunResumeCommand(None, run.id, now))

    def _state_of(self, run_id: RunId) -> RunState | None:
        return self._states.get(run_id) or self._projection.run_state(run_id)

    def _task_of(self, run_id: RunId) -> TaskId | None:
        if run_id not in self._tasks:
            run = self._projection.run(run_id)
            if run is None:
                return None
            self._tasks[run_id] = run.task_id
        return self._tasks[run_id]

    def _is_completed(self, task_id: TaskId) -> bool:
        """Whether a run of the task is completed with the batch, and each of the others has ended.

        It is what a prerequisite is met by, so the last run to end need not be the completed one.
        """
        states = [
            self._states.get(run.id, run.state)
            for run in self._projection.read_runs_of_task(task_id)
        ]
        states += [
            self._states.get(run_id, RunState.SCHEDULED)
            for run_id, task in self._tasks.items()
            if task == task_id
        ]
        is_completed = COMPLETED in states or self._projection.has_forgotten_completed_run(task_id)
        return is_completed and all(state.is_terminal for state in states)


def _change_of(command: MutationCommand) -> tuple[RunId, RunState] | None:
    """Return the run that a command takes to another state, and that state."""
    if type(command) is RunStateTransitionCommand:
        return command.run_id, command.new_state
    if type(command) is RunSuspendCommand:
        return command.run_id, SUSPENDED
    if type(command) is RunResumeCommand:
        return command.run_id, READY
    return None
