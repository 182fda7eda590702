"""The C table as tests use it: events in, a dump of everything it answers out, and memory that can
run out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, Self

import actionqueue as aq
from _wal_native.events import (
    capability_from_bytes,
    encode_event,
    filter_from_bytes,
    registration_from_bytes,
    role_from_bytes,
    task_spec_from_bytes,
)
from actionqueue import (
    ActorId,
    ActorRegistration,
    AttemptId,
    AttemptResultKind,
    BudgetDimension,
    Capability,
    EventFilter,
    LedgerEntryId,
    Role,
    RunId,
    RunInstance,
    RunState,
    SubscriptionId,
    TaskId,
    TaskSpec,
    TenantId,
)
from actionqueue.errors import MalformedEventError
from actionqueue.model.base import event_of
from tests.support.command_source import CommandSource
from tests.support.core.door import ffi, lib
from tests.support.core.log_driver import status_name
from tests.support.model import TRANSITIONS, Model

STATES = tuple(RunState)
RESULTS = tuple(AttemptResultKind)
DIMENSIONS = tuple(BudgetDimension)
SEED = bytes(range(16))


class Memory:
    """An allocator that counts, checks that blocks are returned once, and fails on request."""

    def __init__(self) -> None:
        self.live: set[int] = set()
        self.allocations = 0
        self.fail_at: int | None = None
        """Which allocation fails, counted from now; it, and all after it."""
        self.callbacks = (
            ffi.callback("void *(void *, size_t)", self._allocate),
            ffi.callback("void(void *, void *)", self._release),
        )
        self.functions = ffi.new(
            "aqw_memory *", {"allocate": self.callbacks[0], "release": self.callbacks[1]}
        )

    def fail_after(self, allocations: int | None) -> None:
        """Let so many allocations succeed and then none; None: let all succeed."""
        self.fail_at = None if allocations is None else self.allocations + allocations

    def _allocate(self, _context: Any, size: int) -> Any:
        if self.fail_at is not None and self.allocations >= self.fail_at:
            return ffi.NULL
        self.allocations += 1
        block = lib.calloc(1, size)
        self.live.add(int(ffi.cast("uintptr_t", block)))
        return block

    def _release(self, _context: Any, block: Any) -> None:
        self.live.remove(int(ffi.cast("uintptr_t", block)))
        lib.free(block)


def data_of(value: Any) -> bytes:
    return bytes(ffi.buffer(value.data, value.size)) if value.size else b""


def id_of(id_type: Any, data: Any) -> Any:
    return id_type.from_bytes(bytes(data))


def as_c(event: aq.Event) -> tuple[Any, Any]:
    """Return the C event and the payload that it points into."""
    encoded = encode_event(event)
    payload = ffi.new("uint8_t[]", encoded or b"\0")
    c_event = ffi.new("aqw_event *")
    status = lib.aqw_event_decode(event.kind, event.sequence, payload, len(encoded), c_event)
    assert status == lib.AQW_OK
    return c_event, payload


class Table:
    """A C table. Close it, or use it in a ``with`` statement."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory
        self.table = lib.aqw_table_new(ffi.NULL if memory is None else memory.functions, SEED)
        if self.table == ffi.NULL:
            raise MemoryError

    def close(self) -> None:
        lib.aqw_table_free(self.table)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def apply(self, event: aq.Event) -> str:
        """Return the status's name."""
        c_event, _payload = as_c(event)
        return status_name(lib.aqw_table_apply(self.table, c_event))

    def must_apply(self, *events: aq.Event) -> None:
        for event in events:
            assert self.apply(event) == "ok", event

    def begin(self) -> str:
        return status_name(lib.aqw_table_begin(self.table))

    def commit(self) -> None:
        lib.aqw_table_commit(self.table)

    def rollback(self) -> None:
        lib.aqw_table_rollback(self.table)

    # --- Reading ----------------------------------------------------------------------------------

    @property
    def counts(self) -> Any:
        counts = ffi.new("aqw_table_counts *")
        lib.aqw_table_counts_get(self.table, counts)
        return counts

    def view(self, kind: str, row: int) -> Any:
        view = ffi.new(f"aqw_{kind}_view *")
        getattr(lib, f"aqw_table_{kind}")(self.table, row, view)
        return view

    def views(self, kind: str, count: int) -> Iterator[Any]:
        return (self.view(kind, row) for row in range(1, count + 1))

    def rows(self, kind: str) -> Iterator[int]:
        """Walk the rows of a kind of which some may be purged."""
        code = getattr(lib, f"AQW_ROW_{kind.upper()}")
        row = 0
        while row := (
            lib.aqw_table_next_parent(self.table, row)
            if kind == "parent"
            else lib.aqw_table_next(self.table, code, row)
        ):
            yield row

    def chain(self, kind: str, row: int, link: str = "next") -> Iterator[Any]:
        while row:
            view = self.view(kind, row)
            yield view
            row = getattr(view, link)

    def find(self, kind: str, *key: Any) -> int:
        row: int = getattr(lib, f"aqw_table_find_{kind}")(self.table, *key)
        return row

    def dump(self) -> dict[str, Any]:
        """Return all that the table holds, and that every row is found by its key."""
        counts = self.counts
        engine = ffi.new("aqw_engine_view *")
        lib.aqw_table_engine(self.table, engine)
        return {
            "latest_sequence": lib.aqw_table_latest_sequence(self.table),
            "engine": [
                bool(engine.is_paused),
                engine.paused_at if engine.has_paused_at else None,
                engine.resumed_at if engine.has_resumed_at else None,
            ],
            "counts": {
                name: list(getattr(counts, name))
                if name == "runs_by_state"
                else getattr(counts, name)
                for name in dir(counts)
                if name != "memory_bytes"
            },
            "tasks": [self._task(row) for row in self.rows("task")],
            "runs": [self._run(row) for row in self.rows("run")],
            "parents": [self._parent(row) for row in self.rows("parent")],
            "budgets": [self._budget(row) for row in self.rows("budget")],
            "subscriptions": [self._subscription(row) for row in self.rows("subscription")],
            "actors": [self._actor(row) for row in self.rows("actor")],
            "tenants": [self._tenant(row) for row in range(1, counts.tenants + 1)],
            "roles": [self._role(row) for row in self.rows("role")],
            "capabilities": [self._capability(row) for row in self.rows("capability")],
            "ledger": [self._ledger(self.view("ledger", row)) for row in self.rows("ledger")],
            "tombstones": [self._tombstone(row) for row in self.rows("tombstone")],
        }

    def _task(self, row: int) -> list[Any]:
        view = self.view("task", row)
        assert self.find("task", view.task_id) == row
        task_id = id_of(TaskId, view.task_id)
        runs = [
            id_of(RunId, run.run_id) for run in self.chain("run", view.first_run, "next_in_task")
        ]
        assert len(runs) == view.run_count
        prerequisites = [
            id_of(TaskId, dependency.depends_on)
            for dependency in self.chain("dependency", view.first_dependency, "next_in_task")
        ]
        spec = task_spec_from_bytes(task_id, data_of(view.spec))
        canceled_at = view.canceled_at if view.is_canceled else None
        last_run_at = view.last_run_at if view.has_last_run else None
        return [
            task_id,
            view.created_at,
            canceled_at,
            spec,
            runs,
            sorted(prerequisites, key=str),
            view.runs_created,
            last_run_at,
            view.completed_purged != 0,
        ]

    def _run(self, row: int) -> list[Any]:
        view = self.view("run", row)
        assert self.find("run", view.run_id) == row
        assert lib.aqw_table_run_state(self.table, row) == view.state
        assert lib.aqw_table_run_attempt_count(self.table, row) == view.attempt_count
        lease = view.lease
        return [
            id_of(RunId, view.run_id),
            id_of(TaskId, view.task_id),
            STATES[view.state],
            id_of(AttemptId, view.active_attempt_id) if view.has_active_attempt else None,
            view.attempt_count,
            view.created_at,
            view.scheduled_at,
            view.effective_priority,
            view.last_state_change_at,
            [data_of(lease.owner), lease.expiry, lease.acquired_at, lease.updated_at]
            if view.has_lease
            else None,
            [
                [STATES[entry.from_state], STATES[entry.to_state], entry.timestamp]
                for entry in self.chain("history", view.first_history)
            ],
            [self._attempt(row, attempt) for attempt in self.chain("attempt", view.first_attempt)],
        ]

    def _attempt(self, run: int, view: Any) -> list[Any]:
        assert lib.aqw_table_run_had_attempt(self.table, run, view.attempt_id)
        return [
            id_of(AttemptId, view.attempt_id),
            view.started_at,
            view.finished_at if view.is_finished else None,
            RESULTS[view.result] if view.is_finished else None,
            None if view.error.data == ffi.NULL else data_of(view.error).decode(),
            None if view.output.data == ffi.NULL else data_of(view.output),
        ]

    def _parent(self, row: int) -> list[Any]:
        view = self.view("parent", row)
        assert self.find("parent", view.parent_task_id) == row
        children = [id_of(TaskId, child.task_id) for child in self.chain("child", view.first_child)]
        return [id_of(TaskId, view.parent_task_id), children]

    def _budget(self, row: int) -> list[Any]:
        view = self.view("budget", row)
        assert self.find("budget", view.task_id, view.dimension) == row
        key = [id_of(TaskId, view.task_id), DIMENSIONS[view.dimension]]
        return [*key, view.limit, view.consumed, view.allocated_at, bool(view.is_exhausted)]

    def _subscription(self, row: int) -> list[Any]:
        view = self.view("subscription", row)
        assert self.find("subscription", view.subscription_id) == row
        return [
            id_of(SubscriptionId, view.subscription_id),
            id_of(TaskId, view.task_id),
            filter_from_bytes(data_of(view.filter)),
            view.created_at,
            view.triggered_at if view.is_triggered else None,
            view.canceled_at if view.is_canceled else None,
        ]

    def _actor(self, row: int) -> list[Any]:
        view = self.view("actor", row)
        assert self.find("actor", view.actor_id) == row
        return [
            registration_from_bytes(id_of(ActorId, view.actor_id), data_of(view.registration)),
            view.registered_at,
            view.last_heartbeat_at if view.has_heartbeat else None,
            view.deregistered_at if view.is_deregistered else None,
        ]

    def _tenant(self, row: int) -> list[Any]:
        view = self.view("tenant", row)
        assert self.find("tenant", view.tenant_id) == row
        return [id_of(TenantId, view.tenant_id), data_of(view.name).decode(), view.created_at]

    def _role(self, row: int) -> list[Any]:
        view = self.view("role", row)
        assert self.find("role", view.actor_id, view.tenant_id) == row
        key = [id_of(ActorId, view.actor_id), id_of(TenantId, view.tenant_id)]
        return [*key, role_from_bytes(data_of(view.role)), view.assigned_at]

    def _capability(self, row: int) -> list[Any]:
        view = self.view("capability", row)
        assert self.find("capability", view.actor_id, view.tenant_id, view.capability) == row
        key = [id_of(ActorId, view.actor_id), id_of(TenantId, view.tenant_id)]
        capability = capability_from_bytes(data_of(view.capability))
        return [*key, capability, view.granted_at, view.revoked_at if view.is_revoked else None]

    def _tombstone(self, row: int) -> list[Any]:
        view = self.view("tombstone", row)
        assert self.find("tombstone", view.task_id) == row
        return [id_of(TaskId, view.task_id), view.until]

    def _ledger(self, view: Any) -> list[Any]:
        return [
            id_of(LedgerEntryId, view.entry_id),
            id_of(TenantId, view.tenant_id),
            data_of(view.ledger_key).decode(),
            id_of(ActorId, view.actor_id) if view.has_actor else None,
            data_of(view.payload),
            view.timestamp,
        ]


def dump_of(model: Model) -> dict[str, Any]:
    """Return what a table's dump must be after the events that the model has applied."""
    runs = [_run_of(run_id, run) for run_id, run in model.runs.items()]
    parents: dict[Any, list[Any]] = {}
    for task_id, task in model.tasks.items():
        if task["spec"].parent_task_id is not None:
            parents.setdefault(task["spec"].parent_task_id, []).append(task_id)
    return {
        "latest_sequence": model.latest_sequence,
        "engine": list(model.engine.values()),
        "counts": {
            "tasks": len(model.tasks),
            "runs": len(runs),
            "runs_by_state": [sum(run[2] is state for run in runs) for state in STATES],
            "history": sum(len(run[10]) for run in runs),
            "attempts": sum(len(run[11]) for run in runs),
            "leases": sum(run[9] is not None for run in runs),
            "dependencies": sum(map(len, model.dependencies.values())),
            "parents": len(parents),
            "budgets": len(model.budgets),
            "subscriptions": len(model.subscriptions),
            "actors": len(model.actors),
            "tenants": len(model.tenants),
            "roles": len(model.roles),
            "capabilities": len(model.capabilities),
            "ledger": len(model.ledger),
            "tombstones": len(model.tombstones),
        },
        "tasks": [
            [
                task_id,
                task["created_at"],
                task["canceled_at"],
                task["spec"],
                [run[0] for run in runs if run[1] == task_id],
                sorted(model.dependencies.get(task_id, []), key=str),
                task["runs_created"],
                task["last_run_at"],
                task["completed_purged"],
            ]
            for task_id, task in model.tasks.items()
        ],
        "runs": runs,
        "parents": [[parent, children] for parent, children in parents.items()],
        "budgets": [[*key, *budget.values()] for key, budget in model.budgets.items()],
        "subscriptions": [
            [key, *subscription.values()] for key, subscription in model.subscriptions.items()
        ],
        "actors": [_actor_of(actor_id, actor) for actor_id, actor in model.actors.items()],
        "tenants": [[tenant_id, *tenant.values()] for tenant_id, tenant in model.tenants.items()],
        "roles": [[*key, *role.values()] for key, role in model.roles.items()],
        "capabilities": [[*key, *grant.values()] for key, grant in model.capabilities.items()],
        "ledger": model.ledger,
        "tombstones": [[task_id, until] for task_id, until in model.tombstones.items()],
    }


def _run_of(run_id: RunId, run: dict[str, Any]) -> list[Any]:
    lease = run["lease"]
    return [
        run_id,
        run["task_id"],
        RunState(run["state"]),
        run["current_attempt_id"],
        run["attempt_count"],
        run["created_at"],
        run["scheduled_at"],
        run["effective_priority"],
        run["last_state_change_at"],
        None if lease is None else [lease["owner"].encode(), *list(lease.values())[1:]],
        run["history"][1:],
        [list(attempt.values()) for attempt in run["attempts"]],
    ]


def _actor_of(actor_id: ActorId, actor: dict[str, Any]) -> list[Any]:
    registration = ActorRegistration(
        actor_id,
        actor["identity"],
        actor["capabilities"],
        actor["heartbeat_interval_secs"],
        actor["department"],
        actor["tenant_id"],
    )
    return [
        registration,
        actor["registered_at"],
        actor["last_heartbeat_at"],
        actor["deregistered_at"],
    ]


class EventSource:
    """Random events, most of which fit the model's state.

    They are those of commands that nobody has validated, and the three kinds that no command makes.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.commands = CommandSource(random)
        self.purged: list[RunId | TaskId | SubscriptionId | ActorId] = []
        """What may have been purged, to be used again."""

    def next(self, model: Model) -> aq.Event:
        while True:
            event = self._next(model)
            try:
                encode_event(event)
            except MalformedEventError:  # a run that is not fresh, which has no payload
                continue
            return event

    def _next(self, model: Model) -> aq.Event:
        sequence = model.latest_sequence + self.random.choice((1,) * 30 + (2, 9, 0))
        choice = self.random.random()
        if model.runs and choice < 0.02:
            return aq.RunCanceled(
                sequence, self.random.choice(list(model.runs)), self.commands.clock
            )
        if model.budgets and choice < 0.04:
            task_id, dimension = self.random.choice(list(model.budgets))
            return aq.BudgetExhausted(sequence, task_id, dimension, self.commands.clock)
        if choice > 0.97 and model.tasks:
            return (
                self._again(model, sequence)
                if self.purged and choice > 0.985
                else self._purge(model, sequence)
            )
        return event_of(self.commands.next(model), sequence)

    def _few(self, values: Iterable[Any]) -> list[Any]:
        return [value for value in values if self.random.random() < 0.5]

    def _purge(self, model: Model, sequence: int) -> aq.Event:
        """Return a purge of ended runs, of tasks without others, and of what is over; mostly of
        nothing that is still needed.
        """
        runs = self._few(
            run_id for run_id, run in model.runs.items() if not TRANSITIONS[run["state"]]
        )
        kept = {run["task_id"] for run_id, run in model.runs.items() if run_id not in runs}
        tasks = self._few(task_id for task_id in model.tasks if task_id not in kept)
        for _ in tasks if self.random.random() < 0.8 else ():
            needed = {
                known
                for task_id, ids in model.dependencies.items()
                if task_id not in tasks
                for known in ids
            }
            tasks = [task_id for task_id in tasks if task_id not in needed]
        if not runs + tasks or self.random.random() < 0.2:
            runs += self.random.choice(
                ([], runs[:1], list(model.runs)[:1], [self.commands._id(RunId)])
            )
            tasks += self.random.choice(
                (tasks[:1], [self.random.choice(list(model.tasks))], [self.commands._id(TaskId)])
            )
        over = [
            self._few(key for key, row in rows.items() if row[name] is not None)
            for rows, name in self._ends(model)
        ]
        if self.random.random() < 0.3:
            rows, one = self.random.choice(
                list(zip((model.subscriptions, model.actors), over, strict=True))
            )
            one += self.random.choice(
                (
                    one[:1],
                    list(rows)[:1],
                    [self.commands._id(SubscriptionId if one is over[0] else ActorId)],
                )
            )
        lines = self.random.choice(
            (0, 0, 0, 1, len(model.ledger) // 2, len(model.ledger), len(model.ledger) + 1)
        )
        tombstones = self.random.choice(
            (0, 0, 0, 1, len(model.tombstones), len(model.tombstones) + 1)
        )
        until = self.random.choice((None, None, self.commands.clock + 5)) if tasks else None
        if not runs + tasks + over[0] + over[1] and not lines + tombstones:
            runs = [self.commands._id(RunId)]
        self.random.shuffle(runs)
        self.purged += [*runs, *tasks, *over[0], *over[1]]
        return aq.RunsPurged(
            sequence,
            tuple(runs),
            tuple(tasks),
            self.commands.clock,
            *map(tuple, over),
            lines,
            tombstones,
            until,
        )

    def _ends(self, model: Model) -> tuple[tuple[dict[Any, Any], str], ...]:
        return ((model.subscriptions, "canceled_at"), (model.actors, "deregistered_at"))

    def _again(self, model: Model, sequence: int) -> aq.Event:
        """Return the creation of something that was purged once."""
        used, clock, task_id = (
            self.random.choice(self.purged),
            self.commands.clock,
            self.random.choice(list(model.tasks)),
        )
        if isinstance(used, RunId):
            return aq.RunCreated(
                sequence,
                RunInstance.scheduled(task_id, id=used, scheduled_at=clock, created_at=clock),
            )
        if isinstance(used, SubscriptionId):
            return aq.SubscriptionCreated(
                sequence, used, task_id, EventFilter.custom("again"), clock
            )
        if isinstance(used, ActorId):
            tenant_id = TenantId.from_bytes(used.bytes)
            return self.random.choice(
                (
                    aq.ActorRegistered(sequence, used, "again", ("a",), None, 1, None, clock),
                    aq.RoleAssigned(sequence, used, Role.OPERATOR, tenant_id, clock),
                    aq.CapabilityGranted(sequence, used, Capability.CAN_SUBMIT, tenant_id, clock),
                )
            )
        return aq.TaskCreated(
            sequence, TaskSpec(used, payload=b"again", parent_task_id=task_id), clock
        )
