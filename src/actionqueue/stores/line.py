"""A thread of its own for the calls of one connection, one after the other.

An interrupt of the thread that waits, such as Ctrl-C, never reaches the connection: clients cancel
the statement then, and PostgreSQL acknowledges a commit that it cancels.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, ParamSpec, TypeVar

from actionqueue.errors import ClosedError, ForkedError

__all__ = ["Line"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Line:
    """Runs calls in a thread that begins with the first of them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._has_begun = False
        self._is_closed = False

    def run(
        self,
        call: Callable[Arguments, Result],
        *arguments: Arguments.args,
        **named: Arguments.kwargs,
    ) -> Result:
        """Run a call, wait for it, and return what it returned, or raise what it raised.

        Raises ClosedError after :meth:`close`, ForkedError in a child of the process.
        """
        result: Future[Result] = Future()

        def do() -> None:
            try:
                value = call(*arguments, **named)
            except BaseException as error:  # noqa: BLE001 -- the caller's, whatever it is
                result.set_exception(error)
            else:
                result.set_result(value)

        self._put(do)
        return result.result()

    def _put(self, do: Callable[[], object]) -> None:
        if os.getpid() != self._process:
            raise ForkedError
        with self._lock:
            if self._is_closed:
                raise ClosedError
            if not self._has_begun:
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
                self._has_begun = True
            self._calls.put(do)

    def _work(self) -> None:
        while (do := self._calls.get()) is not None:
            do()
            del do

    def close(self, last: Callable[[], Any]) -> None:
        """Have ``last`` run after all calls that were made, and take no more. It does not wait."""
        with self._lock:
            if self._is_closed or os.getpid() != self._process:
                return
            self._is_closed = True
            if self._has_begun:
                self._calls.put(last)
                self._calls.put(None)
