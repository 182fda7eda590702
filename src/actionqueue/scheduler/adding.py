"""Adding tasks with their first run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict, Unpack

from actionqueue.errors import DependencyCycle, InvalidFieldError
from actionqueue.model import (
    ConcurrencyKeyHoldPolicy,
    Cron,
    DependencyDeclareCommand,
    MutationCommand,
    Once,
    RunCreateCommand,
    RunId,
    RunPolicy,
    RunState,
    RunStateTransitionCommand,
    SafetyLevel,
    TaskCancelCommand,
    TaskConstraints,
    TaskCreateCommand,
    TaskId,
    TaskMetadata,
    TaskPayload,
    TaskSpec,
    TenantId,
)
from actionqueue.scheduler.arguments import identifier, identifiers, time_or_none
from actionqueue.scheduler.core import Core, Plan
from actionqueue.scheduler.prerequisites import Cancellation, ensure_no_cycle
from actionqueue.scheduler.recurrence import Recurrence, first_time, new_run

SCHEDULED = RunState.SCHEDULED
READY = RunState.READY
CANCELED = RunState.CANCELED
NOTHING: tuple[TaskId, ...] = ()
CONSTRAINTS = frozenset(TaskConstraints.__struct_fields__)
METADATA = frozenset(TaskMetadata.__struct_fields__)


class TaskFields(TypedDict, total=False):
    """What :meth:`Scheduler.add` takes besides the payload: the fields of a TaskSpec, flat."""

    task_id: TaskId
    content_type: str | None
    run_policy: RunPolicy
    max_attempts: int
    timeout_secs: int | None
    concurrency_key: str | None
    concurrency_key_hold_policy: ConcurrencyKeyHoldPolicy | str
    safety_level: SafetyLevel | str
    required_capabilities: Sequence[str] | None
    priority: int
    tags: Sequence[str]
    description: str | None
    parent_task_id: TaskId | None
    tenant_id: TenantId | None


def spec_of(task: Any, fields: TaskFields) -> TaskSpec:
    """Return the task's specification: the one that is given, or one of a payload and fields."""
    if isinstance(task, TaskSpec):
        for field, value in fields.items():
            raise InvalidFieldError("add", field, value, "goes with a payload, not with a TaskSpec")
        return task
    if not fields:
        return TaskSpec(TaskId(), task)
    given: dict[str, Any] = dict(fields)
    constraints = {name: given.pop(name) for name in CONSTRAINTS & given.keys()}
    metadata = {name: given.pop(name) for name in METADATA & given.keys()}
    task_id = given.pop("task_id") if "task_id" in given else TaskId()
    if "content_type" in given:
        task = TaskPayload(task, given.pop("content_type"))
    if constraints:
        given["constraints"] = TaskConstraints(**constraints)
    if metadata:
        given["metadata"] = TaskMetadata(**metadata)
    return TaskSpec(task_id, task, **given)


class Adding(Core):
    """Creates tasks and what they wait for."""

    def add(
        self,
        task: TaskSpec | TaskPayload | bytes | bytearray | memoryview,
        *,
        at: int | None = None,
        depends_on: Iterable[TaskId] = NOTHING,
        **fields: Unpack[TaskFields],
    ) -> TaskId:
        """Create a task with its first run, and return the task's identifier.

        The run is ready at once where its time has come. A task whose prerequisites can no longer
        be met is canceled in the same step, unless the scheduler holds such tasks: it makes no
        difference whether they failed before or after.

        Args:
            task: The payload; or a whole TaskSpec, which goes with no further ``fields``.
            at: The time of the first run, in Unix seconds; None for now. A task with a Cron policy
                runs first at the expression's first time from then on.
            depends_on: The tasks that must be completed before.
            fields: The fields of a :class:`TaskSpec`, its constraints and its metadata, each under
                its own name, and ``task_id`` for the task's identifier (a new one by default).

        Raises:
            InvalidFieldError, TypeError: An argument does not fit.
            DependencyCycle: The task would wait for itself.
            TaskAlreadyExists, TaskForgotten: The identifier is taken.
            UnknownTask: A prerequisite does not exist.
        """
        spec = spec_of(task, fields)
        if at is not None:
            at = time_or_none("add", "at", at)
        prerequisites: list[TaskId] = []
        if depends_on is not NOTHING:
            prerequisites = identifiers("add", "depends_on", depends_on, TaskId)
        return self._step(self._plan_add, spec, at, prerequisites)

    def _plan_add(
        self, now: int, spec: TaskSpec, at: int | None, prerequisites: list[TaskId]
    ) -> Plan[TaskId]:
        task_id = spec.id
        policy = spec.run_policy
        time = now if at is None else at
        if type(policy) is Cron:
            time = first_time(policy, time)
        run_id = RunId(task_id.bytes)
        commands: list[MutationCommand] = [
            TaskCreateCommand(None, spec, now),
            RunCreateCommand(None, new_run(run_id, spec, time, now)),
        ]
        if prerequisites:
            if task_id in prerequisites:  # nothing else can wait for a task that is not there yet
                raise DependencyCycle((task_id, task_id))
            commands.append(DependencyDeclareCommand(None, task_id, prerequisites, now))
            if self._is_one_lost(prerequisites, now):
                commands.append(TaskCancelCommand(None, task_id, now))
                commands.append(RunStateTransitionCommand(None, run_id, SCHEDULED, CANCELED, now))
                return commands, task_id
        if time <= now:
            if type(policy) is Once:
                commands.append(RunStateTransitionCommand(None, run_id, SCHEDULED, READY, now))
            else:
                recurrence = Recurrence(self._projection, spec, 1, time, self._misfire)
                priority = spec.metadata.priority
                commands += recurrence.when_due(run_id, time, priority, now, is_newest=True)[0]
        return commands, task_id

    def add_prerequisites(self, task_id: TaskId, depends_on: Iterable[TaskId]) -> None:
        """Have a task wait for more tasks.

        A run that is claimed already goes on. Where one of the tasks can no longer be met, the task
        is canceled as in :meth:`add`, with those that wait for it.

        Raises:
            InvalidFieldTypeError: An argument is no identifier of a task.
            DependencyCycle: The task would wait for itself.
            UnknownTask, EmptyDependencyList: A task does not exist, or there is no prerequisite.
        """
        identifier("add_prerequisites", "task_id", task_id, TaskId)
        prerequisites = identifiers("add_prerequisites", "depends_on", depends_on, TaskId)
        self._step(self._plan_prerequisites, task_id, prerequisites)

    def _plan_prerequisites(
        self, now: int, task_id: TaskId, prerequisites: list[TaskId]
    ) -> Plan[None]:
        ensure_no_cycle(self._projection, task_id, prerequisites)
        commands: list[MutationCommand] = [
            DependencyDeclareCommand(None, task_id, prerequisites, now)
        ]
        cancellation = Cancellation(self._projection, self._dependents, now)
        if not cancellation.is_over(task_id) and self._is_one_lost(prerequisites, now):
            cancellation.cancel(task_id)
            cancellation.cancel_dependents([task_id])
            commands += cancellation.commands
        return commands, None

    def _is_one_lost(self, prerequisites: list[TaskId], now: int) -> bool:
        if not self._cancels_dependents:
            return False
        look = Cancellation(self._projection, self._dependents, now)
        return any(look.is_lost(prerequisite) for prerequisite in prerequisites)
