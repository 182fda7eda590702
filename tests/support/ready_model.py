"""What keeps runs from being started, and which may be, from a model of the log: with no index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from actionqueue import RunId
from tests.support.model import Model

Reason: TypeAlias = tuple[str, Any]
"""What blocks a run, and the task, the run, or the task and dimension that it comes from."""
Ready: TypeAlias = tuple[int, int, RunId]
"""The priority of a run, since when it waits, and its identifier."""


def key_of(model: Model, run: dict[str, Any]) -> str | None:
    key: str | None = model.tasks[run["task_id"]]["spec"].constraints.concurrency_key
    return key


def required_by(model: Model, run: dict[str, Any]) -> tuple[str, ...]:
    return model.tasks[run["task_id"]]["spec"].constraints.required_capabilities or ()


def holds_key(model: Model, run: dict[str, Any]) -> bool:
    if key_of(model, run) is None:
        return False
    if run["state"] in {"leased", "running"} or (run["state"] == "ready" and run["lease"]):
        return True
    policy = model.tasks[run["task_id"]]["spec"].constraints.concurrency_key_hold_policy
    if policy != "hold_during_retry":
        return False
    return run["state"] == "retry_wait" or (run["state"] == "ready" and is_between_attempts(run))


def is_between_attempts(run: dict[str, Any]) -> bool:
    ended = [attempt["result"] for attempt in run["attempts"] if attempt["result"] is not None]
    counted = [result for result in ended if result != "suspended"]
    is_active = len(ended) < len(run["attempts"])
    return bool(counted) and not is_active and counted[-1] in {"failure", "timeout"}


def waits_between_attempts(model: Model, run: dict[str, Any]) -> bool:
    return (
        run["state"] == "ready"
        and run["lease"] is None
        and holds_key(model, run)
        and is_between_attempts(run)
    )


def position(model: Model, run_id: RunId) -> tuple[int, int, int]:
    run = model.runs[run_id]
    at = list(model.runs).index(run_id)
    return -run["effective_priority"], run["last_state_change_at"], at


def is_met(model: Model, task_id: Any) -> bool:
    states = [run["state"] for run in model.runs.values() if run["task_id"] == task_id]
    has_completed = "completed" in states or model.tasks[task_id]["completed_purged"]
    return has_completed and set(states) <= {"completed", "failed", "canceled"}


def upwards(model: Model, task_id: Any) -> Iterator[Any]:
    """A task and those above it, each once."""
    seen = set()
    while task_id in model.tasks and task_id not in seen:
        yield task_id
        seen.add(task_id)
        task_id = model.tasks[task_id]["spec"].parent_task_id


def blockers(model: Model, run_id: RunId) -> set[Reason]:
    run = model.runs[run_id]
    task_id = run["task_id"]
    task = model.tasks[task_id]
    found: set[Reason] = set()
    if task["canceled_at"] is not None:
        found.add(("canceled", task_id))
    counted = [attempt for attempt in run["attempts"] if attempt["result"] != "suspended"]
    if len(counted) >= task["spec"].constraints.max_attempts:
        found.add(("attempts", task_id))
    if run["lease"] is not None:
        found.add(("lease", run_id))
    for prerequisite in model.dependencies.get(task_id, []):
        if not is_met(model, prerequisite):
            found.add(("prerequisite", prerequisite))
    above = set(upwards(model, task_id))
    for (owner, dimension), budget in model.budgets.items():
        if owner in above and budget["exhausted"]:
            found.add(("budget", (owner, str(dimension))))
    for other_id, other in model.runs.items():
        is_other = other_id != run_id and holds_key(model, other)
        if waits_between_attempts(model, run) and waits_between_attempts(model, other):
            # Each would wait for the other, so the first one may be started.
            is_other &= position(model, other_id) < position(model, run_id)
        if is_other and key_of(model, other) == key_of(model, run):
            found.add(("key", other_id))
    return found


def ready_runs(model: Model, capabilities: set[str] | None = None) -> list[Ready]:
    """The runs that may be started, in order. Of runs with the same key and the same required
    capabilities only the first one comes.
    """
    found: list[Ready] = []
    first_of = set()
    waiting = [run_id for run_id, run in model.runs.items() if run["state"] == "ready"]
    waiting.sort(
        key=lambda run_id: (
            -model.runs[run_id]["effective_priority"],
            model.runs[run_id]["last_state_change_at"],
        )
    )
    for run_id in waiting:
        run = model.runs[run_id]
        required = required_by(model, run)
        if blockers(model, run_id) or not (capabilities is None or capabilities >= set(required)):
            continue
        lane = (key_of(model, run), required)
        if lane[0] is not None and lane in first_of:
            continue
        first_of.add(lane)
        found.append((run["effective_priority"], run["last_state_change_at"], run_id))
    return found
