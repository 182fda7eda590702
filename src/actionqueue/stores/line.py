"""A thread of its own for the calls of one connection, one after the other.

An interrupt of the thread that waits, such as Ctrl-C, never reaches the connection: clients cancel
the statement then, and PostgreSQL acknowledges a commit that it cancels.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from actionqueue.errors import ClosedError, ForkedError

__all__ = ["Line"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


STEP_SECONDS = 1.0
"""How often one that waits for a call does something meanwhile."""

Calls = queue.SimpleQueue[Callable[[], object] | None]


def _work(calls: Calls, working: threading.Lock) -> None:
    """Run one call after the other. The thread holds no line: one that is let go of ends it."""
    if not working.acquire(blocking=False):
        return  # an interrupt had the line begin a thread twice
    while (do := calls.get()) is not None:
        do()
        del do


def _wait(
    result: Future[Result], until: float | None, meanwhile: Callable[[], object] | None
) -> Result:
    while True:
        left = None if until is None else max(until - time.monotonic(), 0)
        step = (
            left if meanwhile is None else min(STEP_SECONDS, STEP_SECONDS if left is None else left)
        )
        try:
            return result.result(step)
        except TimeoutError:
            if result.done():  # just now, or the error is the call's own
                return result.result()
            if step == left:
                raise
        if meanwhile is not None:
            meanwhile()


class Line:
    """Runs calls in a thread that begins with the first of them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: Calls = queue.SimpleQueue()
        weakref.finalize(self, self._calls.put, None).atexit = False
        self._lock = threading.Lock()
        self._working = threading.Lock()
        self._process = os.getpid()
        self._has_begun = False
        self._is_closed = False

    @property
    def is_of_this_process(self) -> bool:
        """Whether this is not a child of the process that made the line."""
        return os.getpid() == self._process

    def run(
        self,
        call: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """Run a call, wait for it, and return what it returned, or raise what it raised.

        Raises ClosedError after :meth:`close`, ForkedError in a child of the process.
        """
        return self.run_until(None, None, call, *arguments, **named)

    def run_until(
        self,
        until: float | None,
        meanwhile: Callable[[], object] | None,
        call: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """Run a call as :meth:`run` does, and wait at most until then, by ``time.monotonic``.

        The thread that waits calls ``meanwhile`` each second. Raises TimeoutError; the call may go
        on then, where it had begun.
        """
        result: Future[Result] = Future()

        def do() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                value = call(*arguments, **named)
            except BaseException as error:  # noqa: BLE001 -- the caller's, whatever it is
                result.set_exception(error)
            else:
                result.set_result(value)

        self._put(do)
        try:
            return _wait(result, until, meanwhile)
        finally:
            result.cancel()

    def _put(self, do: Callable[[], object]) -> None:
        if not self.is_of_this_process:
            raise ForkedError
        with self._lock:
            if self._is_closed:
                raise ClosedError
            if not self._has_begun:
                threading.Thread(
                    target=_work, args=(self._calls, self._working), name=self._name, daemon=True
                ).start()
                self._has_begun = True
            self._calls.put(do)

    def close(self, last: Callable[[], Any]) -> None:
        """Have ``last`` run after all calls that were made, and take no more. It does not wait."""
        if not self.is_of_this_process:
            return
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._has_begun:
                self._calls.put(last)
                self._calls.put(None)
