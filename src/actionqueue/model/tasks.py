"""Tasks: what a user wants to be run, under which constraints."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec

from _wal_native.fields import ConvertRule, NotNilRule
from actionqueue.errors import (
    EmptyDependencyList,
    TaskAlreadyCanceled,
    TaskAlreadyExists,
    TaskForgotten,
    UnknownTask,
)
from actionqueue.model.base import (
    AppliedMutation,
    Event,
    EventKind,
    MutationCommand,
    registered,
)
from actionqueue.model.fields import (
    I32,
    U64,
    Blob,
    Checked,
    NonEmptyText,
    NonEmptyTexts,
    PositiveU32,
    PositiveU64,
    Text,
    Texts,
    Timestamp,
)
from actionqueue.model.forms import (
    Keys,
    bytes_from_hex,
    fields_to_json,
    object_from_keys,
    value_to_json,
)
from actionqueue.model.ids import TaskId, TenantId
from actionqueue.model.queries import ProjectionQueries
from actionqueue.model.run_policies import Cron, Once, RunPolicy
from actionqueue.vocabulary import vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AppliedDependencyDeclare",
    "AppliedTaskCancel",
    "AppliedTaskCreate",
    "ConcurrencyKeyHoldPolicy",
    "DependencyDeclareCommand",
    "DependencyDeclared",
    "SafetyLevel",
    "TaskCancelCommand",
    "TaskCanceled",
    "TaskConstraints",
    "TaskCreateCommand",
    "TaskCreated",
    "TaskMetadata",
    "TaskPayload",
    "TaskSpec",
]


@vocabulary("concurrency_key_hold_policy")
class ConcurrencyKeyHoldPolicy(StrEnum):
    """Whether a run in retry wait keeps its concurrency key.

    That is for the scheduler to act on: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    HOLD_DURING_RETRY = "hold_during_retry"
    RELEASE_ON_RETRY = "release_on_retry"


@vocabulary("safety_level")
class SafetyLevel(StrEnum):
    """What side effects a task has, so whether the scheduler may run it again.

    See docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    PURE = "pure"
    """None."""
    IDEMPOTENT = "idempotent"
    """Running twice has the effect of running once."""
    TRANSACTIONAL = "transactional"
    """Running twice may have the effect twice."""


class TaskPayload(Checked, frozen=True, gc=False):
    """What a task hands to the actor that runs it: opaque bytes, and a hint at what they are."""

    data: Blob
    content_type: Text | None = None

    if TYPE_CHECKING:

        def __init__(
            self, data: bytes | bytearray | memoryview, content_type: str | None = None
        ) -> None: ...


class TaskConstraints(Checked, frozen=True, gc=False):
    """How the scheduler is to execute a task's runs.

    The queue keeps all of this and enforces none of it:
    docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    max_attempts: PositiveU32 = 1
    """Attempts that the scheduler is to give a run, at least 1:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    timeout_secs: PositiveU64 | None = None
    """Seconds that the scheduler is to give an attempt, at least 1, or None:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    concurrency_key: NonEmptyText | None = None
    """The scheduler is to run only one run with the same key at a time:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    concurrency_key_hold_policy: ConcurrencyKeyHoldPolicy = (
        ConcurrencyKeyHoldPolicy.HOLD_DURING_RETRY
    )
    """Whether the scheduler is to count a run in retry wait there:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    safety_level: SafetyLevel = SafetyLevel.PURE
    """What the scheduler may know before it tries a run again:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    required_capabilities: NonEmptyTexts | None = None
    """What the scheduler is to ask of an actor that runs the task; None for nothing:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""

    if TYPE_CHECKING:

        def __init__(
            self,
            max_attempts: int = 1,
            timeout_secs: int | None = None,
            concurrency_key: str | None = None,
            concurrency_key_hold_policy: ConcurrencyKeyHoldPolicy | str = ...,
            safety_level: SafetyLevel | str = ...,
            required_capabilities: Sequence[str] | None = None,
        ) -> None: ...


class TaskMetadata(Checked, frozen=True, gc=False):
    """What helps to find and order tasks."""

    tags: Texts = ()
    """No query selects by them: docs/guide.md#what-the-queue-refuses-what-is-yours."""
    priority: I32 = 0
    """The scheduler is to run higher ones first; a run has a priority of its own:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    description: Text | None = None

    if TYPE_CHECKING:

        def __init__(
            self, tags: Sequence[str] = (), priority: int = 0, description: str | None = None
        ) -> None: ...


_PayloadField = Annotated[TaskPayload, ConvertRule((bytes, bytearray, memoryview), TaskPayload)]


class TaskSpec(Checked, frozen=True, gc=False):
    """A task as its creator wants it.

    Only the payload is required: ``TaskSpec(payload=b"...")`` makes a task with a new identifier
    that runs once. Bytes stand for a :class:`TaskPayload` without a content type.
    """

    id: Annotated[TaskId, NotNilRule()] = msgspec.field(default_factory=TaskId)
    # Required, although it follows a field that is not: the default is refused.
    payload: _PayloadField = None  # type: ignore[assignment]
    run_policy: RunPolicy = Once()
    """When the scheduler is to create runs; more of them are taken:
    docs/guide.md#what-the-queue-refuses-what-is-yours."""
    constraints: TaskConstraints = TaskConstraints()
    metadata: TaskMetadata = TaskMetadata()
    parent_task_id: TaskId | None = None
    """The parent, which may be unknown: docs/guide.md#what-the-queue-refuses-what-is-yours."""
    tenant_id: TenantId | None = None
    """The tenant, which may be unknown: docs/guide.md#what-the-queue-refuses-what-is-yours."""

    if TYPE_CHECKING:

        def __init__(
            self,
            id: TaskId = ...,
            payload: TaskPayload | bytes | bytearray | memoryview = ...,
            run_policy: RunPolicy = ...,
            constraints: TaskConstraints = ...,
            metadata: TaskMetadata = ...,
            parent_task_id: TaskId | None = None,
            tenant_id: TenantId | None = None,
        ) -> None: ...

    @classmethod
    def _from_keys(cls, keys: Keys) -> Self:
        data = bytes_from_hex(keys.where, "payload", keys.take("payload"))
        payload = TaskPayload(data, keys.take("content_type", None))
        run_policy = object_from_keys(RunPolicy, keys)
        constraints = TaskConstraints(**keys.fields(TaskConstraints))
        metadata = TaskMetadata(**keys.fields(TaskMetadata))
        return cls(
            **keys.fields(cls, "id", "parent_task_id", "tenant_id"),
            payload=payload,
            run_policy=run_policy,
            constraints=constraints,
            metadata=metadata,
        )

    def _to_keys(self) -> dict[str, Any]:
        constraints = fields_to_json(self.constraints)
        for key, default in _LEFT_OUT.items():
            if constraints[key] == default:
                del constraints[key]
        return {
            **fields_to_json(self, "id", "parent_task_id", "tenant_id"),
            "payload": self.payload.data.hex(),
            "content_type": self.payload.content_type,
            **constraints,
            **fields_to_json(self.metadata, "priority", "tags", "description"),
            **value_to_json(self.run_policy),
        }


_LEFT_OUT = fields_to_json(
    TaskConstraints(), "concurrency_key_hold_policy", "safety_level", "required_capabilities"
)
"""What JSON leaves out where it is the default: other implementations do not have it."""


class TaskCreated(Event, frozen=True):
    """A task was created."""

    kind = EventKind.TASK_CREATED
    task_spec: TaskSpec
    timestamp: int


class AppliedTaskCreate(AppliedMutation, frozen=True):
    """A task was created."""

    name = "task_create"
    task_id: TaskId


@registered
class TaskCreateCommand(MutationCommand, frozen=True, gc=False):
    """Create a task.

    The constructor refuses a :class:`~actionqueue.Cron` with a time zone that this machine does not
    know: so a mistake is found before it is written, and what is written can be read everywhere.
    """

    becomes = TaskCreated
    tells = AppliedTaskCreate
    takes_short_way = True

    sequence: U64 | None
    task_spec: TaskSpec
    timestamp: Timestamp

    def _check_together(self) -> None:
        if type(self.task_spec.run_policy) is Cron:
            self.task_spec.run_policy.check_time_zone()

    def _check(self, projection: ProjectionQueries) -> None:
        task_id = self.task_spec.id
        if projection.task_exists(task_id):
            raise TaskAlreadyExists(task_id=task_id)
        until = projection.forgotten_until(task_id)
        if until is not None:
            raise TaskForgotten(task_id=task_id, until=until)

    def _applied(self) -> AppliedTaskCreate:
        return AppliedTaskCreate(self.task_spec.id)


class TaskCanceled(Event, frozen=True):
    """A task was canceled."""

    kind = EventKind.TASK_CANCELED
    task_id: TaskId
    timestamp: int


class AppliedTaskCancel(AppliedMutation, frozen=True):
    """A task was canceled."""

    name = "task_cancel"
    task_id: TaskId


@registered
class TaskCancelCommand(MutationCommand, frozen=True, gc=False):
    """Cancel a task.

    Its runs are left alone, and new ones taken: docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    becomes = TaskCanceled
    tells = AppliedTaskCancel

    sequence: U64 | None
    task_id: TaskId
    timestamp: Timestamp

    def _check(self, projection: ProjectionQueries) -> None:
        task_id = self.task_id
        if not projection.task_exists(task_id):
            raise UnknownTask(task_id=task_id)
        if projection.is_task_canceled(task_id):
            raise TaskAlreadyCanceled(task_id=task_id)


class DependencyDeclared(Event, frozen=True):
    """A task got prerequisites."""

    kind = EventKind.DEPENDENCY_DECLARED
    task_id: TaskId
    depends_on: tuple[TaskId, ...]
    timestamp: int


class AppliedDependencyDeclare(AppliedMutation, frozen=True):
    """A task got prerequisites."""

    name = "dependency_declare"
    task_id: TaskId
    depends_on: tuple[TaskId, ...]


@registered
class DependencyDeclareCommand(MutationCommand, frozen=True, gc=False):
    """Add prerequisites to a task, for which the scheduler is to wait.

    All tasks must exist. See docs/guide.md#what-the-queue-refuses-what-is-yours.
    """

    becomes = DependencyDeclared
    tells = AppliedDependencyDeclare

    sequence: U64 | None
    task_id: TaskId
    depends_on: tuple[TaskId, ...]
    timestamp: Timestamp

    if TYPE_CHECKING:

        def __init__(
            self,
            sequence: int | None,
            task_id: TaskId,
            depends_on: Sequence[TaskId],
            timestamp: int,
        ) -> None: ...

    def _check(self, projection: ProjectionQueries) -> None:
        task_id = self.task_id
        if not self.depends_on:
            raise EmptyDependencyList(task_id=task_id)
        if not projection.task_exists(task_id):
            raise UnknownTask(task_id=task_id)
        for prerequisite in self.depends_on:
            if not projection.task_exists(prerequisite):
                raise UnknownTask(task_id=prerequisite)
