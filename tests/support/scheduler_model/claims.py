"""Claims: which runs are handed out, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable

import actionqueue as aq
from tests.support.scheduler_model.records import ModelRun
from tests.support.scheduler_model.tasks import ModelTasks


class ModelClaims(ModelTasks):
    def ready(self, able: frozenset[str] | None) -> list[ModelRun]:
        """Return what may be claimed one at a time, in order."""
        free = [run for run in self.runs if run.state == "ready" and self.is_free(run, able)]
        return sorted(free, key=self.place)

    def place(self, run: ModelRun) -> tuple[int, ...]:
        return -run.priority, run.changed, self.runs.index(run)

    def is_free(self, run: ModelRun, able: frozenset[str] | None) -> bool:
        return (able is None or run.task.required <= able) and not self.blockers(run)

    def blockers(self, run: ModelRun) -> set[tuple[object, ...]]:
        """What keeps a run from being started besides its state: a kind, and what it is."""
        task = run.task
        found: set[tuple[object, ...]] = set()
        if task.is_canceled:
            found.add(("canceled", task.id))
        if run.attempts >= task.max_attempts:
            found.add(("attempts", task.id))
        found |= {("prerequisite", each.id) for each in task.prerequisites if not each.is_met}
        found |= {("budget", each.id, dimension) for each, dimension in self.exhausted(task)}
        for other in self.runs:
            is_same = task.key is not None and other.task.key == task.key
            if is_same and other is not run and other.holds_its_key:
                # Where two retries are ready, of which one was suspended meanwhile, one goes first.
                are_equal = run.holds_its_key and run.state == other.state == "ready"
                if not (are_equal and self.place(run) < self.place(other)):
                    found.add(("concurrency_key", other.id))
        return found

    def why_waiting(self, run: ModelRun) -> set[tuple[object, ...]]:
        if run.state not in {"scheduled", "retry_wait", "suspended", "ready"}:
            return set()
        found = self.blockers(run)
        if self.is_paused:
            found.add(("paused",))
        if run.state in {"scheduled", "retry_wait"}:
            found.add((run.state, run.at))
        elif run.state == "suspended":
            found.add(("suspended",))
        return found

    def claim(self, limit: int, able: frozenset[str] | None) -> list[ModelRun]:
        """Return what one claim takes: of each key one run at most."""
        taken: list[ModelRun] = []
        for run in [] if self.is_paused else self.ready(able):
            if len(taken) < limit and (
                run.task.key is None or run.task.key not in {other.task.key for other in taken}
            ):
                taken.append(run)
        return taken

    def claimed(self, claims: list[tuple[ModelRun, aq.Claim]], now: int) -> None:
        for run, claim in claims:
            run.go("leased", now)
            run.go("running", now)
            run.attempts += 1
            run.attempt_id, run.owner = claim.attempt_id, claim.owner
            run.started, run.expiry = now, now + self.lease
        self.end_step(now)

    def is_held(self, claim: aq.Claim) -> ModelRun | None:
        for run in self.runs:
            if run.id == claim.run_id and run.attempt_id == claim.attempt_id:
                return run
        return None

    def heartbeat(self, runs: Iterable[ModelRun], now: int) -> None:
        for run in runs:
            run.expiry = max(run.expiry, now + self.lease)

    # --- Ends -------------------------------------------------------------------------------------

    def complete(self, runs: Iterable[ModelRun], now: int) -> None:
        for run in runs:
            run.attempt_id = None
            run.go("completed", now)
        self.end_step(now)

    def fail(self, run: ModelRun, now: int, retry_at: int | None) -> None:
        self.fail_each([run], now, retry_at)

    def fail_for_good(self, run: ModelRun, now: int) -> None:
        run.attempt_id = None
        run.go("failed", now)
        self.cancel_what_waits_in_vain(now)
        self.end_step(now)

    def fail_each(self, runs: Iterable[ModelRun], now: int, retry_at: int | None = None) -> None:
        for run in runs:
            run.attempt_id = None
            if run.attempts >= run.task.max_attempts:
                run.go("failed", now)
                continue
            run.go("retry_wait", now)
            delay = self.backoff.seconds_after(run.id, run.attempts)
            run.at = now + delay if retry_at is None else retry_at
        self.cancel_what_waits_in_vain(now)
        self.end_step(now)

    def suspend(self, run: ModelRun, now: int) -> None:
        self._give_back(run, "suspended", now)
        self.end_step(now)

    def release(self, run: ModelRun, now: int) -> None:
        self._give_back(run, "ready", now)
        self.end_step(now)

    def release_all(self, owner: str, now: int) -> int:
        held = [run for run in self.runs if run.state == "running" and run.owner == owner]
        for run in held:
            self._give_back(run, "ready", now)
        self.end_step(now)
        return len(held)

    def _give_back(self, run: ModelRun, state: str, now: int) -> None:
        """The attempt does not count."""
        run.attempts -= 1
        run.attempt_id = None
        run.go(state, now)

    def make_ready(self, run: ModelRun, now: int) -> None:
        """At an application's wish: a retry that need not wait, or a suspended run."""
        run.go("ready", now)
        self.end_step(now)

    def keys_in_use(self) -> list[str]:
        return [run.task.key for run in self.runs if run.task.key and run.state == "running"]
