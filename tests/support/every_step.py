"""For programs of tests: something happens at one of the steps that Python takes, and the next time
at another one.
"""

from __future__ import annotations

import dis
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Self

import actionqueue as aq
from tests.support import places

HANDLERS_RUN_BEHIND = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "RESUME"}
PACKAGE = str(Path(aq.__file__).parent) + os.sep
RETURNS = {dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap}
"""At these no signal's handler runs: what a constructor has made is in its caller's hands behind
them.
"""


def run(program: str, *arguments: object, seconds: int) -> tuple[int, str, str]:
    """Run such a program in an interpreter of its own; return its exit code, what it printed, and
    its complaints.
    """
    import subprocess  # the programs do without

    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(
        command,
        env=places.environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def interrupt() -> None:
    raise KeyboardInterrupt


class AtStep:
    """Makes a call at one of the package's steps while a block runs; where there are fewer steps,
    ``is_past`` says so.
    """

    def __init__(self, step: int, call: Callable[[], Any] = interrupt) -> None:
        self.is_past = True
        self._left = step
        self._call = call

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "return" or frame.f_lasti in offsets_of_returns(frame.f_code):
            return self._trace
        frame.f_trace_opcodes = True
        if not self._counts(frame, event):
            return self._trace
        if self._left == 0:
            sys.settrace(None)
            self.is_past = False
            self._call()
            return None
        self._left -= 1
        return self._trace

    def _counts(self, _frame: FrameType, _event: str) -> bool:
        return True

    def __enter__(self) -> Self:
        # Without this, the first trace in a process of CPython 3.12 is not told of opcodes.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_error: object) -> None:
        sys.settrace(None)


@lru_cache
def offsets_of_returns(code: CodeType) -> frozenset[int]:
    """Where a function only returns: a constant, too, which Python loads for that alone."""
    instructions = [each for each in dis.get_instructions(code) if each.opname != "CACHE"]
    found = {each.offset for each in instructions if each.opcode in RETURNS}
    pairs = pairwise(instructions)
    return frozenset(
        found
        | {
            each.offset
            for each, after in pairs
            if each.opname == "LOAD_CONST" and after.opcode in RETURNS
        }
    )


@lru_cache
def offsets_behind_calls(code: CodeType) -> frozenset[int]:
    """Where handlers run: behind calls, and at jumps back, as part of these. CPython 3.13 leaves
    some jumps back out of the try blocks around them.
    """
    instructions = [each for each in dis.get_instructions(code) if each.opname != "CACHE"]
    return frozenset(
        each.offset
        for before, each in pairwise(instructions)
        if before.opname in HANDLERS_RUN_BEHIND or each.opname == "JUMP_BACKWARD"
    )


class BehindCalls(AtStep):
    """The same at those steps alone at which a signal's handler may really run."""

    def _counts(self, frame: FrameType, event: str) -> bool:
        return event == "opcode" and frame.f_lasti in offsets_behind_calls(frame.f_code)
