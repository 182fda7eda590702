"""The supervisor: starts the scheduler, makes its life hard, and has the log prove in the end that nothing was lost.

It stands outside: it keeps what the scheduler acknowledged in a file of its own, and it is never killed itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import ENOENT
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import BinaryIO

import msgspec

from actionqueue.demo.files import choose_trouble, library_root, standard_library
from actionqueue.demo.messages import (
    Acknowledged,
    Done,
    Expired,
    Finished,
    Order,
    OutOfBudget,
    Quiet,
    Recovered,
    Retried,
    Started,
)
from actionqueue.demo.process import Plan, schedule
from actionqueue.demo.proof import Claim, prove, record_line, survival
from actionqueue.demo.report import Screen
from actionqueue.inspection import read_projection

__all__ = ["Options", "run"]

PAUSE_AT = 0.3
KILL_AT = 0.5
BUDGET_SHARE = 0.7
"""Of all bytes; what goes beyond needs a new budget."""
SILENCE_SECONDS_MAX = 60
WORKERS_MAX = 8

_processes = multiprocessing.get_context("spawn")


class DemoError(Exception):
    """The demo could not come to its end."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a person may choose; None leaves it to the demo."""

    directory: Path | None = None
    file_count: int | None = None
    worker_count: int | None = None
    seed: int = 1


def run(options: Options) -> bool:
    """Run the demo and return whether everything was proved."""
    paths = standard_library(options.file_count, options.seed)
    if not paths:
        raise FileNotFoundError(ENOENT, "the source of the standard library is not there", str(library_root()))
    with _home(options.directory) as home:
        try:
            proved = _run_in(home, paths, options)
        except DemoError as error:
            print(f"The demo failed: {error}.", file=sys.stderr)
            return False
    if options.directory is not None:
        print(f"\nThe queue is kept: actionqueue stats {options.directory / 'queue'}")
    return proved


@contextmanager
def _home(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="actionqueue-demo-") as made:
        yield Path(made)


def _run_in(home: Path, paths: Sequence[str], options: Options) -> bool:
    size = sum(Path(path).stat().st_size for path in paths)
    plan = Plan(
        directory=str(home / "queue"),
        paths=paths,
        trouble=choose_trouble(list(paths), options.seed),
        worker_count=options.worker_count or max(2, min(os.cpu_count() or 1, WORKERS_MAX)),
        first_budget=int(size * BUDGET_SHARE),
        second_budget=size * 10,
    )
    record = home / "acknowledged.jsonl"
    with Screen(len(paths)) as screen, record.open("wb") as record_file:
        screen.say("•", f"{len(paths):,} files, {plan.worker_count} workers, queue in {plan.directory}")
        supervisor = _Supervisor(plan, screen, record, record_file)
        try:
            done = supervisor.supervise()
        finally:
            supervisor.kill()
        seconds = screen.elapsed
        screen.say("•", "all files done; reading the log from its beginning")
    claims = [*supervisor.claims, *prove(Path(plan.directory), record, paths, plan.trouble, done.fingerprint)]
    projection = read_projection(plan.directory)
    screen.show_library(projection)
    screen.show_proof(claims)
    screen.show_end(projection, seconds, plan.worker_count)
    return all(claim.holds for claim in claims)


class _Supervisor:
    def __init__(self, plan: Plan, screen: Screen, record: Path, record_file: BinaryIO) -> None:
        self.claims: list[Claim] = []
        self._plan = plan
        self._screen = screen
        self._record = record
        self._record_file = record_file
        self._finished = 0
        self._retries = 0
        self._has_paused = False
        self._has_resumed = False
        self._has_killed = False
        self._start()

    # --- The scheduler's life ----------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._line: Connection
        self._line, theirs = _processes.Pipe()
        self._scheduler: SpawnProcess = _processes.Process(target=schedule, args=(theirs, self._plan))
        self._scheduler.start()
        theirs.close()

    def kill(self) -> None:
        """End the scheduler as hard as the system can; its workers notice."""
        self._scheduler.kill()
        self._scheduler.join()

    def supervise(self) -> Done:
        """Return when the scheduler says that it is done, and has ended."""
        while True:
            message = self._hear()
            if isinstance(message, Done):
                if not self._has_killed:
                    raise DemoError("the scheduler was done before it could be killed")
                self._scheduler.join()
                self._record_file.flush()
                return message
            self._react(message)

    def _hear(self) -> object:
        if not self._line.poll(SILENCE_SECONDS_MAX):
            raise DemoError(f"the scheduler has said nothing for {SILENCE_SECONDS_MAX} seconds")
        try:
            return self._line.recv()
        except (EOFError, OSError):
            raise DemoError("the scheduler ended, and nobody had killed it") from None

    def _react(self, message: object) -> None:
        match message:
            case Acknowledged():
                self._note(message)
            case Recovered(report=report, finished=finished):
                self._finished = finished
                self._screen.say("▶", f"the scheduler is up: {report}", "green")
            case Started(worker_pid=pid, path=path, attempt=1) if path == self._plan.trouble.hangs:
                self._kill_worker(pid, path)
            case Finished(path=path, error=error):
                self._finished += 1
                if error is not None:
                    self._screen.say("✗", f"{_short(path)} failed for good: {error}", "red")
            case Expired(path=path, owner=owner):
                self._screen.say("⌛", f"the lease of {owner} on {_short(path)} expired; the run is ready again", "yellow")
            case Quiet():
                self._screen.say("▶", "paused, and everybody has finished; resume", "green")
                self._line.send(Order.RESUME)
                self._has_resumed = True
            case OutOfBudget():
                self._screen.say("€", "the budget is used up, nothing is leased; replenish", "yellow")
                self._line.send(Order.REPLENISH)
            case Retried():
                self._retries += 1
        self._screen.move_bar(self._finished, self._retries)
        self._make_trouble()

    def _note(self, message: Acknowledged) -> None:
        for sequence, command in message.entries:
            self._record_file.write(record_line(sequence, command))

    # --- Trouble -----------------------------------------------------------------------------------------------------

    def _make_trouble(self) -> None:
        share = self._finished / len(self._plan.paths)
        if share >= PAUSE_AT and not self._has_paused:
            self._has_paused = True
            self._screen.say("⏸", "pause", "yellow")
            self._line.send(Order.PAUSE)
        if share >= KILL_AT and self._has_resumed and not self._has_killed:
            self._has_killed = True
            self._kill_scheduler()

    def _kill_worker(self, pid: int, path: str) -> None:
        self._screen.say("☠", f"a worker hangs in {_short(path)}: kill -9 {pid}; its lease will expire", "bold red")
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def _kill_scheduler(self) -> None:
        """Kill the scheduler in the middle of whatever it does, look at what is in its log, and start it again."""
        self._screen.say("☠", f"kill -9 {self._scheduler.pid}: the scheduler itself", "bold red")
        self.kill()
        self._hear_the_rest()
        self._record_file.flush()
        claim = survival(Path(self._plan.directory), self._record)
        self.claims.append(claim._replace(text="The kill lost nothing acknowledged"))
        self._start()

    def _hear_the_rest(self) -> None:
        """Note what the scheduler acknowledged before it died."""
        try:
            while True:
                message = self._line.recv()
                if isinstance(message, Acknowledged):
                    self._note(message)
        except (EOFError, OSError):  # the last message may be half a one
            self._line.close()


def _short(path: str) -> str:
    return Path(path).relative_to(library_root()).as_posix()
