"""A small scheduler on an embedded queue: what a scheduler that uses the library looks like.

The queue is the scheduler's only memory. Every decision is a batch of commands: the log has all of
it or nothing, it is durable before a process acts on it, and the scheduler reads the next decision
from the projection. So it has nothing to save and nothing to repair: a scheduler that was killed
opens its queue again and goes on.

Three habits make that work:

- **Planning derives identifiers from the work.** It does not draw them at random, so planning the
  same file again finds the task.
- **A lease is the only claim to a run.** The scheduler never concludes from a silent worker that
  its work is free; the lease says when. It drops a result that comes after that, because it is not
  the result of the run's active attempt.
- **Times are the queue's**: whole Unix seconds. The scheduler looks once a second for what is due.
"""

from __future__ import annotations

import os
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import actionqueue as aq
from actionqueue.demo.messages import Assignment, Result
from actionqueue.model import AttemptResultKind, BudgetDimension, RunState
from actionqueue.projection import TimedRun

__all__ = ["ATTEMPTS_MAX", "SWEEP", "Scheduler", "task_id_of"]

ATTEMPTS_MAX = 3
LEASE_SECS = 3
PLAN_SIZE = 100
"""Tasks in one batch of the planning."""
AT_ONCE = 1000
"""How many due runs and expired leases a look at the clock takes; the next look takes more."""
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "actionqueue:demo")
SWEEP = aq.TaskId(uuid.uuid5(NAMESPACE, "the sweep"))
"""The parent of all other tasks, which use its budget: bytes of source."""

Acknowledge = Callable[[Sequence[tuple[int, aq.MutationCommand]]], None]


def task_id_of(path: str) -> aq.TaskId:
    """Return the identifier of a file's task, the same one every time."""
    return aq.TaskId(uuid.uuid5(NAMESPACE, path))


class Scheduler:
    """Plans runs, leases them to workers, and takes their results. For one thread."""

    def __init__(self, queue: aq.ActionQueue, acknowledge: Acknowledge) -> None:
        """Take over an open queue. ``acknowledge`` gets every command once it is durable."""
        self._queue = queue
        self._projection = queue.projection
        self._acknowledge = acknowledge
        self._ready: deque[aq.RunId] = deque()
        self._last_look = 0

    def _commit(self, commands: Iterable[aq.MutationCommand]) -> None:
        """Submit commands as one decision, all or nothing, which is durable when this returns."""
        commands = list(commands)
        outcomes = self._queue.submit_many(commands)
        self._acknowledge(
            [
                (outcome.sequence, command)
                for outcome, command in zip(outcomes, commands, strict=True)
            ]
        )

    # --- Planning ---------------------------------------------------------------------------------

    def plan(self, paths: Sequence[str], budget: int) -> None:
        """Create a task and a run for each file that has none."""
        time = aq.now()
        if self._projection.task(SWEEP) is None:
            sweep = aq.TaskSpec(
                SWEEP, b"", metadata=aq.TaskMetadata(description="all files together")
            )
            allocation = aq.BudgetAllocateCommand(None, SWEEP, BudgetDimension.TOKEN, budget, time)
            self._commit([aq.TaskCreateCommand(None, sweep, time), allocation])
        missing = [path for path in paths if self._projection.task(task_id_of(path)) is None]
        for start in range(0, len(missing), PLAN_SIZE):
            self._commit(
                command
                for path in missing[start : start + PLAN_SIZE]
                for command in _plan_of(path, time)
            )

    def look_at_the_clock(self) -> list[tuple[str, str]]:
        """Make due runs ready, and take back runs with expired leases.

        Returns the paths and owners of the expired leases.
        """
        time = aq.now()
        if time == self._last_look:
            return []
        self._last_look = time
        due = [
            aq.RunStateTransitionCommand(None, run_id, run.state, RunState.READY, time)
            for run_id, run in self._runs(self._projection.due(time, AT_ONCE))
            # It waits a second before a retry; a real scheduler would wait longer with each.
            if run.state is RunState.SCHEDULED or run.last_state_change_at < time
        ]
        if due:
            self._commit(due)
        expired = self._projection.expiring_leases(time, AT_ONCE)
        return [self._expire(run_id, run, time) for run_id, run in self._runs(expired)]

    def _runs(self, timed: list[TimedRun]) -> list[tuple[aq.RunId, aq.RunInstance]]:
        return [(run_id, self._run(run_id)) for _, run_id in timed]

    # --- Leases -----------------------------------------------------------------------------------

    def lease(self, owner: str) -> Assignment | None:
        """Give the next ready run to a worker; return None if no run is ready or may be leased."""
        if self.is_paused or self.is_out_of_budget:
            return None
        run_id = self._next_ready()
        if run_id is None:
            return None
        time, attempt_id = aq.now(), aq.AttemptId()
        self._commit(
            [
                aq.RunStateTransitionCommand(None, run_id, RunState.READY, RunState.LEASED, time),
                aq.LeaseAcquireCommand(None, run_id, owner, time + LEASE_SECS, time),
                aq.RunStateTransitionCommand(None, run_id, RunState.LEASED, RunState.RUNNING, time),
                aq.AttemptStartCommand(None, run_id, attempt_id, time),
            ]
        )
        run = self._run(run_id)
        return Assignment(run_id, attempt_id, run.attempt_count, self._path_of(run), owner)

    def _next_ready(self) -> aq.RunId | None:
        """Return the oldest ready run of a copied list; copy the list again when it is used up."""
        if not self._ready:
            self._ready.extend(self._projection.run_ids(RunState.READY))
        while self._ready:
            run_id = self._ready.popleft()
            if self._projection.run_state(run_id) is RunState.READY:
                return run_id
        return None

    def heartbeat(self, assignment: Assignment) -> None:
        """Extend the lease of a worker that is still at work."""
        time = aq.now()
        lease = self._projection.lease(assignment.run_id)
        if lease is not None and self._is_current(assignment) and lease.expiry < time + LEASE_SECS:
            self._commit(
                [
                    aq.LeaseHeartbeatCommand(
                        None, assignment.run_id, lease.owner, time + LEASE_SECS, time
                    )
                ]
            )

    def _expire(self, run_id: aq.RunId, run: aq.RunInstance, time: int) -> tuple[str, str]:
        lease = self._projection.lease(run_id)
        if lease is None:
            raise LookupError(f"run {run_id} has no lease")
        commands: list[aq.MutationCommand] = []
        if run.current_attempt_id is not None:
            lost = aq.AttemptOutcome.timeout(f"the lease of {lease.owner} expired")
            commands.append(
                aq.AttemptFinishCommand(None, run_id, run.current_attempt_id, lost, time)
            )
        commands += [
            aq.LeaseExpireCommand(None, run_id, lease.owner, lease.expiry, time),
            aq.RunStateTransitionCommand(None, run_id, RunState.RUNNING, RunState.RETRY_WAIT, time),
            aq.RunStateTransitionCommand(None, run_id, RunState.RETRY_WAIT, RunState.READY, time),
        ]
        self._commit(commands)
        return self._path_of(run), lease.owner

    # --- Results ----------------------------------------------------------------------------------

    def take(self, assignment: Assignment, result: Result) -> RunState | None:
        """Record a worker's result, and return the run's new state; None if it came too late."""
        lease = self._projection.lease(assignment.run_id)
        if lease is None or not self._is_current(assignment):
            return None
        run_id, time = assignment.run_id, aq.now()
        if result.error is None:
            outcome, state = aq.AttemptOutcome.success(result.output), RunState.COMPLETED
        else:
            outcome = aq.AttemptOutcome.failure(result.error)
            state = (
                RunState.FAILED
                if self._failures(run_id) + 1 >= ATTEMPTS_MAX
                else RunState.RETRY_WAIT
            )
        self._commit(
            [
                aq.AttemptFinishCommand(None, run_id, assignment.attempt_id, outcome, time),
                aq.LeaseReleaseCommand(None, run_id, lease.owner, lease.expiry, time),
                aq.BudgetConsumeCommand(None, SWEEP, BudgetDimension.TOKEN, result.size, time),
                aq.RunStateTransitionCommand(None, run_id, RunState.RUNNING, state, time),
            ]
        )
        return state

    def _failures(self, run_id: aq.RunId) -> int:
        """Count the failed attempts: an expired lease is not the file's fault."""
        attempts = self._projection.attempts(run_id) or []
        return sum(attempt.result is AttemptResultKind.FAILURE for attempt in attempts)

    def _is_current(self, assignment: Assignment) -> bool:
        return self._run(assignment.run_id).current_attempt_id == assignment.attempt_id

    # --- The operator's wishes --------------------------------------------------------------------

    def pause(self) -> None:
        """Lease nothing more. Running runs go on."""
        if not self.is_paused:
            self._commit([aq.EnginePauseCommand(None, aq.now())])

    def resume(self) -> None:
        """Lease again."""
        if self.is_paused:
            self._commit([aq.EngineResumeCommand(None, aq.now())])

    def replenish(self, budget: int) -> None:
        """Set a new budget, if the old one is used up."""
        if self.is_out_of_budget:
            self._commit(
                [aq.BudgetReplenishCommand(None, SWEEP, BudgetDimension.TOKEN, budget, aq.now())]
            )

    @property
    def is_paused(self) -> bool:
        """Whether the engine is paused."""
        return self._projection.engine.is_paused

    @property
    def is_out_of_budget(self) -> bool:
        """Whether the budget is used up."""
        budget = self._projection.budget(SWEEP, BudgetDimension.TOKEN)
        return budget is not None and budget.is_exhausted

    @property
    def finished_count(self) -> int:
        """The number of ended runs."""
        return sum(
            runs for state, runs in self._projection.counts_by_state().items() if state.is_terminal
        )

    @property
    def is_finished(self) -> bool:
        """Whether every run has ended."""
        return self.finished_count == self._projection.counts().runs

    # --- Reading ----------------------------------------------------------------------------------

    def _run(self, run_id: aq.RunId) -> aq.RunInstance:
        run = self._projection.run(run_id)
        if run is None:
            raise LookupError(f"there is no run {run_id}")
        return run

    def _path_of(self, run: aq.RunInstance) -> str:
        task = self._projection.task(run.task_id)
        if task is None:
            raise LookupError(f"there is no task {run.task_id}")
        return os.fsdecode(task.spec.payload.data)


def _plan_of(path: str, time: int) -> list[aq.MutationCommand]:
    task = aq.TaskSpec(
        task_id_of(path),
        aq.TaskPayload(os.fsencode(path), "text/x-path"),
        constraints=aq.TaskConstraints(max_attempts=ATTEMPTS_MAX),
        parent_task_id=SWEEP,
    )
    run = aq.RunInstance.scheduled(task.id, scheduled_at=time, created_at=time)
    return [aq.TaskCreateCommand(None, task, time), aq.RunCreateCommand(None, run)]
