"""What the model of a scheduler remembers."""

from __future__ import annotations

from dataclasses import dataclass, field

import actionqueue as aq

OVER = {"completed", "failed", "canceled"}
NEVER = 10**12
"""Later than every time of a test."""


@dataclass(eq=False)
class ModelTask:
    id: aq.TaskId
    count: int = 1
    interval: int = 1
    priority: int = 0
    max_attempts: int = 1
    timeout: int | None = None
    key: str | None = None
    holds_during_retry: bool = True
    required: frozenset[str] = frozenset()
    prerequisites: list[ModelTask] = field(default_factory=list)
    parent_id: aq.TaskId | None = None
    canceled_at: int | None = None
    created: int = 0
    """How many runs it has had, forgotten ones too."""
    last: int = 0
    runs: list[ModelRun] = field(default_factory=list)
    budgets: dict[str, ModelBudget] = field(default_factory=dict)

    @property
    def is_canceled(self) -> bool:
        return self.canceled_at is not None

    @property
    def has_open_runs(self) -> bool:
        return any(run.state not in OVER for run in self.runs)

    @property
    def gets_no_more_runs(self) -> bool:
        return self.is_canceled or self.created == self.count

    @property
    def is_met(self) -> bool:
        """Whether what waits for it as a prerequisite may begin."""
        return not self.has_open_runs and any(run.state == "completed" for run in self.runs)


@dataclass(eq=False)
class ModelRun:
    id: aq.RunId
    task: ModelTask
    number: int
    at: int
    priority: int
    changed: int
    state: str = "scheduled"
    attempts: int = 0
    """Those that count: begun, and neither released nor suspended."""
    attempt_id: aq.AttemptId | None = None
    owner: str = ""
    started: int = 0
    expiry: int = 0
    entered: list[str] = field(default_factory=list)
    """The states that it has entered in this step."""

    def go(self, state: str, now: int) -> None:
        self.state, self.changed = state, now
        self.entered.append(state)

    @property
    def is_newest(self) -> bool:
        return self.number == self.task.created - 1

    @property
    def holds_its_key(self) -> bool:
        is_between_attempts = self.state in {"retry_wait", "ready"} and self.attempts > 0
        return self.state == "running" or (self.task.holds_during_retry and is_between_attempts)


@dataclass(eq=False)
class ModelBudget:
    limit: int
    used: int = 0
    is_exhausted: bool = False


@dataclass(eq=False)
class ModelSubscription:
    id: aq.SubscriptionId
    task: ModelTask
    waits_for: tuple[object, ...]
    """What happens: ("custom", key), ("completed", task's identifier),
    ("entered", task's identifier, state), or ("used", task's identifier, dimension, percent)."""
    triggered_at: int | None = None
    canceled_at: int | None = None
