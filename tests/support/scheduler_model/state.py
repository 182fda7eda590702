"""The model's lists, and how they are searched."""

from __future__ import annotations

from collections.abc import Iterator

import actionqueue as aq
from tests.support.scheduler_model.records import ModelRun, ModelSubscription, ModelTask


class ModelState:
    def __init__(self, misfire: str, on_prerequisite_failed: str, lease: int) -> None:
        self.misfire = misfire
        self.cancels = on_prerequisite_failed == "cancel"
        self.lease = lease
        self.backoff = aq.Backoff(first=1, factor=2, most=4, jitter=0.5)
        self.tasks: list[ModelTask] = []
        self.runs: list[ModelRun] = []
        """In the order in which they were created."""
        self.subscriptions: list[ModelSubscription] = []
        self.is_paused = False

    def task(self, task_id: object) -> ModelTask | None:
        return next((task for task in self.tasks if task.id == task_id), None)

    def upwards(self, task: ModelTask) -> Iterator[ModelTask]:
        """The task and those above it, each once."""
        seen: list[ModelTask] = []
        above: ModelTask | None = task
        while above is not None and above not in seen:
            seen.append(above)
            yield above
            above = None if above.parent_id is None else self.task(above.parent_id)
