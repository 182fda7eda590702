"""The slow, obvious model of the projection: dicts and lists, and every rule written out in plain
Python.

It shares nothing with the native table and its rules on purpose: it is what they are compared with.
"""

from __future__ import annotations

import json
from typing import Any

import actionqueue as aq
from actionqueue import AttemptId, BudgetDimension, Cron, RunId, RunState, SubscriptionId, TaskId
from actionqueue.errors import RefusedEventError

# Every state, and the states that a run may go to from there.
TRANSITIONS = {
    "scheduled": ["ready", "canceled"],
    "ready": ["leased", "canceled"],
    "leased": ["running", "ready", "canceled"],
    "running": ["retry_wait", "suspended", "completed", "failed", "canceled"],
    "retry_wait": ["ready", "failed", "canceled"],
    "suspended": ["ready", "canceled"],
    "completed": [],
    "failed": [],
    "canceled": [],
}

ATTEMPT_COUNT_MAX = 2**32 - 1
CONSUMED_MAX = 2**64 - 1


def copied(value: Any) -> Any:
    """Copy dicts and lists all the way down; everything else in the model never changes."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [copied(part) for part in value]
    return value


class Model:
    """All that a log says, after any number of events. Times are Unix seconds."""

    def __init__(self) -> None:
        self.latest_sequence = 0
        self.engine: dict[str, Any] = {"paused": False, "paused_at": None, "resumed_at": None}
        self.tasks: dict[Any, dict[str, Any]] = {}
        self.runs: dict[Any, dict[str, Any]] = {}
        self.dependencies: dict[Any, list[Any]] = {}
        self.budgets: dict[Any, dict[str, Any]] = {}  # by (task id, dimension)
        self.subscriptions: dict[Any, dict[str, Any]] = {}
        self.actors: dict[Any, dict[str, Any]] = {}
        self.tenants: dict[Any, dict[str, Any]] = {}
        self.roles: dict[Any, dict[str, Any]] = {}  # by (actor id, tenant id)
        self.capabilities: dict[Any, dict[str, Any]] = {}  # by (actor id, tenant id, capability)
        self.ledger: list[list[Any]] = []
        self.tombstones: dict[Any, int] = {}
        """Until when each identifier is kept."""

    def copy(self) -> Model:
        """Return a model that changes on its own from here on."""
        twin = Model()
        twin.__dict__.update(copied(self.__dict__))
        return twin

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Model) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    # --- Questions --------------------------------------------------------------------------------

    def run_state(self, run_id: RunId) -> RunState | None:
        return RunState(self.runs[run_id]["state"]) if run_id in self.runs else None

    def task_exists(self, task_id: TaskId) -> bool:
        return task_id in self.tasks

    def is_task_canceled(self, task_id: TaskId) -> bool:
        return task_id in self.tasks and self.tasks[task_id]["canceled_at"] is not None

    def forgotten_until(self, task_id: TaskId) -> int | None:
        return self.tombstones.get(task_id)

    def is_engine_paused(self) -> bool:
        return bool(self.engine["paused"])

    def engine_paused_at(self) -> int | None:
        paused_at: int | None = self.engine["paused_at"]
        return paused_at

    def active_attempt_id(self, run_id: RunId) -> AttemptId | None:
        return self.runs[run_id]["current_attempt_id"] if run_id in self.runs else None

    def active_lease(self, run_id: RunId) -> tuple[str, int] | None:
        lease = self.runs[run_id]["lease"] if run_id in self.runs else None
        return None if lease is None else (lease["owner"], lease["expiry"])

    def attempt_count(self, run_id: RunId) -> int:
        return self.runs[run_id]["attempt_count"] if run_id in self.runs else 0

    def attempt_was_used(self, run_id: RunId, attempt_id: AttemptId) -> bool:
        return run_id in self.runs and attempt_id in [
            attempt["id"] for attempt in self.runs[run_id]["attempts"]
        ]

    def budget_allocation_exists(self, task_id: TaskId, dimension: BudgetDimension) -> bool:
        return (task_id, dimension) in self.budgets

    def subscription_exists(self, subscription_id: SubscriptionId) -> bool:
        return subscription_id in self.subscriptions

    def is_subscription_canceled(self, subscription_id: SubscriptionId) -> bool:
        subscription = self.subscriptions.get(subscription_id)
        return subscription is not None and subscription["canceled_at"] is not None

    # --- Events -----------------------------------------------------------------------------------

    def apply_event(self, event: aq.Event) -> None:
        """Apply one event, or raise RefusedEventError and change nothing: every method checks
        first, then changes.
        """

        def refuse_if(broken: bool, rule: str) -> None:
            if broken:
                raise RefusedEventError(rule=rule, sequence=event.sequence)

        refuse_if(event.sequence <= self.latest_sequence, "sequence")
        handler = getattr(self, f"_{event.kind.name.lower()}")
        handler(event, refuse_if)
        self.latest_sequence = event.sequence

    def _task_created(self, event: aq.TaskCreated, refuse_if: Any) -> None:
        refuse_if(event.task_spec.id in self.tasks, "task_exists")
        refuse_if(event.task_spec.id in self.tombstones, "task_forgotten")
        self.tasks[event.task_spec.id] = {
            "spec": event.task_spec,
            "created_at": event.timestamp,
            "canceled_at": None,
            "runs_created": 0,
            "last_run_at": None,
            "completed_purged": False,
        }

    def _task_canceled(self, event: aq.TaskCanceled, refuse_if: Any) -> None:
        refuse_if(event.task_id not in self.tasks, "unknown_task")
        refuse_if(self.tasks[event.task_id]["canceled_at"] is not None, "task_canceled")
        self.tasks[event.task_id]["canceled_at"] = event.timestamp

    def _dependency_declared(self, event: aq.DependencyDeclared, refuse_if: Any) -> None:
        refuse_if(len(event.depends_on) == 0, "no_dependencies")
        refuse_if(event.task_id not in self.tasks, "unknown_task")
        for prerequisite in event.depends_on:
            refuse_if(prerequisite not in self.tasks, "unknown_task")
        known = self.dependencies.setdefault(event.task_id, [])
        for prerequisite in event.depends_on:
            if prerequisite not in known:
                known.append(prerequisite)

    def _run_created(self, event: aq.RunCreated, refuse_if: Any) -> None:
        run = event.run_instance
        refuse_if(run.task_id not in self.tasks, "unknown_task")
        refuse_if(run.id in self.runs, "run_exists")
        refuse_if(run.state != "scheduled", "run_not_fresh")
        refuse_if(run.current_attempt_id is not None, "run_not_fresh")
        refuse_if(run.attempt_count != 0, "run_not_fresh")
        refuse_if(run.last_state_change_at != run.created_at, "run_not_fresh")
        self.runs[run.id] = {
            "task_id": run.task_id,
            "state": "scheduled",
            "current_attempt_id": None,
            "attempt_count": 0,
            "created_at": run.created_at,
            "scheduled_at": run.scheduled_at,
            "effective_priority": run.effective_priority,
            "last_state_change_at": run.created_at,
            "history": [[None, "scheduled", run.created_at]],
            "attempts": [],
            "lease": None,
        }
        self.tasks[run.task_id]["runs_created"] += 1
        self.tasks[run.task_id]["last_run_at"] = max(
            run.scheduled_at, self.tasks[run.task_id]["last_run_at"] or 0
        )

    def _change_state(self, run: dict[str, Any], new: str, timestamp: int) -> None:
        run["history"].append([run["state"], new, timestamp])
        run["state"] = new
        run["last_state_change_at"] = timestamp
        if new != "running":
            run["current_attempt_id"] = None
        if new in ("completed", "failed", "canceled"):
            run["lease"] = None

    def _run_state_changed(self, event: aq.RunStateChanged, refuse_if: Any) -> None:
        previous, new = str(event.previous_state), str(event.new_state)
        refuse_if(event.run_id not in self.runs, "unknown_run")
        run = self.runs[event.run_id]
        refuse_if(run["state"] != previous, "previous_state")
        refuse_if(new not in TRANSITIONS[previous], "transition")
        has_active_attempt = run["current_attempt_id"] is not None
        refuse_if(
            previous == "running" and new != "canceled" and has_active_attempt, "attempt_active"
        )
        self._change_state(run, new, event.timestamp)

    def _run_canceled(self, event: aq.RunCanceled, refuse_if: Any) -> None:
        refuse_if(event.run_id not in self.runs, "unknown_run")
        run = self.runs[event.run_id]
        refuse_if("canceled" not in TRANSITIONS[run["state"]], "transition")
        self._change_state(run, "canceled", event.timestamp)

    def _run_suspended(self, event: aq.RunSuspended, refuse_if: Any) -> None:
        refuse_if(event.run_id not in self.runs, "unknown_run")
        run = self.runs[event.run_id]
        refuse_if(run["state"] != "running", "previous_state")
        refuse_if(run["current_attempt_id"] is not None, "attempt_active")
        self._change_state(run, "suspended", event.timestamp)

    def _run_resumed(self, event: aq.RunResumed, refuse_if: Any) -> None:
        refuse_if(event.run_id not in self.runs, "unknown_run")
        run = self.runs[event.run_id]
        refuse_if(run["state"] != "suspended", "previous_state")
        self._change_state(run, "ready", event.timestamp)

    def _run_rescheduled(self, event: aq.RunRescheduled, refuse_if: Any) -> None:
        refuse_if(event.run_id not in self.runs, "unknown_run")
        run = self.runs[event.run_id]
        legal = ("scheduled", "ready", "retry_wait", "suspended")
        refuse_if(run["state"] not in legal, "transition")
        run["scheduled_at"] = event.scheduled_at
        run["effective_priority"] = event.effective_priority

    def _attempt_started(self, event: aq.AttemptStarted, refuse_if: Any) -> None:
        refuse_if(event.run_id not in self.runs, "unknown_run")
        run = self.runs[event.run_id]
        refuse_if(run["state"] != "running", "attempt_state")
        refuse_if(run["current_attempt_id"] is not None, "attempt_already_active")
        refuse_if(
            event.attempt_id in [attempt["id"] for attempt in run["attempts"]], "attempt_reused"
        )
        refuse_if(run["attempt_count"] == ATTEMPT_COUNT_MAX, "attempt_count")
        run["current_attempt_id"] = event.attempt_id
        run["attempt_count"] += 1
        run["attempts"].append(
            {
                "id": event.attempt_id,
                "started_at": event.timestamp,
                "finished_at": None,
                "result": None,
                "error": None,
                "output": None,
            }
        )

    def _attempt_finished(self, event: aq.AttemptFinished, refuse_if: Any) -> None:
        refuse_if(event.run_id not in self.runs, "unknown_run")
        run = self.runs[event.run_id]
        refuse_if(run["state"] != "running", "attempt_state")
        refuse_if(run["current_attempt_id"] is None, "attempt_missing")
        refuse_if(run["current_attempt_id"] != event.attempt_id, "attempt_mismatch")
        run["current_attempt_id"] = None
        attempt = next(attempt for attempt in run["attempts"] if attempt["id"] == event.attempt_id)
        attempt["finished_at"] = event.timestamp
        attempt["result"] = str(event.result)
        attempt["error"] = event.error
        attempt["output"] = event.output or None

    def _lease_acquired(self, event: aq.LeaseAcquired, refuse_if: Any) -> None:
        refuse_if(event.run_id not in self.runs, "unknown_run")
        run = self.runs[event.run_id]
        refuse_if(run["state"] not in ("ready", "leased"), "lease_state")
        refuse_if(run["lease"] is not None, "lease_active")
        run["lease"] = {
            "owner": event.owner,
            "expiry": event.expiry,
            "acquired_at": event.timestamp,
            "updated_at": event.timestamp,
        }

    def _lease_heartbeat(self, event: aq.LeaseHeartbeat, refuse_if: Any) -> None:
        refuse_if(event.run_id not in self.runs, "unknown_run")
        run = self.runs[event.run_id]
        refuse_if(run["state"] not in ("leased", "running"), "lease_state")
        refuse_if(run["lease"] is None, "lease_missing")
        refuse_if(run["lease"]["owner"] != event.owner, "lease_owner")
        refuse_if(event.expiry < run["lease"]["expiry"], "lease_regression")
        run["lease"]["expiry"] = event.expiry
        run["lease"]["updated_at"] = event.timestamp

    def _lease_closed(self, event: aq.LeaseExpired | aq.LeaseReleased, refuse_if: Any) -> None:
        refuse_if(event.run_id not in self.runs, "unknown_run")
        run = self.runs[event.run_id]
        refuse_if(run["state"] not in ("ready", "leased", "running"), "lease_state")
        refuse_if(run["lease"] is None, "lease_missing")
        refuse_if(run["lease"]["owner"] != event.owner, "lease_owner")
        refuse_if(run["lease"]["expiry"] != event.expiry, "lease_expiry")
        run["lease"] = None
        if run["state"] == "leased":
            run["state"] = "ready"  # neither history nor last_state_change_at tell of it

    _lease_expired = _lease_closed
    _lease_released = _lease_closed

    def _engine_paused(self, event: aq.EnginePaused, refuse_if: Any) -> None:
        refuse_if(self.engine["paused"], "engine_paused")
        self.engine = {"paused": True, "paused_at": event.timestamp, "resumed_at": None}

    def _engine_resumed(self, event: aq.EngineResumed, refuse_if: Any) -> None:
        refuse_if(not self.engine["paused"], "engine_not_paused")
        refuse_if(event.timestamp < self.engine["paused_at"], "resume_before_pause")
        self.engine["paused"] = False
        self.engine["resumed_at"] = event.timestamp

    def _budget_allocated(self, event: aq.BudgetAllocated, refuse_if: Any) -> None:
        refuse_if(event.task_id not in self.tasks, "unknown_task")
        self.budgets[event.task_id, event.dimension] = {
            "limit": event.limit,
            "consumed": 0,
            "allocated_at": event.timestamp,
            "exhausted": False,
        }

    def _budget_consumed(self, event: aq.BudgetConsumed, refuse_if: Any) -> None:
        refuse_if(event.task_id not in self.tasks, "unknown_task")
        budget = self.budgets.get((event.task_id, event.dimension))
        if budget is not None:
            budget["consumed"] = min(budget["consumed"] + event.amount, CONSUMED_MAX)
            if budget["consumed"] >= budget["limit"]:
                budget["exhausted"] = True

    def _budget_exhausted(self, event: aq.BudgetExhausted, _refuse_if: Any) -> None:
        budget = self.budgets.get((event.task_id, event.dimension))
        if budget is not None:
            budget["exhausted"] = True

    def _budget_replenished(self, event: aq.BudgetReplenished, refuse_if: Any) -> None:
        refuse_if(event.task_id not in self.tasks, "unknown_task")
        refuse_if((event.task_id, event.dimension) not in self.budgets, "budget_not_allocated")
        budget = self.budgets[event.task_id, event.dimension]
        budget["limit"] = event.new_limit
        budget["consumed"] = 0
        budget["exhausted"] = False

    def _subscription_created(self, event: aq.SubscriptionCreated, refuse_if: Any) -> None:
        refuse_if(event.task_id not in self.tasks, "unknown_task")
        refuse_if(event.subscription_id in self.subscriptions, "subscription_exists")
        self.subscriptions[event.subscription_id] = {
            "task_id": event.task_id,
            "filter": event.filter,
            "created_at": event.timestamp,
            "triggered_at": None,
            "canceled_at": None,
        }

    def _subscription_triggered(self, event: aq.SubscriptionTriggered, _refuse_if: Any) -> None:
        if event.subscription_id in self.subscriptions:
            self.subscriptions[event.subscription_id]["triggered_at"] = event.timestamp

    def _subscription_canceled(self, event: aq.SubscriptionCanceled, refuse_if: Any) -> None:
        refuse_if(event.subscription_id not in self.subscriptions, "unknown_subscription")
        refuse_if(
            self.subscriptions[event.subscription_id]["canceled_at"] is not None,
            "subscription_canceled",
        )
        self.subscriptions[event.subscription_id]["canceled_at"] = event.timestamp

    def _actor_registered(self, event: aq.ActorRegistered, _refuse_if: Any) -> None:
        self.actors[event.actor_id] = {
            "identity": event.identity,
            "capabilities": event.capabilities,
            "department": event.department,
            "heartbeat_interval_secs": event.heartbeat_interval_secs,
            "tenant_id": event.tenant_id,
            "registered_at": event.timestamp,
            "last_heartbeat_at": None,
            "deregistered_at": None,
        }

    def _actor_deregistered(self, event: aq.ActorDeregistered, _refuse_if: Any) -> None:
        if event.actor_id in self.actors:
            self.actors[event.actor_id]["deregistered_at"] = event.timestamp

    def _actor_heartbeat(self, event: aq.ActorHeartbeat, _refuse_if: Any) -> None:
        if event.actor_id in self.actors:
            self.actors[event.actor_id]["last_heartbeat_at"] = event.timestamp

    def _tenant_created(self, event: aq.TenantCreated, _refuse_if: Any) -> None:
        self.tenants[event.tenant_id] = {"name": event.name, "created_at": event.timestamp}

    def _role_assigned(self, event: aq.RoleAssigned, _refuse_if: Any) -> None:
        self.roles[event.actor_id, event.tenant_id] = {
            "role": event.role,
            "assigned_at": event.timestamp,
        }

    def _capability_granted(self, event: aq.CapabilityGranted, _refuse_if: Any) -> None:
        self.capabilities[event.actor_id, event.tenant_id, event.capability] = {
            "granted_at": event.timestamp,
            "revoked_at": None,
        }

    def _capability_revoked(self, event: aq.CapabilityRevoked, _refuse_if: Any) -> None:
        grant = self.capabilities.get((event.actor_id, event.tenant_id, event.capability))
        if grant is not None:
            grant["revoked_at"] = event.timestamp

    def _ledger_entry_appended(self, event: aq.LedgerEntryAppended, _refuse_if: Any) -> None:
        self.ledger.append(
            [
                event.entry_id,
                event.tenant_id,
                event.ledger_key,
                event.actor_id,
                event.payload,
                event.timestamp,
            ]
        )

    def _is_waiting(self, task_id: TaskId) -> bool:
        """Whether the task has a run that has not ended, or is to get its first one."""
        if any(
            run["task_id"] == task_id and TRANSITIONS[run["state"]] != []
            for run in self.runs.values()
        ):
            return True
        task = self.tasks[task_id]
        if task["canceled_at"] is not None or task["runs_created"] > 0:
            return False
        return not isinstance(task["spec"].run_policy, Cron)

    def _runs_purged(self, event: aq.RunsPurged, refuse_if: Any) -> None:
        over = (
            (self.subscriptions, event.subscription_ids, "canceled_at"),
            (self.actors, event.actor_ids, "deregistered_at"),
        )
        for run_id in event.run_ids:
            refuse_if(run_id not in self.runs, "unknown_run")
            refuse_if(TRANSITIONS[self.runs[run_id]["state"]] != [], "not_finished")
        for task_id in event.task_ids:
            refuse_if(task_id not in self.tasks, "unknown_task")
        for rows, names, end in over:
            for name in names:
                refuse_if(
                    name not in rows,
                    "unknown_subscription" if rows is self.subscriptions else "unknown_actor",
                )
                refuse_if(rows[name][end] is None, "not_finished")
        refuse_if(event.ledger_entries > len(self.ledger), "unknown_ledger_entry")
        refuse_if(event.tombstones > len(self.tombstones), "unknown_tombstone")
        lists = {
            "run": event.run_ids,
            "task": event.task_ids,
            "subscription": event.subscription_ids,
            "actor": event.actor_ids,
        }
        for kind, named in lists.items():
            refuse_if(len(set(named)) != len(named), f"unknown_{kind}")
        tasks_with_runs = [
            run["task_id"] for run_id, run in self.runs.items() if run_id not in event.run_ids
        ]
        waiting = [
            task_id
            for task_id in self.dependencies
            if task_id not in event.task_ids and self._is_waiting(task_id)
        ]
        needed = [task_id for dependent in waiting for task_id in self.dependencies[dependent]]
        for task_id in event.task_ids:
            refuse_if(task_id in tasks_with_runs or task_id in needed, "not_finished")
        for rows, names, _end in over:
            for name in names:
                del rows[name]
        del self.ledger[: event.ledger_entries]
        for task_id in list(self.tombstones)[: event.tombstones]:
            del self.tombstones[task_id]
        if event.kept_until is not None:
            self.tombstones.update(dict.fromkeys(event.task_ids, event.kept_until))
        for given in (self.roles, self.capabilities):
            for key in [key for key in given if key[0] in event.actor_ids]:
                del given[key]
        for run_id in event.run_ids:
            run = self.runs.pop(run_id)
            if run["state"] == "completed":
                self.tasks[run["task_id"]]["completed_purged"] = True
        for task_id in event.task_ids:
            del self.tasks[task_id]
            self.dependencies.pop(task_id, None)
            for dependent, ids in list(self.dependencies.items()):
                self.dependencies[dependent] = [known for known in ids if known != task_id]
                if not self.dependencies[dependent]:
                    del self.dependencies[dependent]
        for rows in (self.budgets, self.subscriptions):
            for key, row in list(rows.items()):
                task_id = row["task_id"] if rows is self.subscriptions else key[0]
                if task_id in event.task_ids:
                    del rows[key]

    # --- The JSON form of the conformance vectors -------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the whole projection as the vectors print it."""
        return {
            "latest_sequence": self.latest_sequence,
            "engine": dict(self.engine),
            "tasks": {str(task_id): task_to_json(task) for task_id, task in self.tasks.items()},
            "runs": {str(run_id): run_to_json(run) for run_id, run in self.runs.items()},
            "dependencies": {
                str(task_id): sorted(map(str, ids)) for task_id, ids in self.dependencies.items()
            },
            "budgets": {
                f"{task_id}/{dimension}": [
                    row["limit"],
                    row["consumed"],
                    row["allocated_at"],
                    row["exhausted"],
                ]
                for (task_id, dimension), row in self.budgets.items()
            },
            "subscriptions": {
                str(key): [
                    str(row["task_id"]),
                    row["created_at"],
                    row["triggered_at"],
                    row["canceled_at"],
                ]
                for key, row in self.subscriptions.items()
            },
            "actors": {
                str(actor_id): actor_to_json(actor) for actor_id, actor in self.actors.items()
            },
            "tenants": {
                str(key): [row["name"], row["created_at"]] for key, row in self.tenants.items()
            },
            "roles": {
                f"{actor_id}/{tenant_id}": [named_to_json(row["role"]), row["assigned_at"]]
                for (actor_id, tenant_id), row in self.roles.items()
            },
            "capabilities": sorted(
                (
                    [
                        str(actor_id),
                        str(tenant_id),
                        named_to_json(capability),
                        row["granted_at"],
                        row["revoked_at"],
                    ]
                    for (actor_id, tenant_id, capability), row in self.capabilities.items()
                ),
                key=lambda row: json.dumps(row, separators=(",", ":"), ensure_ascii=False),
            ),
            "ledger": [
                [
                    str(entry),
                    str(tenant),
                    key,
                    None if actor is None else str(actor),
                    payload.hex(),
                    timestamp,
                ]
                for entry, tenant, key, actor, payload, timestamp in self.ledger
            ],
        }


def text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def named_to_json(named: Any) -> Any:
    """Return a role's or a capability's form: its name, or the text of a custom one."""
    return named.name if named.text is None else {"custom": named.text}


def task_to_json(task: dict[str, Any]) -> dict[str, Any]:
    spec = task["spec"]
    return {
        "created_at": task["created_at"],
        "canceled_at": task["canceled_at"],
        "payload": spec.payload.data.hex(),
        "content_type": spec.payload.content_type,
        "priority": spec.metadata.priority,
        "tags": list(spec.metadata.tags),
        "description": spec.metadata.description,
        "max_attempts": spec.constraints.max_attempts,
        "timeout_secs": spec.constraints.timeout_secs,
        "concurrency_key": spec.constraints.concurrency_key,
        "parent_task_id": text_or_none(spec.parent_task_id),
        "tenant_id": text_or_none(spec.tenant_id),
    }


def run_to_json(run: dict[str, Any]) -> dict[str, Any]:
    lease = run["lease"]
    return {
        "task_id": str(run["task_id"]),
        "state": run["state"],
        "current_attempt_id": text_or_none(run["current_attempt_id"]),
        "attempt_count": run["attempt_count"],
        "created_at": run["created_at"],
        "scheduled_at": run["scheduled_at"],
        "effective_priority": run["effective_priority"],
        "last_state_change_at": run["last_state_change_at"],
        "history": [list(entry) for entry in run["history"]],
        "attempts": [
            [
                str(attempt["id"]),
                attempt["started_at"],
                attempt["finished_at"],
                attempt["result"],
                attempt["error"],
                None if attempt["output"] is None else attempt["output"].hex(),
            ]
            for attempt in run["attempts"]
        ],
        "lease": None
        if lease is None
        else [lease["owner"], lease["expiry"], lease["acquired_at"], lease["updated_at"]],
    }


def actor_to_json(actor: dict[str, Any]) -> list[Any]:
    return [
        actor["identity"],
        list(actor["capabilities"]),
        actor["department"],
        actor["heartbeat_interval_secs"],
        text_or_none(actor["tenant_id"]),
        actor["registered_at"],
        actor["last_heartbeat_at"],
        actor["deregistered_at"],
    ]
