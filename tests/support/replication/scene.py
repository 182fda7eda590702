"""Writers in processes of their own over one log, and faults that they have to get over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support import places
from tests.support.replication import notes
from tests.support.replication.checker import Checker
from tests.support.replication.notes import NoteReader
from tests.support.replication.writer import opened_store

PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 0.02
UNDER_WAY_SECONDS = 0.1
"""How long what was on its way at a fault may take to be noted."""
PROOF = 20
"""Acknowledgements after which a writer counts as at work."""


class Scene:
    """Some writers, the first of which begins."""

    def __init__(
        self,
        folder: Path,
        store: str,
        names: Sequence[str] = "abc",
        *,
        place: Callable[[str], list[str]] = lambda _name: [],
        checker_store: Callable[[], Any] | None = None,
    ) -> None:
        """``place`` says what a writer's command begins with, as one that enters a namespace."""
        self.folder = folder
        self._store = store
        self._place = place
        opened = checker_store or (lambda: opened_store(store))
        first = opened()
        first.initialize()
        first.close()
        self.readers = {name: NoteReader(folder / f"{name}.notes") for name in names}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.checker = Checker(opened, self.readers.values())
        for name in names:
            self.start(name)
            if not self.active:
                self.wait_for(lambda: self.active, "the first writer begins")

    # --- Processes --------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        command = [*self._place(name), sys.executable, "-m", "tests.support.replication.writer"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*command, self._store, str(self.folder), name],
                stdout=log,
                stderr=log,
                cwd=places.ROOT,
                env=places.environment(),
            )

    def signal(self, name: str, number: int) -> None:
        os.kill(self.processes[name].pid, number)

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        self.processes[name].wait(PATIENCE_SECONDS)

    def close(self) -> None:
        self.checker.close()
        for process in self.processes.values():
            process.kill()
            process.wait(PATIENCE_SECONDS)

    # --- What the notes say -----------------------------------------------------------------------

    def look(self) -> None:
        for each in self.readers.values():
            each.look()

    @property
    def acknowledged(self) -> list[notes.Acknowledgement]:
        return [each for reader in self.readers.values() for each in reader.acknowledged]

    @property
    def active(self) -> str:
        """The writer that had the last acknowledgement; empty before the first one."""
        self.look()
        last = [each.acknowledged[-1] for each in self.readers.values() if each.acknowledged]
        return max(last).writer if last else ""

    def wait_for(self, is_so: Callable[[], object], what: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            if time.monotonic() > until:
                raise AssertionError(f"{what}: not within {PATIENCE_SECONDS} s\n{self.told()}")
            time.sleep(LOOK_SECONDS)

    def told(self) -> str:
        """Say what the writers did last."""
        self.look()
        lines = [f"now {time.monotonic():.3f}"]
        for name, reader in self.readers.items():
            log = self.folder / f"{name}.log"
            lines += [f"{name}: {reader.acknowledged[-1:]}", *map(str, reader.notes[-6:])]
            lines.append(log.read_text(errors="replace")[-1500:] if log.exists() else "")
        return "\n".join(lines)

    def is_ready(self, name: str) -> bool:
        """Whether a process has its queue open."""
        last = self.readers[name].last(notes.OPENED, notes.ACTIVE, notes.ENDED)
        return last is not None and last.kind != notes.ENDED

    def settle(self) -> str:
        """Wait until one writes and all others stand by, and return the writer's name."""
        began = time.monotonic()
        self.wait_for(
            lambda: self.are_at_work(began) and all(map(self.is_ready, self.readers)),
            "one writes and the others stand by",
        )
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} has ended\n{self.told()}"
        return self.active

    def are_at_work(self, since: float, besides: str = "") -> bool:
        """Whether there were some acknowledgements since a moment, not only of one writer."""
        self.look()
        count = 0
        for name, reader in self.readers.items():
            if name != besides:
                count += sum(each.at > since for each in reader.acknowledged[-PROOF:])
        return count >= PROOF

    # --- Faults -----------------------------------------------------------------------------------

    def pause(
        self, begin: Callable[[], object], is_over: Callable[[float], bool] | None = None
    ) -> float:
        """Begin a fault, and return how long nothing was acknowledged."""
        at = time.monotonic()
        begin()
        since = time.monotonic() + UNDER_WAY_SECONDS
        self.wait_for(lambda: (is_over or self.are_at_work)(since), "after the fault events go on")
        return notes.longest_pause(self.acknowledged, at, time.monotonic())

    def lose_writer(self) -> float:
        """SIGKILL the writer, have another one go on, and start it again."""
        name = self.settle()
        seconds = self.pause(
            lambda: self.kill(name), lambda since: self.are_at_work(since, besides=name)
        )
        self.restart(name)
        return seconds

    def restart(self, name: str) -> None:
        since = time.monotonic()
        self.start(name)
        self.wait_for(lambda: self.has_opened(name, since), f"{name} stands by again")

    def has_opened(self, name: str, since: float) -> bool:
        self.look()
        return self.readers[name].last(notes.OPENED, since=since) is not None

    def stop_writer(self) -> float:
        """SIGSTOP the writer, have another one go on, and wake it: it has to stand by."""
        name = self.settle()
        seconds = self.pause(
            lambda: self.signal(name, signal.SIGSTOP),
            lambda since: self.are_at_work(since, besides=name),
        )
        self.wake(name)
        return seconds

    def wake(self, name: str) -> None:
        """Wake a writer that another one has put aside: it is told so, and stands by."""
        since = time.monotonic()
        self.signal(name, signal.SIGCONT)
        self.wait_for(lambda: self.has_opened(name, since), f"{name} stands by again")
        self.expect_fenced(name, since)

    def expect_fenced(self, name: str, since: float) -> None:
        """Fail unless a writer was told since then that another one has the log."""
        refused = self.readers[name].last(notes.REFUSED, since=since)
        assert refused is not None, self.told()
        assert "FencedError" in refused.words, refused

    def nap_of_writer(self, seconds: float) -> float:
        """SIGSTOP the writer for so long. Another one goes on, or itself if it was short."""
        name = self.settle()
        at = time.monotonic()
        self.signal(name, signal.SIGSTOP)
        time.sleep(seconds)
        self.signal(name, signal.SIGCONT)
        woken = time.monotonic()
        self.wait_for(lambda: self.are_at_work(woken), "after the fault events go on")
        return notes.longest_pause(self.acknowledged, at, time.monotonic())

    # --- The end ----------------------------------------------------------------------------------

    def end(self) -> None:
        """Have all writers be quiet, compare everything, and end them."""
        self.settle()
        since = time.monotonic()
        for name in self.processes:
            self.signal(name, signal.SIGUSR1)
        self.wait_for(lambda: self._are_quiet(since), "all projections come to the same end")
        self.checker.look_at_quiet()
        for name in self.processes:
            self.signal(name, signal.SIGTERM)
        for name, process in self.processes.items():
            assert process.wait(PATIENCE_SECONDS) == 0, self.told()
            assert not (self.folder / f"{name}.log").read_text(), self.told()

    def _are_quiet(self, since: float) -> bool:
        self.look()
        found = [each.last(notes.PROJECTION, since=since) for each in self.readers.values()]
        ends = {each and each.words[0] for each in found}
        last = max(each.sequence for each in self.acknowledged)
        return len(ends) == 1 and None not in ends and int(ends.pop() or 0) >= last
