"""What the schedulers of one queue share: their lock, what waits, and the subscriptions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

import msgspec

from _wal_native.work import SchedulersTurn
from actionqueue.errors import UnknownRun
from actionqueue.model import (
    MutationCommand,
    RunId,
    RunState,
    RunStateTransitionCommand,
    SubscriptionId,
)
from actionqueue.queue import ActionQueue
from actionqueue.scheduler.subscriptions import Subscriptions

__all__ = ["RunEnd"]


class RunEnd(msgspec.Struct, frozen=True):
    """How a run ended."""

    run_id: RunId
    state: RunState
    """Completed, failed or canceled."""
    output: bytes | None
    """What its last attempt gave, where it is completed; None for no output."""
    error: str | None
    """What its last attempt said, where it failed."""


class Shared:
    """One for each open queue."""

    def __init__(self, queue: ActionQueue) -> None:
        """Read the queue's subscriptions. The caller is in the queue's lane."""
        self.turn = SchedulersTurn(queue)
        """A step is one call of it: it reads the projection and appends, and no other does."""
        self._projection = queue.projection
        created: deque[SubscriptionId] = deque()
        queue._subscribed = created  # noqa: SLF001 -- the queue's other half
        self.subscriptions = Subscriptions(self._projection, created)
        self._wakers: dict[object, Callable[[], object]] = {}
        self._futures: dict[RunId, list[Future[RunEnd]]] = {}
        self.ended: deque[tuple[int, RunId]] = deque()
        """Runs that are awaited and have ended, and the sequence by which they have."""
        self.told: deque[tuple[Future[RunEnd], RunEnd | BaseException | None]] = deque()
        """Futures that are to be done, each with how; one leaves when it is."""
        self.is_watched = False
        """Whether anything waits, so that a step has something to tell."""
        self._is_behind = False
        """Whether a step may have ended between its append and what it had to tell."""

    # --- Inside the turn --------------------------------------------------------------------------

    def watch(
        self,
        append: Callable[..., int],
        arguments: tuple[Any, ...],
        changes: Callable[..., list[MutationCommand]],
        what: tuple[Any, ...],
    ) -> int:
        """Append something while anything waits, and tell of it; return the last sequence.

        Where a signal's handler ends the step in between, the next one finds what it missed.
        """
        was_behind, self._is_behind = self._is_behind, True
        before = self._projection.latest_sequence
        try:
            sequence = append(*arguments)
        except BaseException:
            if self._projection.latest_sequence == before:
                self._is_behind = was_behind
            raise
        if sequence:
            if was_behind:
                self.note_ended_elsewhere()
            self.note(changes(*what), sequence)
            was_behind = False
        self._is_behind = was_behind
        return sequence

    def note(self, commands: list[MutationCommand], sequence: int) -> None:
        """Wake what waits for a change, and note the runs that ended with it."""
        for wake in list(self._wakers.values()):
            wake()
        if self._futures:
            for command in commands:
                if (
                    type(command) is RunStateTransitionCommand
                    and command.run_id in self._futures
                    and command.new_state.is_terminal
                ):
                    self.ended.append((sequence, command.run_id))

    def triggered(self, changes: list[MutationCommand], now: int) -> list[MutationCommand]:
        """Return the commands that changes of runs trigger, which a batch in the lane has made."""
        count = len(changes)
        self.subscriptions.extend(changes, now)
        return changes[count:]

    def add_waker(self, key: object, wake: Callable[[], object]) -> None:
        """Have a function called at every change, inside the turn, until it is removed."""
        self._wakers[key] = wake
        self.is_watched = True

    def remove_waker(self, key: object) -> None:
        """Call a function no more."""
        self._wakers.pop(key, None)
        self._look_whether_watched()

    def add_future(self, run_id: RunId) -> Future[RunEnd]:
        """Return a future of a run's end, and note where it has ended already."""
        future: Future[RunEnd] = Future()
        state = self._projection.run_state(run_id)
        if state is None:
            raise UnknownRun(run_id)
        futures = [each for each in self._futures.get(run_id, ()) if not each.cancelled()]
        self._futures[run_id] = [*futures, future]
        self.is_watched = True
        if state.is_terminal:
            self.ended.append((self._projection.latest_sequence, run_id))
        return future

    def note_ended_elsewhere(self) -> None:
        """Note awaited runs that ended without a step of a scheduler, or that were forgotten."""
        for run_id in self._futures:
            state = self._projection.run_state(run_id)
            if state is None or state.is_terminal:
                self.ended.append((self._projection.latest_sequence, run_id))

    def take_ended(self, sequence: int) -> None:
        """Take the futures of the runs that ended up to a sequence, with what became of them."""
        # Nothing leaves a place before it is in the next one: a signal's handler may come between.
        for ended_at, run_id in list(self.ended):
            if ended_at <= sequence and run_id in self._futures:
                end = self._end_of(run_id)
                self.told.extend([(future, end) for future in self._futures[run_id]])
                del self._futures[run_id]
        self.ended = deque(entry for entry in self.ended if entry[0] > sequence)
        self._look_whether_watched()

    def take_all(self, error: BaseException) -> None:
        """Take every future: the queue does not go on."""
        for futures in self._futures.values():
            self.told.extend([(future, error) for future in futures])
        self._futures.clear()
        self.ended.clear()
        self._look_whether_watched()

    def _look_whether_watched(self) -> None:
        self.is_watched = bool(self._wakers or self._futures)

    def _end_of(self, run_id: RunId) -> RunEnd | None:
        state = self._projection.run_state(run_id)
        if state is None:
            return None
        error = output = None
        attempts = self._projection.read_attempts(run_id)
        if attempts and state is not RunState.CANCELED:
            *_, error, output = attempts[-1]
        return RunEnd(run_id, state, output, error)

    # --- Outside of the turn ----------------------------------------------------------------------

    def resolve(self, sequence: int) -> None:
        """Have the futures done of the runs that ended up to a sequence, which is durable."""
        self.turn.run(self.take_ended, sequence)
        self._tell()

    def fail(self, error: BaseException) -> None:
        """Have every future fail: a sync has failed, and the queue takes nothing more."""
        self.turn.run(self.take_all, error)
        self._tell()

    def _tell(self) -> None:
        """Have futures done, one after the other, whatever their callbacks raise.

        Raises the first of that at the end. What a signal's handler raises in between leaves those
        that are not done for the next step.
        """
        raised: BaseException | None = None
        while self.told:
            try:
                entry = self.told[0]
            except IndexError:  # another thread has taken the last one
                break
            try:
                _finish(*entry)
            except BaseException as error:  # noqa: BLE001 -- it is raised again
                raised = raised or error
                if not entry[0].done():
                    break
            with suppress(ValueError):  # another thread may have taken it
                self.told.remove(entry)
        if raised is not None:
            raise raised


def _finish(future: Future[RunEnd], end: RunEnd | BaseException | None) -> None:
    if future.done():
        return
    try:
        if not future.running() and not future.set_running_or_notify_cancel():
            return
        if isinstance(end, RunEnd):
            future.set_result(end)
        elif end is None:
            future.set_exception(LookupError("retention forgot the run"))
        else:
            future.set_exception(end)
    except (InvalidStateError, RuntimeError):
        if not future.done():
            raise
        # a caller has set it itself


def shared_of(queue: ActionQueue) -> Shared:
    """Return what the queue's schedulers share."""
    queue._ensure_not_in_query()  # noqa: SLF001 -- the queue's other half
    return queue._lane.run(_shared_in_lane, queue)  # noqa: SLF001 -- as above


def _shared_in_lane(queue: ActionQueue) -> Shared:
    shared = queue._scheduling  # noqa: SLF001 -- the queue's other half
    if not isinstance(shared, Shared):
        shared = queue._scheduling = Shared(queue)  # noqa: SLF001 -- as above
    return shared
