"""A user of the queue who writes down what he is told, checks every promise that an error makes,
and tries again.

Shared by the tests in which a real kernel fails or ends a process: the user runs in the process
that is struck, and his parent compares what he was told with what is found afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import actionqueue as aq
from actionqueue.errors import (
    AppendError,
    CorruptLogError,
    LogCloseError,
    LogSpaceError,
    LogWriteError,
    OpenError,
    PartialDurabilityError,
    PoisonedError,
    SnapshotError,
    Written,
)
from actionqueue.inspection import read_projection
from actionqueue.json.projection import projection_to_json
from tests.support.crash.children import Line
from tests.support.model import Model
from tests.support.plans import Plan, Step
from tests.support.queues import SMALL, replayed, state_of, task_create

SYNC_EVERY = 3
"""Steps after which the user calls for a barrier."""


class CarefulUser:
    """Does a plan's steps, one after the other, in sessions that end with a close, a failure or the
    process.
    """

    def __init__(
        self,
        path: Path,
        plan: Plan,
        line: Line,
        *,
        failures_max: int = 2,
        options: dict[str, int] | None = None,
    ) -> None:
        self.path, self.plan, self.line = path, plan, line
        self.options = SMALL if options is None else options
        self.failures_left = failures_max
        self.closes_after = len(plan.steps) // 2
        self.compacts_every = 0  # steps; 0: never
        self.sequences = list(plan.states)  # before the first step, and after each

    def live(self) -> None:
        """Use the queue until the plan is done, or until more has failed than the user bears."""
        while self.failures_left > 0:
            try:
                queue = aq.open(self.path, compaction=None, **self.options)
            except OpenError as error:
                assert error.written is Written.NO
                self._note_failure("open", error)
                continue
            except (OSError, MemoryError) as error:  # of Python's own calls
                self._note_failure("open", error)
                continue
            if self._session(queue):
                self.line.say("finished")
                return
        self.line.say("gave up")

    def _session(self, queue: aq.ActionQueue) -> bool:
        """Go on where the log ends, to a close on the way or to the plan's end. Whether all is done
        and closed.
        """
        assert queue.sequence in self.plan.states, "a batch was torn"
        first = self.sequences.index(queue.sequence)
        last = self.closes_after if first < self.closes_after else len(self.plan.steps)
        self.line.say("opened", queue.sequence)
        for index in range(first, last):
            while not self._submits(queue, self.plan.steps[index]):
                if queue.is_poisoned or self.failures_left <= 0:
                    return self._closes(queue) and False
            if index % SYNC_EVERY == 0 and not self._syncs(queue):
                return self._closes(queue) and False
            if (
                self.compacts_every
                and index % self.compacts_every == 0
                and not self._compacts(queue)
            ):
                return self._closes(queue) and False
        return self._closes(queue) and last == len(self.plan.steps)

    def _submits(self, queue: aq.ActionQueue, step: Step) -> bool:
        before = queue.sequence
        try:
            sequence = step.submit(queue)
        except AppendError as error:
            assert queue.sequence == before
            assert state_of(queue) == self.plan.states[before], (
                "a command that failed changed the projection"
            )
            self._note_failure("submit", error.cause)
            if error.written is Written.NO:
                assert isinstance(error.cause, LogSpaceError)
                assert not queue.is_poisoned
            else:
                self._check_poisoned(queue)
            return False
        except PartialDurabilityError as error:
            self._note_failure("submit", error.cause)
            self._check_poisoned(queue)
            return False
        assert sequence == self.sequences[self.sequences.index(before) + 1]
        if step.durability == "immediate":
            assert queue.durable_sequence >= sequence
        self.line.say("acknowledged", sequence, step.durability)
        return True

    def _syncs(self, queue: aq.ActionQueue) -> bool:
        try:
            queue.sync()
        except PartialDurabilityError as error:
            self._note_failure("sync", error.cause)
            self._check_poisoned(queue)
            return False
        self.line.say("acknowledged", queue.sequence, "immediate")
        return True

    def _compacts(self, queue: aq.ActionQueue) -> bool:
        """Compact the queue. Whether it can go on, which takes no success."""
        before = queue.sequence
        try:
            queue.compact()
        except PartialDurabilityError as error:
            self._note_failure("sync", error.cause)
            self._check_poisoned(queue)
            return False
        except (SnapshotError, CorruptLogError, MemoryError) as error:
            self._note_failure("compact", error)
        assert not queue.is_poisoned
        assert state_of(queue) == self.plan.states[before]
        self.line.say("acknowledged", before, "immediate")
        return True

    def _closes(self, queue: aq.ActionQueue) -> bool:
        was_poisoned = queue.is_poisoned
        try:
            queue.close()
        except PartialDurabilityError as error:
            assert not was_poisoned, "a poisoned log only lets go"
            self._note_failure("close", error.cause)
            return False
        except LogCloseError as error:
            self.line.say("acknowledged", queue.sequence, "immediate")
            self._note_failure("close", error)
            return False
        if not was_poisoned:
            self.line.say("closed", queue.sequence)
        return True

    def _check_poisoned(self, queue: aq.ActionQueue) -> None:
        """Nothing is acknowledged any more, and everything says why."""
        sequence, durable = queue.sequence, queue.durable_sequence
        state = state_of(queue)
        calls: list[Callable[[], Any]] = [
            lambda: queue.submit(task_create()),
            lambda: queue.submit(task_create(), "deferred"),
            lambda: queue.submit_many([task_create()]),
            queue.sync,
        ]
        for call in calls:
            try:
                call()
            except PoisonedError as error:
                assert isinstance(error.cause, LogWriteError)
            else:
                raise AssertionError("a poisoned queue acknowledged a command")
        assert queue.is_poisoned
        assert isinstance(queue.projection.poisoned_by, LogWriteError)
        assert (queue.sequence, queue.durable_sequence) == (sequence, durable)
        assert state_of(queue) == state

    def _note_failure(self, what: str, error: BaseException) -> None:
        self.failures_left -= 1
        number = getattr(error, "errno", None)
        self.line.say("failed", what, type(error).__name__, number, str(error))


def last_acknowledged(said: list[tuple[Any, ...]], *durabilities: str) -> int:
    """Return the last sequence that the user was told is as durable as one of these; all of them by
    default.
    """
    told = [
        message[1]
        for message in said
        if message[0] == "acknowledged" and (not durabilities or message[2] in durabilities)
    ]
    told += [message[1] for message in said if message[0] in ("opened", "closed")]
    return max(told, default=0)


def failures(said: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return what failed: the call, the error's name, its errno, its text."""
    return [message[1:] for message in said if message[0] == "failed"]


def state_found(path: Path) -> dict[str, Any]:
    """Return what a reader finds; where no snapshot stands in for a part of the log, by the
    model.
    """
    if list(path.glob("snapshots/*.snap")):
        return projection_to_json(read_projection(path))
    return replayed(path).to_json()


def check_kept(path: Path, plan: Plan, at_least: int, *, goes_on: bool = True) -> int:
    """The log is a gap-free prefix of the plan with all that was acknowledged; two ways to read it
    agree; it goes on.

    Returns the sequence at which the log was found to end.
    """
    found = state_found(path) if at_least > 0 or (path / "ring").exists() else Model().to_json()
    with aq.open(path, compaction=None, **SMALL) as queue:
        sequence = queue.sequence
        assert sequence in plan.states, "a batch was torn"
        assert sequence >= at_least, f"{at_least} was acknowledged, the log ends at {sequence}"
        assert state_of(queue) == plan.states[sequence] == found
        assert queue.durable_sequence == sequence
        if goes_on:
            sequences = list(plan.states)
            first = sequences.index(sequence)
            assert list(plan.run(queue, first)) == sequences[first + 1 :]
    if goes_on:
        assert not list((path / "wal").glob("*.tmp"))
        assert state_found(path) == plan.states[max(plan.states)]
    assert oct(path.stat().st_mode & 0o777) == "0o700"
    return sequence
