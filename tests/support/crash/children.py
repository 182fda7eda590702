"""Forked children that say what they were told, as they may not live to tell later, and wait where
bidden.
"""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any

CHILD_SECONDS = 240
"""A child that hangs is killed after this long, and its test fails."""


PIPE_SIZE = 1 << 20
"""What a child can say before its parent has to listen."""


class Line:
    """The child's end of the line to its parent."""

    def __init__(self, told: int, bidden: int) -> None:
        self._told, self._bidden = told, bidden

    def say(self, *message: Any) -> None:
        """Tell the parent. It is told even if this process ends right after that."""
        os.write(self._told, pickle.dumps(message))

    def wait(self) -> None:
        """Return when the parent says :meth:`Child.go`."""
        if os.read(self._bidden, 1) != b"g":
            os._exit(1)


class Child:
    """A forked process that does some work and then ends at once, without clean-up; an exception
    ends it too.
    """

    def __init__(self, work: Callable[[Line], None]) -> None:
        import fcntl  # not on Windows

        told, tell = os.pipe()
        fcntl.fcntl(tell, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        bidden, bid = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(told)
            os.close(bid)
            self._live(work, Line(tell, bidden))
        os.close(tell)
        os.close(bidden)
        self._told, self._bid = os.fdopen(told, "rb"), bid

    @staticmethod
    def _live(work: Callable[[Line], None], line: Line) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(CHILD_SECONDS)
        try:
            work(line)
        except BaseException:
            line.say("broken", traceback.format_exc())
        finally:
            os._exit(0)

    def go(self) -> None:
        """Let the child go on from where it waits."""
        os.write(self._bid, b"g")

    def next(self) -> tuple[Any, ...] | None:
        """Return what the child says next, None where it said all that it will ever say."""
        try:
            message: tuple[Any, ...] = pickle.load(self._told)
        except (EOFError, pickle.UnpicklingError):
            return None
        assert message[0] != "broken", message[1]
        return message

    def expect(self, word: str) -> tuple[Any, ...]:
        """Return what follows this word, which the child must say next."""
        message = self.next()
        assert message is not None, f"the child ended before {word!r}"
        assert message[0] == word, message
        return message[1:]

    def kill(self) -> None:
        """End the child between any two of its instructions."""
        os.kill(self.pid, signal.SIGKILL)

    def end(self, may_end_with: signal.Signals | None = None) -> list[tuple[Any, ...]]:
        """Wait for the end and return what the child has said since; see :attr:`was_killed`."""
        said = []
        try:
            while (message := self.next()) is not None:
                said.append(message)
        finally:
            self._told.close()
            os.close(self._bid)
            status = os.waitpid(self.pid, 0)[1]
        self.was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (
            signal.SIGKILL,
            may_end_with,
        )
        assert self.was_killed or status == 0, f"the child ended with wait status {status}"
        return said


def run(work: Callable[[Line], None]) -> list[tuple[Any, ...]]:
    """Do the work in a child that must not be killed; return what it said."""
    child = Child(work)
    said = child.end()
    assert not child.was_killed
    return said
