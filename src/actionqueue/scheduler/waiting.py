"""Waiting: for something to claim, and for a run's end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock

from actionqueue.model import RunId
from actionqueue.policy_fields import seconds_from_0
from actionqueue.scheduler.arguments import identifier, texts_or_none
from actionqueue.scheduler.shared import RunEnd
from actionqueue.scheduler.ticking import REFUSALS, Ticking

TIMEOUT_MAX = 1e9
LOOK_SECONDS = 1.0
"""The longest time between two looks: a raw command wakes nothing."""
CLOSE_LOOK_SECONDS = 0.05
"""The time between two looks within the second before something is due."""


class _Wakeup:
    """What a waiting thread sleeps on: a lock by itself.

    A signal's handler may raise in the sleep. A condition, as in ``threading.Event``, then lets go
    of a lock that it does not hold, and raises RuntimeError in place of that.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def set(self) -> None:
        """End the sleep, or the next one."""
        with suppress(RuntimeError):  # it is set already
            self._lock.release()

    def sleep(self, seconds: float) -> None:
        """Sleep until it is set, or so long."""
        self._lock.acquire(timeout=max(seconds, 0.0))


class Waiting(Ticking):
    """Blocks until something has happened."""

    def wait(self, timeout: float | None = None, capabilities: Iterable[str] | None = None) -> bool:
        """Return True as soon as something can be claimed, False at the end of the timeout.

        It ticks meanwhile, whenever something is due: workers that wait need no other thread for
        the ticks. Of several threads that wait for the same run one will claim it; the others wait
        again.

        Args:
            timeout: Seconds, a finite number from 0; None waits without end. The seconds are real
                ones, whatever the scheduler's clock says.
            capabilities: As in :meth:`claim`.

        Raises:
            InvalidFieldError: An argument does not fit.
            ClosedError, PoisonedError, ForkedError: The queue takes no commands (any more).

        Also raises what :meth:`tick` does, while there is nothing to claim.
        """
        able = texts_or_none("wait", "capabilities", capabilities)
        end = deadline("wait", timeout)
        while True:
            changed = _Wakeup()
            try:
                seconds = self._turn.run(self._look, able, changed, changed.set)
                if seconds is None:
                    return True
                left = seconds if end is None else min(seconds, end - time.monotonic())
                if seconds and left <= 0:
                    return False
                changed.sleep(left)
            finally:
                self._turn.run(self._shared.remove_waker, changed)
            if not seconds and self._tick_and_look(able):
                return True

    def _tick_and_look(self, able: frozenset[str] | None) -> bool:
        """Tick, and return True where a part was refused and something can be claimed all the same.

        Raises the refusal where nothing can be claimed.
        """
        try:
            self.tick()
        except REFUSALS:
            if self._can_claim(able):
                return True
            raise
        return False

    def _can_claim(self, able: frozenset[str] | None) -> bool:
        is_paused = self._projection.is_engine_paused()
        return not is_paused and bool(self._projection.read_ready(1, "wait", able))

    def _look(
        self, able: frozenset[str] | None, key: object, wake: Callable[[], object]
    ) -> float | None:
        """Return None where something can be claimed, or the seconds until the next look.

        They are 0 where a tick has something to do. Until the key is removed each change is told.
        """
        self._ensure_usable()
        now = self._now()
        wakeup = self.next_wakeup()
        if wakeup is not None and wakeup <= now:
            return 0.0
        if self._can_claim(able):
            return None
        self._shared.add_waker(key, wake)
        return CLOSE_LOOK_SECONDS if wakeup is not None and wakeup <= now + 1 else LOOK_SECONDS

    def finished(self, run_id: RunId) -> Future[RunEnd]:
        """Return a future of a run's end, which is done when that is durable.

        "Durable" is what the queue's policy says: with deferred durability it is done at once. An
        end that came about by a raw command is noticed at the next tick. The future raises
        LookupError where retention has forgotten the run meanwhile, and the queue's error where the
        end could not be made durable.

        Raises:
            UnknownRun: There is no such run.
            InvalidFieldTypeError: It is no identifier of a run.
            ClosedError, PoisonedError, ForkedError: The queue takes no commands (any more).
        """
        identifier("finished", "run_id", run_id, RunId)
        self._ensure_usable()
        future = self._turn.run(self._shared.add_future, run_id)
        if self._shared.ended:
            self._settle(self._projection.latest_sequence)
        return future


def deadline(owner: str, timeout: float | None) -> float | None:
    """Return the monotonic time at which a timeout ends; None for None.

    Raises InvalidFieldError for what is no number of seconds.
    """
    if timeout is None:
        return None
    return time.monotonic() + seconds_from_0(owner, "timeout", timeout, TIMEOUT_MAX)
