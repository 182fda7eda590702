"""The scheduler's process: a loop over the scheduler, its workers, and the supervisor's line."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection

import msgspec

import actionqueue as aq
from _actionqueue_start import let_warnings_be_told
from actionqueue.demo.crew import Crew
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
    Trouble,
)
from actionqueue.demo.proof import fingerprint
from actionqueue.demo.scheduler import Scheduler
from actionqueue.model import RunState

__all__ = ["Plan", "schedule"]

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
    try:
        with aq.open(plan.directory) as queue:
            _Loop(line, plan, queue).run()
    except (EOFError, ConnectionError):
        return  # the supervisor has gone


class _Loop:
    def __init__(self, line: Connection, plan: Plan, queue: aq.ActionQueue) -> None:
        self._line = line
        self._plan = plan
        self._queue = queue
        self._scheduler = Scheduler(queue, lambda entries: line.send(Acknowledged(tuple(entries))))
        self._unheard = 0
        self._has_said_quiet = False
        self._has_said_out_of_budget = False

    def run(self) -> None:
        scheduler = self._scheduler
        self._line.send(Recovered(str(self._queue.recovery), scheduler.finished_count))
        scheduler.plan(self._plan.paths, self._plan.first_budget)
        with Crew(self._plan.worker_count, self._plan.trouble) as crew:
            self._schedule(crew)
        stats = self._queue.stats()
        self._line.send(Done(fingerprint(self._queue.projection), stats["syncs"]))

    def _schedule(self, crew: Crew) -> None:
        while not self._scheduler.is_finished:
            self._obey()
            for path, owner in self._scheduler.look_at_the_clock():
                self._line.send(Expired(path, owner))
            self._lease(crew)
            self._say_what_stands_still(crew)
            self._listen(crew)

    def _obey(self) -> None:
        while self._line.poll():
            match self._line.recv():
                case Order.PAUSE:
                    self._scheduler.pause()
                case Order.RESUME:
                    self._scheduler.resume()
                    self._has_said_quiet = False
                case Order.REPLENISH:
                    self._scheduler.replenish(self._plan.second_budget)
                case Order.GO_ON:
                    self._unheard -= 1

    def _lease(self, crew: Crew) -> None:
        if self._unheard:
            return  # else a slow supervisor would make its trouble too late
        for worker in crew.idle():
            assignment = self._scheduler.lease(worker.name)
            if assignment is None:
                return
            worker.assign(assignment)
            self._line.send(Started(worker.process.pid or 0, assignment.path, assignment.attempt))

    def _say_what_stands_still(self, crew: Crew) -> None:
        if self._scheduler.is_paused and crew.is_idle and not self._has_said_quiet:
            self._has_said_quiet = True
            self._line.send(Quiet())
        if self._scheduler.is_out_of_budget and not self._has_said_out_of_budget:
            self._has_said_out_of_budget = True
            self._line.send(OutOfBudget())

    def _listen(self, crew: Crew) -> None:
        for worker, message in crew.receive([self._line], PATIENCE_SECONDS):
            assignment = worker.assignment
            if assignment is None:
                continue  # a heartbeat that crossed the result
            if isinstance(message, Result):
                worker.assignment = None
                state = self._scheduler.take(assignment, message)
                if state is RunState.RETRY_WAIT:
                    self._line.send(Retried(assignment.path))
                elif state is not None:
                    self._line.send(Finished(assignment.path, message.error))
                    self._unheard += 1
            else:
                self._scheduler.heartbeat(assignment)
