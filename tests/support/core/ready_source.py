"""Random events of a few tasks whose runs wait for each other, as those of a scheduler do."""

from __future__ import annotations

from random import Random
from typing import Any

import actionqueue as aq
from actionqueue import (
    AttemptId,
    AttemptOutcome,
    BudgetDimension,
    ConcurrencyKeyHoldPolicy,
    RunId,
    RunInstance,
    RunState,
    TaskConstraints,
    TaskId,
    TaskSpec,
)
from tests.support.model import Model

S = RunState
TOKEN, COST = BudgetDimension.TOKEN, BudgetDimension.COST_CENTS


class ReadySource:
    """Most events are legal; few tasks and few keys let their runs meet."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.clock = 100

    def next(self, model: Model) -> aq.Event:
        random = self.random
        self.clock += random.choice((0, 0, 1))
        sequence = model.latest_sequence + 1
        tasks, runs = list(model.tasks), list(model.runs)
        choice = random.random()
        if len(tasks) < 3 or (choice < 0.03 and len(tasks) < 7):
            return aq.TaskCreated(sequence, self._spec(tasks), self.clock)
        if not runs or choice < 0.09:
            return self._run_created(sequence, random.choice(tasks))
        if choice < 0.12:
            # Mostly on an older task; otherwise circles close, and their runs wait for ever.
            at = random.randrange(len(tasks))
            before = tasks[: at + 1] if random.random() < 0.1 else tasks[:at] or tasks[:1]
            return aq.DependencyDeclared(sequence, tasks[at], (random.choice(before),), self.clock)
        if choice < 0.18:
            return self._budget(model, sequence, random.choice(tasks))
        if choice < 0.183:
            return aq.TaskCanceled(sequence, random.choice(tasks), self.clock)
        if choice < 0.21:
            return self._purge(model, sequence)
        live = [run_id for run_id in runs if not S(model.runs[run_id]["state"]).is_terminal]
        if not live:
            return self._run_created(sequence, random.choice(tasks))
        busy = [run_id for run_id in live if model.runs[run_id]["state"] in {"leased", "running"}]
        run_id = random.choice(busy if busy and random.random() < 0.7 else live)
        return self._step(model, sequence, run_id)

    def _id(self, id_type: Any) -> Any:
        return id_type.from_bytes((self.random.getrandbits(126) + 1).to_bytes(16, "big"))

    def _spec(self, tasks: list[TaskId]) -> TaskSpec:
        random = self.random
        parent = random.choice((None, None, None, *tasks, self._id(TaskId)))
        return TaskSpec(
            # A task that others have named as their parent closes a circle, perhaps.
            id=self._id(TaskId),
            payload=b"",
            constraints=TaskConstraints(
                max_attempts=random.choice((1, 2, 3)),
                concurrency_key=random.choice((None, None, None, "a", "b")),
                concurrency_key_hold_policy=random.choice(list(ConcurrencyKeyHoldPolicy)),
                required_capabilities=random.choice((None, None, ("gpu",), ("gpu", "ü"))),
            ),
            parent_task_id=parent,
        )

    def _run_created(self, sequence: int, task_id: TaskId) -> aq.Event:
        run = RunInstance(
            self._id(RunId), task_id, S.SCHEDULED, None, 0, self.clock, self.clock,
            self.random.choice((-1, 0, 0, 2**31 - 1, -(2**31))), self.clock,
        )  # fmt: skip
        return aq.RunCreated(sequence, run)

    def _budget(self, model: Model, sequence: int, task_id: TaskId) -> aq.Event:
        dimension = self.random.choice((TOKEN, COST))
        exhausted = [key for key, budget in model.budgets.items() if budget["exhausted"]]
        if exhausted and self.random.random() < 0.6:
            task_id, dimension = self.random.choice(exhausted)
            kind = self.random.choice((aq.BudgetReplenished, aq.BudgetAllocated))
            return kind(sequence, task_id, dimension, 2, self.clock)
        if (task_id, dimension) not in model.budgets:
            return aq.BudgetAllocated(sequence, task_id, dimension, 2, self.clock)
        return aq.BudgetConsumed(sequence, task_id, dimension, 1, self.clock)

    def _purge(self, model: Model, sequence: int) -> aq.Event:
        """Return a purge of a task that is over, and of all its runs; often it is refused."""
        task_id = self.random.choice(list(model.tasks))
        runs = tuple(run_id for run_id, run in model.runs.items() if run["task_id"] == task_id)
        tasks = () if runs and self.random.random() < 0.3 else (task_id,)
        return aq.RunsPurged(sequence, runs, tasks, self.clock, (), (), 0, 0, None)

    def _step(self, model: Model, sequence: int, run_id: RunId) -> aq.Event:
        random, run, clock = self.random, model.runs[run_id], self.clock
        state = S(run["state"])

        def to(*states: RunState) -> aq.Event:
            return aq.RunStateChanged(sequence, run_id, state, random.choice(states), clock)

        if random.random() < 0.05:
            return aq.RunRescheduled(sequence, run_id, clock, random.choice((0, 1)), clock)
        if state in {S.READY, S.LEASED} and random.random() < 0.1:
            if run["lease"] is None:
                return aq.LeaseAcquired(sequence, run_id, "owner", clock + 5, clock)
            return aq.LeaseReleased(sequence, run_id, "owner", run["lease"]["expiry"], clock)
        if random.random() < 0.03:
            return aq.RunCanceled(sequence, run_id, clock)
        if run["current_attempt_id"] is not None:
            outcome = random.choice(
                (
                    AttemptOutcome.success(),
                    AttemptOutcome.success(),
                    AttemptOutcome.failure("failed"),
                    AttemptOutcome.timeout("late"),
                    AttemptOutcome.suspended(),
                )
            )
            return aq.AttemptFinished(
                sequence,
                run_id,
                run["current_attempt_id"],
                outcome.result,
                outcome.error,
                outcome.output,
                clock,
            )
        if state is S.RUNNING:
            ended = run["attempts"] and run["attempts"][-1]["result"]
            if not ended or random.random() < 0.1:
                return aq.AttemptStarted(sequence, run_id, self._id(AttemptId), clock)
            if ended == "suspended":
                return to(S.SUSPENDED)
            return to(*[S.COMPLETED] * 6, S.FAILED, S.RETRY_WAIT, S.RETRY_WAIT, S.SUSPENDED)
        if state is S.LEASED:
            return to(S.RUNNING, S.RUNNING, S.READY)
        following = {S.SCHEDULED: S.READY, S.READY: S.LEASED, S.RETRY_WAIT: S.READY}
        if state is S.SUSPENDED:
            return aq.RunResumed(sequence, run_id, clock)
        return to(following.get(state, S.CANCELED))
