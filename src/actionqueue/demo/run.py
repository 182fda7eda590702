"""The supervisor: starts the scheduler, makes its life hard, and proves that nothing was lost.

The log proves it. The supervisor stands outside: it keeps what the scheduler acknowledged in a file
of its own, and no kill hits it.
"""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import ENOENT
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import BinaryIO

import msgspec

from actionqueue.bench.machine import machine_of
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
    Stopped,
)
from actionqueue.demo.process import Plan, schedule
from actionqueue.demo.proof import Statement, prove, survival
from actionqueue.demo.record import record_line
from actionqueue.demo.report import Screen, count_of
from actionqueue.demo.speed import jobs_per_second
from actionqueue.errors import ActionQueueError
from actionqueue.inspection import read_projection
from actionqueue.sync_policy import DurabilityPolicy
from actionqueue.temporary import temporary_directory

__all__ = ["Options", "plan_of", "run"]

PAUSE_AT = 0.3
KILL_AT = 0.5
BUDGET_SHARE = 0.7
"""The first budget's share of all bytes, at most; the rest needs a new budget."""
FILES_PER_WORKER = 4
"""The fewest files a worker, so that some work is left when a trouble comes."""
SILENCE_SECONDS_MAX = 300
END_SECONDS_MAX = 10
WORKERS_MAX = 8

_processes = multiprocessing.get_context("spawn")


class DemoError(Exception):
    """The demo cannot go on to its end."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The user's choices; None leaves one to the demo."""

    directory: Path | None = None
    file_count: int | None = None
    worker_count: int | None = None
    seed: int = 1


def run(options: Options) -> bool:
    """Run the demo and return whether the log proves every statement."""
    paths = standard_library(options.file_count, options.seed)
    if not paths:
        raise FileNotFoundError(
            ENOENT, "the source of the standard library is not there", str(library_root())
        )
    with _home(options.directory) as home:
        try:
            proved = _run_in(home, paths, options)
        except DemoError as error:
            print(f"The demo failed: {error}.", file=sys.stderr)
            return False
    if options.directory is not None:
        print(
            "\nThe queue is kept:\n  actionqueue stats "
            f"{_for_the_shell(options.directory / 'queue')}"
        )
    return proved


@contextmanager
def _home(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    with temporary_directory("actionqueue-demo-") as made:
        yield made


def plan_of(home: Path, paths: Sequence[str], options: Options) -> Plan:
    """Return the plan for these files: all trouble comes while work is left, in whatever order."""
    sizes = sorted(Path(path).stat().st_size for path in paths)
    worker_count = options.worker_count or max(2, min(os.cpu_count() or 1, WORKERS_MAX))
    worker_count = max(1, min(worker_count, len(paths) // FILES_PER_WORKER))
    # In whatever order the workers take the files, they use it up while a file is left.
    first_budget = min(int(sum(sizes) * BUDGET_SHARE), sum(sizes[: -worker_count - 1]))
    return Plan(
        directory=str(home / "queue"),
        paths=paths,
        trouble=choose_trouble(list(paths), options.seed),
        worker_count=worker_count,
        first_budget=first_budget,
        second_budget=sum(sizes) * 10,
    )


def _run_in(home: Path, paths: Sequence[str], options: Options) -> bool:
    plan = plan_of(home, paths, options)
    record = home / "acknowledged.jsonl"
    with Screen(len(paths)) as screen, record.open("wb") as record_file:
        workers = count_of(plan.worker_count, "worker")
        if plan.worker_count < (options.worker_count or 0):
            workers += f" (one for {FILES_PER_WORKER} files)"
        screen.say("•", f"{len(paths):,} files, {workers}, queue in {plan.directory}")
        supervisor = _Supervisor(plan, screen, record, record_file)
        try:
            done = supervisor.supervise()
        finally:
            supervisor.end()
        seconds = screen.elapsed
        screen.say("•", "all files done; reading the log from its beginning")
    statements = [
        *supervisor.statements,
        *prove(Path(plan.directory), record, paths, plan.trouble, done.fingerprint),
    ]
    projection = read_projection(plan.directory)
    screen.show_library(projection)
    screen.show_proof(statements)
    screen.show_end(projection, seconds, plan.worker_count)
    _show_speed(home, screen)
    return all(statement.holds for statement in statements)


def _show_speed(home: Path, screen: Screen) -> None:
    """Measure the speed, where the disk has room for that: what was proved is proved."""
    try:
        with temporary_directory("speed-", home) as made:
            deferred = jobs_per_second(made / "deferred", DurabilityPolicy.DEFERRED)
            immediate = jobs_per_second(made / "immediate", DurabilityPolicy.IMMEDIATE)
    except (OSError, ActionQueueError) as error:
        screen.say_no_speed(str(error))
    else:
        screen.show_speed(deferred, immediate, is_in_memory=machine_of(home).is_in_memory)


class _Supervisor:
    def __init__(self, plan: Plan, screen: Screen, record: Path, record_file: BinaryIO) -> None:
        self.statements: list[Statement] = []
        self._plan = plan
        self._screen = screen
        self._record = record
        self._record_file = record_file
        self._finished = 0
        self._retries = 0
        self._has_paused = False
        self._has_resumed = False
        self._has_killed = False
        self._prepare()

    # --- The scheduler's life ---------------------------------------------------------------------

    def _prepare(self) -> None:
        self._line: Connection
        self._line, self._theirs = _processes.Pipe()
        self._scheduler: SpawnProcess = _processes.Process(
            target=schedule, args=(self._theirs, self._plan)
        )

    def _start(self) -> None:
        with _without_interrupts():
            self._scheduler.start()
        self._theirs.close()

    def end(self) -> None:
        """Let the scheduler end with its workers, even new ones; kill it if that takes long."""
        self._line.close()
        if self._scheduler.pid is not None:
            self._scheduler.join(END_SECONDS_MAX)
            self.kill()

    def kill(self) -> None:
        """Kill the scheduler, if it was started; its workers notice."""
        if self._scheduler.pid is not None:
            self._scheduler.kill()
            self._scheduler.join()

    def supervise(self) -> Done:
        """Start the scheduler; return when it has said that it is done and has ended."""
        self._start()
        while True:
            message = self._hear()
            if isinstance(message, Done):
                if not self._has_killed:
                    raise DemoError("the scheduler was done before it could be killed")
                self._scheduler.join()
                self._record_file.flush()
                return message
            line = self._line
            self._react(message)
            if isinstance(message, Finished) and line is self._line:
                self._order(Order.GO_ON)

    def _hear(self) -> object:
        # On Windows the line does not end where the scheduler did not live to take its end of it.
        heard = wait([self._line, self._scheduler.sentinel], SILENCE_SECONDS_MAX)
        if not heard:
            raise DemoError(f"the scheduler has said nothing for {SILENCE_SECONDS_MAX} seconds")
        with suppress(EOFError, OSError):
            if self._line in heard or self._line.poll():
                message = self._line.recv()
                if isinstance(message, Stopped):
                    raise DemoError(f"the scheduler stopped: {message.reason}")
                return message
        raise DemoError("the scheduler ended without a kill")

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
            case Expired(path=path, reason=reason):
                self._screen.say("⌛", f"{reason}: {_short(path)} is tried again", "yellow")
            case Quiet():
                self._screen.say("▶", "paused, and every worker has finished; resume", "green")
                self._order(Order.RESUME)
                self._has_resumed = True
            case OutOfBudget():
                self._screen.say(
                    "€", "the budget is used up, nothing is leased; replenish", "yellow"
                )
                self._order(Order.REPLENISH)
            case Retried():
                self._retries += 1
        self._screen.move_bar(self._finished, self._retries)
        self._make_trouble()

    def _order(self, order: Order) -> None:
        with suppress(OSError):  # it has gone: that is heard next
            self._line.send(order)

    def _note(self, message: Acknowledged) -> None:
        self._record_file.write(record_line(message.facts))

    # --- Trouble ----------------------------------------------------------------------------------

    def _make_trouble(self) -> None:
        share = self._finished / len(self._plan.paths)
        if share >= PAUSE_AT and not self._has_paused:
            self._has_paused = True
            self._screen.say("⏸", "pause", "yellow")
            self._order(Order.PAUSE)
        if share >= KILL_AT and self._has_resumed and not self._has_killed:
            self._has_killed = True
            self._kill_scheduler()

    def _kill_worker(self, pid: int, path: str) -> None:
        self._screen.say(
            "☠",
            f"kill -9 {pid}: a worker that hangs in {_short(path)}; its lease will expire",
            "bold red",
        )
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def _kill_scheduler(self) -> None:
        """Kill the scheduler in the middle of its work, check its log, and start it again."""
        self._screen.say("☠", f"kill -9 {self._scheduler.pid}: the scheduler itself", "bold red")
        self.kill()
        self._hear_the_rest()
        self._record_file.flush()
        text = "The kill lost nothing acknowledged"
        self.statements.append(survival(Path(self._plan.directory), self._record, text))
        self._prepare()
        self._start()

    def _hear_the_rest(self) -> None:
        """Note what the scheduler acknowledged before it died."""
        try:
            while True:
                message = self._line.recv()
                if isinstance(message, Acknowledged):
                    self._note(message)
        except (EOFError, OSError):  # the last message may be cut off
            self._line.close()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes with Ctrl-C blocked; the supervisor, whose it is, gets it afterwards.

    A new process would print a traceback on Ctrl-C while it imports what it needs to ignore it. On
    Windows it inherits that it ignores Ctrl-C, and one that comes meanwhile is lost.
    """
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 -- for this only

        ignore_ctrl_c = ctypes.windll.kernel32.SetConsoleCtrlHandler
        ignore_ctrl_c(None, 1)
        try:
            yield
        finally:
            ignore_ctrl_c(None, 0)
        return
    # It starts with the first process, and would remove the mask if it started in between.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _for_the_shell(path: Path) -> str:
    """Return a path as one word of a command: Windows' shells do not all know single quotes."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))


def _short(path: str) -> str:
    return Path(path).relative_to(library_root()).as_posix()
