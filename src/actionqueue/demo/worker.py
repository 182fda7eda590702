"""A worker process: takes claims from its pipe, and sends heartbeats while it works."""

from __future__ import annotations

import ast
import os
import signal
import threading
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from _wal_native.turn import Turn
from actionqueue import Claim
from actionqueue.demo.messages import Counts, Heartbeat, Result, Trouble

__all__ = ["work"]

HEARTBEAT_SECONDS = 0.5


def work(connection: Connection, trouble: Trouble) -> None:
    """Work until the scheduler goes away: then its end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's
    warnings.simplefilter("ignore")  # the parsed files cause some
    pulse = Pulse(connection)
    try:
        while True:
            claim: Claim = connection.recv()
            pulse.is_working.set()
            result = perform(claim, trouble)
            pulse.is_working.clear()
            pulse.send(result)
    except (EOFError, OSError):
        return


def perform(claim: Claim, trouble: Trouble) -> Result:
    """Parse the file, or make the trouble planned for it."""
    path = os.fsdecode(claim.payload)
    if path == trouble.hangs and claim.attempt == 1:
        threading.Event().wait()  # until the supervisor kills this process
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        return Result(b"", f"cannot read: {error.strerror}", 0)
    if path == trouble.fails_always or (path in trouble.fails_once and claim.attempt == 1):
        return Result(b"", "failed on purpose", len(source))
    try:
        counts = measure(source)
    except Exception as error:  # noqa: BLE001 -- whatever the parser raises, the file has failed
        return Result(b"", type(error).__name__, len(source))
    return Result(msgspec.json.encode(counts), None, len(source))


def measure(source: bytes) -> Counts:
    """Return the counts of a file. Raises what the parser raises, mostly SyntaxError."""
    kinds = [type(node) for node in ast.walk(ast.parse(source))]
    functions = kinds.count(ast.FunctionDef) + kinds.count(ast.AsyncFunctionDef)
    return Counts(len(source.splitlines()), functions, kinds.count(ast.ClassDef))


class Pulse:
    """The worker's end of the pipe, with a thread that sends heartbeats during work."""

    def __init__(self, connection: Connection) -> None:
        self.is_working = threading.Event()
        self._connection = connection
        self._turn = Turn()
        threading.Thread(target=self._beat, daemon=True).start()

    def send(self, message: Result | Heartbeat) -> None:
        """Send a message. Raises OSError when the scheduler has gone."""
        self._turn.run(self._connection.send, message)

    def _beat(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(HEARTBEAT_SECONDS)
            self.is_working.wait()
            try:
                self.send(Heartbeat())
            except OSError:
                # The other thread may hang, or be deep in a file that no scheduler wants any more.
                os._exit(0)
