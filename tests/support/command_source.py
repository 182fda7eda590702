"""Random commands that mostly fit a projection's state, and sometimes do not: one source for all 29
kinds.

It takes any ``random.Random``: hypothesis' own for properties that shrink, a seeded one for long
streams.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

import actionqueue as aq
from actionqueue import (
    ActorId,
    ActorRegistration,
    AttemptId,
    AttemptOutcome,
    BudgetDimension,
    Capability,
    ConcurrencyKeyHoldPolicy,
    Cron,
    DepartmentId,
    EventFilter,
    LedgerEntry,
    LedgerEntryId,
    Once,
    Repeat,
    Role,
    RunId,
    RunInstance,
    RunState,
    SafetyLevel,
    SubscriptionId,
    TaskConstraints,
    TaskId,
    TaskMetadata,
    TaskPayload,
    TaskSpec,
    TenantId,
    TenantRegistration,
)
from tests.support.model import TRANSITIONS, Model

LEASE_KINDS = ("lease_acquire", "lease_heartbeat", "lease_expire", "lease_release")
RUN_KINDS = (
    "run_state_transition",
    "attempt_start",
    "attempt_finish",
    *LEASE_KINDS,
    "run_suspend",
    "run_resume",
    "run_reschedule",
)
OTHER_KINDS = (
    "engine_pause", "engine_resume", "task_cancel", "dependency_declare",
    "budget_allocate", "budget_consume", "budget_replenish",
    "subscription_create", "subscription_cancel", "subscription_trigger",
    "actor_register", "actor_deregister", "actor_heartbeat",
    "tenant_create", "role_assign", "capability_grant", "capability_revoke", "ledger_append",
)  # fmt: skip
TEXTS = ("", "a", "worker-1", "wörker-3", "\x00", "日本語", "x" * 300)
LARGE = 2**64 - 1


class CommandSource:
    """Builds one command after the other, each from what the model says at that time.

    ``poison`` allows the commands that this library refuses beyond the original's checks: a state
    left under an active attempt, a resume before its pause, an attempt id used again, a run that is
    not new.
    """

    def __init__(self, random: Random, *, poison: bool = True) -> None:
        self.random = random
        self.poison = poison
        self.clock = 100

    def stream(self, length: int, model: Model, submit: Any) -> None:
        """Build ``length`` commands and hand each to ``submit(command)``, which may change the
        model.
        """
        for _ in range(length):
            submit(self.next(model))

    def next(self, model: Model) -> aq.MutationCommand:
        """Build the next command."""
        random = self.random
        if not model.tasks or random.random() < 0.08:
            kind = "task_create"
        elif not model.runs or random.random() < 0.08:
            kind = "run_create"
        elif random.random() < 0.75:
            kind = "run"
        else:
            kind = random.choice(OTHER_KINDS)
        self.clock = max(0, self.clock + random.choice((0, 1, 1, 3, 3, 7, -2)))
        sequence = self._sequence(model)
        if kind == "run":
            return self._run_command(model, sequence)
        command: aq.MutationCommand = getattr(self, f"_{kind}")(model, sequence)
        return command

    # --- Parts ------------------------------------------------------------------------------------

    def _sequence(self, model: Model) -> int | None:
        """Mostly leave the sequence to the authority, sometimes say the right one, rarely a wrong
        one.
        """
        wanted = model.latest_sequence + 1
        return self.random.choice(
            (None,) * 60 + (wanted,) * 37 + (max(0, wanted - 1), wanted + 1, LARGE)
        )

    def _id(self, id_type: Any) -> Any:
        return id_type.from_bytes((self.random.getrandbits(126) + 1).to_bytes(16, "big"))

    def _known(self, ids: Iterable[Any], id_type: Any, *, unknown: float = 0.05) -> Any:
        """Mostly one of the ids, the later ones more often; else a new one."""
        known = list(ids)
        if not known or self.random.random() < unknown:
            return self._id(id_type)
        return self.random.choice(known[-5:] if self.random.random() < 0.7 else known)

    def _number(self) -> int:
        return self.random.choice((0, 1, 2, 50, 100, LARGE))

    def _text(self, *, empty: bool = True) -> str:
        return self.random.choice(TEXTS if empty else TEXTS[1:])

    def _blob(self) -> bytes:
        return self.random.choice((b"", b"\x00", b"payload", b"\xff" * 40))

    def _maybe(self, value: Any) -> Any:
        return value if self.random.random() < 0.5 else None

    def _few(self, texts: Sequence[str], *, least: int = 0) -> tuple[str, ...]:
        return tuple(self.random.choice(texts) for _ in range(self.random.randrange(least, 4)))

    # --- Tasks and runs ---------------------------------------------------------------------------

    def _task_create(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        random = self.random
        spec = TaskSpec(
            id=self._known(model.tasks, TaskId, unknown=0.9),
            payload=TaskPayload(self._blob(), self._maybe("application/json")),
            run_policy=random.choice(
                (
                    Once(),
                    Once(),
                    Repeat(3, 60),
                    Cron("0 30 9 * * 2-6 *", None),
                    Cron("0 0 0 1 1 ? 2030", 5),
                )
            ),
            constraints=TaskConstraints(
                max_attempts=random.choice((1, 4, 2**32 - 1)),
                timeout_secs=self._maybe(30),
                concurrency_key=self._maybe("key"),
                concurrency_key_hold_policy=random.choice(list(ConcurrencyKeyHoldPolicy)),
                safety_level=random.choice(list(SafetyLevel)),
                required_capabilities=self._maybe(self._few(("gpu", "ü"), least=1)),
            ),
            metadata=TaskMetadata(
                tags=self._few(TEXTS),
                priority=random.choice((0, -(2**31), 2**31 - 1)),
                description=self._maybe("d"),
            ),
            parent_task_id=self._maybe(self._known(model.tasks, TaskId)),
            tenant_id=self._maybe(self._known(model.tenants, TenantId)),
        )
        return aq.TaskCreateCommand(sequence, spec, self.clock)

    def _run_create(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        random = self.random
        run_id, task_id = (
            self._known(model.runs, RunId, unknown=0.93),
            self._known(model.tasks, TaskId),
        )
        if random.random() < 0.03:
            run = RunInstance.ready(
                task_id,
                id=run_id,
                scheduled_at=self.clock,
                created_at=self.clock,
                effective_priority=2,
            )
        elif self.poison and random.random() < 0.05:
            run = random.choice(self._runs_with_a_past(run_id, task_id))
        else:
            run = RunInstance.scheduled(
                task_id,
                id=run_id,
                scheduled_at=self.clock + random.randrange(9),
                created_at=self.clock,
            )
        return aq.RunCreateCommand(sequence, run)

    def _runs_with_a_past(self, run_id: RunId, task_id: TaskId) -> list[RunInstance]:
        clock, attempt_id = self.clock, self._id(AttemptId)
        return [
            RunInstance(run_id, task_id, RunState.SCHEDULED, attempt_id, 0, clock, clock, 0, clock),
            RunInstance(run_id, task_id, RunState.SCHEDULED, None, 1, clock, clock, 0, clock),
            RunInstance(run_id, task_id, RunState.SCHEDULED, None, 0, clock, clock, 0, clock + 1),
        ]

    def _task_cancel(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.TaskCancelCommand(sequence, self._known(model.tasks, TaskId), self.clock)

    def _dependency_declare(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        prerequisites = tuple(
            self._known(model.tasks, TaskId) for _ in range(self.random.randrange(4))
        )
        return aq.DependencyDeclareCommand(
            sequence, self._known(model.tasks, TaskId), prerequisites, self.clock
        )

    def _run_command(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        """A command about a run: mostly a run that is not finished, mostly a command that fits its
        state.
        """
        random = self.random
        live = [run_id for run_id, run in model.runs.items() if TRANSITIONS[run["state"]]]
        run_id = self._known(live if live and random.random() < 0.9 else model.runs, RunId)
        run = model.runs.get(run_id)
        kind = random.choice(RUN_KINDS)
        if run is not None and random.random() < 0.85:
            kind = random.choice(self._fitting_kinds(run))
        command: aq.MutationCommand = getattr(self, f"_{kind}")(run_id, run, sequence)
        return command

    def _fitting_kinds(self, run: dict[str, Any]) -> tuple[str, ...]:
        lease_kinds = LEASE_KINDS[:1] if run["lease"] is None else LEASE_KINDS[1:]
        if run["state"] == "running" and run["current_attempt_id"] is not None:
            leaving = ("run_state_transition", "run_suspend") if self.poison else ()
            return ("attempt_finish", "attempt_finish", *lease_kinds, *leaving)
        if run["state"] == "running":
            return (
                "attempt_start",
                "attempt_start",
                "run_state_transition",
                "run_suspend",
                *lease_kinds,
            )
        if run["state"] in ("ready", "leased"):
            leaving = ("run_state_transition", "run_state_transition")
            moving = ("run_reschedule",) if run["state"] == "ready" else ()
            return (*leaving, *moving, *lease_kinds)
        leaving = ("run_resume",) if run["state"] == "suspended" else ()
        return (*leaving, "run_state_transition", "run_reschedule")

    def _run_state_transition(
        self, run_id: RunId, run: Any, sequence: int | None
    ) -> aq.MutationCommand:
        random = self.random
        previous = (
            run["state"]
            if run is not None and random.random() < 0.95
            else random.choice(list(TRANSITIONS))
        )
        onward = [
            state
            for state in TRANSITIONS[previous]
            if state != "canceled" or random.random() < 0.15
        ]
        new = (
            random.choice(onward)
            if onward and random.random() < 0.95
            else random.choice(list(TRANSITIONS))
        )
        if not self.poison and run is not None and run["current_attempt_id"] is not None:
            new = "canceled"
        return aq.RunStateTransitionCommand(
            sequence, run_id, RunState(previous), RunState(new), self.clock
        )

    def _run_suspend(self, run_id: RunId, run: Any, sequence: int | None) -> aq.MutationCommand:
        if not self.poison and run is not None and run["current_attempt_id"] is not None:
            return self._attempt_finish(run_id, run, sequence)
        return aq.RunSuspendCommand(sequence, run_id, self._maybe(self._text()), self.clock)

    def _run_resume(self, run_id: RunId, _run: Any, sequence: int | None) -> aq.MutationCommand:
        return aq.RunResumeCommand(sequence, run_id, self.clock)

    def _run_reschedule(self, run_id: RunId, _run: Any, sequence: int | None) -> aq.MutationCommand:
        scheduled_at = max(0, self.clock + self.random.randrange(-9, 50))
        priority = self.random.randrange(-2, 3)
        return aq.RunRescheduleCommand(sequence, run_id, scheduled_at, priority, self.clock)

    # --- Attempts and leases ----------------------------------------------------------------------

    def _attempt_start(self, run_id: RunId, run: Any, sequence: int | None) -> aq.MutationCommand:
        used = [attempt["id"] for attempt in run["attempts"]] if run is not None else []
        is_reused = self.poison and used and self.random.random() < 0.2
        attempt_id = self.random.choice(used) if is_reused else self._id(AttemptId)
        return aq.AttemptStartCommand(sequence, run_id, attempt_id, self.clock)

    def _attempt_finish(self, run_id: RunId, run: Any, sequence: int | None) -> aq.MutationCommand:
        active = run["current_attempt_id"] if run is not None else None
        attempt_id = (
            self._id(AttemptId) if active is None or self.random.random() < 0.05 else active
        )
        outcome = self.random.choice(
            (
                AttemptOutcome.success(),
                AttemptOutcome.success(b"\x00\xff"),
                AttemptOutcome.failure("boom"),
                AttemptOutcome.failure(""),
                AttemptOutcome.timeout("é"),
                AttemptOutcome.suspended(b"so far"),
            )
        )
        return aq.AttemptFinishCommand(sequence, run_id, attempt_id, outcome, self.clock)

    def _lease(self, run: Any) -> tuple[str, int]:
        lease = None if run is None else run["lease"]
        if lease is None or self.random.random() < 0.1:
            return self._text(), self.clock + self.random.randrange(50)
        return lease["owner"], lease["expiry"]

    def _lease_acquire(self, run_id: RunId, run: Any, sequence: int | None) -> aq.MutationCommand:
        return aq.LeaseAcquireCommand(sequence, run_id, *self._lease(run), self.clock)

    def _lease_heartbeat(self, run_id: RunId, run: Any, sequence: int | None) -> aq.MutationCommand:
        owner, expiry = self._lease(run)
        expiry = max(0, min(LARGE, expiry + self.random.choice((-1, 0, 5, 20))))
        return aq.LeaseHeartbeatCommand(sequence, run_id, owner, expiry, self.clock)

    def _lease_expire(self, run_id: RunId, run: Any, sequence: int | None) -> aq.MutationCommand:
        return aq.LeaseExpireCommand(sequence, run_id, *self._lease(run), self.clock)

    def _lease_release(self, run_id: RunId, run: Any, sequence: int | None) -> aq.MutationCommand:
        return aq.LeaseReleaseCommand(sequence, run_id, *self._lease(run), self.clock)

    # --- Engine, budgets, subscriptions -----------------------------------------------------------

    def _engine_pause(self, _model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.EnginePauseCommand(sequence, self.clock)

    def _engine_resume(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        paused_at = model.engine["paused_at"] or 0
        timestamp = max(paused_at, self.clock)
        if self.poison and self.random.random() < 0.4:
            timestamp = max(0, paused_at - 1)
        return aq.EngineResumeCommand(sequence, timestamp)

    def _budget(self, model: Model) -> tuple[TaskId, BudgetDimension]:
        if model.budgets and self.random.random() < 0.8:
            task_id, dimension = self.random.choice(list(model.budgets))
            return task_id, dimension
        return self._known(model.tasks, TaskId), self.random.choice(list(BudgetDimension))

    def _budget_allocate(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.BudgetAllocateCommand(sequence, *self._budget(model), self._number(), self.clock)

    def _budget_consume(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.BudgetConsumeCommand(sequence, *self._budget(model), self._number(), self.clock)

    def _budget_replenish(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.BudgetReplenishCommand(sequence, *self._budget(model), self._number(), self.clock)

    def _subscription_create(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        task_id = self._known(model.tasks, TaskId)
        event_filter = self.random.choice(
            (
                EventFilter.task_completed(task_id),
                EventFilter.run_state_changed(task_id, RunState.FAILED),
                EventFilter.budget_threshold(task_id, BudgetDimension.TOKEN, 80),
                EventFilter.custom(self._text()),
            )
        )
        subscription_id = self._known(model.subscriptions, SubscriptionId, unknown=0.8)
        return aq.SubscriptionCreateCommand(
            sequence, subscription_id, task_id, event_filter, self.clock
        )

    def _subscription_cancel(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.SubscriptionCancelCommand(
            sequence, self._known(model.subscriptions, SubscriptionId), self.clock
        )

    def _subscription_trigger(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.SubscriptionTriggerCommand(
            sequence, self._known(model.subscriptions, SubscriptionId), self.clock
        )

    # --- Actors, tenants, the ledger --------------------------------------------------------------

    def _actor_register(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        registration = ActorRegistration(
            self._known(model.actors, ActorId, unknown=0.6),
            self._text(empty=False),
            self._few(("compute", "ü"), least=1),
            self.random.choice((1, 30, LARGE)),
            self._maybe(DepartmentId("ops")),
            self._maybe(self._known(model.tenants, TenantId)),
        )
        return aq.ActorRegisterCommand(sequence, registration, self.clock)

    def _actor_deregister(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.ActorDeregisterCommand(sequence, self._known(model.actors, ActorId), self.clock)

    def _actor_heartbeat(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.ActorHeartbeatCommand(sequence, self._known(model.actors, ActorId), self.clock)

    def _tenant_create(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        registration = TenantRegistration(
            self._known(model.tenants, TenantId, unknown=0.7), self._text(empty=False)
        )
        return aq.TenantCreateCommand(sequence, registration, self.clock)

    def _role_assign(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        role = self.random.choice((Role.OPERATOR, Role.AUDITOR, Role.GATEKEEPER, Role.custom("x")))
        actor_id, tenant_id = (
            self._known(model.actors, ActorId),
            self._known(model.tenants, TenantId),
        )
        return aq.RoleAssignCommand(sequence, actor_id, role, tenant_id, self.clock)

    def _capability(self, model: Model) -> tuple[ActorId, Capability, TenantId]:
        if model.capabilities and self.random.random() < 0.5:
            actor_id, tenant_id, capability = self.random.choice(list(model.capabilities))
            return actor_id, capability, tenant_id
        capability = self.random.choice(
            (Capability.CAN_SUBMIT, Capability.CAN_CANCEL, Capability.custom("y"))
        )
        return self._known(model.actors, ActorId), capability, self._known(model.tenants, TenantId)

    def _capability_grant(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.CapabilityGrantCommand(sequence, *self._capability(model), self.clock)

    def _capability_revoke(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        return aq.CapabilityRevokeCommand(sequence, *self._capability(model), self.clock)

    def _ledger_append(self, model: Model, sequence: int | None) -> aq.MutationCommand:
        entry = LedgerEntry(
            self._id(LedgerEntryId),
            self._known(model.tenants, TenantId),
            self._text(empty=False),
            self._maybe(self._known(model.actors, ActorId)),
            self._blob(),
            self._number(),
        )
        return aq.LedgerAppendCommand(sequence, entry, self.clock)
