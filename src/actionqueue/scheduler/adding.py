"""Adding tasks with their first run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypedDict, Unpack

from actionqueue.errors import (
    DependencyCycle,
    InvalidFieldError,
    InvalidFieldTypeError,
    RefusedEventError,
)
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
NO_TASKS = (TaskSpec, TaskPayload, bytes, bytearray, memoryview, str)
"""One task, or a text, where several tasks are asked for."""


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


def maker_of(owner: str, fields: TaskFields) -> Callable[[Any], TaskSpec]:
    """Return what makes a task's specification of a payload with these fields.

    It takes a whole one as it is.
    """
    given: dict[str, Any] = dict(fields)
    constraints = {name: given.pop(name) for name in CONSTRAINTS & given.keys()}
    metadata = {name: given.pop(name) for name in METADATA & given.keys()}
    task_id = given.pop("task_id", None)
    is_typed = "content_type" in given
    content_type = given.pop("content_type", None)
    if constraints:
        given["constraints"] = TaskConstraints(**constraints)
    if metadata:
        given["metadata"] = TaskMetadata(**metadata)

    def make(task: Any) -> TaskSpec:
        if isinstance(task, TaskSpec):
            for field, value in fields.items():
                raise InvalidFieldError(
                    owner, field, value, "goes with a payload, not with a TaskSpec"
                )
            return task
        payload = TaskPayload(task, content_type) if is_typed else task
        return TaskSpec(TaskId() if task_id is None else task_id, payload, **given)

    return make


def added(time: int) -> Callable[[list[TaskSpec], int], list[MutationCommand]]:
    """Return a function that returns what happens to first runs for this time, as commands."""

    def changes(specs: list[TaskSpec], now: int) -> list[MutationCommand]:
        commands: list[MutationCommand] = []
        for spec in specs:
            run_id = RunId(spec.id.bytes)
            commands.append(RunCreateCommand(None, new_run(run_id, spec, time, now)))
            if time <= now:
                commands.append(RunStateTransitionCommand(None, run_id, SCHEDULED, READY, now))
        return commands

    return changes


def added_now(specs: list[TaskSpec], now: int) -> list[MutationCommand]:
    """Return what happens to first runs that are ready at once, as commands."""
    return added(now)(specs, now)


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
        if not fields and type(task) is bytes:
            spec = TaskSpec(TaskId(), task)
        else:
            spec = maker_of("add", fields)(task)
        self._add("add", [spec], at, depends_on)
        return spec.id

    def add_many(
        self,
        tasks: Iterable[TaskSpec | TaskPayload | bytes | bytearray | memoryview],
        *,
        at: int | None = None,
        depends_on: Iterable[TaskId] = NOTHING,
        **fields: Unpack[TaskFields],
    ) -> list[TaskId]:
        """Create several tasks as one step, all or none, and return their identifiers.

        Each is created as :meth:`add` does it, with the same time, prerequisites and fields. They
        become ready in their order.

        Raises:
            InvalidFieldError, InvalidFieldTypeError, TypeError: An argument does not fit.
            DependencyCycle: A task would wait for itself.
            TaskAlreadyExists, TaskForgotten: An identifier is taken.
            UnknownTask: A prerequisite does not exist.
            InvalidFieldError, RecordTooLarge: So much does not fit into one batch, by the number of
                its commands (1,048,576) or of its bytes (256 MiB).
        """
        if "task_id" in fields:
            reason = "is that of one task; give a TaskSpec for each"
            raise InvalidFieldError("add_many", "task_id", fields["task_id"], reason)
        if isinstance(tasks, NO_TASKS) or not isinstance(tasks, Iterable):
            reason = "must be several payloads or TaskSpecs"
            raise InvalidFieldTypeError("add_many", "tasks", tasks, reason)
        specs = list(map(maker_of("add_many", fields), tasks))
        self._add("add_many", specs, at, depends_on)
        return [spec.id for spec in specs]

    def _add(
        self, owner: str, specs: list[TaskSpec], at: int | None, depends_on: Iterable[TaskId]
    ) -> None:
        if at is not None:
            at = time_or_none(owner, "at", at)
        if depends_on is not NOTHING:
            prerequisites = identifiers(owner, "depends_on", depends_on, TaskId)
            if prerequisites:
                self._step(self._plan_add, specs, at, prerequisites)
                return
        now = self._now()
        sequence = 0
        try:  # for tasks that all begin in the same way
            if at is None:
                sequence = self._work.add(specs, now, now, added_now)
            else:
                sequence = self._work.add(specs, at, now, added(at))
        except RefusedEventError:
            pass  # the plan's commands say what is refused
        if sequence:
            self._settle(sequence)
        else:
            self._step(self._plan_add, specs, at, [])

    def _plan_add(
        self, now: int, specs: list[TaskSpec], at: int | None, prerequisites: list[TaskId]
    ) -> Plan[None]:
        commands: list[MutationCommand] = []
        for spec in specs:
            commands += self._commands_to_add(now, spec, at, prerequisites)
        return commands, None

    def _commands_to_add(
        self, now: int, spec: TaskSpec, at: int | None, prerequisites: list[TaskId]
    ) -> list[MutationCommand]:
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
                return commands
        if time <= now:
            if type(policy) is Once:
                commands.append(RunStateTransitionCommand(None, run_id, SCHEDULED, READY, now))
            else:
                recurrence = Recurrence(self._projection, spec, 1, time, self._misfire)
                priority = spec.metadata.priority
                commands += recurrence.when_due(run_id, time, priority, now, is_newest=True)[0]
        return commands

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
