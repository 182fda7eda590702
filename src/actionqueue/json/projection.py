"""A projection as JSON, for the command line and for comparing.

Enum values are lower snake case, bytes hexadecimal, identifiers hyphenated, what is absent null.
Times are Unix seconds.

===================  =============================================================================
``latest_sequence``  a number
``engine``           ``{"paused", "paused_at", "resumed_at"}``
``tasks``            by id: an object
``runs``             by id: an object; ``history`` rows are ``[from, to, timestamp]``, ``attempts``
                     ``[id, started_at, finished_at, result, error, output]``, the ``lease``
                     ``[owner, expiry, acquired_at, updated_at]`` or null
``dependencies``     by task: the prerequisites, sorted
``budgets``          by "task/dimension": ``[limit, consumed, allocated_at, exhausted]``
``subscriptions``    by id: ``[task, created_at, triggered_at, canceled_at]``
``actors``           by id: ``[identity, capabilities, department, heartbeat_interval_secs,
                     tenant, registered_at, last_heartbeat_at, deregistered_at]``
``tenants``          by id: ``[name, created_at]``
``roles``            by "actor/tenant": ``[role, assigned_at]``
``capabilities``     rows ``[actor, tenant, capability, granted_at, revoked_at]``, sorted by their
                     compact JSON text
``ledger``           rows ``[entry, tenant, key, actor, payload, timestamp]``, in the order of the
                     log
===================  =============================================================================

A role or capability of the application's own is ``{"custom": text}``.

This form, which other implementations have too, leaves out a task's run policy, hold policy, safety
level and required capabilities, the filters of subscriptions, and lets go of nothing else;
:func:`projection_rows` has everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from actionqueue.model import RunId, RunInstance
from actionqueue.model.forms import fields_to_json, value_to_json
from actionqueue.projection import RARE_RECORDS, ActorRecord, Projection, TaskRecord

__all__ = ["projection_rows", "projection_to_json", "projection_to_text", "run_row"]


def projection_to_json(projection: Projection, *, is_small: bool = False) -> dict[str, Any]:
    """Return the projection in the module's form, the small one without its tasks and runs.

    It must not change meanwhile.
    """
    engine = projection.engine
    return {
        "latest_sequence": projection.latest_sequence,
        "engine": {
            "paused": engine.is_paused,
            "paused_at": engine.paused_at,
            "resumed_at": engine.resumed_at,
        },
        "tasks": {
            str(task.task_id): _task(task) for task in (() if is_small else projection.tasks())
        },
        "runs": {
            str(run_id): _run(projection, projection.run(run_id))
            for run_id in (() if is_small else projection.run_ids())
        },
        "dependencies": _dependencies(projection),
        "budgets": {
            f"{budget.task_id}/{budget.dimension}": [
                budget.limit,
                budget.consumed,
                budget.allocated_at,
                budget.is_exhausted,
            ]
            for budget in projection.budgets()
        },
        "subscriptions": {
            str(subscription.subscription_id): [
                str(subscription.task_id),
                subscription.created_at,
                subscription.triggered_at,
                subscription.canceled_at,
            ]
            for subscription in projection.subscriptions()
        },
        "actors": {str(actor.actor_id): _actor(actor) for actor in projection.actors()},
        "tenants": {
            str(tenant.tenant_id): [tenant.name, tenant.created_at]
            for tenant in projection.tenants()
        },
        "roles": {
            f"{assignment.actor_id}/{assignment.tenant_id}": [
                value_to_json(assignment.role),
                assignment.assigned_at,
            ]
            for assignment in projection.roles()
        },
        "capabilities": sorted(
            (
                [
                    str(grant.actor_id),
                    str(grant.tenant_id),
                    value_to_json(grant.capability),
                    grant.granted_at,
                    grant.revoked_at,
                ]
                for grant in projection.capability_grants()
            ),
            key=msgspec.json.encode,
        ),
        "ledger": [
            [
                str(entry.entry_id),
                str(entry.tenant_id),
                entry.ledger_key,
                _text(entry.actor_id),
                entry.payload.hex(),
                entry.timestamp,
            ]
            for entry in projection.ledger()
        ],
    }


def projection_to_text(projection: Projection) -> Iterator[bytes]:
    """Yield the same as pieces of JSON text.

    Tasks and runs are read one by one, so their number costs no memory.
    """
    whole = projection_to_json(projection, is_small=True)
    mark = b"{"
    for name, value in whole.items():
        yield mark + msgspec.json.encode(name) + b":"
        mark = b","
        if name == "tasks":
            tasks = (projection.task(task_id) for task_id in projection.task_ids())
            yield from _members(
                (str(task.task_id), _task(task)) for task in tasks if task is not None
            )
        elif name == "runs":
            yield from _members(
                (str(run_id), _run(projection, projection.run(run_id)))
                for run_id in projection.run_ids()
            )
        else:
            yield msgspec.json.encode(value)
    yield b"}"


def _members(pairs: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[bytes]:
    mark = b"{"
    for name, value in pairs:
        yield mark + msgspec.json.encode(name) + b":" + msgspec.json.encode(value)
        mark = b","
    yield b"{}" if mark == b"{" else b"}"


def projection_rows(projection: Projection) -> Iterator[dict[str, Any]]:
    """Yield everything that the projection holds, one row after the other.

    Each row has its ``kind`` and every field of its record.

    The first row is the ``queue``. Fields are named as those of the records in
    :mod:`actionqueue.projection`, and a task's specification is that of its command, so that it can
    be submitted again. It must not change meanwhile.
    """
    yield {
        "kind": "queue",
        "latest_sequence": projection.latest_sequence,
        **fields_to_json(projection.engine),
    }
    for task_id in projection.task_ids():
        if (task := projection.task(task_id)) is not None:
            yield {
                "kind": "task",
                "task_spec": value_to_json(task.spec),
                "created_at": task.created_at,
                "canceled_at": task.canceled_at,
                "runs_created": task.runs_created,
                "last_run_at": task.last_run_at,
            }
    for task_id, prerequisite in projection.dependency_pairs():
        yield {"kind": "dependency", "task_id": str(task_id), "depends_on": str(prerequisite)}
    for run_id in projection.run_ids():
        yield {
            "kind": "run",
            **run_row(projection, run_id),
            "history": [fields_to_json(entry) for entry in projection.history(run_id) or ()],
            "attempts": [fields_to_json(attempt) for attempt in projection.attempts(run_id) or ()],
        }
    for kind, records in RARE_RECORDS:
        for record in records(projection):
            yield {"kind": kind, **fields_to_json(record)}


def run_row(projection: Projection, run_id: RunId) -> dict[str, Any]:
    """Return the fields of a run and of its lease, which may be None."""
    run, lease = projection.run(run_id), projection.lease(run_id)
    if run is None:
        raise RuntimeError("the projection changed while it was read")
    return {**fields_to_json(run), "lease": None if lease is None else fields_to_json(lease)}


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _task(task: TaskRecord) -> dict[str, Any]:
    spec = task.spec
    return {
        "created_at": task.created_at,
        "canceled_at": task.canceled_at,
        "payload": spec.payload.data.hex(),
        "content_type": spec.payload.content_type,
        "priority": spec.metadata.priority,
        "tags": list(spec.metadata.tags),
        "description": spec.metadata.description,
        "max_attempts": spec.constraints.max_attempts,
        "timeout_secs": spec.constraints.timeout_secs,
        "concurrency_key": spec.constraints.concurrency_key,
        "parent_task_id": _text(spec.parent_task_id),
        "tenant_id": _text(spec.tenant_id),
    }


def _run(projection: Projection, run: RunInstance | None) -> dict[str, Any]:
    if run is None:
        raise RuntimeError("the projection changed while it was read")
    lease = projection.lease(run.id)
    return {
        "task_id": str(run.task_id),
        "state": run.state.value,
        "current_attempt_id": _text(run.current_attempt_id),
        "attempt_count": run.attempt_count,
        "created_at": run.created_at,
        "scheduled_at": run.scheduled_at,
        "effective_priority": run.effective_priority,
        "last_state_change_at": run.last_state_change_at,
        "history": [
            [_text(entry.from_state), entry.to_state.value, entry.timestamp]
            for entry in projection.history(run.id) or ()
        ],
        "attempts": [
            [
                str(attempt.attempt_id),
                attempt.started_at,
                attempt.finished_at,
                _text(attempt.result),
                attempt.error,
                None if attempt.output is None else attempt.output.hex(),
            ]
            for attempt in projection.attempts(run.id) or ()
        ],
        "lease": None
        if lease is None
        else [lease.owner, lease.expiry, lease.acquired_at, lease.updated_at],
    }


def _dependencies(projection: Projection) -> dict[str, list[str]]:
    by_task: dict[str, list[str]] = {}
    for task_id, prerequisite in projection.dependency_pairs():
        by_task.setdefault(str(task_id), []).append(str(prerequisite))
    return {task_id: sorted(prerequisites) for task_id, prerequisites in by_task.items()}


def _actor(actor: ActorRecord) -> list[Any]:
    registration = actor.registration
    return [
        registration.identity,
        list(registration.capabilities),
        _text(registration.department),
        registration.heartbeat_interval_secs,
        _text(registration.tenant_id),
        actor.registered_at,
        actor.last_heartbeat_at,
        actor.deregistered_at,
    ]
