"""The scheduler's process: a loop over ``aq.Scheduler``, the workers, and the supervisor's line.

The queue is the scheduler's only memory. It has each step as a whole or not at all, so there is
nothing to save and nothing to repair: a scheduler that was killed opens its queue again and goes
on.

Durability is deferred, and the loop syncs once a turn: all of a turn's steps are on disk before a
worker gets a run, and before the supervisor hears of them.

A lease is the only claim to a run. The scheduler never concludes from a silent worker that its run
is free; the lease says when. A result that comes after that is dropped.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection

import msgspec

import actionqueue as aq
from _actionqueue_start import let_warnings_be_told
from actionqueue.demo import tasks
from actionqueue.demo.crew import Crew, Worker
from actionqueue.demo.messages import (
    Acknowledged,
    Done,
    Expired,
    Finished,
    Order,
    OutOfBudget,
    Quiet,
    Recovered,
    Result,
    Retried,
    Started,
    Stopped,
    Trouble,
)
from actionqueue.demo.proof import fingerprint
from actionqueue.demo.record import Fact, fact
from actionqueue.errors import ActionQueueError
from actionqueue.model import AttemptResultKind, RunState

__all__ = ["Loop", "Plan", "schedule"]

LEASE_SECONDS = 3
RETRY = aq.Backoff(first=1, factor=1)
PATIENCE_SECONDS = 0.2


class Plan(msgspec.Struct, frozen=True):
    """What the supervisor wants the scheduler to do."""

    directory: str
    """The queue's directory."""
    paths: Sequence[str]
    trouble: Trouble
    worker_count: int
    first_budget: int
    second_budget: int


def schedule(line: Connection, plan: Plan) -> None:
    """Run the scheduler until every run has ended."""
    # Ctrl-C is the supervisor's; the workers inherit this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    let_warnings_be_told()
    # Where the supervisor has gone, the work has no purpose any more.
    with suppress(EOFError, ConnectionError):
        try:
            with aq.open(plan.directory, durability=aq.DurabilityPolicy.DEFERRED) as queue:
                Loop(line, plan, queue).run()
        except ActionQueueError as error:
            line.send(Stopped(str(error)))


class Loop:
    """Hands runs to workers, takes their results, and says to the supervisor what happens."""

    def __init__(
        self,
        line: Connection,
        plan: Plan,
        queue: aq.ActionQueue,
        clock: Callable[[], int] = aq.now,
    ) -> None:
        """Take over an open queue."""
        self._line = line
        self._plan = plan
        self._queue = queue
        self._projection = queue.projection
        self._scheduler = aq.Scheduler(queue, lease_seconds=LEASE_SECONDS, retry=RETRY, clock=clock)
        self._unsaid: list[object] = []
        self._unassigned: list[tuple[Worker, aq.Claim]] = []
        self._unheard = 0
        self._has_said_quiet = False
        self._has_said_out_of_budget = False

    def run(self) -> None:
        """Schedule until every run has ended."""
        self._say(Recovered(str(self._queue.recovery), self._finished_count))
        self.plan()
        with Crew(self._plan.worker_count, self._plan.trouble) as crew:
            self.take_turns(crew)
        self._say(Done(fingerprint(self._projection)))
        self._settle()

    def take_turns(self, crew: Crew) -> None:
        """Take turns until every run has ended."""
        while self._finished_count < self._projection.counts().runs:
            self.turn(crew)

    def plan(self) -> None:
        """Add what is not there yet."""
        added = tasks.plan(self._scheduler, self._plan.paths, self._plan.first_budget)
        self._acknowledge(*added)
        self._settle()

    def turn(self, crew: Crew) -> None:
        """Do what is to do, and wait a moment for the workers and the supervisor."""
        self._obey()
        self._tick()
        self._claim(crew)
        self._say_what_stands_still(crew)
        self._settle()
        self._listen(crew)

    def _settle(self) -> None:
        """Sync; then hand out what was claimed, and say what happened."""
        self._queue.sync()
        for worker, claim in self._unassigned:
            worker.assign(claim)
        for message in self._unsaid:
            self._line.send(message)
        self._unassigned.clear()
        self._unsaid.clear()

    def _say(self, message: object) -> None:
        """Say something to the supervisor, as soon as it is on disk."""
        self._unsaid.append(message)

    def _acknowledge(self, *facts: Fact) -> None:
        if facts:
            self._say(Acknowledged(facts))

    @property
    def _finished_count(self) -> int:
        states = self._projection.counts_by_state()
        return sum(runs for state, runs in states.items() if state.is_terminal)

    # --- The parts of a turn ----------------------------------------------------------------------

    def _obey(self) -> None:
        while self._line.poll():
            match self._line.recv():
                case Order.PAUSE:
                    self._scheduler.pause()
                    self._acknowledge(fact("engine_paused"))
                case Order.RESUME:
                    self._scheduler.resume()
                    self._acknowledge(fact("engine_resumed"))
                    self._has_said_quiet = False
                case Order.REPLENISH:
                    self._acknowledge(tasks.replenish(self._queue, self._plan.second_budget))
                case Order.GO_ON:
                    self._unheard -= 1

    def _tick(self) -> None:
        report = self._scheduler.tick()
        self._acknowledge(
            *(fact("lease_expired", run_id) for run_id in report.expired),
            *(fact("run_state_changed", run_id, RunState.READY) for run_id in report.ready),
        )
        for run_id in report.expired:
            attempts = self._projection.attempts(run_id) or []
            reason = attempts[-1].error or ""
            if run_id in report.failed:
                self._say_finished(run_id, reason)
            else:
                self._say(Expired(tasks.path_of(self._projection, run_id), reason))

    def _claim(self, crew: Crew) -> None:
        if self._unheard:
            return  # else a slow supervisor would make its trouble too late
        for worker in crew.idle():
            for claim in self._scheduler.claim(worker.name):
                self._acknowledge(
                    fact("lease_acquired", claim.run_id, claim.owner, claim.lease_expiry),
                    fact("attempt_started", claim.run_id, claim.attempt_id),
                )
                self._unassigned.append((worker, claim))
                path = tasks.path_of(self._projection, claim.run_id)
                self._say(Started(worker.process.pid or 0, path, claim.attempt))

    def _say_what_stands_still(self, crew: Crew) -> None:
        if self._projection.engine.is_paused and crew.is_idle and not self._has_said_quiet:
            self._has_said_quiet = True
            self._say(Quiet())
        if tasks.is_out_of_budget(self._projection) and not self._has_said_out_of_budget:
            self._has_said_out_of_budget = True
            self._say(OutOfBudget())

    def _listen(self, crew: Crew) -> None:
        for worker, message in crew.receive([self._line], PATIENCE_SECONDS):
            claim = worker.claim
            if claim is None:
                continue  # a heartbeat that crossed the result
            try:
                if isinstance(message, Result):
                    worker.claim = None
                    self._take(claim, message)
                else:
                    self._extend(claim)
            except aq.ClaimLost:
                continue  # the lease expired before: another worker does the file

    # --- What workers say -------------------------------------------------------------------------

    def _extend(self, claim: aq.Claim) -> None:
        before = claim.lease_expiry
        self._scheduler.heartbeat(claim)
        expiry = claim.lease_expiry
        if expiry > before:
            self._acknowledge(fact("lease_heartbeat", claim.run_id, claim.owner, expiry))

    def _take(self, claim: aq.Claim, result: Result) -> None:
        """Record a result. What was read is used up, also where the result comes too late."""
        self._scheduler.consume(tasks.SWEEP, tasks.BYTES, result.size)
        self._acknowledge(fact("budget_consumed", result.size))
        run_id, error = claim.run_id, result.error
        if error is None:
            self._scheduler.complete(claim, result.output)
            kind, state = AttemptResultKind.SUCCESS, RunState.COMPLETED
        else:
            state = self._scheduler.fail(claim, error)
            kind = AttemptResultKind.FAILURE
        self._acknowledge(
            fact("attempt_finished", run_id, claim.attempt_id, kind, error, result.output),
            fact("run_state_changed", run_id, state),
        )
        if state.is_terminal:
            self._say_finished(run_id, error)
        else:
            self._say(Retried(tasks.path_of(self._projection, run_id)))

    def _say_finished(self, run_id: aq.RunId, error: str | None) -> None:
        self._say(Finished(tasks.path_of(self._projection, run_id), error))
        self._unheard += 1
